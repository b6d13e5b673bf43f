package siptransport

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"imsafe/proto/mmsg"
)

// newPacketIO chooses the packetIO of d's socket: batches where the socket and the system know them.
func newPacketIO(d *Datagrams) packetIO {
	if _, ok := d.pc.(*net.UDPConn); ok {
		if out, ok := mmsg.NewWriter(d.pc, d.o.Batch); ok {
			return &batchIO{d: d, out: out}
		}
	}
	return newSingleIO(d)
}

// batchIO is packetIO for a UDP socket. Each batch has a reader of its own.
type batchIO struct {
	d   *Datagrams
	out *mmsg.Writer
}

func (m *batchIO) prepare(b *batch) {
	b.in, _ = mmsg.NewReader(m.d.pc, b.bufs) // it has one where it has a Writer
	if m.d.waits != nil {
		b.in.Stamp()
	}
}

func (m *batchIO) read(b *batch) error {
	n, err := b.in.Read()
	if err != nil {
		return err
	}
	b.fill(n, func(i int) (int, netip.AddrPort, bool) { return b.in.Size(i), b.in.From(i), b.in.Cut(i) })
	b.came = b.in.Came()
	return nil
}

func (m *batchIO) write(g *gathered) {
	for sent := 0; sent < g.len(); {
		n := min(m.out.Room(), g.len()-sent)
		for i := range n {
			m.out.Set(i, g.at(sent+i), g.peers[sent+i])
		}
		m.send(g, sent, n)
		sent += n
	}
}

// send gives n datagrams of g to the kernel. One that the kernel refuses is skipped; if the socket's buffer is full the rest is dropped:
// UDP may lose, a shard may not wait.
func (m *batchIO) send(g *gathered, first, n int) {
	c := m.d.n
	for next := 0; next < n; {
		sent, err := m.out.Send(next, n)
		c.WriteCalls.Add(1)
		octets := 0
		for i := range sent {
			octets += len(g.at(first + next + i))
		}
		next += sent
		c.PacketsOut.Add(uint64(sent))
		c.OctetsOut.Add(uint64(octets))
		switch {
		case err == nil:
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS):
			c.SendDropped.Add(uint64(n - next))
			return
		default:
			c.SendErrors.Add(1)
			next++
		}
	}
}

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

func (s *singleIO) prepare(*batch) {}

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
