package attack

import (
	"context"
	"errors"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// mediaRogue: a media server that was granted nothing is the end of somebody's call.
func mediaRogue() Attack {
	controls := []secure.ControlID{secure.CSAuthenticationGrant}
	return Attack{
		ID: "cs.media.rogue", Number: "IS-12", Title: "a service without a right to media answers with media keys of its own",
		Text:     "who may take calls could listen and speak in them: the caller cannot see that nobody has approved that",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "TS 23.218 5.1.1; RFC 8224", Access: []Access{ISC},
		Approved: []Approved{{Name: rogueMedia, Manifest: rights("session.answer", "session.originate")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "answer", Position: EnrolledPlatform, Controls: controls, Run: rogueAnswers},
			{Name: "early", Position: EnrolledPlatform, Controls: controls, Run: rogueAnswersEarly},
			{Name: "call", Position: EnrolledPlatform, Controls: controls, Run: rogueCalls},
		},
	}
}

// rogueMedia is a platform that may answer and begin calls, and has no right to media.
const rogueMedia = "rogue-media"

// rogueDescriptions are session descriptions of the platform, each with a word that stands in no other: with a fingerprint, with keys that nobody signs, and without.
func rogueDescriptions() [][2]string {
	return [][2]string{{keyed(platformKey), platformKey}, {inlineKeyed, inlineKey}, {strings.NewReplacer("RTP/SAVP", "RTP/AVP", "a=crypto", "a=x-none").Replace(inlineKeyed), "RTP/AVP"}}
}

// rogueAnswers: dave calls the service, three times.
func rogueAnswers(ctx context.Context, f *Field, o *Outcome) error {
	dave, err := f.Dave(ctx)
	if err != nil {
		return err
	}
	var says string
	s, err := f.server(ctx, f.attacker, rogueMedia, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			return m.Method() == sip.INVITE && s.answersDescribed(m, says, strings.TrimPrefix(s.contact(), "Contact: ")) == nil
		}
	})
	if err != nil {
		return err
	}
	taken, read, all := 0, 0, rogueDescriptions()
	for _, description := range all {
		says = description[0]
		answer, err := dave.Ask(ctx, dave.callsKeyed(s.PSI, f.token()))
		if err != nil {
			return err
		}
		if answer.Status() == 200 {
			taken++
		}
		if strings.Contains(string(answer.Body()), description[1]) {
			read++
		}
	}
	o.Arrived("the service answers %d calls of dave's with media of its own", len(s.Seen("INVITE")))
	o.Users = min(read, 1)
	o.Peer(read > 0, "dave is told of the service's media in %d of %d answers", read, len(all))
	o.Wire(taken > 0, "%d of %d calls stand", taken, len(all))
	return nil
}

// rogueAnswersEarly: dave calls the service, which describes its media before it answers, and never does: a telephone plays them all the same (RFC 3262 5).
func rogueAnswersEarly(ctx context.Context, f *Field, o *Outcome) error {
	dave, err := f.Dave(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, rogueMedia, func(s *Server) {
		s.Handle = func(m *sip.Message) bool { return m.Method() == sip.INVITE && s.describesEarly(m) == nil }
	})
	if err != nil {
		return err
	}
	read, status, err := dave.hearsEarly(ctx, dave.callKeyed(s.PSI, f.token()))
	if err != nil {
		return err
	}
	o.Arrived("the service describes its media in 183 to %d call of dave's, which is answered %d then", len(s.Seen("INVITE")), status)
	o.Users = min(read, 1)
	o.Peer(read > 0, "dave reads the keys of the service in %d of 1 provisional responses", read)
	return nil
}

// describesEarly answers an INVITE with a provisional response that has the platform's media keys, and ends the call.
func (s *Server) describesEarly(m *sip.Message) error {
	return errors.Join(s.describes(m, 183, keyed(platformKey), strings.TrimPrefix(s.contact(), "Contact: ")), s.Answer(m, 480))
}

// hearsEarly sends an INVITE, and returns how many provisional responses with the platform's media keys come before its answer.
func (h *Hand) hearsEarly(ctx context.Context, invite Request) (read, status int, err error) {
	if err := h.Write(h.Text(invite)); err != nil {
		return 0, 0, err
	}
	for status < 200 {
		m, err := h.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && string(m.Get(sip.HdrCallID)) == invite.CallID })
		if err != nil {
			return 0, 0, err
		}
		if status = m.Status(); strings.Contains(string(m.Body()), platformKey) {
			read++
		}
		m.Release()
	}
	return read, status, nil
}

// rogueCalls: the service calls carol.
func rogueCalls(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(true)
	s, err := f.server(ctx, f.attacker, rogueMedia, nil)
	if err != nil {
		return err
	}
	rang, taken, all := 0, 0, rogueDescriptions()
	route := "Route: <sip:" + f.Domain + ";lr>" // a platform that begins has no say in it: with one it would look as if it gave something back
	for i, description := range all {
		callID := f.token()
		answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Body: description[0],
			Lines: []string{s.contact(), "Content-Type: application/sdp", route}}))
		if err != nil {
			return err
		}
		o.Arrived("%d calls of the service's own, the last answered %d", i+1, answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	isCall := func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INVITE }
	for carol.rings(ctx, isCall) && rang < len(all) {
		rang++
	}
	o.Users = min(rang, 1)
	o.Peer(rang > 0, "carol's telephone rings %d times for it", rang)
	o.Wire(taken > 0, "%d of %d calls of the service stand", taken, len(all))
	return nil
}

// rings waits for a request that fits; silence is what is hoped for.
func (h *Hand) rings(ctx context.Context, fits func(*sip.Message) bool) bool {
	return within(ctx, soon/3, func(ctx context.Context) error {
		m, err := h.Await(ctx, fits)
		if err == nil {
			m.Release()
		}
		return err
	}) == nil
}
