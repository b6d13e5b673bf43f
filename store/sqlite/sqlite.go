// Package sqlite is the store's image in one SQLite file (modernc.org/sqlite, pure Go): WAL, synchronous FULL, one writer. People
// open it with any SQLite tool: one table per kind of record (key, value, ver, expires), counters, changes, meta. It is written only
// by checkpoints of store.DB, so a running store's file is a moment behind the journal. It also makes and restores backups.
//
// It writes no SQL by hand that carries data: all values are parameters, all names of tables come from the program's own list.
// Imported by node and cmd. Safe for concurrent use; writes come from one goroutine.
package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver registers itself as "sqlite"

	"imsafe/store"
	"imsafe/store/disk"
)

// FileName is the name of the image inside the directory of a store.
const FileName = "image.db"

// readConnections bounds how many readers SQLite serves at once: those of the store, and a few that may block.
const readConnections = 4

// Pages that a connection keeps. The driver's allocator gives a page of 4 KiB a place of 8, so the memory is twice what SQLite counts. Readers need
// the inner pages of the trees, which are few: the records themselves are in the store's own cache, and the files in the system's. A
// checkpoint writes in the order of the keys and comes to each page once, so what it has changed may go to the WAL before its end.
const (
	writerPages = 4096 // 16 MiB as SQLite counts
	readerPages = 1024 // 4 MiB
)

// Image is an open image.
type Image struct {
	path   string
	write  *sql.DB // one connection
	read   *sql.DB
	tables map[store.Table]*table
	list   []*table // in the order of their numbers given at Open

	writer      writer
	trimChanges *sql.Stmt
	readChanges *sql.Stmt
	setMeta     *sql.Stmt
	trimmed     uint64 // writer only
}

var _ store.Image = (*Image)(nil)

// Open opens the store in dir, creating the directory with mode 0700 if it is new: o with Disk set to disk.OS(dir) and Image to
// InDirectory(dir).
func Open(dir string, o store.Options) (*store.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	o.Disk = disk.OS(dir)
	o.Image = InDirectory(dir)
	return store.Open(o)
}

// InDirectory returns the Options.Image that keeps the image in dir/image.db.
func InDirectory(dir string) func([]store.TableSpec) (store.Image, error) {
	return func(tables []store.TableSpec) (store.Image, error) {
		m, err := OpenImage(filepath.Join(dir, FileName), tables)
		if err != nil {
			return nil, err // not a nil *Image in an interface
		}
		return m, nil
	}
}

// OpenImage opens or makes the image at path. A table that the file knows under another number or name is refused: the numbers stand
// in the journal, so a mix-up would put records where they do not belong.
func OpenImage(path string, tables []store.TableSpec) (*Image, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch { // SQLite would make the file readable for all; its -wal and -shm inherit what it has
	case err == nil:
		if err := errors.Join(f.Close(), syncDir(filepath.Dir(path))); err != nil {
			return nil, fmt.Errorf("sqlite: %w", err)
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	m := &Image{path: path, tables: map[store.Table]*table{}}
	if m.write, err = connect(path, 1, "journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("cache_size(%d)", writerPages),
		"wal_autocheckpoint(4000)", "journal_size_limit(67108864)"); err == nil {
		if err = m.checkDurable(); err == nil {
			err = m.migrate(tables)
		}
	}
	if err == nil {
		m.read, err = connect(path, readConnections, "query_only(1)", fmt.Sprintf("cache_size(%d)", readerPages))
	}
	if err == nil {
		err = m.prepare()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), m.Close())
	}
	return m, nil
}

