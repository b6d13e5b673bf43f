package rtpport

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"go.uber.org/goleak"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLeg_two_ends_hear_each_other(t *testing.T) {
	for _, list := range [][]Profile{nil, {AEADAES128GCM}, {AES128CMSHA1}} {
		want := AEADAES256GCM
		if list != nil {
			want = list[0]
		}
		t.Run(want.String(), func(t *testing.T) {
			a, b := call(t, newNetwork(), func(c *Config) { c.Profiles = list }, nil)
			secured(t, a, b)
			if a.Profile() != want || b.Profile() != want {
				t.Errorf("profiles %v and %v", a.Profile(), b.Profile())
			}
			for i := range 50 {
				payload := bytes.Repeat([]byte{byte(i)}, 160)
				if err := a.WriteFrame(payload, 160, i == 0); err != nil {
					t.Fatal(err)
				}
				if err := b.WriteFrame(payload, 160, i == 0); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "all frames", func() bool { return a.count() == 50 && b.count() == 50 })
			for i, f := range b.frames {
				if f.Payload[0] != byte(i) || f.Marker != (i == 0) || f.PayloadType != 8 ||
					f.Timestamp-b.frames[0].Timestamp != uint32(160*i) || f.Sequence-b.frames[0].Sequence != uint16(i) {
					t.Fatalf("frame %d: %+v", i, f)
				}
			}
		})
	}
}

// The bar of RFC 5764: without the key the stream says nothing, and it is not the same under two calls.
func TestLeg_voice_is_not_on_the_wire(t *testing.T) {
	n := newNetwork()
	var wire [][]byte
	voice := bytes.Repeat([]byte("hello hello "), 14)
	a, b := call(t, n, nil, nil)
	secured(t, a, b)
	n.mu.Lock()
	n.tap = func(_, _ netip.AddrPort, p []byte) {
		n.mu.Lock()
		defer n.mu.Unlock()
		wire = append(wire, append([]byte(nil), p...))
	}
	n.mu.Unlock()
	if err := a.WriteFrame(voice, 160, false); err != nil {
		t.Fatal(err)
	}
	until(t, "the frame", func() bool { return b.count() == 1 })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = nil
	if len(wire) != 1 || bytes.Contains(wire[0], voice[:12]) || len(wire[0]) != 12+len(voice)+16 {
		t.Errorf("on the wire: %q", wire)
	}
}

func TestLeg_wrong_fingerprint_no_media(t *testing.T) {
	for name, swap := range map[string]func(a, b *sdp.Agreed, other []sdp.Fingerprint){
		"seen by the DTLS server": func(a, _ *sdp.Agreed, o []sdp.Fingerprint) { a.Fingerprints = o },
		"seen by the DTLS client": func(_, b *sdp.Agreed, o []sdp.Fingerprint) { b.Fingerprints = o },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				third, err := NewCertificate(rand.Reader, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				a, b := call(t, newNetwork(), nil, func(a, b *sdp.Agreed) { swap(a, b, []sdp.Fingerprint{third.Fingerprint()}) })
				victim, other := a, b
				if name == "seen by the DTLS client" {
					victim, other = b, a
				}
				if err := victim.wait(t); !errors.Is(err, ErrFingerprint) {
					t.Errorf("the end that was lied to: %v", err)
				}
				if err := other.wait(t); !errors.Is(err, ErrHandshake) {
					t.Errorf("the other end: %v", err)
				}
				if victim.Profile() != 0 || victim.count() != 0 || !errors.Is(victim.WriteFrame(nil, 160, false), ErrClosed) {
					t.Error("keys or media in spite of the wrong certificate")
				}
			})
		})
	}
}

