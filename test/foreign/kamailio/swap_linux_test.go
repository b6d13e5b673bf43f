package kamailio

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"imsafe/config"
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
func told(t *testing.T, h *live.Handset) {
	t.Helper()
	for end := time.Now().Add(live.Patience); ; {
		if err := h.Write(h.Initial("MESSAGE", h.IMPU, "may I?", "Content-Type: text/plain")); err != nil {
			t.Fatal(err)
		}
		m := h.Expect(t, false, "MESSAGE")
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
func expelled(t *testing.T, home *live.Node, from, h *live.Handset) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), live.Patience)
	defer cancel()
	for _, h := range []*live.Handset{from, h} {
		if _, err := h.Register(ctx, 600); err != nil {
			t.Fatal(err)
		}
	}
	if err := home.HSS.Remove(ctx, h.IMPI); err != nil {
		t.Error(err)
	}
	live.Refused(t, from, h, 604) // Kamailio's word for it; ours is 404
	if _, err := h.Register(ctx, 600); err == nil || !strings.Contains(err.Error(), ": 403 ") {
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
func day(t *testing.T, home *live.Node, pcscf string) (alice, bob *live.Handset) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	users := live.NewUsers(strings.ToLower(t.Name()), 2, live.AKAv1)
	if err := home.Provision(ctx, users...); err != nil {
		t.Fatal(err)
	}
	alice, bob = handset(t, users[0], pcscf), handset(t, users[1], pcscf)
	bob.Ahead = true
	for h, fair := range map[*live.Handset]int{alice: 1, bob: 2} {
		challenges, err := h.Register(ctx, 600)
		if err != nil {
			t.Fatal(err)
		}
		// Kamailio's S-CSCF sends a challenge before it has stored it: an answer that is fast enough is challenged again.
		if challenges < fair || challenges > fair && home.SCSCF != nil {
			t.Errorf("%s was challenged %d times, not %d", h.Name, challenges, fair)
		}
	}
	live.Watch(t, alice)
	live.Call(t, alice, bob, alice)
	live.Call(t, bob, alice, alice)
	live.Cancelled(t, alice, bob)
	live.Message(t, alice, bob)
	for _, h := range []*live.Handset{alice, bob} {
		if _, err := h.Register(ctx, 600); err != nil {
			t.Fatalf("refresh: %v", err)
		}
	}
	live.Call(t, alice, bob, bob)
	if _, err := bob.Register(ctx, 0); err != nil {
		t.Fatalf("de-registration: %v", err)
	}
	live.Refused(t, alice, bob, 480)
	if _, err := alice.Register(ctx, 0); err != nil {
		t.Fatalf("de-registration: %v", err)
	}
	return alice, bob
}

// handset is one of u at a P-CSCF.
func handset(t *testing.T, u *live.User, pcscf string) *live.Handset {
	t.Helper()
	conn, err := net.Dial("udp", pcscf)
	if err != nil {
		t.Fatal(err)
	}
	return live.NewHandset(t, conn, "udp", u)
}
