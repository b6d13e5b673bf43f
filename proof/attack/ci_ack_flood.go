package attack

import (
	"context"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// ackFlood: what belongs to no transaction is counted by nobody who counts transactions.
func ackFlood() Attack {
	return Attack{
		ID: "ci.ack.flood", Number: "CI-42", Title: "ACKs without end, in a call of one's own",
		Text:     "an ACK is no new request and has no answer; each walks the whole way of its call, and the telephone at its end has to read it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "RFC 3261 17.1.1.3, 26.1.5", Access: both(), Tight: true,
		Bounds: Bounds{Packets: 700, Bytes: 1_200_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: floodACKs, Controls: []secure.ControlID{secure.CIAvailabilityBudgetSource},
			Ours: "how many pass is a budget of imsafe's; that of others may be wider"}},
	}
}

// floodACKs acknowledges carol's answer over and over, no faster than she gets them, where she does.
func floodACKs(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	inside, _, err := mallory.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	isACK := func(m *sip.Message) bool {
		return m.IsRequest() && m.Method() == sip.ACK && string(m.Get(sip.HdrCallID)) == inside.CallID
	}
	const times, together = 3 * TightClient, 20
	got := 0
	reads := func(ctx context.Context) error {
		for got < times {
			m, err := carol.Await(ctx, isACK)
			if err != nil {
				return err
			}
			m.Release()
			if got++; got%together == 0 {
				return nil
			}
		}
		return nil
	}
	for sent := range times {
		ack := inside
		ack.Method, ack.CSeq = "ACK", inside.CSeq-1
		if err := mallory.Write(mallory.Text(ack)); err != nil {
			return err
		}
		if sent%together == together-1 {
			_ = within(ctx, soon/10, reads) // silence is what is hoped for
		}
	}
	o.Arrived("%d ACKs in a call of mallory's", times)
	_ = within(ctx, soon, func(ctx context.Context) (err error) {
		for err == nil && got < times {
			err = reads(ctx)
		}
		return err
	})
	most := got > times*9/10
	if most {
		o.Users = 1
	}
	o.Peer(most, "carol's telephone reads %d of %d ACKs", got, times)
	return nil
}
