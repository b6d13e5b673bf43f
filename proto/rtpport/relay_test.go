package rtpport

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/netip"
	"testing"

	"github.com/pion/rtp"

	"imsafe/proto/sdp"
)

// relayed puts two legs of a relay between a and b: a is keyed by DTLS, b by SDES. edit may change the configuration of the relay's legs.
func relayed(t testing.TB, n *network, suite sdp.Suite, edit func(*Config)) (a, b, ax, bx *end) {
	t.Helper()
	relay := func(c *Config) {
		c.Receive, c.AllowSDES = nil, true
		if edit != nil {
			edit(c)
		}
	}
	ax = newEnd(t, n.listen("192.0.2.100:2000"), func(c *Config) {
		relay(c)
		c.Relay = func(p []byte, control bool) { _ = bx.Forward(p, control) }
	})
	bx = newEnd(t, n.listen("192.0.2.100:2002"), func(c *Config) {
		relay(c)
		c.Relay = func(p []byte, control bool) { _ = ax.Forward(p, control) }
	})
	a, b = newEnd(t, n.listen(alice), nil), newEnd(t, n.listen(bob), func(c *Config) { c.AllowSDES = true })
	for _, e := range []*end{a, b, ax, bx} {
		e.run(t)
	}
	keys := func() sdp.Crypto {
		k, err := sdp.NewCrypto(rand.Reader, 1, suite)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ours, theirs := keys(), keys()
	bySDES := func(remote *end) sdp.Agreed {
		g := agreed(remote, sdp.NoRole)
		g.Keying, g.Fingerprints = sdp.SDES, nil
		return g
	}
	err := errors.Join(ax.Start(agreed(a, sdp.DTLSServer)), a.Start(agreed(ax, sdp.DTLSClient)),
		bx.StartSDES(bySDES(b), ours, theirs), b.StartSDES(bySDES(bx), theirs, ours))
	if err != nil {
		t.Fatal(err)
	}
	secured(t, a, b, ax, bx)
	return a, b, ax, bx
}

func TestRelay_between_DTLS_and_SDES(t *testing.T) {
	for _, suite := range sdp.Suites() {
		t.Run(suite.String(), func(t *testing.T) {
			a, b, ax, bx := relayed(t, newNetwork(), suite, nil)
			for i := range 50 {
				payload := bytes.Repeat([]byte{byte(i)}, 160)
				if err := errors.Join(a.WriteFrame(payload, 160, i == 0), b.WriteFrame(payload, 160, i == 0)); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "all frames", func() bool { return a.count() == 50 && b.count() == 50 })
			for i, f := range b.frames {
				if f.Payload[0] != byte(i) || f.Sequence-b.frames[0].Sequence != uint16(i) || f.SSRC != b.frames[0].SSRC || f.Marker != (i == 0) {
					t.Fatalf("frame %d: %+v", i, f)
				}
			}
			a.Leg.control(a.report(0))
			until(t, "a report", func() bool { return b.Counters().ControlIn.Load() == 1 })
			if bx.Profile() != profileOf(suite) || ax.Profile() != AEADAES256GCM {
				t.Errorf("%v and %v", ax.Profile(), bx.Profile())
			}
			// A hold stops the media, not the reports.
			ax.Hold(true, false)
			if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
				t.Fatal(err)
			}
			until(t, "held", func() bool { return ax.Counters().Dropped(DropHold) == 1 })
		})
	}
}

func TestStartSDES_needs_leave_and_one_suite(t *testing.T) {
	random := rand.Reader
	a, _ := sdp.NewCrypto(random, 1, sdp.AEADAES128GCM)
	b, _ := sdp.NewCrypto(random, 1, sdp.AESCM128SHA1)
	g := sdp.Agreed{Keying: sdp.SDES, Remote: netip.MustParseAddrPort(bob)}
	strict, lenient := newEnd(t, newNetwork().listen(alice), nil), newEnd(t, newNetwork().listen(alice), func(c *Config) { c.AllowSDES = true })
	if err := strict.StartSDES(g, a, a); !errors.Is(err, ErrKeying) {
		t.Errorf("without leave: %v", err)
	}
	if err := lenient.StartSDES(g, a, b); !errors.Is(err, ErrKeying) {
		t.Errorf("two suites: %v", err)
	}
}

// packet makes RTP with a source and number of the caller's choice.
func packet(ssrc uint32, seq uint16, payload []byte) []byte {
	return appendRTP(nil, &rtp.Header{PayloadType: 8, SSRC: ssrc, SequenceNumber: seq}, 0, payload)
}

