package kamailio

import (
	"context"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/proto/sip"
	"imsafe/test/live"
)

// TestForeignPCSCF: Kamailio's P-CSCF in front of our I-CSCF, S-CSCF and HSS.
func TestForeignPCSCF(t *testing.T) {
	need(t)
	core := start(t, 1, []string{"icscf", "scscf", "hss"}, func(c *config.Config) {
		c.Mw.PCSCF = foreign("pcscf")
		c.Mw.PCSCF.Keys = true // what a P-CSCF with IPsec needs; this one takes them off
	})
	resolve(t, map[string]string{live.Domain: addresses["icscf"], named("icscf"): addresses["icscf"], named("scscf"): addresses["icscf"],
		named("pcscf"): addresses["pcscf"]})
	run(t, "pcscf")
	captured(t, []string{addresses["icscf"]}, func() {
		_, bob := day(t, core, addresses["pcscf"]+":5060")
		told(t, bob)
	})
}

// TestForeignCore: our P-CSCF in front of Kamailio's I-CSCF and S-CSCF, which ask our HSS.
func TestForeignCore(t *testing.T) {
	need(t)
	home := startHSS(t)
	start(t, 2, []string{"pcscf"}, func(c *config.Config) {
		c.CI.LabUDP.Listen = []config.Address{at(door)}
		c.Mw.ICSCF, c.Mw.SCSCF = foreign("icscf"), foreign("scscf")
	})
	resolve(t, everywhere)
	run(t, "icscf")
	run(t, "scscf")
	meets(t, home)
	captured(t, []string{addresses["pcscf"], addresses["hss"]}, func() {
		alice, bob := day(t, home, door)
		expelled(t, home, alice, bob)
	})
}

// TestForeignNetwork: every CSCF is Kamailio's; the HSS is ours.
func TestForeignNetwork(t *testing.T) {
	need(t)
	home := startHSS(t)
	resolve(t, everywhere)
	for _, function := range []string{"pcscf", "icscf", "scscf"} {
		run(t, function)
	}
	meets(t, home)
	captured(t, []string{addresses["hss"]}, func() {
		alice, bob := day(t, home, addresses["pcscf"]+":5060")
		expelled(t, home, alice, bob)
	})
}

// door is where clients find our P-CSCF.
const door = "127.0.0.3:5070"

// everywhere has each function at its own address.
var everywhere = map[string]string{live.Domain: addresses["icscf"], named("pcscf"): addresses["pcscf"], named("icscf"): addresses["icscf"],
	named("scscf"): addresses["scscf"], named("hss"): addresses["hss"]}

// startHSS runs our HSS alone, for Kamailio's CSCFs: its Diameter knows no TLS 1.3, so keys go in clear.
func startHSS(t *testing.T) *live.Node {
	return start(t, 1, []string{"hss"}, func(c *config.Config) {
		c.Mw = config.Mw{}
		c.Cx = config.Cx{Listen: at(addresses["hss"] + ":3868"), Clients: []string{named("icscf"), named("scscf")}, LabCleartextKeys: true}
	})
}

// told waits until the P-CSCF has heard by the registration event package that h is no longer registered: it refuses his calls.
func told(t *testing.T, h *handset) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		if err := h.Write(h.initial("MESSAGE", h.IMPU, "may I?", "Content-Type: text/plain")); err != nil {
			t.Fatal(err)
		}
		m := h.expect(t, false, "MESSAGE")
		switch {
		case m.Status() == 403 && strings.Contains(string(m.Reason()), "Register first"):
			return
		case time.Now().After(end):
			t.Fatalf("the P-CSCF still serves who has left: %d %s", m.Status(), m.Reason())
		}
		<-time.After(100 * time.Millisecond)
	}
}

