package attack

import (
	"context"
	"errors"
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
		Bounds: Bounds{Packets: 300, Bytes: 400_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: beginAgain,
			Controls: []secure.ControlID{secure.CIAvailabilityBudgetSource, secure.CIAvailabilitySACap}}},
	}
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
