package as

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/isc"
)

// Leg is one dialog whose end the service is: it was answered, or the service began it.
type Leg struct {
	svc     *Service
	session *Session // whose answer it is; nil for a leg that the service began
	peer    *Leg     // the other half of a bridge
	call    *Call    // whose media end here; nil: none

	// On the shard.
	dialog  dialog
	offers  func(offer []byte) []byte
	remote  []byte // what the other end described last
	events  events
	waits   waits
	over    bool
	hangup  bool // wanted, when it was not possible yet
	acked   bool // the first answer was acknowledged
	foreign bool // what vouches for the description of the ACK is about other keys
	failure error

	// Answers of ours to INVITE.
	unacked  bool
	accepted siptxn.ServerRef
	ackSeq   uint32
	resend   shard.Timer // of the 2xx (RFC 3261 13.3.1.4)
	resendIn time.Duration
	giveUpAt time.Duration

	// INVITEs of ours.
	client *siptxn.Client // without a final response
	ackDue uint32         // CSeq of a 2xx whose ACK waits for that of the other half
	ack    *sip.Message   // for the next time the 2xx comes
}

// methods is what a leg takes (RFC 3261 20.5).
const methods = "INVITE, ACK, CANCEL, BYE, INFO, UPDATE, OPTIONS, MESSAGE, NOTIFY"

// Answer answers a call in the place of whoever was called, with a session description, and returns when the answer is acknowledged. notes
// are for people, and go along as Warning 399 (RFC 3261 20.43). It needs session.answer.
func (s *Session) Answer(ctx context.Context, sdp []byte, notes ...string) (*Leg, error) {
	if err := s.svc.needs(isc.SessionAnswer); err != nil {
		return nil, err
	}
	return s.answer(ctx, &Leg{svc: s.svc, session: s}, sdp, notes)
}

// answer is Answer of a leg that was made for it.
func (s *Session) answer(ctx context.Context, leg *Leg, sdp []byte, notes []string) (*Leg, error) {
	begin := func() error {
		if err := s.open(); err != nil {
			return err
		}
		if s.method != sip.INVITE {
			return ErrDecided
		}
		if s.requires("100rel") { // it is about provisional responses, of which there are none
			return ErrDecided
		}
		if !leg.founds() {
			s.reply(400, nil)
			return ErrDecided
		}
		s.phase = answered
		leg.sendOK(s.tx, s.request, func(r *sip.Message) {
			setSDP(r, sdp)
			for _, note := range notes {
				warn(r, s.svc.host, note)
			}
		})
		return nil
	}
	if err := s.svc.await(ctx, &leg.waits, begin, func() bool { return leg.acked || leg.over }); err != nil {
		return nil, err
	}
	if leg.acked {
		return leg, nil
	}
	return nil, ErrNoAck
}

// requires refuses a call that requires an extension which the service does not have, and reports whether it did (RFC 3261 8.2.2.3).
func (s *Session) requires(known ...string) bool {
	var unknown []string
	for v := range s.request.Values(sip.HdrRequire) {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, string(v)) }) {
			unknown = append(unknown, string(v))
		}
	}
	if len(unknown) == 0 {
		return false
	}
	s.reply(420, func(r *sip.Message) {
		for _, v := range unknown {
			r.AppendString(sip.HdrUnsupported, v)
		}
	})
	return true
}

// setSDP gives a message a session description; nil is none.
func setSDP(m *sip.Message, sdp []byte) {
	if sdp != nil {
		m.SetBody("application/sdp", sdp)
	}
}

// founds makes the dialog of a request that is answered here.
func (l *Leg) founds() bool {
	s := l.session
	d, ok := dialogOfRequest(s.request, l.svc.token(16))
	if !ok {
		return false
	}
	l.dialog, s.leg = d, l
	l.remote = s.Message
	l.svc.legs[legName{d.callID, d.localTag}] = l
	return true
}

