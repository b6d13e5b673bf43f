package node

import "testing"

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: mostPercent, 1 << 20: mostPercent, 64 << 20: mostPercent, 128 << 20: 100, 256 << 20: 50, 512 << 20: leastPercent, 4 << 30: leastPercent} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB live: %d %%, want %d", live>>20, got, want)
		}
	}
}
