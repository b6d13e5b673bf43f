package postgres

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/store"
)

// Staleness bounds how old a kept record may be against what another node has committed: the database tells this node within a
// millisecond or so, and whether it still tells it is tried this often; what cannot be told is not kept.
const Staleness = 2 * time.Second

// Options says what a DB stands on. Target, Clock and Random are needed; zero values of the others take the defaults given.
type Options struct {
	Target *Target
	Node   uint16 // number of this node: of two processes with one number the second is refused (ErrNodeTaken)
	Clock  store.Clock
	Random io.Reader    // id of a new store
	Log    *slog.Logger // nil: silent
	Lab    bool         // the mark a new store gets, and an existing one must have (store.ErrWrongMark)
	Tables []store.TableSpec

	Window      time.Duration // longest time a change waits for company, default 3 ms; negative: never wait
	BatchBytes  int           // size at which a batch is not added to, default 1 MiB
	QueueBytes  int           // changes that may wait for the database, default 64 MiB; beyond: store.ErrOverloaded
	CacheBytes  int64         // records kept in memory, default 256 MiB
	Readers     int           // connections for reads, default 2
	ReadQueue   int           // reads that may wait for them, default 4096
	ChangesKept uint64        // batches of the outbox that are kept, default 1,000,000
	// Patience is how long a change waits for a database that is away, default 5 s; then it is answered store.ErrFailed, and what comes meanwhile too.
	Patience time.Duration
}

// ErrNodeTaken: another process lives with the number of this node. Tokens and sequence numbers of both would be the same.
var ErrNodeTaken = errors.New("postgres: another process has the number of this node")

// DB is one node's end of the shared store.
//
// The way of a change: ApplyAsync queues it; the committer takes what is queued, locks and judges and writes it in one transaction
// (commit.go, batch.go), keeps it (cache.go), tells the callers. The watch (watch.go) hears from the database what other nodes commit,
// and from time to time whether it still hears.
type DB struct {
	o        Options
	known    [256]bool
	quiet    [256]bool
	changed  [256]atomic.Uint64 // for Changed
	cache    *cache
	counters counters
	meta     store.Meta // fixed after Open, but for Sequence
	newest   atomic.Uint64
	token    int64 // of the batch before the first: random, so that no other run of the node has had it

	mu      sync.Mutex // guards what follows
	queue   []*request
	queued  int           // octets in it
	refuse  error         // why nothing more is accepted: store.ErrClosed
	away    error         // why the database is not to be had; nil while it is
	since   time.Duration // when that began
	serving bool          // the watch stands: this node has its number, and what is written is durable

	wake   chan struct{} // for the committer
	served chan struct{} // told when the watch stands
	reads  chan read

	readsMu sync.RWMutex // held for reading while sending to reads, for writing to close it
	closed  atomic.Bool
	ctx     context.Context // of all work but the committer's
	stop    context.CancelFunc
	commits sync.WaitGroup
	others  sync.WaitGroup
}

var _ store.Engine = (*DB)(nil)

// counters are the sums of store.Stats.
type counters struct{ changes, batches, conflicts, overloads, misses atomic.Uint64 }

