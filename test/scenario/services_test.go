package scenario

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// manifest is that of a service called name, with what a test adds.
func manifest(name string, scopes []string, more string) string {
	return `manifest = 1
service = "` + name + `"
provider = "example"
domain = "` + lab.Domain + `"
endpoint = "sips:` + name + `.as.` + lab.Domain + `:5061"
psi = ["sip:` + name + `@` + lab.Domain + `"]
scopes = ["` + strings.Join(scopes, `", "`) + `"]
users = { all = true }
limits = { cps = 100, sessions = 100, fork = 1, media_mbps = 1 }
expires = 2027-01-01
` + more
}

// trigger is a trigger of a manifest.
func trigger(when string, priority string, onFailure string) string {
	return "[[trigger]]\ncase = \"" + when + "\"\nmethods = [\"INVITE\", \"MESSAGE\"]\npriority = " + priority + "\non_failure = \"" + onFailure + "\"\n"
}

// stage is a world with alice and bob, registered.
type stage struct {
	*testing.T
	w          *lab.World
	n          *lab.Node
	alice, bob *lab.Client
}

func newStage(t *testing.T, o lab.Options) *stage {
	t.Helper()
	w, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	s := &stage{T: t, w: w, n: w.Nodes[0]}
	s.alice, s.bob = s.user("alice"), s.user("bob")
	return s
}

func (s *stage) user(name string) *lab.Client {
	s.Helper()
	c, err := s.n.AddUser(lab.User{Name: name})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *stage) registers() {
	s.Helper()
	for _, c := range []*lab.Client{s.alice, s.bob} {
		if r, err := c.Register(); err != nil || r.Status() != 200 {
			s.Fatalf("%s: %v %v", c.Name, r, err)
		}
	}
}

func (s *stage) platform(name string, scopes []string, more string) *lab.Platform {
	s.Helper()
	p, err := s.n.AddPlatform(manifest(name, scopes, more))
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// calls sends an INVITE from alice to bob and returns it as he gets it.
func (s *stage) calls(edits ...lab.Edit) *sip.Message {
	s.Helper()
	s.alice.Send(sip.INVITE, s.bob.IMPU, edits...)
	m := s.bob.Request("INVITE")
	if m == nil {
		s.Fatalf("bob hears nothing; alice has %s", s.alice.Pending())
	}
	return m
}

// talk answers the call, acknowledges, and hangs up from bob's side.
func (s *stage) talk() {
	s.Helper()
	s.bob.Answer(200)
	if s.alice.Response(200) == nil {
		s.Fatalf("no 200; alice has %s", s.alice.Pending())
	}
	s.alice.SendInDialog(sip.ACK)
	if s.bob.Request("ACK") == nil {
		s.Fatal("no ACK")
	}
	s.bob.SendInDialog(sip.BYE)
	if s.alice.Request("BYE") == nil {
		s.Fatalf("no BYE; bob has %s", s.bob.Pending())
	}
	s.alice.Answer(200)
	if s.bob.Response(200) == nil {
		s.Fatal("no 200 to BYE")
	}
}

func methods(list []*sip.Message) (names []string) {
	for _, m := range list {
		names = append(names, string(m.MethodName()))
	}
	return names
}

func eachMode(t *testing.T, test func(t *testing.T, o lab.Options)) {
	for name, mode := range map[string]hop.Mode{"direct": hop.Direct, "strict": hop.Strict} {
		t.Run(name, func(t *testing.T) { test(t, lab.Options{Seed: 1, Mode: mode, Poison: true}) })
	}
}

// TestServices_chain: platforms of the caller, then of the called user, in the order of their priorities, each once, and all stay in the
// dialog (TS 23.218 6.3, 6.4; TS 24.229 5.4.3.2, 5.4.3.3).
func TestServices_chain(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		s := newStage(t, o)
		proxy := []string{"session.proxy", "identity.private"}
		out := s.platform("out", proxy, trigger("originating", "10", "continue"))
		first := s.platform("first", proxy, trigger("terminating", "10", "continue"))
		second := s.platform("second", proxy, trigger("terminating", "20", "continue"))
		s.registers()
		m := s.calls()
		if got := m.Count(sip.HdrPServedUser); got != 0 {
			t.Error("P-Served-User reaches a client")
		}
		s.talk()
		for _, p := range []*lab.Platform{out, first, second} {
			if got := strings.Join(methods(p.Seen), " "); got != "INVITE ACK BYE" {
				t.Errorf("%s saw %s", p.Service.Name(), got)
			}
		}
		s.w.Advance(5 * time.Minute)
		if n, m := s.n.Transactions(), s.n.Messages(); n != 0 || m != 0 {
			t.Errorf("%d transactions and %d messages are left over", n, m)
		}
		if served := string(first.Seen[0].Get(sip.HdrPServedUser)); served != "<"+s.bob.IMPU+">;sescase=term;regstate=reg" {
			t.Errorf("served %s", served)
		}
		if served := string(out.Seen[0].Get(sip.HdrPServedUser)); served != "<"+s.alice.IMPU+">;sescase=orig;regstate=reg" {
			t.Errorf("served %s", served)
		}
	})
}