// expelled takes a registered subscriber's subscription away, of which the S-CSCF must hear (RTR), and nobody knows him any more.
func expelled(t *testing.T, home *live.Node, from, h *handset) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, h := range []*handset{from, h} {
		if _, err := h.register(ctx, 600); err != nil {
			t.Fatal(err)
		}
	}
	if err := home.HSS.Remove(ctx, h.IMPI); err != nil {
		t.Error(err)
	}
	refused(t, from, h, 604) // Kamailio's word for it; ours is 404
	if _, err := h.register(ctx, 600); err == nil || !strings.Contains(err.Error(), ": 403 ") {
		t.Errorf("who has no subscription registers: %v", err)
	}
}

// foreign is a function that Kamailio has. It writes its name into Path and its address into Record-Route.
func foreign(function string) config.MwPeer {
	return config.MwPeer{Address: at(addresses[function] + ":5060"), Names: []string{named(function), addresses[function]}}
}

// day is what two subscribers do: they register, one of them with a card that is ahead of the HSS; one watches his registration; they
// call each other, each hangs up once, and one call is given up; a message goes; they refresh, and take their registrations back, after
// which nobody reaches them.
func day(t *testing.T, home *live.Node, pcscf string) (alice, bob *handset) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	users := live.NewUsers(strings.ToLower(t.Name()), 2, live.AKAv1)
	if err := home.Provision(ctx, users...); err != nil {
		t.Fatal(err)
	}
	alice, bob = newHandset(t, users[0], pcscf), newHandset(t, users[1], pcscf)
	bob.ahead = true
	for h, fair := range map[*handset]int{alice: 1, bob: 2} {
		challenges, err := h.register(ctx, 600)
		if err != nil {
			t.Fatal(err)
		}
		// Kamailio's S-CSCF sends a challenge before it has stored it: an answer that is fast enough is challenged again.
		if challenges < fair || challenges > fair && home.SCSCF != nil {
			t.Errorf("%s was challenged %d times, not %d", h.Name, challenges, fair)
		}
	}
	watch(t, alice)
	call(t, alice, bob, alice)
	call(t, bob, alice, alice)
	cancelled(t, alice, bob)
	message(t, alice, bob)
	for _, h := range []*handset{alice, bob} {
		if _, err := h.register(ctx, 600); err != nil {
			t.Fatalf("refresh: %v", err)
		}
	}
	call(t, alice, bob, bob)
	if _, err := bob.register(ctx, 0); err != nil {
		t.Fatalf("de-registration: %v", err)
	}
	refused(t, alice, bob, 480)
	if _, err := alice.register(ctx, 0); err != nil {
		t.Fatalf("de-registration: %v", err)
	}
	return alice, bob
}

const (
	offer  = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
	answer = "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 0\r\n"
)

// call lets from call to, and one of them hang up.
func call(t *testing.T, from, to, ends *handset) {
	t.Helper()
	if err := from.Write(from.initial("INVITE", to.IMPU, offer, "Content-Type: application/sdp")); err != nil {
		t.Fatal(err)
	}
	invite := to.expect(t, true, "INVITE")
	if asserted := string(invite.Get(sip.HdrPAssertedIdentity)); !strings.Contains(asserted, from.IMPU) {
		t.Errorf("%s sees %q asserted, not %s", to.Name, asserted, from.IMPU)
	}
	if string(invite.Body()) != offer {
		t.Errorf("the offer came as %q", invite.Body())
	}
	theirs := to.called(invite)
	lines := []string{"Contact: " + to.Contact(), "Record-Route: " + strings.Join(theirs.route, ", ")}
	for _, status := range []int{180, 200} {
		if err := to.Answer(invite, status, lines...); err != nil {
			t.Fatal(err)
		}
	}
	ok := from.expect(t, false, "INVITE")
	if ok.Status() != 200 {
		t.Fatalf("%s calls %s: %d %s", from.Name, to.Name, ok.Status(), ok.Reason())
	}
	ours := from.caller(ok)
	if err := from.Write(ours.request("ACK")); err != nil {
		t.Fatal(err)
	}
	to.expect(t, true, "ACK")
	mine, other := ours, to
	if ends == to {
		mine, other = theirs, from
	}
	if err := ends.Write(mine.request("BYE")); err != nil {
		t.Fatal(err)
	}
	if err := other.Answer(other.expect(t, true, "BYE"), 200); err != nil {
		t.Fatal(err)
	}
	if end := ends.expect(t, false, "BYE"); end.Status() != 200 {
		t.Errorf("BYE: %d %s", end.Status(), end.Reason())
	}
}

