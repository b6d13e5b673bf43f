package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// digestLift: somebody has got hold of the answer to a challenge and uses it on a connection of his own.
func digestLift() Attack {
	return Attack{
		ID: "ci.digest.lift", Number: "CI-29", Title: "a response moved to another message and connection",
		Text:     "a response is good for one request on one connection; good for more, it is a password",
		Services: []Service{Integrity}, Stride: Spoofing, Threats: []Threat{Corruption}, Module: ServicesControl,
		Source: "TS 33.203 Q.3; RFC 7616 3.3", Access: []Access{TLS}, Carried: []Access{UDP, TCP}, Digest: true,
		Bounds:   Bounds{Packets: 40, Bytes: 40_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Run: liftResponse, Controls: []secure.ControlID{secure.CIIntegrityDigestBinding}}},
	}
}

func liftResponse(ctx context.Context, f *Field, o *Outcome) error {
	dave, err := f.Dave(ctx)
	if err != nil {
		return err
	}
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	const times = 5
	accepted, status := 0, 0
	for i := range times {
		answer, err := stranger.Ask(ctx, stranger.Registers(Registering{IMPU: dave.IMPU, Expires: 600}, dave.lastAuthorization))
		if err != nil {
			return err
		}
		if status = answer.Status(); status == 200 {
			accepted++
		}
		o.Arrived("dave's response used %d times again, the last answered %d", i+1, status)
	}
	o.Wire(accepted > 0, "dave's response is accepted %d of %d times again, the last answered %d", accepted, times, status)
	text := f.token()
	stranger.answers.Store(true)
	err = within(ctx, reachable, func(ctx context.Context) error {
		return f.Bob.UE.SendMessage(ctx, dave.IMPU, "text/plain", []byte(text))
	})
	stolen := within(ctx, soon/10, func(ctx context.Context) error { _, err := stranger.Got(ctx, sip.MESSAGE, text); return err })
	if stolen == nil {
		o.Users = 1
		o.Peer(true, "bob's message to dave arrives at the attacker")
		return nil
	}
	if err != nil {
		return fmt.Errorf("after the attack: %w", err)
	}
	o.Peer(false, "bob's message arrives at dave alone")
	return nil
}
