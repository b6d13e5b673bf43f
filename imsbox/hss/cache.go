package hss

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"imsafe/store"
)

// cache holds parsed subscriptions by each of their names. It is a convenience: whoever takes one out
// compares its version with the store's before he believes it, so nothing needs to be told to the cache.
type cache struct {
	seed    maphash.Seed
	limit   int64
	users   atomic.Int64
	stripes [cacheStripes]cacheStripe
	evict   sync.Mutex // one at a time makes room
	hand    int        // next stripe to look in
}

const cacheStripes = 64

type cacheStripe struct {
	mu    sync.RWMutex
	names map[cacheName]*user
	_     [64]byte
}

// cacheName keeps private and public identities apart.
type cacheName struct {
	index store.Table
	name  string
}

func newCache(limit int) *cache {
	c := &cache{seed: maphash.MakeSeed(), limit: int64(limit)}
	for i := range c.stripes {
		c.stripes[i].names = map[cacheName]*user{}
	}
	return c
}

func (c *cache) stripe(name string) *cacheStripe {
	return &c.stripes[maphash.String(c.seed, name)%cacheStripes]
}

func (c *cache) get(index store.Table, name string) *user {
	s := c.stripe(name)
	s.mu.RLock()
	u := s.names[cacheName{index, name}]
	s.mu.RUnlock()
	return u
}

// eachName visits the names under which u stands: private identities first.
func eachName(u *user, visit func(store.Table, string)) {
	for i := range u.privates {
		visit(TablePrivate, u.privates[i].impi)
	}
	u.each(func(_ int, id *identity) { visit(TablePublic, id.impu) })
}

// install parses rec and puts it in, in place of an older version of the same subscription, whose volatile
// part it takes over. seen is one that the caller dropped, or nil.
func (c *cache) install(id string, rec store.Record, seen *user, now int64) (*user, error) {
	if seen != nil && seen.id != id {
		seen = nil
	}
	if present := c.get(TablePrivate, id); present != nil && present.id == id {
		if present.version == rec.Version {
			return present, nil
		}
		seen = present
	}
	u, err := newUser(id, rec, seen)
	if err != nil {
		return nil, err
	}
	u.used.Store(now)
	if seen != nil {
		c.drop(seen)
	}
	// The id is the name that decides races: who comes second gives way.
	first := c.stripe(id)
	first.mu.Lock()
	if other := first.names[cacheName{TablePrivate, id}]; other != nil && other.version >= u.version {
		first.mu.Unlock()
		return other, nil
	}
	if first.names[cacheName{TablePrivate, id}] == nil {
		c.users.Add(1)
	}
	first.names[cacheName{TablePrivate, id}] = u
	first.mu.Unlock()
	eachName(u, func(index store.Table, name string) {
		s := c.stripe(name)
		s.mu.Lock()
		s.names[cacheName{index, name}] = u
		s.mu.Unlock()
	})
	if c.users.Load() > c.limit {
		c.makeRoom()
	}
	return u, nil
}

// drop takes u out, under every name where it still stands.
func (c *cache) drop(u *user) {
	eachName(u, func(index store.Table, name string) {
		s := c.stripe(name)
		s.mu.Lock()
		if s.names[cacheName{index, name}] == u {
			delete(s.names, cacheName{index, name})
			if index == TablePrivate && name == u.id {
				c.users.Add(-1)
			}
		}
		s.mu.Unlock()
	})
}

// makeRoom drops the longest unused of a few. Their reserved sequence numbers are skipped.
func (c *cache) makeRoom() {
	if !c.evict.TryLock() {
		return
	}
	defer c.evict.Unlock()
	for c.users.Load() > c.limit {
		var oldest *user
		for range cacheStripes { // at most one turn
			c.hand = (c.hand + 1) % cacheStripes
			s := &c.stripes[c.hand]
			s.mu.RLock()
			n := 0
			for _, u := range s.names {
				if oldest == nil || u.used.Load() < oldest.used.Load() {
					oldest = u
				}
				if n++; n == 8 {
					break
				}
			}
			s.mu.RUnlock()
			if oldest != nil {
				break
			}
		}
		if oldest == nil {
			return
		}
		c.drop(oldest)
	}
}
