package diameter

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"imsafe/proto/shard"
)

// Errors of Node.Do, besides shard.ErrFull.
var (
	ErrNoPeer  = errors.New("diameter: no peer in service for this request") // 3002 in words
	ErrTimeout = errors.New("diameter: no answer in time")
	ErrAnswer  = errors.New("diameter: malformed answer")
)

// maxTried is how many peers a request may visit, failovers included.
const maxTried = 4

// Outgoing is a request to be sent.
type Outgoing struct {
	// Message is the request as a Writer made it, with everything but its identifiers. It belongs to the Node from then on.
	Message []byte
	Host    string        // Destination-Host: only this one, or an agent. "" any of the realm
	Realm   string        // Destination-Realm
	Timeout time.Duration // 0: that of the configuration
	// Answer is the format of the answer, unless that reports an error of the protocol (RFC 6733 7.2). Nil asks for its form only.
	Answer Grammar
	// Secure: only by mutual TLS with the peer's name in its certificate, because keys go or come.
	Secure bool
}

// call is a request that waits for its answer. Until the waker has been called it belongs to the Node's shard.
type call struct {
	n       *Node
	msg     []byte
	host    string
	realm   string
	secure  bool
	answers Grammar
	app     Application
	command Command
	waker   shard.Waker
	tried   []*peer

	conn     *conn // nil: not sent, or over
	hopByHop uint32
	sent     time.Duration // to conn, by the shard's clock
	over     bool

	answer []byte
	err    error
}

// Do sends a request to a peer and waits for the answer; t is the procedure that waits, on any shard. If the connection fails or
// falls silent the request goes to another peer, with the T bit, as long as there is one (RFC 6733 5.5.4); so it does when a peer
// that is alive has left it unanswered for half of the time. The answer belongs to the caller; it has been checked. Errors:
// ErrNoPeer, ErrTimeout, ErrAnswer, shard.ErrFull.
func (n *Node) Do(t *shard.Task, r *Outgoing) (Message, error) {
	m, err := Parse(r.Message)
	if err != nil || !m.IsRequest() {
		return Message{}, ErrAnswer
	}
	setEndToEnd(r.Message, n.endToEnd.Add(1))
	k := &call{n: n, msg: r.Message, host: r.Host, realm: r.Realm, secure: r.Secure, answers: r.Answer, app: m.Application(), command: m.Command()}
	limit := r.Timeout
	def(&limit, n.cfg.Timeout)
	late, full := n.await(t, limit/2, func(w shard.Waker) shard.Event {
		k.waker = w
		return k
	})
	if late {
		late, full = n.await(t, limit-limit/2, func(w shard.Waker) shard.Event { return &impatient{k, w} })
	}
	switch {
	case full:
		return Message{}, shard.ErrFull
	case late:
		n.n.Timeouts.Add(1)
		if t.Shard() == n.sh {
			k.forget()
		} else {
			n.sh.Exec((*forgotten)(k)) // a full shard forgets it with the connection, or with the late answer
		}
		return Message{}, ErrTimeout
	case k.err != nil:
		return Message{}, k.err
	}
	return Message{k.answer}, nil
}

// await runs an event on the Node's shard and parks t until the waker that the event was given is used, or limit has passed.
func (n *Node) await(t *shard.Task, limit time.Duration, event func(shard.Waker) shard.Event) (late, full bool) {
	late = t.AwaitFor(limit, func(w shard.Waker) {
		e := event(w)
		if t.Shard() == n.sh {
			e.Run(n.sh)
		} else if !n.sh.Exec(e) {
			full = true
			w.Wake()
		}
	})
	return late, full
}

// Run implements shard.Event: the first attempt.
func (k *call) Run(*shard.Shard) {
	if !k.send() {
		k.end(ErrNoPeer)
	}
}

// impatient is a call whose peer has had half of the time, and who waits for it now.
type impatient struct {
	k     *call
	waker shard.Waker
}

// Run implements shard.Event.
func (i *impatient) Run(*shard.Shard) {
	k := i.k
	k.waker = i.waker
	if k.over { // in between
		k.waker.Wake()
		return
	}
	k.conn.doubt(k)
	k.move()
}

