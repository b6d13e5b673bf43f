package attack

import (
	"context"
	"errors"
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
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesControl,
		Source: "TS 24.229 5.4.3.2", Access: []Access{ISC},
		Approved: []Approved{
			{Name: first, Manifest: rights("session.proxy") + asked("originating", 10, "continue") + asked("originating", 30, "continue")},
			{Name: screen, Manifest: rights("session.proxy") + asked("originating", 20, "reject")},
			{Name: second, Manifest: rights("session.proxy") + asked("originating", 40, "continue")},
		},
		Bounds: Bounds{Packets: 80, Bytes: 120_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "edit", Position: EnrolledPlatform, Controls: controls, Run: odi(false, func(ownBefore, _, _ string) string { return misspelt(ownBefore) })},
			{Name: "replay", Position: EnrolledPlatform, Controls: controls, Run: odi(false, func(_, ownBehind, _ string) string { return ownBehind })},
			{Name: "steal", Position: EnrolledPlatform, Controls: controls, Run: odi(true, func(_, _, others string) string { return others })},
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

// odi lets dave's first call to carol go through the chain, which shows the attacker the identifiers of that call. holds says that the second platform
// keeps it. Of dave's second call the first platform makes a call of its own, with an identifier that choose takes: the one of this call that leads to the
// screening platform, its own behind it of the first call, and the other platform's of the first call.
func odi(holds bool, choose func(ownBefore, ownBehind, others string) string) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, carol, err := f.callerAndCallee(ctx)
		if err != nil {
			return err
		}
		const calls = "a-call-to-screen"
		routes, others := make(chan string, 4), make(chan string, 4)
		one, err := f.server(ctx, f.attacker, first, func(s *Server) {
			s.Handle = func(m *sip.Message) bool {
				if m.Method() == sip.INVITE {
					routes <- string(m.Nth(sip.HdrRoute, 1))
				}
				return m.Method() == sip.INVITE && strings.HasPrefix(string(m.Get(sip.HdrCallID)), calls)
			}
		})
		if err != nil {
			return err
		}
		two, err := f.server(ctx, f.attacker, second, func(s *Server) {
			s.Handle = func(m *sip.Message) bool {
				if m.Method() != sip.INVITE {
					return false
				}
				others <- string(m.Nth(sip.HdrRoute, 1))
				return holds && s.Answer(m, 183) == nil // who is silent is taken for dead
			}
		})
		if err != nil {
			return err
		}
		defer two.Close()
		honest, err := f.server(ctx, f.honest, screen, nil)
		if err != nil {
			return err
		}
		if err := dave.Write(dave.calls(carol.IMPU, "shown-"+f.token())); err != nil {
			return err
		}
		var seen [4]string
		for i, from := range []chan string{routes, routes, others, routes} {
			if i == 3 { // the chain has shown all that it has
				if err := dave.Write(dave.calls(carol.IMPU, calls+f.token())); err != nil {
					return err
				}
			}
			select {
			case seen[i] = <-from:
			case <-ctx.Done():
				return errors.New("attack: the chain does not reach the attacker's platforms")
			}
		}
		mine := "second-half-" + f.token()
		answer, err := one.Ask(ctx, one.Begins(Request{Method: "INVITE", URI: carol.IMPU, From: dave.IMPU, CallID: mine,
			Lines: []string{"Route: " + choose(seen[3], seen[1], seen[2]), one.contact()}}))
		if err != nil {
			return err
		}
		o.Arrived("the call with that identifier is answered %d", answer.Status())
		rang, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == mine })
		if err != nil {
			return err
		}
		screened := 0
		for _, m := range honest.Seen("INVITE") {
			if strings.Contains(m, mine) || strings.Contains(m, calls) {
				screened++
			}
		}
		o.Users = rang
		o.Peer(rang > 0 && screened == 0, "carol's telephone rings %d times for the second call, and the platform that screens has seen %d of two calls before",
			rang, len(honest.Seen("INVITE")))
		o.Wire(answer.Status() == 200, "the attacker's platform is answered %d", answer.Status())
		return nil
	}
}

// calls is an INVITE to whom, without a session description.
func (h *Hand) calls(whom, callID string) string {
	return h.Text(Request{Method: "INVITE", URI: whom, CallID: callID, Lines: []string{"Contact: " + h.Contact()}})
}