// fields are what an answer that makes or refreshes a dialog carries (RFC 3261 12.1.1).
func (l *Leg) fields(request, r *sip.Message) {
	r.SetToTag(l.dialog.localTag)
	if len(request.ToTag()) == 0 {
		for _, v := range l.dialog.routes {
			r.AppendString(sip.HdrRecordRoute, v)
		}
	}
	r.SetString(sip.HdrContact, l.svc.contact())
	r.SetString(sip.HdrAllow, methods)
}

// sendOK sends a 2xx to INVITE and sees to it that it is acknowledged (RFC 3261 13.3.1.4).
func (l *Leg) sendOK(tx *siptxn.Server, request *sip.Message, edit func(*sip.Message)) {
	t := &l.svc.timers
	l.accepted, l.unacked, l.ackSeq = tx.Ref(), true, l.dialog.remoteSeq
	l.resendIn, l.giveUpAt = t.T1, l.svc.shard.Now()+64*t.T1
	l.svc.respond(tx, request, 200, func(r *sip.Message) {
		l.fields(request, r)
		edit(r)
	})
	l.svc.shard.Arm(&l.resend, l.resendIn, (*resend)(l))
}

// resend repeats a 2xx until it is acknowledged, at T1 doubling to T2, and gives up after 64*T1 with a BYE.
type resend Leg

// Run implements shard.Event.
func (r *resend) Run(sh *shard.Shard) {
	l := (*Leg)(r)
	if sh.Now() >= l.giveUpAt {
		l.unacked = false
		l.failure = ErrNoAck
		l.bye()
		return
	}
	if tx := l.svc.layer.Server(l.accepted); tx != nil {
		l.svc.layer.Retransmit2xx(tx, []byte(l.dialog.localTag))
	}
	l.resendIn = min(2*l.resendIn, l.svc.timers.T2)
	sh.Arm(&l.resend, l.resendIn, r)
}

// confirmed takes the ACK of a 2xx of ours.
func (l *Leg) confirmed(m *sip.Message) {
	seq, _, err := m.CSeq()
	if !l.unacked || !l.dialog.owns(m) || err != nil || seq != l.ackSeq {
		return
	}
	l.unacked, l.acked = false, true
	l.svc.shard.Disarm(&l.resend)
	if body := m.Body(); len(body) > 0 {
		l.remote, l.foreign = slices.Clone(body), !vouchedFor(m, body)
	}
	if l.peer != nil && l.peer.ackDue != 0 {
		l.peer.acknowledge(m.Body())
	}
	if l.hangup {
		l.bye()
	}
	l.svc.happened(&l.waits)
}

// Service returns the service.
func (l *Leg) Service() *Service { return l.svc }

// Remote returns what the other end has described last: its offer or its answer.
func (l *Leg) Remote() []byte {
	var body []byte
	if l.svc.do(func() error { body = slices.Clone(l.remote); return nil }) != nil {
		return nil
	}
	return body
}

// Offers says what is answered to a new offer inside the dialog (re-INVITE); nil of it, and before, is 488: the session stays as it is
// (RFC 3261 14.2). f must not block.
func (l *Leg) Offers(f func(offer []byte) []byte) {
	l.svc.enter(func() { l.offers = f })
}

// Next returns the next event of the leg, Ended at last.
func (l *Leg) Next(ctx context.Context) (Event, error) {
	var e Event // the shard's until it says so
	found := false
	ready := func() bool {
		if !found {
			e, found = l.events.take()
		}
		return found
	}
	if err := l.svc.await(ctx, &l.waits, func() error { return nil }, ready); err != nil {
		return Event{}, err
	}
	return e, nil
}

// Wait returns when the leg is over: nil if somebody hung up in an orderly way.
func (l *Leg) Wait(ctx context.Context) error {
	if err := l.svc.await(ctx, &l.waits, func() error { return nil }, func() bool { return l.over }); err != nil {
		return err
	}
	return l.failure
}

// Hangup ends the leg. Twice is harmless.
func (l *Leg) Hangup() { l.svc.enter(l.leave) }

func (l *Leg) leave() {
	switch {
	case l.over:
	case l.unacked: // RFC 3261 15: not before the ACK
		l.hangup = true
	default:
		l.bye()
	}
}