// TestServices_least_data: a platform sees no location, no device, no charging; the called client's side still gets what it is to get.
func TestServices_least_data(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	p := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "continue"))
	s.registers()
	s.calls()
	for _, h := range []sip.HeaderID{sip.HdrPAccessNetworkInfo, sip.HdrPChargingVector, sip.HdrUserAgent, sip.HdrOther} {
		if p.Seen[0].Has(h) {
			t.Errorf("%v: %s", h, p.Seen[0].Get(h))
		}
	}
	s.talk()
	if n, err := s.n.CompleteCalls(); err != nil || n != 2 {
		t.Errorf("%d complete call records: %v", n, err)
	}
}

// TestServices_default_handling: a platform that is dead is passed over, or ends the session (TS 29.228 B.2.4).
func TestServices_default_handling(t *testing.T) {
	for _, handling := range []string{"continue", "reject"} {
		t.Run(handling, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			p := s.platform("screen", []string{"session.proxy"}, trigger("terminating", "10", handling))
			s.registers()
			p.Dead = true
			s.alice.Send(sip.INVITE, s.bob.IMPU)
			s.w.Advance(5 * time.Second)
			if handling == "reject" {
				if s.alice.Response(408) == nil || s.bob.Request("INVITE") != nil {
					t.Errorf("alice has %s, bob %s", s.alice.Pending(), s.bob.Pending())
				}
				return
			}
			if s.bob.Request("INVITE") == nil {
				t.Fatalf("alice has %s", s.alice.Pending())
			}
			s.talk()
		})
	}
}

// TestServices_overreach: what a platform does beyond its manifest is refused by name, and the other side hears nothing of it.
func TestServices_overreach(t *testing.T) {
	for _, c := range []struct {
		name    string
		edit    func(m *sip.Message)
		control secure.ControlID
	}{
		{"target", func(m *sip.Message) { m.SetRequestURI([]byte("sip:alice@" + lab.Domain)) }, secure.ISAuthorizationManifest},
		{"asserted identity", func(m *sip.Message) { m.SetString(sip.HdrPAssertedIdentity, "<sip:boss@"+lab.Domain+">") }, secure.ISAuthorizationAssert},
		{"from", func(m *sip.Message) { m.SetString(sip.HdrFrom, "<sip:boss@"+lab.Domain+">;tag=1") }, secure.ISAuthorizationAssert},
		{"served user", func(m *sip.Message) { m.SetString(sip.HdrPServedUser, "<sip:boss@"+lab.Domain+">;sescase=orig") }, secure.ISAuthorizationAssert},
		{"session description", func(m *sip.Message) { m.SetBody("application/sdp", []byte("v=0\r\n")) }, secure.ISAuthorizationManifest},
		{"record-route", func(m *sip.Message) { m.PrependString(sip.HdrRecordRoute, "<sip:evil.example;lr>") }, secure.ISAuthorizationManifest},
		{"contact", func(m *sip.Message) { m.SetString(sip.HdrContact, "<sip:evil@evil.example>") }, secure.ISAuthorizationManifest},
		{"identifier", func(m *sip.Message) {
			m.SetString(sip.HdrRoute, "<sip:AAAAAAAAAAAAAAAAAAAAAA@scscf."+lab.Domain+";lr>")
		}, secure.ISIntegrityODI},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			p := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
			p.Edit = c.edit
			s.registers()
			s.alice.Send(sip.INVITE, s.bob.IMPU)
			s.w.Advance(time.Second)
			if s.bob.Request("INVITE") != nil {
				t.Error("bob is called")
			}
			if len(s.w.Events) == 0 || s.w.Events[len(s.w.Events)-1].Control != c.control {
				t.Errorf("events: %v", s.w.Events)
			}
			if len(p.Heard) == 0 || p.Heard[len(p.Heard)-1].Status() != 403 || !p.Heard[len(p.Heard)-1].Has(sip.HdrWarning) {
				t.Errorf("the platform heard %v", p.Heard)
			}
		})
	}
}

