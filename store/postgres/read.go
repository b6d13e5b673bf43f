package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"imsafe/store"
)

// read is work for a reader: a record that is not known here, or anything else that needs a connection.
type read struct {
	table store.Table
	key   []byte
	done  func(store.Record, error)
	work  func(ctx context.Context, conn *pgx.Conn) error // in place of a record
	ended func(error)
	since time.Duration
}

// maxReads is how many records one query looks up.
const maxReads = 128

// end answers a read that failed.
func (r *read) end(err error) {
	if r.work != nil {
		r.ended(err)
		return
	}
	r.done(store.Record{}, err)
}

// Get implements store.Store. A record that is known here costs no allocation.
func (db *DB) Get(t store.Table, key []byte) (rec store.Record, err error) {
	if rec, found, hit := db.cache.get(t, key); hit {
		if !found {
			return rec, store.ErrNotFound
		}
		return rec, nil
	}
	answer := make(chan struct{})
	db.GetAsync(t, key, func(r store.Record, e error) {
		rec, err = r, e
		close(answer)
	})
	<-answer
	return rec, err
}

// GetAsync implements store.Store.
func (db *DB) GetAsync(t store.Table, key []byte, done func(store.Record, error)) {
	if rec, found, hit := db.cache.get(t, key); hit {
		if !found {
			done(rec, store.ErrNotFound)
			return
		}
		done(rec, nil)
		return
	}
	if !db.known[t] || len(key) == 0 || len(key) > store.MaxKey {
		done(store.Record{}, fmt.Errorf("%w: get from table %d, key of %d octets", store.ErrInvalid, t, len(key)))
		return
	}
	db.ask(read{table: t, key: key, done: done})
}

// ask gives work to the readers; it never waits.
func (db *DB) ask(r read) {
	r.since = db.o.Clock.Now()
	if err := db.tryAsk(r); err != nil {
		r.end(err)
	}
}

func (db *DB) tryAsk(r read) error {
	db.readsMu.RLock()
	defer db.readsMu.RUnlock()
	if db.closed.Load() {
		return store.ErrClosed
	}
	if err := db.gone(); err != nil {
		return err
	}
	select {
	case db.reads <- r:
		return nil
	default:
		return store.ErrOverloaded
	}
}

// with runs work on a reader's connection and waits for it.
func (db *DB) with(work func(ctx context.Context, conn *pgx.Conn) error) error {
	answer := make(chan error, 1)
	db.ask(read{work: work, ended: func(err error) { answer <- err }})
	return <-answer
}

// runReader reads until Close.
func (db *DB) runReader() {
	r := &reader{db: db}
	defer r.hangUp()
	for first := range db.reads {
		if first.work != nil {
			first.ended(r.run(first.since, first.work))
			continue
		}
		reads := append(r.room[:0], first)
		var alone *read
		for more := true; more && len(reads) < maxReads; {
			select {
			case next, open := <-db.reads:
				switch {
				case !open:
					more = false
				case next.work != nil:
					alone, more = &next, false
				default:
					reads = append(reads, next)
				}
			default:
				more = false
			}
		}
		r.lookUp(reads)
		if alone != nil {
			alone.ended(r.run(alone.since, alone.work))
		}
	}
}

// reader has a connection. It belongs to one goroutine.
type reader struct {
	db   *DB
	conn *pgx.Conn
	room [maxReads]read
}

func (r *reader) hangUp() {
	if r.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), watchAnswer)
		defer cancel()
		_ = r.conn.Close(ctx) // it is broken, or we are done
		r.conn = nil
	}
}

// run does work that reads, and does it again on another connection while there is patience: to read twice harms nobody.
func (r *reader) run(since time.Duration, work func(ctx context.Context, conn *pgx.Conn) error) (err error) {
	for {
		if r.conn == nil || r.conn.IsClosed() {
			r.conn, err = r.db.o.Target.dial(r.db.ctx, r.db.name("read"), nil)
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(r.db.ctx, time.Minute)
			err = work(ctx, r.conn)
			cancel()
		}
		var said *pgconn.PgError
		switch {
		case err == nil, errors.Is(err, store.ErrTrimmed):
			return err
		case errors.As(err, &said) && fatal(err), errors.Is(err, ErrWeak), r.db.o.Clock.Now() >= since+r.db.o.Patience:
			r.db.o.Log.Error("store: read failed", "error", err)
			return fmt.Errorf("%w: the database", store.ErrFailed)
		}
		r.hangUp()
		if !r.db.rest(r.db.ctx, watchAgain) {
			return store.ErrClosed
		}
	}
}

// getRows reads by keys that are there; what is not there has no row.
const getRows = `select k.n, r.value, r.version, r.expires from unnest($1::smallint[], $2::bytea[]) with ordinality as k (tbl, key, n)
	join imsafe.records r on r.tbl = k.tbl and r.key = k.key`

// lookUp reads records with one query, keeps them, and tells who asked.
func (r *reader) lookUp(reads []read) {
	found := make([]store.Record, len(reads))
	err := r.fetch(reads, found)
	for i := range reads {
		switch {
		case err != nil:
			reads[i].done(store.Record{}, err)
		case found[i].Key == nil:
			reads[i].done(store.Record{}, store.ErrNotFound)
		default:
			reads[i].done(found[i], nil)
		}
		reads[i] = read{}
	}
}

