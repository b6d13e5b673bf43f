package scenario

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// within is a request of a platform that stays in the path of a call of alice's, inside of that: towards bob, by the entries in Record-Route that it has seen.
func within(s *stage, p *lab.Platform, method sip.Method, edits ...lab.Edit) *sip.Message {
	s.calls()
	s.bob.Answer(200)
	ok := s.alice.Response(200)
	s.alice.SendInDialog(sip.ACK)
	s.w.Settle()
	if ok == nil || s.bob.Request("ACK") == nil {
		s.Fatal("no call")
	}
	var seen *sip.Message
	for _, m := range p.Heard {
		if m.Status() == 200 {
			seen = m
		}
	}
	m := p.NewRequest(method, string(uriOf(s, seen.Get(sip.HdrContact))), s.alice.IMPU)
	for _, h := range []sip.HeaderID{sip.HdrFrom, sip.HdrTo, sip.HdrCallID} {
		m.Set(h, seen.Get(h))
	}
	m.SetString(sip.HdrCSeq, "99 "+method.String())
	var way []string
	for v := range seen.Values(sip.HdrRecordRoute) {
		if strings.Contains(string(v), "out.as.") {
			break
		}
		way = append([]string{string(v)}, way...)
	}
	for _, r := range way {
		m.AppendString(sip.HdrRoute, r)
	}
	for _, edit := range edits {
		edit(m)
	}
	p.Begin(m)
	return s.bob.Request(method.String())
}

func uriOf(s *stage, nameAddr []byte) []byte {
	addr, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		s.Fatal(err)
	}
	return addr.URI
}

// TestServices_within_dialog: who stays in the path of a call says in it what it may say, and in nobody's name but those of the call.
func TestServices_within_dialog(t *testing.T) {
	for name, c := range map[string]struct {
		method sip.Method
		edit   lab.Edit
		heard  int
		by     secure.ControlID
	}{
		"asserts somebody":     {sip.INFO, lab.Header("P-Asserted-Identity", "<sip:boss@"+lab.Domain+">"), 200, secure.ISAuthorizationAssert},
		"asserts who calls":    {sip.INFO, lab.Header("P-Asserted-Identity", "<sip:alice@"+lab.Domain+">"), 200, 0},
		"is somebody":          {sip.UPDATE, lab.Header("From", "<sip:boss@"+lab.Domain+">;tag=alice-out-1"), 403, secure.ISAuthorizationAssert},
		"speaks for who calls": {sip.UPDATE, lab.Header("Subject", "hello"), 200, 0},
		"writes to a user":     {sip.MESSAGE, lab.Header("Subject", "hello"), 403, secure.ISAuthorizationManifest},
		"has a user call":      {sip.REFER, lab.Header("Refer-To", "<sip:boss@"+lab.Domain+">"), 403, secure.ISAuthorizationManifest},
		"begins a call":        {sip.INVITE, lab.Header("Call-ID", "no-call"), 403, secure.ISAuthorizationManifest},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			out := s.platform("out", []string{"session.proxy", "identity.private"}, trigger("originating", "10", "reject"))
			s.registers()
			m := within(s, out, c.method, c.edit)
			if m != nil {
				if id := m.Get(sip.HdrPAssertedIdentity); bytes.Contains(id, []byte("boss")) {
					t.Errorf("bob is told %s", id)
				}
				s.bob.Answer(200)
			}
			s.w.Settle()
			if last(out) != c.heard {
				t.Errorf("the platform heard %d, want %d", last(out), c.heard)
			}
			refused := secure.ControlID(0)
			for _, e := range s.w.Events {
				if e.Control == secure.ISAuthorizationAssert || e.Control == secure.ISAuthorizationManifest {
					refused = e.Control
				}
			}
			if refused != c.by {
				t.Errorf("refused by %v, want %v", refused, c.by)
			}
		})
	}
}

// TestServices_passes_within_dialog: what the two ends say within their call passes a platform that stays in its path, whoever they are.
func TestServices_passes_within_dialog(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
	s.registers()
	s.calls()
	s.bob.Answer(200)
	s.alice.Response(200)
	s.alice.SendInDialog(sip.ACK)
	s.bob.Request("ACK")
	for i, from := range []*lab.Client{s.alice, s.bob, s.alice} {
		to := s.bob
		if from == s.bob {
			to = s.alice
		}
		for _, method := range []sip.Method{sip.MESSAGE, sip.UPDATE, sip.INFO, sip.REFER} {
			from.SendInDialog(method, func(m *sip.Message) {
				if method == sip.REFER {
					m.SetString(sip.HdrReferTo, "Boss <sip:boss@"+lab.Domain+";user=ip>")
				}
			})
			m := to.Request(method.String())
			if m == nil {
				t.Fatalf("%d: no %v; %s has %s", i, method, from.Name, from.Pending())
			}
			if id, want := string(m.Get(sip.HdrPAssertedIdentity)), "<"+from.IMPU+">"; id != want {
				t.Errorf("%d: %v of %q, want %q", i, method, id, want)
			}
			to.Answer(200)
			from.Response(200)
		}
	}
}

