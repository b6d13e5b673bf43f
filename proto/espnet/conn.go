package espnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// Conn is a TCP connection over an agreement. It is a net.Conn; an idle one has no goroutine. Safe for concurrent use.
type Conn struct {
	s      *Stack
	b      *binding
	ep     tcpip.Endpoint
	events waiter.Queue
	entry  waiter.Entry

	closed      atomic.Bool
	read, write gate
	readMu      sync.Mutex // one reader at a time
	into        sink
	writeMu     sync.Mutex // one writer at a time
	from        bytes.Reader
	sticky      atomic.Pointer[error] // what ended the connection: gVisor says it once
}

var _ net.Conn = (*Conn)(nil)

func newConn(s *Stack, b *binding) *Conn {
	return &Conn{s: s, b: b, read: newGate(), write: newGate()}
}

// watch takes gVisor's end of the connection and listens to what happens to it.
func (c *Conn) watch(ep tcpip.Endpoint) {
	c.ep = ep
	c.b.ep.Store(&c.ep)
	c.entry = waiter.NewFunctionEntry(waiter.AllEvents, c.event)
	c.events.EventRegister(&c.entry)
}

// event is told by gVisor that something has happened, sometimes under the lock of the connection.
func (c *Conn) event(what waiter.EventMask) {
	if what&waiter.EventHUp != 0 && c.b.over() {
		c.s.unbind(c.b)
	}
	c.read.wake()
	c.write.wake()
}

// begin sets what a connection needs when its handshake is done.
func (c *Conn) begin() {
	c.b.up.Store(true)
	const between, questions = 75 * time.Second, 9
	idle, interval := tcpip.KeepaliveIdleOption(c.s.cfg.KeepAlive), tcpip.KeepaliveIntervalOption(min(between, c.s.cfg.KeepAlive))
	patience := tcpip.TCPUserTimeoutOption(c.s.cfg.Unacknowledged)
	for _, o := range []tcpip.SettableSocketOption{&idle, &interval, &patience} {
		_ = c.ep.SetSockOpt(o) // it knows all three
	}
	_ = c.ep.SetSockOptInt(tcpip.KeepaliveCountOption, questions)
	c.ep.SocketOptions().SetKeepAlive(true)
	if c.b.cause.Load() != nil { // the agreement has ended meanwhile
		c.ep.Abort()
	}
}

// start is watch and begin, for a connection that a peer began.
func (c *Conn) start(ep tcpip.Endpoint) {
	c.watch(ep)
	c.begin()
	if c.b.over() { // before watch
		c.s.unbind(c.b)
	}
}

// Agreement tells whose connection it is, for all its life: the agreement, the name that its owner gave it, and at which of our protected
// ports the connection is.
func (c *Conn) Agreement() (esp.Ref, shard.Place, esp.Side) { return c.b.ref, c.b.owner, c.b.side }

// Read implements net.Conn. Besides io.EOF, net.ErrClosed, os.ErrDeadlineExceeded and what the peer's TCP does (syscall.ECONNRESET), the error
// is ErrGone or ErrExhausted; then nothing that waited is given out any more.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		switch {
		case c.closed.Load():
			return 0, c.opError("read", net.ErrClosed)
		case c.read.late():
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		}
		c.into.b = p
		r, err := c.ep.Read(&c.into, tcpip.ReadOptions{})
		c.into.b = nil
		if err == nil {
			return r.Count, nil
		}
		if _, wait := err.(*tcpip.ErrWouldBlock); !wait {
			return 0, c.failed("read", err)
		}
		<-c.read.ready
	}
}

// Write implements net.Conn; see Read for the errors. It returns when p is in the send buffer.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	defer c.from.Reset(nil)
	for n < len(p) {
		switch {
		case c.closed.Load():
			return n, c.opError("write", net.ErrClosed)
		case c.write.late():
			return n, c.opError("write", os.ErrDeadlineExceeded)
		}
		c.from.Reset(p[n:])
		k, err := c.ep.Write(&c.from, tcpip.WriteOptions{})
		n += int(k)
		if _, wait := err.(*tcpip.ErrWouldBlock); wait {
			<-c.write.ready
		} else if err != nil {
			return n, c.failed("write", err)
		}
	}
	return n, nil
}