// Two far ends with the same source and numbers, under the key of one leg: their XOR would be that of what they say.
func TestForward_never_uses_an_index_twice(t *testing.T) {
	for name, off := range map[string]bool{"on": false, "off": true} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork()
			_, _, ax, _ := relayed(t, n, sdp.AESCM128SHA1, func(c *Config) { c.Refuse = func(d Drop) bool { return d != DropReused || !off } })
			var wire [][]byte
			n.mu.Lock()
			n.tap = func(from, _ netip.AddrPort, b []byte) {
				if from == ax.Local() && classify(b) == kindRTP {
					wire = append(wire, append([]byte(nil), b...))
				}
			}
			n.mu.Unlock()
			first, second := bytes.Repeat([]byte{0x11}, 160), bytes.Repeat([]byte{0x2f}, 160)
			if err := ax.Forward(packet(7, 1000, first), false); err != nil {
				t.Fatal(err)
			}
			err := ax.Forward(packet(7, 1000, second), false)
			if off {
				if err != nil || len(wire) != 2 || wire[0][20]^wire[1][20] != 0x11^0x2f {
					t.Errorf("the laboratory does not show what the check is worth: %v, %d packets", err, len(wire))
				}
				return
			}
			if !errors.Is(err, ErrReused) || len(wire) != 1 || ax.Counters().Dropped(DropReused) != 1 {
				t.Errorf("%v, %d packets on the wire", err, len(wire))
			}
		})
	}
}

func TestFreshness(t *testing.T) {
	var f freshness
	for i, c := range []struct {
		seq  uint16
		want bool
	}{
		{65530, true}, {65530, false}, {65529, true}, {65529, false}, {65535, true}, {1, true}, {0, true}, {65534, true}, {65535, false}, {0, false},
		{200, true}, {73, true}, {72, false}, {200 + 32767, true}, {200, false}, {300, false}, {200 + 32767, false}, {1, true}, {1, false},
	} {
		if got := f.take(1, c.seq, 0); got != c.want {
			t.Errorf("%d: number %d: %v, want %v", i, c.seq, got, c.want)
		}
	}
	if f.first.top>>16 != 2 {
		t.Errorf("the rollover counter is at %d", f.first.top>>16)
	}
	if !f.take(2, 3, 0) || f.take(2, 65535, 0) {
		t.Error("before the first of all indices there is none")
	}
	for i := range uint32(maxFar - 2) {
		f.take(10+i, 1, 0)
	}
	if f.take(99, 1, 0) {
		t.Error("sources without bound")
	}
}

// FuzzFreshness: by the module's reckoning too, no index comes twice.
func FuzzFreshness(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 255, 255, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var fresh freshness
		used := map[uint64]bool{}
		top := int64(-1)
		for ; len(b) >= 2; b = b[2:] {
			seq := uint16(b[0])<<8 | uint16(b[1])
			if !fresh.take(1, seq, 0) {
				continue
			}
			index := int64(seq)
			if top >= 0 {
				index = top + int64(int16(seq-uint16(top)))
			}
			if index < 0 || used[uint64(index)] {
				t.Fatalf("index %d twice or below 0", index)
			}
			used[uint64(index)] = true
			top = max(top, index)
		}
	})
}

// BenchmarkRelay is the cost of one relayed packet without the system calls: opened on one leg, sealed on the other.
func BenchmarkRelay(b *testing.B) {
	for _, c := range []struct {
		name     string
		from, to Profile
	}{
		{"plain-plain", 0, 0}, {"plain-gcm128", 0, AEADAES128GCM}, {"gcm128-gcm128", AEADAES128GCM, AEADAES128GCM},
		{"gcm256-gcm256", AEADAES256GCM, AEADAES256GCM}, {"cm-gcm256", AES128CMSHA1, AEADAES256GCM},
	} {
		b.Run(c.name, func(b *testing.B) {
			source, wire := keyedLeg(b, c.from)
			in, _ := keyedLeg(b, c.from)
			out, _ := keyedLeg(b, c.to)
			in.rx.relay = func(p []byte, control bool) {
				if err := out.Forward(p, control); err != nil {
					b.Fatal(err)
				}
			}
			frame := make([]byte, 160)
			const packets = 1 << 14
			var sent [packets][]byte // made beforehand: the timer would cost more than the packet
			b.ReportAllocs()
			done := uint64(0)
			for i := 0; b.Loop(); i = (i + 1) % packets {
				if i == 0 {
					b.StopTimer()
					for k := range sent {
						if err := source.WriteFrame(frame, 160, false); err != nil {
							b.Fatal(err)
						}
						sent[k] = append(sent[k][:0], wire.last...)
					}
					b.StartTimer()
				}
				in.packet(sent[i], in.agreed.Remote)
				done++
			}
			if out.counters.PacketsOut.Load() != done {
				b.Fatalf("%d of %d packets came through", out.counters.PacketsOut.Load(), done)
			}
		})
	}
}

func TestRelay_a_packet_costs_no_allocation(t *testing.T) {
	source, wire := keyedLeg(t, AEADAES256GCM)
	in, _ := keyedLeg(t, AEADAES256GCM)
	out, _ := keyedLeg(t, AES128CMSHA1)
	in.rx.relay = func(p []byte, control bool) {
		if err := out.Forward(p, control); err != nil {
			t.Error(err)
		}
	}
	frame := make([]byte, 160)
	step := func() {
		if err := source.WriteFrame(frame, 160, false); err != nil {
			t.Fatal(err)
		}
		in.packet(wire.last, in.agreed.Remote)
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for one relayed packet", n)
	}
}
