package as

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/isc"
)

// Bridged are the two halves of a back-to-back user agent. What comes in by one goes out by the other until one of them ends; a handler need
// not stay for that.
type Bridged struct{ Caller, Called *Leg }

// Bridge answers a call and calls on at the same time, in a dialog of its own with the identifier of the session, so that the services
// behind this one are asked (TS 24.229 5.7.5). Descriptions and requests pass between the two; reliable provisional responses are not
// offered to either side. It returns when the called side has answered and the caller has acknowledged. It needs session.answer.
func (s *Session) Bridge(ctx context.Context, how ...How) (*Bridged, error) {
	if err := s.svc.needs(isc.SessionAnswer); err != nil {
		return nil, err
	}
	o := s.build(how)
	a, b := &Leg{svc: s.svc, session: s}, &Leg{svc: s.svc}
	err := s.svc.await(ctx, &a.waits, func() error { return s.bridge(&o, a, b) }, func() bool { return a.acked || a.over })
	switch {
	case err != nil:
		return nil, err
	case a.acked:
		return &Bridged{Caller: a, Called: b}, nil
	}
	return nil, b.failure
}

// bridge sends the second INVITE. On the shard.
func (s *Session) bridge(o *onward, a, b *Leg) error {
	if err := s.open(); err != nil {
		return err
	}
	if err := s.permits(o); err != nil {
		return err
	}
	if s.method != sip.INVITE || len(o.targets) > 1 {
		return ErrDecided
	}
	n, limited := s.request.MaxForwards()
	switch {
	case limited && n == 0:
		s.reply(483, nil)
		return ErrDecided
	case s.requires(): // the two halves agree on nothing that this one does not understand
		return ErrDecided
	case !a.founds():
		s.reply(400, nil)
		return ErrDecided
	}
	target := s.Called
	if len(o.targets) == 1 {
		target = o.targets[0]
	}
	a.peer, b.peer = b, a
	s.phase, s.how = onTheWay, *o
	s.how.stay = false
	m := s.anew(target)
	var err error
	if b.client, err = s.svc.send(m, (*called)(b)); err != nil {
		b.over = true
		a.peer = nil
		s.reply(503, nil)
		b.failure = ErrOffline
		a.end()
	}
	return nil
}

// anew makes the INVITE of a dialog of its own, with the identifier of the session.
func (s *Session) anew(target string) *sip.Message {
	m := s.onward(target)
	for _, h := range []sip.HeaderID{sip.HdrVia, sip.HdrRecordRoute, sip.HdrSupported} {
		m.Remove(h)
	}
	from := party(m.Get(sip.HdrFrom))
	m.SetString(sip.HdrFrom, from+";tag="+s.svc.token(16))
	m.SetString(sip.HdrCallID, s.svc.token(24))
	m.SetString(sip.HdrCSeq, cseq(1, sip.INVITE))
	m.SetString(sip.HdrContact, s.svc.contact())
	m.SetString(sip.HdrAllow, methods)
	return m
}

// CallOn calls on for a caller who was answered with AnswerMedia, in a dialog of its own with the identifier of the session, so that the services behind
// this one are asked and the called user sees who calls (TS 24.229 5.7.5). Its audio ends at the service too: Connect lets the two hear each other. It returns when the called
// side has answered; when the caller hangs up before, it is cancelled. It needs one of media.send, media.receive and media.mix.
func (c *Call) CallOn(ctx context.Context, how ...How) (*Call, error) {
	s := c.session
	if s == nil {
		return nil, fmt.Errorf("%w: it is no session's", ErrDecided)
	}
	o := s.build(how)
	return s.svc.callMedia(ctx, nil, func(offer []byte) (*sip.Message, error) {
		switch {
		case c.Leg.over:
			return nil, ErrGone
		case s.request == nil || len(o.targets) > 1:
			return nil, ErrDecided
		}
		if err := s.permits(&o); err != nil {
			return nil, err
		}
		target := s.Called
		if len(o.targets) == 1 {
			target = o.targets[0]
		}
		s.how = o
		s.how.stay = false
		m := s.anew(target)
		for _, h := range []sip.HeaderID{sip.HdrIdentity, sip.HdrSessionExpires, sip.HdrMinSE, sip.HdrRequire} {
			m.Remove(h) // of the caller's dialog, and of his keys
		}
		setSDP(m, offer)
		return m, nil
	})
}

// called is the second half of a bridge while its INVITE has no final answer.
type called Leg

// Response implements siptxn.Responder.
func (c *called) Response(_ *siptxn.Client, m *sip.Message) {
	b := (*Leg)(c)
	defer m.Release()
	a := b.peer
	switch code := m.Status(); {
	case code == 100:
	case code < 200:
		if b.client != nil && a.session.tx != nil {
			b.svc.respond(a.session.tx, a.session.request, code, func(r *sip.Message) { a.fields(a.session.request, r); carry(r, m) })
		}
	case code < 300:
		b.connects(m)
	case b.client != nil:
		b.client = nil
		b.failure = b.svc.verdict(m)
		b.over, a.peer = true, nil
		a.session.reply(code, func(r *sip.Message) { r.SetToTag(a.dialog.localTag); carry(r, m) })
		a.end()
	}
}

