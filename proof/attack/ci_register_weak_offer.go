package attack

import (
	"context"
	"time"

	"imsafe/proto/secagree"
	"imsafe/secure"
)

// registerWeakOffer: a client offers nothing but what should not be used any more.
func registerWeakOffer() Attack {
	return Attack{
		ID: "ci.register.weak-offer", Number: "CI-04", Title: "a security agreement for weak algorithms alone",
		Text:     "whoever reads the bearer would read the signalling, or could forge it",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: InfrastructureControl,
		Source: "TS 33.203 Annex H, 6.2", Access: []Access{IPsec},
		Bounds: Bounds{Packets: 20, Bytes: 30_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "null", Position: Subscriber, Controls: []secure.ControlID{secure.CIConfidentialityESP},
				Run: offers(secagree.AlgSHA1, secagree.EAlgNull)},
			{Name: "md5", Position: Subscriber, Controls: []secure.ControlID{secure.CIConfidentialityAlgorithms},
				Run: offers(secagree.AlgMD5, secagree.EAlgCBC)},
			{Name: "3des", Position: Subscriber, Controls: []secure.ControlID{secure.CIConfidentialityAlgorithms},
				Run: offers(secagree.AlgSHA1, secagree.EAlg3DES)},
		},
	}
}

// offers registers with one pair of algorithms.
func offers(alg, ealg string) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		mallory, err := f.MalloryInClear(ctx)
		if err != nil {
			return err
		}
		s, err := mallory.tunnel()
		if err != nil {
			return err
		}
		weak := secagree.Profile{Name: "weak", Suites: []secagree.Suite{{Mechanism: secagree.IPsec3GPP, Alg: alg, EAlg: ealg}}}
		answer, err := mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600, Agreement: Agreement{Profile: weak}})
		if err != nil {
			return err
		}
		o.Arrived("an offer of %s/%s, answered %d", alg, ealg, answer.Status())
		stands := answer.Status() == 200
		sent, _ := s.captured()
		switch {
		case !stands:
			o.Wire(false, "the offer of %s/%s is answered %d", alg, ealg, answer.Status())
		case ealg == secagree.EAlgNull && !hasSIP(sent):
			o.Wire(false, "associations stand without encryption, and yet no SIP is read on the path")
		default:
			o.Users = 1
			o.Wire(true, "associations with %s/%s stand; a reader on the path finds SIP: %v", alg, ealg, hasSIP(sent))
		}
		return nil
	}
}
