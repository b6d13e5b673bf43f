package xfrm

import (
	"crypto/rand"
	"testing"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// BenchmarkKernel is what the kernel does in a second: sets of four associations added and deleted, with as many under way as a P-CSCF has when
// clients come all at once, and one after another.
func BenchmarkKernel(b *testing.B) {
	if !hasESP() {
		b.Skip("in another kernel: test/kernelesp/pcscf")
	}
	for _, under := range []struct {
		name  string
		count int
	}{{"one", 1}, {"hundred", 100}} {
		for _, tr := range []esp.Transform{allPairs[0], allPairs[2]} {
			b.Run(under.name+"/"+tr.String(), func(b *testing.B) { benchmarkKernel(b, tr, under.count) })
		}
	}
}

func benchmarkKernel(b *testing.B, tr esp.Transform, under int) {
	clock := shard.RealClock()
	e := New(Config{Book: esp.New(esp.Config{Random: rand.Reader, Clock: clock}), Clock: clock})
	running(b, e, open(b), open(b))
	r := &rig{Engine: e, t: b}
	free := make(chan uint16, under)
	for i := range under {
		free <- uint16(20000 + 2*i)
	}
	failed := make(chan error, 1)
	for b.Loop() {
		uc := <-free
		g := r.agreement(uint32(uc), uc)
		g.Transform, g.There.SPI, g.Life = tr, [2]uint32{uint32(uc) << 8, uint32(uc)<<8 + 1}, 10*time.Second
		ref, err := e.Install(g)
		if err != nil {
			b.Fatal(err)
		}
		e.Standing(ref, func(err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			e.Remove(ref)
			free <- uc
		})
	}
	for range under {
		<-free
	}
	for n := e.Traffic(); n.Removed.Load() < n.Installed.Load(); { // the next run has the same SPIs
		<-time.After(time.Millisecond)
	}
	select {
	case err := <-failed:
		b.Error(err)
	default:
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sets/s")
}
