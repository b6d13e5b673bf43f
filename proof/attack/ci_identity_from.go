package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// identityFrom: a registered client writes somebody else into From, which is what most clients show.
func identityFrom() Attack {
	controls := []secure.ControlID{secure.CIAuthenticationFromCheck}
	return Attack{
		ID: "ci.identity.from", Number: "CI-08", Title: "another user in From, or a number for a display name",
		Text:     "people believe what their telephone shows, whatever the network vouches for beside it",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 24.607 4.5.2.4; Kim et al., CCS 2015", Access: both(),
		Bounds: Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "uri", Position: Subscriber, Controls: controls, Run: fromAnother},
			{Name: "display", Position: Subscriber, Controls: controls, Run: nameAnother},
		},
	}
}

func fromAnother(ctx context.Context, f *Field, o *Outcome) error {
	victim := f.Users[Alice].IMPU
	return forgeFrom(ctx, f, o, Request{From: victim}, victim)
}

func nameAnother(ctx context.Context, f *Field, o *Outcome) error {
	const number = "+1 555 010 9999"
	return forgeFrom(ctx, f, o, Request{Display: number}, number)
}

// forgeFrom sends messages with a forged From, and looks in those that arrive for what was forged.
func forgeFrom(ctx context.Context, f *Field, o *Outcome, r Request, forged string) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 10
	shown, last := 0, "nothing"
	r.Method, r.URI, r.Lines = "MESSAGE", carol.IMPU, []string{"Content-Type: text/plain"}
	for i := range times {
		r.Body = fmt.Sprintf("forged %d", i)
		answer, err := mallory.Ask(ctx, mallory.Text(r))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := carol.Got(ctx, sip.MESSAGE, r.Body)
		if err != nil {
			return err
		}
		if last = string(m.Get(sip.HdrFrom)); contains(m.Get(sip.HdrFrom), forged) {
			shown++
		}
	}
	o.Users = min(shown, 1)
	o.Peer(shown > 0, "carol's telephone shows %q in %d of %d messages; the last is from %s", forged, shown, times, last)
	return nil
}
