package attack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// saExhaust: first REGISTERs in the victim's name, so that her associations make room for them.
func saExhaust() Attack {
	return Attack{
		ID: "ci.sa.exhaust", Number: "CI-17", Title: "unproven registrations in the victim's name",
		Text:     "if a new attempt ended what is proven, anybody could cut any user off, and keep her from coming back",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "TS 33.203 6.1.2.3, 7.1, 7.4", Access: []Access{IPsec}, Tight: true,
		Bounds: Bounds{Packets: 400, Bytes: 600_000, Conns: beginners + 4, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "begin", Position: OffPath, Run: beginAgain,
				Controls: []secure.ControlID{secure.CIAvailabilityBudgetSource, secure.CIAvailabilitySACap}},
			{Name: "crowd", Position: OffPath, Access: []Access{TLS}, Run: beginAsCrowd, Controls: []secure.ControlID{secure.CIAvailabilityAttempts}},
		},
	}
}

// beginners is how many connections begin to register in one name: more than wait in one.
const beginners = 16 * TightChallenges

// beginAsCrowd begins from sixteen addresses, with as many challenges as each may have, while the victim is about to answer hers: it is her first
// registration, so nobody knows her where she is.
func beginAsCrowd(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	r := Registering{User: carol.User, IMPI: carol.IMPI, IMPU: carol.IMPU, Expires: 600}
	challenge, err := carol.Ask(ctx, carol.Registers(r, carol.firstAuthorization(r.IMPI)))
	if err != nil {
		return err
	}
	if challenge.Status() != 401 {
		return fmt.Errorf("attack: carol is not challenged: %d", challenge.Status())
	}
	challenged := 0
	for i := range beginners {
		stranger, err := f.StrangerAt(ctx, Elsewhere(i/TightChallenges))
		if err != nil {
			return err
		}
		answer, err := stranger.Ask(ctx, stranger.Registers(r, stranger.NoResponse(r.IMPI)))
		if err != nil {
			return err
		}
		if answer.Status() == 401 {
			challenged++
		}
	}
	o.Arrived("%d first REGISTERs in her name from %d addresses, %d of them challenged", beginners, beginners/TightChallenges, challenged)
	authorization, err := carol.Respond(carol.User, r.IMPI, challenge)
	if err != nil {
		return err
	}
	answer, err := carol.Ask(ctx, carol.Registers(r, authorization))
	if err != nil {
		return err
	}
	o.Peer(answer.Status() != 200, "she answers her challenge and hears %d", answer.Status())
	return judgeReach(ctx, f, o)
}

// beginAgain sends faster than one address may; those that are heard must end nothing of hers all the same.
func beginAgain(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.StrangerAt(ctx, Elsewhere(0))
	if err != nil {
		return err
	}
	const times = 5 * TightSource
	r := Registering{IMPI: f.Alice.IMPI, IMPU: f.Alice.IMPU, Expires: 600}
	for range times {
		if err := stranger.Write(stranger.Registers(r, stranger.NoResponse(r.IMPI))); err != nil {
			return err
		}
	}
	begun := 0
	for begun < times {
		err := within(ctx, soon, func(ctx context.Context) error {
			_, err := stranger.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() == 401 })
			return err
		})
		if errors.Is(err, ErrSilence) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return err
		}
		begun++
	}
	o.Arrived("%d first REGISTERs in her name, %d of them challenged", times, begun)
	o.Wire(false, "%s", o.Delivered)
	return judgeServed(ctx, f, o)
}
