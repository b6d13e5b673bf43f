package store

import (
	"context"
	"errors"
	"time"
)

// DB is the store of one directory: journal, memory, image.
type DB struct{}

var _ Store = (*DB)(nil)

// Errors of Open.
var (
	// ErrWrongMark: a store marked lab at creation was opened by a production process, or the reverse.
	ErrWrongMark = errors.New("store: lab mark differs")
	// ErrForeign: journal and image belong to different stores.
	ErrForeign = errors.New("store: journal and image do not belong together")
	// ErrCorrupt: the journal is damaged before its end, so acknowledged changes are missing. Restore a backup.
	ErrCorrupt = errors.New("store: journal damaged")
)

// Open locks the directory (*disk.LockedError with the holder's pid if it is in use), opens the image, replays the journal and,
// unless o.Manual, starts the committer, the checkpointer and the readers; Close ends them.
func Open(o Options) (*DB, error) { panic("store: being written") }

// Close refuses new work, commits what was accepted, brings the image up to date and unlocks the directory.
func (db *DB) Close() error { panic("store: being written") }

// Meta returns the identity of the store and its last committed sequence.
func (db *DB) Meta() Meta { panic("store: being written") }

// Step does one commit round, and a checkpoint when one is due, on the caller's goroutine. It returns the instant (of the clock)
// at which it wants to be called again, or Never. Only for a store opened with Manual.
func (db *DB) Step() (next time.Duration) { panic("store: being written") }

// Never is what Step returns when nothing waits.
const Never = time.Duration(1<<63 - 1)

// Checkpoint brings the image up to everything that was committed before the call.
func (db *DB) Checkpoint() error { panic("store: being written") }

// Backup writes everything committed before the call into one new SQLite file with a manifest, while the store is in use.
func (db *DB) Backup(ctx context.Context, path string) error { panic("store: being written") }

func (db *DB) Get(t Table, key []byte) (Record, error)                 { panic("store: being written") }
func (db *DB) GetAsync(t Table, key []byte, done func(Record, error))  { panic("store: being written") }
func (db *DB) Apply(partition string, ops ...Op) error                 { panic("store: being written") }
func (db *DB) ApplyAsync(partition string, ops []Op, done func(error)) { panic("store: being written") }
func (db *DB) Scan(t Table, prefix, cursor []byte, limit int) ([]Record, []byte, error) {
	panic("store: being written")
}
func (db *DB) Changes(cursor uint64, limit int) ([]Change, uint64, error) {
	panic("store: being written")
}
func (db *DB) Reserve(counter string, n uint64) (from, to uint64, err error) {
	panic("store: being written")
}
func (db *DB) ReserveAsync(counter string, n uint64, done func(from, to uint64, err error)) {
	panic("store: being written")
}
func (db *DB) Sweep(t Table, now int64, limit int) ([]Record, error) { panic("store: being written") }

// Memory is the Image of simulations and tests: everything in maps, nothing survives the process but what the caller keeps: an
// image made once and handed to several Opens plays the file that survives.
func Memory() *MemoryImage { panic("store: being written") }

// MemoryImage is an Image in memory. Its Open method is an Options.Image.
type MemoryImage struct{}

// Open returns the image itself: hand it in as Options.Image.
func (m *MemoryImage) Open(Meta) (Image, error) { panic("store: being written") }

// InMemory opens a complete store that lives in this process only, for tests of rooms that need one: fake disk, memory image,
// no faults, window 0, running goroutines. Close it at the end.
func InMemory(clock Clock) (*DB, error) { panic("store: being written") }