// TestServices_rewrites_within_dialog: who stays in the path of a call passes on what the two ends ask of each other as it is.
func TestServices_rewrites_within_dialog(t *testing.T) {
	for name, c := range map[string]struct {
		method sip.Method
		said   lab.Edit
		edit   func(*sip.Message)
	}{
		"text":   {sip.MESSAGE, lab.Header("Content-Type", "text/plain"), func(m *sip.Message) { m.SetBody("text/plain", []byte("pay")) }},
		"target": {sip.REFER, lab.Header("Refer-To", "<sip:alice@"+lab.Domain+">"), func(m *sip.Message) { m.SetString(sip.HdrReferTo, "<sip:boss@"+lab.Domain+">") }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			out := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
			out.Edit = func(m *sip.Message) {
				if m.Method() == c.method {
					c.edit(m)
				}
			}
			s.registers()
			s.calls()
			s.bob.Answer(200)
			s.alice.Response(200)
			s.alice.SendInDialog(sip.ACK)
			s.bob.Request("ACK")
			s.alice.SendInDialog(c.method, c.said)
			if m := s.bob.Request(c.method.String()); m != nil {
				t.Errorf("bob gets %s", m.AppendTo(nil))
			}
			if s.alice.Response(403) == nil {
				t.Errorf("alice has %s", s.alice.Pending())
			}
		})
	}
}

// TestServices_refers: a platform that is asked about a REFER may not change whom its target is to call (RFC 3515 2.1).
func TestServices_refers(t *testing.T) {
	for _, scopes := range [][]string{{"session.proxy"}, {"session.proxy", "session.redirect"}} {
		s := newStage(t, lab.Options{Seed: 1})
		out := s.platform("out", scopes, strings.ReplaceAll(trigger("originating", "10", "reject"), "INVITE", "REFER"))
		changes := false
		out.Edit = func(m *sip.Message) {
			if changes {
				m.SetString(sip.HdrReferTo, "<sip:boss@"+lab.Domain+">")
			}
		}
		s.registers()
		for _, changes = range []bool{false, true} {
			s.alice.Send(sip.REFER, s.bob.IMPU, lab.Header("Refer-To", "<sip:carol@"+lab.Domain+">"))
			if passes := !changes || len(scopes) > 1; (s.bob.Request("REFER") != nil) != passes {
				t.Errorf("%q, changed %v: it passes: %v", scopes, changes, !passes)
			}
			s.bob.Answer(200)
			s.w.Settle()
		}
	}
}

// TestServices_contact_of_an_answer: who passes an answer on does not say where the called user is; who stays in the path as an end of its own says where that is.
func TestServices_contact_of_an_answer(t *testing.T) {
	for contact, changes := range map[string]bool{"<sip:elsewhere.example.org>": false, "<sip:out.as." + lab.Domain + ">": true} {
		s := newStage(t, lab.Options{Seed: 1})
		out := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
		out.Answering = func(m *sip.Message) {
			if m.Has(sip.HdrContact) {
				m.SetString(sip.HdrContact, contact)
			}
		}
		s.registers()
		s.calls()
		s.bob.Answer(200)
		ok := s.alice.Response(200)
		if ok == nil {
			t.Fatalf("alice has %s", s.alice.Pending())
		}
		if got := string(ok.Get(sip.HdrContact)); got == "" || (got == contact) != changes {
			t.Errorf("alice is told %s, the platform has written %s", got, contact)
		}
	}
}

// TestServices_ends_no_registration: that a registration has ended is the S-CSCF's word to the P-CSCF (TS 24.229 5.2.3), and nobody else's, not even a
// platform's that has learned the Path of a user: as one may whose profile shows it his REGISTER.
func TestServices_ends_no_registration(t *testing.T) {
	for name, split := range map[string]bool{"one node": false, "two nodes": true} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1, Split: split})
			out := s.platform("out", []string{"session.proxy", "identity.private"}, trigger("originating", "10", "reject"))
			s.registers()
			r, err := s.bob.Register()
			if err != nil || r.Status() != 200 || !r.Has(sip.HdrPath) {
				t.Fatal(r, err)
			}
			path, contact := string(uriOf(s, r.Get(sip.HdrPath))), string(uriOf(s, r.Get(sip.HdrContact)))
			ended := fmt.Sprintf(`<reginfo xmlns="urn:ietf:params:xml:ns:reginfo"><registration><contact state="terminated"><uri>%s</uri></contact></registration></reginfo>`, contact)
			within(s, out, sip.NOTIFY, func(m *sip.Message) {
				m.SetRequestURI([]byte(path))
				for m.Count(sip.HdrRoute) > 1 {
					m.RemoveLast(sip.HdrRoute)
				}
				m.SetString(sip.HdrEvent, "reg")
				m.SetString(sip.HdrSubscriptionState, "terminated;reason=noresource")
				m.SetBody("application/reginfo+xml", []byte(ended))
			})
			s.w.Advance(3 * time.Minute)
			if heard := last(out); heard/100 != 4 {
				t.Errorf("the platform heard %d", heard)
			}
			s.alice.Send(sip.MESSAGE, s.bob.IMPU)
			if s.bob.Request("MESSAGE") == nil {
				t.Errorf("bob is not reached; alice has %s", s.alice.Pending())
			}
		})
	}
}
