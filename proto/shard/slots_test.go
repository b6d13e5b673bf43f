package shard_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"imsafe/proto/shard"
)

func TestSlotsAreAMap(t *testing.T) {
	type name struct {
		slot uint32
		gen  uint16
	}
	rapid.Check(t, func(t *rapid.T) {
		slots := shard.Slots[int]{Limit: rapid.IntRange(0, 20).Draw(t, "limit")}
		model := map[name]*int{}
		var old []name
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				p, slot, gen, ok := slots.Take()
				if ok != (slots.Limit == 0 || len(model) < slots.Limit) {
					t.Fatal("limit")
				}
				if !ok {
					return
				}
				if _, twice := model[name{slot, gen}]; twice || *p != 0 || slices.Contains(old, name{slot, gen}) {
					t.Fatalf("slot %d generation %d: not new, or holds %d", slot, gen, *p)
				}
				n++
				*p = n
				model[name{slot, gen}] = p
			},
			"release": func(t *rapid.T) {
				for k := range model {
					if !slots.Release(k.slot, k.gen) || slots.Release(k.slot, k.gen) {
						t.Fatal("release")
					}
					delete(model, k)
					old = append(old, k)
					return
				}
			},
			"": func(t *rapid.T) {
				for k, p := range model {
					if q, ok := slots.Get(k.slot, k.gen); !ok || q != p {
						t.Fatal("lost or moved")
					}
				}
				for _, k := range old {
					if _, ok := slots.Get(k.slot, k.gen); ok {
						t.Fatal("old name opens")
					}
				}
				seen := 0
				for slot, p := range slots.All {
					if *p == 0 || int(slot) < seen {
						t.Fatal("All")
					}
					seen++
				}
				if seen != len(model) || slots.Len() != len(model) {
					t.Fatalf("%d seen, Len %d, want %d", seen, slots.Len(), len(model))
				}
			},
		})
	})
}

func TestSlotsSpreadGenerations(t *testing.T) {
	var slots shard.Slots[int]
	if _, ok := slots.Get(0, 0); ok {
		t.Fatal("the zero name opens")
	}
	_, first, gen, _ := slots.Take()
	slots.Release(first, gen)
	for i := range 255 {
		_, slot, gen, _ := slots.Take()
		if slot == first {
			t.Fatalf("slot reused after %d others", i)
		}
		slots.Release(slot, gen)
	}
	// Generations wrap around 0.
	for range 1 << 17 {
		_, slot, gen, _ := slots.Take()
		if gen == 0 {
			t.Fatal("generation 0")
		}
		slots.Release(slot, gen)
	}
	// 65535 reuses of a slot, as promised: the first name opens again only now.
	if n := testing.AllocsPerRun(1000, func() {
		_, slot, gen, _ := slots.Take()
		slots.Release(slot, gen)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
