package esp

import (
	"net"
	"net/netip"

	"imsafe/proto/mmsg"
)

// Stamped is what a Wire may be besides: Came is when the kernel had the packet that was read last, in nanoseconds of the time of day, or 0. It is told of
// one packet in a while, the oldest of those that were there.
type Stamped interface{ Came() int64 }

// burst is how many packets a wire takes from its socket with one system call.
const burst = 8

// inbox is what a wire has taken from its socket and not given out yet.
type inbox struct {
	in       *mmsg.Reader
	bufs     [][]byte
	next, n  int
	cameLast int64
}

// newInbox makes that of a socket; nil where packets can only be read one at a time.
func newInbox(conn any) *inbox {
	x := &inbox{bufs: make([][]byte, burst)}
	const stride = maxRead + 1 + 5*64 // no multiple of a page: else all packets would compete for the same sets of the cache
	mem := make([]byte, burst*stride)
	for i := range x.bufs {
		x.bufs[i] = mem[i*stride:][:maxRead:maxRead]
	}
	var ok bool
	if x.in, ok = mmsg.NewReader(conn, x.bufs); !ok {
		return nil
	}
	x.in.Stamp()
	return x
}

// take gives out the next packet, which is good until the next take.
func (x *inbox) take() (packet []byte, from netip.AddrPort, err error) {
	x.cameLast = 0
	if x.next == x.n {
		x.next, x.n = 0, 0
		if x.n, err = x.in.Read(); err != nil {
			return nil, from, err
		}
		x.cameLast = x.in.Came()
	}
	i := x.next
	x.next++
	return x.bufs[i][:x.in.Size(i)], x.in.From(i), nil
}

// Came implements Stamped.
func (x *inbox) Came() int64 {
	if x == nil {
		return 0
	}
	return x.cameLast
}

// Network4 and Network6 are what net.ListenIP is told to open a raw socket for ESP (protocol 50). It needs CAP_NET_RAW. Bind it to one
// address of the P-CSCF: then the kernel writes the right source, and answers no packet with ICMP "protocol unreachable". Set the
// options of SocketOptions.
const (
	Network4 = "ip4:50"
	Network6 = "ip6:50"
)

// Raw makes a wire of a raw socket that is bound to an address.
func Raw(c *net.IPConn) Wire {
	local, _ := netip.AddrFromSlice(c.LocalAddr().(*net.IPAddr).IP)
	return &raw{newInbox(c), c, local.Unmap()}
}

type raw struct {
	*inbox
	c     *net.IPConn
	local netip.Addr
}

// Read implements Wire. Raw sockets of IPv4 give the header as well, those of IPv6 do not; package net takes it off by itself.
func (r *raw) Read(b []byte) (int, netip.AddrPort, error) {
	if r.inbox != nil {
		packet, from, err := r.take()
		if err == nil && r.local.Is4() && len(packet) > 0 {
			packet = packet[min(len(packet), 4*int(packet[0]&0xf)):]
		}
		return copy(b, packet), netip.AddrPortFrom(from.Addr(), 0), err
	}
	n, from, err := r.c.ReadFromIP(b)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	a, _ := netip.AddrFromSlice(from.IP)
	return n, netip.AddrPortFrom(a.Unmap(), 0), nil
}

// Write implements Wire.
func (r *raw) Write(b []byte, to netip.AddrPort) error {
	_, err := r.c.WriteToIP(b, &net.IPAddr{IP: to.Addr().AsSlice()})
	return err
}

// InUDP implements Wire.
func (r *raw) InUDP() bool { return false }

// Local implements Wire.
func (r *raw) Local() netip.Addr { return r.local }

// Close implements Wire.
func (r *raw) Close() error { return r.c.Close() }

// UDPConn is what Encapsulation needs of a socket; *net.UDPConn has it.
type UDPConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// Encapsulation makes a wire of a UDP socket: ESP in UDP (RFC 3948, TS 33.203 Annex M), at a P-CSCF on port 4500. It needs no privilege.
// local is our address if the socket is bound to none.
func Encapsulation(c UDPConn, local netip.Addr) Wire {
	if u, ok := c.LocalAddr().(*net.UDPAddr); ok && !local.IsValid() {
		local = u.AddrPort().Addr()
	}
	return &encapsulation{newInbox(c), c, local.Unmap()}
}

type encapsulation struct {
	*inbox
	c     UDPConn
	local netip.Addr
}

// Read implements Wire.
func (e *encapsulation) Read(b []byte) (int, netip.AddrPort, error) {
	if e.inbox != nil {
		packet, from, err := e.take()
		return copy(b, packet), from, err
	}
	n, from, err := e.c.ReadFromUDPAddrPort(b)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// Write implements Wire.
func (e *encapsulation) Write(b []byte, to netip.AddrPort) error {
	_, err := e.c.WriteToUDPAddrPort(b, to)
	return err
}

// InUDP implements Wire.
func (e *encapsulation) InUDP() bool { return true }

// Local implements Wire.
func (e *encapsulation) Local() netip.Addr { return e.local }

// Close implements Wire.
func (e *encapsulation) Close() error { return e.c.Close() }
