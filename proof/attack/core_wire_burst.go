package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"imsafe/proto/diameter"
	"imsafe/secure"
)

// wireBurst: a machine of the inner network that is no node takes the places of those that are.
func wireBurst() Attack {
	controls := []secure.ControlID{secure.CoreAvailabilityConnections}
	variant := func(name string, over Access, run func(context.Context, *Field, *Outcome) error) Variant {
		return Variant{Name: name, Position: Platform, Access: []Access{over}, Controls: controls, Run: run}
	}
	return Attack{
		ID: "core.wire.burst", Number: "CX-04", Title: "handshakes without end and without an end, where nodes and services meet",
		Text:     "a node that has lost its connection does not get it back: nobody registers, and nobody is called",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "RFC 8446 4.2.2; RFC 4732 2.2.1", Access: []Access{Cx},
		Bounds: Bounds{Packets: 1300, Bytes: 4000 * handshakes, Conns: 610, Time: 3 * time.Second},
		Variants: []Variant{variant("cx", Cx, burstOn("hss.", func(f *Field) netip.AddrPort { return f.Cx })),
			variant("sh", Sh, burstOn("hss.", func(f *Field) netip.AddrPort { return f.Sh })),
			variant("mw", Mw, burstOn("heart.", func(f *Field) netip.AddrPort { return f.Mw })),
			variant("cx-crowd", Cx, crowdsCx), variant("mw-stall", Mw, stallsMw)},
	}
}

// burstOn connects to a wire as fast as it can, without a certificate.
func burstOn(host string, at func(*Field) netip.AddrPort) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		return f.burst(ctx, o, at(f), &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: host + f.Domain, Time: f.Clock.Wall})
	}
}

// crowdsCx holds connections from many networks, as many of each as one address may have, before an honest node comes.
func crowdsCx(ctx context.Context, f *Field, o *Outcome) error {
	const networks, each = 20, 8
	early, err := f.honest.Dial(ctx, "tcp", netip.Addr{}, f.Cx)
	if err != nil {
		return err
	}
	defer func() { _ = early.Close() }()
	_, over, err := f.crowd(ctx, f.Cx, networks, each)
	if err != nil {
		return err
	}
	defer over()
	o.Arrived("%d connections from %d networks, each with one octet of a handshake", networks*each, networks)
	failed := within(ctx, time.Second, func(ctx context.Context) error {
		line, err := f.diameterPeer(ctx, f.honest, f.Cx, diameter.AppCx, &f.SCSCF)
		if line != nil {
			_ = line.conn.Close()
		}
		return err
	})
	late := within(ctx, time.Second, tls.Client(early, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: "hss." + f.Domain,
		Certificates: []tls.Certificate{f.SCSCF.Certificate}, Time: f.Clock.Wall}).HandshakeContext)
	if failed != nil || late != nil {
		o.Users = 1
	}
	o.Peer(failed != nil, "an honest node that connects then hears: %v", failed)
	o.Peer(late != nil, "one that had connected before, and shakes hands then: %v", late)
	return nil
}

// stallsMw holds connections before an honest node comes.
func stallsMw(ctx context.Context, f *Field, o *Outcome) error {
	ended, over, err := f.stall(ctx, f.Mw, stalls)
	if err != nil {
		return err
	}
	defer over()
	o.Arrived("%d connections, each with one octet of a handshake", stalls)
	failed := within(ctx, time.Second, func(ctx context.Context) error {
		conn, err := f.honest.Dial(ctx, "tcp", netip.Addr{}, f.Mw)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		return tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: "heart." + f.Domain,
			Certificates: []tls.Certificate{f.Edge.Certificate}, Time: f.Clock.Wall}).HandshakeContext(ctx)
	})
	n, _ := ended.seen()
	o.Wire(n < stalls/10, "the core ended %d of %d", n, stalls)
	if failed != nil {
		o.Users = 1
	}
	o.Peer(failed != nil, "an honest node that connects then hears: %v", failed)
	return nil
}

// crowd opens so many connections from each of so many networks, each with one octet of a handshake. over closes them.
func (f *Field) crowd(ctx context.Context, to netip.AddrPort, networks, each int) (opened int, over func(), err error) {
	var conns []net.Conn
	over = func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	for range each {
		for n := range networks {
			conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(n), to)
			if err != nil {
				over()
				return 0, nil, errors.Join(errors.New("attack: a connection of the crowd"), err)
			}
			conns = append(conns, conn)
			_, _ = conn.Write([]byte{0x16}) // who is turned away already needs none
		}
	}
	return len(conns), over, nil
}
