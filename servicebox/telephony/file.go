package telephony

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"
	"time"

	"imsafe/servicebox/as"
)

// Disk is where a File is kept. os.Root and the like do it; a test has one in memory.
type Disk interface {
	// Read returns the content and when it was written; fs.ErrNotExist if there is none.
	Read() ([]byte, time.Time, error)
	// Written returns when it was written.
	Written() (time.Time, error)
	// Replace writes all of it, or nothing.
	Replace(text []byte) error
}

// File is a Store in one JSON file: an object whose names are public identities and whose values are Settings. An operator edits it, users
// change it by feature codes; a change of either is felt by the next call. A file that an operator has broken changes nothing: what was read
// before holds. Make it with OpenFile.
type File struct {
	disk Disk
	warn func(error)

	mu      sync.RWMutex
	all     map[string]Settings
	written time.Time
}

var _ Store = (*File)(nil)

// ErrFile is what is wrong with a file of settings.
var ErrFile = errors.New("telephony: settings")

// OpenFile reads it. A file that does not exist yet is empty; one that cannot be understood is an error here, and is told to warn later.
func OpenFile(d Disk, warn func(error)) (*File, error) {
	f := &File{disk: d, warn: warn}
	return f, f.load()
}

// load reads the file. The caller holds the lock, or nobody knows of f yet.
func (f *File) load() error {
	text, written, err := f.disk.Read()
	if errors.Is(err, fs.ErrNotExist) {
		f.all, f.written = map[string]Settings{}, time.Time{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	all, err := parse(text)
	if err != nil {
		return err
	}
	f.all, f.written = all, written
	return nil
}

// maxFile bounds the file, in octets: enough for 100,000 users.
const maxFile = 64 << 20

// parse understands a file, or says what it does not: a setting that is misspelt must not count as not set.
func parse(text []byte) (map[string]Settings, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: larger than %d octets", ErrFile, maxFile)
	}
	var list map[string]Settings
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something stands after the end", ErrFile)
	}
	all := make(map[string]Settings, len(list))
	for name, s := range list {
		identity, ok := as.Identity(name)
		if _, twice := all[identity]; !ok || twice {
			return nil, fmt.Errorf("%w: %q is no public identity, or stands there twice", ErrFile, name)
		}
		for _, target := range []string{s.Unconditional, s.Busy, s.NoAnswer, s.NotReachable, s.NotRegistered} {
			if err := as.CheckTarget(target); target != "" && err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrFile, name, err)
			}
		}
		all[identity] = s
	}
	return all, nil
}

// Settings implements Store.
func (f *File) Settings(_ context.Context, identity string) (Settings, error) {
	if err := f.refresh(); err != nil {
		return Settings{}, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.all[identity], nil
}

// refresh reads the file again if somebody has written it.
func (f *File) refresh() error {
	written, err := f.disk.Written()
	if errors.Is(err, fs.ErrNotExist) {
		written, err = time.Time{}, nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	f.mu.RLock()
	same := written.Equal(f.written)
	f.mu.RUnlock()
	if same {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if written.Equal(f.written) {
		return nil
	}
	f.written = written // it is not read again before it was written again
	if err := f.load(); err != nil {
		f.warn(err)
	}
	return nil
}

// Change implements Store. What an operator writes in the same moment is lost; what he wrote before is not. While the file is broken nothing is
// changed.
func (f *File) Change(_ context.Context, identity string, change func(*Settings)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return err
	}
	next := maps.Clone(f.all)
	s := next[identity]
	change(&s)
	next[identity] = s
	if s == (Settings{}) {
		delete(next, identity)
	}
	text, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := f.disk.Replace(append(text, '\n')); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	written, err := f.disk.Written()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	f.all, f.written = next, written
	return nil
}
