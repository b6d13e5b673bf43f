package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/store/journal"
)

// DB is the store of one directory: journal, memory, image.
//
// The way of a change: ApplyAsync judges its conditions against the newest state and queues it (commit.go); the committer writes
// the batch to the journal and syncs it (loops.go); then it becomes visible in memory (resident.go), joins the tail of what the image
// does not have, and its callers are told; the keeper writes the tail into the image and recycles the journal (checkpoint.go).
type DB struct {
	o        Options
	known    [256]bool          // tables that were declared
	changed  [256]atomic.Uint64 // for Changed
	quiet    [256]bool          // and have no outbox rows
	resident *resident
	journal  *journal.Journal
	image    Image
	lock     io.Closer
	counters counters

	mu      sync.Mutex // guards commit and failure. Order of locks: mu, tailMu, stripes; mu and tailMu are never held together
	commit  committer
	failure error // what made the store fail

	tailMu     sync.Mutex // guards what follows
	tail       []change   // committed, not yet in the image, in order; elements never change
	tailSince  time.Duration
	meta       Meta       // Sequence: the last change in tail
	checkpoint sync.Mutex // one at a time

	wake  chan struct{} // for the committer
	stir  chan struct{} // for the keeper
	quit  chan struct{} // ends the keeper
	reads chan read     // for the readers; closed at the end

	readsMu   sync.RWMutex // held for reading while sending to reads, for writing to close it
	closed    atomic.Bool
	committer sync.WaitGroup
	readers   sync.WaitGroup
	keeper    sync.WaitGroup

	stepping bool          // Manual: Step is running
	inflight *batch        // Manual: on its way to the disk
	until    time.Duration // when that is over
}

var _ Engine = (*DB)(nil)

// Errors of Open.
var (
	// ErrWrongMark: a store marked lab at creation was opened by a production process, or the reverse.
	ErrWrongMark = errors.New("store: lab mark differs")
	// ErrForeign: journal and image belong to different stores.
	ErrForeign = journal.ErrForeign
	// ErrCorrupt: the journal is damaged before its end, so acknowledged changes are missing. Restore a backup.
	ErrCorrupt = journal.ErrCorrupt
)

// Open locks the directory (*disk.LockedError with the holder's pid if it is in use), opens the image, replays the journal and,
// unless o.Manual, starts the committer, the keeper and the readers; Close ends them.
func Open(o Options) (*DB, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db := &DB{
		o: o, resident: newResident(o.CacheBytes),
		wake: make(chan struct{}, 1), stir: make(chan struct{}, 1), reads: make(chan read, o.ReadQueue), quit: make(chan struct{}),
	}
	db.commit.waiting = map[string][]*request{}
	db.commit.marks = map[string]uint64{}
	for _, t := range o.Tables {
		db.known[t.Table] = true
		db.quiet[t.Table] = t.Quiet
	}
	db.known[tableCounters], db.quiet[tableCounters] = true, true
	if db.lock, err = o.Disk.Lock(); err != nil {
		return nil, err
	}
	if err := db.start(); err != nil {
		return nil, errors.Join(err, db.release())
	}
	if !o.Manual {
		db.committer.Go(db.runCommitter)
		db.keeper.Go(db.runKeeper)
		for range o.Readers {
			db.readers.Go(db.runReader)
		}
	}
	return db, nil
}

// start brings image and journal together.
func (db *DB) start() (err error) {
	if db.image, err = db.o.Image(append([]TableSpec{counterTable}, db.o.Tables...)); err != nil {
		return err
	}
	if err := db.identify(); err != nil {
		return err
	}
	var last uint64
	db.journal, last, err = journal.Open(journal.Options{
		Disk: db.o.Disk, Random: db.o.Random, SegmentBytes: db.o.SegmentBytes,
		Identity: journal.Identity{Store: db.meta.ID, Lab: db.meta.Lab},
	}, db.meta.Sequence, db.replay)
	if err != nil {
		return err
	}
	db.meta.Sequence = last
	db.commit.next = last + 1
	db.tailSince = db.o.Clock.Now()
	if db.journal.Octets() > db.o.JournalBytes/2 { // many starts that did not live to see a checkpoint
		return db.Checkpoint()
	}
	return nil
}

