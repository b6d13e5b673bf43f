package esp

import (
	"bytes"
	"net/netip"
	"testing"
)

// FuzzOpen: whatever arrives, one counter moves and nothing else: no window, no outer port.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0}, uint16(0))
	for i := range transforms {
		f.Add(uint8(i), bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 20), uint16(0))
		f.Add(uint8(i|0x80), bytes.Repeat([]byte{9}, 96), uint16(4500))
	}
	var rigs [2][]*rig
	for _, tr := range transforms {
		rigs[0] = append(rigs[0], newRig(f, tr, false, false))
		rigs[1] = append(rigs[1], newRig(f, tr, false, true))
	}
	f.Fuzz(func(t *testing.T, which uint8, in []byte, port uint16) {
		r := rigs[which>>7][int(which&0x7f)%len(transforms)]
		pkt := bytes.Clone(in)
		if which&0x40 != 0 && len(pkt) >= 4 { // a stranger who has seen an SPI
			spi := r.pG.Here.SPI[which>>5&1]
			pkt[0], pkt[1], pkt[2], pkt[3] = byte(spi>>24), byte(spi>>16), byte(spi>>8), byte(spi)
		}
		before, st := counts(r.p), mustStatus(t, r)
		var d Datagram
		drop := r.p.Open(pkt, netip.AddrPortFrom(ueAddr, port), pAddr, &d)
		if drop == Accepted || !onlyOne(r.p, before, drop) {
			t.Fatalf("%v: %v -> %v", drop, before, counts(r.p))
		}
		after := mustStatus(t, r)
		if st.AuthFailed = after.AuthFailed; after != st || d.Segment != nil || r.p.n.Opened.Load() != 0 {
			t.Fatalf("%v: something was learned: %+v -> %+v", drop, st, after)
		}
	})
}

func mustStatus(t *testing.T, r *rig) Status {
	st, ok := r.p.Status(r.pRef)
	if !ok {
		t.Fatal("the agreement is gone")
	}
	return st
}

// FuzzInner: inner packets of an authentic but malicious peer. What is accepted has the association's addresses and ports.
func FuzzInner(f *testing.F) {
	src, dst := addressOf(ueAddr), addressOf(pAddr)
	for _, payload := range []string{"", "OPTIONS"} {
		p := make([]byte, ipv4Header+udpHeader+len(payload))
		copy(p[ipv4Header+udpHeader:], payload)
		putUDP(p[ipv4Header:], &src, &dst, 38001, 5999)
		putIP(p, &src, &dst, protoUDP)
		f.Add(p, byte(protoIPv4))
	}
	six := make([]byte, ipv6Header+udpHeader)
	src6, dst6 := addressOf(ueAddr6), addressOf(pAddr6)
	putUDP(six[ipv6Header:], &src6, &dst6, 38001, 5999)
	putIP(six, &src6, &dst6, protoUDP)
	f.Add(six, byte(protoIPv6))
	a := &agreement{tunnel: true, role: PCSCF, peer: src, here: dst}
	a.ports[Server].here, a.ports[Server].there = 5999, 38001
	f.Fuzz(func(t *testing.T, in []byte, next byte) {
		seg, protocol, drop := a.inside(netip.AddrPortFrom(ueAddr, 4500), in, next)
		if drop == Accepted {
			drop = a.selects(Server, protocol, seg)
		}
		if drop == Accepted && (next != protoIPv4 || len(seg)+ipv4Header != len(in) || in[0] != 0x45 ||
			!bytes.Equal(in[12:16], src[12:]) || !bytes.Equal(in[16:20], dst[12:]) || protocol != protoUDP && protocol != protoTCP) {
			t.Fatalf("accepted %x", in)
		}
		if rest, _, ok := takeTrailerOf(in); ok && len(rest) > len(in)-trailerSize {
			t.Fatal("the trailer grew")
		}
	})
}

func takeTrailerOf(in []byte) (rest []byte, next byte, ok bool) {
	if len(in) < trailerSize {
		return nil, 0, false
	}
	next, rest, ok = takeTrailer(in)
	return rest, next, ok
}
