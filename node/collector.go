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
// becomes most of the work. That work is by what has to be looked into, so the share is of it: slabs, the values of the store's cache and other octets
// without pointers cost a collection nothing, and ask for no room.
const (
	leastShare   = 25 // per cent of what is looked into
	leastPercent = 5  // of what lives, whatever it is
)

// paceEvery is how often the heap is looked at.
const paceEvery = time.Second

// PaceCollector lets the heap of this process grow by room octets, more or less, between two collections, until ctx ends. It is for the process of a
// node, once, and only where nobody has said otherwise (GOGC). A limit in GOMEMLIMIT holds in any case.
func PaceCollector(ctx context.Context, room uint64) {
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	defer debug.SetGCPercent(100)
	for percent := 100; ; {
		metrics.Read(heap)
		if next := growth(heap[0].Value.Uint64(), heap[1].Value.Uint64(), room); next > percent+percent/8 || next < percent-percent/8 { // each change stops the world for a moment
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

// growth is by how many per cent of what lives the heap may grow. looked is how much of it the collector looks into.
func growth(live, looked, room uint64) int {
	room = max(room, looked/100*leastShare)
	return int(max(room*100/max(live, 1<<20), leastPercent))
}
