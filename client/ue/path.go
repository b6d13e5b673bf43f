package ue

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

// path is the one way between UE and P-CSCF: one connection, or one UDP socket. There is never a second one beside it; of several P-CSCFs it leads to one.
// It is the Receiver of its transport; everything happens on the shard.
type path struct {
	u       *UE
	streams *siptransport.Streams
	flow    siptransport.Flow
	open    bool
	why     error // of the last close
	waiting []shard.Waker
	ping    shard.Timer
	// what the handshake agreed on, for reports
	protection string
	packets    net.PacketConn
	datagrams  *siptransport.Datagrams // over packets; nil where there is a connection
	edges      []edge                  // the P-CSCFs we know, the preferred one first
	at         int                     // which of them is ours
	deaf       shard.Timer             // runs while a ping has no answer

	clear siptransport.Flow // with IPsec: for REGISTERs that come before there are associations
	sec   *associations     // with IPsec
}

// connecting bounds dialling and handshake together.
const connecting = 15 * time.Second

// pingInterval keeps a NAT binding and finds a dead connection (RFC 5626 4.4.1: 95 to 120 s for streams).
const pingInterval = 110 * time.Second

// pongWithin is how long the answer to a ping may take (RFC 5626 4.4.1).
const pongWithin = 10 * time.Second

func (p *path) init(u *UE) {
	p.u = u
	p.edges = edges(append([]netip.AddrPort{u.cfg.Proxy}, u.cfg.Proxies...))
	o := siptransport.Options{Clock: u.cfg.Clock, Dialer: u.cfg.Dial}
	if u.cfg.Transport == TLS {
		o.TLS = u.tlsConfig()
	}
	p.streams = siptransport.NewStreams(o)
}

// connect makes sure that the path stands. It waits on the task.
func (p *path) connect(t *shard.Task) error {
	if p.open {
		return nil
	}
	switch p.u.cfg.Transport {
	case UDP:
		return p.bind()
	case IPsecUDP, IPsecTCP:
		return p.bindIPsec()
	}
	t.AwaitFor(connecting, func(w shard.Waker) {
		p.waiting = append(p.waiting, w)
		if p.flow.IsZero() {
			p.why = nil
			p.flow = p.streams.Dial(p.u.ctx, p.u.shard, p.proxy(), p)
		}
	})
	if !p.open {
		if p.why == nil {
			return fmt.Errorf("%w: not in %v", ErrConnect, connecting)
		}
		return fmt.Errorf("%w: %w", ErrConnect, p.why)
	}
	return nil
}

// bind opens the UDP socket of the lab profile.
func (p *path) bind() error {
	pc, err := p.u.cfg.ListenPacket(p.u.cfg.Local)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnect, err)
	}
	d := siptransport.NewDatagrams(p.u.shard, pc, siptransport.Options{Clock: p.u.cfg.Clock})
	p.packets, p.datagrams, p.flow, p.open, p.protection = pc, d, d.Flow(p.proxy()), true, "UDP in clear"
	p.u.wg.Go(func() {
		if err := d.Serve(p.u.ctx, p); err != nil {
			p.u.log.Warn("signalling socket failed", "error", err)
		}
	})
	return nil
}

// bindIPsec opens the sockets of a client with security associations. The path is open when there are some.
func (p *path) bindIPsec() error {
	if p.sec != nil {
		return nil
	}
	pc, err := p.u.cfg.ListenPacket(p.u.cfg.Local)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnect, err)
	}
	d := siptransport.NewDatagrams(p.u.shard, pc, siptransport.Options{Clock: p.u.cfg.Clock})
	sec, err := p.u.openAssociations(d.Local().Addr().Unmap())
	if err != nil {
		_ = pc.Close()
		return err
	}
	p.packets, p.datagrams, p.clear, p.sec = pc, d, d.Flow(p.proxy()), sec
	p.u.wg.Go(func() {
		if err := d.Serve(p.u.ctx, p); err != nil {
			p.u.log.Warn("signalling socket failed", "error", err)
		}
	})
	return nil
}

