package esp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"imsafe/proto/shard"
)

// Errors of Seal and SealUDP.
var (
	ErrGone      = errors.New("esp: no such agreement")
	ErrExhausted = errors.New("esp: the sequence numbers of the association are used up")
	ErrTooLarge  = errors.New("esp: payload too large for a packet")
	ErrNoPath    = errors.New("esp: the peer's outer port is not known yet")
	ErrProtocol  = errors.New("esp: neither UDP nor TCP")
)

const (
	// renewAt is when a client is asked to authenticate again: half of the sequence numbers are left.
	renewAt = 1 << 31
	// lastSeq is the last that is sent (RFC 4303 3.3.3: the counter must not cycle).
	lastSeq = 1<<32 - 1
	// maxPacket bounds an ESP packet, so that with its outer headers it fits an IP packet.
	maxPacket = 65535 - ipv4Header - udpHeader
)

// SealUDP seals payload as a UDP datagram from our port side to the peer's, and appends the ESP packet to dst. to is where it
// goes: the peer's address, with its outer UDP port in tunnel mode and port 0 in transport mode. It allocates nothing if dst has
// room for payload and Overhead. payload must not overlap dst's free part.
func (e *Engine) SealUDP(dst []byte, r Ref, side Side, payload []byte) (packet []byte, to netip.AddrPort, err error) {
	return e.seal(dst, r, side, protoUDP, payload)
}

// Seal is SealUDP for a whole segment with its header, UDP (17) or TCP (6). The ports in it must be the association's: else the
// error is ErrProtocol, for the peer would drop it.
func (e *Engine) Seal(dst []byte, r Ref, side Side, next byte, segment []byte) (packet []byte, to netip.AddrPort, err error) {
	if next != protoTCP && next != protoUDP || len(segment) < udpHeader {
		return dst, to, ErrProtocol
	}
	return e.seal(dst, r, side, next|wholeSegment, segment)
}

// wholeSegment is a bit beside the protocol number: data has its header.
const wholeSegment = 0x80

func (e *Engine) seal(dst []byte, r Ref, side Side, kind byte, data []byte) (packet []byte, to netip.AddrPort, err error) {
	a, place := e.lock(r)
	if a == nil {
		return dst, to, ErrGone
	}
	if e.expired(a) {
		a.mu.Unlock()
		return dst, to, ErrGone
	}
	p, notice, err := e.sealLocked(dst, a, place, side&1, kind, data)
	to = netip.AddrPortFrom(a.peer.netip(), a.outer)
	owner := a.owner
	a.mu.Unlock()
	if notice != 0 {
		e.notify(r, owner, notice)
	}
	if err != nil {
		return dst, netip.AddrPort{}, err
	}
	e.n.Sealed.Add(1)
	e.n.SealedOctets.Add(uint64(len(p) - len(dst)))
	return p, to, nil
}

// sealLocked builds the packet. The number and the nonce are taken only when nothing can go wrong any more.
func (e *Engine) sealLocked(dst []byte, a *agreement, place **expanded, side Side, kind byte, data []byte) ([]byte, Notice, error) {
	next := kind &^ wholeSegment
	ports := &a.ports[side]
	o := &a.out[side]
	segment, header := len(data), 0
	if kind&wholeSegment == 0 {
		segment += udpHeader
	} else if binary.BigEndian.Uint16(data) != ports.here || binary.BigEndian.Uint16(data[2:]) != ports.there {
		return nil, 0, ErrProtocol
	}
	trailer := next
	if a.tunnel {
		header, trailer = ipv6Header, protoIPv6
		if a.peer.is4() {
			header, trailer = ipv4Header, protoIPv4
		}
		if a.outer == 0 {
			return nil, 0, ErrNoPath
		}
	}
	size := a.t.size(header + segment)
	switch {
	case segment > 1<<16-1 || size > maxPacket:
		return nil, 0, ErrTooLarge
	case o.seq == lastSeq:
		e.n.Exhausted.Add(1)
		return nil, 0, ErrExhausted
	}
	k, err := e.keys(a, place)
	if err != nil {
		return nil, 0, err
	}
	packet := slices.Grow(dst, size)[:len(dst)+size]
	p := packet[len(dst):]
	body := headerSize + a.t.iv()
	if !a.t.combined() && body > headerSize {
		if err := e.ivs.take(p[headerSize:body]); err != nil {
			return nil, 0, err
		}
	}

	o.seq++
	a.warm = true
	binary.BigEndian.PutUint32(p, o.spi)
	binary.BigEndian.PutUint32(p[4:], o.seq)
	if a.t.combined() {
		binary.BigEndian.PutUint32(p[8:], o.prefix)
		binary.BigEndian.PutUint32(p[12:], o.seq)
	}
	a.putInner(p[body:body+header+segment], ports.here, ports.there, header, next, data)
	putTrailer(p[body+header+segment:size-a.t.icv()], trailer)
	k.seal(p)
	return packet, a.due(o.seq), nil
}

// putInner writes the inner packet: an IP header in tunnel mode, a UDP header if data has none, data.
func (a *agreement) putInner(inner []byte, srcPort, dstPort uint16, header int, next byte, data []byte) {
	seg := inner[header:]
	copy(seg[len(seg)-len(data):], data)
	if len(seg) > len(data) {
		putUDP(seg, &a.here, &a.peer, srcPort, dstPort)
	}
	if header > 0 {
		putIP(inner, &a.here, &a.peer, next)
	}
}

// putTrailer writes padding 1, 2, 3 ..., its length and the next header (RFC 4303 2.4).
func putTrailer(t []byte, next byte) {
	pad := len(t) - trailerSize
	for i := range pad {
		t[i] = byte(i + 1)
	}
	t[pad], t[pad+1] = byte(pad), next
}

// due says whether a notice is to be given because of a sequence number, the first time. a's lock is held.
func (a *agreement) due(seq uint32) Notice {
	if seq < renewAt {
		return 0
	}
	return a.once(NoticeRenew)
}

// once returns n the first time, else 0.
func (a *agreement) once(n Notice) Notice {
	if a.noticed&n != 0 {
		return 0
	}
	a.noticed |= n
	return n
}

// notify tells of each notice in n.
func (e *Engine) notify(r Ref, owner shard.Place, n Notice) {
	for bit := NoticeRenew; bit <= NoticeExpired; bit <<= 1 {
		if n&bit == 0 {
			continue
		}
		if bit == NoticeCollision || bit == NoticeBrokenPeer {
			e.n.Nonce.Add(1)
		}
		if e.cfg.Notify != nil {
			e.cfg.Notify(r, owner, bit)
		}
	}
}
