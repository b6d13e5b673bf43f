package attack

import (
	"context"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// mediaOverhear: a service has more of a call's media than it was granted.
func mediaOverhear() Attack {
	controls := []secure.ControlID{secure.CSAuthenticationGrant}
	return Attack{
		ID: "cs.media.overhear", Number: "CS-15", Title: "a service asks for more of a call's media than it was granted: to listen, to record",
		Text: "who was approved to play announcements would have the voice of everybody who calls, and could keep it; " +
			"and callers would be told of a recording that nobody has approved",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "RFC 3264 5.1; RFC 7866 7.1.2", Access: []Access{ISC},
		Approved: []Approved{{Name: announcer, Manifest: rights("session.answer", "session.originate", "media.send")},
			{Name: prompter, Manifest: rights("session.proxy", "session.answer", "media.send") + asked("terminating", 10, "continue")},
			{Name: listener, Manifest: rights("session.answer", "media.send", "media.receive")},
			{Name: hearer, Manifest: rights("session.answer", "media.receive")}},
		Bounds: Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "listen", Position: EnrolledPlatform, Controls: controls, Run: overhears(announcer, "a=sendonly", wish{"a=sendrecv", false}, wish{"a=sendrecv", true}, wish{"a=recvonly", false})},
			{Name: "record", Position: EnrolledPlatform, Controls: controls, Run: overhears(listener, "a=sendonly", wish{"a=record:on", false}, wish{"a=record:on", true}, wish{"a=record:paused", false})},
			{Name: "speak", Position: EnrolledPlatform, Controls: controls, Run: overhears(hearer, "a=recvonly", wish{"a=sendrecv", false}, wish{"a=sendonly", false}, wish{"a=sendonly", true})},
			{Name: "call", Position: EnrolledPlatform, Controls: controls, Run: overhearsWhomItCalls},
			{Name: "between", Position: EnrolledPlatform, Controls: controls, Run: overhearsFromBetween},
			{Name: "later", Position: EnrolledPlatform, Controls: controls, Run: overhearsLater("UPDATE", 1)},
			{Name: "third", Position: EnrolledPlatform, Controls: controls, Run: overhearsLater("UPDATE", 3)},
			{Name: "re-invite", Position: EnrolledPlatform, Controls: controls, Run: overhearsLater("INVITE", 1)},
			{Name: "answer-later", Position: EnrolledPlatform, Controls: controls, Run: answersMoreLater},
		},
	}
}

// announcer is a platform that may answer, call and play, and no more; prompter one that may play into calls to carol; listener one that may hear as well, and not record;
// hearer one that may hear alone.
const (
	announcer = "announcer"
	prompter  = "prompter"
	listener  = "listener"
	hearer    = "hearer"
)

// wish is what a description of the platform's asks for by an attribute, of its medium or of the whole session.
type wish struct {
	attribute string
	ofSession bool
}

func (w *wish) description() string {
	if !w.ofSession {
		return keyed(platformKey) + w.attribute + "\r\n"
	}
	return strings.Replace(keyed(platformKey), "m=", w.attribute+"\r\nm=", 1)
}

// overhears: dave calls the service, which answers with what it was granted in the first call, and with more in the others.
func overhears(name, granted string, more ...wish) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, err := f.Dave(ctx)
		if err != nil {
			return err
		}
		wants := wish{granted, false}
		s, err := f.server(ctx, f.attacker, name, func(s *Server) {
			s.Handle = func(m *sip.Message) bool {
				return m.Method() == sip.INVITE &&
					s.answersDescribed(m, wants.description(), strings.TrimPrefix(s.contact(), "Contact: ")) == nil
			}
		})
		if err != nil {
			return err
		}
		calls := func() (status int, description string, err error) {
			answer, err := dave.Ask(ctx, dave.callsKeyed(s.PSI, f.token()))
			if err != nil {
				return 0, "", err
			}
			return answer.Status(), string(answer.Body()), nil
		}
		status, description, err := calls()
		if err != nil {
			return err
		}
		within := status == 200 && strings.Contains(description, granted)
		taken, read, told := 0, 0, "more"
		for _, wants = range more {
			status, description, err := calls()
			if err != nil {
				return err
			}
			if status == 200 {
				taken++
			}
			if strings.Contains(description, platformKey) && strings.Contains(description, wants.attribute) {
				read, told = read+1, wants.attribute
			}
		}
		o.Arrived("the service answers %d calls of dave's; one in which it only speaks stands: %v", len(s.Seen("INVITE")), within)
		o.Users = min(read, 1)
		o.Peer(read > 0, "dave is told %q by the service in %d of %d answers", told, read, len(more))
		o.Wire(taken > 0, "%d of %d calls stand", taken, len(more))
		return nil
	}
}

