package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// read is work for a reader goroutine: a GetAsync, or a request whose conditions are about records that are not in memory.
type read struct {
	request *request
	table   Table
	key     []byte
	done    func(Record, error)
}

// Get implements Store. A record in memory costs no allocation.
func (db *DB) Get(t Table, key []byte) (Record, error) {
	if rec, err, hit := db.resident.lookup(t, key); hit {
		return rec, err
	}
	return db.load(t, key)
}

// Changed implements Store.
func (db *DB) Changed(t Table) uint64 { return db.changed[t].Load() + 1 }

// GetAsync implements Store.
func (db *DB) GetAsync(t Table, key []byte, done func(Record, error)) {
	if rec, err, hit := db.resident.lookup(t, key); hit {
		done(rec, err)
		return
	}
	if db.o.Manual {
		done(db.load(t, key))
		return
	}
	if err := db.ask(read{table: t, key: key, done: done}); err != nil {
		done(Record{}, err)
	}
}

// ask gives work to the readers; it never waits.
func (db *DB) ask(r read) error {
	db.readsMu.RLock()
	defer db.readsMu.RUnlock()
	if db.closed.Load() {
		return ErrClosed
	}
	select {
	case db.reads <- r:
		return nil
	default:
		return ErrOverloaded
	}
}

// runReader reads the image until Close.
func (db *DB) runReader() {
	for r := range db.reads {
		if r.request != nil {
			db.resume(r.request)
			continue
		}
		r.done(db.load(r.table, r.key))
	}
}

// load brings the record from the image into memory and returns it. What memory learned meanwhile wins.
func (db *DB) load(t Table, key []byte) (Record, error) {
	if !db.known[t] || len(key) == 0 || len(key) > MaxKey {
		return Record{}, fmt.Errorf("%w: get from table %d, key of %d octets", ErrInvalid, t, len(key))
	}
	for {
		if rec, err, hit := db.resident.lookup(t, key); hit {
			return rec, err
		}
		if db.closed.Load() {
			return Record{}, ErrClosed
		}
		db.counters.misses.Add(1)
		generation := db.resident.generation.Load()
		rec, err := db.image.Get(t, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Record{}, err
		}
		rec, found, ok := db.resident.fill(t, key, rec, err == nil, generation)
		switch {
		case !ok: // a checkpoint ended meanwhile
		case !found:
			return Record{}, ErrNotFound
		default:
			return rec, nil
		}
	}
}

