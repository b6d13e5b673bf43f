package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"imsafe/store"
)

// row is a record that a batch is about: how it stands in the database while it is locked, and how the batch leaves it.
type row struct {
	table store.Table
	key   []byte
	heard uint64 // what the cache was told of its place before the transaction

	stood   bool // it was there
	exists  bool
	version uint64
	value   []byte
	expires int64
	dirty   bool
}

// batch is what goes to the database in one transaction.
type batch struct {
	db       *DB
	requests []*request
	rows     []*row // in the order of (table, key), in which all nodes lock
	index    map[string]*row
	dirty    []*row // those that change
	base     uint64 // version of the first change
	next     uint64
	token    int64
}

func newBatch(db *DB, token int64, requests []*request) *batch {
	b := &batch{db: db, token: token, requests: requests, index: make(map[string]*row, 2*len(requests))}
	var room [256]byte
	for _, r := range requests {
		for i := range r.ops {
			op := &r.ops[i]
			name := append(append(room[:0], byte(op.Table)), op.Key...)
			if b.index[string(name)] == nil {
				w := &row{table: op.Table, key: op.Key}
				b.index[string(name)] = w
				b.rows = append(b.rows, w)
			}
		}
	}
	slices.SortFunc(b.rows, func(x, y *row) int { return cmp.Or(cmp.Compare(x.table, y.table), bytes.Compare(x.key, y.key)) })
	return b
}

func (b *batch) row(op *store.Op) *row {
	var room [256]byte
	return b.index[string(append(append(room[:0], byte(op.Table)), op.Key...))]
}

// listen notes what the cache has been told so far.
func (b *batch) listen() {
	for _, w := range b.rows {
		w.heard = b.db.cache.heard(place(w.table, w.key))
	}
}

// The statements of the first round trip. Rows are locked in the order of their keys by all nodes, before anything is written, and rows that are
// new are written in that order after it: so nobody waits in a circle. Versions are drawn when all are locked: those of one record grow.
//
// The value of a record is of no interest, but that of a counter is.
const (
	lockRows = `select r.tbl, r.key, r.version, case when r.tbl = 0 then r.value end from imsafe.records r
		join unnest($1::smallint[], $2::bytea[]) as k (tbl, key) using (tbl, key) order by r.tbl, r.key for update of r`
	shareOutbox  = "select pg_advisory_xact_lock_shared($1)"
	drawVersions = "select nextval('imsafe.versions')"
	// A batch leaves its token in the row of the node: by it we know later whether the batch is there. The number of a transaction would not do,
	// because one that was lost in a crash is given again. The row is locked first: who looks at it waits for a batch that is still under way.
	leaveToken = "update imsafe.nodes set token = $2 where node = $1"
)

// lock begins the transaction, locks the rows and reads how they stand.
func (b *batch) lock(ctx context.Context, conn *pgx.Conn) error {
	tables, keys := columns(b.rows)
	q := &pgx.Batch{}
	q.Queue("begin")
	q.Queue(leaveToken, int32(b.db.o.Node), b.token)
	q.Queue(shareOutbox, int64(outboxLock))
	q.Queue(lockRows, tables, keys)
	q.Queue(drawVersions)
	results := conn.SendBatch(ctx, q)
	err := b.readLocked(results)
	return errors.Join(err, results.Close())
}

