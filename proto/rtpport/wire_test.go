package rtpport

import (
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
)

// network is a switch in memory. An attacker is whoever calls inject: any source address he likes.
type network struct {
	mu    sync.Mutex
	ports map[netip.AddrPort]*port
	tap   func(from, to netip.AddrPort, b []byte) // sees everything that is sent; may be nil
	drop  func(from, to netip.AddrPort, b []byte) bool
}

type port struct {
	net  *network
	addr netip.AddrPort
	in   chan datagram
	done chan struct{}
	once sync.Once
}

type datagram struct {
	b    []byte
	from netip.AddrPort
}

func newNetwork() *network { return &network{ports: map[netip.AddrPort]*port{}} }

func (n *network) listen(addr string) *port {
	p := &port{net: n, addr: netip.MustParseAddrPort(addr), in: make(chan datagram, 256), done: make(chan struct{})}
	n.mu.Lock()
	n.ports[p.addr] = p
	n.mu.Unlock()
	return p
}

func (n *network) inject(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	p := n.ports[to]
	n.mu.Unlock()
	if p == nil {
		return
	}
	select {
	case p.in <- datagram{append([]byte(nil), b...), from}:
	case <-p.done:
	default: // a full queue loses packets, as sockets do
	}
}

func (p *port) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-p.in:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *port) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-p.done:
		return 0, net.ErrClosed
	default:
	}
	dst := to.(*net.UDPAddr).AddrPort()
	n := p.net
	n.mu.Lock()
	tap, drop := n.tap, n.drop
	n.mu.Unlock()
	if tap != nil {
		tap(p.addr, dst, b)
	}
	if drop == nil || !drop(p.addr, dst, b) {
		n.inject(p.addr, dst, b)
	}
	return len(b), nil
}

func (p *port) Close() error                     { p.once.Do(func() { close(p.done) }); return nil }
func (p *port) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.addr) }
func (p *port) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (p *port) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (p *port) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// end is a leg under test and what it heard.
type end struct {
	*Leg
	err    chan error
	mu     sync.Mutex
	frames []Frame
	heard  chan struct{}
}

func (e *end) receive(f *Frame) {
	e.mu.Lock()
	g := *f
	g.Payload = append([]byte(nil), f.Payload...)
	e.frames = append(e.frames, g)
	e.mu.Unlock()
	select {
	case e.heard <- struct{}{}:
	default:
	}
}

func (e *end) count() int { e.mu.Lock(); defer e.mu.Unlock(); return len(e.frames) }

// until waits until the condition holds, woken by what the end hears, with a limit in real time.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func newEnd(t testing.TB, conn net.PacketConn, edit func(*Config)) *end {
	t.Helper()
	cert, err := NewCertificate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := &end{err: make(chan error, 1), heard: make(chan struct{}, 1)}
	c := Config{Conn: conn, Clock: shard.RealClock(), Rand: rand.Reader, Certificate: cert, Receive: e.receive}
	if edit != nil {
		edit(&c)
	}
	if e.Leg, err = New(c); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *end) run(t testing.TB) {
	go func() { e.err <- e.Run(t.Context()) }()
	t.Cleanup(func() { e.Close(); <-e.err; close(e.err) })
}

// wait returns how Run ended.
func (e *end) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-e.err:
		e.err <- err // for the clean-up
		return err
	case <-time.After(time.Minute):
		t.Fatal("Run does not return")
		return nil
	}
}

// agreed is what offer and answer say about a peer at remote.
func agreed(remote *end, role sdp.Role) sdp.Agreed {
	return sdp.Agreed{
		Codec: sdp.PCMA(), SendPT: 8, RecvPT: 8, Accept: []sdp.Codec{sdp.PCMA()}, DTMF: true, SendDTMF: 101, RecvDTMF: 101,
		Send: true, Receive: true, PTime: 20, Remote: remote.Local(), RemoteRTCP: remote.Local(), RTCPMux: true,
		Keying: sdp.DTLSSRTP, Role: role, Fingerprints: remote.Fingerprints(),
	}
}

const alice, bob, mallory = "192.0.2.1:4000", "192.0.2.2:5000", "192.0.2.66:6666"

// call makes two legs; edit may change agreements before the start.
func call(t testing.TB, n *network, config func(*Config), edit func(a, b *sdp.Agreed)) (a, b *end) {
	t.Helper()
	a, b = newEnd(t, n.listen(alice), config), newEnd(t, n.listen(bob), config)
	toBob, toAlice := agreed(b, sdp.DTLSServer), agreed(a, sdp.DTLSClient)
	if edit != nil {
		edit(&toBob, &toAlice)
	}
	a.run(t)
	b.run(t)
	if err := a.Start(toBob); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(toAlice); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func secured(t testing.TB, legs ...*end) {
	t.Helper()
	for _, l := range legs {
		select {
		case <-l.Ready():
		case err := <-l.err:
			l.err <- err
			t.Fatalf("leg ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("no keys in time")
		}
	}
}

// zeros is a source of randomness that makes streams predictable, for tests that need to know a packet beforehand.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

var _ io.Reader = zeros{}