// last returns the last response that a platform heard, 0 if none.
func last(p *lab.Platform) int {
	if len(p.Heard) == 0 {
		return 0
	}
	return p.Heard[len(p.Heard)-1].Status()
}

// TestServices_answers: who calls a public service identity is answered by its platform (TS 23.228 5.4.12), within its dialog only.
func TestServices_answers(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		s := newStage(t, o)
		p := s.platform("echo", []string{"session.answer"}, "")
		p.Handle = func(m *sip.Message) { p.Answer(m, 200) }
		s.registers()
		s.alice.Send(sip.INVITE, "sip:echo@"+lab.Domain)
		if s.alice.Response(200) == nil {
			t.Fatalf("alice has %s", s.alice.Pending())
		}
		s.alice.SendInDialog(sip.ACK)
		s.alice.SendInDialog(sip.BYE)
		if s.alice.Response(200) == nil {
			t.Fatalf("alice has %s", s.alice.Pending())
		}
		if got := strings.Join(methods(p.Seen), " "); got != "INVITE ACK BYE" {
			t.Errorf("the platform saw %s", got)
		}
		if served := string(p.Seen[0].Get(sip.HdrPServedUser)); served != "<sip:echo@"+lab.Domain+">;sescase=term;regstate=unreg" {
			t.Errorf("served %s", served)
		}
	})
}

// TestServices_answers_without_right: a platform that may only stay in the path cannot take a call.
func TestServices_answers_without_right(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	p := s.platform("tap", []string{"session.proxy"}, trigger("terminating", "10", "reject"))
	p.Handle = func(m *sip.Message) { p.Answer(m, 200) }
	s.registers()
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	if r := s.alice.Response(403); r == nil || !strings.Contains(string(r.Get(sip.HdrWarning)), "scope=session.answer") {
		t.Errorf("alice has %s", s.alice.Pending())
	}
}

// TestServices_unregistered: a platform answers for who is not there (TS 23.218 6.5.3).
func TestServices_unregistered(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	p := s.platform("mailbox", []string{"session.answer"}, trigger("terminating-unregistered", "10", "continue"))
	p.Handle = func(m *sip.Message) { p.Answer(m, 200) }
	if r, err := s.alice.Register(); err != nil || r.Status() != 200 {
		t.Fatal(err)
	}
	before := s.assignments()
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	if s.alice.Response(200) == nil {
		t.Fatalf("alice has %s", s.alice.Pending())
	}
	if got := s.assignments(); got[0] != before[0]+1 || got[1] != before[1] { // UNREGISTERED_USER, and nothing besides
		t.Errorf("SARs done and refused: %d, before the call %d", got, before)
	}
	p.Dead = true
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	s.w.Advance(5 * time.Second)
	if s.alice.Response(480) == nil {
		t.Errorf("alice has %s", s.alice.Pending())
	}
}

// assignments returns how many SARs the HSS has done and refused.
func (s *stage) assignments() (n [2]uint64) {
	for _, c := range s.n.HSS().Counts() {
		if c.Operation == "server_assignment" {
			n[slices.Index([]string{"answers", "refusals"}, c.Name)] = c.Value
		}
	}
	return n
}

