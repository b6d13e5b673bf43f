package siptransport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// Conn is one stream connection; it is the Sender of its flow. A door gets at it with f.Via.(*siptransport.Conn).
//
// Its goroutine ([Conn.run]) dials, does the handshake, reads and ends the connection. Writing has no goroutine: what a shard
// gathered is written by the shard itself as far as the kernel takes it at once. Only what is left over, or what goes over a
// conn that cannot be tried, is given to a goroutine that lives until the queue is empty.
type Conn struct {
	s       *Streams
	sh      *shard.Shard
	r       Receiver
	peer    netip.AddrPort
	source  netip.Prefix // counted in Streams.sources; not valid if we dialled
	dialled bool
	proven  bool                                    // counted no more; of Streams.mu
	dialer  func(context.Context) (net.Conn, error) // makes nc; nil if it was accepted
	proto   string

	// Of the reading goroutine, and of the shard while that waits for it.
	framer   *sip.Framer
	frameErr error     // what ended the stream
	in       *inbound  // octets at hand; nil while the connection waits
	one      [1]byte   // what a conn without raw access waits with
	pongs    int       // single CRLFs since the last read
	pinged   bool      // a double CRLF since the last read
	began    time.Time // when the unfinished message began
	first    bool      // a message or keep-alive has come
	deadline time.Time // the read deadline in force
	early    []byte    // of a peer in clear, read while TLS was expected
	readN    int
	readErr  error
	readFn   func(fd uintptr) bool

	deferred *deferred // of the shard: set while its timer runs

	ending atomic.Bool // err is set: what is still to be read is nobody's business

	mu       sync.Mutex // guards what follows; is not held while anything blocks
	nc       net.Conn   // nil while dialling
	giveUp   func()     // ends dialling; nil if that has not begun
	raw      syscall.RawConn
	tls      *tls.Conn
	wire     *wire // what the TLS layer writes to
	local    netip.AddrPort
	open     bool    // the handshake is done and the connection not broken
	pend     *outbuf // gathered messages; nil if there are none
	patient  *outbuf // the same of those that may wait (SendLater)
	rest     *outbuf // octets on their way to the socket; nil if there are none
	queued   bool    // a flush waits in the shard
	writing  bool    // a goroutine writes rest; it takes what comes meanwhile
	dead     bool    // the socket is closed
	err      error   // why the connection ends; set once
	cause    *atomic.Uint64
	try      func([]byte) (int, error) // writes what can be written at once; nil for a conn that can only wait
	writeFn  func(fd uintptr) bool     // tryWrite
	writeP   []byte
	writeN   int
	writeErr error
}

// tryWriter is a conn that is no socket and can be tried all the same, as a connection over security associations: TryWrite writes what
// can be written at once, which may be nothing.
type tryWriter interface {
	TryWrite(p []byte) (int, error)
}

var _ Sender = (*Conn)(nil)

// Reliable reports true.
func (c *Conn) Reliable() bool { return true }

// Proto is Options.Proto, by default "TLS" or "TCP".
func (c *Conn) Proto() string { return c.proto }

// Local is our address; the zero value before Opened.
func (c *Conn) Local() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// NetConn is the conn that carries the connection, under TLS if there is TLS: to ask it what an address does not say, as whose security
// association it goes by. nil while dialling. Who reads, writes or closes it breaks the connection.
func (c *Conn) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

// Flow is the flow of the connection.
func (c *Conn) Flow() Flow { return Flow{Via: c, Peer: c.peer} }

// Close ends the connection when what was gathered is written, at the latest after Options.Writing; Receiver.Closed follows with
// ErrClosed. Messages that have come and are not delivered yet are dropped. Any goroutine; twice is harmless.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(ErrClosed, &c.s.n.ClosedLocal)
	if c.open {
		c.gatherPatient()
		c.flushLocked()
	} else if c.nc != nil {
		_ = c.nc.Close() // in the handshake: nothing to save
	}
}

// shut is Close at the end of everything: whoever has not answered our call by now is not waited for.
func (c *Conn) shut() {
	c.mu.Lock()
	if c.dialled && c.nc == nil {
		c.kill(ErrClosed, &c.s.n.ClosedLocal)
	}
	c.mu.Unlock()
	c.Close()
}

