package wire

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
)

// BenchmarkCx measures an operation from the CSCF's procedure to the HSS and back over mutual TLS on loopback, both sides, the
// work of the HSS and the kernel included; cpu-us/op is processor time. "in process" is the same without the wire.
func BenchmarkCx(b *testing.B) {
	for _, c := range []struct {
		name  string
		wire  bool
		tasks int
	}{{"MAR/in process", false, 1}, {"MAR/wire/1", true, 1}, {"MAR/wire/64", true, 64}} {
		b.Run(c.name, func(b *testing.B) {
			s := newSplit(b, transports[0], []cxtest.Subscriber{alice})
			var server cx.Server = s.client
			sh := s.shards[1]
			if !c.wire {
				server, sh = s.hss, s.shards[0]
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			var done sync.WaitGroup
			for i := range c.tasks {
				n := b.N / c.tasks
				if i < b.N%c.tasks {
					n++
				}
				done.Go(func() {
					_ = sh.Call(context.Background(), func(t *shard.Task) {
						for range n {
							if _, err := server.MultimediaAuth(t, challenge()); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
			done.Wait()
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
			b.StopTimer()
		})
	}
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
