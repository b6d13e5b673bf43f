package rtpport

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Port is a socket that several legs share: the answers of a forked call lead to several far ends, each with keys of its own, and all of
// them send to the one address that was offered (RFC 3264 5.1). Which leg a datagram is for is told by its source, which is compared and
// never learned.
//
// In front what each packet asks of a port that a poller reads, in one line of the processor's cache.
type Port struct {
	only       atomic.Pointer[Leg] // of legs, if there is one
	descriptor descriptor

	beside   *Port   // by which the packets of this port leave, as was seen once; the thread's, who fetches its memory in advance
	room     *room   // the reader's
	thread   *thread // which is a poller's; nil: Serve reads
	failures int     // in a row; the reader's
	wire     packetReader
	local    netip.AddrPort
	mu       sync.Mutex // guards changes of legs
	legs     atomic.Pointer[[]*Leg]
	closed   atomic.Bool
	conn     net.PacketConn
	_        [16]byte // a multiple of a line
}

// NewPort makes a port of a socket, which it owns from now on. Serve reads it; Poller.NewPort makes one that is
// read with others.
func NewPort(conn net.PacketConn) *Port {
	return &Port{conn: conn, wire: newPacketReader(conn), local: addrPort(conn.LocalAddr())}
}

// Local is the address of the socket.
func (p *Port) Local() netip.AddrPort { return p.local }

// Send writes a datagram: it is Config.Send of the legs. Safe for concurrent use.
func (p *Port) Send(b []byte, to netip.AddrPort) error { return p.write(b, to) }

// write and read make a port the wire of its legs, which do not read it.
func (p *Port) write(b []byte, to netip.AddrPort) error {
	if p.thread != nil {
		return p.leave(b, to)
	}
	return p.wire.write(b, to)
}

func (p *Port) read([]byte) (int, netip.AddrPort, error) { return 0, netip.AddrPort{}, net.ErrClosed }

// Add lets a leg, made with Send, get what comes.
func (p *Port) Add(l *Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listen(append(p.all(), l))
}

// Remove takes a leg off.
func (p *Port) Remove(l *Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listen(slices.DeleteFunc(p.all(), func(x *Leg) bool { return x == l }))
}

// listen changes the legs, which is a new list each time: the reader may look at the one of before. p.mu is held.
func (p *Port) listen(all []*Leg) {
	p.only.Store(nil)
	p.legs.Store(&all)
	if len(all) == 1 {
		p.only.Store(all[0])
	}
}

// all returns a copy.
func (p *Port) all() []*Leg {
	if all := p.legs.Load(); all != nil {
		return slices.Clone(*all)
	}
	return nil
}

// Serve reads until the port is closed (nil) or the socket fails. It is for ports of NewPort: others are read by their poller. One goroutine, one buffer, no allocation per packet.
func (p *Port) Serve() error {
	b := make([]byte, maxPacket)
	p.room = newRoom()
	for failed := 0; ; {
		n, from, err := p.wire.read(b)
		switch {
		case err == nil:
			failed = 0
			p.deliver(b[:n], from)
		case p.closed.Load() || errors.Is(err, net.ErrClosed):
			return nil
		case failed > maxFailures:
			return err
		default:
			failed++ // an unreachable peer, told by ICMP, passes
		}
	}
}

// maxFailures in a row are more than peers cause.
const maxFailures = 1000

// deliver finds the leg for a source. Where there is none the first leg counts the stranger.
func (p *Port) deliver(b []byte, from netip.AddrPort) {
	l := p.only.Load()
	if l == nil {
		if l = p.legOf(from); l == nil {
			return
		}
	}
	l.rx.room = p.room
	l.packet(b, from)
}

// legOf is for ports with several legs.
func (p *Port) legOf(from netip.AddrPort) *Leg {
	all := p.legs.Load()
	if all == nil || len(*all) == 0 {
		return nil
	}
	for _, l := range *all {
		if l.peer() == from {
			return l
		}
	}
	return (*all)[0]
}

// peer is the agreed address of a leg, zero before Start.
func (l *Leg) peer() netip.AddrPort {
	if !l.state.is(started) {
		return netip.AddrPort{}
	}
	return l.address()
}

// Close closes the socket, which ends Serve. The legs are their owner's. Twice is harmless.
func (p *Port) Close() {
	switch {
	case p.closed.Swap(true):
	case p.thread != nil:
		p.thread.remove(p)
		_ = p.descriptor.close()
	default:
		_ = p.conn.Close() // nothing is left to do about its error
	}
}
