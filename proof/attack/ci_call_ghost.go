package attack

import (
	"context"
	"errors"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// callGhost: calls that never ring fill a handset, which shows nothing of them.
func callGhost() Attack {
	controls := []secure.ControlID{secure.CIAvailabilityEarlyDialog}
	return Attack{
		ID: "ci.call.ghost", Number: "CI-33", Title: "calls that are held before they ring",
		Text:     "a handset has room for a few calls; filled with silent ones it can place none, and its user sees nothing",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesUser,
		Source: "Lu et al., MobiCom 2020", Access: both(), Crowd: crowd,
		Bounds: Bounds{Packets: 120, Bytes: 120_000, Conns: 2 * crowd, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "one", Position: Subscriber, Run: holdCalls, Controls: controls},
			{Name: "many", Position: Subscriber, Run: holdCallsOfMany, Controls: controls, Ours: "it takes accomplices with subscriptions at the target"},
		},
	}
}

// crowd is how many call alice together.
const crowd = 6

// holdCalls: one caller alone.
func holdCalls(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	return f.hold(ctx, o, 50, mallory)
}

// holdCallsOfMany: several callers, each of whom calls no more often than one may.
func holdCallsOfMany(ctx context.Context, f *Field, o *Outcome) error {
	var all []*Hand
	for i := range crowd {
		h, err := f.accomplice(ctx, i)
		if err != nil {
			return err
		}
		all = append(all, h)
	}
	return f.hold(ctx, o, 2*crowd, all...)
}

// hold calls alice so often, in turn, and looks whether she can place a call then.
func (f *Field) hold(ctx context.Context, o *Outcome, times int, callers ...*Hand) error {
	f.Alice.Quiet()
	for i := range times {
		h := callers[i%len(callers)]
		if err := h.Write(h.Text(Request{Method: "INVITE", URI: f.Alice.IMPU, Lines: []string{"Contact: " + h.Contact()}})); err != nil {
			return err
		}
	}
	refused := 0
	for i := 0; refused+len(f.Alice.calls) < times; i++ {
		err := within(ctx, soon/10, func(ctx context.Context) error {
			_, err := callers[i%len(callers)].Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 300 })
			return err
		})
		switch {
		case err == nil:
			refused++
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return err
		}
	}
	o.Arrived("alice's client holds %d silent calls of %d", len(f.Alice.calls), times)
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil && !errors.Is(err, ue.ErrBusy) {
		return err
	}
	if err != nil {
		o.Users = 1
		o.Peer(true, "%s, and alice cannot place a call", o.Delivered)
		return nil
	}
	o.Peer(false, "%s, and alice can place a call", o.Delivered)
	return attackOver(Part(ctx, out, in))
}
