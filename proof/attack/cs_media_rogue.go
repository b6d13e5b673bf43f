package attack

import (
	"context"
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
			{Name: "call", Position: EnrolledPlatform, Controls: controls, Run: rogueCalls},
		},
	}
}

// rogueMedia is a platform that may answer and begin calls, and has no right to media.
const rogueMedia = "rogue-media"

// rogueAnswers: dave calls the service, three times.
func rogueAnswers(ctx context.Context, f *Field, o *Outcome) error {
	dave, err := f.Dave(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, rogueMedia, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			return m.Method() == sip.INVITE && s.answersKeyed(m, platformKey, strings.TrimPrefix(s.contact(), "Contact: ")) == nil
		}
	})
	if err != nil {
		return err
	}
	const times = 3
	taken, read := 0, 0
	for range times {
		answer, err := dave.Ask(ctx, dave.callsKeyed(s.PSI, f.token()))
		if err != nil {
			return err
		}
		if answer.Status() == 200 {
			taken++
		}
		if strings.Contains(string(answer.Body()), platformKey) {
			read++
		}
	}
	o.Arrived("the service answers %d calls of dave's with its keys", len(s.Seen("INVITE")))
	o.Users = min(read, 1)
	o.Peer(read > 0, "dave reads the keys of the service in %d of %d answers", read, times)
	o.Wire(taken > 0, "%d of %d calls stand", taken, times)
	return nil
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
	callID := f.token()
	answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{s.contact(), "Content-Type: application/sdp"},
		Body: keyed(platformKey)}))
	if err != nil {
		return err
	}
	o.Arrived("a call of the service's own is answered %d", answer.Status())
	rang := 0
	_ = within(ctx, soon, func(ctx context.Context) error {
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID && m.Method() == sip.INVITE
		})
		if err == nil {
			rang = 1
			m.Release()
		}
		return err
	})
	o.Users = rang
	o.Peer(rang > 0, "carol's telephone rings %d times for it", rang)
	o.Wire(answer.Status() == 200, "the service is answered %d", answer.Status())
	return nil
}
