package esp

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Protocol numbers of an inner packet: the next header of ESP (RFC 4303 2.6).
const (
	protoIPv4 = 4
	protoTCP  = 6
	protoUDP  = 17
	protoIPv6 = 41
)

// Lengths of headers without options.
const (
	udpHeader  = 8
	tcpHeader  = 20
	ipv4Header = 20
	ipv6Header = 40
)

// address is an IP address without a pointer; IPv4 in the form ::ffff:a.b.c.d.
type address [16]byte

func addressOf(a netip.Addr) address { return a.As16() }

func (a *address) netip() netip.Addr { return netip.AddrFrom16(*a).Unmap() }

func (a *address) is4() bool {
	return binary.BigEndian.Uint64(a[:]) == 0 && binary.BigEndian.Uint32(a[8:]) == 0xffff
}

// octets is the address as it stands in a header.
func (a *address) octets() []byte {
	if a.is4() {
		return a[12:]
	}
	return a[:]
}

// sum adds b to the Internet checksum, eight octets at a time with the carry brought round (RFC 1071 2).
func sum(acc uint64, b []byte) uint64 {
	var c uint64
	for ; len(b) >= 32; b = b[32:] {
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), c)
	}
	for ; len(b) >= 8; b = b[8:] {
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b), c)
	}
	var tail uint64
	for i, o := range b {
		tail |= uint64(o) << (56 - 8*i)
	}
	acc, c = bits.Add64(acc, tail, c)
	acc, c = bits.Add64(acc, 0, c)
	return acc + c
}

// fold makes 16 bits of a sum.
func fold(acc uint64) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// pseudo is the sum of the pseudo-header (RFC 768, RFC 8200 8.1).
func pseudo(src, dst *address, next byte, length int) uint64 {
	return sum(sum(uint64(next)+uint64(length), src.octets()), dst.octets())
}

// putUDP writes the UDP header into the first octets of seg, whose payload is in place. The checksum is always computed, for
// every receiver verifies it and IPv6 requires it.
func putUDP(seg []byte, src, dst *address, srcPort, dstPort uint16) {
	binary.BigEndian.PutUint16(seg, srcPort)
	binary.BigEndian.PutUint16(seg[2:], dstPort)
	binary.BigEndian.PutUint16(seg[4:], uint16(len(seg)))
	binary.BigEndian.PutUint16(seg[6:], 0)
	c := ^fold(sum(pseudo(src, dst, protoUDP, len(seg)), seg))
	if c == 0 {
		c = 0xffff // 0 would mean that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(seg[6:], c)
}

// soundSegment reports whether seg is a UDP datagram or a TCP segment whose lengths and checksum are right. IPv4 allows a UDP
// datagram without a checksum (RFC 768).
func soundSegment(seg []byte, next byte, src, dst *address) bool {
	switch next {
	case protoUDP:
		if len(seg) < udpHeader || int(binary.BigEndian.Uint16(seg[4:])) != len(seg) {
			return false
		}
		if seg[6]|seg[7] == 0 {
			return src.is4()
		}
	case protoTCP:
		if len(seg) < tcpHeader || int(seg[12]>>4)*4 < tcpHeader || int(seg[12]>>4)*4 > len(seg) {
			return false
		}
	}
	return fold(sum(pseudo(src, dst, next, len(seg)), seg)) == 0xffff
}

// putIP writes the header of an inner packet (tunnel mode) into the first octets of p, whose segment is in place.
func putIP(p []byte, src, dst *address, next byte) {
	const ttl = 64
	if src.is4() {
		h := p[:ipv4Header]
		clear(h)
		h[0], h[8], h[9] = 0x45, ttl, next
		h[6] = 0x40 // don't fragment: the outer packet may be, the inner never is
		binary.BigEndian.PutUint16(h[2:], uint16(len(p)))
		copy(h[12:], src.octets())
		copy(h[16:], dst.octets())
		binary.BigEndian.PutUint16(h[10:], ^fold(sum(0, h)))
		return
	}
	h := p[:ipv6Header]
	clear(h)
	h[0], h[6], h[7] = 0x60, next, ttl
	binary.BigEndian.PutUint16(h[4:], uint16(len(p)-ipv6Header))
	copy(h[8:], src.octets())
	copy(h[24:], dst.octets())
}

// parseIP takes the header off an inner packet. version is that of the ESP trailer. It refuses options, extension headers and
// fragments: nobody who keeps to TS 33.203 sends them inside.
func parseIP(p []byte, version byte) (src, dst address, next byte, seg []byte, ok bool) {
	switch version {
	case protoIPv4:
		if len(p) < ipv4Header || p[0] != 0x45 || int(binary.BigEndian.Uint16(p[2:])) != len(p) ||
			binary.BigEndian.Uint16(p[6:])&0x3fff != 0 || fold(sum(0, p[:ipv4Header])) != 0xffff {
			return src, dst, 0, nil, false
		}
		src = addressOf(netip.AddrFrom4([4]byte(p[12:16])))
		dst = addressOf(netip.AddrFrom4([4]byte(p[16:20])))
		return src, dst, p[9], p[ipv4Header:], true
	case protoIPv6:
		if len(p) < ipv6Header || p[0]>>4 != 6 || int(binary.BigEndian.Uint16(p[4:])) != len(p)-ipv6Header {
			return src, dst, 0, nil, false
		}
		return address(p[8:24]), address(p[24:40]), p[6], p[ipv6Header:], true
	}
	return src, dst, 0, nil, false
}