// TestServices_range: a user who is called by a number of his range goes through his platforms, whether they pass a request on or call themselves, and nobody
// asks the HSS again which range that was (RFC 5002).
func TestServices_range(t *testing.T) {
	for name, handle := range map[string]func(p *lab.Platform) func(m *sip.Message){
		"passed on": func(p *lab.Platform) func(m *sip.Message) {
			return func(m *sip.Message) { m.Remove(sip.HdrPProfileKey); p.Pass(m) }
		},
		"another is said": func(p *lab.Platform) func(m *sip.Message) {
			return func(m *sip.Message) { m.SetString(sip.HdrPProfileKey, "<sip:!.*!@"+lab.Domain+">"); p.Pass(m) }
		},
		"called anew": func(p *lab.Platform) func(m *sip.Message) {
			return func(m *sip.Message) {
				route, asserted := string(m.Nth(sip.HdrRoute, 1)), string(m.Get(sip.HdrPAssertedIdentity))
				p.Answer(m, 200)
				call := p.NewRequest(sip.INVITE, string(m.RequestURI()), strings.Trim(asserted, "<>"))
				call.AppendString(sip.HdrRoute, route)
				p.Begin(call)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			pbx, err := s.n.AddUser(lab.User{Name: "pbx", Also: []string{"sip:pbx-![0-9]{3}!@" + lab.Domain}})
			if err != nil {
				t.Fatal(err)
			}
			p := s.platform("desk", []string{"session.proxy", "session.answer", "identity.private"}, trigger("terminating", "10", "reject"))
			p.Handle = handle(p)
			s.registers()
			if r, err := pbx.Register(); err != nil || r.Status() != 200 {
				t.Fatal(err)
			}
			before := s.assignments()
			s.alice.Send(sip.INVITE, "sip:pbx-471@"+lab.Domain)
			m := pbx.Request("INVITE")
			if m == nil {
				t.Fatalf("alice has %s; %v", s.alice.Pending(), s.w.Events)
			}
			if called := string(m.Get(sip.HdrPCalledPartyID)); called != "<sip:pbx-471@"+lab.Domain+">" {
				t.Errorf("%s is called", called)
			}
			if got := s.assignments(); got != before {
				t.Errorf("SARs done and refused: %d, before the call %d", got, before)
			}
		})
	}
}

// TestServices_diverts: a platform of the called user sends the call elsewhere; what his profile says of diverted calls counts then, and
// the number of diversions is bounded (TS 24.229 5.4.3.3, TS 24.604).
func TestServices_diverts(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	carol := s.user("carol")
	p := s.platform("forward", []string{"session.proxy", "session.redirect", "identity.private"}, trigger("terminating", "10", "continue"))
	p.Edit = func(m *sip.Message) {
		if string(m.RequestURI()) == s.bob.IMPU {
			m.SetRequestURI([]byte(carol.IMPU))
		}
	}
	s.registers()
	if r, err := carol.Register(); err != nil || r.Status() != 200 {
		t.Fatal(err)
	}
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	if carol.Request("INVITE") == nil {
		t.Fatalf("alice has %s", s.alice.Pending())
	}
	carol.Answer(200)
	if s.alice.Response(200) == nil {
		t.Fatalf("alice has %s", s.alice.Pending())
	}
	s.alice.SendInDialog(sip.ACK)
	s.alice.SendInDialog(sip.BYE)
	if carol.Request("BYE") == nil {
		t.Errorf("alice has %s", s.alice.Pending())
	}
}

// TestServices_back_to_back: a platform answers and calls the user itself, in a dialog of its own, with the identifier it was given: the
// platforms behind it see that call.
func TestServices_back_to_back(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	b2b := s.platform("desk", []string{"session.answer"}, trigger("terminating", "10", "reject"))
	behind := s.platform("behind", []string{"session.proxy"}, trigger("terminating", "20", "reject"))
	b2b.Handle = func(m *sip.Message) {
		if m.Method() != sip.INVITE {
			b2b.Answer(m, 200)
			return
		}
		route := string(m.Nth(sip.HdrRoute, 1))
		b2b.Answer(m, 200)
		call := b2b.NewRequest(sip.INVITE, s.bob.IMPU, s.alice.IMPU)
		call.AppendString(sip.HdrRoute, route)
		b2b.Begin(call)
	}
	s.registers()
	s.alice.Send(sip.INVITE, s.bob.IMPU)
	if s.alice.Response(200) == nil {
		t.Fatalf("alice has %s", s.alice.Pending())
	}
	m := s.bob.Request("INVITE")
	if m == nil {
		t.Fatalf("bob hears nothing; %v", s.w.Events)
	}
	if id := string(m.Get(sip.HdrPAssertedIdentity)); id != "<"+s.alice.IMPU+">" {
		t.Errorf("asserted %s", id)
	}
	if len(behind.Seen) != 1 || len(b2b.Seen) != 1 {
		t.Errorf("%v, %v", methods(behind.Seen), methods(b2b.Seen))
	}
}

