package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"imsafe/store/disk"
)

// Clock is monotonic and wall time; proto/shard has implementations, real and fake.
type Clock interface {
	Now() time.Duration // monotonic, from any origin
	Wall() time.Time
}

// Options says what a DB stands on. Disk, Image, Clock and Random are needed; zero values of the others take the defaults given.
type Options struct {
	Disk   disk.Disk                        // the directory of the store: lock and journal
	Image  func([]TableSpec) (Image, error) // opens the image, after the lock is held: sqlite.InDirectory, MemoryImage.Open
	Clock  Clock                            //
	Random io.Reader                        // store id and journal salts; crypto/rand.Reader, or a seed in simulations
	Log    *slog.Logger                     // nil: silent
	Lab    bool                             // the mark a new store gets, and an existing one must have (ErrWrongMark)
	Tables []TableSpec                      //

	// Manual starts no goroutines: the owner calls Step. For simulations. Apply and Reserve then step by themselves.
	Manual bool

	Window          time.Duration // longest time a change waits for company, default 3 ms; negative: never wait
	BatchBytes      int           // size at which a batch is not added to, default 1 MiB
	QueueBytes      int           // changes that may wait for the disk, default 64 MiB; beyond: ErrOverloaded
	SegmentBytes    int64         // journal segment, default 16 MiB
	JournalBytes    int64         // journal not yet in the image at which writes are refused: ErrOverloaded; default 512 MiB
	CheckpointEvery time.Duration // longest time until a change is in the image, default 5 s
	CheckpointOps   int           // changes that start a checkpoint earlier, default 32768
	CacheBytes      int64         // records kept in memory beyond those not yet in the image, default 256 MiB
	Readers         int           // goroutines that read the image for GetAsync and conditions, default 2
	ReadQueue       int           // reads that may wait for them, default 4096
	ChangesKept     uint64        // outbox retention in sequence numbers, default 1,000,000
}

// withDefaults fills in what was left out and refuses what cannot work.
func (o Options) withDefaults() (Options, error) {
	if o.Disk == nil || o.Image == nil || o.Clock == nil || o.Random == nil {
		return o, errors.New("store: options without disk, image, clock or randomness")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Window = cmp.Or(o.Window, 3*time.Millisecond)
	o.BatchBytes = cmp.Or(o.BatchBytes, 1<<20)
	o.QueueBytes = cmp.Or(o.QueueBytes, 64<<20)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 16<<20)
	o.JournalBytes = cmp.Or(o.JournalBytes, 512<<20)
	o.CheckpointEvery = cmp.Or(o.CheckpointEvery, 5*time.Second)
	o.CheckpointOps = cmp.Or(o.CheckpointOps, 1<<15)
	o.CacheBytes = cmp.Or(o.CacheBytes, 256<<20)
	o.Readers = cmp.Or(o.Readers, 2)
	o.ReadQueue = cmp.Or(o.ReadQueue, 4096)
	o.ChangesKept = cmp.Or(o.ChangesKept, 1_000_000)
	seen := map[string]bool{counterTable.Name: true, "changes": true, "meta": true, "tables": true, "manifest": true}
	for _, t := range o.Tables {
		if !tableName.MatchString(t.Name) || strings.HasPrefix(t.Name, "sqlite_") || seen[t.Name] || t.Table == tableCounters {
			return o, fmt.Errorf("store: table %d cannot have the name %q", t.Table, t.Name)
		}
		seen[t.Name] = true
	}
	return o, nil
}

// tableName excludes everything that would need quoting; SQLite's own names are excluded beside it.
var tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// counterTable is where an image keeps the marks of Reserve; it comes first in what Options.Image gets.
var counterTable = TableSpec{Table: tableCounters, Name: "counters", Quiet: true}

// Meta is what a store knows about itself. It stands in every journal segment and in the image.
type Meta struct {
	ID         [16]byte  // random, given at creation
	Lab        bool      // made by a lab process; fixed at creation
	Created    time.Time // wall clock
	Epoch      uint64    // how many times a backup was restored into it
	RestoredAt time.Time // zero if never. The HSS jumps SQN ahead when it sees a new Epoch (TS 33.102 Annex C)
	Sequence   uint64    // last change that is committed
}

// Image is the checkpointed state behind the journal. The DB calls Write from one goroutine and the rest from many.
type Image interface {
	// Meta returns what the last Write contained; ok is false for a new image.
	Meta() (m Meta, ok bool, err error)
	// Get returns ErrNotFound if there is no record.
	Get(t Table, key []byte) (Record, error)
	// Scan returns at most limit records with the prefix and a key greater than after, in key order.
	Scan(t Table, prefix, after []byte, limit int) ([]Record, error)
	// Expired returns at most limit records with 0 < Expires <= now and a key greater than after, in key order.
	Expired(t Table, now int64, after []byte, limit int) ([]Record, error)
	// Changes returns at most limit rows after cursor, and the highest sequence number that was trimmed.
	Changes(cursor uint64, limit int) (rows []Change, trimmed uint64, err error)
	// Write brings the image to w.Meta.Sequence in one durable transaction.
	Write(w *ImageWrite) error
	// Backup writes a consistent copy to a new file while the image is in use; errors.ErrUnsupported if it cannot.
	Backup(ctx context.Context, path string, at time.Time) error
	Close() error
}

// ImageWrite is one checkpoint: the last state of each record that changed, in the order of (table, key).
type ImageWrite struct {
	Meta    Meta
	Records []ImageRecord
	Changes []Change // new outbox rows, in order
	Trim    uint64   // outbox rows up to and including this sequence may go
}

// ImageRecord is the state of one record; Deleted ones are to be removed.
type ImageRecord struct {
	Table   Table
	Deleted bool
	Record
}
