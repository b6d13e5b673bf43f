package espnet

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/tcpip"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	gcm    = esp.Transform{Encryption: esp.AESGCM}
	gmac   = esp.Transform{Integrity: esp.AESGMAC}
	sha1   = esp.Transform{Integrity: esp.HMACSHA1}
	cbc    = esp.Transform{Integrity: esp.HMACSHA1, Encryption: esp.AESCBC}
	testCK = aka.CK{0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	testIK = aka.IK{0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
)

// family are the addresses of a rig: of the UE, of its private network behind a NAT, of the P-CSCF.
type family struct{ ue, private, pcscf netip.Addr }

var (
	v4 = family{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("198.51.100.1")}
	v6 = family{netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("fd00::5"), netip.MustParseAddr("2001:db8:1::1")}
)

// cable is a network in memory between two ends; in UDP it has a NAT that shows the UE's public address.
type cable struct {
	local, shown netip.Addr // what the end calls itself, what the other sees
	port         uint16     // 0: not in UDP
	to           *cable
	in           chan arrival
	done         chan struct{}
	once         sync.Once
	loss         func(packet []byte) bool // nil loses nothing
}

type arrival struct {
	packet []byte
	from   netip.AddrPort
}

func newCables(f family, tunnel bool) (ue, p *cable) {
	ue = &cable{local: f.ue, shown: f.ue, in: make(chan arrival, 4096), done: make(chan struct{})}
	p = &cable{local: f.pcscf, shown: f.pcscf, in: make(chan arrival, 4096), done: make(chan struct{})}
	ue.to, p.to = p, ue
	if tunnel {
		ue.local, ue.port, p.port = f.private, 40001, 4500
	}
	return ue, p
}

func (c *cable) Read(b []byte) (int, netip.AddrPort, error) {
	select {
	case a := <-c.in:
		return copy(b, a.packet), a.from, nil
	case <-c.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (c *cable) Write(b []byte, _ netip.AddrPort) error {
	if c.loss != nil && c.loss(b) {
		return nil
	}
	select {
	case c.to.in <- arrival{append([]byte(nil), b...), netip.AddrPortFrom(c.shown, c.port)}:
	default: // lost, as packets are
	}
	return nil
}

func (c *cable) InUDP() bool       { return c.port != 0 }
func (c *cable) Local() netip.Addr { return c.local }
func (c *cable) Close() error      { c.once.Do(func() { close(c.done) }); return nil }

// end is one end of a rig.
type end struct {
	engine *esp.Engine
	stack  *Stack
	front  *esp.Front
	cable  *cable
}

// rig is a UE and a P-CSCF with stacks, joined by cables.
type rig struct {
	t      testing.TB
	f      family
	tunnel bool
	ue, p  end
	clock  *shard.Fake
	shard  uint8 // of owners at the P-CSCF
}

// agreed is what both ends call one agreement.
type agreed struct {
	ue, p   esp.Ref
	ueG, pG esp.Agreement
}

const (
	us, ps = 39001, 5999
	uc, pc = 38001, 6000 // of the first agreement; the others count on
)

func newRig(t testing.TB, f family, tunnel bool, ueCfg, pCfg Config) *rig {
	return newRigWith(t, f, tunnel, ueCfg, pCfg, tcpip.NewStdClock())
}

func newRigWith(t testing.TB, f family, tunnel bool, ueCfg, pCfg Config, clock tcpip.Clock) *rig {
	t.Helper()
	r := &rig{t: t, f: f, tunnel: tunnel, clock: shard.NewFake(time.Unix(0, 0))}
	r.ue.cable, r.p.cable = newCables(f, tunnel)
	ctx, cancel := context.WithCancel(context.Background())
	var fronts sync.WaitGroup
	for i, e := range []*end{&r.ue, &r.p} {
		cfg := []Config{ueCfg, pCfg}[i]
		cfg.Random = rand.Reader
		e.engine = esp.New(esp.Config{Random: rand.Reader, Clock: r.clock})
		var err error
		if e.stack, err = newStack(e.engine, cfg, clock); err != nil {
			t.Fatal(err)
		}
		e.front = e.stack.NewFront(e.cable, esp.FrontConfig{})
		fronts.Go(func() {
			if err := e.front.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		for _, e := range []*end{&r.ue, &r.p} {
			if err := e.stack.Close(); err != nil {
				t.Error(err)
			}
		}
		cancel()
		fronts.Wait()
		for _, e := range []*end{&r.ue, &r.p} {
			n := e.stack.Counters()
			if n.Conns.Load() != 0 || n.HalfOpen.Load() != 0 || n.DropProtocol.Load() != 0 {
				t.Errorf("after Close: %d connections, %d half open, %d packets that are not TCP", n.Conns.Load(), n.HalfOpen.Load(), n.DropProtocol.Load())
			}
		}
	})
	return r
}

// agree makes the n-th agreement, with client ports of its own.
func (r *rig) agree(n uint16, tr esp.Transform) *agreed {
	r.t.Helper()
	return r.agreeOn(uc+n, pc+n, tr)
}

func (r *rig) agreeOn(uc, pc uint16, tr esp.Transform) *agreed {
	r.t.Helper()
	ueSPI, err := r.ue.engine.Reserve(r.ue.cable.local)
	if err != nil {
		r.t.Fatal(err)
	}
	pSPI, err := r.p.engine.Reserve(r.p.cable.local, ueSPI[0], ueSPI[1])
	if err != nil {
		r.t.Fatal(err)
	}
	here, there := esp.Ends{Port: [2]uint16{uc, us}, SPI: ueSPI}, esp.Ends{Port: [2]uint16{pc, ps}, SPI: pSPI}
	a := &agreed{
		ueG: esp.Agreement{Role: esp.UE, Owner: shard.Place{Node: 2, Slot: uint32(uc)}, Local: r.ue.cable.local, Peer: r.f.pcscf, Here: here, There: there,
			Transform: tr, CK: testCK, IK: testIK, AllowWithdrawn: true, Tunnel: r.tunnel},
		pG: esp.Agreement{Role: esp.PCSCF, Owner: shard.Place{Node: 1, Shard: r.shard, Slot: uint32(uc)}, Local: r.f.pcscf, Peer: r.f.ue, Here: there, There: here,
			Transform: tr, CK: testCK, IK: testIK, AllowWithdrawn: true, Tunnel: r.tunnel},
	}
	if r.tunnel {
		a.ueG.PeerPort, a.ueG.Inner = r.p.cable.port, r.f.ue
	}
	if a.ue, err = r.ue.engine.Install(&a.ueG); err != nil {
		r.t.Fatal(err)
	}
	if a.p, err = r.p.engine.Install(&a.pG); err != nil {
		r.t.Fatal(err)
	}
	return a
}

// listen opens a port at an end.
func (r *rig) listen(e *end, port uint16) *Listener {
	r.t.Helper()
	local := r.f.pcscf
	if e == &r.ue {
		local = r.f.ue
	}
	l, err := e.stack.Listen(netip.AddrPortFrom(local, port))
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// pair opens a connection from the UE to the P-CSCF and returns both ends.
func (r *rig) pair(l *Listener, a *agreed) (ue, p *Conn) {
	r.t.Helper()
	return connect(r.t, &r.ue, a.ue, l)
}

// connect opens a connection from an end to a listener at the other.
func connect(t testing.TB, from *end, ref esp.Ref, l *Listener) (dialled, accepted *Conn) {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	came := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		came <- result{c, err}
	}()
	d, err := from.stack.Dial(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	got := <-came
	if got.err != nil {
		t.Fatal(got.err)
	}
	return d, got.c.(*Conn)
}

// until waits for something that another goroutine is about to do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s does not come about", what)
}
