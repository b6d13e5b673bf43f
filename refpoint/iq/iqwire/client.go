package iqwire

import (
	"cmp"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
)

// ClientConfig is what a Client is made of.
type ClientConfig struct {
	Clock shard.Clock
	// Limit is how long the anchor may leave a question without an answer: nothing waits longer than that and a quarter.
	Limit time.Duration
	// Begins is the same for the first answer, which no shard waits for: a process that has just been started opens its sockets first. 0 is Limit.
	Begins time.Duration
	// Patience is how long it may owe that answer before the connection is at its end. Until then the calls that are up go on, and who asks is refused at
	// once: on a busy machine an anchor that gets no processor for seconds is no dead one. Less than Limit and a quarter is none.
	Patience time.Duration
	// Epoch tells the sessions of this anchor from those of one before: what is said of those is not said to this one.
	Epoch uint16
	// Setup is what the anchor is to be: one that is something else refuses (ErrSetup). At most 8 KiB.
	Setup []byte
	Push  iq.Push     // hears which sessions are lost: all of them when the anchor is
	Event func(Event) // hears what the anchor refuses
	Line  func(Line)  // and what it has to say
}

// Client is a media anchor in another process. A question blocks its caller until the answer is there, or Limit has passed; what has no answer
// is written and done. Safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	line    *line
	welcome Welcome
	tells   *queue
	done    chan struct{} // closed when nobody reads any more
	told    chan struct{} // closed when nothing is told any more

	mu       sync.Mutex // guards the fields below
	waiting  map[uint64]question
	owed     map[uint64]iq.Session // what nobody waits for any more, and the session that ends for it
	last     uint64
	since    time.Duration // of the deadline that runs
	late     bool          // it has passed once
	sessions map[iq.Session]struct{}
	err      error // why the connection is at its end
}

// question waits for its answer, about a session; 0: about none that is there.
type question struct {
	answer  chan *message
	session iq.Session
}

var _ iq.Gateway = (*Client)(nil)

// ErrHung: the anchor left a question without an answer.
var ErrHung = errors.New("iqwire: the media anchor does not answer")

// Dial begins with an anchor at the other end of conn, which is the Client's from now on, also after an error. ErrSetup: the anchor is
// another one than is wanted.
func Dial(conn net.Conn, c ClientConfig) (*Client, error) {
	cl := &Client{cfg: c, line: newLine(conn, c.Clock, c.Limit), tells: newQueue(), done: make(chan struct{}), told: make(chan struct{}),
		waiting: map[uint64]question{}, owed: map[uint64]iq.Session{}, sessions: map[iq.Session]struct{}{}}
	go cl.read()
	go cl.tell()
	a, err := cl.ask(&message{kind: kindSetup, setup: c.Setup}, kindWelcome)
	if err != nil {
		cl.Close()
		return nil, err
	}
	cl.welcome = a.welcome
	return cl, nil
}

// Welcome is what the anchor said of itself.
func (c *Client) Welcome() Welcome { return c.welcome }

// Done is closed when the connection is at its end. Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the connection is at its end; nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection, and waits until the last has been told. The anchor goes on with the calls that were answered.
func (c *Client) Close() {
	c.fail(net.ErrClosed)
	<-c.done
	<-c.told
}

// End ends the anchor, and then the connection.
func (c *Client) End() error {
	_, err := c.ask(&message{kind: kindEnd}, kindDone)
	c.Close()
	return err
}

// Counters asks for those of the anchor, in an order that both sides know.
func (c *Client) Counters() ([]uint64, error) {
	a, err := c.ask(&message{kind: kindCounters}, kindCounted)
	if err != nil {
		return nil, err
	}
	return a.values, nil
}

// read takes what comes until the connection is at its end.
func (c *Client) read() {
	defer close(c.done)
	for {
		m, err := c.line.read()
		switch {
		case err == nil:
			err = c.heard(m)
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.overdue()
		}
		if err != nil {
			c.fail(err)
			c.lose()
			return
		}
	}
}