// SendTo copies b into what leaves with the next flush. A peer that lets MaxQueue octets wait is closed.
func (c *Conn) SendTo(_ netip.AddrPort, b []byte) error {
	c.mu.Lock()
	if err := c.gather(b); err != nil {
		c.mu.Unlock()
		return err
	}
	c.s.n.MessagesOut.Add(1)
	flush := c.open && !c.writing && !c.queued
	c.queued = c.queued || flush
	c.mu.Unlock()
	// On the shard Exec queues the flush behind the present event, elsewhere it runs it at once.
	if flush && !c.sh.Exec((*connFlush)(c)) {
		c.flush()
	}
	return nil
}

// connFlush is the event that flushes a Conn.
type connFlush Conn

// Run implements shard.Event.
func (f *connFlush) Run(*shard.Shard) { (*Conn)(f).flush() }

// gather appends b to pend. c.mu is held.
func (c *Conn) gather(b []byte) error {
	if err := c.mayGather(b); err != nil {
		return err
	}
	c.pend = c.s.outbufs.append(c.pend, b)
	return nil
}

// mayGather ends a connection whose peer lets too much wait. c.mu is held.
func (c *Conn) mayGather(b []byte) error {
	if c.err != nil {
		return ErrClosed
	}
	if c.pend.len()+c.patient.len()+c.rest.len()+len(b) > c.s.o.MaxQueue {
		c.kill(ErrSlow, &c.s.n.ClosedSlow)
		return ErrSlow
	}
	return nil
}

// fail notes why the connection ends, the first time. c.mu is held.
func (c *Conn) fail(err error, cause *atomic.Uint64) {
	if c.err == nil {
		c.err, c.cause = err, cause
		c.ending.Store(true)
	}
}

// kill ends the connection at once, with what waits; the reading goroutine wakes and reports. c.mu is held.
func (c *Conn) kill(err error, cause *atomic.Uint64) {
	c.fail(err, cause)
	c.open, c.dead = false, true
	if c.nc != nil {
		_ = c.nc.Close()
	} else if c.giveUp != nil {
		c.giveUp()
	}
	c.pend, c.patient = c.s.outbufs.release(c.pend), c.s.outbufs.release(c.patient)
	if !c.writing { // else the goroutine that writes rest gives it back
		c.rest = c.s.outbufs.release(c.rest)
	}
}

func (c *Conn) flush() {
	c.mu.Lock()
	c.queued = false
	c.flushLocked()
	c.mu.Unlock()
}

// flushLocked moves what was gathered towards the socket, without blocking. c.mu is held.
func (c *Conn) flushLocked() {
	if !c.open || c.writing {
		return // written when the connection is open, or by the goroutine that is at it
	}
	if !c.seal() {
		return
	}
	if c.try != nil && c.rest.len() > 0 {
		n, err := c.try(c.rest.bytes())
		c.rest.off += n
		if err != nil {
			c.kill(err, &c.s.n.ClosedPeer)
			return
		}
		c.s.n.DirectWrites.Add(1)
	}
	if c.rest.len() > 0 {
		c.s.n.BlockedWrites.Add(1)
		c.writing = true
		go c.write()
		return
	}
	c.drained()
}

// tryRaw writes to a socket as much of p, which is what rest holds, as it takes at once. c.mu is held.
func (c *Conn) tryRaw(p []byte) (int, error) {
	c.writeP, c.writeN, c.writeErr = p, 0, nil
	err := c.raw.Write(c.writeFn)
	c.writeP = nil
	if err == nil {
		err = c.writeErr
	}
	return c.writeN, err
}

// tryWrite is what tryRaw does with the descriptor; it never asks the runtime to wait. c.mu is held.
func (c *Conn) tryWrite(fd uintptr) bool {
	c.writeN, c.writeErr = trySend(fd, c.writeP)
	return true
}

