package esp

import (
	"net"
	"net/netip"
)

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
	return &raw{c, local.Unmap()}
}

type raw struct {
	c     *net.IPConn
	local netip.Addr
}

// Read implements Wire. The header of IPv4 is taken off by package net; IPv6 gives none.
func (r *raw) Read(b []byte) (int, netip.AddrPort, error) {
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
	return &encapsulation{c, local.Unmap()}
}

type encapsulation struct {
	c     UDPConn
	local netip.Addr
}

// Read implements Wire.
func (e *encapsulation) Read(b []byte) (int, netip.AddrPort, error) {
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
