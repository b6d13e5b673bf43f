package attack

import (
	"context"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// asOverreach: an approved platform does what nobody has approved.
func asOverreach() Attack {
	controls := []secure.ControlID{secure.ISAuthorizationManifest}
	variant := func(name string, run func(context.Context, *Field, *Outcome) error) Variant {
		return Variant{Name: name, Position: EnrolledPlatform, Controls: controls, Run: run}
	}
	return Attack{
		ID: "is.as.overreach", Number: "IS-02", Title: "an approved platform acts beyond its manifest",
		Text:     "a service that may stay in the path of calls would be one that takes them, sends them elsewhere, and writes to anybody",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal}, Module: ApplicationsControl,
		Source: "TS 23.218 5.1.1", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 80, Bytes: 80_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{variant("originate", overreachOriginate), variant("answer", overreachAnswer), variant("divert", overreachDivert),
			variant("rewrite", overreachRewrite), variant("dialog", overreachDialog)},
	}
}

// tap is a platform that may stay in the path of sessions to carol, and nothing else.
const tap = "tap"

// overreachOriginate: it writes to carol ten times of its own accord.
func overreachOriginate(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, tap, nil)
	if err != nil {
		return err
	}
	const times, unwanted = 10, "unwanted"
	taken := 0
	for range times {
		answer, err := s.Ask(ctx, s.writes(carol.IMPU, unwanted))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", times, answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	heard, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == unwanted })
	if err != nil {
		return err
	}
	o.Users = min(heard, 1)
	o.Wire(taken > 0, "%d of %d messages of the platform are taken", taken, times)
	o.Peer(heard > 0, "carol gets %d of %d messages of the platform", heard, times)
	return nil
}

// overreachAnswer: it takes a call that is for carol.
func overreachAnswer(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Handle = func(m *sip.Message) bool { return m.Method() == sip.INVITE && s.Answer(m, 200, s.contact()) == nil }
	})
	if err != nil {
		return err
	}
	callID := f.token()
	answer, err := dave.Ask(ctx, dave.calls(carol.IMPU, callID))
	if err != nil {
		return err
	}
	o.Arrived("the platform is asked about %d calls to carol and answers 200", len(s.Seen("INVITE")))
	rang, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID })
	if err != nil {
		return err
	}
	o.Peer(answer.Status() == 200 && rang == 0, "dave, who calls carol, is answered %d; her telephone rings %d times", answer.Status(), rang)
	return nil
}

// overreachDivert: it sends what is for carol to a subscriber of its own.
func overreachDivert(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	const secret = "for carol alone"
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if string(m.Body()) == secret {
				m.SetRequestURI([]byte(mallory.IMPU))
			}
		}
	})
	if err != nil {
		return err
	}
	answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, secret))
	if err != nil {
		return err
	}
	o.Arrived("the platform changes the target of %d message", len(s.Seen("MESSAGE")))
	read := 0
	if answer.Status() == 200 {
		if m, err := mallory.Got(ctx, sip.MESSAGE, secret); err == nil {
			m.Release()
			read = 1
		}
	}
	missed, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == secret })
	if err != nil {
		return err
	}
	o.Users = read
	o.Wire(read > 0, "mallory reads %d messages for carol", read)
	o.Peer(answer.Status() == 200 && missed == 0, "dave is answered %d, and carol gets %d of 1", answer.Status(), missed)
	return nil
}

// overreachRewrite: it changes what dave has written.
func overreachRewrite(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	const written, forged = "pay 10 to bob", "pay 10000 to mallory"
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if string(m.Body()) == written {
				m.SetBody("text/plain", []byte(forged))
			}
		}
	})
	if err != nil {
		return err
	}
	answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, written))
	if err != nil {
		return err
	}
	o.Arrived("the platform changes %d message; dave is answered %d", len(s.Seen("MESSAGE")), answer.Status())
	read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == forged })
	if err != nil {
		return err
	}
	o.Users = read
	o.Peer(read > 0, "carol reads %d messages that dave has not written like that", read)
	o.Wire(answer.Status() == 200, "dave is answered %d", answer.Status())
	return nil
}

// overreachDialog: it hangs up a call in which it has no part: that of alice and bob, with all that a reader of their signalling knows.
func overreachDialog(ctx context.Context, f *Field, o *Outcome) error {
	s, err := f.server(ctx, f.attacker, tap, nil)
	if err != nil {
		return err
	}
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	leg, err := out.Leg(ctx)
	if err != nil {
		return err
	}
	bye := Request{Method: "BYE", URI: leg.Target, From: leg.Local, FromTag: leg.LocalTag, To: leg.Remote, ToTag: leg.RemoteTag, CallID: leg.CallID,
		CSeq: leg.Seq + 100}
	for _, r := range leg.Route[min(2, len(leg.Route)):] { // behind the entries of the P-CSCF: a platform comes in at the S-CSCF
		bye.Lines = append(bye.Lines, "Route: "+r)
	}
	answer, err := s.Ask(ctx, s.Begins(bye))
	if err != nil {
		return err
	}
	o.Arrived("a BYE in a call of others is answered %d", answer.Status())
	o.Wire(answer.Status() == 200, "the platform is answered %d", answer.Status())
	if err := f.stillTalk(ctx, out, in); err != nil {
		o.Users = 2
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "alice and bob go on talking")
	return attackOver(Part(ctx, out, in))
}