// identify finds out whose directory this is, or makes it ours if it is new.
func (db *DB) identify() error {
	meta, old, err := db.image.Meta()
	if err != nil {
		return err
	}
	id, logged, err := journal.Identify(db.o.Disk)
	if err != nil {
		return err
	}
	switch {
	case old:
		if logged && (id != journal.Identity{Store: meta.ID, Lab: meta.Lab}) {
			return fmt.Errorf("%w: image of %x, journal of %x", ErrForeign, meta.ID, id.Store)
		}
	case logged: // the image was removed: the journal tells whether it is complete without
		meta = Meta{ID: id.Store, Lab: id.Lab, Created: db.o.Clock.Wall()}
	default:
		meta = Meta{Lab: db.o.Lab, Created: db.o.Clock.Wall()}
		if _, err := io.ReadFull(db.o.Random, meta.ID[:]); err != nil {
			return fmt.Errorf("store: id: %w", err)
		}
	}
	if meta.Lab != db.o.Lab {
		return fmt.Errorf("%w: the store is marked %s, this process is %s", ErrWrongMark, mark(meta.Lab), mark(db.o.Lab))
	}
	if !old { // before the journal, so that a journal without an image is never a crash
		if err := db.image.Write(&ImageWrite{Meta: meta}); err != nil {
			return err
		}
	}
	db.meta = meta
	return nil
}

func mark(lab bool) string {
	if lab {
		return "lab"
	}
	return "production"
}

// replay takes a record of the journal that the image does not have.
func (db *DB) replay(sequence uint64, record []byte) error {
	c, err := decodeChange(sequence, record)
	if err != nil {
		return err
	}
	c.hash = db.resident.hash(c.table, c.key())
	db.resident.commit(&c)
	db.tail = append(db.tail, c)
	return nil
}

// Close refuses new work, commits what was accepted, brings the image up to date and unlocks the directory. A store that failed is
// only closed: what its journal holds is for the next Open to judge. Nothing else may be called during or after Close, except that
// late writes and reads get ErrClosed.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return ErrClosed
	}
	db.mu.Lock()
	if db.commit.refuse == nil {
		db.commit.refuse = ErrClosed
	}
	db.mu.Unlock()
	var err error
	if db.o.Manual {
		db.drain()
	} else {
		db.wakeCommitter()
		db.committer.Wait()
		db.readsMu.Lock()
		close(db.reads)
		db.readsMu.Unlock()
		db.readers.Wait()
		close(db.quit)
		db.keeper.Wait()
	}
	if db.Failure() == nil {
		err = db.Checkpoint()
	}
	return errors.Join(err, db.release())
}

// Abandon ends the store as if the process had died: what waits is dropped and its callers hear nothing, the image is not brought up
// to date. For simulations and tests.
func (db *DB) Abandon() {
	db.mu.Lock()
	db.failure = errors.New("store: abandoned")
	db.commit.refuse = ErrFailed
	db.commit.batches = nil
	db.mu.Unlock()
	_ = db.Close()
}

// Failure returns what made the store fail, nil while it works. After a failure reads go on and writes answer ErrFailed; a restart
// finds out what the disk has.
func (db *DB) Failure() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.failure
}

// release gives back what Open took.
func (db *DB) release() error {
	var errs []error
	if db.journal != nil {
		errs = append(errs, db.journal.Close())
	}
	if db.image != nil {
		errs = append(errs, db.image.Close())
	}
	return errors.Join(append(errs, db.lock.Close())...)
}

// Meta returns the identity of the store and its last committed sequence.
func (db *DB) Meta() Meta {
	db.tailMu.Lock()
	defer db.tailMu.Unlock()
	return db.meta
}

// Apply implements Store.
func (db *DB) Apply(partition string, ops ...Op) error {
	answer := make(chan error, 1)
	db.ApplyAsync(partition, ops, func(err error) { answer <- err })
	db.drainIfManual()
	return <-answer
}

// Reserve implements Store.
func (db *DB) Reserve(counter string, n uint64) (from, to uint64, err error) {
	answer := make(chan struct{})
	db.ReserveAsync(counter, n, func(f, t uint64, e error) {
		from, to, err = f, t, e
		close(answer)
	})
	db.drainIfManual()
	<-answer
	return from, to, err
}

// Backup writes everything committed before the call into one new file with a manifest, while the store is in use.
// errors.ErrUnsupported if the image cannot.
func (db *DB) Backup(ctx context.Context, path string) error {
	if err := db.Checkpoint(); err != nil {
		return err
	}
	return db.image.Backup(ctx, path, db.o.Clock.Wall())
}
