package node

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The collector's pace. Go lets a heap double between two collections, whatever its size: a node with a million users would keep 1 GB for
// what is garbage soon. What a registration leaves behind does not grow with the users, so the room for it need not either:
// roomForGarbage, but never so little that collecting becomes most of the work, and never so much that a small node looks large.
const (
	roomForGarbage = 128 << 20 // octets
	leastPercent   = 25        // of what lives; Go's own is 100
	mostPercent    = 200
)

// PaceCollector lets the heap of this process grow by roomForGarbage, more or less, between two collections, from now on. It is for the process
// of a node, once, and only where nobody has said otherwise (GOGC).
func PaceCollector() { watchCollections(&sentinel{percent: 100}) }

// sentinel is dead as soon as it is made, so each collection finds it.
type sentinel struct{ percent int }

// watchCollections has adapt called after the next collection, which makes the next sentinel.
func watchCollections(s *sentinel) {
	runtime.SetFinalizer(s, func(s *sentinel) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if p := percentFor(live[0].Value.Uint64()); p*10 < s.percent*9 || p*10 > s.percent*11 { // each change stops the world for a moment
			s.percent = p
			debug.SetGCPercent(p)
		}
		watchCollections(s)
	})
}

// percentFor is by how much of what lives the heap may grow.
func percentFor(live uint64) int {
	return int(min(max(roomForGarbage*100/max(live, 1), leastPercent), mostPercent))
}
