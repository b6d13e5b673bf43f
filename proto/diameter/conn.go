package diameter

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/shard"
)

// state of a connection, in order.
type state uint8

const (
	stateConnecting state = iota // dialling, TLS
	stateWaitCER                 // accepted (RFC 6733 5.6: the responder)
	stateWaitCEA                 // dialled (the initiator)
	stateOpen
	stateLeaving // DPR sent or received
	stateDead
)

var stateNames = [...]string{"connecting", "wait-cer", "wait-cea", "open", "leaving", "closed"}

// maxCapabilities is the longest message before a peer is known.
const maxCapabilities = 4096

// conn is one connection. Its reader goroutine frames messages and brings them to the shard, its writer goroutine writes what
// the shard gathered; all decisions are made on the shard.
type conn struct {
	n       *Node
	dialled bool
	in      inbound // the reader's, and the shard's while the reader waits
	out     outbox

	encrypted bool // set before run

	closeMu sync.Mutex // guards nc against hangUp while it is being opened
	nc      net.Conn
	hung    bool

	stranger bool // guarded by Node.mu

	// On the shard.
	state      state
	peer       *peer // nil until the CER of an accepted connection
	tls        *tls.ConnectionState
	secure     bool // mutual TLS with the peer's name in it
	apps       map[Application]bool
	relay      bool
	product    string
	cancel     context.CancelFunc // of the dialling
	timer      shard.Timer        // capabilities, watchdog, goodbye: never two at once
	heard      time.Duration      // last message
	dwaPending bool
	suspect    bool
	reopen     int // DWAs that are still wanted (RFC 3539 3.4.1 [5])
	hopByHop   uint32
	pending    map[uint32]*call
	answered   time.Duration // last answer to a request of an application

	// unresponsive: alive, and leaves requests unanswered, see doubt. trial is when one may try it again.
	unresponsive bool
	trial        time.Duration

	limit   int          // of messages; written on the shard while the reader waits
	serving atomic.Int64 // requests of the peer without answer
}

// run is the life of a connection.
func (c *conn) run(ctx context.Context) {
	defer c.n.remove(c)
	go c.out.write(c)
	defer c.out.stop()
	if !c.dialled && !c.n.enter(&arrived{c: c}) {
		c.hangUp()
		return
	}
	state, err := c.establish(ctx)
	if err != nil {
		c.n.n.ClosedHandshake.Add(1)
	} else if c.n.enter(&established{c: c, tls: state}) {
		c.read()
	}
	c.hangUp()
	c.n.enter(&ended{c})
}

// arrived limits the time of an accepted connection.
type arrived struct{ c *conn }

// Run implements shard.Event.
func (a *arrived) Run(s *shard.Shard) { s.Arm(&a.c.timer, a.c.n.cfg.Capabilities, (*tick)(a.c)) }

