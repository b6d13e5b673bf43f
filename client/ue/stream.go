package ue

import (
	"context"
	"net"
	"net/netip"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

// TCP inside the associations: we open connections from the protected client port to the P-CSCF's server port, it opens its own the other
// way (TS 33.203 7.1).

// sentBy is the sent-by of our Via inside the associations, over whatever: the protected server port.
func (s *agreed) sentBy() []byte { return []byte(s.local.String()) }

// flowFor is how a request leaves over a set: as a datagram, or over a connection if it is large (RFC 3261 18.1.1) or all shall.
func (s *associations) flowFor(set *agreed, m *sip.Message) siptransport.Flow {
	if set.deaf || s.u.cfg.Transport != IPsecTCP && !siptxn.MustStream(m.Size()+siptxn.ViaRoom, 0) {
		return set.flow()
	}
	if set.stream.IsZero() {
		set.stream = s.u.path.streams.DialBy(s.u.ctx, s.u.shard, set.peer, &s.u.path, func(ctx context.Context) (net.Conn, error) {
			return s.tcp.Dial(ctx, set.ref)
		})
	}
	return set.stream
}

// listen takes connections to the protected server port. Behind a NAT its address may have changed.
func (s *associations) listen() {
	at := netip.AddrPortFrom(s.public, s.server)
	if s.served == at {
		return
	}
	ln, err := s.tcp.Listen(at)
	if err != nil {
		s.u.log.Warn("no connections inside the associations", "error", err)
		return
	}
	s.served = at
	s.u.wg.Go(func() {
		err := s.u.path.streams.Serve(s.u.ctx, []*shard.Shard{s.u.shard}, ln, func(*shard.Shard) siptransport.Receiver { return &s.u.path })
		if err != nil {
			s.u.log.Warn("connections inside the associations failed", "error", err)
		}
	})
}

// arrived takes what came over a connection. It belongs to one set for as long as it lives.
func (s *associations) arrived(f siptransport.Flow, conn *siptransport.Conn, data []byte) {
	c, sealed := conn.NetConn().(interface {
		Agreement() (esp.Ref, shard.Place, esp.Side)
	})
	if !sealed {
		s.u.refusals.InClear++
		return
	}
	if ref, _, _ := c.Agreement(); s.judge(ref, data) != nil {
		s.u.layer.Input(f, data)
	}
}

// streamClosed forgets a connection of ours that has ended.
func (s *associations) streamClosed(f siptransport.Flow) {
	for _, set := range []*agreed{s.current, s.former, s.fresh} {
		if set != nil && set.stream == f {
			set.stream = siptransport.Flow{}
		}
	}
}

// closeTCP ends all connections. Not on the shard.
func (s *associations) closeTCP() { _ = s.tcp.Close() } // it has no error
