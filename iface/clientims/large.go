package clientims

import (
	"net/netip"
	"time"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// streams carries requests that are too large for a datagram to clients that registered over packets (RFC 3261 18.1.1).
// It belongs to the shard of its Port.
type streams struct {
	port *Port // of the stream profile that such connections belong to
	dial func(peer netip.AddrPort) siptransport.Flow
	open map[netip.AddrPort]siptransport.Flow
	deaf map[netip.AddrPort]time.Duration // clients that took no stream, and until when they are not asked again
}

const (
	deafFor = 10 * time.Minute
	maxDeaf = 1 << 16 // beyond, all are asked again
)

// LargeBy tells a packet port how to reach a client over a stream, and which port of the stream profile the connection
// belongs to. Before the node runs.
func (p *Port) LargeBy(companion *Port, dial func(peer netip.AddrPort) siptransport.Flow) {
	p.large = &streams{port: companion, dial: dial, open: map[netip.AddrPort]siptransport.Flow{}, deaf: map[netip.AddrPort]time.Duration{}}
	companion.large = p.large
}

// send sends a large request over a stream. A client that accepts none gets it as a datagram after all: RFC 3261 18.1.1
// asks for that when the connection cannot be made.
func (s *streams) send(x *hop.Exchange, p *Port, a association, in hop.Inbound) hop.Reply {
	if s.deaf[a.flow.Peer] > x.Task().Now() {
		return p.transact(x, a, in)
	}
	again := in
	again.Msg = in.Msg.Clone()
	ack := in.Msg.Method() == sip.ACK // nobody can tell whether it arrived
	flow, standing := s.open[a.flow.Peer]
	if !standing {
		flow = s.dial(a.flow.Peer)
		s.open[a.flow.Peer] = flow
	}
	r, reached := x.TryTransact(s.port.layer, flow, in, []byte(s.port.access.SentBy), s.port.admitsResponse(&a))
	if reached || ack {
		again.Msg.Release()
		return r
	}
	r.Msg.Release()
	delete(s.open, a.flow.Peer)
	if len(s.deaf) >= maxDeaf {
		clear(s.deaf)
	}
	s.deaf[a.flow.Peer] = x.Task().Now() + deafFor
	return p.transact(x, a, again)
}

// closed forgets a connection that has ended.
func (s *streams) closed(f siptransport.Flow) {
	if s != nil && s.open[f.Peer] == f {
		delete(s.open, f.Peer)
	}
}
