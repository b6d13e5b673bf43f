package postgres

import (
	"bytes"
	"sync"

	"imsafe/store"
)

// cache keeps records, and their absence, as they were read or written here. It is told what others change; while nobody can tell it, it
// is closed: it knows nothing and keeps nothing.
//
// What is read while somebody changes it must not stay. So who reads takes the mark of the place first, and what he brings is kept only
// if the mark is still the same: each change moves it, whether it was told or made here. The committer, who is one, minds only what is told.
type cache struct {
	stripes [cacheStripes]stripe
	limit   int64 // octets of a stripe
}

const (
	cacheStripes = 256
	entryCost    = 160 // octets of memory that an entry takes beside its own
)

type stripe struct {
	mu      sync.RWMutex
	open    bool
	told    uint64 // changes of others
	written uint64 // changes made here
	octets  int64
	entries map[uint64]entry
	_       [64]byte
}

type entry struct {
	key   []byte
	rec   store.Record // without Version: there is none
	table store.Table
	found bool
}

func (e *entry) size() int64 { return int64(entryCost + len(e.key) + len(e.rec.Value)) }

func newCache(octets int64) *cache {
	c := &cache{limit: octets / cacheStripes}
	for i := range c.stripes {
		c.stripes[i].entries = map[uint64]entry{}
	}
	return c
}

// place is where a record would be: all nodes reckon it alike (FNV-1a), because they name what they changed by it. Two records with one
// place put each other out.
func place(t store.Table, key []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := (uint64(offset) ^ uint64(t)) * prime
	for _, octet := range key {
		h = (h ^ uint64(octet)) * prime
	}
	return h
}

func (c *cache) stripe(place uint64) *stripe { return &c.stripes[(place^place>>32)%cacheStripes] }

// get returns what is known; hit is false if nothing is.
func (c *cache) get(t store.Table, key []byte) (rec store.Record, found, hit bool) {
	at := place(t, key)
	s := c.stripe(at)
	s.mu.RLock()
	e, there := s.entries[at]
	s.mu.RUnlock()
	if !there || e.table != t || !bytes.Equal(e.key, key) {
		return store.Record{}, false, false
	}
	return e.rec, e.found, true
}

// mark is to be taken before a record is read, and given to keep.
func (c *cache) mark(place uint64) uint64 {
	s := c.stripe(place)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.told + s.written // both only grow
}

// heard is to be taken before records are written, and given to write.
func (c *cache) heard(place uint64) uint64 {
	s := c.stripe(place)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.told
}

// keep remembers a record that was read, or that there is none, unless something of the place has changed since mark. Key and value are
// views of what nobody writes to.
func (c *cache) keep(t store.Table, key []byte, rec store.Record, found bool, mark uint64) {
	at := place(t, key)
	s := c.stripe(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told+s.written == mark {
		s.put(at, entry{key: key, rec: rec, table: t, found: found}, c.limit)
	}
}

// write remembers a record as it was written, or that it was deleted. If something was told of the place since heard, it may be another by
// now, and nothing is known.
func (c *cache) write(t store.Table, key []byte, rec store.Record, found bool, heard uint64) {
	at := place(t, key)
	s := c.stripe(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written++
	s.remove(at)
	if s.told == heard {
		s.put(at, entry{key: key, rec: rec, table: t, found: found}, c.limit)
	}
}

// put puts an entry in, if the cache is open. mu is held.
func (s *stripe) put(at uint64, e entry, limit int64) {
	if !s.open {
		return
	}
	s.remove(at)
	s.entries[at] = e
	s.octets += e.size()
	for other := range s.entries { // the order of a map is random: so is who leaves
		if s.octets <= limit {
			break
		}
		if other != at {
			s.remove(other)
		}
	}
}

// forget is told that a record is another by now.
func (c *cache) forget(place uint64) {
	s := c.stripe(place)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told++
	s.remove(place)
}

// remove takes an entry out. mu is held.
func (s *stripe) remove(at uint64) {
	if e, there := s.entries[at]; there {
		s.octets -= e.size()
		delete(s.entries, at)
	}
}

// set opens the cache, or closes it; both empty it.
func (c *cache) set(open bool) {
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		s.open, s.octets = open, 0
		s.told++
		clear(s.entries)
		s.mu.Unlock()
	}
}

// octets is how much is kept.
func (c *cache) octets() (n int64) {
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.RLock()
		n += s.octets
		s.mu.RUnlock()
	}
	return n
}
