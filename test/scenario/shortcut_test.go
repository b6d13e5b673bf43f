package scenario

import (
	"slices"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// A client has read the entries of the P-CSCF in the Record-Route of a call. They lead to the other party past both S-CSCFs: past what the network
// allows him (ci.authorization.route-policy), past his budget, past the services of whom he calls. What he sends inside a dialog goes the way of that
// dialog and no other, and there is none that the network has not seen begin (TS 24.229 5.2.6.3.9).

// shortcut is a caller and a called party with a call between them.
type shortcut struct {
	t          *testing.T
	w          *lab.World
	alice, bob *lab.Client
}

func aCall(t *testing.T) *shortcut {
	t.Helper()
	w, err := lab.New(lab.Options{Seed: 1, Budget: config.Budget{Messages: 20}, Numbering: config.Numbering{CountryCode: "1", Barred: []string{"+979"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	s := &shortcut{t: t, w: w}
	for _, u := range []struct {
		name string
		to   **lab.Client
	}{{"alice", &s.alice}, {"bob", &s.bob}} {
		c, err := w.Nodes[0].AddUser(lab.User{Name: u.name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Register(); err != nil {
			t.Fatal(err)
		}
		*u.to = c
	}
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	s.bob.Request("INVITE")
	s.bob.Answer(200)
	if s.alice.Response(200) == nil {
		t.Fatal("no call: " + s.alice.Pending())
	}
	s.alice.SendInDialog(sip.ACK)
	if s.bob.Request("ACK") == nil {
		t.Fatal("no ACK")
	}
	return s
}

// past takes the entries of the S-CSCFs out of Route.
func past(m *sip.Message) {
	var routes []string
	for v := range m.Values(sip.HdrRoute) {
		if strings.Contains(string(v), "pcscf.") {
			routes = append(routes, string(v))
		}
	}
	m.Remove(sip.HdrRoute)
	for _, r := range routes {
		m.AppendString(sip.HdrRoute, r)
	}
}

// TestShortcut: each of these reached the other party.
func TestShortcut(t *testing.T) {
	for name, c := range map[string]struct {
		method sip.Method
		called bool // it is the called party who tries
		edits  []lab.Edit
	}{
		"a transfer to a barred number":     {sip.REFER, false, []lab.Edit{lab.Header("Refer-To", "<tel:+979123456>"), past}},
		"of the called party":               {sip.REFER, true, []lab.Edit{lab.Header("Refer-To", "<tel:+979123456>"), past}},
		"a message of no dialog":            {sip.MESSAGE, false, []lab.Edit{lab.Header("Call-ID", "no-call"), past}},
		"the whole way, of no dialog":       {sip.MESSAGE, false, []lab.Edit{lab.Header("Call-ID", "no-call")}},
		"the whole way, of another dialog":  {sip.MESSAGE, false, []lab.Edit{lab.Header("To", "<sip:bob@"+lab.Domain+">;tag=other")}},
		"the same of the called party":      {sip.MESSAGE, true, []lab.Edit{lab.Header("To", "<sip:alice@"+lab.Domain+">;tag=other")}},
		"a call that nobody has seen begin": {sip.INVITE, false, []lab.Edit{lab.Header("Call-ID", "no-call"), past}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			s := aCall(t)
			from, to := s.alice, s.bob
			if c.called {
				from, to = to, from
			}
			from.SendInDialog(c.method, c.edits...)
			if m := to.Request(c.method.String()); m != nil {
				t.Fatalf("it has arrived:\n%s", m.AppendTo(nil))
			}
			if from.Response(400) == nil { // TS 24.229 5.2.6.3.9
				t.Errorf("not 400, but %s", from.Pending())
			}
			if !slices.ContainsFunc(s.w.Events, func(e secure.Event) bool { return e.Control == secure.CIIntegrityDialogOwner }) {
				t.Error("ci.integrity.dialog-owner has refused nothing")
			}
		})
	}
}

// TestShortcut_over: what needs no dialog is taken in one for as long as that lasts.
func TestShortcut_over(t *testing.T) {
	s := aCall(t)
	s.alice.SendInDialog(sip.MESSAGE)
	if s.bob.Request("MESSAGE") == nil {
		t.Fatal("no message within the call")
	}
	s.bob.Answer(200)
	s.alice.SendInDialog(sip.BYE)
	s.bob.Request("BYE")
	s.bob.Answer(200)
	s.alice.SendInDialog(sip.MESSAGE)
	s.bob.SendInDialog(sip.MESSAGE)
	if s.bob.Request("MESSAGE") != nil || s.alice.Request("MESSAGE") != nil {
		t.Error("a message comes by the way of a call that is over")
	}
	if s.alice.Response(481) == nil || s.bob.Response(481) == nil {
		t.Errorf("not 481, but %s and %s", s.alice.Pending(), s.bob.Pending())
	}
}

// TestShortcut_budget: messages within a call are counted with all others.
func TestShortcut_budget(t *testing.T) {
	s := aCall(t)
	for range 100 {
		s.alice.SendInDialog(sip.MESSAGE)
		if s.bob.Request("MESSAGE") == nil {
			if s.alice.Response(480) == nil {
				t.Errorf("not 480, but %s", s.alice.Pending())
			}
			return
		}
		s.bob.Answer(200)
	}
	t.Error("a hundred messages within a call, and none is one too many")
}

// A call costs until it ends. Who says that something else has ended, or finds somebody who takes his BYE for nothing, does not talk on for free.

// TestHangUp_of_no_call: a BYE with other tags is no end of the call that it has the Call-ID of. The called party chooses its own.
func TestHangUp_of_no_call(t *testing.T) {
	s := aCall(t)
	s.bob.SendInDialog(sip.BYE, func(m *sip.Message) { m.SetString(sip.HdrFrom, "<"+s.bob.IMPU+">;tag=no-call") })
	if s.alice.Request("BYE") == nil {
		t.Fatal("it has not arrived: the test tries nothing")
	}
	s.alice.Answer(481)
	if n, err := s.w.Nodes[0].CompleteCalls(); err != nil || n != 0 {
		t.Errorf("%d halves of the call have ended, %v", n, err)
	}
	s.alice.SendInDialog(sip.BYE)
	s.bob.Request("BYE")
	s.bob.Answer(200)
	if n, err := s.w.Nodes[0].CompleteCalls(); err != nil || n != 2 {
		t.Errorf("%d halves of the call have ended, %v", n, err)
	}
}