func (b *batch) readLocked(results pgx.BatchResults) error {
	for range 3 {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	locked, err := results.Query()
	if err != nil {
		return err
	}
	var table int16
	var key, value []byte
	var version int64
	if _, err := pgx.ForEachRow(locked, []any{&table, &key, &version, &value}, func() error {
		w := b.row(&store.Op{Table: store.Table(table), Key: key})
		w.stood, w.exists, w.version, w.value = true, true, uint64(version), bytes.Clone(value)
		return nil
	}); err != nil {
		return err
	}
	var base int64
	err = results.QueryRow().Scan(&base)
	b.base, b.next = uint64(base), uint64(base)
	return err
}

func columns(rows []*row) (tables []int16, keys [][]byte) {
	tables, keys = make([]int16, len(rows)), make([][]byte, len(rows))
	for i, w := range rows {
		tables[i], keys[i] = int16(w.table), w.key
	}
	return tables, keys
}

// judge decides about the requests one after the other, each on what those before it have left, and notes how the rows will stand.
func (b *batch) judge() {
	for _, r := range b.requests {
		if r.verdict = b.holds(r); r.verdict != nil {
			continue
		}
		r.first = b.next
		for i := range r.ops {
			op := &r.ops[i]
			w := b.row(op)
			w.exists, w.version, w.value, w.expires, w.dirty = op.Value != nil, b.next, op.Value, op.Expires, true
			b.next++
		}
	}
	for _, w := range b.rows {
		if w.dirty {
			b.dirty = append(b.dirty, w)
		}
	}
}

// holds checks the conditions of a request, or works out what a Reserve gives.
func (b *batch) holds(r *request) error {
	if b.base > math.MaxInt64-batchRoom {
		return store.ErrExhausted
	}
	if r.reserve != 0 {
		return b.raise(r)
	}
	for i := range r.ops {
		op := &r.ops[i]
		w := b.row(op)
		if op.Cond == store.IfAbsent && w.exists || op.Cond == store.IfVersion && (!w.exists || w.version != op.Version) {
			return store.ErrConflict
		}
	}
	return nil
}

// raise moves the mark of a counter.
func (b *batch) raise(r *request) (err error) {
	op := &r.ops[0]
	mark := uint64(0)
	if w := b.row(op); w.exists {
		if mark, err = strconv.ParseUint(string(w.value), 10, 64); err != nil {
			return fmt.Errorf("postgres: counter %q: %w", op.Key, err)
		}
	}
	if mark > math.MaxInt64-r.reserve {
		return store.ErrExhausted
	}
	r.from, r.to = mark, mark+r.reserve
	op.Value = strconv.AppendUint(nil, r.to, 10)
	return nil
}

// The statements of the second round trip. A row that somebody else has made since ours were locked breaks the insertion, and with it the
// transaction: it is made again.
const (
	insertRows = `insert into imsafe.records (tbl, key, value, version, expires) select * from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])`
	updateRows = `update imsafe.records r set value = n.value, version = n.version, expires = n.expires
		from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[]) as n (tbl, key, value, version, expires)
		where r.tbl = n.tbl and r.key = n.key`
	deleteRows = `delete from imsafe.records r using unnest($1::smallint[], $2::bytea[]) as k (tbl, key) where r.tbl = k.tbl and r.key = k.key`
	addChanges = `insert into imsafe.changes (batch, sequences, tbls, keys, deleted) values ($1, $2, $3, $4, $5)`
	tellOthers = `select pg_notify('` + channel + `', $1)`
)

// write writes the rows and commits. sent says whether the commit has left: if it has, an error does not tell that it failed.
func (b *batch) write(ctx context.Context, conn *pgx.Conn) (sent bool, err error) {
	q := &pgx.Batch{}
	var inserted, updated, deleted []*row
	for _, w := range b.dirty {
		switch {
		case w.exists && w.stood:
			updated = append(updated, w)
		case w.exists:
			inserted = append(inserted, w)
		case w.stood:
			deleted = append(deleted, w)
		}
	}
	put(q, insertRows, inserted)
	put(q, updateRows, updated)
	if len(deleted) > 0 {
		tables, keys := columns(deleted)
		q.Queue(deleteRows, tables, keys)
	}
	b.addChanges(q)
	q.Queue(tellOthers, tell(b.db.o.Node, b.dirty))
	q.Queue("commit")
	b.count()
	results := conn.SendBatch(ctx, q)
	for range q.Len() {
		tag, err := results.Exec()
		if err != nil {
			return true, errors.Join(err, results.Close())
		}
		sent = tag.String() == "COMMIT"
	}
	if err := results.Close(); err != nil || !sent {
		return true, cmp.Or(err, errAborted)
	}
	return true, nil
}

// put queues the writing of rows.
func put(q *pgx.Batch, statement string, rows []*row) {
	if len(rows) == 0 {
		return
	}
	tables, keys := columns(rows)
	values, versions, expires := make([][]byte, len(rows)), make([]int64, len(rows)), make([]int64, len(rows))
	for i, w := range rows {
		values[i], versions[i], expires[i] = w.value, int64(w.version), w.expires
	}
	q.Queue(statement, tables, keys, values, versions, expires)
}

// addChanges queues the outbox's row of the batch: the last change of each record, in the order of their versions.
func (b *batch) addChanges(q *pgx.Batch) {
	var loud []*row
	for _, w := range b.dirty {
		if !b.db.quiet[w.table] {
			loud = append(loud, w)
		}
	}
	if len(loud) == 0 {
		return
	}
	slices.SortFunc(loud, func(x, y *row) int { return cmp.Compare(x.version, y.version) })
	tables, keys := columns(loud)
	sequences, deleted := make([]int64, len(loud)), make([]bool, len(loud))
	for i, w := range loud {
		sequences[i], deleted[i] = int64(w.version), !w.exists
	}
	q.Queue(addChanges, int64(b.base), sequences, tables, keys, deleted)
}

// count makes Changed another number for the tables of the batch: before it can be seen, and again when all of it is known here.
func (b *batch) count() {
	for i, w := range b.dirty {
		if i == 0 || w.table != b.dirty[i-1].table {
			b.db.changed[w.table].Add(1)
		}
	}
}

// publish keeps what was written, forgets what a condition was wrong about, and tells the callers.
func (b *batch) publish() {
	for _, r := range b.requests {
		if r.verdict != nil {
			for i := range r.ops {
				b.db.cache.forget(place(r.ops[i].Table, r.ops[i].Key))
				b.db.changed[r.ops[i].Table].Add(1)
			}
		}
	}
	for _, w := range b.dirty {
		block := make([]byte, len(w.key)+len(w.value))
		copy(block[copy(block, w.key):], w.value)
		key := block[:len(w.key):len(w.key)]
		rec := store.Record{}
		if w.exists {
			rec = store.Record{Key: key, Value: block[len(w.key):], Version: w.version, Expires: w.expires}
		}
		b.db.cache.write(w.table, key, rec, w.exists, w.heard)
	}
	if len(b.dirty) > 0 {
		b.count()
		b.db.newest.Store(b.next - 1)
		b.db.counters.changes.Add(b.next - b.base)
		b.db.counters.batches.Add(1)
	}
	for _, r := range b.requests {
		b.db.finish(r, r.verdict)
	}
}
