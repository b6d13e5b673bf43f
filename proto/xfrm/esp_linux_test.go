package xfrm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/proto/shard"
)

// The two ends of these tests: the kernel is the P-CSCF, and the UE is proto/esp on a raw socket, in one guest.
var (
	kernelEnd = netip.MustParseAddr("127.0.0.1")
	clientEnd = netip.MustParseAddr("127.0.0.2")
)

const (
	ps  = 6060
	pc  = 6061 // the first of ten
	pcs = 10
	us  = 39001
)

func protectedPorts() []uint16 {
	all := []uint16{ps}
	for i := range uint16(pcs) {
		all = append(all, pc+i)
	}
	return all
}

// duet is both ends.
type duet struct {
	t     *testing.T
	k     *Kernel
	e     *Engine
	ports *Ports
	came  chan esp.Datagram

	ue    *esp.Engine
	tcp   *espnet.Stack
	front *esp.Front
	back  chan string // what came to the UE
	next  uint16      // uc
}

func newDuet(t *testing.T) *duet {
	t.Helper()
	d := &duet{t: t, k: open(t), came: make(chan esp.Datagram, 64), back: make(chan string, 64), next: 38001}
	clock := shard.RealClock()
	book := esp.New(esp.Config{Random: rand.Reader, Clock: clock, Notify: func(r esp.Ref, o shard.Place, n esp.Notice) { d.e.Notice(r, o, n) }})
	d.e = New(Config{Book: book, Clock: clock})
	running(t, d.e, open(t), open(t))
	if err := d.k.Protect(kernelEnd, protectedPorts()...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := d.k.Sweep(kernelEnd); err != nil {
			t.Error(err)
		}
	})
	d.openPorts()
	d.openClient()
	return d
}

func (d *duet) openPorts() {
	cfg := PortsConfig{Shards: 1, Pause: func(context.Context) {}, Datagram: func(g *esp.Datagram) {
		c := *g
		c.Payload = bytes.Clone(g.Payload)
		d.came <- c
	}, Dial: func(ctx context.Context, here, there netip.AddrPort) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(here), Control: Require(here), Timeout: 5 * time.Second}
		return dialer.DialContext(ctx, "tcp", there.String())
	}}
	for _, port := range protectedPorts() {
		at := netip.AddrPortFrom(kernelEnd, port)
		lc := net.ListenConfig{Control: Require(at)}
		c, err := lc.ListenPacket(context.Background(), "udp", at.String())
		if err != nil {
			d.t.Fatal(err)
		}
		cfg.UDP = append(cfg.UDP, c.(*net.UDPConn))
		if port == ps {
			if cfg.Server, err = lc.Listen(context.Background(), "tcp", at.String()); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	var err error
	if d.ports, err = d.e.Open(cfg); err != nil {
		d.t.Fatal(err)
	}
	d.background(d.ports.Run)
}

// background runs f until the test ends.
func (d *duet) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	d.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
	})
}

func (d *duet) openClient() {
	lc := net.ListenConfig{Control: esp.SocketOptions}
	raw, err := lc.ListenPacket(context.Background(), esp.Network4, clientEnd.String())
	if err != nil {
		d.t.Fatal(err)
	}
	d.ue = esp.New(esp.Config{Random: rand.Reader})
	if d.tcp, err = espnet.New(d.ue, espnet.Config{Random: rand.Reader}); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = d.tcp.Close() }) // it has no error
	d.front = d.tcp.NewFront(esp.Raw(raw.(*net.IPConn)), esp.FrontConfig{UDP: func(g *esp.Datagram) { d.back <- string(g.Payload) }})
	d.background(d.front.Run)
}

// pair is an agreement at both ends.
type pair struct {
	kernel, ue esp.Ref
	theirs     esp.Agreement
}

// agree makes one, for life.
func (d *duet) agree(tr esp.Transform, life time.Duration) (p pair) {
	d.t.Helper()
	spiK, err := d.e.Reserve(kernelEnd)
	if err != nil {
		d.t.Fatal(err)
	}
	spiU, err := d.ue.Reserve(clientEnd, spiK[0], spiK[1])
	if err != nil {
		d.t.Fatal(err)
	}
	d.next++
	here, there := esp.Ends{Port: [2]uint16{pc + d.next%pcs, ps}, SPI: spiK}, esp.Ends{Port: [2]uint16{d.next, us}, SPI: spiU}
	var ck aka.CK
	var ik aka.IK
	_, _ = rand.Read(ck[:])
	_, _ = rand.Read(ik[:])
	p.kernel, err = d.e.Install(&esp.Agreement{Role: esp.PCSCF, Owner: shard.Place{Slot: uint32(d.next), Gen: 1}, Local: kernelEnd, Peer: clientEnd, Here: here,
		There: there, Transform: tr, CK: ck, IK: ik, Life: life, AllowWithdrawn: true})
	if err != nil {
		d.t.Fatal(err)
	}
	stands := make(chan error, 1)
	d.e.Standing(p.kernel, func(err error) { stands <- err })
	if err := <-stands; err != nil {
		d.t.Fatal(err)
	}
	p.theirs = esp.Agreement{Role: esp.UE, Local: clientEnd, Peer: kernelEnd, Here: there, There: here, Transform: tr, CK: ck, IK: ik, AllowWithdrawn: true}
	if p.ue, err = d.ue.Install(&p.theirs); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		d.e.Remove(p.kernel)
		d.ue.Remove(p.ue)
	})
	return p
}