// Everything an attacker without the keys can send. Not one of these may be heard, and each is counted as what it is.
func TestLeg_strangers_are_not_heard(t *testing.T) {
	n := newNetwork()
	a, b := call(t, n, nil, nil)
	secured(t, a, b)
	var sealed []byte
	n.mu.Lock()
	n.tap = func(from, _ netip.AddrPort, p []byte) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if from == a.Local() && classify(p) == kindRTP {
			sealed = append([]byte(nil), p...)
		}
	}
	n.mu.Unlock()
	if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
		t.Fatal(err)
	}
	until(t, "one good frame", func() bool { return b.count() == 1 })
	n.mu.Lock()
	n.tap = nil
	n.mu.Unlock()

	flip := func(i int) []byte { p := append([]byte(nil), sealed...); p[i] ^= 1; return p }
	next := flip(len(sealed) - 1)
	binary.BigEndian.PutUint16(next[2:], binary.BigEndian.Uint16(sealed[2:])+1)
	otherSSRC := flip(8)
	report := []byte{0x80, 201, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28}
	for _, c := range []struct {
		name string
		from string
		b    []byte
		want Drop
	}{
		{"a good packet from another address", mallory, sealed, DropSource},
		{"the same packet again", alice, sealed, DropReplay},
		{"a packet with a wrong tag", alice, next, DropTag},
		{"another SSRC", alice, otherSSRC, DropTag},
		{"a payload type nobody agreed on", alice, flip(1), DropPayloadType},
		{"clear RTP, headers right", alice, append([]byte{0x80, 8}, make([]byte, 170)...), DropTag},
		{"three octets of RTP", alice, []byte{0x80, 8, 1}, DropShort},
		{"RTP header and half a tag", alice, append([]byte{0x80, 8}, make([]byte, 18)...), DropShort},
		{"clear RTCP", alice, report, DropTag},
		{"BYE in clear", alice, append([]byte{0x81, 203, 0, 1}, report[4:]...), DropTag},
		{"STUN", alice, []byte{0, 1, 0, 0}, DropSTUN},
		{"TURN channel data", alice, []byte{0x40, 0, 0, 0}, DropUnknown},
		{"ZRTP", alice, []byte{0x10, 0, 0, 0}, DropUnknown},
		{"one octet", alice, []byte{0x80}, DropUnknown},
		{"nothing", alice, nil, DropUnknown},
		{"a fatal alert in clear", alice, []byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40}, DropAlert},
		{"an alert behind another record", alice, []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 2, 40}, DropAlert},
	} {
		before := b.Counters().Dropped(c.want)
		n.inject(netip.MustParseAddrPort(c.from), b.Local(), c.b)
		until(t, c.name+" counted as "+c.want.String(), func() bool { return b.Counters().Dropped(c.want) == before+1 })
	}
	if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
		t.Fatal(err)
	}
	until(t, "the call is alive", func() bool { return b.count() == 2 })
	if b.Counters().Byes.Load() != 0 {
		t.Error("a forged BYE was believed")
	}
}

// hello makes a ClientHello of a stranger: well formed enough for a server to begin.
func hello(random byte) []byte {
	body := append([]byte{0xfe, 0xfd}, bytes.Repeat([]byte{random}, 32)...)
	body = append(body, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0)
	hs := append([]byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(hs))}, hs...)
}

// cs.dtls.race: forged hellos before the true one, from the peer's own address (the asterisk of CVE-2023-49786 lost its call).
func TestLeg_forged_hellos_before_the_true_one(t *testing.T) {
	for name, flood := range map[string]func(n *network, a, b *end){
		"before the answer was known": nil,
		"between answer and hello": func(n *network, a, b *end) {
			for i := range 200 {
				n.inject(b.Local(), a.Local(), hello(byte(i)))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				short := func(c *Config) { c.Handshake = 3 * time.Second }
				a, b := newEnd(t, n.listen(alice), short), newEnd(t, n.listen(bob), short)
				a.run(t)
				if flood == nil {
					for i := range 20 {
						n.inject(b.Local(), a.Local(), hello(byte(i)))
					}
					until(t, "hellos kept", func() bool { return a.Counters().Dropped(DropEarly) == 20 })
				}
				if err := a.Start(agreed(b, sdp.DTLSServer)); err != nil {
					t.Fatal(err)
				}
				if flood != nil {
					flood(n, a, b)
				}
				b.run(t)
				if err := b.Start(agreed(a, sdp.DTLSClient)); err != nil {
					t.Fatal(err)
				}
				secured(t, a, b)
			})
		})
	}
}

// A client with keys that withstand a quantum computer cuts its hello (RFC 6347 4.2.3): each piece finds its handshake, whatever pieces and hellos
// are forged in between.
func TestLeg_hello_in_pieces(t *testing.T) {
	n := newNetwork()
	var forged [][]byte
	for i := range byte(2) {
		whole := hello(i)
		forged = append(forged, whole)
		forged = append(forged, cut(whole)...)
	}
	toBob := netip.MustParseAddrPort(bob)
	n.drop = func(from, to netip.AddrPort, b []byte) bool {
		if from == toBob || classify(b) != kindDTLS {
			return false
		}
		for _, piece := range cut(b) {
			n.inject(from, to, piece)
			for _, f := range forged {
				n.inject(from, to, f)
			}
		}
		return true
	}
	a, b := call(t, n, nil, func(a, b *sdp.Agreed) { a.Role, b.Role = sdp.DTLSClient, sdp.DTLSServer })
	secured(t, a, b)
	if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
		t.Fatal(err)
	}
	until(t, "a frame", func() bool { return b.count() == 1 })
}

