package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// MemoryImage is an Image in memory, for simulations and tests. It outlives the DB that uses it: an image made once and handed to
// one Open after the other plays the file that survives a crash. Safe for concurrent use.
type MemoryImage struct {
	mu      sync.RWMutex
	known   bool
	meta    Meta
	tables  map[Table]*memoryTable
	changes []Change
	trimmed uint64
}

// memoryTable is one table; keys are its keys in order, nil when that has to be worked out again.
type memoryTable struct {
	records map[string]Record
	keys    []string
}

// Memory returns an empty image. Its Open method is an Options.Image.
func Memory() *MemoryImage { return &MemoryImage{tables: map[Table]*memoryTable{}} }

// Open returns the image itself: hand it in as Options.Image.
func (m *MemoryImage) Open([]TableSpec) (Image, error) { return m, nil }

// Meta implements Image.
func (m *MemoryImage) Meta() (Meta, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.meta, m.known, nil
}

// Get implements Image.
func (m *MemoryImage) Get(t Table, key []byte) (Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if table := m.tables[t]; table != nil {
		if rec, ok := table.records[string(key)]; ok {
			return rec, nil
		}
	}
	return Record{}, ErrNotFound
}

// sorted returns the keys in order.
func (m *MemoryImage) sorted(t Table) (*memoryTable, []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	table := m.tables[t]
	if table == nil {
		return nil, nil
	}
	if table.keys == nil {
		table.keys = slices.Sorted(maps.Keys(table.records))
	}
	return table, table.keys
}

// Scan implements Image.
func (m *MemoryImage) Scan(t Table, prefix, after []byte, limit int) ([]Record, error) {
	table, keys := m.sorted(t)
	n, _ := slices.BinarySearch(keys, string(prefix))
	if bytes.Compare(after, prefix) >= 0 {
		var found bool
		if n, found = slices.BinarySearch(keys, string(after)); found {
			n++
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []Record
	for ; n < len(keys) && len(out) < limit && bytes.HasPrefix([]byte(keys[n]), prefix); n++ {
		if rec, ok := table.records[keys[n]]; ok {
			out = append(out, rec)
		}
	}
	return out, nil
}

// Expired implements Image.
func (m *MemoryImage) Expired(t Table, now int64, after []byte, limit int) ([]Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	table := m.tables[t]
	if table == nil {
		return nil, nil
	}
	var out []Record
	for _, rec := range table.records {
		if rec.Expires != 0 && rec.Expires <= now && bytes.Compare(rec.Key, after) > 0 {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) })
	return out[:min(limit, len(out))], nil
}

// Changes implements Image.
func (m *MemoryImage) Changes(cursor uint64, limit int) ([]Change, uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, _ := slices.BinarySearchFunc(m.changes, cursor+1, func(c Change, at uint64) int { return cmp.Compare(c.Sequence, at) })
	rows := m.changes[n:]
	return slices.Clone(rows[:min(limit, len(rows))]), m.trimmed, nil
}

// Write implements Image.
func (m *MemoryImage) Write(w *ImageWrite) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range w.Records {
		table := m.tables[r.Table]
		if table == nil {
			table = &memoryTable{records: map[string]Record{}}
			m.tables[r.Table] = table
		}
		_, old := table.records[string(r.Key)]
		if old == r.Deleted {
			table.keys = nil
		}
		if r.Deleted {
			delete(table.records, string(r.Key))
		} else {
			table.records[string(r.Key)] = r.Record
		}
	}
	m.changes = append(m.changes, w.Changes...)
	n, _ := slices.BinarySearchFunc(m.changes, w.Trim+1, func(c Change, at uint64) int { return cmp.Compare(c.Sequence, at) })
	m.changes = slices.Clone(m.changes[n:])
	m.trimmed = max(m.trimmed, w.Trim)
	m.meta, m.known = w.Meta, true
	return nil
}

// Backup implements Image: there is no file to copy.
func (m *MemoryImage) Backup(context.Context, string, time.Time) error { return errors.ErrUnsupported }

// Close implements Image; the content stays.
func (m *MemoryImage) Close() error { return nil }
