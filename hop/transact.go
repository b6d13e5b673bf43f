package hop

import (
	"errors"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

// timerC bounds how long an INVITE may ring without a word (RFC 3261 16.6 step 11: more than 3 minutes).
const timerC = 185 * time.Second

// branch is one client transaction of an exchange: it collects what the transaction layer reports and
// wakes the procedure.
type branch struct {
	exchange *Exchange
	ups      []step // of the functions the response climbs through
	admit    func(*sip.Message)
	layer    *siptxn.Layer
	client   *siptxn.Client
	events   []branchEvent
	waker    shard.Waker
	asleep   bool
	done     bool // the final response was taken
	heard    bool // something came back
	lost     bool // the transport failed before anything did
	givenUp  bool // nothing came in time; what comes later is nobody's, but for a 2xx
}

type branchEvent struct {
	msg *sip.Message
	err error
}

// Response is called by the transaction layer on the shard. After the final response only a further 2xx of
// a fork downstream comes (RFC 6026 7.2): it goes back to the sender as well (RFC 3261 16.7 step 5).
func (b *branch) Response(_ *siptxn.Client, m *sip.Message) {
	if !b.done {
		b.push(branchEvent{msg: m})
		return
	}
	if b.givenUp && m.Status()/100 != 2 {
		m.Release()
		return
	}
	m.RemoveFirst(sip.HdrVia)
	b.admit(m)
	b.exchange.climb(b.ups, Reply{Msg: m})
}

// Again is called for a retransmitted 2xx: the edge sends again what it sent then, without another walk.
func (b *branch) Again(_ *siptxn.Client, m *sip.Message) bool {
	edge, able := b.exchange.root.edge.(Retransmitter)
	return able && edge.Again(m.ToTag())
}

// Failed is called by the transaction layer on the shard.
func (b *branch) Failed(_ *siptxn.Client, err error) { b.push(branchEvent{err: err}) }

func (b *branch) push(e branchEvent) {
	b.events = append(b.events, e)
	if b.asleep {
		b.asleep = false
		b.waker.Wake()
	}
}

func (b *branch) cancel(reason string) {
	if !b.done {
		b.layer.CancelFor(b.client, reason)
	}
}

// lose ends the wait for a peer that is gone.
func (b *branch) lose(reason string) {
	if !b.done && !b.givenUp {
		b.cancel(reason)
		b.givenUp = true
		b.push(branchEvent{err: siptxn.ErrTransport})
	}
}

// next waits for what happens next; false after limit.
func (b *branch) next(t *shard.Task, limit time.Duration) (branchEvent, bool) {
	for len(b.events) == 0 {
		late := t.AwaitFor(limit, func(w shard.Waker) { b.waker, b.asleep = w, true })
		if late {
			b.asleep = false
			return branchEvent{}, false
		}
	}
	e := b.events[0]
	b.events = b.events[1:]
	return e, true
}

// Transact sends in.Msg out of the process in a client transaction of l over flow and returns its final
// response; provisional ones climb back as they come. An ACK is sent without a transaction (RFC 3261 17.1)
// and gets the zero Reply. sentBy is the host and port of our Via. A time-out is a 408, a transport error
// a 503 (RFC 3261 8.1.3.1, 16.9), both made here. admit sees each response first, to take off what the peer
// may not send.
func (x *Exchange) Transact(l *siptxn.Layer, flow siptransport.Flow, in Inbound, sentBy []byte, admit func(*sip.Message)) Reply {
	r, _ := x.TryTransact(l, flow, in, sentBy, admit)
	return r
}

// TryTransact is Transact, and says whether the peer was reached: false if the transport failed before any answer, so that
// the caller may try another way with a clone of the request that it kept.
func (x *Exchange) TryTransact(l *siptxn.Layer, flow siptransport.Flow, in Inbound, sentBy []byte, admit func(*sip.Message)) (Reply, bool) {
	return x.TryTransactWithin(timerC, l, flow, in, sentBy, admit)
}

// TryTransactWithin is TryTransact to a peer that must give a sign of life within first. If it does not, the request is cancelled and
// answered 408 at once; the peer counts as reached.
func (x *Exchange) TryTransactWithin(first time.Duration, l *siptxn.Layer, flow siptransport.Flow, in Inbound, sentBy []byte, admit func(*sip.Message)) (Reply, bool) {
	if in.Msg.Method() == sip.ACK {
		// A lost ACK is repaired by the retransmitted 2xx; there is nobody to tell of an error.
		_ = l.SendAck(flow, in.Msg, sentBy)
		return Reply{}, true
	}
	invite := in.Msg.Method() == sip.INVITE
	b := &branch{exchange: x, ups: x.ups, admit: admit, layer: l}
	client, err := l.Send(flow, in.Msg, sentBy, b)
	if err != nil {
		return x.unreached(503), false
	}
	b.client = client
	defer b.drop()
	defer x.wait(b)()
	r := x.collect(b, first, invite)
	return r, !b.lost
}

// collect is the wait for a final response.
func (x *Exchange) collect(b *branch, first time.Duration, invite bool) Reply {
	limit := first
	for {
		e, inTime := b.next(x.task, limit)
		limit = timerC
		switch {
		case !inTime && !b.heard && first < timerC:
			b.givenUp = true
			b.cancel("")
			return x.unreached(408)
		case !inTime && invite:
			b.cancel("") // RFC 3261 16.8: as if the sender had cancelled; its 487 or time-out follows
			continue
		case !inTime:
			return x.Respond(408, "")
		case errors.Is(e.err, siptxn.ErrTimeout) && !b.heard:
			return x.unreached(408)
		case errors.Is(e.err, siptxn.ErrTimeout):
			return x.Respond(408, "")
		case e.err != nil && !b.heard:
			b.lost = true
			return x.unreached(503)
		case e.err != nil:
			return x.Respond(503, "")
		}
		b.heard = true
		m := e.msg
		m.RemoveFirst(sip.HdrVia) // ours (RFC 3261 16.7 step 3)
		b.admit(m)
		if m.Status() >= 200 {
			return Reply{Msg: m}
		}
		if m.Status() == 100 {
			m.Release() // hop by hop (RFC 3261 16.7 step 5)
			continue
		}
		x.climb(b.ups, Reply{Msg: m})
	}
}

// Unreachable releases a request to a peer of which is known that it does not answer: 503, as if that had been found out by asking it. An ACK gets no
// answer.
func (x *Exchange) Unreachable(in Inbound) Reply {
	ack := in.Msg.Method() == sip.ACK
	in.Msg.Release()
	if ack {
		return Reply{}
	}
	return x.unreached(503)
}

// unreached answers for a peer that gave no sign of life.
func (x *Exchange) unreached(code int) Reply {
	r := x.Respond(code, "")
	r.mute = 2
	return r
}

// drop releases what came after the final response was taken.
func (b *branch) drop() {
	b.done = true
	for _, e := range b.events {
		if e.msg != nil {
			e.msg.Release()
		}
	}
}
