package scenario

import (
	"fmt"
	"testing"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// eachRegisters registers the telephones of one user, each with an instance of its own: they ring together.
func eachRegisters(t *testing.T, telephones ...*lab.Client) {
	t.Helper()
	for i, c := range telephones {
		contact := fmt.Sprintf(`<sip:%s@%s>;+sip.instance="<urn:gsma:imei:35-209900-176148-%d>"`, c.Name, c.Address, i+1)
		if r, err := c.Register(lab.Header("Contact", contact)); err != nil || r.Status() != 200 {
			t.Fatal(c.Name, r, err)
		}
	}
}

// TestServices_ended_with_each_answer: where two telephones answer a call, both dialogs end with the platform that has it (RFC 3261 13.2.2.4): one in its path, and one
// that has answered and calls on.
func TestServices_ended_with_each_answer(t *testing.T) {
	for name, c := range map[string]struct {
		scope, when string
		handle      func(s *stage, p *lab.Platform) func(*sip.Message)
		alice       int // how many BYEs she hears
	}{
		"between": {"session.proxy", "originating", nil, 2},
		"between two calls": {"session.answer", "terminating", func(s *stage, p *lab.Platform) func(*sip.Message) {
			return func(m *sip.Message) {
				route := string(m.Nth(sip.HdrRoute, 1))
				p.Answer(m, 200)
				call := p.NewRequest(sip.INVITE, s.bob.IMPU, s.alice.IMPU)
				call.AppendString(sip.HdrRoute, route)
				p.Begin(call)
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, lab.Options{Seed: 1})
			p := s.platform("gone", []string{c.scope}, trigger(c.when, "10", "reject"))
			if c.handle != nil {
				p.Handle = c.handle(s, p)
			}
			s.registers()
			tablet := s.n.AddDevice("tablet", s.bob)
			eachRegisters(t, s.bob, tablet)
			s.alice.Send(sip.INVITE, s.bob.IMPU)
			if s.bob.Request("INVITE") == nil || tablet.Request("INVITE") == nil {
				t.Fatalf("no fork; alice has %s", s.alice.Pending())
			}
			tablet.Answer(200)
			s.bob.Answer(200) // before it has heard of the other's answer
			for s.alice.Response(200) != nil {
				s.alice.SendInDialog(sip.ACK)
			}
			s.w.Settle()
			p.Dead = true
			ended := 0
			if err := s.n.Call(func(t *shard.Task) { ended = s.n.Core.SCSCF.EndPlatform(t, p.Service.Manifest.Host()) }); err != nil {
				t.Fatal(err)
			}
			if ended < 2 {
				t.Errorf("%d dialogs of it are known", ended)
			}
			for _, who := range []*lab.Client{s.bob, tablet} {
				if who.Request("BYE") == nil {
					t.Errorf("%s hears no BYE, but %s", who.Name, who.Pending())
				}
			}
			for i := range c.alice {
				if s.alice.Request("BYE") == nil {
					t.Errorf("alice hears %d BYEs, and then %s", i, s.alice.Pending())
				}
			}
		})
	}
}
