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
type Port struct {
	conn  net.PacketConn
	wire  packetReader
	local netip.AddrPort

	mu     sync.Mutex // guards changes of legs
	legs   atomic.Pointer[listeners]
	closed atomic.Bool
	plain  []byte // the reader's: where packets of all its legs are opened

	descriptor *descriptor // of a port that a poller reads, with the thread that does
	thread     *thread
	failures   int // in a row; the thread's
}

// NewPort makes a port of a socket, which it owns from now on. Serve reads it; Poller.NewPort makes one that is
// read with others.
func NewPort(conn net.PacketConn) *Port {
	return &Port{conn: conn, wire: newPacketReader(conn), local: addrPort(conn.LocalAddr())}
}

// Local is the address of the socket.
func (p *Port) Local() netip.AddrPort { return p.local }

// Send writes a datagram: it is Config.Send of the legs. Safe for concurrent use.
func (p *Port) Send(b []byte, to netip.AddrPort) error { return p.wire.write(b, to) }

// Add lets a leg, made with Send, get what comes.
func (p *Port) Add(l *Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.legs.Store(listen(append(p.legs.Load().all(), l)))
}

// Remove takes a leg off.
func (p *Port) Remove(l *Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.legs.Store(listen(slices.DeleteFunc(p.legs.Load().all(), func(x *Leg) bool { return x == l })))
}

// listeners are the legs of a port, of which there is seldom more than one. They do not change; nil are none.
type listeners struct {
	first *Leg
	more  []*Leg
}

func listen(all []*Leg) *listeners {
	if len(all) == 0 {
		return nil
	}
	return &listeners{all[0], all[1:]}
}

// all returns a copy.
func (s *listeners) all() []*Leg {
	if s == nil {
		return nil
	}
	return append([]*Leg{s.first}, s.more...)
}

// Serve reads until the port is closed (nil) or the socket fails. It is for ports of NewPort: others are read by their poller. One goroutine, one buffer, no allocation per packet.
func (p *Port) Serve() error {
	b := make([]byte, maxPacket)
	p.plain = make([]byte, 0, maxPacket)
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
	legs := p.legs.Load()
	if legs == nil {
		return
	}
	l := legs.first
	if l.peer() != from {
		for _, other := range legs.more {
			if other.peer() == from {
				l = other
				break
			}
		}
	}
	l.rx.plain = p.plain
	l.packet(b, from)
}

// peer is the agreed address of a leg, zero before Start.
func (l *Leg) peer() netip.AddrPort {
	if !l.started.is() {
		return netip.AddrPort{}
	}
	return l.address()
}

// Close closes the socket, which ends Serve. The legs are their owner's. Twice is harmless.
func (p *Port) Close() {
	switch {
	case p.closed.Swap(true):
	case p.descriptor != nil:
		p.thread.remove(p)
		_ = p.descriptor.close()
	default:
		_ = p.conn.Close() // nothing is left to do about its error
	}
}