// cut makes two pieces of the ClientHello in a datagram. Records in clear get other numbers, so that no two have the same; what holds no hello is
// one piece.
func cut(b []byte) [][]byte {
	b = bytes.Clone(b)
	for at := 0; at+recordHeader <= len(b); at += recordHeader + int(binary.BigEndian.Uint16(b[at+11:])) {
		if binary.BigEndian.Uint16(b[at+3:]) == 0 {
			binary.BigEndian.PutUint32(b[at+7:], 2*binary.BigEndian.Uint32(b[at+7:]))
		}
	}
	if _, ok := helloOf(b); !ok {
		return [][]byte{b}
	}
	body := b[recordHeader+handshakeHeader:]
	piece := func(from, to int, number uint32) []byte {
		p := append(bytes.Clone(b[:recordHeader+handshakeHeader]), body[from:to]...)
		binary.BigEndian.PutUint32(p[7:], binary.BigEndian.Uint32(p[7:])+number)
		binary.BigEndian.PutUint16(p[11:], uint16(handshakeHeader+to-from))
		for i, v := range []int{from, to - from} {
			p[recordHeader+6+3*i], p[recordHeader+7+3*i], p[recordHeader+8+3*i] = byte(v>>16), byte(v>>8), byte(v)
		}
		return p
	}
	const half = 40 // octets: the random is in the first piece
	return [][]byte{piece(0, half, 0), piece(half, len(body), 1)}
}

func TestLeg_hello_that_came_before_the_answer_is_not_lost(t *testing.T) {
	n := newNetwork()
	var came atomic.Bool
	n.drop = func(from, _ netip.AddrPort, b []byte) bool { // who does not keep the hello waits for it in vain
		h, hello := helloOf(b)
		return came.Load() && hello && h.seq == 0 && from == netip.MustParseAddrPort(bob)
	}
	a, b := newEnd(t, n.listen(alice), nil), newEnd(t, n.listen(bob), nil)
	a.run(t)
	b.run(t)
	if err := b.Start(agreed(a, sdp.DTLSClient)); err != nil {
		t.Fatal(err)
	}
	until(t, "the early hello", func() bool { return a.Counters().Dropped(DropEarly) > 0 })
	came.Store(true)
	if err := a.Start(agreed(b, sdp.DTLSServer)); err != nil {
		t.Fatal(err)
	}
	secured(t, a, b)
}

func TestLeg_handshake_over_a_lossy_path(t *testing.T) {
	n := newNetwork()
	i := 0
	n.drop = func(_, _ netip.AddrPort, b []byte) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		i++
		return classify(b) == kindDTLS && i%5 == 2
	}
	a, b := call(t, n, nil, nil)
	secured(t, a, b)
}

func TestLeg_nobody_answers(t *testing.T) {
	n := newNetwork()
	for _, role := range []sdp.Role{sdp.DTLSClient, sdp.DTLSServer} {
		a := newEnd(t, n.listen(alice), func(c *Config) { c.Handshake = 100 * time.Millisecond })
		b := newEnd(t, n.listen(bob), nil)
		b.Close()
		a.run(t)
		if err := a.Start(agreed(b, role)); err != nil {
			t.Fatal(err)
		}
		if err := a.wait(t); !errors.Is(err, ErrHandshake) {
			t.Errorf("role %v: %v", role, err)
		}
	}
}

func TestLeg_ends(t *testing.T) {
	n := newNetwork()
	a, b := call(t, n, nil, nil)
	secured(t, a, b)
	if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
		t.Fatal(err)
	}
	until(t, "a frame", func() bool { return b.count() == 1 })
	a.Close()
	if err := a.wait(t); err != nil {
		t.Errorf("own close: %v", err)
	}
	if err := b.wait(t); err != nil {
		t.Errorf("close_notify of the peer: %v", err)
	}
	if b.Counters().Byes.Load() != 1 {
		t.Error("no BYE")
	}
}

