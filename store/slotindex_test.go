package store

import (
	"math/rand/v2"
	"testing"
)

// TestSlotIndex compares an index with a map, with hashes that fall together in tag and place.
func TestSlotIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x slotIndex
	model := map[uint32]uint64{} // slot -> hash
	has := func(hash uint64, slot uint32) bool {
		for at, s := x.first(hash); s != 0; at, s = x.next(hash, at) {
			if s == slot {
				return true
			}
		}
		return false
	}
	for n := range 200_000 {
		slot := uint32(rng.IntN(600) + 1)
		if hash, known := model[slot]; known {
			x.remove(hash, slot)
			delete(model, slot)
			if has(hash, slot) {
				t.Fatalf("%d: %d is still there", n, slot)
			}
		} else {
			hash := rng.Uint64()<<40 | uint64(rng.IntN(300)) // few tags
			model[slot] = hash
			x.add(hash, slot)
		}
		if n%1000 == 0 || len(model) < 8 {
			for slot, hash := range model {
				if !has(hash, slot) {
					t.Fatalf("%d: %d is lost", n, slot)
				}
			}
		}
		if x.count != len(model) {
			t.Fatalf("%d: %d counted, %d there", n, x.count, len(model))
		}
	}
}
