package attack

import (
	"context"
	"errors"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/secagree"
	"imsafe/secure"
)

// registerBidDown: somebody in the path takes the strong algorithms out of what both sides say in clear.
func registerBidDown() Attack {
	return Attack{
		ID: "ci.register.biddown", Number: "CI-02", Title: "strong algorithms taken out of a security agreement under way",
		Text:     "both sides would settle for the weakest that they have in common, and think it the best",
		Services: []Service{Integrity, Confidentiality}, Stride: Tampering, Threats: []Threat{Corruption}, Module: InfrastructureControl,
		Source: "TS 33.203 7.2, 7.3.2.3, Annex H; RFC 3329 2.3.1", Access: []Access{IPsec}, Profile: "handset",
		Bounds:   Bounds{Packets: 30, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Run: bidDown, Controls: []secure.ControlID{secure.CIIntegritySecAgree}}},
	}
}

func bidDown(ctx context.Context, f *Field, o *Outcome) error {
	r, err := f.relay(ctx, func(message string) string {
		return withoutLines(message, "ealg="+secagree.EAlgGCM, "Security-Client", "Security-Server")
	})
	if err != nil {
		return err
	}
	defer r.Close()
	carol, err := f.party(ctx, Carol, func(c *ue.Config) { c.Proxy, c.IPsec.Profile = r.at(), secagree.Handset() })
	if err != nil {
		return err
	}
	registration, err := carol.UE.Register(ctx)
	var refused *ue.StatusError
	if err != nil && !errors.As(err, &refused) && !errors.Is(err, ue.ErrAgreement) {
		return err
	}
	if err != nil {
		o.Arrived("carol registers through the relay: %v", err)
		o.Peer(false, "carol's client and the edge don't agree: %v", err)
		return nil
	}
	o.Arrived("carol registers through the relay")
	weak := strings.Contains(registration.Protection, secagree.AlgSHA1)
	if weak {
		o.Users = 1
	}
	o.Peer(weak, "carol is registered with %s, though she and the edge have better", registration.Protection)
	return nil
}
