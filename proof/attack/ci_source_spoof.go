package attack

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// sourceSpoof: packets that are authentic, and say that they come from elsewhere than was agreed.
func sourceSpoof() Attack {
	return Attack{
		ID: "ci.source.spoof", Number: "CI-10", Title: "another source inside one's own associations",
		Text:     "what is authentic would be taken for somebody else's, whose address or port it names",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: InfrastructureControl,
		Source: "TS 33.203 7.1", Access: []Access{IPsec},
		Bounds: Bounds{Packets: 40, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "inner-port", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSASelector},
				Run: saysFrom(func(g *esp.Agreement) { g.Here.Port[esp.Client] ^= 1 })},
			{Name: "inner-address", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSASelector},
				Run: saysFrom(func(g *esp.Agreement) { g.Inner = netip.AddrFrom4([4]byte{127, 0, 0, 77}) })},
		},
	}
}

// saysFrom answers a challenge inside associations whose sender's end is edited.
func saysFrom(edit func(*esp.Agreement)) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		mallory, err := f.MalloryInClear(ctx)
		if err != nil {
			return err
		}
		s, err := mallory.tunnel()
		if err != nil {
			return err
		}
		var answer *sip.Message
		err = within(ctx, soon, func(ctx context.Context) (err error) {
			answer, err = mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600, Agreement: Agreement{Install: edit}})
			return err
		})
		if err != nil && !errors.Is(err, ErrSilence) {
			return err
		}
		// What comes back is for the true source, so the attacker reads its packets, not what is in them.
		_, come := s.captured()
		processed := answer != nil || len(come) > 0
		if processed {
			o.Users = 1
		}
		o.Wire(processed, "a REGISTER with another source inside: %d packets come back", len(come))
		return nil
	}
}
