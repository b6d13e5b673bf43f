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
	for live, want := range map[uint64]int{0: 19200, 1 << 20: 19200, 64 << 20: 300, 192 << 20: 100, 384 << 20: 50, 768 << 20: leastPercent, 4 << 30: leastPercent} {
		if got := growth(live, room); got != want {
			t.Errorf("%d MiB live: %d %%, want %d", live>>20, got, want)
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
