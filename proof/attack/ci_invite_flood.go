package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// inviteFlood: a registered client calls without end.
func inviteFlood() Attack {
	return Attack{
		ID: "ci.invite.flood", Number: "CI-19", Title: "calls of one user without end",
		Text:     "each call binds the core, its records and whoever is called; one subscription would be enough to keep everybody busy",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "CVE-2020-28327; CVE-2021-41145", Access: both(),
		Bounds:   Bounds{Packets: 500, Bytes: 500_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: floodInvites, Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser}}},
	}
}

// floodInvites calls nobody: each call is a look into the HSS, and leaves a record.
func floodInvites(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 200
	worked := 0
	for i := range times {
		answer, err := mallory.Ask(ctx, mallory.Text(Request{Method: "INVITE", URI: "sip:nobody@" + f.Domain, Lines: []string{"Contact: " + mallory.Contact()}}))
		if err != nil {
			return err
		}
		o.Arrived("%d calls, the last answered %d", i+1, answer.Status())
		if answer.Status() == 404 {
			worked++
		}
	}
	o.Wire(worked > times/2, "of %d calls of a moment the core has walked %d", times, worked)
	return f.stillReaches(ctx, o)
}

// stillReaches has an honest message go through beside the attack.
func (f *Field) stillReaches(ctx context.Context, o *Outcome) error {
	if err := f.Alice.Reaches(ctx, f.Bob, "beside "+f.token()); err != nil {
		o.Peer(true, "alice does not reach bob: %v", err)
	}
	return nil
}
