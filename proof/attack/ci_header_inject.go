package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// headerInject: a client writes headers that are the network's word.
func headerInject() Attack {
	return Attack{
		ID: "ci.header.inject", Number: "CI-09", Title: "headers that only the network may write, from a client",
		Text:     "who is called, charged or located would be what the client says",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesControl,
		Source: "TS 33.203 P.3; TS 24.229 5.2.6.3", Access: both(),
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: injectHeaders, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge}}},
	}
}

// injected are the headers, each with the word forged in it. What stays in the core (charging, visited network, location) shows at a
// service platform alone; the others at whoever is called.
func injected() []string {
	return []string{
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=forged;network-provided", "P-Charging-Vector: icid-value=forged",
		"P-Visited-Network-ID: forged", "P-Asserted-Service: urn:urn-7:3gpp-service.forged", "Remote-Party-ID: <sip:forged@example.org>",
		"Feature-Caps: *;+g.forged", "P-Associated-URI: <sip:forged@example.org>", "P-Early-Media: forged",
	}
}

func injectHeaders(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	forged, named, arrived := 0, "none", 0
	for i, line := range injected() {
		text := fmt.Sprintf("injected %d", i)
		answer, err := mallory.Ask(ctx, mallory.Message(f.Users[Carol].IMPU, text, line))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		arrived++
		if name, found := says(m, "forged"); found {
			forged, named = forged+1, name
		}
	}
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "of %d messages that arrive at carol, %d say what was forged, the last in %s", arrived, forged, named)
	return nil
}
