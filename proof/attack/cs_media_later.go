package attack

import (
	"context"
	"slices"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// mediaLater: a service without a right to media begins a call without media, and describes them when nobody looks at the beginning any more.
func mediaLater() Attack {
	variant := func(name string, by secure.ControlID, run func(context.Context, *Field, *Outcome) error) Variant {
		return Variant{Name: name, Position: EnrolledPlatform, Controls: []secure.ControlID{by}, Run: run}
	}
	return Attack{
		ID: "cs.media.later", Number: "CS-18", Title: "a service without a right to media describes them later, in a dialog that began without",
		Text:     "who may take calls could listen and speak in them after all: the right to media would be asked for in the first message, and never again",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "RFC 3264 8; RFC 3311 5.1; RFC 3262 5; RFC 3261 13.2.1", Access: []Access{ISC},
		Approved: []Approved{{Name: rogueMedia, Manifest: rights("session.answer", "session.originate")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			variant("re-invite", secure.CSIntegrityFingerprint, offersLater("INVITE", keyed(platformKey), platformKey)),
			variant("update", secure.CSIntegrityFingerprint, offersLater("UPDATE", keyed(platformKey), platformKey)),
			variant("keys", secure.CSIntegrityFingerprint, offersLater("UPDATE", inlineKeyed, inlineKey)),
			variant("answer", secure.CSIntegrityFingerprint, answersLater),
			variant("early", secure.CSIntegrityFingerprint, answersEarlyLater),
			variant("past", secure.ISAuthorizationManifest, offersPast),
			variant("ack", secure.CSAuthenticationGrant, acknowledgesWithMedia),
			variant("prack", secure.CSAuthenticationGrant, pracksWithMedia),
		},
	}
}

// Session descriptions of the platform: one that refuses all media, and one whose keys nobody signs (RFC 4568).
const (
	describesNothing = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 UDP/TLS/RTP/SAVP 8\r\n"
	inlineKey        = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	inlineKeyed      = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/SAVP 8\r\n" +
		"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + inlineKey + "\r\n"
)

// begunWithout is a call of dave's to the platform, which takes it and refuses its media.
func (f *Field) begunWithout(ctx context.Context, later func(s *Server, m *sip.Message) bool) (dave *Hand, s *Server, inside, ofDave Request, err error) {
	return f.taken(ctx, rogueMedia, describesNothing, later)
}

// taken is a call of dave's to a service, which takes it with a description. inside and ofDave are what requests of the platform's and of dave's in it begin with;
// later, if not nil, takes those that come to the platform.
func (f *Field) taken(ctx context.Context, service, description string, later func(s *Server, m *sip.Message) bool) (dave *Hand, s *Server, inside, ofDave Request, err error) {
	if dave, err = f.Dave(ctx); err != nil {
		return
	}
	from := make(chan Request, 1)
	s, err = f.server(ctx, f.attacker, service, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			if m.Method() != sip.INVITE || len(m.ToTag()) > 0 {
				return later != nil && later(s, m)
			}
			if r, err := s.inside(m); err == nil {
				from <- r
			}
			return s.answersDescribed(m, description, strings.TrimPrefix(s.contact(), "Contact: ")) == nil
		}
	})
	if err != nil {
		return
	}
	answer, err := dave.Ask(ctx, dave.callsKeyed(s.PSI, f.token()))
	if err != nil {
		return
	}
	if ofDave, err = dave.acknowledges(answer, s.PSI); err != nil {
		return
	}
	return dave, s, <-from, ofDave, nil
}

// inside is what a request of the platform's begins with inside the dialog that an INVITE to it begins (RFC 3261 12.1.1, 12.2.1.1).
func (s *Server) inside(invite *sip.Message) (r Request, err error) {
	from, err := invite.From()
	if err != nil {
		return r, err
	}
	target, err := sip.ParseNameAddr(invite.Get(sip.HdrContact))
	if err != nil {
		return r, err
	}
	r = Request{URI: string(target.URI), To: string(from.URI), ToTag: string(from.Tag()), CallID: string(invite.Get(sip.HdrCallID))}
	for v := range invite.Values(sip.HdrRecordRoute) {
		r.Lines = append(r.Lines, "Route: "+string(v))
	}
	return r, nil
}