// TestServices_replay: an identifier is good for one return of one call, for its platform alone.
func TestServices_replay(t *testing.T) {
	for name, again := range map[string]func(s *stage, p, other *lab.Platform, m *sip.Message){
		"twice":             func(_ *stage, p, _ *lab.Platform, m *sip.Message) { p.Pass(m.Clone()) },
		"by another":        func(_ *stage, _, other *lab.Platform, m *sip.Message) { other.Pass(m.Clone()) },
		"after the session": func(s *stage, p, _ *lab.Platform, m *sip.Message) { s.talk(); p.Pass(m.Clone()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			p := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
			other := s.platform("other", []string{"session.proxy"}, "")
			s.registers()
			s.calls()
			before := len(s.w.Events)
			again(s, p, other, p.Seen[0])
			s.w.Settle()
			if s.bob.Request("INVITE") != nil {
				t.Error("bob is called again")
			}
			if !slices.ContainsFunc(s.w.Events[before:], func(e secure.Event) bool { return e.Control == secure.ISIntegrityODI }) {
				t.Errorf("events %v", s.w.Events[before:])
			}
		})
	}
}

// TestServices_originates: a platform calls as its public service identity if it may, and as nobody else.
func TestServices_originates(t *testing.T) {
	psi := "sip:wake@" + lab.Domain
	for _, c := range []struct {
		scope, from string
		rings       bool
	}{{"session.originate", psi, true}, {"session.originate", "sip:alice@" + lab.Domain, false}, {"session.proxy", psi, false}} {
		s := newStage(t, lab.Options{Seed: 1})
		p := s.platform("wake", []string{c.scope}, "")
		s.registers()
		p.Begin(p.NewRequest(sip.INVITE, s.bob.IMPU, c.from))
		m := s.bob.Request("INVITE")
		if (m != nil) != c.rings {
			t.Fatalf("%+v: %v, %v", c, m, s.w.Events)
		}
		if !c.rings {
			if last(p) != 403 {
				t.Errorf("%+v: %d", c, last(p))
			}
			continue
		}
		if id := string(m.Get(sip.HdrPAssertedIdentity)); id != "<"+psi+">" {
			t.Errorf("asserted %s", id)
		}
		s.bob.Answer(200)
		s.w.Settle()
		if last(p) != 200 {
			t.Errorf("the platform heard %d", last(p))
		}
		s.bob.SendInDialog(sip.BYE)
		s.w.Settle()
		if got := strings.Join(methods(p.Seen), " "); got != "BYE" {
			t.Errorf("the platform saw %s", got)
		}
	}
}

// TestServices_dialogs_of_others: a platform has no say in a dialog that it is not part of.
func TestServices_dialogs_of_others(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	out := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
	evil := s.platform("evil", []string{"session.proxy", "session.originate"}, "")
	s.registers()
	s.calls()
	s.bob.Answer(200)
	ok := s.alice.Response(200)
	s.alice.SendInDialog(sip.ACK)
	s.w.Settle()
	bye := evil.NewRequest(sip.BYE, "sip:bob@10.0.0.1", s.alice.IMPU)
	for _, h := range []sip.HeaderID{sip.HdrFrom, sip.HdrTo, sip.HdrCallID} {
		bye.Set(h, ok.Get(h))
	}
	bye.SetString(sip.HdrRoute, "<sip:term@scscf."+lab.Domain+";lr>")
	evil.Begin(bye)
	s.w.Settle()
	if s.bob.Request("BYE") != nil || last(evil) != 403 {
		t.Errorf("the stranger heard %d", last(evil))
	}
	if len(out.Seen) != 2 {
		t.Errorf("%v", methods(out.Seen))
	}
}

// TestServices_cancel: who gives up, or is lost, is heard through the platforms, and why; nothing is left over.
func TestServices_cancel(t *testing.T) {
	for name, lost := range map[string]bool{"gives_up": false, "is_lost": true} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, o lab.Options) { cancelled(t, o, lost) })
		})
	}
}

func cancelled(t *testing.T, o lab.Options, lost bool) {
	s := newStage(t, o)
	p := s.platform("out", []string{"session.proxy"}, trigger("originating", "10", "reject"))
	s.registers()
	s.calls()
	s.bob.Answer(180)
	if s.alice.Response(180) == nil {
		t.Fatalf("alice has %s", s.alice.Pending())
	}
	if lost {
		s.n.Disconnect(s.alice)
	} else {
		s.alice.SendCancel()
	}
	c := s.bob.Request("CANCEL")
	if c == nil {
		t.Fatalf("bob has %s; the platform saw %v", s.bob.Pending(), methods(p.Seen))
	}
	if reason := string(c.Get(sip.HdrReason)); strings.HasPrefix(reason, "SIP;cause=503") != lost {
		t.Errorf("bob is told %q", reason)
	}
	s.bob.Answer(487)
	if s.alice.Response(487) == nil {
		t.Errorf("alice has %s", s.alice.Pending())
	}
	s.w.Advance(2 * time.Minute)
	if n := s.n.Transactions(); n != 0 {
		t.Errorf("%d transactions", n)
	}
}

