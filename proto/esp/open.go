package esp

import (
	"encoding/binary"
	"net/netip"

	"imsafe/proto/shard"
)

// Datagram is an opened packet, and the agreement it came by.
type Datagram struct {
	Agreement   Ref
	Owner       shard.Place    // what Install was told
	Side        Side           // our port at which it arrived
	Protocol    byte           // 17 UDP, 6 TCP
	Peer, Local netip.AddrPort // inner addresses and ports; the association's, that is checked
	Segment     []byte         // transport header and payload: a view of the packet
	Payload     []byte         // of UDP; nil for TCP
	Came        int64          // when the kernel had the packet (Stamped), or 0; of a Front
}

// Open opens packet, which arrived at our address to from the peer's address from. In tunnel mode from has the outer UDP port; in
// transport mode its port is 0. If the verdict is Accepted, d is filled in and its views are of packet, which is decrypted in place;
// else d is untouched and nothing has happened but that one counter moved. Either way the octets of packet are spent. It allocates
// nothing, but for the first packet after an agreement was idle.
//
// The order of work is that of RFC 4303 3.4: association, length, replay, ICV in constant time, replay window, decryption, padding,
// selector. Nothing is learned before the ICV was good.
func (e *Engine) Open(packet []byte, from netip.AddrPort, to netip.Addr, d *Datagram) Drop {
	verdict, notice := e.open(packet, from, to, d)
	if verdict != Accepted {
		e.n.dropped[verdict].Add(1)
	} else {
		e.n.Opened.Add(1)
		e.n.OpenedOctets.Add(uint64(len(packet)))
	}
	if notice.bits != 0 {
		e.notify(notice.ref, notice.owner, notice.bits)
	}
	return verdict
}

// notices are what an authentic packet gives reason to tell.
type notices struct {
	ref   Ref
	owner shard.Place
	bits  Notice
}

func (e *Engine) open(packet []byte, from netip.AddrPort, to netip.Addr, d *Datagram) (Drop, notices) {
	if len(packet) < headerSize {
		return DropLength, notices{}
	}
	spi, seq := binary.BigEndian.Uint32(packet), binary.BigEndian.Uint32(packet[4:])
	e.mu.RLock()
	l := e.localIndex(addressOf(to))
	v, ok := e.spis[spiKey(l, spi)]
	if l < 0 || !ok || v == reserved {
		e.mu.RUnlock()
		return DropUnknown, notices{}
	}
	slot, side := v>>1, Side(v&1)
	c := e.chunks[slot/chunkSize]
	e.mu.RUnlock()
	a := &c.rest[slot%chunkSize]
	a.mu.Lock()
	defer a.mu.Unlock()
	in := &a.in[side]
	if !a.live || in.spi != spi || int(a.local) != l {
		return DropUnknown, notices{} // it ended between the two locks
	}
	if e.expired(a) {
		return DropExpired, notices{}
	}
	inner, verdict := e.authenticate(a, &c.keys[slot%chunkSize], in, seq, packet)
	if verdict != Accepted {
		return verdict, notices{}
	}

	// From here on the packet is the peer's.
	highest := in.window.fresh(seq) && in.window.accept(seq)
	a.warm = true
	n := notices{Ref{slot, a.gen}, a.owner, a.due(seq)}
	if a.t.combined() {
		n.bits |= a.judgeNonce(side, binary.BigEndian.Uint32(packet[headerSize:]))
	}
	next, inner, ok := takeTrailer(inner)
	if !ok {
		return DropPadding, n
	}
	seg, protocol, verdict := a.inside(from, inner, next)
	if verdict == Accepted {
		verdict = a.selects(side, protocol, seg)
	}
	if verdict == DropSelector && !e.refuses(DropSelector) && len(seg) >= udpHeader {
		verdict = Accepted
	}
	if verdict != Accepted {
		return verdict, n
	}
	if a.tunnel && highest && a.role == PCSCF && a.outer != from.Port() {
		// The NAT's port is learned from authentic packets, and from the newest only: an old one that was held back moves nothing.
		a.outer = from.Port()
		e.n.Moved.Add(1)
	}
	a.describe(n.ref, side, protocol, seg, d)
	return Accepted, n
}