// offersLater: dave's call to the service has no media; then the service offers some.
func offersLater(method, description, key string) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, s, inside, _, err := f.begunWithout(ctx, nil)
		if err != nil {
			return err
		}
		inside.Method, inside.Body = method, description
		inside.Lines = append(inside.Lines, s.contact(), "Content-Type: application/sdp")
		answer, err := s.Ask(ctx, s.Begins(inside))
		if err != nil {
			return err
		}
		o.Arrived("a call of dave's stands without media; the service's %s with its own is answered %d", method, answer.Status())
		read := 0
		_ = within(ctx, soon, func(ctx context.Context) error {
			m, err := dave.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && strings.Contains(string(m.Body()), key) })
			if err == nil {
				read = 1
				m.Release()
			}
			return err
		})
		o.Users = read
		o.Peer(read > 0, "dave is offered the service's media in %d of 1 %s", read, method)
		o.Wire(answer.Status() == 200, "the service is answered %d", answer.Status())
		return nil
	}
}

// offersPast: the service offers media by a way that leaves out whoever judges them: of the entries in Route there are only those that lead to dave's P-CSCF.
func offersPast(ctx context.Context, f *Field, o *Outcome) error {
	dave, s, inside, _, err := f.begunWithout(ctx, nil)
	if err != nil {
		return err
	}
	inside.Method, inside.Body = "UPDATE", keyed(platformKey)
	inside.Lines = slices.DeleteFunc(inside.Lines, func(line string) bool { return strings.HasPrefix(line, "Route:") && strings.Contains(line, "@scscf.") })
	ways := len(inside.Lines)
	inside.Lines = append(inside.Lines, s.contact(), "Content-Type: application/sdp")
	answer, err := s.Ask(ctx, s.Begins(inside))
	if err != nil {
		return err
	}
	o.Arrived("a call of dave's stands without media; the service's UPDATE with its own, and %d entries in Route, is answered %d", ways, answer.Status())
	read := 0
	if dave.rings(ctx, func(m *sip.Message) bool { return m.IsRequest() && strings.Contains(string(m.Body()), platformKey) }) {
		read = 1
	}
	o.Users = read
	o.Peer(read > 0, "dave is offered the service's media in %d of 1 UPDATE", read)
	o.Wire(answer.Status() == 200, "the service is answered %d", answer.Status())
	return nil
}

