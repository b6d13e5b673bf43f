package espnet

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"imsafe/proto/esp"
)

// FuzzReceive: segments of a client that means harm, as the engine lets them through: ports and checksum are right, nothing else need be. They
// come by its own agreement, in every state of its connection, and by another's name. The other's connection does not notice.
//
// The input is a list of segments: one octet of what to do, one of flags, five of numbers (relative to what the connection has reached), one of the
// header's length, one of how much follows, and that.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, byte(header.TCPFlagSyn), 0, 0, 0, 0, 0, 5, 0})
	f.Add([]byte{0, 2, 0, 0, 0, 0, 0, 6, 4, 2, 4, 5, 100, 0, 16, 0, 1, 0, 1, 0, 5, 0, 0, 24, 0, 1, 0, 1, 0, 5, 4, 'a', 'b', 'c', 'd'})
	f.Add([]byte{0, 2, 0, 0, 0, 0, 9, 5, 0, 0, 16, 0, 1, 0, 1, 9, 5, 0, 1, 24, 0, 1, 0, 1, 9, 5, 1, 'x', 0, 17, 0, 1, 0, 1, 9, 5, 0, 2, 0, 0, 0, 0, 0, 0, 5, 0})
	f.Add([]byte{0, 2, 0, 0, 0, 0, 9, 5, 0, 0, 4, 0, 1, 0, 1, 9, 5, 0, 3, 20, 0, 1, 0, 1, 9, 15, 40})
	r := newRig(f, v4, false, Config{MaxHalfOpen: 8}, Config{MaxHalfOpen: 8})
	l := r.listen(&r.p, ps)
	honest, c, s := r.agree(0, gcm), (*Conn)(nil), (*Conn)(nil)
	c, s = r.pair(l, honest)
	evil := r.agree(1, gcm)
	f.Cleanup(func() { c.Abort(); s.Abort() })
	accepted := make(chan *Conn, 16)
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case accepted <- nc.(*Conn):
			default:
				nc.(*Conn).Abort()
			}
		}
	}()
	buf := make([]byte, 2000)
	f.Fuzz(func(t *testing.T, in []byte) {
		foreign := r.p.stack.n.DropForeign.Load()
		var forged uint64
		var last *Conn
		for len(in) >= 9 {
			what, flags, length := in[0], in[1], in[7]
			n := min(int(in[8]), len(in)-9)
			seq := uint32(in[2])<<24 | uint32(in[3])
			ack := uint32(in[4])<<24 | uint32(in[5])
			rest, window := in[9:9+n], in[6]
			in = in[9+n:]
			from := netip.AddrPortFrom(v4.ue, uc+1)
			if what&1 != 0 { // in the name of the honest one
				from = netip.AddrPortFrom(v4.ue, uc)
				forged++
			}
			size := int(length&15) * 4
			if size < tcpHeader || size > tcpHeader+n { // the engine refuses it
				size = tcpHeader
			}
			seg := header.TCP(make([]byte, tcpHeader+n))
			copy(seg[tcpHeader:], rest)
			seg.Encode(&header.TCPFields{SrcPort: from.Port(), DstPort: ps, SeqNum: seq, AckNum: ack, DataOffset: uint8(size),
				Flags: header.TCPFlags(flags), WindowSize: uint16(window) << 8, UrgentPointer: uint16(window)})
			x := header.PseudoHeaderChecksum(header.TCPProtocolNumber, tcpip.AddrFromSlice(v4.ue.AsSlice()), tcpip.AddrFromSlice(v4.pcscf.AsSlice()), uint16(len(seg)))
			seg.SetChecksum(^checksum.Checksum(seg, x))
			r.p.stack.receive(r.p.front, &esp.Datagram{Agreement: evil.p, Owner: evil.pG.Owner, Side: esp.Server, Protocol: 6,
				Peer: from, Local: netip.AddrPortFrom(v4.pcscf, ps), Segment: seg})
			if what&2 != 0 && last != nil {
				_ = last.Close()
				last = nil
			}
			select {
			case last = <-accepted:
				_ = last.CloseWrite()
			default:
			}
		}
		if got := r.p.stack.n.DropForeign.Load() - foreign; got != forged {
			t.Errorf("%d of %d forged segments were dropped", got, forged)
		}
		if n := r.p.stack.n.DropProtocol.Load(); n != 0 {
			t.Errorf("%d packets that are not TCP", n)
		}
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Read(buf); err != nil || string(buf[:n]) != "ping" {
			t.Fatalf("the honest connection reads %q, %v", buf[:n], err)
		}
		if last != nil {
			last.Abort()
		}
	})
}
