package live

import (
	"strings"
	"testing"

	"imsafe/proto/sip"
)

// What subscribers do, each step as the messages of a handset say it. A step that does not come to its end fails the test.

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"

// Call lets from call to, and one of them hang up.
func Call(t testing.TB, from, to, ends *Handset) {
	t.Helper()
	if err := from.Write(from.Initial("INVITE", to.IMPU, offer, "Content-Type: application/sdp")); err != nil {
		t.Fatal(err)
	}
	invite := to.Expect(t, true, "INVITE")
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
	ok := from.Expect(t, false, "INVITE")
	if ok.Status() != 200 {
		t.Fatalf("%s calls %s: %d %s", from.Name, to.Name, ok.Status(), ok.Reason())
	}
	ours := from.caller(ok)
	if err := from.Write(ours.request("ACK")); err != nil {
		t.Fatal(err)
	}
	to.Expect(t, true, "ACK")
	mine, other := ours, to
	if ends == to {
		mine, other = theirs, from
	}
	if err := ends.Write(mine.request("BYE")); err != nil {
		t.Fatal(err)
	}
	if err := other.Answer(other.Expect(t, true, "BYE"), 200); err != nil {
		t.Fatal(err)
	}
	if end := ends.Expect(t, false, "BYE"); end.Status() != 200 {
		t.Errorf("BYE: %d %s", end.Status(), end.Reason())
	}
}

// Cancelled rings and gives up (RFC 3261 9.1).
func Cancelled(t testing.TB, from, to *Handset) {
	t.Helper()
	invite := from.Initial("INVITE", to.IMPU, offer, "Content-Type: application/sdp")
	if err := from.Write(invite); err != nil {
		t.Fatal(err)
	}
	came := to.Expect(t, true, "INVITE")
	if err := to.Answer(came, 180, "Contact: "+to.Contact()); err != nil {
		t.Fatal(err)
	}
	from.rings(t)
	if err := from.Write(cancel(invite)); err != nil {
		t.Fatal(err)
	}
	if err := to.Answer(to.Expect(t, true, "CANCEL"), 200); err != nil {
		t.Fatal(err)
	}
	if err := to.Answer(came, 487); err != nil {
		t.Fatal(err)
	}
	to.Expect(t, true, "ACK")
	end := from.Expect(t, false, "INVITE")
	if end.Status() != 487 {
		t.Errorf("a call that was given up: %d %s", end.Status(), end.Reason())
	}
	if err := from.Write(acknowledge(invite, end)); err != nil {
		t.Fatal(err)
	}
}

// Watch subscribes to one's own registration and hears of it (TS 24.229 5.1.1.3).
func Watch(t testing.TB, h *Handset) {
	t.Helper()
	if err := h.Write(h.Initial("SUBSCRIBE", h.IMPU, "", "Event: reg", "Accept: application/reginfo+xml", "Expires: 600")); err != nil {
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

// Message sends a short message.
func Message(t testing.TB, from, to *Handset) {
	t.Helper()
	if err := from.Write(from.Initial("MESSAGE", to.IMPU, "hello", "Content-Type: text/plain")); err != nil {
		t.Fatal(err)
	}
	if err := to.Answer(to.Expect(t, true, "MESSAGE"), 200); err != nil {
		t.Fatal(err)
	}
	if end := from.Expect(t, false, "MESSAGE"); end.Status() != 200 {
		t.Errorf("MESSAGE: %d %s", end.Status(), end.Reason())
	}
}

// Refused calls, and the call is refused.
func Refused(t testing.TB, from, to *Handset, status int) {
	t.Helper()
	invite := from.Initial("INVITE", to.IMPU, offer, "Content-Type: application/sdp")
	if err := from.Write(invite); err != nil {
		t.Fatal(err)
	}
	m := from.Expect(t, false, "INVITE")
	if m.Status() != status {
		t.Errorf("%s calls %s: %d %s, not %d", from.Name, to.Name, m.Status(), m.Reason(), status)
	}
	if err := from.Write(acknowledge(invite, m)); err != nil {
		t.Fatal(err)
	}
}
