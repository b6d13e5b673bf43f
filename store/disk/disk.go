// Package disk is the part of a file system that the store's journal stands on: one flat directory, files written at offsets,
// and the difference between written and durable. OS is the real one; Fake is a disk in memory with faults from a seed and a
// Crash that returns what a power cut would leave. It knows nothing of records. Imported by store and by tests.
package disk

import (
	"errors"
	"fmt"
	"io"
)

// Disk is one flat directory. Names have no separators. Safe for concurrent use.
type Disk interface {
	// Open opens an existing file for reading and writing; fs.ErrNotExist if there is none.
	Open(name string) (File, error)
	// Create makes a new, empty file; fs.ErrExist if the name is taken.
	Create(name string) (File, error)
	Remove(name string) error
	// Rename replaces newName if it exists.
	Rename(oldName, newName string) error
	// ReadDir returns the names in the directory, sorted.
	ReadDir() ([]string, error)
	// SyncDir makes creations, removals and renames durable.
	SyncDir() error
	// Lock takes the exclusive lock of the directory: *LockedError if another holds it. Closing gives it back.
	Lock() (io.Closer, error)
}

// File is an open file. WriteAt and Datasync are called by one goroutine at a time.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Datasync returns when everything written is durable. After an error nothing is known about what was written since the
	// last success, and a later success proves nothing: the kernel may have dropped the pages. Do not retry.
	Datasync() error
	// Preallocate makes the file size octets of zeros, on blocks that are really written, and durable, so that a later
	// WriteAt plus Datasync inside it changes no metadata and cannot meet a full disk.
	Preallocate(size int64) error
	Size() (int64, error)
	Close() error
}

// ErrFull is a full disk, whatever the operating system calls it.
var ErrFull = errors.New("disk: full")

// LockedError says that another process holds the directory.
type LockedError struct {
	Path string
	PID  int // 0 if it could not be read
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("disk: %s is in use by process %d", e.Path, e.PID)
}
