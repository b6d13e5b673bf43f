package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// saExhaust: first REGISTERs in the victim's name, so that her associations make room for them.
func saExhaust() Attack {
	return Attack{
		ID: "ci.sa.exhaust", Number: "CI-17", Title: "unproven registrations in the victim's name",
		Text:     "if a new attempt ended what is proven, anybody could cut any user off, and keep her from coming back",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "TS 33.203 6.1.2.3, 7.1, 7.4", Access: []Access{IPsec},
		Bounds:   Bounds{Packets: 80, Bytes: 120_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: beginAgain, Controls: []secure.ControlID{secure.CIAvailabilitySACap}}},
	}
}

func beginAgain(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	const times = 50
	r := Registering{IMPI: f.Alice.IMPI, IMPU: f.Alice.IMPU, Expires: 600}
	for i := range times {
		answer, err := stranger.Ask(ctx, stranger.Registers(r, stranger.NoResponse(r.IMPI)))
		if err != nil {
			return err
		}
		o.Arrived("%d first REGISTERs, the last answered %d", i+1, answer.Status())
	}
	o.Wire(false, "%s", o.Delivered)
	return judgeReach(ctx, f, o)
}