// cancelled rings and gives up (RFC 3261 9.1).
func cancelled(t *testing.T, from, to *handset) {
	t.Helper()
	invite := from.initial("INVITE", to.IMPU, offer, "Content-Type: application/sdp")
	if err := from.Write(invite); err != nil {
		t.Fatal(err)
	}
	came := to.expect(t, true, "INVITE")
	if err := to.Answer(came, 180, "Contact: "+to.Contact()); err != nil {
		t.Fatal(err)
	}
	from.rings(t)
	if err := from.Write(cancel(invite)); err != nil {
		t.Fatal(err)
	}
	if err := to.Answer(to.expect(t, true, "CANCEL"), 200); err != nil {
		t.Fatal(err)
	}
	if err := to.Answer(came, 487); err != nil {
		t.Fatal(err)
	}
	to.expect(t, true, "ACK")
	if end := from.expect(t, false, "INVITE"); end.Status() != 487 {
		t.Errorf("a call that was given up: %d %s", end.Status(), end.Reason())
	}
}

// watch subscribes to one's own registration and hears of it (TS 24.229 5.1.1.3).
func watch(t *testing.T, h *handset) {
	t.Helper()
	if err := h.Write(h.initial("SUBSCRIBE", h.IMPU, "", "Event: reg", "Accept: application/reginfo+xml", "Expires: 600")); err != nil {
		t.Fatal(err)
	}
	// The NOTIFY may overtake the answer.
	answered, told := false, false
	for !answered || !told {
		m := h.next(t, "the answer to SUBSCRIBE and a NOTIFY")
		switch _, method, _ := m.CSeq(); {
		case m.IsRequest() && string(method) == "NOTIFY":
			told = true
			body := string(m.Body())
			if !strings.Contains(body, `aor="`+h.IMPU+`"`) || !strings.Contains(body, "sip:"+h.Name+"@127.0.0.1") {
				t.Errorf("the NOTIFY says %s", body)
			}
			if string(m.Get(sip.HdrEvent)) != "reg" || !strings.HasPrefix(string(m.Get(sip.HdrSubscriptionState)), "active") {
				t.Errorf("the NOTIFY has Event %q and Subscription-State %q", m.Get(sip.HdrEvent), m.Get(sip.HdrSubscriptionState))
			}
			if err := h.Answer(m, 200); err != nil {
				t.Fatal(err)
			}
		case !m.IsRequest() && string(method) == "SUBSCRIBE" && m.Status() >= 200:
			if answered = true; m.Status() != 200 {
				t.Fatalf("SUBSCRIBE: %d %s", m.Status(), m.Reason())
			}
		}
	}
}

// message sends a short message.
func message(t *testing.T, from, to *handset) {
	t.Helper()
	if err := from.Write(from.initial("MESSAGE", to.IMPU, "hello", "Content-Type: text/plain")); err != nil {
		t.Fatal(err)
	}
	if err := to.Answer(to.expect(t, true, "MESSAGE"), 200); err != nil {
		t.Fatal(err)
	}
	if end := from.expect(t, false, "MESSAGE"); end.Status() != 200 {
		t.Errorf("MESSAGE: %d %s", end.Status(), end.Reason())
	}
}

// refused calls, and the call is refused.
func refused(t *testing.T, from, to *handset, status int) {
	t.Helper()
	if err := from.Write(from.initial("INVITE", to.IMPU, offer, "Content-Type: application/sdp")); err != nil {
		t.Fatal(err)
	}
	m := from.expect(t, false, "INVITE")
	if m.Status() != status {
		t.Errorf("%s calls %s: %d %s, not %d", from.Name, to.Name, m.Status(), m.Reason(), status)
	}
}
