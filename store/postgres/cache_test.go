package postgres

import (
	"testing"

	"imsafe/store"
)

// TestCache: what was read or written before somebody else changed it is not kept, whatever the order in which it comes back.
func TestCache(t *testing.T) {
	const table store.Table = 240
	key := []byte("k")
	at := place(table, key)
	record := func(version uint64) store.Record { return store.Record{Key: key, Value: []byte{1}, Version: version} }
	knows := func(c *cache) uint64 {
		rec, found, hit := c.get(table, key)
		switch {
		case !hit:
			return 0
		case !found:
			return 99 // that there is none
		}
		return rec.Version
	}
	for _, s := range []struct {
		name string
		play func(c *cache)
		want uint64
	}{
		{"a read", func(c *cache) { c.keep(table, key, record(1), true, c.mark(at)) }, 1},
		{"a write", func(c *cache) { c.write(table, key, record(1), true, c.heard(at)) }, 1},
		{"two writes", func(c *cache) {
			heard := c.heard(at)
			c.write(table, key, record(1), true, heard)
			c.write(table, key, record(2), true, heard)
		}, 2},
		{"a read of what was not there before our write", func(c *cache) {
			mark := c.mark(at)
			c.write(table, key, record(1), true, c.heard(at))
			c.keep(table, key, store.Record{}, false, mark)
		}, 1},
		{"a read of what another has changed since", func(c *cache) {
			mark := c.mark(at)
			c.forget(at)
			c.keep(table, key, record(1), true, mark)
		}, 0},
		{"a write that another has overtaken", func(c *cache) {
			heard := c.heard(at)
			c.keep(table, key, record(1), true, c.mark(at))
			c.forget(at)
			c.write(table, key, record(2), true, heard)
		}, 0},
		{"a deletion", func(c *cache) { c.write(table, key, store.Record{}, false, c.heard(at)) }, 99},
		{"closed meanwhile", func(c *cache) {
			mark := c.mark(at)
			c.set(false)
			c.keep(table, key, record(1), true, mark)
		}, 0},
		{"closed and open again meanwhile", func(c *cache) {
			mark, heard := c.mark(at), c.heard(at)
			c.set(false)
			c.set(true)
			c.keep(table, key, record(1), true, mark)
			c.write(table, key, record(1), true, heard)
		}, 0},
		{"while nobody tells", func(c *cache) {
			c.set(false)
			c.keep(table, key, record(1), true, c.mark(at))
			c.write(table, key, record(1), true, c.heard(at))
		}, 0},
	} {
		c := newCache(1 << 20)
		c.set(true)
		s.play(c)
		if got := knows(c); got != s.want {
			t.Errorf("%s: version %d is known, want %d", s.name, got, s.want)
		}
	}
}

// TestCache_bounds: it stays within its octets, and what was kept last is there.
func TestCache_bounds(t *testing.T) {
	c := newCache(cacheStripes * 1000)
	c.set(true)
	for i := range 20_000 {
		key := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		c.keep(1, key, store.Record{Key: key, Value: make([]byte, 100), Version: 1}, true, c.mark(place(1, key)))
		if _, found, hit := c.get(1, key); !found || !hit {
			t.Fatal("what was kept last is not there")
		}
	}
	if c.octets() > cacheStripes*1000 || c.octets() < cacheStripes*500 {
		t.Errorf("%d octets are kept", c.octets())
	}
}
