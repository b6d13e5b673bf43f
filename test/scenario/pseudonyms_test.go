package scenario

import (
	"bytes"
	"strings"
	"testing"

	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// named is who a request calls itself by, with a display name.
func named(m *sip.Message) {
	v := string(m.Get(sip.HdrFrom))
	m.SetString(sip.HdrFrom, `"Alice" `+v)
	m.SetString(sip.HdrContact, `"Alice" `+string(m.Get(sip.HdrContact))+`;+sip.instance="<urn:gsma:imei:90420156-025763-0>"`)
}

// blind fails if a platform has seen one of these words in what was said to it.
func blind(t *testing.T, p *lab.Platform, words ...string) {
	t.Helper()
	for _, list := range [][]*sip.Message{p.Seen, p.Heard} {
		for _, m := range list {
			head, _, _ := bytes.Cut(m.AppendTo(nil), []byte("\r\n\r\n"))
			for _, word := range words {
				if bytes.Contains(bytes.ToLower(head), []byte(strings.ToLower(word))) {
					t.Errorf("%s knows %s:\n%s", p.Service.Name(), word, head)
				}
			}
		}
	}
}

// caller is whom a platform takes a request to come from.
func caller(m *sip.Message) string {
	addr, err := sip.ParseNameAddr(m.Get(sip.HdrPAssertedIdentity))
	if err != nil {
		return ""
	}
	return string(addr.URI)
}

// TestServices_pseudonyms: whoever was not granted identity.private stays in the path of a call without learning who calls whom, and the
// two notice nothing. A service knows the same user again; two services do not find out that they know the same.
func TestServices_pseudonyms(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		s := newStage(t, o)
		out := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "continue"))
		screen := s.platform("screen", []string{"session.proxy"}, trigger("terminating", "10", "continue"))
		s.registers()
		var calls []string
		for range 2 {
			s.alice.Send(sip.INVITE, s.bob.IMPU, named)
			m := s.bob.Request("INVITE")
			if m == nil {
				t.Fatalf("alice has %s", s.alice.Pending())
			}
			if from := string(m.Get(sip.HdrFrom)); !strings.HasPrefix(from, `"Alice" <`+s.alice.IMPU+`>;tag=`) || caller(m) != s.alice.IMPU {
				t.Errorf("bob is called by %s, %s", from, m.Get(sip.HdrPAssertedIdentity))
			}
			if bytes.Contains(m.AppendTo(nil), []byte("pseudonym.")) {
				t.Errorf("a pseudonym reaches bob:\n%s", m.AppendTo(nil))
			}
			s.bob.Answer(200)
			r := s.alice.Response(200)
			if r == nil {
				t.Fatalf("alice has %s", s.alice.Pending())
			}
			if bytes.Contains(r.AppendTo(nil), []byte("pseudonym.")) {
				t.Errorf("a pseudonym reaches alice:\n%s", r.AppendTo(nil))
			}
			s.talk()
			calls = append(calls, caller(out.Seen[len(out.Seen)-3]), caller(screen.Seen[len(screen.Seen)-3]))
		}
		blind(t, out, s.alice.IMPU, s.bob.IMPU, `"Alice"`, "imei")
		blind(t, screen, s.alice.IMPU, s.bob.IMPU, `"Alice"`, "imei")
		if calls[0] == "" || calls[0] != calls[2] || calls[1] != calls[3] || calls[0] == calls[1] {
			t.Errorf("the caller is known as %v", calls)
		}
	})
}

// TestServices_pseudonyms_used: a service may use the pseudonyms that it has: to call on, to write to somebody. Those of another service, and
// those that nobody made, lead nowhere.
func TestServices_pseudonyms_used(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	p := s.platform("desk", []string{"session.answer", "message.send"}, trigger("terminating", "10", "continue"))
	other := s.platform("other", []string{"session.proxy", "message.send"}, trigger("originating", "10", "continue"))
	s.registers()
	p.Handle = func(m *sip.Message) {
		if m.Method() != sip.INVITE {
			p.Pass(m)
			return
		}
		route := string(m.Nth(sip.HdrRoute, 1)) // it answers, and calls him on, whom it does not know
		p.Answer(m, 200)
		call := p.NewRequest(sip.INVITE, string(m.RequestURI()), caller(m))
		call.AppendString(sip.HdrRoute, route)
		p.Begin(call)
	}
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	m := s.bob.Request("INVITE")
	if m == nil || caller(m) != s.alice.IMPU {
		t.Fatalf("bob has %s, alice %s", s.bob.Pending(), s.alice.Pending())
	}
	s.bob.Answer(200)
	s.w.Settle()
	blind(t, p, s.alice.IMPU, s.bob.IMPU)

	write := func(from *lab.Platform, to string) {
		m := from.NewRequest(sip.MESSAGE, to, "sip:"+from.Service.Name()+"@"+lab.Domain)
		m.SetBody("text/plain", []byte("you were called"))
		from.Begin(m)
		s.w.Settle()
	}
	known := caller(p.Seen[0])
	write(p, known)
	if s.alice.Request("MESSAGE") == nil {
		t.Errorf("nothing from the service that knows %s: %s", known, p.Heard[len(p.Heard)-1].AppendTo(nil))
	}
	write(other, known)
	write(p, known[:8]+"AAAA"+known[12:])
	if m := s.alice.Request("MESSAGE"); m != nil {
		t.Errorf("a pseudonym of another, or of nobody, leads to alice:\n%s", m.AppendTo(nil))
	}
}
