package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/secure"
)

// identityAsserted: a registered client says that it is somebody else, in the two headers by which networks tell that to each other.
func identityAsserted() Attack {
	return Attack{
		ID: "ci.identity.asserted", Number: "CI-07", Title: "a client asserts the identity of another user",
		Text:     "whoever is called would trust the name that the network vouches for",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 24.229 5.2.6.3", Access: both(),
		Bounds:   Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSAIdentity}, Run: assertAnother}},
	}
}

func assertAnother(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 10
	victim := "<" + f.Users[Alice].IMPU + ">"
	forged, heard := 0, "nobody"
	for i := range times {
		text := fmt.Sprintf("asserted %d", i)
		answer, err := mallory.Ask(ctx, mallory.Message(f.Bob.IMPU, text, "P-Preferred-Identity: "+victim, "P-Asserted-Identity: "+victim))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := f.Bob.Hears(ctx, text)
		if err != nil {
			return err
		}
		if heard = f.Who(m.From); m.Asserted && m.From == f.Users[Alice].IMPU {
			forged++
		}
	}
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "bob reads %d of %d messages as alice's, the last as %s's", forged, times, heard)
	return nil
}
