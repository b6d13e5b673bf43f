package clientservice

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/secure"
	"imsafe/test/peer"
)

// client is an honest end with a socket of its own.
type client struct {
	*rtpport.Leg
	conn   *net.UDPConn
	keying sdp.Keying
	key    sdp.Crypto
	told   func(*rtpport.Frame) // in the place of heard, for benchmarks; set while nothing comes
	stop   func()               // waits until it has ended; twice is harmless
	mu     sync.Mutex
	heard  [][]byte
}

func newClient(t testing.TB, address string, keying sdp.Keying) *client {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := rtpport.NewCertificate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{conn: conn, keying: keying}
	if c.key, err = sdp.NewCrypto(rand.Reader, 1, sdp.AESCM128SHA1); err != nil {
		t.Fatal(err)
	}
	c.Leg, err = rtpport.New(rtpport.Config{Conn: conn, Clock: shard.RealClock(), Rand: rand.Reader, Certificate: certificate, AllowPlain: true,
		AllowSDES: true, Receive: c.hear})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	c.stop = sync.OnceFunc(func() { c.Close(); <-done })
	t.Cleanup(c.stop)
	return c
}

func (c *client) hear(f *rtpport.Frame) {
	if c.told != nil {
		c.told(f)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, bytes.Clone(f.Payload))
}

func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.heard)
}

// said is the first octet of a frame that was heard.
func (c *client) said(i int) byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard[i][0]
}

// remote is the client as the anchor is told of it.
func (c *client) remote(ours iq.End) iq.Remote {
	r := iq.Remote{Media: c.Local(), Control: c.Local(), Keying: c.keying, Confidential: true, Waived: true}
	switch c.keying {
	case sdp.DTLSSRTP:
		r.Role, r.Fingerprints = sdp.DTLSServer, c.Fingerprints()
	case sdp.SDES:
		r.Peer = c.key
		for _, k := range ours.Crypto {
			if k.Suite == sdp.AESCM128SHA1 {
				r.Local = k
			}
		}
	}
	r.Types.Add(8)
	return r
}

