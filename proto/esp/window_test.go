package esp

import (
	"math/rand/v2"
	"testing"
)

// TestWindowEdges walks over the edges of the window and of its words.
func TestWindowEdges(t *testing.T) {
	for _, top := range []uint32{1, 63, 64, 65, 127, 128, 255, 256, 257, 319, 320, 321, 1000, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1} {
		var w window
		if w.fresh(0) || !w.fresh(top) || !w.accept(top) || w.fresh(top) {
			t.Fatalf("top %d", top)
		}
		for _, back := range []uint32{1, 62, 63, 64, 65, 127, 128, 191, 192, 254, 255} {
			if back >= top {
				continue
			}
			if !w.fresh(top - back) {
				t.Errorf("top %d: %d back is within the window", top, back)
			}
			if w.accept(top-back) || w.fresh(top-back) || w.top != top {
				t.Errorf("top %d: %d back", top, back)
			}
		}
		for _, back := range []uint32{256, 257, 320, 1 << 20} {
			if back < top && w.fresh(top-back) {
				t.Errorf("top %d: %d back is behind the window", top, back)
			}
		}
	}
}

// TestWindowAgainstMap compares with the plain definition: a set of all numbers ever accepted.
func TestWindowAgainstMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []uint32{4, 70, 300, 700, 5000} {
		var w window
		seen, top := map[uint32]bool{}, uint32(0)
		for range 20000 {
			seq := top + spread/8
			if seq -= min(seq, rnd.Uint32N(spread)); rnd.Uint32N(50) == 0 {
				seq = top + rnd.Uint32N(2*spread)
			}
			want := seq != 0 && !seen[seq] && (seq > top || top-seq < Window)
			if w.fresh(seq) != want {
				t.Fatalf("top %d, number %d: fresh %v, want %v", top, seq, !want, want)
			}
			if want {
				if w.accept(seq) != (seq > top) {
					t.Fatalf("number %d: highest", seq)
				}
				seen[seq], top = true, max(top, seq)
			}
		}
	}
}
