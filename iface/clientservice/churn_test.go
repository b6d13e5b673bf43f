package clientservice

import (
	"crypto/rand"
	"os"
	"runtime"
	"testing"

	"imsafe/proto/sdp"
	"imsafe/test/peer"
)

// held is what calls could leave behind.
type held struct{ descriptors, goroutines, ports int }

func holding(t testing.TB, g *Gateway) held {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		peer.Missing(t, "/proc: "+err.Error())
	}
	return held{len(list), runtime.NumGoroutine(), g.Free()}
}

// lingers waits until no more is held than before.
func lingers(t testing.TB, g *Gateway, before held) {
	t.Helper()
	until(t, "descriptors, goroutines and ports are back", func() bool {
		now := holding(t, g)
		return now.descriptors <= before.descriptors && now.goroutines <= before.goroutines && now.ports == before.ports
	})
}

// comeAndGo sets a call up, lets both ends be heard through real sockets, and ends it.
func comeAndGo(t testing.TB, g *Gateway, a, b *client) {
	x, y := call(t, g, a, b)
	talk(t, a, b)
	g.Release(x.Session)
	g.Release(y.Session)
}

// TestGateway_calls_come_and_go: two hundred calls of every keying, and all they held returns.
func TestGateway_calls_come_and_go(t *testing.T) {
	calls := 200
	if testing.Short() {
		calls = 30
	}
	g := start(t, nil, func(c *Config) { c.Ports = 64 })
	before := holding(t, g)
	keyings := []sdp.Keying{sdp.PlainRTP, sdp.SDES, sdp.SDES, sdp.PlainRTP, sdp.DTLSSRTP}
	for i := range calls {
		a, b := newClient(t, "127.0.0.1", keyings[i%5]), newClient(t, "127.0.0.1", keyings[i/5%5])
		comeAndGo(t, g, a, b)
		a.stop()
		b.stop()
	}
	lingers(t, g, before)
	if n := g.Counters(); n.Begun.Load() != uint64(2*calls) || n.Sessions.Load() != 0 || n.Ports.Load() != 0 {
		t.Errorf("%d sessions began, %d are there, with %d ports", n.Begun.Load(), n.Sessions.Load(), n.Ports.Load())
	}
}

// rekey gives a client another key, for another call: the anchor takes none twice.
func (c *client) rekey(t testing.TB) *client {
	t.Helper()
	var err error
	c.key, err = sdp.NewCrypto(rand.Reader, 1, sdp.AESCM128SHA1)
	must(t, err)
	return c
}

// BenchmarkCall sets calls up and takes them down, sockets, certificates and all, without media: -benchtime 10000x is ten thousand calls, and nothing may be
// left. It then tells what a call that is up holds in Go's heap.
func BenchmarkCall(b *testing.B) {
	g := start(b, nil, func(c *Config) { c.Ports, c.PerUser = 8000, 0 })
	before := holding(b, g)
	of, with := newClient(b, "127.0.0.1", sdp.SDES), newClient(b, "127.0.0.1", sdp.SDES)
	for b.Loop() {
		x, y := reserve(b, g, of.rekey(b)), reserve(b, g, with.rekey(b))
		link(b, g, x, y)
		g.Release(x.Session)
		g.Release(y.Session)
	}
	of.stop()
	with.stop()
	lingers(b, g, before)
	const up = 500
	var empty, full runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&empty)
	of, with = newClient(b, "127.0.0.1", sdp.SDES), newClient(b, "127.0.0.1", sdp.SDES)
	for range up {
		link(b, g, reserve(b, g, of.rekey(b)), reserve(b, g, with.rekey(b)))
	}
	runtime.GC()
	runtime.ReadMemStats(&full)
	b.ReportMetric(float64(full.HeapAlloc-empty.HeapAlloc+full.StackInuse-empty.StackInuse)/up/1000, "kB/call")
}
