package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// iscStall: strangers take the places of platforms.
func iscStall() Attack {
	return Attack{
		ID: "is.isc.stall", Number: "IS-15", Title: "handshakes that never go on, where service platforms connect",
		Text:     "one host takes all places for those who come: a platform that has lost its connection does not get it back, and its users are without it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "Slowloris, Hansen 2009", Access: []Access{ISC},
		Approved: []Approved{{Name: screen, Manifest: rights("session.proxy") + asked("terminating", 10, "reject")}},
		Bounds:   Bounds{Packets: 1300, Bytes: 10_000, Conns: 610, Time: 3 * time.Second},
		Variants: []Variant{{Position: Platform, Run: stallPlatforms, Controls: []secure.ControlID{secure.ISAvailabilityDeadline}}},
	}
}

// stallPlatforms opens connections before an honest platform comes, without which nobody reaches carol.
func stallPlatforms(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	ended, over, err := f.stall(ctx, f.ISC, stalls)
	if err != nil {
		return err
	}
	defer over()
	o.Arrived("%d connections, each with one octet of a handshake", stalls)
	failed := within(ctx, time.Second, func(ctx context.Context) error {
		_, err := f.server(ctx, f.honest, screen, nil)
		return err
	})
	n, _ := ended.seen()
	o.Wire(n < stalls/10, "the core ended %d of %d", n, stalls)
	if failed != nil {
		o.Users = 1
	}
	o.Peer(failed != nil, "an honest platform that connects then hears: %v", failed)
	answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, "over the platform"))
	if err != nil {
		return err
	}
	o.Peer(answer.Status() != 200, "a message of dave to carol, which the platform screens, is answered %d", answer.Status())
	return nil
}
