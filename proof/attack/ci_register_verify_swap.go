package attack

import (
	"context"
	"strings"
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
		Bounds:   Bounds{Packets: 50, Bytes: 80_000, Conns: 18, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: swapVerify, Controls: []secure.ControlID{secure.CIIntegritySecAgree}}},
	}
}

func swapVerify(ctx context.Context, f *Field, o *Outcome) error {
	swaps := []func(*secagree.Entry){
		func(e *secagree.Entry) { e.SPIC ^= 1 }, func(e *secagree.Entry) { e.SPIS ^= 1 },
		func(e *secagree.Entry) { e.PortC ^= 1 }, func(e *secagree.Entry) { e.PortS ^= 1 },
	}
	swaps = append(swaps, swaps...) // in what the client repeats of the network's list, then in what it repeats of its own
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
		says := Agreement{Verify: func(string) string { return "Security-Verify: " + changed(s.server, swap) }}
		if i >= len(swaps)/2 {
			says = Agreement{Client: func(string) string { return "Security-Client: " + changed(s.offered, swap) }}
		}
		answer, err := mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600, Agreement: says})
		if err != nil {
			return err
		}
		if status = answer.Status(); status == 200 {
			accepted++
		}
		o.Arrived("%d REGISTERs, the last answered %d", i+1, status)
		mallory.Close()
	}
	passed, err := swapLater(ctx, f, o, swaps[:len(swaps)/2])
	if err != nil {
		return err
	}
	o.Users = min(accepted+passed, 1)
	o.Wire(accepted+passed > 0, "%d of %d REGISTERs with another Security-Verify or Security-Client are accepted, the last answered %d; of %d messages after an honest one %d",
		accepted, len(swaps), status, len(swaps), passed)
	return nil
}

// swapLater registers as is right, and repeats another list in each message that follows, the same one twice (TS 33.203 7.2): how many of them bob's network takes.
func swapLater(ctx context.Context, f *Field, o *Outcome, swaps []func(*secagree.Entry)) (passed int, err error) {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return 0, err
	}
	s, err := mallory.tunnel()
	if err != nil {
		return 0, err
	}
	for i := range 2 * len(swaps) {
		swap := swaps[i/2]
		message := strings.Replace(mallory.Message(f.Bob.IMPU, "swapped"), s.verify(), "Security-Verify: "+changed(s.server, swap), 1)
		status, err := mallory.answered(ctx, message)
		if err != nil {
			return passed, err
		}
		if status == 200 {
			passed++
		}
		o.Arrived("%d REGISTERs and %d messages, the last answered %d", len(swaps), i+1, status)
	}
	return passed, nil
}

// changed writes a list with each of its entries changed.
func changed(of secagree.List, change func(*secagree.Entry)) string {
	list := secagree.List{Entries: append([]secagree.Entry(nil), of.Entries...)}
	for i := range list.Entries {
		change(&list.Entries[i])
	}
	return string(list.AppendTo(nil))
}