// authenticate does the work up to the ICV and gives what lies between IV and ICV, decrypted.
func (e *Engine) authenticate(a *agreement, place **expanded, in *inbound, seq uint32, packet []byte) ([]byte, Drop) {
	body := headerSize + a.t.iv()
	sealed := len(packet) - body - a.t.icv()
	if sealed < trailerSize || sealed%a.t.align() != 0 {
		return nil, DropLength
	}
	if !in.window.fresh(seq) && e.refuses(DropReplay) {
		return nil, DropReplay
	}
	k, err := e.keys(a, place)
	if err != nil {
		return nil, DropAuth
	}
	var kept []byte
	if e.cfg.KeepForged {
		kept = append(kept, packet...)
	}
	if !k.open(packet) {
		if a.authFailed++; a.authFailed == 0 {
			a.authFailed-- // it stays at its end
		}
		if e.refuses(DropAuth) || kept == nil {
			return nil, DropAuth
		}
		copy(packet, kept)
		k.openForged(packet)
	}
	return packet[body : body+sealed], Accepted
}

// refuses asks whether a packet that a check found bad is dropped.
func (e *Engine) refuses(d Drop) bool { return e.cfg.Refuse == nil || e.cfg.Refuse(d) }

// judgeNonce compares the prefix of an authentic packet with ours and with that of the peer's other association: all four share
// key and salt. Equal prefixes are told of once and dropped never: what was given away is given away.
func (a *agreement) judgeNonce(side Side, prefix uint32) (n Notice) {
	if bit := uint8(1) << side; a.known&bit == 0 || a.in[side].prefix != prefix {
		a.known |= bit
		a.in[side].prefix = prefix
		if prefix == a.out[Client].prefix || prefix == a.out[Server].prefix {
			n |= a.once(NoticeCollision)
		}
		if other := side.other(); a.known&(1<<other) != 0 && a.in[other].prefix == prefix {
			n |= a.once(NoticeBrokenPeer)
		}
	}
	return n
}

// takeTrailer takes padding, its length and the next header off (RFC 4303 2.4).
func takeTrailer(p []byte) (next byte, rest []byte, ok bool) {
	pad := int(p[len(p)-2])
	next = p[len(p)-1]
	if pad+trailerSize > len(p) {
		return 0, nil, false
	}
	rest = p[:len(p)-trailerSize-pad]
	for i, c := range p[len(rest) : len(p)-trailerSize] {
		if c != byte(i+1) {
			return 0, nil, false
		}
	}
	return next, rest, true
}

// inside checks outer addresses and mode, and takes the inner IP header off in tunnel mode.
func (a *agreement) inside(from netip.AddrPort, inner []byte, next byte) (seg []byte, protocol byte, verdict Drop) {
	seg, protocol, verdict = inner, next, Accepted
	if a.tunnel {
		seg, protocol, verdict = a.unwrap(inner, next)
	}
	// The outer source is the peer's in both modes: a client that moved has to register again (TS 33.203 7.5). Behind a NAT its port
	// may be any, towards a P-CSCF it is the one agreed on.
	if addressOf(from.Addr()) != a.peer || (from.Port() != 0) != a.tunnel || a.tunnel && a.role == UE && from.Port() != a.outer {
		return seg, protocol, DropSelector
	}
	return seg, protocol, verdict
}

// unwrap takes the inner IP header off.
func (a *agreement) unwrap(inner []byte, next byte) (seg []byte, protocol byte, verdict Drop) {
	if next != protoIPv4 && next != protoIPv6 {
		return nil, 0, DropNextHeader
	}
	src, dst, protocol, seg, ok := parseIP(inner, next)
	switch {
	case !ok:
		return nil, 0, DropInner
	case src != a.peer || dst != a.here:
		return seg, protocol, DropSelector
	}
	return seg, protocol, Accepted
}

// selects checks protocol, ports and soundness of the segment (TS 33.203 7.1; RFC 4303 3.4.4). Without it one client speaks as another.
func (a *agreement) selects(side Side, protocol byte, seg []byte) Drop {
	if protocol != protoUDP && protocol != protoTCP {
		return DropNextHeader
	}
	if len(seg) < udpHeader {
		return DropInner
	}
	if binary.BigEndian.Uint16(seg) != a.ports[side].there || binary.BigEndian.Uint16(seg[2:]) != a.ports[side].here {
		return DropSelector
	}
	if !soundSegment(seg, protocol, &a.peer, &a.here) {
		return DropInner
	}
	return Accepted
}

// describe fills in d.
func (a *agreement) describe(ref Ref, side Side, protocol byte, seg []byte, d *Datagram) {
	*d = Datagram{Agreement: ref, Owner: a.owner, Side: side, Protocol: protocol, Segment: seg,
		Peer:  netip.AddrPortFrom(a.peer.netip(), a.ports[side].there),
		Local: netip.AddrPortFrom(a.here.netip(), a.ports[side].here)}
	if protocol == protoUDP {
		d.Payload = seg[udpHeader:]
	}
}
