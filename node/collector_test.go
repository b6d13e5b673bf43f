package node

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestGrowth(t *testing.T) {
	const room = 192 << 20
	for _, tt := range []struct {
		live, looked uint64 // MiB
		want         int
	}{
		{0, 0, 19200}, {1, 1, 19200}, {64, 64, 300}, {192, 192, 100}, {384, 192, 50}, {768, 768, 25}, {1024, 256, 18}, {4096, 4096, 24}, {4096, 2048, 12},
		{8192, 100, leastPercent},
	} {
		if got := growth(tt.live<<20, tt.looked<<20, room); got != tt.want {
			t.Errorf("%d MiB live, %d looked into: %d %%, want %d", tt.live, tt.looked, got, tt.want)
		}
	}
}

// TestPaceCollector: it takes hold at once, and gives back what it took.
func TestPaceCollector(t *testing.T) {
	percent := func() uint64 {
		now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(now)
		return now[0].Value.Uint64()
	}
	defer debug.SetGCPercent(int(percent()))
	debug.SetGCPercent(100)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		PaceCollector(ctx, 1<<40)
	}()
	for percent() == 100 {
		runtime.Gosched()
	}
	cancel()
	<-ended
	if percent() != 100 {
		t.Errorf("%d per cent stay", percent())
	}
}