// answersLater: dave's telephone offers media once more, and this time the service answers with its own.
func answersLater(ctx context.Context, f *Field, o *Outcome) error {
	dave, s, _, inside, err := f.begunWithout(ctx, func(s *Server, m *sip.Message) bool {
		return m.Method() == sip.UPDATE && s.answersKeyed(m, platformKey, strings.TrimPrefix(s.contact(), "Contact: ")) == nil
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
	o.Arrived("a call of dave's stands without media; the service answers %d later offer of his with its own", len(s.Seen("UPDATE")))
	read := strings.Contains(string(answer.Body()), platformKey)
	if read {
		o.Users = 1
	}
	o.Peer(read, "dave reads the keys of the service in the answer: %v", read)
	o.Wire(answer.Status() == 200, "the service's answer is dave's: %v", answer.Status() == 200)
	return nil
}

// answersEarlyLater: dave's telephone offers media in a re-INVITE, and the service answers with its own before it refuses.
func answersEarlyLater(ctx context.Context, f *Field, o *Outcome) error {
	dave, s, _, inside, err := f.begunWithout(ctx, func(s *Server, m *sip.Message) bool { return m.Method() == sip.INVITE && s.describesEarly(m) == nil })
	if err != nil {
		return err
	}
	inside.Method, inside.Body = "INVITE", keyed(honestKey)
	inside.Lines = append(inside.Lines, "Contact: "+dave.Contact(), "Content-Type: application/sdp")
	read, status, err := dave.hearsEarly(ctx, inside)
	if err != nil {
		return err
	}
	o.Arrived("a call of dave's stands without media; the service answers %d later offer of his with 183, and then with %d", len(s.Seen("INVITE"))-1, status)
	o.Users = min(read, 1)
	o.Peer(read > 0, "dave reads the keys of the service in %d of 1 provisional responses", read)
	return nil
}

// offerless is a call of the service's to carol, who has not answered yet. It says nothing of media, so it is she who offers some.
func (f *Field) offerless(ctx context.Context, lines ...string) (carol *Hand, s *Server, invite *sip.Message, cseq uint32, err error) {
	if carol, err = f.Carol(ctx); err != nil {
		return
	}
	carol.answers.Store(false)
	if s, err = f.server(ctx, f.attacker, rogueMedia, nil); err != nil {
		return
	}
	callID := f.token()
	if err = s.Write(s.Begins(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: append(lines, s.contact())})); err != nil {
		return
	}
	cseq = s.number
	invite, err = carol.Await(ctx, func(m *sip.Message) bool { return m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID })
	return
}

// acknowledgesWithMedia: carol's telephone answers with an offer, and the ACK has the service's media.
func acknowledgesWithMedia(ctx context.Context, f *Field, o *Outcome) error {
	carol, s, invite, cseq, err := f.offerless(ctx)
	if err != nil {
		return err
	}
	defer invite.Release()
	if err := carol.answersKeyed(invite, honestKey, carol.Contact()); err != nil {
		return err
	}
	answer, err := s.Await(ctx, isFinal)
	if err != nil {
		return err
	}
	ack, err := insideOf(answer, carol.IMPU)
	if err != nil {
		return err
	}
	ack.Method, ack.CSeq, ack.Body = "ACK", cseq, keyed(platformKey)
	ack.Lines = append(ack.Lines, "Content-Type: application/sdp")
	if err := s.Write(s.Begins(ack)); err != nil {
		return err
	}
	m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.ACK })
	if err != nil {
		return err
	}
	defer m.Release()
	o.Arrived("the ACK for carol's answer comes to her with %d octets of a description", len(m.Body()))
	read := strings.Contains(string(m.Body()), platformKey)
	if read {
		o.Users = 1
	}
	o.Peer(read, "carol reads the keys of the service in the ACK: %v", read)
	o.Wire(read, "the service is answered %d, and its ACK comes with its media: %v", answer.Status(), read)
	return nil
}

// pracksWithMedia: carol's telephone offers in a reliable provisional response, and the PRACK has the service's media.
func pracksWithMedia(ctx context.Context, f *Field, o *Outcome) error {
	carol, s, invite, cseq, err := f.offerless(ctx, "Supported: 100rel")
	if err != nil {
		return err
	}
	defer invite.Release()
	if err := carol.describes(invite, 183, keyed(honestKey), carol.Contact(), "Require: 100rel", "RSeq: 1"); err != nil {
		return err
	}
	early, err := s.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() > 100 && len(m.Body()) > 0 })
	if err != nil {
		return err
	}
	prack, err := insideOf(early, carol.IMPU)
	if err != nil {
		return err
	}
	carol.answers.Store(true)
	prack.Method, prack.CSeq, prack.Body = "PRACK", cseq+1, keyed(platformKey)
	prack.Lines = append(prack.Lines, rackOf(cseq), "Content-Type: application/sdp")
	answer, err := s.Ask(ctx, s.Begins(prack))
	if err != nil {
		return err
	}
	o.Arrived("the PRACK for carol's early answer is answered %d", answer.Status())
	read := 0
	_ = within(ctx, soon, func(ctx context.Context) error {
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && strings.Contains(string(m.Body()), platformKey) })
		if err == nil {
			read = 1
			m.Release()
		}
		return err
	})
	o.Users = read
	o.Peer(read > 0, "carol reads the keys of the service in %d of 1 PRACK", read)
	o.Wire(answer.Status() == 200, "the service is answered %d", answer.Status())
	return carol.Answer(invite, 480)
}
