// Package store keeps the records of the IMS: subscribers, registrations, services, counters. It is a journal in front of an
// image. What an answer promises waits for the journal (append-only, preallocated segments, one fdatasync per batch); the image
// (package store/sqlite in production, MemoryImage in simulations) is brought up to date behind it and is what people open,
// query and back up. Why both: docs/decisions/007-journal-in-front-of-sqlite.md.
//
// It offers versioned records inside a partition: Get, an atomic conditional Apply, Scan, Changes (an outbox), Reserve (durable
// high-water marks) and Sweep (expired records). It does not offer joins, locks, notifications, writes over two partitions that
// would have to be atomic on another engine, or encryption (package store/seal does that above it).
//
// Imported by node (which opens it), imsbox/*, iface/*, servicebox/* and ca. It imports nothing of ours but store/disk.
//
// Everything here is safe for concurrent use unless its comment says otherwise. Clock, randomness and disk are handed in.
package store

import (
	"context"
	"errors"
	"fmt"
)

// Table numbers a kind of record. Zero is the store's own (counters). The number is written to the journal: never reuse one.
// Rooms take theirs from these ranges and name them to the node, which hands the names to Open as TableSpec:
//
//	  1- 31 imsbox/hss          32- 63 imsbox/scscf         64- 95 iface/clientims, imsbox/pcscf
//	 96-127 call records        128-159 iface/imsservice    160-175 ca      176-199 node, management
//	200-239 servicebox/*        240-255 tests
type Table uint8

// TableSpec names a table. Name becomes the table's name in the SQLite image: [a-z][a-z0-9_]*, at most 32 characters.
type TableSpec struct {
	Table Table
	Name  string
	// Quiet leaves the changes of this table out of the outbox: for records that change all the time and that nobody follows.
	Quiet bool
}

// Record is one record as it was committed. Key and Value are views of memory that the store shares between all readers: they
// stay valid for ever and must never be written to.
type Record struct {
	Key, Value []byte
	// Version is the number of the change that wrote the record. It grows over the whole store and is never given twice, also
	// not after a delete: an IfVersion of somebody who slept through a delete and a new record cannot succeed by accident.
	Version uint64
	// Expires is a wall-clock time in unix milliseconds; 0 means never. The store only carries it: a record in the past is
	// still returned by Get and Scan, until its owner has removed it (see Sweep).
	Expires int64
}

// Cond is the condition of an Op.
type Cond uint8

const (
	Always    Cond = iota // no condition
	IfVersion             // the record exists and has exactly Op.Version
	IfAbsent              // there is no record (an expired one that nobody removed counts as a record)
)

// Op is one change of one record. The conditions of all ops of an Apply are judged against the state before that Apply.
type Op struct {
	Table   Table
	Key     []byte // 1 to MaxKey octets
	Value   []byte // nil deletes (deleting what is not there is no error); empty but not nil is an empty value
	Expires int64  // unix milliseconds, 0 never
	Cond    Cond
	// Version is compared if Cond is IfVersion. After success it holds the new version of the record, so that the owner can
	// make his next change conditional without reading.
	Version uint64
}

// Check says why no engine could store op, ErrInvalid; declared is whether its table is.
func (op *Op) Check(declared bool) error {
	switch {
	case !declared:
		return fmt.Errorf("%w: table %d is not declared", ErrInvalid, op.Table)
	case len(op.Key) == 0 || len(op.Key) > MaxKey:
		return fmt.Errorf("%w: key of %d octets", ErrInvalid, len(op.Key))
	case len(op.Value) > MaxValue:
		return fmt.Errorf("%w: value of %d octets", ErrInvalid, len(op.Value))
	case op.Cond > IfAbsent || op.Expires < 0:
		return fmt.Errorf("%w: condition %d, expires %d", ErrInvalid, op.Cond, op.Expires)
	}
	return nil
}

// Change is a row of the outbox: the record Key of Table was written or deleted by change number Sequence. Several changes of
// one record may be folded into the last one. The value is not carried: read it, it may be newer still.
type Change struct {
	Sequence uint64
	Table    Table
	Key      []byte
	Deleted  bool
}

// Limits of a record. An Op beyond them is ErrInvalid.
const (
	MaxKey   = 1 << 10 // octets
	MaxValue = 1 << 20 // octets
	MaxOps   = 1 << 12 // ops in one Apply
	MaxApply = 4 << 20 // octets of all of them: they must fit into a segment of the journal
)

