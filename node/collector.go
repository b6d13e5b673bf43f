package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go lets a heap double between two collections, whatever its size (GOGC=100). A node whose users take 40 MB would be searched every few thousand
// registrations, on a machine that has gigabytes; one with a million users would keep another gigabyte for what is garbage soon. What a
// registration leaves behind does not grow with the users, so the room for it does not either, but for a least share: else collecting
// becomes most of the work.
const leastPercent = 25 // of what lives

// paceEvery is how often the heap is looked at.
const paceEvery = time.Second

// PaceCollector lets the heap of this process grow by room octets, more or less, between two collections, until ctx ends. It is for the process of a
// node, once, and only where nobody has said otherwise (GOGC). A limit in GOMEMLIMIT holds in any case.
func PaceCollector(ctx context.Context, room uint64) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	defer debug.SetGCPercent(100)
	for percent := 100; ; {
		metrics.Read(live)
		if next := growth(live[0].Value.Uint64(), room); next > percent+percent/8 || next < percent-percent/8 { // each change stops the world for a moment
			percent = next
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// growth is by how many per cent of what lives the heap may grow.
func growth(live, room uint64) int { return int(max(room*100/max(live, 1<<20), leastPercent)) }
