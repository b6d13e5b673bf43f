// Package slab is a table of variable-size records for the state of users: striped, so any goroutine
// reads and writes, and free of pointers, so a million records cost the garbage collector nothing.
//
// It offers Get, Put, Update, Delete and Range over octets; what the octets mean is the caller's. It does not
// expire, order or persist records, and gives no memory back to the run time, only to other records.
// Any room may import it; it imports none of ours.
package slab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors of Put and Update; the table is unchanged.
var (
	ErrTooLarge = errors.New("slab: record too large") // key and value exceed MaxRecord
	ErrFull     = errors.New("slab: table full")       // Config.Limit reached
)

// MaxRecord is the most octets of key and value together.
const MaxRecord = pageSize - 8

// Stripes is the number of parts of a table, each with a lock of its own.
const Stripes = 256

// Config of a table; the zero value is useful.
type Config struct {
	// Limit is the most octets of record memory, rounded down to whole MiB but at least one; 0 is no limit.
	// The index, 8 to 22 octets per record, is not counted.
	Limit int64
	// Words are texts that nearly every record repeats, at most 254, the longer first where one holds another: the home domain, for example. They
	// take two octets each in the table; nobody outside sees that. None is the default.
	Words [][]byte
	// Hash places keys; nil means one with a random seed, so that nobody can choose keys that collide. A
	// simulation hands in a fixed one, then Range has the same order in each run.
	Hash func(key []byte) uint64
}

// Table maps keys to values, both octets. Safe for concurrent use.
type Table struct {
	hash    func(key []byte) uint64 // nil: by seed
	seed    maphash.Seed
	words   words
	arena   arena
	buffers sync.Pool // of *[]byte, all octets zero: for Update
	records atomic.Int64
	index   atomic.Int64 // octets of all indexes
	stripes [Stripes]stripe
}

// New makes an empty table.
func New(c Config) *Table {
	if len(c.Words) > maxWords || slices.ContainsFunc(c.Words, func(w []byte) bool { return len(w) == 0 }) {
		panic("slab: too many words, or an empty one") // a defect of assembly
	}
	t := &Table{hash: c.Hash, seed: maphash.MakeSeed(), words: c.Words}
	t.arena.init(c.Limit)
	return t
}

// stripe is an open-addressed index. An entry is tag<<32 | ref, 0 is empty. The tag is the low half of the
// hash: it says where the entry belongs and sorts out nearly all others without a look at their records.
type stripe struct {
	mu      sync.RWMutex
	entries []uint64 // length is a power of two or 0
	count   int
	_       [128 - 56]byte // a line of its own, and the neighbour that the processor fetches with it
}

func (t *Table) locate(key []byte) (s *stripe, tag uint32) {
	var h uint64
	if t.hash == nil {
		h = maphash.Bytes(t.seed, key)
	} else {
		h = t.hash(bytes.Clone(key)) // of a copy, so that keys of callers may stay on their stack
	}
	return &t.stripes[h>>56], uint32(h)
}

// packed is b as the table has it: b itself without words, else made in room.
func (t *Table) packed(room, b []byte) []byte {
	if len(t.words) == 0 {
		return b
	}
	return t.words.pack(room[:0], b)
}

// unpacked appends what a record has to dst.
func (t *Table) unpacked(dst, b []byte) []byte {
	if len(t.words) == 0 {
		return append(dst, b...)
	}
	return t.words.unpack(dst, b)
}

// keyRoom and valueRoom are what is packed without an allocation.
const (
	keyRoom   = 128
	valueRoom = 512
)

// A record in its slot: length of key, length of value, key, value.
const header = 4

func (t *Table) record(r ref) (key, value []byte) {
	b := t.arena.memory(r)
	k := header + int(binary.LittleEndian.Uint16(b))
	v := k + int(binary.LittleEndian.Uint16(b[2:]))
	return b[header:k:k], b[k:v:v]
}