// join tells the client of an end of the anchor.
func (c *client) join(t testing.TB, e iq.End, r iq.Remote) {
	t.Helper()
	a := sdp.Agreed{Keying: c.keying, Role: sdp.DTLSClient, Fingerprints: e.Fingerprints, Codec: sdp.PCMA(), SendPT: 8, RecvPT: 8, Send: true, Receive: true,
		Remote: e.Media, RTCPMux: true}
	var err error
	if c.keying == sdp.SDES {
		err = c.StartSDES(a, c.key, r.Local)
	} else {
		err = c.Start(a)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition, for a minute of real time.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(2*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// half is one half of a call: a session for a client.
type half struct {
	*client
	iq.Stream
}

func newHalf(t testing.TB, g *Gateway, c *client) *half {
	t.Helper()
	h := reserve(t, g, c)
	c.join(t, h.Ends[iq.Access], c.remote(h.Ends[iq.Access]))
	return h
}

// reserve makes the half that the client joins.
func reserve(t testing.TB, g *Gateway, c *client) *half {
	t.Helper()
	m := iq.Medium{User: c.Local().String(), Kind: "audio", Suites: sdp.Suites()}
	m.Families[iq.Access] = iq.FamilyOf(c.Local().Addr())
	st, err := g.Reserve(0, m)
	must(t, err)
	must(t, g.Configure(st.Session, st.Number, iq.Access, 0, c.remote(st.Ends[iq.Access])))
	return &half{c, st}
}

// core is the half as the other one is told of it.
func (h *half) core() iq.Remote {
	e := h.Ends[iq.Core]
	r := iq.Remote{Media: e.Media, Control: e.Media, Keying: sdp.DTLSSRTP, Role: sdp.DTLSServer, Fingerprints: e.Fingerprints}
	r.Types.Add(8)
	return r
}

func (h *half) through(g *Gateway, access, core bool) {
	g.Through(h.Session, h.Number, [2]bool{access, core})
}

// call links two clients through the anchor.
func call(t testing.TB, g *Gateway, a, b *client) (*half, *half) {
	t.Helper()
	x, y := newHalf(t, g, a), newHalf(t, g, b)
	link(t, g, x, y)
	for _, c := range []*client{a, b} {
		select {
		case <-c.Ready():
		case <-time.After(time.Minute):
			t.Fatal("no keys")
		}
	}
	return x, y
}

// link lets two halves lead to each other.
func link(t testing.TB, g *Gateway, x, y *half) {
	t.Helper()
	must(t, g.Configure(y.Session, 0, iq.Core, 1, x.core()))
	must(t, g.Configure(x.Session, 0, iq.Core, 5, y.core()))
	x.through(g, true, true)
	y.through(g, true, true)
}

// talk sends frames both ways until each end has heard some: the other leg of the anchor may get its keys a moment later.
func talk(t testing.TB, a, b *client) {
	t.Helper()
	from, to := a.count(), b.count()
	until(t, "voice both ways", func() bool {
		must(t, errors.Join(a.WriteFrame(bytes.Repeat([]byte{1}, 160), 160, false), b.WriteFrame(bytes.Repeat([]byte{2}, 160), 160, false)))
		return a.count() >= from+3 && b.count() >= to+3
	})
	if a.said(from) == 1 || b.said(to) == 2 {
		t.Error("they hear themselves")
	}
}

func TestRelay(t *testing.T) {
	keyings := []sdp.Keying{sdp.DTLSSRTP, sdp.SDES, sdp.PlainRTP}
	for _, of := range keyings {
		for _, with := range keyings {
			t.Run(of.String()+" with "+with.String(), func(t *testing.T) {
				g := start(t, nil, nil)
				free := g.Free()
				a, b := newClient(t, "127.0.0.1", of), newClient(t, "127.0.0.1", with)
				x, y := call(t, g, a, b)
				talk(t, a, b)
				y.through(g, false, true)
				heard, gated := a.count(), g.Counters().Gated.Load()
				until(t, "the gate holds", func() bool {
					must(t, b.WriteFrame(make([]byte, 160), 160, false))
					return g.Counters().Gated.Load() > gated+3
				})
				if late := a.count() - heard; late > 3 { // what was under way
					t.Errorf("%d frames through a closed gate", late)
				}
				y.through(g, true, true)
				talk(t, a, b)
				g.Release(x.Session)
				g.Release(y.Session)
				if g.Free() != free {
					t.Errorf("%d pairs of ports are left, %d before", g.Free(), free)
				}
			})
		}
	}
}

func TestRelay_between_IPv4_and_IPv6(t *testing.T) {
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		peer.Missing(t, "loopback with IPv6: "+err.Error())
	} else {
		_ = c.Close()
	}
	g := start(t, nil, func(c *Config) { c.Listen = append(c.Listen, netip.MustParseAddrPort("[::1]:13400")) })
	a, b := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "::1", sdp.SDES)
	call(t, g, a, b)
	talk(t, a, b)
}

// TestRelay_RTCP_on_a_port_of_its_own: one end does rtcp-mux, the other does not.
func TestRelay_RTCP_on_a_port_of_its_own(t *testing.T) {
	g := start(t, nil, nil)
	a, b := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.PlainRTP)
	control, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer control.Close()
	x := newHalf(t, g, a)
	m := iq.Medium{User: "b", Kind: "audio", Separate: [2]bool{true, false}}
	st, err := g.Reserve(0, m)
	must(t, err)
	y := &half{b, st}
	r := b.remote(st.Ends[iq.Access])
	r.Control = netip.MustParseAddrPort(control.LocalAddr().String())
	must(t, g.Configure(st.Session, 0, iq.Access, 0, r))
	b.join(t, st.Ends[iq.Access], r)
	must(t, g.Configure(y.Session, 0, iq.Core, 1, x.core()))
	must(t, g.Configure(x.Session, 0, iq.Core, 5, y.core()))
	x.through(g, true, true)
	y.through(g, true, true)
	<-a.Ready()
	<-b.Ready()
	talk(t, a, b)

	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 7} // an empty receiver report of source 7
	_, err = control.WriteToUDPAddrPort(report, st.Ends[iq.Access].Control)
	must(t, err)
	until(t, "the report at the end with rtcp-mux", func() bool { return a.Counters().ControlIn.Load() == 1 })
	got := make(chan []byte, 16)
	go func() {
		defer close(got)
		for buf := make([]byte, 2048); ; {
			n, from, err := control.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if from == st.Ends[iq.Access].Control {
				got <- bytes.Clone(buf[:n])
			}
		}
	}()
	a.Tick()
	a.Close() // says BYE
	select {
	case b := <-got:
		if len(b) < 8 || b[1] < 200 || b[1] > 203 {
			t.Errorf("%x at the port of RTCP", b)
		}
	case <-time.After(time.Minute):
		t.Fatal("no RTCP at its port")
	}
	must(t, control.Close())
	for range got { //nolint:revive // until the reader has ended
	}
}