// Prefetch implements Store.
func (db *DB) Prefetch(t Table, keys [][]byte) error {
	if !db.known[t] {
		return fmt.Errorf("%w: prefetch from table %d", ErrInvalid, t)
	}
	missing := make([][]byte, 0, len(keys))
	for _, key := range keys {
		if len(key) == 0 || len(key) > MaxKey {
			return fmt.Errorf("%w: prefetch of a key of %d octets", ErrInvalid, len(key))
		}
		if _, _, hit := db.resident.lookup(t, key); !hit {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 || db.closed.Load() {
		return nil
	}
	slices.SortFunc(missing, bytes.Compare)
	first, last := missing[0], missing[len(missing)-1]
	limit := 2*len(missing) + prefetchStrangers
	generation := db.resident.generation.Load()
	rows, err := db.image.Scan(t, commonPrefix(first, last), first[:len(first)-1], limit)
	if err != nil {
		return err
	}
	if len(rows) == limit { // what is behind the last row has not been seen
		last = rows[limit-1].Key
	}
	for _, key := range missing {
		if bytes.Compare(key, last) > 0 {
			break
		}
		for len(rows) > 0 && bytes.Compare(rows[0].Key, key) < 0 {
			rows = rows[1:]
		}
		rec := Record{Key: key}
		found := len(rows) > 0 && bytes.Equal(rows[0].Key, key)
		if found {
			rec = rows[0]
		}
		if _, _, ok := db.resident.fill(t, key, rec, found, generation); !ok {
			break // a checkpoint ended meanwhile
		}
	}
	return nil
}

// prefetchStrangers is how many records that nobody asked for a walk of Prefetch may meet besides as many as were asked for.
const prefetchStrangers = 64

func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// unsaved returns what is committed and may not be in the image. The slice and its elements never change.
func (db *DB) unsaved() []change {
	db.tailMu.Lock()
	defer db.tailMu.Unlock()
	return db.tail[:len(db.tail):len(db.tail)]
}

// Scan implements Store.
func (db *DB) Scan(t Table, prefix, cursor []byte, limit int) ([]Record, []byte, error) {
	if !db.known[t] || limit <= 0 {
		return nil, nil, fmt.Errorf("%w: scan of table %d, limit %d", ErrInvalid, t, limit)
	}
	// First the tail, then the image: a change that moves from one to the other in between is seen twice, not never.
	var tail []change
	for _, c := range db.unsaved() {
		if c.table == t && bytes.HasPrefix(c.key(), prefix) && bytes.Compare(c.key(), cursor) > 0 {
			tail = append(tail, c)
		}
	}
	newer := lastStates(tail)
	older, err := db.image.Scan(t, prefix, cursor, limit+1)
	if err != nil {
		return nil, nil, err
	}
	more := len(older) > limit
	if more { // beyond the end of the image's page only the image's next page can tell
		end := older[limit-1].Key
		older = older[:limit]
		n, _ := slices.BinarySearchFunc(newer, end, compareToKey)
		for n < len(newer) && bytes.Equal(newer[n].key(), end) {
			n++
		}
		newer = newer[:n]
	}
	page := merge(older, newer)
	var next []byte
	switch {
	case len(page) > limit:
		page = page[:limit]
		next = page[limit-1].Key
	case more:
		next = older[len(older)-1].Key // not the page's last: the page's end may have been deleted
	}
	return page, next, nil
}

// merge puts the changes over the records; both are in key order. The higher version of a record wins.
func merge(records []Record, changes []*change) []Record {
	page := make([]Record, 0, len(records)+len(changes))
	for len(records) > 0 || len(changes) > 0 {
		order := -1
		if len(records) == 0 {
			order = 1
		} else if len(changes) > 0 {
			order = bytes.Compare(records[0].Key, changes[0].key())
		}
		if order == 0 && records[0].Version > changes[0].version {
			changes = changes[1:]
			continue
		}
		if order < 0 {
			page = append(page, records[0])
			records = records[1:]
			continue
		}
		if order == 0 {
			records = records[1:]
		}
		if c := changes[0]; !c.deleted {
			page = append(page, Record{Key: c.key(), Value: c.value(), Version: c.version, Expires: c.expires})
		}
		changes = changes[1:]
	}
	return page
}

// Changes implements Store.
func (db *DB) Changes(cursor uint64, limit int) ([]Change, uint64, error) {
	if limit <= 0 {
		return nil, cursor, fmt.Errorf("%w: limit %d", ErrInvalid, limit)
	}
	db.tailMu.Lock()
	now := db.meta.Sequence
	tail := db.tail[:len(db.tail):len(db.tail)]
	db.tailMu.Unlock()
	rows, trimmed, err := db.image.Changes(cursor, limit)
	if err != nil {
		return nil, cursor, err
	}
	if cursor != 0 && cursor < trimmed {
		return nil, now, ErrTrimmed
	}
	last := cursor
	if len(rows) > 0 {
		last = rows[len(rows)-1].Sequence
	}
	n, _ := slices.BinarySearchFunc(tail, last, func(c change, last uint64) int { return cmp.Compare(c.version, last+1) })
	for i := n; i < len(tail) && len(rows) < limit; i++ {
		if c := &tail[i]; !db.quiet[c.table] {
			rows = append(rows, c.outbox())
			last = c.version
		}
	}
	return rows, last, nil
}

// Sweep implements Store.
func (db *DB) Sweep(t Table, now int64, limit int) ([]Record, error) {
	if !db.known[t] || limit <= 0 {
		return nil, fmt.Errorf("%w: sweep of table %d, limit %d", ErrInvalid, t, limit)
	}
	var tail []change
	for _, c := range db.unsaved() {
		if c.table == t {
			tail = append(tail, c)
		}
	}
	var due []Record
	newer := lastStates(tail)
	for _, c := range newer {
		if !c.deleted && c.expires != 0 && c.expires <= now {
			due = append(due, Record{Key: c.key(), Value: c.value(), Version: c.version, Expires: c.expires})
		}
	}
	// Rows of the image that the tail has overtaken do not count, so there may be more pages to look at.
	var after []byte
	for seen := 0; seen < limit; {
		rows, err := db.image.Expired(t, now, after, limit)
		if err != nil {
			return nil, err
		}
		for _, rec := range rows {
			if _, overtaken := slices.BinarySearchFunc(newer, rec.Key, compareToKey); !overtaken {
				due = append(due, rec)
				seen++
			}
		}
		if len(rows) < limit {
			break
		}
		after = rows[len(rows)-1].Key
	}
	slices.SortFunc(due, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) })
	return due[:min(limit, len(due))], nil
}

func compareToKey(c *change, key []byte) int { return bytes.Compare(c.key(), key) }