// heard takes one frame.
func (c *Client) heard(m *message) error {
	if m.number == 0 {
		if m.kind < kindWelcome || m.kind == kindLost && uint64(m.session) > maxSession {
			return ErrFrame
		}
		c.tells.put(m, m.kind == kindLost)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q, asked := c.waiting[m.number]; asked {
		delete(c.waiting, m.number)
		q.answer <- m
		return c.deadline()
	}
	s, owed := c.owed[m.number]
	if !owed {
		return ErrFrame
	}
	delete(c.owed, m.number)
	if m.kind == kindStream {
		s = m.reserved.Session
	}
	if s != 0 && s <= maxSession {
		c.tells.put(&message{kind: kindRelease, session: s}, true)
	}
	return c.deadline()
}

// limit is how long the anchor may be silent now. c.mu is held.
func (c *Client) limit() time.Duration {
	if c.last == 1 && c.cfg.Begins > 0 {
		return c.cfg.Begins
	}
	return c.cfg.Limit
}

// deadline gives the anchor another while for what it still owes. c.mu is held.
func (c *Client) deadline() error {
	c.late = false
	if len(c.waiting) == 0 && len(c.owed) == 0 {
		return c.line.conn.SetReadDeadline(time.Time{})
	}
	c.since = c.cfg.Clock.Now()
	return c.line.conn.SetReadDeadline(c.cfg.Clock.Wall().Add(c.limit()))
}

// overdue is ErrHung, unless the deadline that has passed is not the one that runs. A machine that stood still finds both processes late: the
// answer gets a quarter of the limit more to come. Then nobody waits for it any more, and after Patience it will not come.
func (c *Client) overdue() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.cfg.Clock.Now() - c.since
	switch {
	case len(c.waiting)+len(c.owed) == 0, !c.late && since < c.limit():
		return c.deadline()
	case !c.late:
		c.late = true
		return c.line.conn.SetReadDeadline(c.cfg.Clock.Wall().Add(c.limit() / 4))
	case since < c.cfg.Patience:
		c.abandon()
		return c.line.conn.SetReadDeadline(c.cfg.Clock.Wall().Add(c.cfg.Patience - since))
	}
	return ErrHung
}

// abandon lets nobody wait for what the anchor owes. Nobody knows what it makes of a session that was asked about, so that one is lost. c.mu is held.
func (c *Client) abandon() {
	for number, q := range c.waiting {
		close(q.answer)
		delete(c.waiting, number)
		c.owed[number] = q.session
		if _, ours := c.sessions[q.session]; ours {
			delete(c.sessions, q.session)
			c.tellLost(q.session)
		}
	}
}

// tellLost has the P-CSCF told that a session is lost with its anchor. c.mu is held.
func (c *Client) tellLost(s iq.Session) {
	c.tells.put(&message{kind: kindLost, session: s, line: Line{Reason: string(iq.ReasonAnchor)}}, true)
}

// fail ends the connection, once, and lets nobody wait.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	for number, q := range c.waiting {
		close(q.answer)
		delete(c.waiting, number)
	}
	_ = c.line.conn.Close() // it is of no use any more
}

// lose tells that all sessions are lost, and that nothing more comes.
func (c *Client) lose() {
	c.mu.Lock()
	for s := range c.sessions {
		c.tellLost(s)
	}
	clear(c.sessions)
	c.mu.Unlock()
	c.tells.close()
}

// tell says to the P-CSCF what the anchor says. Not on the reader: a P-CSCF that is told may wait for one that waits for an answer.
func (c *Client) tell() {
	defer close(c.told)
	for m := c.tells.next(); m != nil; m = c.tells.next() {
		switch {
		case m.kind == kindLost && c.cfg.Push != nil:
			c.cfg.Push.Lost(c.ours(m.session), iq.Reason(m.line.Reason))
		case m.kind == kindRefused && c.cfg.Event != nil:
			c.cfg.Event(m.event)
		case m.kind == kindSaid && c.cfg.Line != nil:
			c.cfg.Line(m.line)
		case m.kind == kindRelease:
			c.say(m)
		}
	}
}