// exchange sends a request and its answer.
func (d *duet) exchange(p pair, words string) {
	d.t.Helper()
	if err := d.front.Send(p.ue, esp.Client, []byte(words)); err != nil {
		d.t.Fatal(err)
	}
	select {
	case g := <-d.came:
		if g.Agreement != p.kernel || string(g.Payload) != words || g.Side != esp.Server || g.Owner.Slot != uint32(p.theirs.Here.Port[esp.Client]) {
			d.t.Fatalf("%+v", g)
		}
	case <-time.After(time.Minute):
		d.t.Fatalf("%q did not come; the kernel counts %v", words, stat(d.t))
	}
	if err := d.ports.Send(p.kernel, esp.Client, []byte(words)); err != nil {
		d.t.Fatal(err)
	}
	select {
	case got := <-d.back:
		if got != words {
			d.t.Fatalf("answer %q", got)
		}
	case <-time.After(time.Minute):
		d.t.Fatal("no answer")
	}
}

// silent fails the test if something comes to the P-CSCF.
func (d *duet) silent(what string) {
	d.t.Helper()
	select {
	case g := <-d.came:
		d.t.Errorf("%s came: %q", what, g.Payload)
	case <-time.After(100 * time.Millisecond):
	}
}

func stat(t *testing.T) map[string]uint64 {
	t.Helper()
	text, err := os.ReadFile(StatFile)
	if err != nil {
		t.Fatal(err)
	}
	return maps.Collect(Stat(text))
}

func TestESP_exchange(t *testing.T) {
	needESP(t)
	d := newDuet(t)
	for _, tr := range allPairs {
		p := d.agree(tr, time.Minute)
		for _, words := range []string{"a", "hello", string(bytes.Repeat([]byte("x"), 5000))} {
			d.exchange(p, words)
		}
		if s, ok := d.e.Status(p.kernel); !ok || !s.Used() {
			t.Errorf("%+v", s)
		}
	}
}

