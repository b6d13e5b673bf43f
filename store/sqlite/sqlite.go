// Package sqlite is the store's image in one SQLite file (modernc.org/sqlite, pure Go): WAL, synchronous FULL, one writer. People
// open it with any SQLite tool: one table per kind of record (key, value, ver, expires), counters, changes, meta. It is written
// only by checkpoints of store.DB, so a running store's file is up to two seconds behind the journal. Imported by node and cmd.
// Safe for concurrent use.
package sqlite

import (
	"time"

	"imsafe/store"
)

// FileName is the name of the image inside the directory of a store.
const FileName = "image.db"

// InDirectory returns the Options.Image that keeps the image in dir/image.db.
func InDirectory(dir string) func([]store.TableSpec) (store.Image, error) {
	panic("sqlite: being written")
}

// Open opens the store in dir, creating the directory with mode 0700 if it is new: o with Disk set to disk.OS(dir) and Image to
// InDirectory(dir).
func Open(dir string, o store.Options) (*store.DB, error) { panic("sqlite: being written") }

// Restore makes a new store in dir (which must be empty or not exist) from a backup. The new store has the backup's identity and
// mark, the next Epoch, RestoredAt = at, and a sequence far ahead, so that versions handed out since the backup do not come again.
func Restore(backup, dir string, at time.Time) (store.Meta, error) { panic("sqlite: being written") }

// Manifest reads what a backup says about itself.
func Manifest(backup string) (store.Meta, error) { panic("sqlite: being written") }