// Close may fall into any moment of the handshake; Run has to return whenever it does. goleak tells what stays behind.
func TestLeg_closed_in_the_middle_of_the_handshake(t *testing.T) {
	for i := range 40 {
		n := newNetwork()
		seen := 0
		a, b := newEnd(t, n.listen(alice), nil), newEnd(t, n.listen(bob), nil)
		n.tap = func(_, _ netip.AddrPort, p []byte) {
			n.mu.Lock()
			seen++
			last := seen == i/2+1
			n.mu.Unlock()
			if last {
				go a.Close()
			}
		}
		a.run(t)
		b.run(t)
		if err := errors.Join(a.Start(agreed(b, sdp.DTLSServer)), b.Start(agreed(a, sdp.DTLSClient))); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.Done():
		case <-a.Ready():
			a.Close()
		}
		if err := a.wait(t); err != nil {
			t.Errorf("closed at datagram %d: %v", i/2+1, err)
		}
		b.Close()
	}
}

func TestLeg_hold(t *testing.T) {
	a, b := call(t, newNetwork(), nil, nil)
	secured(t, a, b)
	frame := make([]byte, 160)
	write := func() {
		t.Helper()
		if err := a.WriteFrame(frame, 160, false); err != nil {
			t.Fatal(err)
		}
	}
	write()
	until(t, "a frame", func() bool { return b.count() == 1 })
	b.Hold(true, false)
	write()
	until(t, "a frame not delivered", func() bool { return b.Counters().Dropped(DropHold) == 1 })
	a.Hold(false, true)
	write()
	write()
	a.Hold(true, true)
	b.Hold(true, true)
	write()
	until(t, "the frame after the hold", func() bool { return b.count() == 2 })
	if d := b.frames[1].Timestamp - b.frames[0].Timestamp; d != 4*160 {
		t.Errorf("time stood still on hold: %d", d)
	}
}

func TestLeg_reports(t *testing.T) {
	clock := shard.NewFake(time.Unix(1_700_000_000, 0))
	a, b := call(t, newNetwork(), func(c *Config) { c.Clock = clock }, nil)
	secured(t, a, b)
	for range 10 {
		if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "frames", func() bool { return b.count() == 10 })
	for range 60 {
		clock.Advance(time.Second)
		a.Tick()
	}
	sent := a.Counters().ControlOut.Load()
	until(t, "sender reports", func() bool { return b.Counters().ControlIn.Load() == sent })
	if sent < 8 || sent > 26 { // every 2.5 to 7.5 s (RFC 3550 6.3.1)
		t.Errorf("%d reports in a minute", sent)
	}
	for range 60 {
		clock.Advance(time.Second)
		b.Tick()
	}
	until(t, "receiver reports", func() bool { return a.Far().Reports == b.Counters().ControlOut.Load() })
	if f := a.Far(); f.Reports < 8 || f.FractionLost != 0 || b.Counters().Lost.Load() != 0 {
		t.Errorf("%+v", f)
	}
}

// RFC 3550 6.4.1: LSR and DLSR give the round trip without clocks that agree.
func TestReports_arithmetic(t *testing.T) {
	sent := time.Unix(1_700_000_000, 250_000_000)
	var far source
	for i, seq := range []uint16{65534, 65535, 2, 1, 3} { // 0 is lost, 1 comes late, the number wraps
		far.received(seq, uint32(160*i), time.Duration(i)*20*time.Millisecond)
	}
	far.report(ntp(sent), time.Second)
	block := far.block(3 * time.Second)
	if block.TotalLost != 1 || block.FractionLost != 255/6 || block.LastSequenceNumber != 1<<16+3 || block.Delay != 2*65536 {
		t.Errorf("%+v", block)
	}
	s := sender{speech: &speech{}}
	s.header.SSRC = block.SSRC
	s.heard([]rtcp.ReceptionReport{block, {SSRC: 99, FractionLost: 255}}, sent.Add(2*time.Second+30*time.Millisecond))
	if d := s.far.RoundTrip - 30*time.Millisecond; d < -time.Millisecond || d > time.Millisecond || s.far.Reports != 1 {
		t.Errorf("%+v", s.far)
	}
	if again := far.block(4 * time.Second); again.FractionLost != 0 || again.TotalLost != 1 {
		t.Errorf("the second interval lost nothing: %+v", again)
	}
}

