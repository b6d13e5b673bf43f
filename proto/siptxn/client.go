package siptxn

import (
	"fmt"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// Client is a client transaction. It belongs to its layer. A non-INVITE may be gone after its final response, an INVITE some seconds
// later: a user that holds one longer keeps a Ref.
type Client struct {
	// User is the transaction user's own; the layer clears it at the end.
	User any

	l    *Layer
	slot uint32
	gen  uint16

	state      state
	method     sip.Method
	reliable   bool
	cancelling bool   // Cancel was called
	reason     string // which the CANCEL shall say
	heard      uint16
	r          Responder
	flow       siptransport.Flow
	next, prev *Client // client transactions of the same stream

	req    *sip.Message  // as sent, while it may be needed again
	ack    []byte        // the ACK for a failure
	tags   [4]uint64     // hashes of the To tags of the 2xx that came
	cancel *cancellation // the CANCEL that was sent

	timers   *Timers
	timer    shard.Timer
	deadline time.Duration // when the state ends by itself
	resend   time.Duration // when the request is sent again; 0 = never
	interval time.Duration // until the resend after the next
}

// Flow is where the request went and responses come from.
func (c *Client) Flow() siptransport.Flow { return c.flow }

// Method is the method of the request.
func (c *Client) Method() sip.Method { return c.method }

// Pending reports whether the final response has yet to come.
func (c *Client) Pending() bool {
	return c.state == stateCalling || c.state == stateTrying || c.state == stateProceeding
}

// Cancelling reports whether Cancel was called.
func (c *Client) Cancelling() bool { return c.cancelling }

// Ref is a name of c that may outlive it.
func (c *Client) Ref() ClientRef { return ClientRef{c.slot, c.gen} }

// ClientRef names a client transaction of one layer; its zero value names none.
type ClientRef struct {
	slot uint32
	gen  uint16
}

// Client returns the transaction named by r, nil if it has ended.
func (l *Layer) Client(r ClientRef) *Client {
	c, ok := l.clients.Get(r.slot, r.gen)
	if !ok || c.state == stateEnded {
		return nil
	}
	return c
}

// Send starts a client transaction: it puts our Via on top of m (transport of f, sentBy as host or host:port, branch, rport) and sends
// it over f. It takes over m, also if it fails. After an error no call-back comes: ErrMessage, ErrLimit or ErrTransport. A request
// that is too large for datagrams (MustStream) is the caller's to send over a stream.
func (l *Layer) Send(f siptransport.Flow, m *sip.Message, sentBy []byte, r Responder) (*Client, error) {
	method := m.Method()
	if _, _, err := m.CSeq(); err != nil || !m.IsRequest() || method == sip.ACK || method == sip.CANCEL {
		m.Release()
		return nil, ErrMessage
	}
	c, slot, gen, ok := l.clients.Take()
	if !ok {
		l.n.OverClients.Add(1)
		m.Release()
		return nil, ErrLimit
	}
	*c = Client{l: l, slot: slot, gen: gen, state: stateTrying, method: method, reliable: f.Via.Reliable(), r: r, flow: f,
		req: m, timers: l.timers(f)}
	l.pushVia(m, f, sentBy, l.cfg.Kind, l.sh.Place(slot, gen))
	if err := f.Send(l.emit(m)); err != nil {
		l.n.SendErrors.Add(1)
		m.Release()
		l.clients.Release(slot, gen)
		return nil, fmt.Errorf("%w: %w", ErrTransport, err)
	}
	l.n.Sent.Add(1)
	l.n.Clients.Add(1)
	c.start()
	return c, nil
}

// start sets the timers of a request that was sent: A and B (RFC 3261 17.1.1.2) or E and F (17.1.2.2).
func (c *Client) start() {
	now := c.l.sh.Now()
	c.deadline = now + c.timers.F
	if c.method == sip.INVITE {
		c.state, c.deadline = stateCalling, now+c.timers.B
	}
	if c.reliable {
		c.link()
		if c.method != sip.INVITE {
			c.forget() // neither sent again nor acknowledged nor cancelled
		}
	} else {
		c.resend, c.interval = now+c.timers.T1, 2*c.timers.T1
		c.capInterval()
	}
	c.arm(now)
}

// capInterval holds timer E to T2; timer A doubles without a bound (RFC 3261 17.1.1.2).
func (c *Client) capInterval() {
	if c.method != sip.INVITE {
		c.interval = min(c.interval, c.timers.T2)
	}
}

// SendAck sends the ACK of a 2xx, which is a transaction of its own without an answer: our Via on top, with a fresh branch. It takes
// over m, also if it fails.
func (l *Layer) SendAck(f siptransport.Flow, m *sip.Message, sentBy []byte) error {
	defer m.Release()
	if !m.IsRequest() || m.Method() != sip.ACK {
		return ErrMessage
	}
	l.acks++
	l.pushVia(m, f, sentBy, l.cfg.Kind^ackKind, l.sh.Place(uint32(l.acks), uint16(l.acks>>32)))
	if !l.send(f, l.emit(m)) {
		return ErrTransport
	}
	return nil
}

// FlowClosed ends the client transactions that wait on f, a stream, with ErrTransport (RFC 3261 17.1.4, 18.4). A door calls it from
// Receiver.Closed.
func (l *Layer) FlowClosed(f siptransport.Flow) {
	for c := l.flows[f.Via]; c != nil; c = l.flows[f.Via] {
		c.unlink()
		if !c.Pending() {
			c.over()
			continue
		}
		l.n.FlowFailures.Add(1)
		c.fail(ErrTransport)
	}
}

// link notes that c waits on a stream.
func (c *Client) link() {
	head := c.l.flows[c.flow.Via]
	if c.next = head; head != nil {
		head.prev = c
	}
	c.l.flows[c.flow.Via] = c
}

// unlink undoes link; twice is harmless.
func (c *Client) unlink() {
	flows := c.l.flows
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case flows[c.flow.Via] != c:
		return
	case c.next == nil:
		delete(flows, c.flow.Via)
	default:
		flows[c.flow.Via] = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
}

// arm sets the timer to the next thing that is due.
func (c *Client) arm(now time.Duration) {
	next := c.deadline
	if c.resend > 0 {
		next = min(next, c.resend)
	}
	c.l.sh.Arm(&c.timer, next-now, c)
}

// Run implements shard.Event: the timer has fired.
func (c *Client) Run(sh *shard.Shard) {
	now := sh.Now()
	switch {
	case now >= c.deadline:
		c.expire(now)
	case c.resend == 0 || now < c.resend:
		c.arm(now)
	default: // timers A and E
		c.l.n.Repeated.Add(1)
		if !c.l.send(c.flow, c.l.emit(c.req)) {
			c.fail(ErrTransport)
			return
		}
		c.resend = max(c.resend+c.interval, now)
		c.interval *= 2
		c.capInterval()
		c.arm(now)
	}
}

// expire: the state has lasted for its time.
func (c *Client) expire(now time.Duration) {
	switch {
	case !c.Pending():
		c.over() // timers D, K, M
	case c.method == sip.INVITE && c.state == stateProceeding && c.cancel == nil:
		// Timer C: the callee has been rung for long enough (RFC 3261 16.8).
		c.sendCancel(now)
	default: // timers B and F, and a CANCEL that brought no end
		c.l.n.Timeouts.Add(1)
		c.fail(ErrTimeout)
	}
}

// fail tells the user that no final response will come.
func (c *Client) fail(err error) {
	ref := c.Ref()
	c.l.sh.Disarm(&c.timer)
	c.state, c.resend = stateCompleted, 0
	c.r.Failed(c, err)
	if c = c.l.Client(ref); c != nil {
		c.over()
	}
}

// forget gives up the request.
func (c *Client) forget() {
	c.req.Release()
	c.req = nil
}

// over gives c to the reaper.
func (c *Client) over() {
	if c.state == stateEnded {
		return
	}
	c.state = stateEnded
	c.l.sh.Disarm(&c.timer)
	c.cancel.stop(c.l.sh)
	c.l.gone = append(c.l.gone, c)
	c.l.schedule()
}

// end takes c out of the table. It is called by the reaper only.
func (c *Client) end() {
	l := c.l
	c.unlink()
	if f, ok := c.r.(Forgetter); ok {
		f.Gone(c)
	}
	c.req.Release()
	l.bufs.put(c.ack)
	l.n.Clients.Add(-1)
	l.clients.Release(c.slot, c.gen)
}
