package slab_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"imsafe/proto/slab"
)

// TestManyGoroutines is for the race detector, and checks that no reader sees half of a record: a value is
// one octet repeated, and its length belongs to that octet.
func TestManyGoroutines(t *testing.T) {
	const keys, rounds, workers = 64, 4000, 6
	table := slab.New(slab.Config{})
	lengthOf := func(b byte) int { return 1 + int(b)*7 }
	whole := func(key, value []byte) {
		if len(value) != lengthOf(value[0]) || bytes.Count(value, value[:1]) != len(value) {
			t.Errorf("key %s: torn value of %d octets", key, len(value))
		}
	}
	counter := []byte("counter")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			var got []byte
			for range rounds {
				key := fmt.Appendf(nil, "key %d", random.IntN(keys))
				b := byte(random.IntN(256))
				value := bytes.Repeat([]byte{b}, lengthOf(b))
				switch random.IntN(6) {
				case 0:
					table.Delete(key)
				case 1:
					_ = table.Put(key, value)
				case 2:
					_ = table.Update(key, func(old, buf []byte) ([]byte, bool) {
						if old != nil {
							whole(key, old)
						}
						return append(buf, value...), true
					})
				case 3:
					_ = table.Update(counter, func(old, buf []byte) ([]byte, bool) {
						if old == nil {
							return append(buf, 1, 0, 0, 0), true
						}
						binary.LittleEndian.PutUint32(old, binary.LittleEndian.Uint32(old)+1)
						return old, true
					})
				case 4:
					table.RangeStripe(random.IntN(slab.Stripes), func(k, v []byte) bool {
						if !bytes.Equal(k, counter) {
							whole(k, v)
						}
						return true
					})
				default:
					var ok bool
					if got, ok = table.Get(key, got[:0]); ok {
						whole(key, got)
					}
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for w := range workers { // the same random numbers again: how often was it counted?
		random := rand.New(rand.NewPCG(1, uint64(w)))
		for range rounds {
			random.IntN(keys)
			random.IntN(256)
			switch random.IntN(6) {
			case 3:
				n++
			case 4:
				random.IntN(slab.Stripes)
			}
		}
	}
	if got, _ := table.Get(counter, nil); binary.LittleEndian.Uint32(got) != uint32(n) {
		t.Errorf("counted %d, want %d", binary.LittleEndian.Uint32(got), n)
	}
}

func TestRangeWhileTheTableChanges(t *testing.T) {
	table := slab.New(slab.Config{})
	const stay = 2000
	for i := range stay {
		_ = table.Put(fmt.Appendf(nil, "stay %d", i), []byte{0})
	}
	seen := map[string]int{}
	table.Range(func(key, value []byte) bool {
		seen[string(key)]++
		// Growth of every index, moves to other size classes, removals: all from inside.
		_ = table.Put(fmt.Appendf(nil, "new %s %d", key[:min(9, len(key))], len(seen)), value)
		_ = table.Put(key, bytes.Repeat([]byte{1}, len(seen)%500))
		table.Delete(fmt.Appendf(nil, "new stay %d", len(seen)/2))
		return len(seen) < 3*stay
	})
	for i := range stay {
		if n := seen[fmt.Sprintf("stay %d", i)]; n != 1 {
			t.Fatalf("key %d seen %d times", i, n)
		}
	}
}

func TestLimit(t *testing.T) {
	table := slab.New(slab.Config{Limit: 1 << 20})
	key := func(i int) []byte { return fmt.Appendf(nil, "key %d", i) }
	fill := func(size int) (n int) {
		for ; ; n++ {
			switch err := table.Put(key(n), make([]byte, size)); err {
			case nil:
			case slab.ErrFull:
				return n
			default:
				t.Fatal(err)
			}
		}
	}
	n := fill(400)
	if n < 1900 || table.Bytes() > 2<<20 {
		t.Fatalf("%d records in %d octets", n, table.Bytes())
	}
	was := bytes.Repeat([]byte{7}, 400)
	if err := table.Put(key(1), was); err != nil {
		t.Fatal("a record that keeps its size is refused:", err)
	}
	grow := func(_, buf []byte) ([]byte, bool) { return append(buf, make([]byte, 5000)...), true }
	if err := table.Update(key(1), grow); err != slab.ErrFull {
		t.Fatal(err)
	}
	if got, _ := table.Get(key(1), nil); !bytes.Equal(got, was) || table.Len() != n {
		t.Fatal("the old record did not stay")
	}
	for i := range n {
		table.Delete(key(i))
	}
	// The memory serves records of any other size.
	if n := fill(5000); n < 170 {
		t.Fatalf("%d records of 5000 octets", n)
	}
}

func TestRefusals(t *testing.T) {
	table := slab.New(slab.Config{})
	key := []byte("k")
	if err := table.Put(key, make([]byte, slab.MaxRecord)); err != slab.ErrTooLarge || table.Len() != 0 {
		t.Error(err)
	}
	if err := table.Put(key, make([]byte, slab.MaxRecord-1)); err != nil {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = table.Update(key, func(_, _ []byte) ([]byte, bool) { panic("in fn") })
	}()
	if v, ok := table.Get(key, nil); !ok || len(v) != slab.MaxRecord-1 { // and the lock is free
		t.Error("lost by a panic")
	}
	if err := table.Put(nil, nil); err != nil {
		t.Error(err)
	}
	if v, ok := table.Get(nil, []byte("x")); !ok || string(v) != "x" {
		t.Error("empty key")
	}
}

func TestNoAllocations(t *testing.T) {
	table := slab.New(slab.Config{})
	key, value, got := []byte("sip:alice@example.org"), make([]byte, 400), make([]byte, 0, 512)
	_ = table.Put(key, value)
	size := 0
	rebuild := func(old, buf []byte) ([]byte, bool) { return append(buf, old...), true }
	for name, f := range map[string]func(){
		"get":                       func() { got, _ = table.Get(key, got[:0]) },
		"put":                       func() { _ = table.Put(key, value) },
		"put that changes its size": func() { size ^= 100; _ = table.Put(key, value[size:]) },
		"update":                    func() { _ = table.Update(key, rebuild) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