// TestServices_quota: a platform gets no more than its manifest says, and others go on.
func TestServices_quota(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1, Wide: true})
	p := s.platform("wake", []string{"session.originate"}, "")
	s.registers()
	for range 150 {
		p.Begin(p.NewRequest(sip.INVITE, "sip:nobody@"+lab.Domain, "sip:wake@"+lab.Domain))
	}
	s.w.Settle()
	refused := 0
	for _, m := range p.Heard {
		if m.Status() == 503 && m.Has(sip.HdrRetryAfter) {
			refused++
		}
	}
	if refused != 50 {
		t.Errorf("%d of 150 refused, its limit is 100 a second", refused)
	}
}

// TestServices_feedback: a platform that understands overload control is told when it asks for more than was approved (RFC 7415), and what it
// says that it can take is not exceeded (RFC 7339).
func TestServices_feedback(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1, Wide: true})
	p := s.platform("wake", []string{"session.proxy", "message.send"}, trigger("originating", "10", "continue"))
	s.registers()
	write := func() string {
		p.Begin(p.NewRequest(sip.MESSAGE, "sip:nobody@"+lab.Domain, "sip:wake@"+lab.Domain))
		s.w.Settle()
		return string(p.Heard[len(p.Heard)-1].Get(sip.HdrVia))
	}
	p.Via = `;oc;oc-algo="loss,rate"`
	if via := write(); !strings.Contains(via, `;oc=0;oc-algo="rate";oc-validity=0;`) {
		t.Errorf("before it is told %s", via)
	}
	for range 150 {
		p.Begin(p.NewRequest(sip.MESSAGE, "sip:nobody@"+lab.Domain, "sip:wake@"+lab.Domain))
	}
	if via := write(); !strings.Contains(via, `;oc=100;oc-algo="rate";oc-validity=500;`) {
		t.Errorf("when it has asked for too much it is told %s", via)
	}
	s.w.Advance(5 * time.Second)

	asked := len(p.Seen)
	p.Handle = func(m *sip.Message) {
		p.Answer(m, 486, func(r *sip.Message) {
			r.ReplaceFirst(sip.HdrVia, append(bytes.TrimSuffix(bytes.Clone(r.Get(sip.HdrVia)), []byte(`;oc;oc-algo="loss"`)), `;oc=50;oc-algo="loss";oc-validity=60000`...))
		})
	}
	for range 21 {
		s.alice.Send(sip.MESSAGE, s.bob.IMPU)
		s.w.Settle()
	}
	if n := len(p.Seen) - asked; n != 11 {
		t.Errorf("it is asked %d of 21 times, when it takes every second one after the first", n)
	}
	delivered := 0
	for s.bob.Request("MESSAGE") != nil {
		s.bob.Answer(200)
		delivered++
	}
	if delivered != 10 {
		t.Errorf("bob has %d messages: where it is not asked default handling goes on", delivered)
	}
}

// TestServices_neighbours: a platform that hangs, floods or is dead costs nobody else time. While it does, calls that another one is asked
// about are set up in the same moment as before.
func TestServices_neighbours(t *testing.T) {
	messages := "[[trigger]]\ncase = \"originating\"\nmethods = [\"MESSAGE\"]\npriority = 10\non_failure = \"reject\"\n"
	calls := strings.Replace(messages, "MESSAGE", "INVITE", 1)
	for name, misbehave := range map[string]func(s *stage, bad *lab.Platform){
		"hangs": func(s *stage, bad *lab.Platform) { bad.Handle = func(*sip.Message) {} },
		"dead":  func(s *stage, bad *lab.Platform) { bad.Dead = true },
		"floods": func(s *stage, bad *lab.Platform) {
			for range 500 {
				bad.Begin(bad.NewRequest(sip.MESSAGE, s.bob.IMPU, "sip:bad@"+lab.Domain))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			good := s.platform("good", []string{"session.proxy"}, calls)
			bad := s.platform("bad", []string{"session.proxy", "message.send"}, messages)
			s.registers()
			misbehave(s, bad)
			for range 20 { // these wait for it
				s.alice.Send(sip.MESSAGE, s.bob.IMPU)
			}
			for i := range 10 {
				before := s.w.Clock.Now()
				s.calls()
				s.talk()
				if took := s.w.Clock.Now() - before; took > 20*time.Millisecond {
					t.Errorf("call %d takes %s", i, took)
				}
			}
			if len(good.Seen) != 30 {
				t.Errorf("the other was asked %d times, want 3 for each call", len(good.Seen))
			}
		})
	}
}

