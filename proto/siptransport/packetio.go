package siptransport

import (
	"net"
	"net/netip"
)

// addrPortConn is what *net.UDPConn offers besides net.PacketConn, and any other conn may: addresses without allocation.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
}

// singleIO is packetIO for a conn that knows no batches.
type singleIO struct {
	d  *Datagrams
	ap addrPortConn // nil if the conn is a net.PacketConn only
}

func (s *singleIO) read(b *batch) (err error) {
	var n int
	var from netip.AddrPort
	if s.ap != nil {
		n, from, err = s.ap.ReadFromUDPAddrPort(b.bufs[0])
	} else {
		var a net.Addr
		if n, a, err = s.d.pc.ReadFrom(b.bufs[0]); err == nil {
			from = addrPort(a)
		}
	}
	if err != nil {
		return err
	}
	b.fill(1, func(int) (int, netip.AddrPort, bool) {
		return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), false
	})
	return nil
}

func (s *singleIO) stamp() {}

func (s *singleIO) write(g *gathered) {
	for i := range g.len() {
		var err error
		if s.ap != nil {
			_, err = s.ap.WriteToUDPAddrPort(g.at(i), g.peers[i])
		} else {
			_, err = s.d.pc.WriteTo(g.at(i), net.UDPAddrFromAddrPort(g.peers[i]))
		}
		s.d.n.WriteCalls.Add(1)
		if err != nil {
			s.d.n.SendErrors.Add(1)
			continue
		}
		s.d.n.PacketsOut.Add(1)
		s.d.n.OctetsOut.Add(uint64(len(g.at(i))))
	}
}

// newSingleIO makes the packetIO of any conn.
func newSingleIO(d *Datagrams) packetIO {
	ap, _ := d.pc.(addrPortConn)
	return &singleIO{d: d, ap: ap}
}