// bye ends the dialog (RFC 3261 15.1.1). It is over whatever the answer is.
func (l *Leg) bye() {
	if l.over {
		return
	}
	if l.ackDue != 0 {
		l.acknowledge(nil)
	}
	l.dialog.localSeq++
	if _, err := l.svc.send(l.dialog.request(l.svc.pool, sip.BYE, l.dialog.localSeq), ignore{}); err != nil {
		l.svc.log.Debug("bye not sent", "error", err)
	}
	l.end()
}

// ignore is for requests whose answer changes nothing.
type ignore struct{}

// Response implements siptxn.Responder.
func (ignore) Response(_ *siptxn.Client, m *sip.Message) { m.Release() }

// Failed implements siptxn.Responder.
func (ignore) Failed(*siptxn.Client, error) {}

// end is the only way out of a leg; the other half of a bridge goes with it.
func (l *Leg) end() {
	if l.over {
		return
	}
	l.over = true
	l.svc.shard.Disarm(&l.resend)
	delete(l.svc.legs, legName{l.dialog.callID, l.dialog.localTag})
	l.events.put(Event{Kind: Ended})
	if l.call != nil {
		l.call.end()
	}
	l.svc.happened(&l.waits) // before the context ends: who waits for the leg is told of the leg
	if l.session != nil {
		l.session.put(Event{Kind: Ended})
		l.session.end()
	}
	if l.peer != nil {
		l.peer.leave()
	}
}

// cancelled takes the CANCEL of the INVITE that the leg is to answer, and its reason.
func (l *Leg) cancelled(reason string) {
	if l.peer != nil && l.peer.client != nil {
		l.svc.layer.CancelFor(l.peer.client, reason) // its 487 ends both
		return
	}
	l.session.reply(487, nil)
	l.end()
}

// take takes a request inside the dialog (RFC 3261 12.2.2).
func (l *Leg) take(tx *siptxn.Server, m *sip.Message) {
	switch {
	case !l.dialog.owns(m):
		l.svc.respond(tx, m, 481, nil)
	case !l.dialog.inOrder(m):
		l.svc.respond(tx, m, 500, nil)
	case m.Method() == sip.BYE:
		l.svc.respond(tx, m, 200, nil)
		l.end()
	case m.Method() == sip.INVITE && l.unacked:
		l.svc.respond(tx, m, 500, func(r *sip.Message) { r.SetString(sip.HdrRetryAfter, strconv.Itoa(5)) })
	case l.peer != nil:
		l.cross(tx, m)
	case m.Method() == sip.INVITE || m.Method() == sip.UPDATE:
		l.reoffered(tx, m)
	case m.Method() == sip.INFO, m.Method() == sip.NOTIFY, m.Method() == sip.MESSAGE:
		l.events.put(told(m))
		l.svc.respond(tx, m, 200, nil)
		l.svc.happened(&l.waits)
	case m.Method() == sip.OPTIONS:
		l.svc.respond(tx, m, 200, func(r *sip.Message) { r.SetString(sip.HdrAllow, methods) })
	default:
		l.svc.respond(tx, m, 405, func(r *sip.Message) { r.SetString(sip.HdrAllow, methods) })
	}
}

// reoffered takes a re-INVITE or an UPDATE (RFC 3261 14.2, RFC 3311 5.2).
func (l *Leg) reoffered(tx *siptxn.Server, m *sip.Message) {
	var answer []byte
	if offer := m.Body(); len(offer) > 0 && l.offers != nil {
		answer = l.offers(slices.Clone(offer))
	}
	switch {
	case answer == nil && (len(m.Body()) > 0 || m.Method() == sip.INVITE):
		l.svc.respond(tx, m, 488, nil)
		return
	case m.Method() == sip.UPDATE:
		l.svc.respond(tx, m, 200, func(r *sip.Message) { l.fields(m, r); setSDP(r, answer) })
	default:
		l.sendOK(tx, m, func(r *sip.Message) { setSDP(r, answer) })
	}
	l.dialog.refresh(m)
	l.remote = slices.Clone(m.Body())
}
