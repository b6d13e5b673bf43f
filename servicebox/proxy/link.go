package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/servicebox/link"
)

// Core is the way to the core: it keeps a connection that has proven the platform until ctx ends, and tells p of it and of what arrives, on
// the shard (a link.Dialer).
type Core interface {
	Run(ctx context.Context, sh *shard.Shard, p link.Pipe)
}

// Counters are what happened. Safe for concurrent use.
type Counters struct {
	ToServer    atomic.Uint64 // messages that went on
	ToCore      atomic.Uint64
	Strangers   atomic.Uint64 // datagrams from another address than the server's
	NotSIP      atomic.Uint64 // messages that cannot be read
	Refused     atomic.Uint64 // requests that were answered here
	Dropped     atomic.Uint64 // responses and ACKs that lead nowhere
	Unreachable atomic.Uint64 // messages for a core that is not connected, or that could not be sent
}

// Proxy carries messages between core and server. All but Counters is on its shard.
type Proxy struct {
	t      *Translator
	pool   *sip.Pool
	shard  *shard.Shard
	socket *siptransport.Datagrams
	core   siptransport.Flow // zero while there is no connection
	out    []byte            // the message that is being sent

	Counters Counters
}

// NewProxy makes a proxy that meets the server on socket, whose address is c.Local.
func NewProxy(c Config, clock shard.Clock, socket net.PacketConn) *Proxy {
	p := &Proxy{t: New(c), pool: sip.NewPool(sip.Limits{}), shard: shard.New(shard.Config{Clock: clock})}
	p.socket = siptransport.NewDatagrams(p.shard, socket, siptransport.Options{})
	return p
}

// Run works until ctx ends, and returns an error if the socket breaks before.
func (p *Proxy) Run(ctx context.Context, core Core) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		core.Run(ctx, p.shard, (*coreSide)(p))
	}()
	go func() { stop(p.socket.Serve(ctx, (*serverSide)(p))) }()
	err := p.shard.Run(ctx)
	<-ended
	p.shard.Close()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// coreSide hears the core.
type coreSide Proxy

var _ link.Pipe = (*coreSide)(nil)

// Opened implements link.Pipe.
func (c *coreSide) Opened(f siptransport.Flow) { c.core = f }

// Closed implements link.Pipe.
func (c *coreSide) Closed(f siptransport.Flow) {
	if c.core == f {
		c.core = siptransport.Flow{}
	}
}

// Packet implements link.Pipe.
func (c *coreSide) Packet(f siptransport.Flow, data []byte) {
	p := (*Proxy)(c)
	p.carry(f, data, p.t.ToServer, p.socket.Flow(p.t.c.Server), &p.Counters.ToServer)
}

// serverSide hears the server.
type serverSide Proxy

var _ siptransport.Receiver = (*serverSide)(nil)

// Opened implements siptransport.Receiver; a packet socket opens nothing.
func (s *serverSide) Opened(siptransport.Flow, *tls.ConnectionState) {}

// Closed implements siptransport.Receiver.
func (s *serverSide) Closed(siptransport.Flow, error) {}

// Packet implements siptransport.Receiver. Whoever is not the server is not heard.
func (s *serverSide) Packet(f siptransport.Flow, data []byte) {
	p := (*Proxy)(s)
	if f.Peer != p.t.c.Server {
		p.Counters.Strangers.Add(1)
		return
	}
	p.carry(f, data, p.t.ToCore, p.core, &p.Counters.ToCore)
}

// carry translates a message and sends it on. What cannot go on is answered where it came from.
func (p *Proxy) carry(from siptransport.Flow, data []byte, translate func(*sip.Message) error, to siptransport.Flow, sent *atomic.Uint64) {
	m, err := p.pool.Parse(data)
	if err != nil {
		p.Counters.NotSIP.Add(1)
		return
	}
	defer m.Release()
	if r := sip.Validate(m); r != nil {
		p.refuse(from, m, r.Status, r.Reason)
		return
	}
	if hops, present := m.MaxForwards(); m.IsRequest() && present { // RFC 3261 16.3, 16.6
		if hops == 0 {
			p.refuse(from, m, 483, "")
			return
		}
		m.SetUint(sip.HdrMaxForwards, uint64(hops-1))
	}
	switch err := translate(m); {
	case err != nil:
		p.refuse(from, m, 400, "")
	case to.IsZero():
		p.Counters.Unreachable.Add(1)
		p.refuse(from, m, 503, "")
	default:
		p.out = m.AppendTo(p.out[:0])
		if to.Send(p.out) != nil {
			p.Counters.Unreachable.Add(1)
			return
		}
		sent.Add(1)
	}
}

// refuse answers a request; a response, an ACK and a request without an answer are dropped.
func (p *Proxy) refuse(from siptransport.Flow, m *sip.Message, status int, reason string) {
	if !m.IsRequest() || m.Method() == sip.ACK || status == 0 || from.IsZero() {
		p.Counters.Dropped.Add(1)
		return
	}
	p.Counters.Refused.Add(1)
	r := p.pool.NewResponse(m, status, reason)
	defer r.Release()
	p.out = r.AppendTo(p.out[:0])
	_ = from.Send(p.out) // who cannot be told asks again
}
