package attack

import (
	"context"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// identityCross: a registered client registers with another user's private identity, or answers what was sent to another, inside its own proven path.
func identityCross() Attack {
	return Attack{
		ID: "ci.identity.cross", Number: "CI-11", Title: "another user's private identity, or an answer in his place, inside one's own association",
		Text:     "the path is proven, so its REGISTER is a refresh: whose is for the path to say, not for the message",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 7.1", Access: both(),
		Bounds: Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "register", Position: Subscriber, Run: registerAcross, Controls: []secure.ControlID{secure.CIAuthenticationSAIdentity}},
			{Name: "response", Position: Subscriber, Run: answerAcross, Controls: []secure.ControlID{secure.CIAuthenticationSAIdentity}},
		},
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

// answerAcross declines a call to carol in her place, from mallory's own association.
func answerAcross(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	return f.answersForCarol(ctx, o, mallory, func() (*sip.Message, error) {
		return mallory.Ask(ctx, mallory.Text(Request{Method: "OPTIONS", URI: "sip:" + f.Domain}))
	})
}
