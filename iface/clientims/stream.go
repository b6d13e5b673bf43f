package clientims

import (
	"bytes"
	"net/netip"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/proto/esp"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
)

// sealedStreams are the TCP connections that we opened towards clients, from the protected client port to theirs: one for each set
// (TS 33.203 7.1). Safe for concurrent use.
type sealedStreams struct {
	dial Dial

	mu   sync.Mutex
	open map[esp.Ref]siptransport.Flow
	of   map[siptransport.Flow]*sealedStream
}

// sealedStream is one of them.
type sealedStream struct {
	ref    esp.Ref
	owner  secure.Association
	opened bool
}

// Dial opens a TCP connection to a client over the associations of ref, for a port, and returns its flow at once
// (siptransport.Streams.DialBy).
type Dial func(ref esp.Ref, client netip.AddrPort, to *Port) siptransport.Flow

// DialBy tells how connections to clients are opened. Before the node runs.
func (g *Gm) DialBy(dial Dial) { g.streams.dial = dial }

// get returns the connection of s, and opens one if there is none.
func (x *sealedStreams) get(s *set, to *Port) siptransport.Flow {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f, standing := x.open[s.ref]; standing {
		return f
	}
	f := x.dial(s.ref, s.client, to)
	if x.open == nil {
		x.open, x.of = map[esp.Ref]siptransport.Flow{}, map[siptransport.Flow]*sealedStream{}
	}
	x.open[s.ref], x.of[f] = f, &sealedStream{ref: s.ref, owner: s.owner}
	return f
}

// opened notes that the client took the connection.
func (x *sealedStreams) opened(f siptransport.Flow) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if of := x.of[f]; of != nil {
		of.opened = true
	}
}

// closed forgets a connection that has ended. deaf is the client that never took it, if it is one of those, and by what.
func (x *sealedStreams) closed(f siptransport.Flow) (deaf secure.Association, by esp.Ref) {
	x.mu.Lock()
	defer x.mu.Unlock()
	of := x.of[f]
	if of == nil {
		return deaf, by
	}
	delete(x.of, f)
	if x.open[of.ref] == f {
		delete(x.open, of.ref)
	}
	if !of.opened {
		deaf = of.owner
	}
	return deaf, of.ref
}

// deaf notes that a client takes no connections: it is not asked again for a while. One by its former set says nothing of it: it may have given
// that up.
func (t *associations) deaf(ref secure.Association, by esp.Ref) {
	t.change(ref, func(_ *association, sa *security) {
		if sa.find(by) == current {
			sa.deafUntil = t.now() + deafFor
		}
	})
}

// wantsStream reports whether a request goes over a connection: the client says so in its contact, its last REGISTER came by one and its
// contact says nothing else, or the request is too large for a datagram (RFC 3261 18.1.1).
func (g *Gm) wantsStream(sa *security, m *sip.Message, now time.Duration) bool {
	if now < sa.deafUntil {
		return false
	}
	if siptxn.MustStream(m.Size()+siptxn.ViaRoom, 0) {
		return true
	}
	uri, err := sip.ParseURI(m.RequestURI())
	if err != nil {
		return false
	}
	if transport, says := uri.Param("transport"); says {
		return bytes.EqualFold(transport, []byte("tcp"))
	}
	return sa.byStream
}

// overStream sends a request over the connection of s. A client that takes none gets a datagram after all.
func (p *Port) overStream(x *hop.Exchange, a association, s *set, in hop.Inbound) hop.Reply {
	g := a.access.gm
	again := in
	again.Msg = in.Msg.Clone()
	ack := in.Msg.Method() == sip.ACK // nobody can tell whether it arrived
	flow := g.streams.get(s, g.sealed.ports[a.ref.Shard])
	r, reached := x.TryTransact(p.layer, flow, in, []byte(a.access.SentBy), p.admitsResponse(&a))
	if reached || ack {
		again.Msg.Release()
		return r
	}
	r.Msg.Release()
	return x.Transact(p.layer, a.sa.flowBy(s), again, []byte(a.access.SentBy), p.admitsResponse(&a))
}

// instead is the way of an answer to a client whose connection has closed (RFC 3261 18.2.2): a connection of ours to its protected server port, by the security
// associations that the request came by, or, where those were renewed meanwhile, by those that it is reached by. Where they have gone there is none: an answer
// leaves to nobody else, and never in clear (TS 33.203 7.1).
func (p *Port) instead(closed siptransport.Flow) (siptransport.Flow, bool) {
	stream, _ := closed.Via.(carried)
	if stream == nil {
		return siptransport.Flow{}, false
	}
	c, sealed := stream.NetConn().(agreedConn)
	if !sealed {
		return siptransport.Flow{}, false
	}
	ref, owner, _ := c.Agreement()
	a, known := p.door.lookup(secure.Association(owner))
	now := p.table.now()
	if !known || a.sa == nil || a.sa.gm.streams.dial == nil || now < a.sa.deafUntil {
		return siptransport.Flow{}, false
	}
	by := a.sa.route(now)
	if at := a.sa.find(ref); at >= 0 {
		by = a.sa.sets[at].set
	}
	if by == nil {
		return siptransport.Flow{}, false
	}
	g := a.sa.gm
	return g.streams.get(by, g.sealed.ports[a.ref.Shard]), true
}
