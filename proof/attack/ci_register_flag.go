package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// registerFlag: a client writes the word by which the edge tells the registrar that a REGISTER came inside a proven path.
func registerFlag() Attack {
	return Attack{
		ID: "ci.register.flag", Number: "CI-05", Title: "a client says of itself that its REGISTER is protected",
		Text:     "a registrar that believes it takes the REGISTER for a refresh and does not challenge: anybody could move anybody's registration",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 6.1.5, P.3", Access: both(),
		Bounds: Bounds{Packets: 30, Bytes: 30_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "claim", Position: OffPath, Run: claimProtection, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge, secure.CIAuthenticationFlag}},
			{Name: "in-clear", Position: Subscriber, Access: []Access{IPsec}, Run: answerInClear, Controls: []secure.ControlID{secure.CIAuthenticationAKA},
				NotWire: map[Access]string{IPsec: "of another node's clients a node of a lab does not know which of them are for test, in clear"}},
		},
	}
}

func claimProtection(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	victim := f.Users[Alice]
	accepted := 0
	for _, claim := range []string{"yes", `"yes"`, "tls-yes", `"tls-yes"`, `"tls-connected"`} {
		r := Registering{IMPU: victim.IMPU, Expires: 600}
		answer, err := stranger.Ask(ctx, stranger.Registers(r, stranger.NoResponse(victim.IMPI)+",integrity-protected="+claim))
		if err != nil {
			return err
		}
		o.Arrived("5 REGISTERs, the last answered %d", answer.Status())
		if answer.Status() == 200 {
			accepted++
		}
	}
	o.Wire(accepted > 0, "%d of 5 REGISTERs in alice's name are accepted without a challenge", accepted)
	return judgeTheft(ctx, f, o, stranger, f.Alice)
}

// judgeTheft lets bob write to the victim and looks whether the attacker gets it: that is what a false binding is for.
func judgeTheft(ctx context.Context, f *Field, o *Outcome, thief *Hand, victim *Party) error {
	text := f.token()
	thief.answers.Store(true) // as the victim's client would
	sent := within(ctx, reachable, func(ctx context.Context) error {
		return f.Bob.UE.SendMessage(ctx, victim.IMPU, "text/plain", []byte(text))
	})
	if sent != nil {
		o.Users = 1
		o.Peer(true, "bob's message to %s arrives nowhere: %v", victim.Name, sent)
		return nil
	}
	stolen := within(ctx, soon/10, func(ctx context.Context) error { _, err := thief.Got(ctx, sip.MESSAGE, text); return err })
	heard := within(ctx, soon, func(ctx context.Context) error { _, err := victim.Hears(ctx, text); return err })
	switch {
	case stolen == nil:
		o.Users = 1
		o.Peer(true, "bob's message to %s arrives at the attacker", victim.Name)
	case heard != nil:
		o.Users = 1
		o.Peer(true, "bob's message does not arrive at %s", victim.Name)
	default:
		o.Peer(false, "bob's message arrives at %s alone", victim.Name)
	}
	return nil
}

// answerInClear answers a challenge well, and not inside the associations that it has made: whoever reads that may say everything that follows.
func answerInClear(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.MalloryInClear(ctx)
	if err != nil {
		return err
	}
	const times = 3
	accepted, status := 0, 0
	for i := range times {
		r := Registering{User: mallory.User, IMPI: mallory.IMPI, IMPU: mallory.User.IMPU, Expires: 600}
		var challenge *sip.Message
		if status, err = mallory.answeredBy(ctx, mallory.Registers(r, mallory.NoResponse(r.IMPI)), &challenge); err != nil {
			return err
		}
		if status != 401 {
			return fmt.Errorf("attack: mallory is not challenged: %d", status)
		}
		authorization, err := mallory.Respond(mallory.User, r.IMPI, challenge)
		if err != nil {
			return err
		}
		if status, err = mallory.answered(ctx, mallory.Registers(r, authorization)); err != nil {
			return err
		}
		if status == 200 {
			accepted++
		}
		o.Arrived("%d answers in clear, the last answered %d", i+1, status)
	}
	o.Users = min(accepted, 1)
	o.Wire(accepted > 0, "%d of %d answers outside security associations are accepted, the last is answered %d", accepted, times, status)
	return nil
}