func (o Options) withDefaults() (Options, error) {
	if o.Target == nil || o.Clock == nil || o.Random == nil {
		return o, errors.New("postgres: options without target, clock or randomness")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Window = cmp.Or(o.Window, 3*time.Millisecond)
	o.BatchBytes = cmp.Or(o.BatchBytes, 1<<20)
	o.QueueBytes = cmp.Or(o.QueueBytes, 64<<20)
	o.CacheBytes = cmp.Or(o.CacheBytes, 256<<20)
	o.Readers = cmp.Or(o.Readers, 2)
	o.ReadQueue = cmp.Or(o.ReadQueue, 4096)
	o.ChangesKept = cmp.Or(o.ChangesKept, 1_000_000)
	o.Patience = cmp.Or(o.Patience, 5*time.Second)
	for _, t := range o.Tables {
		if !tableName.MatchString(t.Name) || t.Table == tableCounters {
			return o, fmt.Errorf("postgres: table %d cannot have the name %q", t.Table, t.Name)
		}
	}
	return o, nil
}

// tableName excludes everything that would need quoting.
var tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// tableCounters is the store's own table: the high-water marks of Reserve, as decimal text.
const tableCounters store.Table = 0

// Open connects, makes the schema if it is not there, takes the number of the node and starts the engine's goroutines; Close ends them. It
// fails at once if the database is not to be had: from then on the engine waits for it.
func Open(o Options) (*DB, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	db := &DB{o: o, cache: newCache(o.CacheBytes), wake: make(chan struct{}, 1), served: make(chan struct{}, 1), reads: make(chan read, o.ReadQueue)}
	for _, t := range o.Tables {
		db.known[t.Table], db.quiet[t.Table] = true, t.Quiet
	}
	db.quiet[tableCounters] = true
	db.ctx, db.stop = context.WithCancel(context.Background())
	if err := binary.Read(o.Random, binary.BigEndian, &db.token); err != nil {
		return nil, fmt.Errorf("postgres: randomness: %w", err)
	}
	w, err := db.watch(db.ctx, db.prepare)
	if err != nil {
		db.stop()
		return nil, fmt.Errorf("store in %s: %w", o.Target, err)
	}
	db.serve(true, nil)
	db.others.Go(func() { db.runWatch(w) })
	db.commits.Go(db.runCommitter)
	for range o.Readers {
		db.others.Go(db.runReader)
	}
	return db, nil
}

// name is what a connection is called in the database's own views.
func (db *DB) name(part string) string { return fmt.Sprintf("imsafe node %d %s", db.o.Node, part) }

// Close refuses new work, commits what was accepted if the database is there, and disconnects. Nothing else may be called during or after it,
// except that late writes and reads get store.ErrClosed.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return store.ErrClosed
	}
	db.mu.Lock()
	db.refuse = store.ErrClosed
	db.mu.Unlock()
	db.wakeCommitter()
	db.commits.Wait()
	db.readsMu.Lock()
	close(db.reads)
	db.readsMu.Unlock()
	db.stop()
	db.others.Wait()
	return nil
}

// Abandon ends the engine as if the process had died: what waits is dropped and its callers hear nothing. For tests.
func (db *DB) Abandon() {
	db.mu.Lock()
	db.queue, db.queued = nil, 0
	db.mu.Unlock()
	_ = db.Close()
}

// Meta implements store.Engine. Sequence is the newest change that this node has made.
func (db *DB) Meta() store.Meta {
	m := db.meta
	m.Sequence = db.newest.Load()
	return m
}

// Failure implements store.Engine: why the database is not to be had now. The engine comes back by itself.
func (db *DB) Failure() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.away
}

// Backup implements store.Engine: backups are the database's own.
func (db *DB) Backup(context.Context, string) error {
	return fmt.Errorf("the store is in PostgreSQL: back that up (pg_basebackup, pg_dump): %w", errors.ErrUnsupported)
}

// Stats implements store.Engine.
func (db *DB) Stats() store.Stats {
	c := &db.counters
	return store.Stats{Changes: c.changes.Load(), Batches: c.batches.Load(), Conflicts: c.conflicts.Load(), Overloads: c.overloads.Load(),
		Misses: c.misses.Load(), CacheOctets: db.cache.octets()}
}

// Changed implements store.Store. While nobody tells this node what others change it is another number each time.
func (db *DB) Changed(t store.Table) uint64 {
	db.mu.Lock()
	serving := db.serving
	db.mu.Unlock()
	if !serving {
		return db.changed[t].Add(1) + 1
	}
	return db.changed[t].Load() + 1
}

// gone refuses what would wait for nothing: the database has been away for longer than anybody is to wait for it.
func (db *DB) gone() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.serving || db.o.Clock.Now()-db.since < db.o.Patience {
		return nil
	}
	return fmt.Errorf("%w: the database", store.ErrFailed)
}

// serve says whether the watch stands, and why not.
func (db *DB) serve(standing bool, why error) {
	db.mu.Lock()
	before := db.away
	if !standing && db.serving {
		db.since = db.o.Clock.Now()
	}
	db.serving, db.away = standing, why
	db.mu.Unlock()
	db.cache.set(standing)
	for t := range db.changed {
		db.changed[t].Add(1)
	}
	switch {
	case standing:
		select {
		case db.served <- struct{}{}:
		default:
		}
		db.o.Log.Info("store: the database serves", "peer", db.o.Target.String(), "node", db.o.Node)
	case before == nil && !db.closed.Load():
		db.o.Log.Error("store: the database is away", "peer", db.o.Target.String(), "error", why)
	}
}
