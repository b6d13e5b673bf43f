package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// registerRemove: somebody takes another user's registration back.
func registerRemove() Attack {
	return Attack{
		ID: "ci.register.remove", Number: "CI-15", Title: "taking another user's registration back",
		Text:     "the victim gets no more calls, and her client notices at the next refresh",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption, Removal}, Module: ServicesControl,
		Source: "TS 33.203 6.1.1; TS 29.228 6.1.1", Access: both(),
		Bounds: Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "clear", Position: OffPath, Run: removeFromOutside, Controls: []secure.ControlID{secure.CIAuthenticationAKA}},
			{Name: "protected", Position: Subscriber, Run: removeFromInside, Controls: []secure.ControlID{secure.CIAuthorizationIMPUOwner}},
		},
	}
}

// removals are the two ways to say it (RFC 3261 10.2.2).
func (f *Field) removals() []Registering {
	return []Registering{{IMPU: f.Alice.IMPU, Contact: "*"}, {IMPU: f.Alice.IMPU}}
}

func removeFromOutside(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	for i := range 5 {
		for _, r := range f.removals() {
			r.IMPI = f.Alice.IMPI
			status, err := stranger.answersFalsely(ctx, r)
			if err != nil {
				return err
			}
			o.Arrived("%d REGISTERs without alice's card, the last answered %d", 2*(i+1), status)
		}
	}
	o.Wire(false, "%s", o.Delivered)
	return judgeReach(ctx, f, o)
}

func removeFromInside(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	for i := range 5 {
		for _, r := range f.removals() {
			r.User = f.Users[Mallory]
			answer, err := mallory.RegisterAs(ctx, r)
			if err != nil {
				return err
			}
			o.Arrived("%d REGISTERs of mallory for alice, the last answered %d", 2*(i+1), answer.Status())
		}
	}
	o.Wire(false, "%s", o.Delivered)
	return judgeReach(ctx, f, o)
}