// connects takes a 2xx: the first joins the two halves; others are branches of a fork and are hung up.
func (l *Leg) connects(m *sip.Message) {
	d, ok := dialogOfResponse(m, 1)
	if !ok {
		return
	}
	a := l.peer
	switch {
	case l.client == nil && d.remoteTag == l.dialog.remoteTag:
		return
	case l.client == nil || a.session.tx == nil || a.session.phase == answered || a.session.gone:
		other := &Leg{svc: l.svc, dialog: d, ackDue: 1}
		other.bye()
		other.forget()
		if l.client != nil { // the caller gave up in the same moment
			l.client, l.over, a.peer = nil, true, nil
			a.session.reply(487, nil)
			l.failure = ErrGone
			a.end()
		}
		return
	}
	l.client, l.dialog, l.acked, l.ackDue = nil, d, true, 1
	l.remote = slices.Clone(m.Body())
	l.svc.legs[legName{d.callID, d.localTag}] = l
	a.session.phase = answered
	a.sendOK(a.session.tx, a.session.request, func(r *sip.Message) { carry(r, m) })
}

// Failed implements siptxn.Responder.
func (c *called) Failed(_ *siptxn.Client, err error) {
	b := (*Leg)(c)
	a := b.peer
	b.client, b.over, b.failure, a.peer = nil, true, failure(err), nil
	a.session.reply(failureOf(err), nil)
	a.end()
}

// Again implements siptxn.Retransmitter.
func (c *called) Again(_ *siptxn.Client, m *sip.Message) bool { return (*Leg)(c).again(m) }

// Gone implements siptxn.Forgetter.
func (c *called) Gone(*siptxn.Client) { (*Leg)(c).forget() }

// carried are the fields that mean the same on both sides of a bridge.
const carried = "Content-Disposition Content-Encoding Content-Language P-Asserted-Identity Privacy Reason Retry-After Warning Event " +
	"Subscription-State Refer-To Referred-By Refer-Sub Expires Info-Package Recv-Info Accept Alert-Info Call-Info Error-Info Session-ID Subject Date"

// carry copies to a message of one half what one of the other says.
func carry(to, from *sip.Message) {
	if len(from.Body()) > 0 {
		to.SetBody(string(from.Get(sip.HdrContentType)), from.Body())
	}
	for _, name := range strings.Fields(carried) {
		h := sip.LookupHeader([]byte(name))
		if to.Has(h) || h == sip.HdrOther {
			continue
		}
		for v := range from.Values(h) {
			to.Append(h, v)
		}
	}
}

// crossing is a request inside a dialog on its way from one half to the other.
type crossing struct {
	from    *Leg
	tx      *siptxn.Server
	request *sip.Message
	client  *siptxn.Client
	seq     uint32
	done    bool
}

// cross takes a request inside the dialog over to the other half.
func (l *Leg) cross(tx *siptxn.Server, m *sip.Message) {
	other := l.peer
	if other.over || other.client != nil || m.Method() == sip.INVITE && (other.ackDue != 0 || other.unacked) {
		l.svc.respond(tx, m, 491, nil)
		return
	}
	other.dialog.localSeq++
	x := &crossing{from: l, tx: tx, request: m.Clone(), seq: other.dialog.localSeq}
	out := other.dialog.request(l.svc.pool, m.Method(), x.seq)
	carry(out, m)
	if m.Method().MakesDialog() || m.Method() == sip.UPDATE {
		out.SetString(sip.HdrContact, l.svc.contact())
		l.dialog.refresh(m)
	}
	tx.User = x
	var err error
	if x.client, err = l.svc.send(out, x); err != nil {
		l.svc.respond(tx, m, 503, nil)
	}
}

// Response implements siptxn.Responder.
func (x *crossing) Response(_ *siptxn.Client, m *sip.Message) {
	defer m.Release()
	l := x.from
	code := m.Status()
	if code == 100 || x.tx == nil || x.done {
		return
	}
	answer := func(r *sip.Message) { carry(r, m) }
	x.done = code >= 200
	if code/100 == 2 && l.peer != nil {
		l.peer.dialog.refresh(m)
		if x.request.Method() == sip.INVITE {
			l.peer.ackDue = x.seq
			l.sendOK(x.tx, x.request, answer)
			return
		}
	}
	l.svc.respond(x.tx, x.request, code, func(r *sip.Message) { l.fields(x.request, r); answer(r) })
}

// Failed implements siptxn.Responder.
func (x *crossing) Failed(_ *siptxn.Client, err error) {
	if x.tx != nil && !x.done {
		x.from.svc.respond(x.tx, x.request, failureOf(err), nil)
	}
	x.done = true
}

// Again implements siptxn.Retransmitter: the ACK of a re-INVITE was lost.
func (x *crossing) Again(_ *siptxn.Client, m *sip.Message) bool {
	return x.from.peer != nil && x.from.peer.again(m)
}

// Gone implements siptxn.Forgetter.
func (x *crossing) Gone(*siptxn.Client) {
	if x.from.peer != nil && x.request == nil {
		x.from.peer.forget()
	}
}

func (x *crossing) giveUp() {
	if x.client != nil && !x.done {
		x.from.svc.layer.Cancel(x.client)
	}
}

func (x *crossing) ended() {
	x.tx = nil
	x.request.Release()
	x.request = nil
}