// overhearsWhomItCalls: the service calls carol, and wants to hear her.
func overhearsWhomItCalls(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, announcer, nil)
	if err != nil {
		return err
	}
	callID, wants := f.token(), wish{"a=sendrecv", false}
	answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{s.contact(), "Content-Type: application/sdp"},
		Body: wants.description()}))
	if err != nil {
		return err
	}
	o.Arrived("a call of the service's own, in which it wants to hear carol, is answered %d", answer.Status())
	read := carol.reads(ctx, sip.INVITE, callID, wants.attribute)
	o.Users = read
	o.Peer(read > 0, "carol is asked for her voice in %d of 1 call", read)
	o.Wire(answer.Status() == 200, "the service is answered %d", answer.Status())
	return nil
}

// overhearsFromBetween: dave calls carol. The service, which may play into that call, puts itself in his place and wants to hear her.
func overhearsFromBetween(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, prompter, func(s *Server) { s.Edit = swap })
	if err != nil {
		return err
	}
	callID := f.token()
	answer, err := dave.Ask(ctx, dave.callsKeyed(carol.IMPU, callID))
	if err != nil {
		return err
	}
	o.Arrived("the service changes the keys of %d call to carol, in which it may play alone; dave is answered %d", len(s.Seen("INVITE")), answer.Status())
	read := carol.reads(ctx, sip.INVITE, callID, platformKey)
	o.Users = read
	o.Peer(read > 0, "carol gives the service her voice in %d of 1 call", read)
	o.Wire(answer.Status() == 200, "dave, who calls her, is answered %d", answer.Status())
	return nil
}

// announced is a call of dave's, to whom the announcer plays.
func (f *Field) announced(ctx context.Context, later func(s *Server, m *sip.Message) bool) (dave *Hand, s *Server, inside, ofDave Request, err error) {
	return f.taken(ctx, announcer, keyed(platformKey)+"a=sendonly\r\n", later)
}

// overhearsLater: the service begins as it was granted, and asks for more in the call, with the last of so many media.
func overhearsLater(method string, media int) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, s, inside, _, err := f.announced(ctx, nil)
		if err != nil {
			return err
		}
		head, medium, _ := strings.Cut(keyed(platformKey), "m=")
		inside.Method, inside.Body = method, head+strings.Repeat("m="+medium+"a=sendonly\r\n", media-1)+"m="+medium+"a=sendrecv\r\n"
		inside.Lines = append(inside.Lines, s.contact(), "Content-Type: application/sdp")
		answer, err := s.Ask(ctx, s.Begins(inside))
		if err != nil {
			return err
		}
		asked := 0
		_ = within(ctx, soon, func(ctx context.Context) error {
			m, err := dave.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && strings.Contains(string(m.Body()), "a=sendrecv") })
			if err == nil {
				asked = 1
				m.Release()
			}
			return err
		})
		o.Arrived("dave hears the service; its %s, by which it wants to hear him, is answered %d", method, answer.Status())
		o.Users = asked
		o.Peer(asked > 0, "dave is asked for his voice in %d of 1 %s", asked, method)
		o.Wire(answer.Status() == 200, "the service is answered %d", answer.Status())
		return nil
	}
}

// answersMoreLater: dave's telephone offers media once more, and the service answers with more than it was granted.
func answersMoreLater(ctx context.Context, f *Field, o *Outcome) error {
	dave, s, _, inside, err := f.announced(ctx, func(s *Server, m *sip.Message) bool {
		return m.Method() == sip.UPDATE && s.answersDescribed(m, keyed(platformKey)+"a=sendrecv\r\n", strings.TrimPrefix(s.contact(), "Contact: ")) == nil
	})
	if err != nil {
		return err
	}
	inside.Method, inside.Body = "UPDATE", keyed(honestKey)
	inside.Lines = append(inside.Lines, "Contact: "+dave.Contact(), "Content-Type: application/sdp")
	answer, err := dave.Ask(ctx, dave.Text(inside))
	if err != nil {
		return err
	}
	read := strings.Contains(string(answer.Body()), "a=sendrecv")
	o.Arrived("dave hears the service; it answers %d later offer of his by wanting to hear him", len(s.Seen("UPDATE")))
	if read {
		o.Users = 1
	}
	o.Peer(read, "dave is told that the service hears him: %v", read)
	o.Wire(answer.Status() == 200, "the service's answer is dave's: %v", answer.Status() == 200)
	return nil
}
