package rtpport

import (
	"net"
	"net/netip"
)

// packetReader reads and writes with netip addresses, so that a packet of a UDP socket costs no allocation.
type packetReader interface {
	read(b []byte) (n int, from netip.AddrPort, err error)
	write(b []byte, to netip.AddrPort) error
}

func newPacketReader(c net.PacketConn) packetReader {
	if u, ok := c.(*net.UDPConn); ok {
		return udpSocket{u}
	}
	return anySocket{c}
}

type udpSocket struct{ c *net.UDPConn }

func (s udpSocket) read(b []byte) (int, netip.AddrPort, error) {
	n, from, err := s.c.ReadFromUDPAddrPort(b)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

func (s udpSocket) write(b []byte, to netip.AddrPort) error {
	_, err := s.c.WriteToUDPAddrPort(b, to)
	return err
}

type anySocket struct{ c net.PacketConn }

func (s anySocket) read(b []byte) (int, netip.AddrPort, error) {
	n, from, err := s.c.ReadFrom(b)
	return n, addrPort(from), err
}

func (s anySocket) write(b []byte, to netip.AddrPort) error {
	_, err := s.c.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

// ownersSocket is that of a leg's owner, who reads it.
type ownersSocket func(b []byte, to netip.AddrPort) error

func (s ownersSocket) read([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, net.ErrClosed
}

func (s ownersSocket) write(b []byte, to netip.AddrPort) error { return s(b, to) }

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch v := a.(type) {
	case nil:
		return ap
	case *net.UDPAddr:
		ap = v.AddrPort()
	default:
		ap, _ = netip.ParseAddrPort(a.String()) // an address we cannot read is no address: it matches nobody
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
