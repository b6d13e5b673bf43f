package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/proto/sip"
)

// streamWire gives each UE a connection of its own, over TCP or TLS. A goroutine lives only while a connection is made: from then on the
// worker reads and writes all of them, told by epoll which.
type streamWire struct {
	ues   []ue
	tls   *tls.Config // nil over TCP
	pool  *sip.Pool
	epoll int
	wake  int // eventfd: a connection has been made, or not
	conns []*stream
	dirty []*stream
	alive sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc

	mu   sync.Mutex // guards made
	made []*stream

	refused uint64
	last    error
	buf     [32 << 10]byte
	events  [64]unix.EpollEvent
}

// stream is one connection.
type stream struct {
	*socket
	ue     int32
	tls    *tls.Conn // over TLS
	framer *sip.Framer
	plain  []byte // to be written
	dirty  bool
	ready  bool // the worker has it
	err    error
}

// socket is the conn under a stream: an ordinary one while it is made, then one that never waits.
type socket struct {
	net.Conn
	fd    int // -1 while it is made
	out   []byte
	armed bool // epoll tells when there is room
}

// again is what a read that would have to wait reports; crypto/tls goes on after it.
type again struct{}

func (again) Error() string   { return "nothing to read" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

func (s *socket) Read(b []byte) (int, error) {
	if s.fd < 0 {
		return s.Conn.Read(b)
	}
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, again{}
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (s *socket) Write(b []byte) (int, error) {
	if s.fd < 0 {
		return s.Conn.Write(b)
	}
	s.out = append(s.out, b...)
	return len(b), nil
}

func newStreamWire(w *worker, config *tls.Config) (*streamWire, error) {
	s := &streamWire{ues: w.ues, tls: config, pool: w.pool, conns: make([]*stream, len(w.ues)), epoll: -1, wake: -1}
	s.ctx, s.stop = context.WithCancel(context.Background())
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
			err = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, s.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1})
		}
	}
	return s, err
}

func (w *streamWire) send(_ *ue, i int32, b []byte) {
	c := w.conns[i]
	if c == nil {
		c = w.dial(i)
	}
	c.plain = append(c.plain, b...)
	w.mark(c)
}

func (w *streamWire) mark(c *stream) {
	if c.ready && !c.dirty {
		c.dirty = true
		w.dirty = append(w.dirty, c)
	}
}

// opening is how long a connection may take, and again its handshake: as long as a transaction (RFC 3261 17.1.1.2, timer B). What the answer may take,
// patience says.
const opening = 32 * time.Second

// dial makes a connection from the UE's own address and port. What is sent meanwhile waits.
func (w *streamWire) dial(i int32) *stream {
	u := &w.ues[i]
	c := &stream{ue: i, framer: w.pool.NewFramer()}
	w.conns[i] = c
	d := net.Dialer{Timeout: opening, LocalAddr: net.TCPAddrFromAddrPort(u.addr), KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return err
	}}
	proxy := u.proxy.String()
	w.alive.Go(func() {
		var conn net.Conn
		if conn, c.err = d.DialContext(w.ctx, "tcp4", proxy); c.err == nil {
			c.socket = &socket{Conn: conn, fd: -1}
			if w.tls != nil {
				c.tls = tls.Client(c.socket, w.tls)
				_ = conn.SetDeadline(time.Now().Add(opening))
				c.err = c.tls.HandshakeContext(w.ctx)
				_ = conn.SetDeadline(time.Time{})
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.made = append(w.made, c)
		_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	return c
}

// adopt takes over the connections that were made.
func (w *streamWire) adopt() {
	var count [8]byte
	_, _ = unix.Read(w.wake, count[:])
	w.mu.Lock()
	made := w.made
	w.made = nil
	w.mu.Unlock()
	for _, c := range made {
		if c.err == nil {
			c.err = w.watch(c)
		}
		if c.err != nil {
			w.refused++
			w.last = c.err
			w.end(c)
			continue
		}
		c.ready = true
		w.mark(c)
	}
}

func (w *streamWire) watch(c *stream) error {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Control(func(fd uintptr) { c.fd = int(fd) })
	if err != nil {
		return err
	}
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.ue})
}

// end forgets a connection: the next message of its UE makes another.
func (w *streamWire) end(c *stream) {
	if w.conns[c.ue] == c {
		w.conns[c.ue] = nil
	}
	c.framer.Close()
	c.ready = false
	if c.socket != nil {
		_ = c.Conn.Close() // epoll forgets it with this
	}
}

func (w *streamWire) flush() error {
	for _, c := range w.dirty {
		c.dirty = false
		if c.ready {
			w.write(c)
		}
	}
	w.dirty = w.dirty[:0]
	return nil
}

// write gives what waits to the kernel, as far as it takes it.
func (w *streamWire) write(c *stream) {
	if len(c.plain) > 0 {
		var err error
		if c.tls != nil {
			_, err = c.tls.Write(c.plain)
		} else {
			_, err = c.socket.Write(c.plain)
		}
		c.plain = c.plain[:0]
		if err != nil {
			w.end(c)
			return
		}
	}
	sent := 0
	for sent < len(c.out) {
		n, err := unix.Write(c.fd, c.out[sent:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			w.end(c)
			return
		}
		sent += n
	}
	c.out = c.out[:copy(c.out, c.out[sent:])]
	if full := len(c.out) > 0; full != c.armed {
		events := uint32(unix.EPOLLIN)
		if full {
			events |= unix.EPOLLOUT
		}
		c.armed = full
		_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: c.ue})
	}
}

