package siptransport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// Ponger is what a Receiver may offer besides, to hear that a pong has come for the pings it sent ("\r\n\r\n" by Flow.Send): a
// flow without a pong within 10 s has failed (RFC 5626 4.4.1). Called on the shard.
type Ponger interface{ Pong(f Flow) }

// pong is the answer to a ping (RFC 5626 4.4.1).
const pong = "\r\n"

// messagesPerVisit is how many messages of one connection the shard takes in one go.
const messagesPerVisit = 16

// inbound is what a connection needs while octets are at hand; a connection that waits holds none.
type inbound struct {
	buf  [4096]byte
	c    *Conn
	msg  []byte // the next message for the shard
	done chan struct{}
}

// Run implements shard.Event: it delivers msg and what follows it, and lets the reading goroutine go on also after a panic. The
// reading goroutine waits meanwhile, so the framer is ours.
func (in *inbound) Run(*shard.Shard) {
	defer func() { in.done <- struct{}{} }()
	c := in.c
	for range messagesPerVisit {
		msg := in.msg
		in.msg = nil // whatever happens, it is delivered once
		c.s.n.MessagesIn.Add(1)
		c.r.Packet(c.Flow(), msg)
		if in.msg = c.next(); in.msg == nil {
			return
		}
	}
}

// gap is the event that tells of a pong.
type gap Conn

// Run implements shard.Event.
func (g *gap) Run(*shard.Shard) {
	c := (*Conn)(g)
	if p, ok := c.r.(Ponger); ok {
		p.Pong(c.Flow())
	}
}

// notice tells the receiver that a connection has opened (err is nil) or closed.
type notice struct {
	c     *Conn
	state *tls.ConnectionState
	err   error
}

// Run implements shard.Event.
func (n *notice) Run(*shard.Shard) {
	if n.err != nil {
		n.c.r.Closed(n.c.Flow(), n.err)
	} else {
		n.c.r.Opened(n.c.Flow(), n.state)
	}
}

// run is the life of a connection.
func (c *Conn) run(ctx context.Context) {
	defer c.s.remove(c)
	state, err := c.establish(ctx)
	if !c.dialled {
		c.s.established()
	}
	told := false
	if err == nil {
		if told = c.enter(&notice{c: c, state: state}); told {
			c.read()
		} else {
			c.end(ErrClosed, &c.s.n.ClosedLocal)
		}
	}
	c.s.put(c)
	c.framer.Close()
	c.cause.Add(1)
	if told || c.dialled {
		c.enter(&notice{c: c, err: c.err})
	}
}

// enter brings an event to the shard, and waits while its inbox is full: the reader holds, so the peer is held by TCP. It gives up
// after a second of refusals: then the shard is closed or hopelessly late.
func (c *Conn) enter(e shard.Event) bool {
	const pause, tries = 2 * time.Millisecond, 500
	for range tries {
		if c.sh.Exec(e) {
			return true
		}
		c.s.n.ShardWaits.Add(1)
		time.Sleep(pause)
	}
	return false
}

// end ends the connection for a reason, if it is not ending already. What was gathered for the peer leaves if the socket takes it: the answer to a message before the
// one that ends it, a last alert.
func (c *Conn) end(err error, cause *atomic.Uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open && (c.pend.len() > 0 || c.wire != nil && c.wire.waiting()) {
		c.flushLocked()
	}
	c.kill(err, cause)
}

// establish dials if that is to be done, and does the TLS handshake. After an error the connection is dead.
func (c *Conn) establish(ctx context.Context) (*tls.ConnectionState, error) {
	if c.dialled {
		ctx, cancel := context.WithTimeout(ctx, c.s.o.Dialing)
		defer cancel()
		c.mu.Lock()
		if c.giveUp = cancel; c.err != nil {
			cancel()
		}
		c.mu.Unlock()
		nc, err := c.dialer(ctx)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrDial, err)
			c.end(err, &c.s.n.ClosedDial)
			return nil, err
		}
		c.mu.Lock()
		c.nc = nc
		ended := c.err
		if ended != nil {
			c.kill(ended, c.cause)
		}
		c.mu.Unlock()
		if ended != nil {
			return nil, ended
		}
	}
	raw := rawOf(c.nc)
	var layer *tls.Conn
	var under *wire
	var state *tls.ConnectionState
	if c.s.o.TLS != nil {
		under = &wire{Conn: c.nc, bufs: &c.s.outbufs, hears: c.s.o.Plain != nil && !c.dialled}
		var err error
		if layer, state, err = c.handshake(under); c.plain(err) {
			c.early, under, err = under.heard, nil, nil
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrHandshake, err)
			c.end(err, &c.s.n.ClosedHandshake)
			return nil, err
		}
	}
	return state, c.setOpen(raw, layer, under)
}

