package xfrm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"imsafe/proto/esp"
)

// PortsConfig are the sockets of the protected ports at one address; each was made with Require.
type PortsConfig struct {
	UDP    []*net.UDPConn // one for each protected port
	Server net.Listener   // TCP on the protected server port
	// Dial opens a TCP connection from a protected client port.
	Dial func(ctx context.Context, here, there netip.AddrPort) (net.Conn, error)
	// Datagram gets what comes; it is lent. One goroutine for each socket calls it.
	Datagram func(*esp.Datagram)
	Shards   int
	Pause    func(context.Context) // between two tries, where there are no descriptors left
}

// Ports are the protected ports of one address. Make it with Engine.Open, run it with Run.
type Ports struct {
	e         *Engine
	cfg       PortsConfig
	udp       map[uint16]*sender
	listeners []*listener // by shard
	once      sync.Once
}

// Open makes the protected ports of one address of sockets.
func (e *Engine) Open(cfg PortsConfig) (*Ports, error) {
	p := &Ports{e: e, cfg: cfg, udp: map[uint16]*sender{}}
	for _, c := range cfg.UDP {
		s, err := newSender(c)
		if err != nil {
			return nil, err
		}
		p.udp[addrPortOf(c.LocalAddr()).Port()] = s
	}
	for range cfg.Shards {
		p.listeners = append(p.listeners, &listener{p: p, queue: make(chan *Conn, backlog), done: make(chan struct{})})
	}
	return p, nil
}

// Send sends payload as a UDP datagram from our port side of r. Without associations it does not leave: the error is esp.ErrGone, or what the
// kernel says. It never waits. Safe for concurrent use.
func (p *Ports) Send(r esp.Ref, side esp.Side, payload []byte) error {
	way, ok := p.e.Path(r, side)
	if !ok {
		return esp.ErrGone
	}
	s := p.udp[way.Local.Port()]
	if s == nil || way.InUDP {
		return ErrNoSocket
	}
	if err := s.send(payload, way.Peer); err != nil {
		p.e.n.SendErrors.Add(1)
		return err
	}
	p.e.n.Sent.Add(1)
	return nil
}

// Run reads the sockets until ctx ends, and closes them.
func (p *Ports) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	defer p.Close()
	var all sync.WaitGroup
	failed := make(chan error, len(p.cfg.UDP)+1)
	for _, c := range p.cfg.UDP {
		all.Go(func() { failed <- p.read(ctx, c) })
	}
	if p.cfg.Server != nil {
		all.Go(func() { failed <- p.accept(ctx) })
	}
	err := <-failed
	p.Close()
	all.Wait()
	return err
}

// Close closes the sockets.
func (p *Ports) Close() {
	p.once.Do(func() {
		for _, c := range p.cfg.UDP {
			_ = c.Close()
		}
		if p.cfg.Server != nil {
			_ = p.cfg.Server.Close()
		}
	})
}

// over reports whether err means that the sockets were closed.
func over(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, net.ErrClosed)
}

// read takes datagrams to the agreement between their ports: there is one, for the kernel let nothing through that was not in its ESP.
func (p *Ports) read(ctx context.Context, c *net.UDPConn) error {
	buf := make([]byte, 65536)
	here := addrPortOf(c.LocalAddr())
	for failures := 0; ; {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			failures = 0
			p.datagram(here, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n])
		case over(ctx, err):
			return nil
		default:
			if failures++; failures > 64 { // ICMP puts errors on a socket one at a time
				return err
			}
		}
	}
}

func (p *Ports) datagram(here, from netip.AddrPort, payload []byte) {
	c, side := p.e.between(here, from)
	if c == nil {
		p.e.n.Stray.Add(1)
		return
	}
	p.e.n.Received.Add(1)
	const udp = 17
	p.cfg.Datagram(&esp.Datagram{Agreement: c.ref, Owner: c.owner, Side: side, Protocol: udp, Peer: from, Local: here, Payload: payload})
}

// addrPortOf is an address of package net as netip has it.
func addrPortOf(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		at = a.AddrPort()
	case *net.TCPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