// find returns the position of key in s.entries, or where the search ended. Under s.mu.
func (t *Table) find(s *stripe, tag uint32, key []byte) (at int, found bool) {
	if len(s.entries) == 0 {
		return 0, false
	}
	mask := len(s.entries) - 1
	for at = int(tag) & mask; s.entries[at] != 0; at = (at + 1) & mask {
		if e := s.entries[at]; uint32(e>>32) == tag {
			if k, _ := t.record(ref(e)); bytes.Equal(k, key) {
				return at, true
			}
		}
	}
	return at, false
}

// Get appends the value of key to dst. It is a copy: the caller owns it. No allocation if dst has room.
func (t *Table) Get(key, dst []byte) ([]byte, bool) {
	var room [keyRoom]byte
	key = t.packed(room[:], key)
	s, tag := t.locate(key)
	s.mu.RLock()
	at, found := t.find(s, tag, key)
	if found {
		_, value := t.record(ref(s.entries[at]))
		dst = t.unpacked(dst, value)
	}
	s.mu.RUnlock()
	return dst, found
}

// Put sets the value of key. It keeps neither slice. ErrTooLarge, ErrFull.
func (t *Table) Put(key, value []byte) error {
	var room [keyRoom]byte
	var valueRoom [valueRoom]byte
	key, value = t.packed(room[:], key), t.packed(valueRoom[:], value)
	s, tag := t.locate(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := t.find(s, tag, key)
	return t.set(s, tag, at, found, key, value)
}

// Delete removes key, zeroes its record, and reports whether there was one.
func (t *Table) Delete(key []byte) bool {
	var room [keyRoom]byte
	key = t.packed(room[:], key)
	s, tag := t.locate(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := t.find(s, tag, key)
	if found {
		t.remove(s, at)
	}
	return found
}

// Update changes the record of key in one step. fn gets the present value, or nil if there is none, and an
// empty buffer to build the new one in (append to it); both are valid inside fn only. It returns the new
// value, which may be old itself, changed in place, and whether there shall be a record at all:
// keep == false deletes it or creates none. fn runs under the stripe's lock: no calls of this table,
// nothing slow. If the new value does not fit (ErrTooLarge, ErrFull) the old one stays.
func (t *Table) Update(key []byte, fn func(old, buf []byte) (value []byte, keep bool)) error {
	var room [keyRoom]byte
	key = t.packed(room[:], key)
	s, tag := t.locate(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := t.find(s, tag, key)
	var old []byte
	if found {
		_, old = t.record(ref(s.entries[at]))
	}
	if len(t.words) > 0 && found {
		plain := t.buffer(len(old) + 512)
		defer t.giveBuffer(plain)
		old = t.words.unpack(*plain, old)
		defer clear(old) // where it is longer than plain
	}
	buf := t.buffer(len(old) + 512)
	defer t.giveBuffer(buf)
	value, keep := fn(old, *buf)
	if keep {
		var valueRoom [valueRoom]byte
		value = t.packed(valueRoom[:], value)
		return t.set(s, tag, at, found, key, value)
	}
	if found {
		t.remove(s, at)
	}
	return nil
}

// buffer returns an empty slice with room for size octets.
func (t *Table) buffer(size int) *[]byte {
	if b, ok := t.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

// giveBuffer zeroes b, because it holds what a record holds, and keeps it unless zeroing it is work.
func (t *Table) giveBuffer(b *[]byte) {
	clear((*b)[:cap(*b)])
	if cap(*b) <= 8<<10 {
		t.buffers.Put(b)
	}
}

// set writes the record of key, whose search ended at at. value may lie in the old record. Under s.mu.
func (t *Table) set(s *stripe, tag uint32, at int, found bool, key, value []byte) error {
	size := header + len(key) + len(value)
	if len(key)+len(value) > MaxRecord {
		return ErrTooLarge
	}
	class := classOf(size)
	if found {
		r := ref(s.entries[at])
		if t.arena.classAt(r) == class {
			b := t.arena.memory(r)
			_, old := t.record(r)
			copy(b[header+len(key):], value)
			binary.LittleEndian.PutUint16(b[2:], uint16(len(value)))
			if len(old) > len(value) {
				clear(old[len(value):])
			}
			return nil
		}
	}
	r, ok := t.arena.take(class)
	if !ok {
		return ErrFull
	}
	b := t.arena.memory(r)
	binary.LittleEndian.PutUint16(b, uint16(len(key)))
	binary.LittleEndian.PutUint16(b[2:], uint16(len(value)))
	copy(b[header:], key)
	copy(b[header+len(key):], value)
	if found {
		t.arena.give(ref(s.entries[at]))
	} else {
		at = t.room(s, tag, at)
		s.count++
		t.records.Add(1)
	}
	s.entries[at] = uint64(tag)<<32 | uint64(r)
	return nil
}

// room returns where a new entry goes: at, unless the index had to grow.
func (t *Table) room(s *stripe, tag uint32, at int) int {
	if 4*(s.count+1) <= 3*len(s.entries) {
		return at
	}
	old := s.entries
	s.entries = make([]uint64, max(8, 2*len(old)))
	t.index.Add(8 * int64(len(s.entries)-len(old)))
	for _, e := range old {
		if e != 0 {
			s.entries[s.gap(uint32(e>>32))] = e
		}
	}
	return s.gap(tag)
}

// gap is the first empty place for an entry with this tag.
func (s *stripe) gap(tag uint32) int {
	mask := len(s.entries) - 1
	at := int(tag) & mask
	for s.entries[at] != 0 {
		at = (at + 1) & mask
	}
	return at
}

// remove releases the record at and closes the gap: entries behind it that were pushed away from their
// place move back, so a search may stop at the first empty one. Under s.mu.
func (t *Table) remove(s *stripe, at int) {
	t.arena.give(ref(s.entries[at]))
	s.count--
	t.records.Add(-1)
	mask := len(s.entries) - 1
	for next := (at + 1) & mask; s.entries[next] != 0; next = (next + 1) & mask {
		home := int(s.entries[next]>>32) & mask
		if (next-home)&mask >= (next-at)&mask {
			s.entries[at] = s.entries[next]
			at = next
		}
	}
	s.entries[at] = 0
}

// Len is the number of records.
func (t *Table) Len() int { return int(t.records.Load()) }

// Bytes is the memory the table holds, in octets: records, free room and index.
func (t *Table) Bytes() int64 { return t.arena.held() + t.index.Load() }

// Range calls fn for records until it returns false. No lock is held during fn, so fn may use the table.
// A key that is there from start to end is seen exactly once, with its value at that moment; others
// may be seen. key and value are valid until fn returns. The order is that of the hash.
func (t *Table) Range(fn func(key, value []byte) bool) {
	for n := range Stripes {
		if !t.RangeStripe(n, fn) {
			return
		}
	}
}

// RangeStripe is Range over stripe n of Stripes, for sweepers that work in small pieces. It reports whether
// fn wanted all of it.
func (t *Table) RangeStripe(n int, fn func(key, value []byte) bool) bool {
	s := &t.stripes[n]
	var keys []byte // length and key, one after the other
	s.mu.RLock()
	for _, e := range s.entries {
		if e != 0 {
			key, _ := t.record(ref(e))
			keys = binary.LittleEndian.AppendUint16(keys, uint16(len(key)))
			keys = append(keys, key...)
		}
	}
	s.mu.RUnlock()
	var plain, value []byte
	for len(keys) > 0 {
		end := 2 + int(binary.LittleEndian.Uint16(keys))
		key := keys[2:end:end]
		keys = keys[end:]
		plain = t.unpacked(plain[:0], key)
		var found bool
		if value, found = t.Get(plain, value[:0]); found && !fn(plain, value) {
			return false
		}
	}
	return true
}