// A far end that is no client of this anchor: a service platform that answers itself, then a branch behind it.
func TestRelay_to_other_far_ends(t *testing.T) {
	g := start(t, nil, nil)
	a := newClient(t, "127.0.0.1", sdp.DTLSSRTP)
	x := newHalf(t, g, a)
	x.through(g, true, true)
	branches := []*client{newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP)}
	for i, b := range branches {
		r := b.remote(x.Ends[iq.Core])
		b.join(t, x.Ends[iq.Core], r)
		must(t, g.Configure(x.Session, 0, iq.Core, iq.Branch(i+1), r))
	}
	for _, c := range append(branches, a) {
		<-c.Ready()
	}
	talk(t, a, branches[1]) // the last that was told
	first, quiet := branches[0], branches[0].count()
	gated := g.Counters().Gated.Load()
	until(t, "the first is not heard", func() bool {
		must(t, first.WriteFrame(make([]byte, 160), 160, false))
		return g.Counters().Gated.Load() > gated+2
	})
	if first.count() != quiet {
		t.Error("a branch that is not heard hears")
	}
	must(t, g.Configure(x.Session, 0, iq.Core, 1, first.remote(x.Ends[iq.Core]))) // it answers
	g.Confirm(x.Session, 1)
	talk(t, a, first)
}

// lost notes what the anchor pushes.
type lost chan iq.Reason

func (l lost) Lost(_ iq.Session, why iq.Reason) { l <- why }

func TestLost_another_certificate(t *testing.T) {
	g := start(t, nil, nil)
	told := make(lost, 4)
	g.Plug(told)
	a, mallory := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP)
	st, err := g.Reserve(0, iq.Medium{User: "a", Kind: "audio"})
	must(t, err)
	r := a.remote(st.Ends[iq.Access])
	r.Fingerprints = mallory.Fingerprints()
	must(t, g.Configure(st.Session, 0, iq.Access, 0, r))
	a.join(t, st.Ends[iq.Access], r)
	select {
	case why := <-told:
		if why != iq.ReasonFingerprint {
			t.Errorf("lost for %s", why)
		}
	case <-time.After(time.Minute):
		t.Fatal("nobody is told")
	}
}

func TestSweep_silence(t *testing.T) {
	clock := shard.NewFake(time.Unix(1_700_000_000, 0))
	g, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:13400")}, Ports: 40, Audio: 64, Video: 64, Silence: 10 * time.Minute},
		Ports{Clock: clock, Random: rand.Reader, Gate: secure.NewGate(nil, nil), Listen: listen, Log: quiet})
	must(t, err)
	defer g.Close()
	told := make(lost, 4)
	g.Plug(told)
	st, err := g.Reserve(0, iq.Medium{User: "a", Kind: "audio"})
	must(t, err)
	pass := func(d time.Duration) {
		for range 4 {
			clock.AdvanceTo(clock.Now() + d/4)
			g.Sweep()
		}
	}
	pass(time.Hour)
	if len(told) != 0 {
		t.Error("a call on hold was ended")
	}
	g.Through(st.Session, 0, [2]bool{true, true})
	pass(8 * time.Minute)
	if len(told) != 0 {
		t.Error("too early")
	}
	pass(10 * time.Minute)
	pass(10 * time.Minute)
	if len(told) != 1 || <-told != iq.ReasonSilence {
		t.Error("a call that both have left stands")
	}
}

// heard is a sink.
type heard struct {
	mu     sync.Mutex
	events map[secure.ControlID]int
}

func (h *heard) Refused(e secure.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.events == nil {
		h.events = map[secure.ControlID]int{}
	}
	h.events[e.Control]++
}

