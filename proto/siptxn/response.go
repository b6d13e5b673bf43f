package siptxn

import (
	"strconv"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// receiveResponse finds the transaction of a response (RFC 3261 17.1.3, 18.1.2) and takes over m. What matches none is dropped, also a
// 2xx (RFC 6026 7.2).
func (l *Layer) receiveResponse(f siptransport.Flow, m *sip.Message) {
	c := l.match(f, m)
	if c == nil {
		m.Release()
		return
	}
	l.heard(f, m)
	code := m.Status()
	if c.endless(code) {
		c.late(m)
		return
	}
	switch {
	case c.method == sip.INVITE && m.CSeqMethod() == sip.CANCEL:
		c.cancel.answered(c, code)
		m.Release()
	case c.method == sip.INVITE:
		c.inviteResponse(m, code)
	default:
		c.otherResponse(m, code)
	}
}

// maxResponses bounds the responses to one request beside its final one. Ringing that is told each minute (RFC 3261 13.3.1.1) goes on for four hours, and a fork
// has sixty branches (RFC 5393 5.3.3); a client that answers without end would cost every function on the way to the caller.
const maxResponses = 256

// endless reports whether a response that may come any number of times has come too often. It is as if it had not come.
func (c *Client) endless(code int) bool {
	if code >= 300 || code >= 200 && c.Pending() {
		return false
	}
	if c.heard == maxResponses {
		return true
	}
	c.heard++
	return false
}

// match returns the transaction of a response, nil if there is none that may have it.
func (l *Layer) match(f siptransport.Flow, m *sip.Message) *Client {
	place, ok := l.Branch(m)
	if !ok {
		l.n.StrayToken.Add(1)
		return nil
	}
	if !l.ours(place) { // its Via was spelt in a way that PlaceOfResponse does not know
		l.foreign(place, f, l.emit(m))
		return nil
	}
	c, ok := l.clients.Get(place.Slot, place.Gen)
	if !ok || c.state == stateEnded {
		l.n.StrayGone.Add(1)
		return nil
	}
	// Whoever the request passed on its way saw the branch: only the hop that we sent it to may answer.
	if f != c.flow && !l.mayReply(c.flow, f) {
		l.n.StraySource.Add(1)
		return nil
	}
	method := m.CSeqMethod()
	if method != c.method && (method != sip.CANCEL || c.cancel == nil) {
		l.n.StrayMethod.Add(1)
		return nil
	}
	if sip.Validate(m) != nil {
		l.n.StrayMalformed.Add(1)
		return nil
	}
	return c
}

// mayReply reports whether what came by one flow may answer what left by another. A server answers from the address it was asked at (RFC 3581 4, and any
// connection has two fixed ends); the port may differ.
func (l *Layer) mayReply(asked, by siptransport.Flow) bool {
	if l.cfg.MayReply != nil {
		return l.cfg.MayReply(asked, by)
	}
	return asked.Peer.Addr() == by.Peer.Addr()
}

// give hands a response to the user.
func (c *Client) give(m *sip.Message) {
	c.l.n.Responses.Add(1)
	c.r.Response(c, m)
}

// late drops a response that the state has no use for.
func (c *Client) late(m *sip.Message) {
	c.l.n.StrayLate.Add(1)
	m.Release()
}

// otherResponse: RFC 3261 17.1.2.2.
func (c *Client) otherResponse(m *sip.Message, code int) {
	now := c.l.sh.Now()
	switch {
	case !c.Pending():
		c.l.n.ResponseRepeats.Add(1)
		m.Release()
		return
	case code < 200:
		c.state, c.interval = stateProceeding, c.timers.T2 // timer E: from the next time it fires
	case c.reliable:
		c.over()
	default:
		c.forget()
		c.state, c.resend, c.deadline = stateCompleted, 0, now+c.timers.K
		c.arm(now)
	}
	c.give(m)
}

// inviteResponse: RFC 3261 17.1.1.2 as RFC 6026 8.4 has it.
func (c *Client) inviteResponse(m *sip.Message, code int) {
	switch {
	case code < 200 && c.Pending():
		c.provisional(m, code)
	case code < 200:
		c.late(m)
	case code < 300 && c.Pending():
		c.cancel.stop(c.l.sh)
		c.forget()
		now := c.l.sh.Now()
		c.state, c.resend, c.deadline = stateAccepted, 0, now+c.timers.M
		c.arm(now)
		c.tagSeen(m.ToTag())
		c.give(m)
	case code < 300 && c.state == stateAccepted:
		if r, ok := c.r.(Retransmitter); c.tagSeen(m.ToTag()) && ok && r.Again(c, m) {
			c.l.n.ResponseRepeats.Add(1)
			m.Release()
			return
		}
		c.give(m)
	case code >= 300 && c.Pending():
		c.failure(m)
	case code >= 300 && c.state == stateCompleted && len(c.ack) > 0:
		c.l.n.ResponseRepeats.Add(1)
		c.l.n.Repeated.Add(1)
		c.l.send(c.flow, c.ack)
		m.Release()
	default:
		c.late(m)
	}
}

// provisional: the request arrived; it is not sent again.
func (c *Client) provisional(m *sip.Message, code int) {
	now := c.l.sh.Now()
	first := c.state == stateCalling
	c.state, c.resend = stateProceeding, 0
	// Timer C starts with the first and starts anew with each that says something (RFC 3261 16.7 2).
	if c.cancel == nil && (first || code > 100) {
		c.deadline = now + c.timers.C
	}
	c.arm(now)
	if c.cancelling && c.cancel == nil {
		c.sendCancel(now)
	}
	c.give(m)
}

// failure: a final response from 300 to 699 is acknowledged here, also over streams.
func (c *Client) failure(m *sip.Message) {
	c.cancel.stop(c.l.sh)
	c.acknowledge(m)
	c.forget()
	if c.reliable {
		c.over()
	} else {
		now := c.l.sh.Now()
		c.state, c.resend, c.deadline = stateCompleted, 0, now+c.timers.D
		c.arm(now)
	}
	c.give(m)
}

// acknowledge builds and sends the ACK for m, and keeps it for the next time over datagrams (RFC 3261 17.1.1.3).
func (c *Client) acknowledge(m *sip.Message) {
	ack := c.follow(sip.ACK)
	ack.Set(sip.HdrTo, m.Get(sip.HdrTo))
	if c.reliable {
		c.l.send(c.flow, c.l.emit(ack))
	} else {
		c.ack = ack.AppendTo(c.l.bufs.get(ack.Size()))
		c.l.send(c.flow, c.ack)
	}
	ack.Release()
}

// follow builds the ACK or CANCEL that follows our INVITE hop by hop: its Request-URI, topmost Via, Route, From, To, Call-ID and
// sequence number (RFC 3261 9.1, 17.1.1.3).
func (c *Client) follow(method sip.Method) *sip.Message {
	req := c.req
	m := c.l.cfg.Pool.NewRequest(method, "sip:")
	m.SetRequestURI(req.RequestURI())
	m.Append(sip.HdrVia, req.Get(sip.HdrVia))
	m.SetString(sip.HdrMaxForwards, "70")
	for route := range req.Values(sip.HdrRoute) {
		m.Append(sip.HdrRoute, route)
	}
	m.Append(sip.HdrFrom, req.Get(sip.HdrFrom))
	m.Append(sip.HdrTo, req.Get(sip.HdrTo))
	m.Append(sip.HdrCallID, req.Get(sip.HdrCallID))
	seq, _, _ := req.CSeq() // Send has looked at it
	b := strconv.AppendUint(c.l.via[:0], uint64(seq), 10)
	b = append(b, ' ')
	b = append(b, method.String()...)
	c.l.via = b
	m.Append(sip.HdrCSeq, b)
	return m
}

// tagSeen reports whether a 2xx with this To tag came before, and remembers it. Beyond four callees that answered nothing is
// remembered: those are told again.
func (c *Client) tagSeen(tag []byte) bool {
	h := c.l.hashTag(tag) | 1 // not 0, which is an empty place
	for i, t := range c.tags {
		switch t {
		case h:
			return true
		case 0:
			c.tags[i] = h
			return false
		}
	}
	return false
}

// cancellation is a CANCEL on its way: a non-INVITE client transaction with the branch of its INVITE. A nil cancellation is none.
type cancellation struct {
	c        *Client
	octets   []byte
	timer    shard.Timer
	resend   time.Duration
	interval time.Duration
}

// Cancel ends an INVITE that has no final response (RFC 3261 9.1): CANCEL leaves now if a provisional response came, else after the
// first one. Without a final response within 64*T1 of the CANCEL the transaction fails with ErrTimeout. In any other state, and
// for any other method, it does nothing.
func (l *Layer) Cancel(c *Client) { l.CancelFor(c, "") }

// CancelFor is Cancel, and says why in the CANCEL: reason is a value of Reason (RFC 3326), "" is none.
func (l *Layer) CancelFor(c *Client, reason string) {
	if c.method != sip.INVITE || !c.Pending() || c.cancelling {
		return
	}
	c.cancelling, c.reason = true, reason
	if c.state == stateProceeding && c.cancel == nil {
		c.sendCancel(l.sh.Now())
	}
}

// sendCancel sends the CANCEL and waits for the end of the INVITE.
func (c *Client) sendCancel(now time.Duration) {
	m := c.follow(sip.CANCEL)
	if c.reason != "" {
		m.SetString(sip.HdrReason, c.reason)
	}
	c.cancelling = true
	c.cancel = &cancellation{c: c, octets: m.AppendTo(make([]byte, 0, m.Size()))}
	m.Release()
	c.l.send(c.flow, c.cancel.octets)
	if !c.reliable {
		c.cancel.resend, c.cancel.interval = now+c.timers.T1, 2*c.timers.T1
		c.l.sh.Arm(&c.cancel.timer, c.timers.T1, c.cancel)
	}
	c.deadline = now + 64*c.timers.T1
	c.arm(now)
}

// Run implements shard.Event: timer E of the CANCEL. The INVITE ends it before timer F could.
func (x *cancellation) Run(sh *shard.Shard) {
	now := sh.Now()
	x.c.l.n.Repeated.Add(1)
	x.c.l.send(x.c.flow, x.octets)
	x.interval = min(x.interval, x.c.timers.T2)
	x.resend = max(x.resend+x.interval, now)
	x.interval *= 2
	sh.Arm(&x.timer, x.resend-now, x)
}

// answered: a response to the CANCEL has come. It says nothing about the INVITE.
func (x *cancellation) answered(c *Client, code int) {
	if code >= 200 {
		x.stop(c.l.sh)
	}
}

// stop ends the retransmissions of the CANCEL.
func (x *cancellation) stop(sh *shard.Shard) {
	if x != nil {
		sh.Disarm(&x.timer)
	}
}