// settle makes the associations of the last authentication the path.
func (p *path) settle() {
	if p.sec == nil {
		return
	}
	p.sec.promote()
	if set := p.sec.current; set != nil {
		p.flow, p.open, p.protection = set.flow(), true, set.protection()
		p.sec.listen()
	}
}

// Packet implements siptransport.Receiver. Datagrams of anybody but the P-CSCF are dropped: a UE is reached through it alone
// (TS 33.203 7.1 rule 5).
func (p *path) Packet(f siptransport.Flow, data []byte) {
	if conn, stream := f.Via.(*siptransport.Conn); stream && p.sec != nil {
		p.sec.arrived(f, conn, data)
		return
	}
	if proxy := p.proxy(); f.Peer.Port() != proxy.Port() || f.Peer.Addr().Unmap() != proxy.Addr().Unmap() {
		p.u.refusals.ForeignSource++
		return
	}
	if p.sec != nil && (p.sec.current != nil || !isResponse(data)) {
		p.u.refusals.InClear++ // who has associations is reached through them alone
		return
	}
	p.u.layer.Input(f, data)
}

// Opened implements siptransport.Receiver.
func (p *path) Opened(f siptransport.Flow, state *tls.ConnectionState) {
	if f != p.flow {
		return
	}
	p.open, p.protection = true, "TCP in clear"
	if state != nil {
		p.protection = tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite)
	}
	p.u.log.Debug("path open", "peer", f.Peer, "protection", p.protection)
	p.wake()
	p.u.shard.Arm(&p.ping, pingInterval, shard.EventFunc(func(*shard.Shard) { p.keepAlive(f) }))
}

// Closed implements siptransport.Receiver.
func (p *path) Closed(f siptransport.Flow, err error) {
	p.u.layer.FlowClosed(f)
	if p.sec != nil {
		p.sec.streamClosed(f)
	}
	if f != p.flow {
		return
	}
	p.u.log.Debug("path closed", "peer", f.Peer, "error", err)
	p.flow, p.open, p.why = siptransport.Flow{}, false, err
	p.u.shard.Disarm(&p.ping)
	p.u.shard.Disarm(&p.deaf)
	p.wake()
	p.u.forsake()
	p.u.reg.pathLost(err)
}

func (p *path) wake() {
	for _, w := range p.waiting {
		w.Wake()
	}
	p.waiting = nil
}

func (p *path) keepAlive(f siptransport.Flow) {
	if f != p.flow || !p.open {
		return
	}
	if err := f.Send([]byte("\r\n\r\n")); err != nil {
		return // Closed follows
	}
	p.listensForPong(f)
	p.u.shard.Arm(&p.ping, pingInterval, shard.EventFunc(func(*shard.Shard) { p.keepAlive(f) }))
}

// drop ends the connection, so that the next one begins with a handshake of its own, or the security associations, and the calls that went over them.
func (p *path) drop() {
	if p.sec != nil {
		p.sec.dropAll()
		p.flow, p.open = siptransport.Flow{}, false
		p.u.forsake()
	}
	if c, ok := p.flow.Via.(*siptransport.Conn); ok {
		c.Close()
	}
}

// close ends the sockets. Not on the shard.
func (p *path) close() {
	if p.sec != nil {
		p.sec.closeTCP()
	}
	if err := p.streams.Close(p.u.ctx); err != nil {
		p.u.log.Debug("connections closed with octets unsent", "error", err)
	}
}

// local is our address towards the P-CSCF: with IPsec that of the protected server port, which the network learns before there are
// associations.
func (p *path) local() netip.AddrPort {
	if p.sec != nil {
		return netip.AddrPortFrom(p.sec.public, p.sec.server)
	}
	return p.flow.Via.Local()
}

// localAddr is where media are received: the interface that leads to the P-CSCF.
func (p *path) localAddr() netip.Addr {
	if p.sec != nil {
		return p.sec.local
	}
	return p.local().Addr().Unmap()
}

// sentBy is the sent-by of our Via over a flow (RFC 3261 18.1.1).
func sentBy(f siptransport.Flow) []byte { return []byte(f.Via.Local().String()) }
