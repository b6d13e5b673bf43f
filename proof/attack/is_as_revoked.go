package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// asRevoked: a platform goes on after its approval was taken back.
func asRevoked() Attack {
	controls := []secure.ControlID{secure.ISAuthenticationRevocation}
	variant := func(name, platform string, ends func(context.Context, *Field) error) Variant {
		return Variant{Name: name, Position: EnrolledPlatform, Controls: controls, Run: goesOn(platform, ends)}
	}
	return Attack{
		ID: "is.as.revoked", Number: "IS-07", Title: "a platform goes on when its approval is taken back or over",
		Text:     "an operator who has found out about a platform, or whose certificate was stolen, must not wait until it hangs up by itself",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ApplicationsManagement,
		Source: "RFC 5280 3.3; TS 33.203 Annex J", Access: []Access{ISC},
		Approved: []Approved{
			{Name: chat, Manifest: rights("session.proxy", "message.send") + asked("terminating", 10, "continue")},
			{Name: brief, Life: briefLife, Manifest: rights("session.proxy", "message.send") + asked("terminating", 20, "continue")},
		},
		Bounds: Bounds{Packets: 80, Bytes: 80_000, Conns: 6, Time: 6 * time.Second, Wait: briefLife},
		Variants: []Variant{
			variant("revoked", chat, operates(Revoke)), variant("suspended", chat, operates(Suspend)),
			variant("stolen", chat, operates(RevokeCertificate)), variant("expired", brief, outlives),
		},
	}
}

// brief is a platform whose certificate is good for briefLife: long enough for a call before.
const (
	brief     = "brief"
	briefLife = 4 * time.Second
)

// operates has the operator of the target act.
func operates(verb string) func(context.Context, *Field) error {
	return func(ctx context.Context, f *Field) error { return f.operate(ctx, verb, chat) }
}

// outlives waits for the end of the certificate.
func outlives(ctx context.Context, f *Field) error {
	p, err := f.platform(brief)
	if err != nil {
		return err
	}
	over := time.NewTimer(p.Certificate.Leaf.NotAfter.Sub(f.Clock.Wall()) + 20*time.Millisecond)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// goesOn has the platform write to carol, and stay in a call between her and dave. When its approval has ended it writes to her again over its connection, and
// over five new ones.
func goesOn(platform string, ends func(context.Context, *Field) error) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, carol, err := f.callerAndCallee(ctx)
		if err != nil {
			return err
		}
		s, err := f.server(ctx, f.attacker, platform, nil)
		if err != nil {
			return err
		}
		if answer, err := dave.Ask(ctx, dave.calls(carol.IMPU, f.token())); err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: a call over the platform is answered %d: %w", statusOf(answer), err)
		}
		if answer, err := s.Ask(ctx, s.writes(carol.IMPU, "before")); err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: a message of the approved platform is answered %d: %w", statusOf(answer), err)
		}
		if err := ends(ctx, f); err != nil {
			return err
		}
		began := f.Clock.Now()
		closed := within(ctx, time.Second, func(ctx context.Context) error {
			if !s.Over(ctx) {
				return ctx.Err()
			}
			return nil
		}) == nil
		o.Arrived("the platform asks again when its approval has ended; its connection is closed: %v, after %v", closed, (f.Clock.Now() - began).Round(time.Millisecond))
		const after = "after"
		taken := 0
		answer, err := s.Ask(ctx, s.writes(carol.IMPU, after))
		if err == nil && answer.Status() == 200 {
			taken++
		}
		s.Close()
		for range 5 {
			if f.writesAnew(ctx, platform, carol.IMPU, after) {
				taken++
			}
		}
		read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == after })
		if err != nil {
			return err
		}
		o.Users = min(read, 1)
		o.Wire(taken > 0, "the connection is closed within a second: %v; %d of 6 messages of the platform are taken afterwards", closed, taken)
		o.Peer(read > 0, "carol reads %d messages of a platform that is none any more", read)
		return nil
	}
}

// writesAnew connects with the certificate of a platform and writes to somebody.
func (f *Field) writesAnew(ctx context.Context, platform, whom, text string) (taken bool) {
	p, err := f.platform(platform)
	if err != nil {
		return false
	}
	s, err := f.serverBy(ctx, f.attacker, platform, &p.Certificate, nil)
	if err != nil {
		return false
	}
	defer s.Close()
	var answer *sip.Message
	err = within(ctx, soon, func(ctx context.Context) (err error) {
		answer, err = s.Ask(ctx, s.writes(whom, text))
		return err
	})
	return err == nil && answer.Status() == 200
}
