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
		Approved: []Approved{{Name: announcer, Manifest: rights("session.answer", "media.send")},
			{Name: listener, Manifest: rights("session.answer", "media.send", "media.receive")}},
		Bounds: Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "listen", Position: EnrolledPlatform, Controls: controls, Run: overhears(announcer, "a=sendrecv")},
			{Name: "record", Position: EnrolledPlatform, Controls: controls, Run: overhears(listener, "a=record:on")},
		},
	}
}

// announcer is a platform that may answer and play, and no more; listener one that may hear as well, and not record.
const (
	announcer = "announcer"
	listener  = "listener"
)

// overhears: dave calls the service, three times, which answers with what it was granted in the first call, and with more in the others.
func overhears(name, more string) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, err := f.Dave(ctx)
		if err != nil {
			return err
		}
		const granted = "a=sendonly"
		wants := granted
		s, err := f.server(ctx, f.attacker, name, func(s *Server) {
			s.Handle = func(m *sip.Message) bool {
				return m.Method() == sip.INVITE &&
					s.answersDescribed(m, keyed(platformKey)+wants+"\r\n", strings.TrimPrefix(s.contact(), "Contact: ")) == nil
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
		wants = more
		const times = 3
		taken, read := 0, 0
		for range times {
			status, description, err := calls()
			if err != nil {
				return err
			}
			if status == 200 {
				taken++
			}
			if strings.Contains(description, platformKey) && strings.Contains(description, more) {
				read++
			}
		}
		o.Arrived("the service answers %d calls of dave's; one in which it only speaks stands: %v", len(s.Seen("INVITE")), within)
		o.Users = min(read, 1)
		o.Peer(read > 0, "dave is told %q by the service in %d of %d answers", more, read, times)
		o.Wire(taken > 0, "%d of %d calls stand", taken, times)
		return nil
	}
}