// seal turns pend into rest, through TLS where there is TLS. rest is empty, or holds what TLS wrote by itself. c.mu is held. It
// reports false if the connection broke.
func (c *Conn) seal() bool {
	if c.tls == nil {
		if c.rest.len() == 0 {
			c.s.outbufs.release(c.rest)
			c.rest, c.pend = c.pend, nil
		}
		return true
	}
	if c.pend.len() > 0 {
		if _, err := c.tls.Write(c.pend.bytes()); err != nil {
			c.kill(err, &c.s.n.ClosedPeer)
			return false
		}
		c.pend = c.s.outbufs.release(c.pend)
	}
	c.rest = c.wire.take(c.rest)
	return true
}

// drained gives the empty buffers back, and ends a connection that is being closed. c.mu is held.
func (c *Conn) drained() {
	c.rest = c.s.outbufs.release(c.rest)
	if c.err == nil || c.dead {
		return
	}
	if c.tls != nil && c.raw != nil {
		_ = c.tls.CloseWrite() // close_notify, if the peer is there to hear it
		if c.rest = c.wire.take(nil); c.rest.len() > 0 {
			_, _ = c.tryRaw(c.rest.bytes())
		}
	}
	c.kill(c.err, c.cause)
}

// write is the goroutine that writes what did not fit. It ends when the queue is empty.
func (c *Conn) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.dead && c.rest.len() > 0 {
		b := c.rest.bytes()
		c.mu.Unlock()
		_ = c.nc.SetWriteDeadline(c.s.o.Clock.Wall().Add(c.s.o.Writing)) // fails only if the socket is closed; so will Write
		n, err := c.nc.Write(b)
		c.mu.Lock()
		c.rest.off += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.kill(ErrSlow, &c.s.n.ClosedSlow)
		case err != nil:
			c.kill(err, &c.s.n.ClosedPeer)
		case c.rest.len() == 0:
			c.seal()
		}
	}
	_ = c.nc.SetWriteDeadline(time.Time{})
	c.writing = false
	c.drained()
}

// outbuf is a buffer of octets to write. A nil outbuf is an empty one.
type outbuf struct {
	b   []byte
	off int // octets written already
}

func (o *outbuf) len() int {
	if o == nil {
		return 0
	}
	return len(o.b) - o.off
}

func (o *outbuf) bytes() []byte { return o.b[o.off:] }

// outbufs keeps buffers for reuse; connections that have nothing to write hold none. Safe for concurrent use.
type outbufs struct{ pool sync.Pool }

// append appends p to o, taking a buffer if o is nil.
func (x *outbufs) append(o *outbuf, p []byte) *outbuf {
	if o == nil {
		if o, _ = x.pool.Get().(*outbuf); o == nil {
			o = &outbuf{b: make([]byte, 0, max(4096, len(p)))}
		}
	}
	o.b = append(o.b, p...)
	return o
}

// release gives o back and returns nil. Large buffers are left to the collector.
func (x *outbufs) release(o *outbuf) *outbuf {
	if o != nil && cap(o.b) <= 64<<10 {
		o.b, o.off = o.b[:0], 0
		x.pool.Put(o)
	}
	return nil
}

// wire is the net.Conn under a TLS layer. During the handshake it writes through. Then it collects records for
// [Conn.flushLocked], so that sealing is done on the shard and never blocks it.
type wire struct {
	net.Conn
	bufs    *outbufs
	mu      sync.Mutex // a leaf: nothing is called with it held
	collect bool
	buf     *outbuf

	hears bool   // the reader keeps what comes, until it is known whether that is TLS
	heard []byte // to be read again if it is not
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.hears {
		w.heard = append(w.heard, p[:n]...)
	}
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	collect := w.collect
	if collect {
		w.buf = w.bufs.append(w.buf, p)
	}
	w.mu.Unlock()
	if collect {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// take moves the records to the end of o.
func (w *wire) take(o *outbuf) *outbuf {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.len() == 0 {
		w.bufs.release(o)
		o, w.buf = w.buf, nil
		return o
	}
	if w.buf != nil {
		o = w.bufs.append(o, w.buf.b)
		w.buf = w.bufs.release(w.buf)
	}
	return o
}

// waiting reports whether the TLS layer wrote something by itself: an alert or a key update.
func (w *wire) waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.len() > 0
}

// setCollect ends the handshake.
func (w *wire) setCollect() {
	w.mu.Lock()
	w.collect = true
	w.mu.Unlock()
}
