package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// identityCross: a registered client registers with another user's private identity, inside its own proven path.
func identityCross() Attack {
	return Attack{
		ID: "ci.identity.cross", Number: "CI-11", Title: "another user's private identity inside one's own association",
		Text:     "the path is proven, so its REGISTER is a refresh: whose is for the path to say, not for the message",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 7.1", Access: both(),
		Bounds:   Bounds{Packets: 30, Bytes: 30_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: registerAcross, Controls: []secure.ControlID{secure.CIAuthenticationSAIdentity}}},
	}
}

func registerAcross(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	victim := f.Users[Alice]
	const times = 5
	refused := 0
	for range times {
		answer, err := mallory.Ask(ctx, mallory.Registers(Registering{IMPU: victim.IMPU, Expires: 600}, mallory.NoResponse(victim.IMPI)))
		if err != nil {
			return err
		}
		if answer.Status() == 403 {
			refused++
		}
		o.Arrived("%d REGISTERs, the last answered %d", times, answer.Status())
	}
	o.Wire(false, "%d of %d REGISTERs with alice's private identity are answered 403", refused, times)
	return judgeTheft(ctx, f, o, mallory, f.Alice)
}
