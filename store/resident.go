package store

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// resident is what the store has in memory: every record that the image does not have yet (it cannot leave), and a bounded cache of
// the others. Absence is cached too, so that an unknown subscriber costs one read of the image and not one per attempt.
//
// It is striped by key. An entry holds one pointer, the octets of key and value in one immutable block that readers share: a hit
// allocates nothing, and the garbage collector has one pointer per record to follow and no map of pointers.
type resident struct {
	seed    maphash.Seed
	stripes [stripeCount]stripe
	// generation counts finished checkpoints. A clean entry can be evicted, and only a checkpoint makes entries clean; so what was
	// read from the image is still its newest state if the generation did not move and the key is still not in memory.
	generation atomic.Uint64
}

const stripeCount = 64

// stripe is one part of the keys. mu guards everything in it, but used, which readers set under the read lock.
type stripe struct {
	mu      sync.RWMutex
	index   slotIndex
	entries []entry
	free    []uint32
	hand    int   // of the clock that looks for something to evict
	clean   int64 // octets that could be evicted
	limit   int64 // octets of clean entries that are kept
	_       [64]byte
}

// entry is one record, or the fact that there is none.
type entry struct {
	block   []byte // key, then value; only the key if there is no value known
	hash    uint64
	version uint64 // committed
	pending uint64 // version of the newest accepted change that is not committed; 0 none
	expires int64
	used    uint32 // set when read or written, cleared by the clock
	keyLen  uint16
	table   Table
	flags   uint8
}

const (
	flagLive           = 1 << iota // the slot is taken
	flagKnown                      // version, expires, block and flagDeleted say what is committed
	flagDeleted                    // there is no such record
	flagDirty                      // the image does not have it yet
	flagPendingDeleted             // the newest pending change deletes
)

// entryOverhead is what an entry costs beside its block: the struct, the index and the allocator's rounding.
const entryOverhead = 128

func newResident(cacheBytes int64) *resident {
	r := &resident{seed: maphash.MakeSeed()}
	for i := range r.stripes {
		r.stripes[i].limit = cacheBytes / stripeCount
	}
	return r
}

// hash is seeded per process: nobody outside can choose keys that fall together.
func (r *resident) hash(t Table, key []byte) uint64 {
	return maphash.Bytes(r.seed, key) ^ uint64(t)*0x9e3779b97f4a7c15
}

func (r *resident) stripe(hash uint64) *stripe { return &r.stripes[hash>>58] }

// locate returns slot+1 of the entry, 0 if there is none.
func (s *stripe) locate(hash uint64, t Table, key []byte) uint32 {
	for at, slot := s.index.first(hash); slot != 0; at, slot = s.index.next(hash, at) {
		if e := &s.entries[slot-1]; e.table == t && bytes.Equal(e.block[:e.keyLen], key) {
			return slot
		}
	}
	return 0
}

// find returns the entry or nil. The pointer is good while the lock is held and no entry is added.
func (s *stripe) find(hash uint64, t Table, key []byte) *entry {
	if slot := s.locate(hash, t, key); slot != 0 {
		return &s.entries[slot-1]
	}
	return nil
}

// add makes an entry with the key in block[:keyLen] and returns its slot+1. It knows nothing yet.
func (s *stripe) add(hash uint64, t Table, block []byte, keyLen int) uint32 {
	var slot uint32
	if n := len(s.free); n > 0 {
		slot = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		s.entries = append(s.entries, entry{})
		slot = uint32(len(s.entries) - 1)
	}
	s.entries[slot] = entry{block: block[:keyLen:keyLen], hash: hash, table: t, keyLen: uint16(keyLen), flags: flagLive}
	s.index.add(hash, slot+1)
	return slot + 1
}

// remove takes the entry in slot out.
func (s *stripe) remove(slot uint32) {
	s.index.remove(s.entries[slot].hash, slot+1)
	s.entries[slot] = entry{}
	s.free = append(s.free, slot)
}

func (e *entry) size() int64 { return int64(len(e.block)) + entryOverhead }

// evictable says whether the entry may leave: the image has what it says, and nobody is about to change it.
func (e *entry) evictable() bool {
	return e.flags&(flagLive|flagKnown|flagDirty) == flagLive|flagKnown && e.pending == 0
}

// record is the committed record. Only for a known entry that is not deleted.
func (e *entry) record() Record {
	return Record{Key: e.block[:e.keyLen:e.keyLen], Value: e.block[e.keyLen:], Version: e.version, Expires: e.expires}
}

// evict brings the clean octets under the limit: the clock of second chances. What was read once and never again goes first, so a
// scan or a stranger's guesses do not push out what is in use.
func (s *stripe) evict() {
	for turns := 2 * len(s.entries); s.clean > s.limit && turns > 0; turns-- {
		if s.hand++; s.hand >= len(s.entries) {
			s.hand = 0
		}
		e := &s.entries[s.hand]
		if !e.evictable() {
			continue
		}
		if e.used != 0 {
			e.used = 0
			continue
		}
		s.clean -= e.size()
		s.remove(uint32(s.hand))
	}
}

// lookup returns the committed record or ErrNotFound; hit is false if memory does not know.
func (r *resident) lookup(t Table, key []byte) (rec Record, err error, hit bool) {
	hash := r.hash(t, key)
	s := r.stripe(hash)
	s.mu.RLock()
	e := s.find(hash, t, key)
	if e == nil || e.flags&flagKnown == 0 {
		s.mu.RUnlock()
		return Record{}, nil, false
	}
	if atomic.LoadUint32(&e.used) == 0 {
		atomic.StoreUint32(&e.used, 1)
	}
	if e.flags&flagDeleted != 0 {
		err = ErrNotFound
	} else {
		rec = e.record()
	}
	s.mu.RUnlock()
	return rec, err, true
}