// TestESP_attacks: the counter named moves, and nothing comes.
func TestESP_attacks(t *testing.T) {
	needESP(t)
	d := newDuet(t)
	p := d.agree(allPairs[0], time.Minute)
	d.exchange(p, "honest")
	seal := func() []byte {
		packet, _, err := d.ue.SealUDP(nil, p.ue, esp.Client, []byte("attack"))
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	raw, err := net.ListenIP(esp.Network4, &net.IPAddr{IP: clientEnd.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	put := func(packet []byte) {
		if _, err := raw.WriteToIP(packet, &net.IPAddr{IP: kernelEnd.AsSlice()}); err != nil {
			t.Fatal(err)
		}
	}
	other := p.theirs // the keys are the UE's own, so it can seal for any port
	other.Here.Port = [2]uint16{40000, 40001}
	if other.Here.SPI, err = d.ue.Reserve(clientEnd); err != nil {
		t.Fatal(err)
	}
	liar, err := d.ue.Install(&other)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct {
		name, counter string
		do            func()
	}{
		{"replay", "XfrmInStateSeqError", func() {
			packet := seal()
			put(bytes.Clone(packet))
			<-d.came
			put(packet)
		}},
		{"flipped", "XfrmInStateProtoError", func() {
			packet := seal()
			packet[30] ^= 1
			put(packet)
		}},
		{"unknown SPI", "XfrmInNoStates", func() {
			packet := seal()
			packet[2] ^= 1
			put(packet)
		}},
		{"another inner port", "XfrmInStateMismatch", func() {
			var packet []byte
			for range 10 { // the honest one's numbers would be replays
				if packet, _, err = d.ue.SealUDP(nil, liar, esp.Client, []byte("attack")); err != nil {
					t.Fatal(err)
				}
			}
			put(packet)
		}},
		{"in clear", "XfrmInTmplMismatch", func() {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(clientEnd, p.theirs.Here.Port[esp.Client])))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.WriteToUDPAddrPort([]byte("attack"), netip.AddrPortFrom(kernelEnd, ps)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		before := stat(t)
		a.do()
		d.silent(a.name)
		after := stat(t)
		if after[a.counter] != before[a.counter]+1 {
			for name := range after {
				if after[name] != before[name] {
					t.Logf("%s: %d more", name, after[name]-before[name])
				}
			}
			t.Errorf("%s: %s did not move by one", a.name, a.counter)
		}
	}
	d.exchange(p, "still honest")
}

// TestESP_no_association: what there is no association for does not leave, and what ends takes its port with it.
func TestESP_no_association(t *testing.T) {
	needESP(t)
	d := newDuet(t)
	hears, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(clientEnd, us)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hears.Close() }()
	p := d.agree(allPairs[0], time.Minute)
	d.e.Remove(p.kernel)
	for d.e.Traffic().Removed.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	if err := d.ports.Send(p.kernel, esp.Client, []byte("late")); !errors.Is(err, esp.ErrGone) {
		t.Error(err)
	}
	booked := esp.Agreement{Role: esp.PCSCF, Outside: true, Local: kernelEnd, Peer: clientEnd, Transform: allPairs[0],
		Here: esp.Ends{Port: [2]uint16{pc, ps}}, There: esp.Ends{Port: [2]uint16{41000, us}, SPI: [2]uint32{3001, 3002}}}
	if booked.Here.SPI, err = d.e.Reserve(kernelEnd); err != nil {
		t.Fatal(err)
	}
	ref, err := d.e.Engine.Install(&booked) // in the book alone
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ports.Send(ref, esp.Client, []byte("in clear")); err == nil {
		t.Error("it was sent")
	}
	if n := d.e.Traffic().SendErrors.Load(); n != 1 {
		t.Errorf("%d errors were counted", n)
	}
	if err := hears.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := hears.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d octets in clear, %v", n, err)
	}
}

// TestESP_life: the kernel ends what is over by itself and says so; a longer life is given without touching keys or the replay state.
func TestESP_life(t *testing.T) {
	needESP(t)
	d := newDuet(t)
	const life = 3 * time.Second // within which the long one is given more, also in a guest that gets little of a processor
	short, long := d.agree(allPairs[0], life), d.agree(allPairs[2], life)
	packet, _, err := d.ue.SealUDP(nil, long.ue, esp.Client, []byte("once"))
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(kernelEnd, 0)
	wire := bytes.Clone(packet)
	raw, err := net.ListenIP(esp.Network4, &net.IPAddr{IP: clientEnd.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	put := func() {
		if _, err := raw.WriteToIP(bytes.Clone(wire), &net.IPAddr{IP: to.Addr().AsSlice()}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	<-d.came
	if !d.e.Extend(long.kernel, time.Minute) {
		t.Fatal("it is gone")
	}
	for end := time.Now().Add(time.Minute); d.e.Traffic().Expired.Load() == 0; {
		if time.Now().After(end) {
			t.Fatal("the kernel does not say that the short one has ended")
		}
		<-time.After(50 * time.Millisecond)
	}
	if _, there := d.e.Status(short.kernel); there {
		t.Error("the short one is there")
	}
	replays := stat(t)["XfrmInStateSeqError"]
	put()
	d.silent("a replay after Extend")
	if now := stat(t)["XfrmInStateSeqError"]; now != replays+1 {
		t.Errorf("the replay was dropped for another reason")
	}
	d.exchange(long, "still the same keys")
	d.e.Remove(long.kernel)
	if found, err := d.k.Sweep(kernelEnd); err != nil || found.Associations > 4 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestESP_streams: connections of both ends carry their agreement and end with it.
func TestESP_streams(t *testing.T) {
	needESP(t)
	d := newDuet(t)
	p := d.agree(allPairs[0], time.Minute)
	ln, err := d.tcp.Listen(netip.AddrPortFrom(clientEnd, us))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := d.tcp.Dial(ctx, p.ue)
	if err != nil {
		t.Fatal(err, stat(t))
	}
	defer func() { _ = out.Close() }()
	in, err := d.ports.Listeners()[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again over the same ports, at once
		back, err := d.ports.Dial(ctx, p.kernel)
		for errors.Is(err, syscall.ECONNREFUSED) && ctx.Err() == nil { // the UE has not noticed yet that the one before has ended
			back, err = d.ports.Dial(ctx, p.kernel)
		}
		if err != nil {
			t.Fatal(err, stat(t))
		}
		taken, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		says(t, back, taken)
		says(t, taken, back)
		if err := back.Close(); err != nil {
			t.Error(err)
		}
		_ = taken.Close()
	}
	if ref, owner, side := in.(*Conn).Agreement(); ref != p.kernel || owner.Slot != uint32(d.next) || side != esp.Server {
		t.Error("it came by another agreement")
	}
	says(t, out, in)
	says(t, in, out)
	d.e.Remove(p.kernel)
	if n, err := in.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("after its end: %d octets, %v", n, err)
	}
	if _, err := d.ports.Dial(ctx, p.kernel); !errors.Is(err, esp.ErrGone) {
		t.Error(err)
	}
}

func says(t *testing.T, from, to net.Conn) {
	t.Helper()
	words := []byte("words")
	if _, err := from.Write(words); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(words))
	if err := to.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, words) {
		t.Fatalf("%q, %v", got, err)
	}
}