// establish dials and shakes hands. The shard ends it by hangUp or cancel when it takes too long.
func (c *conn) establish(ctx context.Context) (*tls.ConnectionState, error) {
	if c.dialled {
		nc, err := c.peer.cfg.Dial(ctx)
		if err != nil {
			return nil, err
		}
		c.n.n.Dialled.Add(1)
		if !c.adopt(nc) {
			return nil, net.ErrClosed
		}
		c.encrypted = !c.peer.cfg.Cleartext
	}
	if !c.encrypted {
		return nil, nil
	}
	if c.n.cfg.TLS == nil {
		return nil, net.ErrClosed
	}
	var t *tls.Conn
	if c.dialled {
		t = tls.Client(c.nc, c.n.clientTLS(c.peer.cfg.Host))
	} else {
		t = tls.Server(c.nc, c.n.cfg.TLS)
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if !c.adopt(t) {
		return nil, net.ErrClosed
	}
	state := t.ConnectionState()
	return &state, nil
}

// adopt takes nc as the connection, unless it was hung up meanwhile.
func (c *conn) adopt(nc net.Conn) bool {
	c.closeMu.Lock()
	defer c.closeMu.Unlock()
	if c.hung {
		_ = nc.Close()
		return false
	}
	c.nc = nc
	return true
}

// hangUp closes the socket: the reader and the writer end. A tls.Conn waits for its alert to be written, a full socket for ever
// almost, so that is done elsewhere.
func (c *conn) hangUp() {
	c.closeMu.Lock()
	defer c.closeMu.Unlock()
	if c.hung {
		return
	}
	c.hung = true
	if t, ok := c.nc.(*tls.Conn); ok {
		_ = t.NetConn().Close()
	} else if c.nc != nil {
		_ = c.nc.Close()
	}
}

// proven tells the listener that an accepted connection came from, if it shares its places among strangers, that this is none.
func (c *conn) proven() {
	c.closeMu.Lock()
	nc := c.nc
	c.closeMu.Unlock()
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if counted, ok := nc.(interface{ Proven() }); ok && c.secure {
		counted.Proven()
	}
}

// inbound carries whole messages from the reader to the shard.
type inbound struct {
	c    *conn
	msgs []byte
	done chan struct{}
}

// Run implements shard.Event. A panic costs the connection: the rest of what it brought would get no answer.
func (in *inbound) Run(*shard.Shard) {
	c, whole := in.c, false
	defer func() {
		if !whole {
			c.kill(&c.n.n.ClosedLocal)
		}
		in.done <- struct{}{}
	}()
	for b := in.msgs; len(b) > 0 && c.state != stateDead; {
		n, err := Length(b, c.limit)
		if err != nil { // cannot be: the reader framed it
			return
		}
		m := Message{b[:n:n]}
		b = b[n:]
		c.receive(m)
	}
	whole = true
}

// read frames until the connection ends. The buffer grows with what is being read, up to the limit, and shrinks again.
func (c *conn) read() {
	const usual = 4096
	buf, have := make([]byte, usual), 0
	c.in.c = c
	for {
		n, err := c.nc.Read(buf[have:])
		if n == 0 && err != nil {
			c.n.n.ClosedPeer.Add(1)
			return
		}
		c.n.n.OctetsIn.Add(uint64(n))
		have += n
		whole, missing, bad := frame(buf[:have], c.limit)
		if whole > 0 {
			c.in.msgs = buf[:whole]
			if !c.n.enter(&c.in) {
				c.n.n.ClosedShardFull.Add(1)
				return
			}
			<-c.in.done
			old := have
			have = copy(buf, buf[whole:have])
			clear(buf[have:old]) // answers hold keys
			if have > 0 {        // the limit may be another now
				_, missing, bad = frame(buf[:have], c.limit)
			}
		}
		if bad != nil {
			c.n.n.ClosedFraming.Add(1)
			return
		}
		switch need := have + missing; {
		case need > len(buf):
			buf = append(make([]byte, 0, need), buf[:have]...)[:need]
		case have == 0 && len(buf) > 16*usual:
			buf = make([]byte, usual)
		}
	}
}

// frame returns how many octets of b are whole messages, and how many the next one lacks at least.
func frame(b []byte, limit int) (whole, missing int, err error) {
	for {
		rest := b[whole:]
		if len(rest) < 4 {
			return whole, max(4-len(rest), 0), nil
		}
		n, err := Length(rest, limit)
		if err != nil {
			return whole, 0, err
		}
		if n > len(rest) {
			return whole, n - len(rest), nil
		}
		whole += n
	}
}

// ended tells the shard that the reader is gone.
type ended struct{ c *conn }

// Run implements shard.Event.
func (e *ended) Run(*shard.Shard) { e.c.kill(nil) }

// kill ends the connection now, for a reason to be counted. On the shard.
func (c *conn) kill(cause *atomic.Uint64) {
	if c.state == stateDead {
		return
	}
	was := c.state
	c.state = stateDead
	if cause != nil {
		cause.Add(1)
	}
	c.n.sh.Disarm(&c.timer)
	if c.cancel != nil {
		c.cancel()
	}
	c.out.stop()
	c.hangUp()
	if c.peer != nil {
		c.peer.lost(c, was)
	}
}

// finish lets what is gathered be written, and then ends the connection: at once, or when the timer fires.
func (c *conn) finish() {
	c.state = max(c.state, stateLeaving)
	c.out.finish()
	c.n.sh.Arm(&c.timer, c.n.cfg.Goodbye, (*tick)(c))
}

// send gathers a message for the peer. A peer that does not read is given up. On the shard.
func (c *conn) send(b []byte) {
	if !c.out.append(b) {
		c.kill(&c.n.n.ClosedSlow)
	}
}

// outbox gathers what is to be written. Safe for concurrent use.
type outbox struct {
	mu     sync.Mutex
	wake   chan struct{} // capacity 1
	limit  int
	buf    []byte
	ending bool // write what is there, then end
	over   bool
}

func (o *outbox) init(limit int) { o.wake, o.limit = make(chan struct{}, 1), limit }

// append copies b; false if the peer is too slow or the connection is over.
func (o *outbox) append(b []byte) bool {
	o.mu.Lock()
	if o.over || o.ending {
		o.mu.Unlock()
		return true // nobody is there to hear it: no reason to end what has ended
	}
	full := len(o.buf)+len(b) > o.limit
	if !full {
		o.buf = append(o.buf, b...)
	}
	o.mu.Unlock()
	if full {
		return false
	}
	o.signal()
	return true
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) stop() {
	o.mu.Lock()
	o.over, o.buf = true, nil
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) finish() {
	o.mu.Lock()
	o.ending = true
	o.mu.Unlock()
	o.signal()
}

// write is the writer goroutine. It gathers while it writes, so a busy connection has few, large writes.
func (o *outbox) write(c *conn) {
	var spare []byte
	for range o.wake {
		for {
			o.mu.Lock()
			b, over, ending := o.buf, o.over, o.ending
			o.buf, spare = spare[:0], nil
			o.mu.Unlock()
			if over {
				return
			}
			if len(b) == 0 {
				if ending {
					c.closeWrite()
					return
				}
				spare = b
				break
			}
			c.n.n.OctetsOut.Add(uint64(len(b)))
			if _, err := c.nc.Write(b); err != nil {
				c.hangUp() // the reader ends and tells the shard
				return
			}
			if clear(b); cap(b) <= 64<<10 { // answers hold keys
				spare = b
			}
		}
	}
}

// closeWrite ends our direction in order; the peer then closes its own.
func (c *conn) closeWrite() {
	if t, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
		return
	}
	c.hangUp()
}