// connect opens a pool on the file, with all of its connections: a busy moment must not be the first to find that no descriptor is left. The pragmas
// are part of the address, so each new connection has them.
func connect(path string, connections int, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)", "trusted_schema(0)"}, pragmas...)}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	open := make([]*sql.Conn, 0, connections)
	for range connections {
		var c *sql.Conn
		if c, err = db.Conn(context.Background()); err != nil {
			break
		}
		open = append(open, c)
	}
	for _, c := range open {
		err = errors.Join(err, c.Close()) // back into the pool
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkDurable asks SQLite what it made of the pragmas: a file system without shared memory, for example, has no WAL.
func (m *Image) checkDurable() error {
	var mode string
	var level int
	if err := m.write.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if err := m.write.QueryRow("PRAGMA synchronous").Scan(&level); err != nil {
		return err
	}
	if mode != "wal" || level != 2 {
		return fmt.Errorf("journal_mode %s, synchronous %d: want wal and 2 (FULL)", mode, level)
	}
	return nil
}

// schema is what every image has; the tables of records come from migrate.
const schema = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tables (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS changes (sequence INTEGER PRIMARY KEY, number INTEGER NOT NULL, key TEXT NOT NULL, deleted INTEGER NOT NULL);
`

// migrate makes what is missing.
func (m *Image) migrate(specs []store.TableSpec) error {
	tx, err := m.write.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if _, err := tx.Exec(schema); err != nil {
		return err
	}
	for _, spec := range specs {
		var name string
		err := tx.QueryRow("SELECT name FROM tables WHERE number = ?", spec.Table).Scan(&name)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil && name != spec.Name {
			return fmt.Errorf("table %d is called %s here, not %s", spec.Table, name, spec.Name)
		}
		t := newTable(spec)
		if err != nil { // new
			if _, err := tx.Exec("INSERT INTO tables (number, name) VALUES (?, ?)", spec.Table, spec.Name); err != nil {
				return err
			}
			if _, err := tx.Exec(t.sql(createTable)); err != nil {
				return err
			}
		}
		m.tables[spec.Table] = t
		m.list = append(m.list, t)
	}
	return tx.Commit()
}

// prepare compiles the statements once.
func (m *Image) prepare() (err error) {
	statement := func(db *sql.DB, text string) *sql.Stmt {
		if err != nil {
			return nil
		}
		var s *sql.Stmt
		s, err = db.Prepare(text)
		return s
	}
	for _, t := range m.list {
		t.get = statement(m.read, t.sql(getRecord))
		t.scan = statement(m.read, t.sql(scanRecords))
		t.expired = statement(m.read, t.sql(expiredRecords))
	}
	m.writer.tables = m.tables
	m.trimChanges = statement(m.write, "DELETE FROM changes WHERE sequence <= ?")
	m.setMeta = statement(m.write, setMeta)
	m.readChanges = statement(m.read, "SELECT sequence, number, key, deleted FROM changes WHERE sequence > ? ORDER BY sequence LIMIT ?")
	return err
}

// Close closes the file; SQLite folds its WAL into it.
func (m *Image) Close() error {
	var errs []error
	if m.read != nil {
		errs = append(errs, m.read.Close())
	}
	if m.write != nil {
		m.writer.close()
		errs = append(errs, m.write.Close())
	}
	return errors.Join(errs...)
}

// Write implements store.Image.
func (m *Image) Write(w *store.ImageWrite) error {
	ctx := context.Background()
	conn, err := m.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer conn.Close() // gives it back
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer tx.Rollback()
	err = m.writer.through(conn, func() error {
		if err := m.writer.records(w.Records); err != nil {
			return err
		}
		return m.writer.changes(w.Changes)
	})
	if err != nil {
		return err
	}
	trimmed := max(m.trimmed, w.Trim)
	if trimmed > m.trimmed {
		if _, err := tx.Stmt(m.trimChanges).Exec(int64(trimmed)); err != nil {
			return fmt.Errorf("sqlite: trim changes: %w", err)
		}
	}
	if err := writeMeta(tx.Stmt(m.setMeta), w.Meta, trimmed); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("sqlite: commit: %w", err)
	}
	m.trimmed = trimmed
	return nil
}

// Get implements store.Image. The record's key is the caller's.
func (m *Image) Get(t store.Table, key []byte) (store.Record, error) {
	table := m.tables[t]
	if table == nil {
		return store.Record{}, fmt.Errorf("sqlite: no table %d", t)
	}
	rec := store.Record{Key: key}
	err := table.get.QueryRow(string(key)).Scan(&rec.Value, &rec.Version, &rec.Expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return store.Record{}, store.ErrNotFound
	case err != nil:
		return store.Record{}, fmt.Errorf("sqlite: get from %s: %w", table.name, err)
	}
	return rec, nil
}

// Scan implements store.Image.
func (m *Image) Scan(t store.Table, prefix, after []byte, limit int) ([]store.Record, error) {
	table := m.tables[t]
	if table == nil {
		return nil, fmt.Errorf("sqlite: no table %d", t)
	}
	// Keys are text in binary collation, so order and prefix are those of the octets. One bound on each side is all that the index takes:
	// what is greater than after begins at after and one octet of zero.
	first := string(prefix)
	if bytes.Compare(after, prefix) >= 0 {
		first = string(after) + "\x00"
	}
	var end any = noEnd
	if e := prefixEnd(prefix); e != nil {
		end = string(e)
	}
	return records(table.scan.Query(first, end, limit))
}

// noEnd is greater than all keys: SQLite has every blob behind every text.
var noEnd = []byte{0xff}

// prefixEnd is the first key after all keys with the prefix; empty if there is none.
func prefixEnd(prefix []byte) []byte {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff { // not strings.TrimRight: its cutset is of runes, and takes every octet that is none
		n--
	}
	if n == 0 {
		return nil
	}
	return append(bytes.Clone(prefix[:n-1]), prefix[n-1]+1)
}

// Expired implements store.Image.
func (m *Image) Expired(t store.Table, now int64, after []byte, limit int) ([]store.Record, error) {
	table := m.tables[t]
	if table == nil {
		return nil, fmt.Errorf("sqlite: no table %d", t)
	}
	return records(table.expired.Query(string(after), now, limit))
}

// records reads rows of (key, value, ver, expires).
func records(rows *sql.Rows, err error) ([]store.Record, error) {
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	defer rows.Close()
	var out []store.Record
	for rows.Next() {
		var r store.Record
		if err := rows.Scan(&r.Key, &r.Value, &r.Version, &r.Expires); err != nil {
			return nil, fmt.Errorf("sqlite: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return out, nil
}

// Changes implements store.Image.
func (m *Image) Changes(cursor uint64, limit int) ([]store.Change, uint64, error) {
	cursor = min(cursor, 1<<63-1)
	rows, err := m.readChanges.Query(int64(cursor), limit)
	if err != nil {
		return nil, 0, fmt.Errorf("sqlite: changes: %w", err)
	}
	defer rows.Close()
	var out []store.Change
	for rows.Next() {
		var c store.Change
		if err := rows.Scan(&c.Sequence, &c.Table, &c.Key, &c.Deleted); err != nil {
			return nil, 0, fmt.Errorf("sqlite: changes: %w", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("sqlite: changes: %w", err)
	}
	// After the rows: what was trimmed meanwhile may be missing from them, and then this says so.
	var trimmed uint64
	err = m.read.QueryRow("SELECT value FROM meta WHERE name = 'trimmed'").Scan(&trimmed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, fmt.Errorf("sqlite: changes: %w", err)
	}
	return out, trimmed, nil
}

// Meta implements store.Image.
func (m *Image) Meta() (store.Meta, bool, error) {
	meta, trimmed, ok, err := readMeta(m.write)
	m.trimmed = trimmed
	return meta, ok, err
}