// forgotten is a call that nobody waits for any more.
type forgotten call

// Run implements shard.Event.
func (f *forgotten) Run(*shard.Shard) { (*call)(f).forget() }

func (k *call) forget() {
	k.over = true
	if k.conn != nil {
		k.conn.doubt(k)
		delete(k.conn.pending, k.hopByHop)
		k.conn = nil
	}
}

// send gives the request to the best peer that it has not visited; false if there is none.
func (k *call) send() bool {
	if len(k.tried) >= maxTried {
		return false
	}
	c := k.n.choose(k)
	if c == nil {
		return false
	}
	k.tried = append(k.tried, c.peer)
	for { // after 2^32 requests an identifier may still be waiting
		c.hopByHop++
		if c.pending[c.hopByHop] == nil {
			break
		}
	}
	k.conn, k.hopByHop, k.sent = c, c.hopByHop, c.n.sh.Now()
	if c.unresponsive {
		c.trial = k.sent + c.n.cfg.Watchdog
	}
	c.pending[k.hopByHop] = k
	setHopByHop(k.msg, k.hopByHop)
	k.n.n.RequestsOut.Add(1)
	c.send(k.msg)
	return true
}

// again is the failover of one request (RFC 6733 5.5.4): the T bit warns that the first peer may have served it.
func (k *call) again() bool {
	k.conn = nil
	setFlags(k.msg, FlagRetransmitted, 0)
	if !k.send() {
		return false
	}
	k.n.n.Failovers.Add(1)
	return true
}

// end wakes the procedure with an error.
func (k *call) end(err error) {
	if k.over {
		return
	}
	if errors.Is(err, ErrNoPeer) {
		k.n.n.NoRoute.Add(1)
	}
	k.over, k.conn, k.err = true, nil, err
	k.waker.Wake()
}

// answered takes the answer. A peer that could not or would not serve it is no reason to give up if there is another
// (RFC 6733 7.1.3).
func (k *call) answered(m Message) {
	k.conn = nil
	format := k.answers
	if m.Flags()&FlagError != 0 && format != nil {
		format = grammarError
	}
	if f := m.Check(format); f != nil {
		k.n.n.MalformedAnswers.Add(1)
		k.end(ErrAnswer)
		return
	}
	if m.Flags()&FlagError != 0 {
		switch r, _, _ := ResultOf(m); r {
		case ResultUnableToDeliver, ResultTooBusy:
			if k.again() {
				return
			}
		}
	}
	if !k.over {
		k.over = true
		k.answer = bytes.Clone(m.Bytes())
		k.waker.Wake()
	}
}

// move takes a request to another peer. One that has nowhere to go stays: the peer may yet answer.
func (k *call) move() {
	c, id, sent, tried := k.conn, k.hopByHop, k.sent, k.tried
	if k.again() {
		delete(c.pending, id)
		return
	}
	k.conn, k.hopByHop, k.sent, k.tried = c, id, sent, tried
}

// failover moves what waits on a connection to other peers.
func (c *conn) failover() {
	for _, k := range c.pending {
		k.move()
	}
}

// doubt: c has left k unanswered and nothing else was answered since. Requests prefer other peers, but for one in each Tw, until an
// answer comes. A watchdog shows that a peer lives, not that it serves: its application may hang, and one that reopens by RFC
// 3539 3.4.1 answers watchdogs alone, for three Tw of its own.
func (c *conn) doubt(k *call) {
	if c.answered > k.sent || c.unresponsive {
		return
	}
	c.unresponsive, c.trial = true, c.n.sh.Now()+c.n.cfg.Watchdog
	c.n.n.Unresponsive.Add(1)
	if c.n.cfg.Unresponsive != nil {
		c.n.cfg.Unresponsive(c.peer.cfg.Host)
	}
}

// abandon ends what waits on a connection that is gone.
func (c *conn) abandon() {
	c.failover()
	for id, k := range c.pending {
		delete(c.pending, id)
		k.end(ErrNoPeer)
	}
}

func equalFold(b []byte, s string) bool { return strings.EqualFold(string(b), s) }
