package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/secure"
)

// dtlsImpostor: somebody in the path of a subscriber's media ends the handshake that is for her.
func dtlsImpostor() Attack {
	return Attack{
		ID: "cs.dtls.impostor", Number: "CS-17", Title: "somebody in the path of media shakes hands in a subscriber's place",
		Text:     "certificates of media are signed by nobody: if the one that is shown is not the one of the description, whoever holds the wire has the call",
		Services: []Service{Authentication, Confidentiality}, Stride: Spoofing, Threats: []Threat{Disclosure, Corruption}, Module: ServicesUser,
		Source: "RFC 5763 5; RFC 8122 6.2", Access: []Access{TLS}, Media: true,
		Bounds:   Bounds{Packets: 200, Bytes: 200_000, Conns: 2, Time: 6 * time.Second, Wait: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Run: shakesHands, Controls: []secure.ControlID{secure.CSAuthenticationDTLS}}},
	}
}

// shakesHands: carol calls bob. What her description says of her certificate is true; at her address is the attacker, with one of his own.
func shakesHands(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	if err := carol.Register(ctx); err != nil {
		return err
	}
	carol.answers.Store(false)
	hers, err := rtpport.NewCertificate(f.Random, f.Clock.Wall())
	if err != nil {
		return err
	}
	s := &speaker{hand: carol, invite: Request{Method: "INVITE", URI: f.Bob.IMPU, FromTag: f.token(), CallID: f.token()}, shows: []sdp.Fingerprint{hers.Fingerprint()}}
	defer s.close()
	var call *ue.Call
	if err := s.begin(ctx, f, func() (err error) {
		if call, err = f.Bob.Rung(ctx); err == nil {
			call.Answer(ue.Voice{})
		}
		return err
	}); err != nil {
		return err
	}
	defer call.Hangup()
	stood, err := call.Until(ctx, ue.Secured)
	ended := stood.Kind == ue.Ended // an anchor that has seen through the attacker ends the call, perhaps before bob's own media stand
	if err != nil && !ended {
		return fmt.Errorf("attack: bob's own media do not stand: %w", err)
	}
	const patience, enough = 3 * time.Second, 10
	_ = within(ctx, patience, func(ctx context.Context) error {
		for s.leg.Counters().PacketsIn.Load() < enough && !ended {
			select {
			case <-s.over:
				ended = true
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	heard := s.leg.Counters().PacketsIn.Load()
	o.Arrived("the attacker says hello from carol's address, and the handshake ends without keys: %v", ended)
	if heard > 0 {
		o.Users = 2
	}
	o.Wire(heard > 0, "the attacker opens %d packets of bob's voice by keys of his own", heard)
	return nil
}