// TryWrite is Write that does not wait: it takes what the send buffer has room for, which may be nothing.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if !c.writeMu.TryLock() {
		return 0, nil // somebody waits for room
	}
	defer c.writeMu.Unlock()
	if c.closed.Load() {
		return 0, c.opError("write", net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	defer c.from.Reset(nil)
	c.from.Reset(p)
	n, err := c.ep.Write(&c.from, tcpip.WriteOptions{})
	if _, wait := err.(*tcpip.ErrWouldBlock); wait {
		err = nil
	}
	if err != nil {
		return int(n), c.failed("write", err)
	}
	return int(n), nil
}

// failed makes the error of Read and Write, the same each time once the connection is broken.
func (c *Conn) failed(op string, err tcpip.Error) error {
	if c.closed.Load() {
		return c.opError(op, net.ErrClosed)
	}
	if cause := c.b.cause.Load(); cause != nil {
		return c.opError(op, *cause)
	}
	switch err.(type) {
	case *tcpip.ErrClosedForReceive, *tcpip.ErrClosedForSend:
		if c.sticky.Load() == nil {
			if op == "read" {
				return io.EOF
			}
			return c.opError(op, syscall.EPIPE)
		}
	default:
		broken := errorOf(err)
		c.sticky.CompareAndSwap(nil, &broken)
	}
	return c.opError(op, *c.sticky.Load())
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close sends what is in the send buffer, then FIN; if there is something that was not read, a reset (RFC 9293 3.6.1). It does not wait.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	c.ep.Close()
	c.silence()
	return nil
}

// Abort sends a reset and forgets what is in the buffers. Twice is harmless.
func (c *Conn) Abort() {
	c.closed.Store(true)
	c.ep.Abort()
	c.silence()
}

// silence wakes who waits, and takes the timers away.
func (c *Conn) silence() {
	c.read.set(c.s.clock, time.Time{})
	c.write.set(c.s.clock, time.Time{})
}

// CloseWrite ends our half of the connection: the peer reads what was written, then the end (RFC 9293 3.6.1).
func (c *Conn) CloseWrite() error {
	if c.closed.Load() {
		return c.opError("close", net.ErrClosed)
	}
	if err := c.ep.Shutdown(tcpip.ShutdownWrite); err != nil {
		return c.failed("close", err)
	}
	return nil
}

// LocalAddr is our inner address and protected port, a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.b.local) }

// RemoteAddr is the peer's inner address and protected port, a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.b.peer) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.deadline(&c.read, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(&c.write, t) }

func (c *Conn) deadline(g *gate, t time.Time) error {
	if c.closed.Load() {
		return c.opError("set", net.ErrClosed)
	}
	g.set(c.s.clock, t)
	return nil
}

// sink is where gVisor writes what was received.
type sink struct{ b []byte }

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	n := copy(s.b, p)
	s.b = s.b[n:]
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// errorOf is gVisor's error in Go's words; nil is nil.
func errorOf(err tcpip.Error) error {
	switch err.(type) {
	case nil:
		return nil
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrAborted, *tcpip.ErrConnectionAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrPortInUse, *tcpip.ErrBadLocalAddress:
		return ErrInUse
	}
	return errors.New("espnet: " + err.String())
}

// gate is where one reader or one writer waits, until something happens or its deadline comes.
type gate struct {
	ready chan struct{} // something may have happened

	mu      sync.Mutex
	timer   tcpip.Timer
	turn    int // tells timers apart that were stopped too late
	expired atomic.Bool
}

func newGate() gate { return gate{ready: make(chan struct{}, 1)} }

// wake lets the one who waits look again.
func (g *gate) wake() {
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// late reports whether the deadline has passed.
func (g *gate) late() bool { return g.expired.Load() }

// set sets the deadline; the zero time is none.
func (g *gate) set(clock tcpip.Clock, t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.wake()
	g.turn++
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	g.expired.Store(false)
	if t.IsZero() {
		return
	}
	wait := t.Sub(clock.Now())
	if wait <= 0 {
		g.expired.Store(true)
		return
	}
	turn := g.turn
	g.timer = clock.AfterFunc(wait, func() {
		g.mu.Lock()
		if turn == g.turn {
			g.expired.Store(true)
		}
		g.mu.Unlock()
		g.wake()
	})
}