func (h *heard) of(c secure.ControlID) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[c]
}

// Each check tells the gate by the name of its control, the first times; with the control off it lets through.
func TestRefusals(t *testing.T) {
	forged := append(append([]byte{0x80, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 77}, make([]byte, 160)...), make([]byte, 16)...)
	for _, c := range []struct {
		name    string
		control secure.ControlID
		do      func(t *testing.T, g *Gateway, x *half, b *client)
	}{
		{"a stranger", secure.CSConfidentialityNoLearn, func(t *testing.T, _ *Gateway, x *half, _ *client) {
			stranger, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(x.Ends[iq.Access].Media))
			must(t, err)
			defer stranger.Close()
			_, err = stranger.Write(forged)
			must(t, err)
		}},
		{"a forged tag", secure.CSIntegritySRTPVerify, func(t *testing.T, _ *Gateway, x *half, _ *client) {
			_, err := x.conn.WriteToUDPAddrPort(forged, x.Ends[iq.Access].Media)
			must(t, err)
		}},
		{"too many", secure.CSAvailabilityPortBudget, func(t *testing.T, _ *Gateway, x *half, _ *client) {
			for range 100 { // a socket has room for some hundred
				must(t, x.WriteFrame(make([]byte, 20), 160, false))
			}
		}},
		{"a note in a report", secure.CSAvailabilityMediaShape, func(t *testing.T, _ *Gateway, x *half, _ *client) {
			const note = "\x80\xc9\x00\x01\x00\x00\x00\x07" + "\x81\xca\x00\x05\x00\x00\x00\x07" + "\x01\x05alice\x07\x04data\x00\x00\x00" // RR, SDES: CNAME, NOTE
			must(t, x.Forward([]byte(note), true))
		}},
		{"a key of before", secure.CSConfidentialityKeyFresh, func(t *testing.T, g *Gateway, _ *half, _ *client) {
			a := newClient(t, "127.0.0.1", sdp.SDES)
			for range 2 {
				st, err := g.Reserve(0, iq.Medium{User: "x", Kind: "audio", Suites: sdp.Suites()})
				must(t, err)
				_ = g.Configure(st.Session, 0, iq.Access, 0, a.remote(st.Ends[iq.Access]))
			}
		}},
	} {
		for _, off := range []bool{false, true} {
			t.Run(c.name+map[bool]string{false: "", true: " in a laboratory"}[off], func(t *testing.T) {
				sink := &heard{}
				gate := secure.NewGate(nil, sink)
				if off {
					gate = secure.NewGate([]secure.ControlID{c.control}, sink)
				}
				g := start(t, gate, nil)
				a, b := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP)
				x, _ := call(t, g, a, b)
				talk(t, a, b)
				before := sink.of(c.control)
				until(t, "the gate hears of it", func() bool {
					c.do(t, g, x, b)
					return sink.of(c.control) > before
				})
				if refused, passed := gate.Counts(c.control); (refused > 0) == off || (passed > 0) != off {
					t.Errorf("refused %d, passed %d", refused, passed)
				}
			})
		}
	}
}

// A flood at the ports of one call moves no other, and the gate is not busied by it.
func TestFlood_stays_at_its_port(t *testing.T) {
	sink := &heard{}
	g := start(t, secure.NewGate(nil, sink), nil)
	a, b, c, d := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP)
	x, _ := call(t, g, a, b)
	call(t, g, c, d)
	flood, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(x.Ends[iq.Access].Media))
	must(t, err)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for packet := make([]byte, 200); ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				packet[0] = 0x80
				_, _ = flood.Write(packet) // what the socket has no room for is lost
			}
		}
	}()
	from, sent := d.count(), 0
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		must(t, c.WriteFrame(make([]byte, 160), 160, false))
		sent++
	}
	close(stop)
	n := <-stopped
	must(t, flood.Close())
	until(t, "the other call goes on", func() bool { return d.count()-from >= sent*95/100 })
	talk(t, a, b)
	refused, events := g.Counters().Refused.Load(), sink.of(secure.CSConfidentialityNoLearn)
	t.Logf("%d packets of flood, %d read and refused, %d events", n, refused, events)
	if refused == 0 || events > 64 {
		t.Errorf("%d refused, %d events", refused, events)
	}
}
