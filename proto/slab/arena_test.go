package slab

import (
	"bytes"
	"testing"
)

func TestClassOf(t *testing.T) {
	for size := 1; size <= pageSize; size++ {
		c := classOf(size)
		if slotSize(c) < size || c > 0 && slotSize(c-1) >= size {
			t.Fatalf("%d octets: class %d has slots of %d, the one below %d", size, c, slotSize(c), slotSize(c-1))
		}
		if waste := slotSize(c) - size; size > 32 && size <= 2048 && waste > max(7, size/8) {
			t.Fatalf("%d octets: %d lost", size, waste)
		}
		if slotSize(c)%grain != 0 || slotSize(c) > pageSize {
			t.Fatalf("class %d: slots of %d octets", c, slotSize(c))
		}
	}
}

// TestReleasedRecordsAreZero searches the memory of a table for what was in it.
func TestReleasedRecordsAreZero(t *testing.T) {
	secret := []byte("the integrity key of somebody")
	present := func(table *Table) (n int) {
		for _, c := range *table.arena.chunks.Load() {
			n += bytes.Count(c.data[:], secret)
		}
		return n
	}
	long := bytes.Repeat(secret, 20)
	for name, release := range map[string]func(*Table, []byte){
		"delete":        func(x *Table, k []byte) { x.Delete(k) },
		"shorter value": func(x *Table, k []byte) { _ = x.Put(k, long[:10]) },
		"longer value":  func(x *Table, k []byte) { _ = x.Put(k, make([]byte, 2*len(long))) },
		"same class, one octet less": func(x *Table, k []byte) {
			_ = x.Update(k, func(old, _ []byte) ([]byte, bool) { clear(old[:len(old)-29]); return old[:len(old)-29], true })
		},
		"update to nothing": func(x *Table, k []byte) {
			_ = x.Update(k, func(old, buf []byte) ([]byte, bool) { return append(buf, old...), false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := New(Config{})
			keys := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
			for _, k := range keys {
				if err := table.Put(k, long); err != nil {
					t.Fatal(err)
				}
			}
			if present(table) != 60 {
				t.Fatal("the search does not find what is there")
			}
			for _, k := range keys {
				release(table, k)
			}
			if n := present(table); n != 0 {
				t.Errorf("found %d times", n)
			}
			for range 10 { // the buffers of Update
				if b := table.buffer(0); bytes.Contains((*b)[:cap(*b)], secret[:8]) {
					t.Error("found in a buffer")
				}
			}
		})
	}
}
