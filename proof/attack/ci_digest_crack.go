package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/secure"
)

// digestCrack: somebody tries passwords on a subscriber without a card.
func digestCrack() Attack {
	return Attack{
		ID: "ci.digest.crack", Number: "CI-27", Title: "passwords tried one by one",
		Text:     "whoever finds it is that user, from anywhere",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 Annex N; RFC 7616 5", Access: []Access{TLS}, Carried: []Access{UDP, TCP}, Digest: true,
		Bounds:   Bounds{Packets: 130, Bytes: 130_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{{Name: "online", Position: OffPath, Run: guess, Controls: []secure.ControlID{secure.CIAuthenticationDigestPolicy}}},
	}
}

// guess tries a list on whose last line stands the right one.
func guess(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	const tries = 50
	dave := f.Users[Dave]
	status := 0
	for i := range tries {
		word := fmt.Sprintf("password%d", i)
		if i == tries-1 {
			word = dave.Password
		}
		answer, err := stranger.RegisterAs(ctx, Registering{User: &User{Password: word}, IMPI: dave.IMPI, IMPU: dave.IMPU, Expires: 600})
		if err != nil {
			return err
		}
		status = answer.Status()
		o.Arrived("%d passwords tried, the last answered %d", i+1, status)
	}
	found := status == 200
	if found {
		o.Users = 1
	}
	o.Wire(found, "%d passwords tried; the right one, on the last line of the list, is answered %d", tries, status)
	return nil
}
