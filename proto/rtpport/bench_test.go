package rtpport

import (
	"net/netip"
	"testing"

	"github.com/pion/srtp/v3"

	"imsafe/proto/sdp"
)

// loop is a socket that keeps the last packet.
type loop struct{ last []byte }

func (l *loop) read([]byte) (int, netip.AddrPort, error) { panic("not read") }
func (l *loop) write(b []byte, _ netip.AddrPort) error   { l.last = append(l.last[:0], b...); return nil }

// keyedLeg is a leg that sends to itself, without a handshake.
func keyedLeg(tb testing.TB, p Profile) (*Leg, *loop) {
	tb.Helper()
	e := newEnd(tb, newNetwork().listen(alice), func(c *Config) { c.Receive = func(*Frame) {} })
	tb.Cleanup(e.Close)
	wire := &loop{}
	e.wire = wire
	g := agreed(e, sdp.DTLSClient)
	if err := e.Start(g); err != nil {
		tb.Fatal(err)
	}
	key := func() *srtp.Context {
		n, _ := p.srtp().KeyLen()
		s, _ := p.srtp().SaltLen()
		c, err := srtp.CreateContext(make([]byte, n), make([]byte, s), p.srtp(), srtp.SRTPReplayProtection(128), srtp.SRTCPReplayProtection(128))
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	if p != 0 {
		e.rx.srtp = key()
		e.tx.secure(key())
	}
	e.begin()
	return e.Leg, wire
}

func BenchmarkSend(b *testing.B) {
	frame := make([]byte, 160)
	for _, p := range DefaultProfiles() {
		b.Run(p.String(), func(b *testing.B) {
			l, _ := keyedLeg(b, p)
			b.ReportAllocs()
			for b.Loop() {
				if err := l.WriteFrame(frame, 160, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSendAndReceive(b *testing.B) {
	frame := make([]byte, 160)
	for _, p := range DefaultProfiles() {
		b.Run(p.String(), func(b *testing.B) {
			l, wire := keyedLeg(b, p)
			b.ReportAllocs()
			for b.Loop() {
				if err := l.WriteFrame(frame, 160, false); err != nil {
					b.Fatal(err)
				}
				l.packet(wire.last, l.agreed.Remote)
			}
			if l.counters.PacketsIn.Load() != l.counters.PacketsOut.Load() {
				b.Fatal("packets lost")
			}
		})
	}
}

// BenchmarkRefuse is what a flood costs per packet.
func BenchmarkRefuse(b *testing.B) {
	l, wire := keyedLeg(b, AEADAES256GCM)
	if err := l.WriteFrame(make([]byte, 160), 160, false); err != nil {
		b.Fatal(err)
	}
	good := append([]byte(nil), wire.last...)
	l.packet(good, l.agreed.Remote)
	forged := append([]byte(nil), good...)
	forged[3] += 7
	for _, c := range []struct {
		reason Drop
		b      []byte
		from   netip.AddrPort
	}{
		{DropSource, good, netip.MustParseAddrPort(mallory)},
		{DropPayloadType, append([]byte{0x80, 99}, good[2:]...), l.agreed.Remote},
		{DropReplay, good, l.agreed.Remote},
		{DropTag, forged, l.agreed.Remote},
	} {
		b.Run(c.reason.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.packet(c.b, c.from)
			}
			if l.counters.Dropped(c.reason) == 0 {
				b.Fatal("refused for another reason")
			}
		})
	}
}

func TestLeg_a_packet_costs_no_allocation(t *testing.T) {
	l, wire := keyedLeg(t, AEADAES256GCM)
	frame := make([]byte, 160)
	step := func() {
		if err := l.WriteFrame(frame, 160, false); err != nil {
			t.Fatal(err)
		}
		l.packet(wire.last, l.agreed.Remote)
	}
	step() // the first packet of a source makes its state
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for one frame out and in", n)
	}
	stranger := netip.MustParseAddrPort(mallory)
	if n := testing.AllocsPerRun(1000, func() { l.packet(wire.last, stranger) }); n != 0 {
		t.Errorf("%v allocations for a packet of a stranger", n)
	}
}