// fetch reads records; those that are not there stay without a key.
func (r *reader) fetch(reads []read, found []store.Record) error {
	db := r.db
	db.counters.misses.Add(uint64(len(reads)))
	tables, keys, marks := make([]int16, len(reads)), make([][]byte, len(reads)), make([]uint64, len(reads))
	for i := range reads {
		tables[i], keys[i] = int16(reads[i].table), bytes.Clone(reads[i].key)
	}
	if err := r.run(reads[0].since, func(ctx context.Context, conn *pgx.Conn) error {
		clear(found)
		for i := range reads {
			marks[i] = db.cache.mark(place(reads[i].table, keys[i]))
		}
		rows, err := conn.Query(ctx, getRows, tables, keys)
		if err != nil {
			return err
		}
		var n, version, expires int64
		var value []byte
		_, err = pgx.ForEachRow(rows, []any{&n, &value, &version, &expires}, func() error {
			found[n-1] = store.Record{Key: keys[n-1], Value: value, Version: uint64(version), Expires: expires}
			value = nil // the next row has octets of its own
			return nil
		})
		return err
	}); err != nil {
		return err
	}
	for i := range reads {
		db.cache.keep(reads[i].table, keys[i], found[i], found[i].Key != nil, marks[i])
	}
	return nil
}

// Prefetch implements store.Store.
func (db *DB) Prefetch(t store.Table, keys [][]byte) error {
	if !db.known[t] {
		return fmt.Errorf("%w: prefetch from table %d", store.ErrInvalid, t)
	}
	var missing []read
	for _, key := range keys {
		if len(key) == 0 || len(key) > store.MaxKey {
			return fmt.Errorf("%w: prefetch of a key of %d octets", store.ErrInvalid, len(key))
		}
		if _, _, hit := db.cache.get(t, key); !hit {
			missing = append(missing, read{table: t, key: key})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return db.with(func(_ context.Context, conn *pgx.Conn) error {
		r := &reader{db: db, conn: conn}
		missing[0].since = db.o.Clock.Now()
		return r.fetch(missing, make([]store.Record, len(missing)))
	})
}

const recordsOf = "select key, value, version, expires from imsafe.records where tbl = $1 and "

// page reads records that a query finds.
func (db *DB) page(limit int, query string, args ...any) (all []store.Record, err error) {
	err = db.with(func(ctx context.Context, conn *pgx.Conn) error {
		all = make([]store.Record, 0, min(limit, 256))
		rows, err := conn.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		var rec store.Record
		var version int64
		_, err = pgx.ForEachRow(rows, []any{&rec.Key, &rec.Value, &version, &rec.Expires}, func() error {
			rec.Version = uint64(version)
			all = append(all, rec)
			rec = store.Record{} // the next row has octets of its own
			return nil
		})
		return err
	})
	return all, err
}

// Scan implements store.Store.
func (db *DB) Scan(t store.Table, prefix, cursor []byte, limit int) ([]store.Record, []byte, error) {
	if !db.known[t] || limit <= 0 {
		return nil, nil, fmt.Errorf("%w: scan of table %d, limit %d", store.ErrInvalid, t, limit)
	}
	least := prefix
	if bytes.Compare(cursor, prefix) > 0 {
		least = cursor
	}
	query, args := recordsOf+"key >= $2 and key > $3 and ($4::bytea is null or key < $4) order by key limit $5", []any{int16(t), octets(least), octets(cursor), after(prefix), limit + 1}
	all, err := db.page(limit, query, args...)
	if err != nil || len(all) <= limit {
		return all, nil, err
	}
	all = all[:limit]
	return all, all[limit-1].Key, nil
}

// octets is b, and never null.
func octets(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// after is the least key that is greater than all with the prefix; nil if there is none.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}

// Sweep implements store.Store.
func (db *DB) Sweep(t store.Table, now int64, limit int) ([]store.Record, error) {
	if !db.known[t] || limit <= 0 {
		return nil, fmt.Errorf("%w: sweep of table %d, limit %d", store.ErrInvalid, t, limit)
	}
	return db.page(limit, recordsOf+"expires > 0 and expires <= $2 order by key limit $3", int16(t), now, limit)
}

// Changes implements store.Store. Transactions that write share a lock, which is had alone here for the length of the query: a version
// that is drawn first may be committed second, and whoever read in between would never see it.
func (db *DB) Changes(cursor uint64, limit int) (rows []store.Change, next uint64, err error) {
	if limit <= 0 {
		return nil, cursor, fmt.Errorf("%w: limit %d", store.ErrInvalid, limit)
	}
	next = cursor
	err = db.with(func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(outboxLock)); err != nil {
				return err
			}
			var trimmed, last int64
			if err := tx.QueryRow(ctx, "select m.trimmed, v.last_value + $1::bigint - 1 from imsafe.meta m, imsafe.versions v", int64(batchRoom)).Scan(&trimmed, &last); err != nil {
				return err
			}
			if cursor != 0 && cursor < uint64(trimmed) {
				next = uint64(last)
				return store.ErrTrimmed
			}
			rows, err = readChanges(ctx, tx, cursor, limit)
			return err
		})
	})
	if len(rows) > 0 {
		next = rows[len(rows)-1].Sequence
	}
	return rows, next, err
}

func readChanges(ctx context.Context, tx pgx.Tx, cursor uint64, limit int) (all []store.Change, err error) {
	rows, err := tx.Query(ctx, `select u.sequence, u.tbl, u.key, u.deleted from imsafe.changes c,
		unnest(c.sequences, c.tbls, c.keys, c.deleted) as u (sequence, tbl, key, deleted)
		where c.batch > $1::bigint - $2::bigint and u.sequence > $1 order by c.batch, u.sequence limit $3`, int64(cursor), int64(batchRoom), limit)
	if err != nil {
		return nil, err
	}
	var sequence int64
	var table int16
	var c store.Change
	_, err = pgx.ForEachRow(rows, []any{&sequence, &table, &c.Key, &c.Deleted}, func() error {
		c.Sequence, c.Table = uint64(sequence), store.Table(table)
		all = append(all, c)
		c.Key = nil // the next row has octets of its own
		return nil
	})
	return all, err
}