// plain reports whether a peer who has not begun with TLS may go on without it.
func (c *Conn) plain(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && header.Conn != nil && c.s.o.Plain != nil && !c.dialled && c.s.o.Plain(c.peer)
}

// handshake does the TLS handshake on w within its time.
func (c *Conn) handshake(w *wire) (*tls.Conn, *tls.ConnectionState, error) {
	t := tls.Server(w, c.s.o.TLS)
	if c.dialled {
		t = tls.Client(w, c.s.o.TLS)
	}
	var late *time.Timer
	late = time.AfterFunc(math.MaxInt64, func() {
		if c.sheds(ErrHandshake) {
			_ = c.nc.SetDeadline(time.Unix(1, 0)) // long ago: the handshake ends
		} else {
			late.Reset(c.s.o.Handshake)
		}
	})
	late.Reset(c.s.o.Handshake)
	err := t.Handshake()
	if !late.Stop() && err == nil {
		err = c.nc.SetDeadline(time.Time{}) // it was late, and made it
	}
	if err != nil {
		return nil, nil, err
	}
	w.hears, w.heard = false, nil
	w.setCollect()
	state := t.ConnectionState()
	return t, &state, nil
}

// setOpen lets messages flow, first those that were sent while the connection was being opened.
func (c *Conn) setOpen(raw syscall.RawConn, layer *tls.Conn, under *wire) error {
	if c.dialled {
		c.s.n.Dialled.Add(1)
	} else {
		c.s.n.Accepted.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.raw, c.tls, c.wire, c.local, c.open = raw, layer, under, addrPort(c.nc.LocalAddr()), true
	if t, ok := c.nc.(tryWriter); ok {
		c.try = t.TryWrite
	}
	if raw != nil {
		c.writeFn, c.try = c.tryWrite, c.tryRaw
		if layer == nil {
			c.readFn = c.tryRead
		}
	}
	c.flushLocked()
	return nil
}

// read reads until the connection ends.
func (c *Conn) read() {
	now := c.s.o.Clock.Wall()
	opened := now
	if len(c.early) > 0 && !c.take(c.early, now) {
		return
	}
	c.early = nil
	for {
		if err := c.setDeadline(now, opened); err != nil {
			c.end(err, &c.s.n.ClosedPeer)
			return
		}
		p, err := c.fill()
		now = c.s.o.Clock.Wall()
		if len(p) > 0 && !c.take(p, now) {
			return
		}
		c.s.put(c)
		if c.wire != nil && c.wire.waiting() {
			c.flush() // the TLS layer answered a key update
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.late(now, &opened) {
				return
			}
		case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
			c.end(io.EOF, &c.s.n.ClosedPeer)
			return
		default:
			c.end(err, &c.s.n.ClosedPeer)
			return
		}
	}
}

// fill waits for octets. Without raw access a waiting connection has a buffer of one octet, with it none: the 4 kB are taken when
// there is something to put into them.
func (c *Conn) fill() ([]byte, error) {
	if c.readFn != nil {
		c.readN, c.readErr = 0, nil
		if err := c.raw.Read(c.readFn); err != nil {
			return nil, err
		}
		if c.readN == 0 && c.readErr == nil {
			return nil, io.EOF
		}
		return c.in.buf[:c.readN], c.readErr
	}
	var src io.Reader = c.nc
	if c.tls != nil {
		src = c.tls
	}
	b := c.one[:]
	if c.framer.Buffered() > 0 { // the rest of what that one octet began is here, or on its way
		c.s.get(c)
		b = c.in.buf[:]
	}
	n, err := src.Read(b)
	return b[:n], err
}

// tryRead reads what the socket holds; false makes the runtime wait until there is something, without a buffer.
func (c *Conn) tryRead(fd uintptr) bool {
	c.s.get(c)
	var again bool
	c.readN, again, c.readErr = tryRecv(fd, c.in.buf[:])
	if again {
		c.s.put(c)
	}
	return !again
}

// take frames p and brings whole messages to the shard. It reports false if that was the end of the connection.
func (c *Conn) take(p []byte, now time.Time) bool {
	held := c.framer.Buffered()
	if _, err := c.framer.Write(p); err != nil { // cannot be: the connection ends with the first error
		c.end(fmt.Errorf("%w: %w", ErrFraming, err), &c.s.n.ClosedFraming)
		return false
	}
	for msg := c.next(); msg != nil; {
		c.s.get(c)
		c.in.msg = msg
		if !c.enter(c.in) {
			c.s.n.InboxFull.Add(1)
			c.end(ErrClosed, &c.s.n.ClosedLocal)
			return false
		}
		<-c.in.done
		if msg = c.in.msg; msg == nil {
			msg = c.next() // nothing, unless the receiver panicked
		}
		held = 0
	}
	if c.frameErr != nil {
		c.end(fmt.Errorf("%w: %w", ErrFraming, c.frameErr), &c.s.n.ClosedFraming)
		return false
	}
	c.answerGaps()
	switch {
	case c.framer.Buffered() == 0:
		c.began = time.Time{}
	case held == 0: // else the message that is being waited for began earlier
		c.began = now
	}
	return true
}

// next returns the next whole message, nil if there is none or the connection is being closed; gaps and the error that ends the
// stream are noted.
func (c *Conn) next() []byte {
	for !c.ending.Load() {
		msg, err := c.framer.Next()
		switch {
		case err == sip.ErrPong:
			c.s.n.KeepAlives.Add(1)
			c.pongs++
			c.first = true
		case err == sip.ErrPing: // the framer called the first CRLF of the two a pong
			c.pongs--
			c.pinged = true
		case err != nil:
			c.frameErr = err
			return nil
		default:
			c.first = c.first || msg != nil
			return msg
		}
	}
	return nil
}

// Doubt implements sip.Doubter.
func (c *Conn) Doubt(err error) bool { return c.s.o.Doubt(c.peer, err) }

// answerGaps answers the keep-alives of one read: one pong for all pings, since a client sends the next ping after the pong.
func (c *Conn) answerGaps() {
	if c.pongs > 0 {
		c.enter((*gap)(c))
	}
	if c.pinged {
		c.answerPing()
	}
	c.pongs, c.pinged = 0, false
}

// answerPing sends a pong, without a detour through the shard.
func (c *Conn) answerPing() {
	c.s.n.Pings.Add(1)
	c.mu.Lock()
	if c.gather([]byte(pong)) == nil {
		c.flushLocked()
	}
	c.mu.Unlock()
}

// setDeadline sets when the present wait ends. An idle deadline that is nearly right is left alone.
func (c *Conn) setDeadline(now, opened time.Time) error {
	o := &c.s.o
	var d time.Time
	switch {
	case !c.began.IsZero():
		d = c.began.Add(o.Unfinished)
	case !c.first:
		d = opened.Add(o.FirstMessage)
	case o.Idle < 0:
	default:
		d = now.Add(o.Idle)
		if !c.deadline.After(d) && c.deadline.After(d.Add(-o.Idle/8)) {
			return nil
		}
	}
	if d.Equal(c.deadline) {
		return nil
	}
	c.deadline = d
	return c.nc.SetReadDeadline(d)
}

// late ends the connection because its deadline has passed. It reports false if it may go on for the same time again, from now.
func (c *Conn) late(now time.Time, opened *time.Time) bool {
	why, cause, from := ErrIdle, &c.s.n.ClosedIdle, (*time.Time)(nil)
	switch {
	case !c.began.IsZero():
		why, cause, from = ErrUnfinished, &c.s.n.ClosedUnfinished, &c.began
	case !c.first:
		why, cause, from = ErrFirstMessage, &c.s.n.ClosedFirst, opened
	}
	if c.sheds(why) {
		c.end(why, cause)
		return true
	}
	if from != nil {
		*from = now
	}
	return false
}

// sheds reports whether the connection ends because its time is over. One that we dialled always does.
func (c *Conn) sheds(why error) bool { return c.dialled || c.s.sheds(c.peer, why) }

// get gives c an inbound if it has none.
func (s *Streams) get(c *Conn) {
	if c.in != nil {
		return
	}
	in, _ := s.inbounds.Get().(*inbound)
	if in == nil {
		in = &inbound{done: make(chan struct{}, 1)}
	}
	in.c, c.in = c, in
}

// put takes the inbound of c back.
func (s *Streams) put(c *Conn) {
	if in := c.in; in != nil {
		in.c, in.msg, c.in = nil, nil, nil
		s.inbounds.Put(in)
	}
}