func TestLeg_plain_only_where_it_is_allowed(t *testing.T) {
	n := newNetwork()
	plain := func(a, b *sdp.Agreed) {
		for _, g := range []*sdp.Agreed{a, b} {
			g.Keying, g.Role, g.Fingerprints = sdp.PlainRTP, sdp.NoRole, nil
		}
	}
	a, b := call(t, n, func(c *Config) { c.AllowPlain = true }, plain)
	secured(t, a, b)
	if err := a.WriteFrame(make([]byte, 160), 160, false); err != nil {
		t.Fatal(err)
	}
	until(t, "a frame in clear", func() bool { return b.count() == 1 })
	if b.Profile() != 0 {
		t.Error("plain RTP called protected")
	}
	n.inject(netip.MustParseAddrPort(mallory), b.Local(), append([]byte{0x80, 8}, make([]byte, 170)...))
	until(t, "another source refused, also in clear", func() bool { return b.Counters().Dropped(DropSource) == 1 })

	strict := newEnd(t, n.listen("192.0.2.3:1"), nil)
	defer strict.Close()
	for _, g := range []sdp.Agreed{
		{Keying: sdp.PlainRTP}, {Keying: sdp.SDES}, {}, {Role: sdp.DTLSClient}, {Fingerprints: b.Fingerprints()},
	} {
		if err := strict.Start(g); !errors.Is(err, ErrKeying) {
			t.Errorf("%+v: %v", g, err)
		}
	}
}

func TestLeg_start_and_new_refuse(t *testing.T) {
	if _, err := New(Config{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	a, b := call(t, newNetwork(), nil, nil)
	if err := a.Start(agreed(b, sdp.DTLSServer)); !errors.Is(err, ErrStarted) {
		t.Error(err)
	}
	c := newEnd(t, newNetwork().listen(alice), nil)
	defer c.Close()
	if err := c.WriteFrame(nil, 0, false); !errors.Is(err, ErrNotReady) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
}

// An authenticated peer may not fill memory with sources.
func TestLeg_sources_are_bounded(t *testing.T) {
	a, b := call(t, newNetwork(), func(c *Config) { c.AllowPlain = true }, func(a, b *sdp.Agreed) {
		for _, g := range []*sdp.Agreed{a, b} {
			g.Keying, g.Role = sdp.PlainRTP, sdp.NoRole
		}
	})
	secured(t, a, b)
	for i := range 10 {
		p := append([]byte{0x80, 8, 0, byte(i), 0, 0, 0, 0, 0, 0, 0, byte(i)}, make([]byte, 160)...)
		if err := a.wire.write(p, b.Local()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all ten", func() bool { return b.count()+int(b.Counters().Dropped(DropSSRC)) == 10 })
	if b.count() != maxSources {
		t.Errorf("%d sources heard", b.count())
	}
}

func TestCertificates_are_new_for_every_leg(t *testing.T) {
	c, err := NewCertificate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewCertificate(zeros{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c.Fingerprint() == d.Fingerprint() || c.String() != "[redacted]" || c.LogValue().String() != "[redacted]" {
		t.Error("same certificate twice, or a key that prints")
	}
}

func TestLeg_over_UDP(t *testing.T) {
	listen := func() net.PacketConn {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Skipf("no loopback: %v", err)
		}
		return c
	}
	a, b := newEnd(t, listen(), nil), newEnd(t, listen(), nil)
	a.run(t)
	b.run(t)
	if err := errors.Join(a.Start(agreed(b, sdp.DTLSServer)), b.Start(agreed(a, sdp.DTLSClient))); err != nil {
		t.Fatal(err)
	}
	secured(t, a, b)
	if err := b.WriteFrame(make([]byte, 160), 160, true); err != nil {
		t.Fatal(err)
	}
	until(t, "a frame", func() bool { return a.count() == 1 })
}

func FuzzPacket(f *testing.F) {
	f.Add(hello(1))
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{0x81, 203, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40})
	n := newNetwork()
	e := newEnd(f, n.listen(alice), func(c *Config) { c.AllowPlain = true; c.Clock = shard.NewFake(time.Unix(0, 0)) })
	g := agreed(e, sdp.DTLSServer)
	g.Keying, g.Role, g.Remote = sdp.PlainRTP, sdp.NoRole, netip.MustParseAddrPort(bob)
	if err := e.Start(g); err != nil {
		f.Fatal(err)
	}
	e.run(f)
	<-e.Ready()
	f.Fuzz(func(t *testing.T, b []byte) {
		classify(b)
		helloOf(b)
		clearAlert(b)
		n.inject(g.Remote, e.Local(), b)
	})
}