// Store is what the rooms see. Another engine (PostgreSQL wire protocol) implements the same; storetest.Run holds both to it.
type Store interface {
	// Get returns the newest committed record, or ErrNotFound. It may read the disk: not on a shard.
	Get(t Table, key []byte) (Record, error)

	// GetAsync is Get for a shard: done runs before GetAsync returns if the record (or its absence) is in memory, else from a
	// reader goroutine. done must not block. ErrOverloaded: too many reads wait (the caller answers 503).
	// key must not change before done has run.
	GetAsync(t Table, key []byte, done func(Record, error))

	// Prefetch brings what the disk says of keys into memory, so that Get and the conditions of Apply find it there: one walk where the keys
	// are neighbours, as those of a file of subscribers are. It is a help and no promise: where a walk would meet many others, or
	// memory is short, Get reads as ever. It may read the disk.
	Prefetch(t Table, keys [][]byte) error

	// Changed returns a number that is greater after each change of table t that was acknowledged, and is never 0. What Get returned
	// for t after Changed returned n is the newest committed record for as long as Changed returns n: whoever keeps what he made of records
	// that seldom change need not look them up each time. It costs one load. Safe for concurrent use.
	Changed(t Table) uint64

	// Apply makes all changes or none, durable before it returns. ErrConflict: a condition did not hold. ErrFailed,
	// ErrOverloaded, ErrFull, ErrClosed: nothing was promised, the caller answers 503; after ErrFailed the change may or may
	// not be there after the next start. partition names the private identity or implicit registration set that all keys
	// belong to. It waits for the disk: not on a shard.
	Apply(partition string, ops ...Op) error

	// ApplyAsync is Apply for a shard. The ops (and what they point to) belong to the store until done runs. done runs from
	// the committer after the change is durable and visible; a refusal may run it before ApplyAsync returns. It must not
	// block: it wakes a Task. Changes of one partition take effect in the order of the calls.
	ApplyAsync(partition string, ops []Op, done func(error))

	// Scan returns at most limit committed records whose key has the prefix and is greater than cursor (nil: from the start),
	// in key order, and the cursor of the next page: nil when there is none. Pages are not one snapshot: a record written
	// meanwhile may or may not be seen, one that is untouched is seen exactly once. It may read the disk.
	Scan(t Table, prefix, cursor []byte, limit int) ([]Record, []byte, error)

	// Changes returns at most limit outbox rows after cursor (0: from the oldest kept), in order, and the next cursor.
	// ErrTrimmed: rows after cursor are gone already; Scan, then go on from the returned cursor. It may read the disk.
	Changes(cursor uint64, limit int) ([]Change, uint64, error)

	// Reserve moves the high-water mark of the counter up by n and returns the values that are now the caller's: from
	// (inclusive) to to (exclusive). The first of a counter begins at 0. No value is ever given twice, also not after a
	// crash; values may be skipped. Durable before it returns: not on a shard. n must not be 0.
	Reserve(counter string, n uint64) (from, to uint64, err error)

	// ReserveAsync is Reserve for a shard; done as in ApplyAsync.
	ReserveAsync(counter string, n uint64, done func(from, to uint64, err error))

	// Sweep returns at most limit records of t whose Expires is not 0 and not after now (unix milliseconds), in key order, so
	// that their owner removes them with IfVersion; fewer than limit means that there are no more. now comes from the caller: he
	// is the one who keeps lifetimes on the monotonic clock and lets a jump of the wall clock expire nobody. It walks the whole
	// table on the disk (100,000 records: a fraction of a second): once a minute, not once a second.
	Sweep(t Table, now int64, limit int) ([]Record, error)
}

// Engine is a store with its life: what a process opens and closes. The embedded one is DB, that on PostgreSQL is in store/postgres.
type Engine interface {
	Store
	// Meta returns the identity of the store.
	Meta() Meta
	// Stats returns sums since it was opened.
	Stats() Stats
	// Failure returns why nothing can be written, nil while it can. What an engine with a disk of its own says needs a restart.
	Failure() error
	// Backup writes everything committed before the call into one new file; errors.ErrUnsupported if the engine cannot.
	Backup(ctx context.Context, path string) error
	// Close commits what was accepted and ends the store.
	Close() error
}

// Errors of reading and writing. Compare with errors.Is.
var (
	ErrNotFound   = errors.New("store: not found")
	ErrConflict   = errors.New("store: condition does not hold")
	ErrInvalid    = errors.New("store: invalid operation")
	ErrTrimmed    = errors.New("store: changes after this cursor are gone")
	ErrExhausted  = errors.New("store: counter exhausted")
	ErrOverloaded = errors.New("store: too much work waits")
	ErrFull       = errors.New("store: no room for the journal")
	ErrFailed     = errors.New("store: failed")
	ErrClosed     = errors.New("store: closed")
)