// TestServices_breaker: who does not answer is not asked for a while, so that nobody waits for him.
func TestServices_breaker(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	p := s.platform("screen", []string{"session.proxy"}, trigger("terminating", "10", "continue"))
	s.registers()
	p.Dead = true
	for range 5 {
		s.alice.Send(sip.MESSAGE, s.bob.IMPU)
		s.w.Advance(5 * time.Second)
	}
	seen := s.bob.Request("MESSAGE") != nil
	for s.bob.Request("MESSAGE") != nil {
		continue
	}
	s.alice.Send(sip.MESSAGE, s.bob.IMPU)
	if !seen || s.bob.Request("MESSAGE") == nil {
		t.Error("bob waits for a platform that is known to be dead")
	}
	p.Dead = false
	s.w.Advance(10 * time.Second)
	s.alice.Send(sip.MESSAGE, s.bob.IMPU)
	if s.bob.Request("MESSAGE") == nil || len(p.Seen) == 0 {
		t.Error("the platform is back, and nobody asks it")
	}
}

// TestServices_third_party_registration: platforms learn who registers, refreshes and leaves, and nothing of where he is
// (TS 24.229 5.4.1.7).
func TestServices_third_party_registration(t *testing.T) {
	s := newStage(t, lab.Options{Seed: 1})
	p := s.platform("presence", []string{"session.proxy", "identity.private"}, "[[trigger]]\ncase = \"registration\"\npriority = 10\non_failure = \"continue\"\n")
	p.Handle = func(m *sip.Message) { p.Answer(m, 200) }
	location := func(m *sip.Message) {
		m.SetString(sip.HdrPAccessNetworkInfo, "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=00101")
	}
	for range 2 {
		if r, err := s.alice.Register(location); err != nil || r.Status() != 200 {
			t.Fatal(r, err)
		}
		s.w.Settle()
	}
	if r, err := s.alice.Register(location, func(m *sip.Message) {
		m.SetString(sip.HdrContact, "*")
		m.SetString(sip.HdrExpires, "0")
	}); err != nil || r.Status() != 200 {
		t.Fatal(r, err)
	}
	s.w.Settle()
	if len(p.Seen) != 3 {
		t.Fatalf("the platform saw %v", methods(p.Seen))
	}
	for i, m := range p.Seen {
		if to := string(m.Get(sip.HdrTo)); m.Method() != sip.REGISTER || to != "<"+s.alice.IMPU+">" || m.Has(sip.HdrPAccessNetworkInfo) || m.Has(sip.HdrAuthorization) {
			t.Errorf("%s", m.AppendTo(nil))
		}
		if expires, _ := m.Expires(); (expires == 0) != (i == 2) {
			t.Errorf("REGISTER %d: Expires %d", i, expires)
		}
	}
}

// TestServices_untold: without a platform that must be told of registrations there are none (TS 24.229 5.4.1.7); without another one there are.
func TestServices_untold(t *testing.T) {
	for handling, want := range map[string]bool{"continue": true, "reject": false} {
		t.Run(handling, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			p := s.platform("audit", []string{"session.proxy"}, "[[trigger]]\ncase = \"registration\"\npriority = 10\non_failure = \""+handling+"\"\n")
			p.Handle = func(m *sip.Message) { p.Answer(m, 200) }
			s.registers()
			p.Dead = true
			if r, err := s.alice.Register(); err != nil || r.Status() != 200 {
				t.Fatal(r, err)
			}
			s.w.Advance(10 * time.Second)
			s.bob.Send(sip.MESSAGE, s.alice.IMPU)
			if got := s.alice.Request("MESSAGE") != nil; got != want {
				t.Errorf("alice is reached: %v, want %v; bob has %s", got, want, s.bob.Pending())
			}
		})
	}
}

