package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// messageSpoof: messages that nobody wants. (That of a forged originator in an SMS comes with the SMS service.)
func messageSpoof() Attack {
	return Attack{
		ID: "ci.message.spoof", Number: "CI-34", Title: "messages in bulk to whoever has a number",
		Text:     "nobody reads a telephone that is full of what others have sent in bulk, and all of it goes over the radio",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesUser,
		Source: "CVE-2021-37624; RFC 5039", Access: both(),
		Bounds:   Bounds{Packets: 500, Bytes: 500_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Name: "spit", Position: Subscriber, Run: messageSpit, Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser}}},
	}
}

// messageSpit: a registered client sends in bulk what nobody has asked for.
func messageSpit(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 200
	read := 0
	for i := range times {
		text := fmt.Sprintf("bulk %d", i)
		answer, err := mallory.Ask(ctx, mallory.Text(Request{Method: "MESSAGE", URI: carol.IMPU, Display: fmt.Sprintf("Offer %d", i), Body: text,
			Lines: []string{"Content-Type: text/plain"}})) // each from somebody else, by what From says
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
		m.Release()
		read++
	}
	o.Users = min(max(read-times/2-times/4, 0), 1)
	o.Peer(read > times*3/4, "carol's telephone gets %d of %d messages in bulk", read, times)
	return nil
}
