package as

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/isc"
)

// begin makes a request outside dialogs, as one of the service's public identities (TS 24.229 5.7.3).
func (s *Service) begin(method sip.Method, to string) (*sip.Message, error) {
	from := s.PSI()
	switch {
	case from == "":
		return nil, fmt.Errorf("%w: the service has no public service identity to begin something as", ErrURI)
	case CheckTarget(to) != nil:
		return nil, CheckTarget(to)
	}
	m := s.pool.NewRequest(method, to)
	m.SetString(sip.HdrMaxForwards, "70")
	m.SetString(sip.HdrFrom, "<"+from+">;tag="+s.token(16))
	m.SetString(sip.HdrTo, "<"+to+">")
	m.SetString(sip.HdrCallID, s.token(24))
	m.SetString(sip.HdrCSeq, cseq(1, method))
	m.SetString(sip.HdrPAssertedIdentity, "<"+from+">")
	m.SetString(sip.HdrContact, s.contact())
	return m, nil
}

// exchange is one request whose final answer somebody waits for. On the shard.
type exchange struct {
	svc   *Service
	waits waits
	over  bool
	err   error
}

// Response implements siptxn.Responder.
func (x *exchange) Response(_ *siptxn.Client, m *sip.Message) {
	if m.Status() < 200 || x.over {
		m.Release()
		return
	}
	x.over, x.err = true, x.svc.verdict(m)
	m.Release()
	x.svc.happened(&x.waits)
}

// Failed implements siptxn.Responder.
func (x *exchange) Failed(_ *siptxn.Client, err error) {
	x.over, x.err = true, failure(err)
	x.svc.happened(&x.waits)
}

// failure words what a transaction died of.
func failure(err error) error {
	if failureOf(err) == 408 {
		return ErrTimeout
	}
	return ErrOffline
}

// ask sends what build makes and waits for the final answer.
func (s *Service) ask(ctx context.Context, build func() (*sip.Message, error)) error {
	x := &exchange{svc: s}
	err := s.await(ctx, &x.waits, func() error {
		m, err := build()
		if err != nil {
			return err
		}
		_, err = s.send(m, x)
		return err
	}, func() bool { return x.over })
	if err != nil {
		return err
	}
	return x.err
}

// Send sends a MESSAGE (RFC 3428) as the service's public identity, and returns when it was accepted. It needs message.send.
func (s *Service) Send(ctx context.Context, to, contentType string, body []byte) error {
	return s.tell(ctx, isc.MessageSend, sip.MESSAGE, to, contentType, body, nil)
}

// Notify sends a NOTIFY without a subscription, for the event packages that allow it: message-summary (RFC 3842 3.9). It needs
// mwi.notify.
func (s *Service) Notify(ctx context.Context, to, event, contentType string, body []byte) error {
	return s.tell(ctx, isc.MWINotify, sip.NOTIFY, to, contentType, body, func(m *sip.Message) {
		m.SetString(sip.HdrEvent, event)
		m.SetString(sip.HdrSubscriptionState, "terminated;reason=noresource")
	})
}

func (s *Service) tell(ctx context.Context, scope isc.Scope, method sip.Method, to, contentType string, body []byte, edit func(*sip.Message)) error {
	if err := s.needs(scope); err != nil {
		return err
	}
	return s.ask(ctx, func() (*sip.Message, error) {
		m, err := s.begin(method, to)
		if err != nil {
			return nil, err
		}
		if method != sip.NOTIFY {
			m.Remove(sip.HdrContact) // RFC 3428 4: no dialog comes of it
		}
		if edit != nil {
			edit(m)
		}
		m.SetBody(contentType, body)
		return m, nil
	})
}

// Originate calls somebody as the service's public identity, with an offer, and returns when he has answered. When ctx ends before, the call
// is cancelled. It needs session.originate.
func (s *Service) Originate(ctx context.Context, to string, offer []byte) (*Leg, error) {
	if err := s.needs(isc.SessionOriginate); err != nil {
		return nil, err
	}
	leg := &Leg{svc: s}
	if err := s.call(ctx, leg, func() (*sip.Message, error) { return s.invite(to, offer) }); err != nil {
		return nil, err
	}
	return leg, nil
}

// OriginateMedia is Originate with audio that ends at the service; the keys are agreed on when it returns (Call.Secured). tones are frequencies that are listened
// for, in Hz. An answer below DTLS-SRTP, or with media keys that the core has not vouched for, ends the call: ErrMedia. It needs session.originate, and one of
// media.send, media.receive and media.mix.
func (s *Service) OriginateMedia(ctx context.Context, to string, tones []float64) (*Call, error) {
	if err := s.needs(isc.SessionOriginate); err != nil {
		return nil, err
	}
	return s.callMedia(ctx, tones, func(offer []byte) (*sip.Message, error) { return s.invite(to, offer) })
}

// invite makes an INVITE of the service's own.
func (s *Service) invite(to string, offer []byte) (*sip.Message, error) {
	m, err := s.begin(sip.INVITE, to)
	if err != nil {
		return nil, err
	}
	m.SetString(sip.HdrAllow, methods)
	setSDP(m, offer)
	return m, nil
}

// callMedia calls with audio that ends at the service.
func (s *Service) callMedia(ctx context.Context, tones []float64, build func(offer []byte) (*sip.Message, error)) (*Call, error) {
	if err := s.needsMedia(); err != nil {
		return nil, err
	}
	c, offer, err := s.offerMedia(&Leg{svc: s}, tones)
	if err != nil {
		if !errors.Is(err, ErrMedia) {
			err = fmt.Errorf("%w: %w", ErrMedia, err)
		}
		return nil, err
	}
	if err := s.call(ctx, c.Leg, func() (*sip.Message, error) { return build(offer) }); err != nil {
		s.enter(c.end)
		return nil, err
	}
	return c, nil
}