// fill caches what the image said when the generation was as given. It returns false if that may have been overtaken: read again.
// If memory knows better meanwhile, that is returned instead.
func (r *resident) fill(t Table, key []byte, rec Record, found bool, generation uint64) (Record, bool, bool) {
	hash := r.hash(t, key)
	s := r.stripe(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(hash, t, key)
	if e != nil && e.flags&flagKnown != 0 {
		if e.flags&flagDeleted != 0 {
			return Record{}, false, true
		}
		return e.record(), true, true
	}
	if r.generation.Load() != generation {
		return Record{}, false, false
	}
	block := make([]byte, 0, len(key)+len(rec.Value))
	block = append(append(block, key...), rec.Value...)
	if e == nil {
		e = &s.entries[s.add(hash, t, block, len(key))-1]
	}
	e.block, e.version, e.expires = block, rec.Version, rec.Expires
	e.flags |= flagKnown
	if !found {
		e.flags |= flagDeleted
	}
	out := e.record()
	if e.pending == 0 {
		s.clean += e.size()
		s.evict()
	}
	return out, found, true
}

// newest says what the state of a record will be when everything accepted is committed. known is false if only the image can tell.
func (r *resident) newest(hash uint64, t Table, key []byte) (version uint64, exists, known bool) {
	s := r.stripe(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.find(hash, t, key)
	switch {
	case e == nil:
		return 0, false, false
	case e.pending != 0:
		return e.pending, e.flags&flagPendingDeleted == 0, true
	case e.flags&flagKnown != 0:
		return e.version, e.flags&flagDeleted == 0, true
	}
	return 0, false, false
}

// accept notes that c will be committed. From now on the entry cannot leave before the image has what it says, so c remembers where it is.
func (r *resident) accept(c *change) {
	s := r.stripe(c.hash)
	s.mu.Lock()
	e := s.place(c)
	if e.evictable() {
		s.clean -= e.size()
	}
	e.pending = c.version
	e.flags &^= flagPendingDeleted
	if c.deleted {
		e.flags |= flagPendingDeleted
	}
	s.mu.Unlock()
}

// place finds or makes the entry of c.
func (s *stripe) place(c *change) *entry {
	if c.slot = s.locate(c.hash, c.table, c.key()); c.slot == 0 {
		c.slot = s.add(c.hash, c.table, c.block, int(c.keyLen))
	}
	return &s.entries[c.slot-1]
}

// reject takes back what accept noted, for every change that is pending on the entry of c.
func (r *resident) reject(c *change) {
	s := r.stripe(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.locate(c.hash, c.table, c.key())
	if slot == 0 || s.entries[slot-1].pending == 0 {
		return
	}
	e := &s.entries[slot-1]
	e.pending = 0
	e.flags &^= flagPendingDeleted
	if e.flags&flagKnown == 0 {
		s.remove(slot - 1)
	} else if e.evictable() {
		s.clean += e.size()
	}
}

// commit makes c what readers see.
func (r *resident) commit(c *change) {
	s := r.stripe(c.hash)
	s.mu.Lock()
	if c.slot == 0 { // only in replay: accept was not called
		s.place(c)
	}
	e := &s.entries[c.slot-1]
	e.block, e.version, e.expires = c.block, c.version, c.expires
	e.flags = e.flags&^flagDeleted | flagKnown | flagDirty
	if c.deleted {
		e.flags |= flagDeleted
	}
	e.used = 1
	if e.pending == c.version {
		e.pending = 0
	}
	s.mu.Unlock()
}

// saved notes that the image has c. It must come after generation was raised.
func (r *resident) saved(c *change) {
	s := r.stripe(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[c.slot-1]
	if e.version != c.version || e.flags&flagDirty == 0 { // changed again meanwhile
		return
	}
	e.flags &^= flagDirty
	if e.evictable() {
		s.clean += e.size()
		s.evict()
	}
}

// settle gives back the room that entries took when many more were dirty at once, as during an import.
func (r *resident) settle() {
	for i := range r.stripes {
		s := &r.stripes[i]
		s.mu.Lock()
		s.shorten()
		s.mu.Unlock()
	}
}

// minEntries is the length of a stripe that is not worth making shorter.
const minEntries = 1024

// shorten moves what stands far behind into free slots, when there is room for half as much again. One that cannot leave cannot move either, since its change
// knows where it is: then it is left for another time.
func (s *stripe) shorten() {
	live := len(s.entries) - len(s.free)
	length := live + live/8
	if cap(s.entries) < max(live+live/2, minEntries) || length > len(s.entries) {
		return
	}
	behind := s.entries[length:]
	if slices.ContainsFunc(behind, func(e entry) bool { return e.flags&flagLive != 0 && !e.evictable() }) {
		return
	}
	free := make([]uint32, 0, length-live)
	for _, slot := range s.free {
		if int(slot) < length {
			free = append(free, slot)
		}
	}
	for _, e := range behind {
		if e.flags&flagLive != 0 {
			s.entries[free[len(free)-1]] = e
			free = free[:len(free)-1]
		}
	}
	s.entries, s.free, s.index, s.hand = slices.Clone(s.entries[:length]), free, slotIndex{}, 0
	for slot := range s.entries {
		if e := &s.entries[slot]; e.flags&flagLive != 0 {
			s.index.add(e.hash, uint32(slot)+1)
		}
	}
}

// octets returns how much is held for entries that could leave.
func (r *resident) octets() (clean int64) {
	for i := range r.stripes {
		s := &r.stripes[i]
		s.mu.RLock()
		clean += s.clean
		s.mu.RUnlock()
	}
	return clean
}
