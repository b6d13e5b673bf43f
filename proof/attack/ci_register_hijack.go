package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// registerHijack: a subscriber registers another user's public identity with his own card.
func registerHijack() Attack {
	return Attack{
		ID: "ci.register.hijack", Number: "CI-16", Title: "another user's public identity with one's own card",
		Text:     "calls and messages for the victim would come to the attacker, who has proven himself well",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 29.228 6.1.1", Access: both(),
		Bounds:   Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: registerAnothers, Controls: []secure.ControlID{secure.CIAuthorizationIMPUOwner}}},
	}
}

func registerAnothers(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 5
	for i := range times {
		answer, err := mallory.RegisterAs(ctx, Registering{User: f.Users[Mallory], IMPU: f.Alice.IMPU, Expires: 600})
		if err != nil {
			return err
		}
		o.Arrived("%d REGISTERs of mallory for alice, the last answered %d", i+1, answer.Status())
	}
	o.Wire(false, "%s", o.Delivered)
	return judgeTheft(ctx, f, o, mallory, f.Alice)
}