// TestServices_ended: the dialogs of a platform end with it: whoever is left hears a BYE.
func TestServices_ended(t *testing.T) {
	for name, c := range map[string]struct {
		scopes  []string
		trigger string
		handle  func(s *stage, p *lab.Platform) func(*sip.Message)
		hear    []string
	}{
		"between": {[]string{"session.proxy"}, trigger("originating", "10", "reject"), nil, []string{"alice", "bob"}},
		"called": {[]string{"session.answer"}, trigger("terminating", "10", "reject"), func(_ *stage, p *lab.Platform) func(*sip.Message) {
			return func(m *sip.Message) { p.Answer(m, 200) }
		}, []string{"alice"}},
		"between two calls": {[]string{"session.answer"}, trigger("terminating", "10", "reject"), func(s *stage, p *lab.Platform) func(*sip.Message) {
			return func(m *sip.Message) {
				route := string(m.Nth(sip.HdrRoute, 1))
				p.Answer(m, 200)
				call := p.NewRequest(sip.INVITE, s.bob.IMPU, s.alice.IMPU)
				call.AppendString(sip.HdrRoute, route)
				p.Begin(call)
			}
		}, []string{"alice", "bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			p := s.platform("gone", c.scopes, c.trigger)
			if c.handle != nil {
				p.Handle = c.handle(s, p)
			}
			s.registers()
			s.alice.Send(sip.INVITE, s.bob.IMPU)
			if len(c.hear) == 2 {
				if s.bob.Request("INVITE") == nil {
					t.Fatalf("bob hears nothing; alice has %s", s.alice.Pending())
				}
				s.bob.Answer(200)
			}
			if s.alice.Response(200) == nil {
				t.Fatalf("alice has %s", s.alice.Pending())
			}
			s.alice.SendInDialog(sip.ACK)
			s.w.Settle()
			p.Dead = true
			ended := 0
			if err := s.n.Call(func(t *shard.Task) { ended = s.n.Core.SCSCF.EndPlatform(t, p.Service.Manifest.Host()) }); err != nil {
				t.Fatal(err)
			}
			if ended == 0 {
				t.Error("no dialog of it is known")
			}
			for _, who := range c.hear {
				client := map[string]*lab.Client{"alice": s.alice, "bob": s.bob}[who]
				if client.Request("BYE") == nil {
					t.Errorf("%s hears no BYE, but %s", who, client.Pending())
				}
			}
		})
	}
}

// TestServices_deregistered: a call that rings by way of service platforms ends with the registration of either user too (TS 24.229 5.4.5.1.1). A platform of the called
// one hears that nobody is there any more, and may send the call elsewhere.
func TestServices_deregistered(t *testing.T) {
	for name, c := range map[string]struct {
		platform string // when it is asked
		hears    int
	}{"alice": {"originating", 487}, "bob": {"terminating", 480}} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, o lab.Options) { deregistered(t, o, name, c.platform, c.hears) })
		})
	}
}

// deregistered lets the operator remove a user while a call rings, and says what the platform in between hears.
func deregistered(t *testing.T, o lab.Options, name, when string, hears int) {
	s := newStage(t, o)
	p := s.platform("between", []string{"session.proxy"}, trigger(when, "10", "continue"))
	s.registers()
	s.calls()
	s.bob.Answer(180)
	if s.alice.Response(180) == nil {
		t.Fatalf("alice has %s", s.alice.Pending())
	}
	gone := map[string]*lab.Client{"alice": s.alice, "bob": s.bob}[name]
	if err := s.n.Provision(func(ctx context.Context) error { return s.n.HSS().Remove(ctx, gone.IMPI) }); err != nil {
		t.Fatal(err)
	}
	cancel := s.bob.Request("CANCEL")
	if cancel == nil || !strings.Contains(string(cancel.Get(sip.HdrReason)), "Not registered any more") {
		t.Fatalf("bob has %s, %v", s.bob.Pending(), cancel)
	}
	if err := s.bob.AnswerTo("INVITE", 487); err != nil {
		t.Fatal(err)
	}
	if s.alice.Response(480) == nil {
		t.Errorf("alice has %s", s.alice.Pending())
	}
	if last := p.Heard[len(p.Heard)-1]; last.Status() != hears {
		t.Errorf("the platform heard %d, want %d", last.Status(), hears)
	}
	s.w.Advance(2 * time.Minute)
	if n := s.n.Transactions(); n != 0 {
		t.Errorf("%d transactions", n)
	}
}