// ask writes a question and waits for its answer. ErrHung: there is none yet, to this one or to one before.
func (c *Client) ask(m *message, want kind) (*message, error) {
	w := make(chan *message, 1)
	c.mu.Lock()
	if c.err != nil || len(c.owed) > 0 {
		defer c.mu.Unlock()
		return nil, cmp.Or(c.err, ErrHung)
	}
	c.last++
	m.number = c.last
	c.waiting[m.number] = question{w, m.session}
	if len(c.waiting) == 1 {
		if err := c.deadline(); err != nil {
			delete(c.waiting, m.number)
			c.mu.Unlock()
			return nil, err
		}
	}
	c.mu.Unlock()
	if err := c.line.write(m); errors.Is(err, ErrFrame) {
		c.mu.Lock()
		delete(c.waiting, m.number)
		err = errors.Join(iq.ErrKeying, c.deadline()) // a description with something in it that is longer than anything of use
		c.mu.Unlock()
		return nil, err
	} else if err != nil {
		c.fail(err)
	}
	a, answered := <-w
	switch {
	case !answered:
		return nil, cmp.Or(c.Err(), ErrHung)
	case a.kind != want:
		c.fail(ErrFrame)
		return nil, ErrFrame
	}
	return a, a.err()
}

// say writes what has no answer.
func (c *Client) say(m *message) {
	if err := c.line.write(m); err != nil {
		c.fail(err)
	}
}

// maxSession is the highest name that an anchor gives: the rest of a Session is the epoch.
const maxSession = 1<<48 - 1

// ours is the name of a session of this anchor.
func (c *Client) ours(s iq.Session) iq.Session {
	if s == 0 {
		return 0
	}
	return iq.Session(uint64(c.cfg.Epoch)<<48 | uint64(s))
}

// theirs is what the anchor calls a session; false if it is not one of this anchor.
func (c *Client) theirs(s iq.Session) (iq.Session, bool) {
	return s & maxSession, uint64(s)>>48 == uint64(c.cfg.Epoch) || s == 0
}

// anchorOr is the error of an operation: of an anchor that is not there the session is gone, and there is no port.
func anchorOr(err, otherwise error) error {
	for _, known := range refusals {
		if errors.Is(err, known) {
			return known
		}
	}
	if err != nil {
		return otherwise
	}
	return nil
}

// Reserve implements iq.Gateway.
func (c *Client) Reserve(s iq.Session, m iq.Medium) (iq.Stream, error) {
	id, known := c.theirs(s)
	if !known {
		return iq.Stream{}, iq.ErrGone
	}
	a, err := c.ask(&message{kind: kindReserve, session: id, medium: m}, kindStream)
	if err != nil {
		return iq.Stream{}, anchorOr(err, iq.ErrFull)
	}
	if id = a.reserved.Session; id == 0 || id > maxSession {
		c.fail(ErrFrame)
		return iq.Stream{}, iq.ErrFull
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return iq.Stream{}, iq.ErrFull // it would never be told of
	}
	c.sessions[id] = struct{}{}
	a.reserved.Session = c.ours(id)
	return a.reserved, nil
}

// Renew implements iq.Gateway.
func (c *Client) Renew(s iq.Session, stream int, side iq.Side, m iq.Medium) (iq.End, error) {
	id, known := c.theirs(s)
	if !known {
		return iq.End{}, iq.ErrGone
	}
	a, err := c.ask(&message{kind: kindRenew, session: id, stream: stream, side: side, medium: m}, kindRenewed)
	if err != nil {
		return iq.End{}, anchorOr(err, iq.ErrGone)
	}
	return a.end, nil
}

// Configure implements iq.Gateway.
func (c *Client) Configure(s iq.Session, stream int, side iq.Side, b iq.Branch, r iq.Remote) error {
	id, known := c.theirs(s)
	if !known {
		return iq.ErrGone
	}
	_, err := c.ask(&message{kind: kindConfigure, session: id, stream: stream, side: side, branch: b, remote: r}, kindDone)
	return anchorOr(err, iq.ErrGone)
}

// Through implements iq.Gateway.
func (c *Client) Through(s iq.Session, stream int, from [2]bool) {
	if id, known := c.theirs(s); known {
		c.say(&message{kind: kindThrough, session: id, stream: stream, through: from})
	}
}

// Confirm implements iq.Gateway.
func (c *Client) Confirm(s iq.Session, b iq.Branch) {
	if id, known := c.theirs(s); known {
		c.say(&message{kind: kindConfirm, session: id, branch: b})
	}
}

// Release implements iq.Gateway.
func (c *Client) Release(s iq.Session) {
	id, known := c.theirs(s)
	if !known {
		return
	}
	c.mu.Lock()
	delete(c.sessions, id)
	c.mu.Unlock()
	c.say(&message{kind: kindRelease, session: id})
}
