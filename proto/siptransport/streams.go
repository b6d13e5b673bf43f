package siptransport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// draining is how long ServeListener lets connections write what they hold when its context has ended.
const draining = 2 * time.Second

// Streams accepts and dials stream connections under one set of bounds. Safe for concurrent use.
type Streams struct {
	o        Options
	n        *Counters
	framing  *sip.Pool // memory of the framers
	outbufs  outbufs
	inbounds sync.Pool // *inbound
	deferred sync.Pool // *deferred

	mu         sync.Mutex // guards what follows
	conns      map[*Conn]struct{}
	sources    map[netip.Prefix]int // accepted connections by source
	handshakes int                  // accepted connections whose handshake is not done
	closed     bool
	running    sync.WaitGroup // goroutines of connections; Add only while !closed
}

// NewStreams makes a Streams without connections. End it with Close.
func NewStreams(o Options) *Streams {
	o = o.withDefaults()
	if o.Proto == "" {
		o.Proto = "TCP"
		if o.TLS != nil {
			o.Proto = "TLS"
		}
	}
	return &Streams{o: o, n: o.Counters, framing: sip.NewPool(o.Framing), conns: make(map[*Conn]struct{}), sources: make(map[netip.Prefix]int)}
}

// ServeListener is NewStreams and Serve in one. When ctx has ended it closes all connections and returns when they are gone.
func ServeListener(ctx context.Context, shards []*shard.Shard, ln net.Listener, r func(*shard.Shard) Receiver, o Options) error {
	s := NewStreams(o)
	err := s.Serve(ctx, shards, ln, r)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), draining)
	defer cancel()
	return errors.Join(err, s.Close(drain))
}

// Dial is NewStreams and Streams.Dial in one, for a client with one connection; Conn.Close ends it.
func Dial(ctx context.Context, sh *shard.Shard, peer netip.AddrPort, r Receiver, o Options) Flow {
	return NewStreams(o).Dial(ctx, sh, peer, r)
}

// Serve accepts connections of ln until ctx ends or ln is closed, and gives each to the next of shards in turn; r is asked once per
// shard. ln is a plain listener: TLS is Options.TLS. It closes ln and returns nil in these two cases. Connections live on.
func (s *Streams) Serve(ctx context.Context, shards []*shard.Shard, ln net.Listener, r func(*shard.Shard) Receiver) error {
	receivers := make([]Receiver, len(shards))
	for i, sh := range shards {
		receivers[i] = r(sh)
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer func() {
		stop()
		_ = ln.Close()
	}()
	wait := time.Duration(0)
	for i := 0; ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
			s.accept(nc, shards[i], receivers[i])
			i = (i + 1) % len(shards)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default: // no descriptors left, or the peer was gone at once: the listener is still good
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
}

// accept admits one connection or closes it; nothing is allocated before it is admitted.
func (s *Streams) accept(nc net.Conn, sh *shard.Shard, r Receiver) {
	peer := addrPort(nc.RemoteAddr())
	if s.o.Admit != nil && !s.o.Admit(peer) {
		s.n.RefusedAdmit.Add(1)
		_ = nc.Close()
		return
	}
	if c := s.add(nc, sh, peer, r); c != nil {
		go c.run(context.Background())
		return
	}
	_ = nc.Close()
}

// Proven takes the connection out of those that Options.MaxPerSource bounds: its peer has shown who he is, so it is known whose it is and there may be many of
// them behind one address. Any goroutine; once or more.
func (c *Conn) Proven() {
	c.s.mu.Lock()
	c.s.uncount(c)
	c.s.mu.Unlock()
}

// Dial opens a connection to peer and returns its flow at once; what is sent before it stands waits (bounded by MaxQueue). ctx
// bounds the connecting. Receiver.Opened follows, or Receiver.Closed if it fails. With Options.TLS the peer is
// authenticated as that says; nothing leaves before.
func (s *Streams) Dial(ctx context.Context, sh *shard.Shard, peer netip.AddrPort, r Receiver) Flow {
	return s.DialBy(ctx, sh, peer, r, func(ctx context.Context) (net.Conn, error) { return s.o.Dialer(ctx, peer) })
}

// DialBy is Dial over a connection that open makes, instead of Options.Dialer: where the peer's address does not say all, as with a security
// association.
func (s *Streams) DialBy(ctx context.Context, sh *shard.Shard, peer netip.AddrPort, r Receiver, open func(context.Context) (net.Conn, error)) Flow {
	c := s.add(nil, sh, peer, r)
	if c == nil {
		// The flow is dead from the start: SendTo says ErrClosed, and the receiver hears the reason.
		c = &Conn{s: s, sh: sh, r: r, peer: peer, dialled: true, proto: s.o.Proto, err: ErrLimit, dead: true}
		sh.Post(&notice{c: c, err: ErrLimit})
		return c.Flow()
	}
	c.dialer = open
	go c.run(ctx)
	return c.Flow()
}

// add makes a connection within the bounds, or nil. nc is nil if it is to be dialled.
func (s *Streams) add(nc net.Conn, sh *shard.Shard, peer netip.AddrPort, r Receiver) *Conn {
	source := sourceOf(peer.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil
	case len(s.conns) >= s.o.MaxConns:
		s.n.RefusedTotal.Add(1)
		return nil
	case nc == nil:
	case s.sources[source] >= s.o.MaxPerSource && s.sheds(peer, ErrLimit):
		s.n.RefusedSource.Add(1)
		return nil
	case s.o.TLS != nil && s.handshakes >= s.o.MaxHandshakes:
		s.n.RefusedHandshakes.Add(1)
		return nil
	}
	c := &Conn{s: s, sh: sh, r: r, peer: peer, nc: nc, dialled: nc == nil, proto: s.o.Proto, framer: s.framing.NewFramer()}
	if s.o.Doubt != nil {
		c.framer.SetDoubter(c)
	}
	if nc != nil {
		c.source = source
		s.sources[source]++
		s.handshakes++
	}
	s.conns[c] = struct{}{}
	s.n.Conns.Add(1)
	s.running.Add(1)
	return c
}

// sheds reports whether a connection ends for a reason.
func (s *Streams) sheds(peer netip.AddrPort, why error) bool {
	return s.o.Shed == nil || s.o.Shed(peer, why)
}

// established says that the handshake of an accepted connection has ended, well or not.
func (s *Streams) established() {
	s.mu.Lock()
	s.handshakes--
	s.mu.Unlock()
}

// remove forgets a connection that has ended.
func (s *Streams) remove(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.uncount(c)
	s.mu.Unlock()
	s.n.Conns.Add(-1)
	s.running.Done()
}

// uncount takes an accepted connection out of those of its source, once. s.mu is held.
func (s *Streams) uncount(c *Conn) {
	if c.dialled || c.proven {
		return
	}
	c.proven = true
	if s.sources[c.source]--; s.sources[c.source] == 0 {
		delete(s.sources, c.source)
	}
}

// Close ends all connections and refuses new ones: what is gathered may still be written until ctx ends, but for a connection that is still
// dialled. It returns when all
// goroutines are gone, with ctx.Err() if connections had to be cut off.
func (s *Streams) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	all := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.shut()
	}
	gone := make(chan struct{})
	go func() {
		s.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	for _, c := range all {
		c.mu.Lock()
		c.kill(ErrClosed, &s.n.ClosedLocal)
		c.mu.Unlock()
	}
	<-gone
	return ctx.Err()
}

// sourceOf is the prefix by which connections are counted: one IPv4 address, or one IPv6 /64, since a host has a whole one.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero Prefix for a peer without an IP address: all of those share one budget
	return p
}