// call sends the INVITE that build makes, and returns when it is answered.
func (s *Service) call(ctx context.Context, leg *Leg, build func() (*sip.Message, error)) error {
	err := s.await(ctx, &leg.waits, func() error {
		m, err := build()
		if err != nil {
			return err
		}
		leg.client, err = s.send(m, (*caller)(leg))
		return err
	}, func() bool { return leg.acked || leg.over })
	if err != nil {
		s.enter(func() {
			leg.hangup = true
			if leg.client != nil {
				s.layer.Cancel(leg.client)
			}
			if leg.acked { // in the same moment
				leg.bye()
			}
		})
		return err
	}
	if leg.over {
		return leg.failure
	}
	return nil
}

// caller is a leg that waits for the answer to its INVITE.
type caller Leg

// Response implements siptxn.Responder (RFC 3261 13.2.2).
func (c *caller) Response(_ *siptxn.Client, m *sip.Message) {
	l := (*Leg)(c)
	defer m.Release()
	switch code := m.Status(); {
	case code < 200:
		if code == 180 {
			l.events.put(Event{Kind: Ringing, Status: code, Reason: string(m.Reason())})
			l.svc.happened(&l.waits)
		}
	case code < 300:
		l.answeredBy(m)
	default:
		l.client = nil
		l.failure = l.svc.verdict(m)
		l.end()
	}
}

// answeredBy takes a 2xx: it is acknowledged in any case; the first makes the leg, others are branches of a fork and are hung up.
func (l *Leg) answeredBy(m *sip.Message) {
	d, ok := dialogOfResponse(m, 1)
	if !ok {
		return
	}
	if l.client == nil {
		if d.remoteTag != l.dialog.remoteTag {
			other := &Leg{svc: l.svc, dialog: d, ackDue: 1}
			other.bye()
			other.ack.Release()
		}
		return
	}
	l.client, l.dialog, l.acked, l.ackDue = nil, d, true, 1
	l.remote = slices.Clone(m.Body())
	l.svc.legs[legName{d.callID, d.localTag}] = l
	l.acknowledge(nil)
	if l.hangup {
		l.bye()
		return
	}
	if l.call != nil {
		if l.failure = l.call.agrees(m); l.failure != nil {
			l.bye()
			return
		}
	}
	l.events.put(Event{Kind: Answered, Status: m.Status(), Reason: string(m.Reason())})
	l.svc.happened(&l.waits)
}

// agrees takes the answer to what the call has offered.
func (c *Call) agrees(m *sip.Message) error {
	if !vouchedFor(m, m.Body()) {
		return errUnvouched
	}
	if err := c.channel.Agree(m.Body()); err != nil {
		return fmt.Errorf("%w: %w", ErrMedia, err)
	}
	c.channel.Start()
	return nil
}

// acknowledge sends the ACK that is due, and keeps a copy for the next time the 2xx comes.
func (l *Leg) acknowledge(body []byte) {
	m := l.dialog.request(l.svc.pool, sip.ACK, l.ackDue)
	if len(body) > 0 {
		setSDP(m, body)
	}
	l.ackDue = 0
	l.ack.Release()
	l.ack = m.Clone()
	l.svc.acknowledge(m)
}

// Failed implements siptxn.Responder.
func (c *caller) Failed(_ *siptxn.Client, err error) {
	l := (*Leg)(c)
	l.client, l.failure = nil, failure(err)
	l.end()
}

// Again implements siptxn.Retransmitter: the ACK was lost (RFC 3261 13.2.2.4).
func (c *caller) Again(_ *siptxn.Client, m *sip.Message) bool { return (*Leg)(c).again(m) }

func (l *Leg) again(m *sip.Message) bool {
	if string(m.ToTag()) != l.dialog.remoteTag {
		return false
	}
	if l.ack != nil {
		l.svc.acknowledge(l.ack.Clone())
	}
	return true
}

// Gone implements siptxn.Forgetter: no 2xx will come again.
func (c *caller) Gone(*siptxn.Client) { (*Leg)(c).forget() }

func (l *Leg) forget() {
	l.ack.Release()
	l.ack = nil
}

// Refer asks the other end of the leg to call target (RFC 3515), and returns when it has agreed. What comes of it are events: Info with a
// message/sipfrag. It needs session.redirect.
func (l *Leg) Refer(ctx context.Context, target string) error {
	if err := l.svc.needs(isc.SessionRedirect); err != nil {
		return err
	}
	if err := CheckTarget(target); err != nil {
		return err
	}
	return l.within(ctx, sip.REFER, func(m *sip.Message) {
		m.SetString(sip.HdrReferTo, "<"+target+">")
		m.SetString(sip.HdrContact, l.svc.contact())
		if psi := l.svc.PSI(); psi != "" {
			m.SetString(sip.HdrReferredBy, "<"+psi+">")
		}
	})
}

// Info sends an INFO inside the dialog (RFC 6086).
func (l *Leg) Info(ctx context.Context, contentType string, body []byte) error {
	return l.within(ctx, sip.INFO, func(m *sip.Message) { m.SetBody(contentType, body) })
}

func (l *Leg) within(ctx context.Context, method sip.Method, edit func(*sip.Message)) error {
	return l.svc.ask(ctx, func() (*sip.Message, error) {
		if l.over {
			return nil, ErrGone
		}
		l.dialog.localSeq++
		m := l.dialog.request(l.svc.pool, method, l.dialog.localSeq)
		edit(m)
		return m, nil
	})
}
