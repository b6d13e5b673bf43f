// Package slab is a table of variable-size records for the state of users: striped, so any goroutine
// reads and writes, and free of pointers, so a million records cost the garbage collector nothing.
//
// It offers Get, Put, Update, Delete and Range over octets; what the octets mean is the caller's. It does not
// expire, order or persist records. Any room may import it; it imports none of ours.
package slab

import "errors"

// Errors of Put and Update; the table is unchanged.
var (
	ErrTooLarge = errors.New("slab: record too large") // key and value exceed MaxRecord
	ErrFull     = errors.New("slab: table full")       // Config.Limit reached
)

// MaxRecord is the most octets of key and value together.
const MaxRecord = 64<<10 - 8

// Config of a table; the zero value is useful.
type Config struct {
	Limit int64 // octets of record memory; 0 means no limit
	// Hash places keys; nil means a random one, so that nobody can choose keys that collide. A simulation
	// hands in a fixed one, then Range has the same order in each run.
	Hash func(key []byte) uint64
}

// Table maps keys to values, both octets. Safe for concurrent use.
type Table struct{}

// New makes an empty table.
func New(c Config) *Table { panic("soon") }

// Get appends the value of key to dst. It is a copy: the caller owns it. No allocation if dst has room.
func (t *Table) Get(key, dst []byte) ([]byte, bool) { panic("soon") }

// Put sets the value of key. It keeps neither slice. ErrTooLarge, ErrFull.
func (t *Table) Put(key, value []byte) error { panic("soon") }

// Update changes the record of key in one step. fn gets the present value, or nil if there is none, and an
// empty buffer to build the new one in (append to it); both are valid inside fn only. It returns the new
// value, which may be old itself, changed in place, and whether there shall be a record at all:
// keep == false deletes it or creates none. fn runs under the stripe's lock: no calls of this table,
// nothing slow. If the new value does not fit (ErrTooLarge, ErrFull) the old one stays.
func (t *Table) Update(key []byte, fn func(old, buf []byte) (value []byte, keep bool)) error {
	panic("soon")
}

// Delete removes key, zeroes its record, and reports whether there was one.
func (t *Table) Delete(key []byte) bool { panic("soon") }

// Len is the number of records.
func (t *Table) Len() int { panic("soon") }

// Bytes is the memory the table holds, in octets: records, free room and index.
func (t *Table) Bytes() int64 { panic("soon") }

// Range calls fn for records until it returns false. No lock is held during fn, so fn may use the table.
// A key that is there from start to end is seen exactly once, with its value at that moment; others
// may be seen. key and value are valid until fn returns. The order is that of the hash.
func (t *Table) Range(fn func(key, value []byte) bool) { panic("soon") }

// Stripes is the number of parts; RangeStripe visits one of them.
const Stripes = 256

// RangeStripe is Range over stripe n of Stripes, for sweepers that work in small pieces.
func (t *Table) RangeStripe(n int, fn func(key, value []byte) bool) bool { panic("soon") }
