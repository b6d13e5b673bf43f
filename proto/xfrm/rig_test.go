package xfrm

import (
	"context"
	"crypto/rand"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// clock is one that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Duration
}

func (c *clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Wall() time.Time { return time.Unix(0, 0).Add(c.Now()) }

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
}

// request is what a kernel was asked.
type request struct {
	kind uint16
	spi  uint32
	life uint64 // seconds
	tag  uint32
	keys bool
}

// fakeKernel keeps what it is asked, and refuses what it is told to.
type fakeKernel struct {
	mu     sync.Mutex
	asked  []request
	stand  map[uint32]bool
	refuse map[int]error // by the number of the request, from the start
	broken error         // of the socket
	sa     []byte        // what it tells of an association
}

func (f *fakeKernel) do(m *message, results []error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, b := 0, m.b; len(b) > 0; n++ {
		size := native.Uint32(b)
		r := requestOf(native.Uint16(b[4:]), b[sizeHeader:size])
		err := f.refuse[len(f.asked)]
		f.asked = append(f.asked, r)
		switch {
		case err != nil:
		case r.kind == msgNewSA:
			f.stand[r.spi] = true
		case r.kind == msgDelSA:
			delete(f.stand, r.spi)
		case r.kind == msgGetSA:
			m.told(n, f.sa)
		}
		results[n] = err
		b = b[size:]
	}
	return f.broken
}

func requestOf(kind uint16, body []byte) (r request) {
	r.kind = kind
	if kind == msgDelSA || kind == msgGetSA {
		r.spi = spiIn(body[16:])
		return r
	}
	r.spi, r.tag = spiIn(body[offsetSAID+16:]), native.Uint32(body[offsetSAReqid:])
	r.life = native.Uint64(body[offsetSALimits+40:])
	for rest := body[sizeSA:]; len(rest) >= 4; rest = rest[(native.Uint16(rest)+3)&^3:] {
		if kind := native.Uint16(rest[2:]); kind == attrAEAD {
			for _, o := range rest[4+sizeAlgorithm+8 : 4+sizeAlgorithm+8+16] {
				r.keys = r.keys || o != 0
			}
		}
	}
	return r
}

// rig is an engine with a fake kernel. work does what was asked for.
type rig struct {
	*Engine
	t     testing.TB
	clock *clock
	k     *fakeKernel
	w     *worker
	told  []esp.Notice
}

func newRig(t testing.TB) *rig {
	c := &clock{}
	r := &rig{t: t, clock: c, k: &fakeKernel{stand: map[uint32]bool{}, refuse: map[int]error{}}}
	var e *Engine
	book := esp.New(esp.Config{Random: rand.Reader, Clock: c, Notify: func(ref esp.Ref, o shard.Place, n esp.Notice) { e.Notice(ref, o, n) }})
	e = New(Config{Book: book, Clock: c, Notify: func(_ esp.Ref, _ shard.Place, n esp.Notice) { r.told = append(r.told, n) }})
	r.Engine, r.w = e, &worker{e: e, k: r.k}
	return r
}

// work has the kernel asked for all that waits, as run does.
func (r *rig) work() {
	all := r.take(nil)
	for len(all) > 0 {
		n := min(len(all), perBatch)
		r.w.batch(all[:n])
		all = all[n:]
	}
}

var (
	pcscfAddr = netip.MustParseAddr("192.0.2.10")
	ueAddr    = netip.MustParseAddr("192.0.2.20")
)

// agreement is one with a client's ports.
func (r *rig) agreement(owner uint32, uc uint16) *esp.Agreement {
	r.t.Helper()
	spi, err := r.Reserve(pcscfAddr, 1001, 1002)
	if err != nil {
		r.t.Fatal(err)
	}
	return &esp.Agreement{Role: esp.PCSCF, Owner: shard.Place{Slot: owner, Gen: 1}, Local: pcscfAddr, Peer: ueAddr, Transform: esp.Transform{Encryption: esp.AESGCM},
		CK: aka.CK{1, 2, 3}, IK: aka.IK{4, 5, 6}, Life: time.Minute,
		Here:  esp.Ends{Port: [2]uint16{6061, 6060}, SPI: spi},
		There: esp.Ends{Port: [2]uint16{uc, uc + 1}, SPI: [2]uint32{1001, 1002}}}
}

// install installs it; the error is the kernel's.
func (r *rig) install(g *esp.Agreement) (esp.Ref, error) {
	r.t.Helper()
	ref, err := r.Install(g)
	if err != nil {
		return ref, err
	}
	said, told := error(nil), 0
	r.Standing(ref, func(err error) { said, told = err, told+1 })
	if told != 0 {
		r.t.Error("it stands before the kernel was asked")
	}
	r.work()
	if told != 1 {
		r.t.Errorf("told %d times", told)
	}
	return ref, said
}

// running runs the engine with the kernel until the test ends.
func running(t testing.TB, e *Engine, k, watch *Kernel) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- e.Run(ctx, k) }()
	go func() { done <- e.Watch(ctx, watch) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
