package attack

import (
	"context"
	"time"

	"imsafe/proto/secagree"
	"imsafe/secure"
)

// registerVerifySwap: a client repeats another list than the one that the network has sent.
func registerVerifySwap() Attack {
	return Attack{
		ID: "ci.register.verify-swap", Number: "CI-03", Title: "a Security-Verify with other SPIs and ports",
		Text:     "if what is repeated need not be what was said, nobody sees that somebody changed it",
		Services: []Service{Integrity, Authentication}, Stride: Tampering, Threats: []Threat{Corruption}, Module: InfrastructureControl,
		Source: "TS 33.203 7.2", Access: []Access{IPsec},
		Bounds:   Bounds{Packets: 40, Bytes: 60_000, Conns: 8, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: swapVerify, Controls: []secure.ControlID{secure.CIIntegritySecAgree}}},
	}
}

func swapVerify(ctx context.Context, f *Field, o *Outcome) error {
	swaps := []func(*secagree.Entry){
		func(e *secagree.Entry) { e.SPIC ^= 1 }, func(e *secagree.Entry) { e.SPIS ^= 1 },
		func(e *secagree.Entry) { e.PortC ^= 1 }, func(e *secagree.Entry) { e.PortS ^= 1 },
	}
	accepted, status := 0, 0
	for i, swap := range swaps {
		mallory, err := f.MalloryInClear(ctx)
		if err != nil {
			return err
		}
		s, err := mallory.tunnel()
		if err != nil {
			return err
		}
		edit := func(string) string {
			list := secagree.List{Entries: append([]secagree.Entry(nil), s.server.Entries...)}
			for i := range list.Entries {
				swap(&list.Entries[i])
			}
			return "Security-Verify: " + string(list.AppendTo(nil))
		}
		answer, err := mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600, Agreement: Agreement{Verify: edit}})
		if err != nil {
			return err
		}
		if status = answer.Status(); status == 200 {
			accepted++
		}
		o.Arrived("%d REGISTERs, the last answered %d", i+1, status)
		mallory.Close()
	}
	o.Users = min(accepted, 1)
	o.Wire(accepted > 0, "%d of %d REGISTERs with another Security-Verify are accepted, the last answered %d", accepted, len(swaps), status)
	return nil
}