func (w *streamWire) poll(wait time.Duration, receive func(i int32, data []byte)) error {
	polled := [1]unix.PollFd{{Fd: int32(w.epoll), Events: unix.POLLIN}}
	timeout := unix.NsecToTimespec(int64(wait))
	if _, err := unix.Ppoll(polled[:], &timeout, nil); err != nil && err != unix.EINTR {
		return err
	}
	n, err := unix.EpollWait(w.epoll, w.events[:], 0)
	if err != nil && err != unix.EINTR {
		return err
	}
	for _, e := range w.events[:max(n, 0)] {
		if e.Fd < 0 {
			w.adopt()
			continue
		}
		c := w.conns[e.Fd]
		if c == nil || !c.ready {
			continue
		}
		if e.Events&unix.EPOLLOUT != 0 {
			w.write(c)
		}
		if e.Events&^unix.EPOLLOUT != 0 && c.ready {
			w.read(c, receive)
		}
	}
	return nil
}

// read takes what has come, message by message.
func (w *streamWire) read(c *stream, receive func(i int32, data []byte)) {
	for c.ready {
		var n int
		var err error
		if c.tls != nil {
			n, err = c.tls.Read(w.buf[:])
		} else {
			n, err = c.socket.Read(w.buf[:])
		}
		if n > 0 {
			w.frame(c, w.buf[:n], receive)
		}
		var later again
		switch {
		case errors.As(err, &later):
			return
		case err != nil:
			w.end(c)
			return
		case c.tls == nil && n < len(w.buf):
			return
		}
	}
}

func (w *streamWire) frame(c *stream, data []byte, receive func(i int32, data []byte)) {
	_, _ = c.framer.Write(data)
	for c.ready {
		m, err := c.framer.Next()
		switch {
		case errors.Is(err, sip.ErrPing):
			c.plain = append(c.plain, "\r\n"...)
			w.mark(c)
		case errors.Is(err, sip.ErrPong):
		case err != nil:
			w.end(c)
		case m == nil:
			return
		default:
			receive(c.ue, m)
		}
	}
}

func (w *streamWire) reliable() bool { return true }
func (w *streamWire) drops() uint64  { return w.refused }

func (w *streamWire) close() error {
	w.stop()
	w.alive.Wait()
	for _, c := range w.conns {
		if c != nil && c.socket != nil {
			_ = c.Conn.Close()
		}
	}
	var err error
	if w.last != nil {
		err = fmt.Errorf("connections that could not be made: %d, the last: %w", w.refused, w.last)
	}
	if w.wake >= 0 {
		_ = unix.Close(w.wake)
	}
	if w.epoll >= 0 {
		_ = unix.Close(w.epoll)
	}
	return err
}
