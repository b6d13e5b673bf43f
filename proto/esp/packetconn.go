package esp

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// PacketConn is a protected port as a net.PacketConn. Its peers are addresses and protected ports of agreements: from anybody else
// nothing comes, to anybody else nothing goes. ReadDatagram tells the agreement as well. Safe for concurrent use.
//
// Datagrams are handed from the goroutine that reads the wire to the one that reads the conn. Who wants to do without that hand-over
// takes FrontConfig.UDP.
type PacketConn struct {
	f     *Front
	local netip.AddrPort

	mu     sync.Mutex
	came   sync.Cond
	ring   []queued // of FrontConfig.Queue
	first  int
	len    int
	closed bool
}

// queued is a datagram that waits; its buffer is used again.
type queued struct {
	d    Datagram
	data []byte
}

var _ net.PacketConn = (*PacketConn)(nil)

func newPacketConn(f *Front, local netip.AddrPort) *PacketConn {
	c := &PacketConn{f: f, local: local, ring: make([]queued, f.cfg.Queue)}
	c.came.L = &c.mu
	return c
}

// put copies d in; false if there is no room.
func (c *PacketConn) put(d *Datagram) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.len == len(c.ring) {
		return false
	}
	q := &c.ring[(c.first+c.len)%len(c.ring)]
	q.d, q.data = *d, append(q.data[:0], d.Payload...)
	c.len++
	c.came.Signal()
	return true
}

// ReadDatagram waits for a datagram and copies as much of it into b as fits; d.Payload is that part of b. The error is net.ErrClosed.
func (c *PacketConn) ReadDatagram(b []byte) (d Datagram, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.len == 0 {
		if c.closed {
			return d, net.ErrClosed
		}
		c.came.Wait()
	}
	q := &c.ring[c.first]
	c.first = (c.first + 1) % len(c.ring)
	c.len--
	d = q.d
	d.Segment, d.Payload = nil, b[:copy(b, q.data)]
	return d, nil
}

// ReadFromUDPAddrPort is ReadFrom without an allocation.
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	d, err := c.ReadDatagram(b)
	return len(d.Payload), d.Peer, err
}

// WriteToUDPAddrPort sends b to a peer, over the agreement that holds between this port and the peer's. The error is ErrGone if there
// is none: nothing leaves in clear.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	r, side, ok := c.f.e.Find(c.local, to)
	if !ok {
		return 0, ErrGone
	}
	if err := c.f.Send(r, side, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ReadFrom implements net.PacketConn; the address is a *net.UDPAddr.
func (c *PacketConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	n, peer, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(peer), nil
}

// WriteTo implements net.PacketConn; to is a *net.UDPAddr.
func (c *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, ErrGone
	}
	p := u.AddrPort()
	return c.WriteToUDPAddrPort(b, netip.AddrPortFrom(p.Addr().Unmap(), p.Port()))
}

// LocalAddr is our address and the protected port.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// Close ends readers. What waits can still be read. The port may be listened on again.
func (c *PacketConn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.came.Broadcast()
	c.mu.Unlock()
	if first {
		c.f.forget(c.local.Port())
	}
	return nil
}

// SetDeadline implements net.PacketConn; there are no deadlines: the error is os.ErrNoDeadline.
func (c *PacketConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is SetDeadline.
func (c *PacketConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is SetDeadline.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
