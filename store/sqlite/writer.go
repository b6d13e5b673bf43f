package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"imsafe/store"
)

// writer writes the records of a checkpoint through the driver itself: what database/sql does for each statement (a lock, a context, the
// conversion of each argument) is made for many users of a connection, and a checkpoint is the only one of its own. Not for concurrent use.
type writer struct {
	conn   driver.Conn // the statements are of
	tables map[store.Table]*table
	puts   map[store.Table]*putter
	insert driver.StmtExecContext // into changes, of a row
	many   driver.StmtExecContext // of rowsAtOnce
	opened []driver.Stmt
	args   [4 * rowsAtOnce]driver.NamedValue
}

// putter has the statements of a table.
type putter struct{ one, many, remove driver.StmtExecContext }

// rowsAtOnce is how many rows one statement writes.
const rowsAtOnce = 16

const (
	putRecords = `INSERT INTO TABLE_NAME (key, value, ver, expires) VALUES ROWS
ON CONFLICT (key) DO UPDATE SET value = excluded.value, ver = excluded.ver, expires = excluded.expires`
	putChanges = `INSERT OR REPLACE INTO changes (sequence, number, key, deleted) VALUES ROWS`
)

// rows puts n rows of four parameters into a statement.
func rows(statement string, n int) string {
	return strings.Replace(statement, "ROWS", strings.Repeat("(?, ?, ?, ?), ", n-1)+"(?, ?, ?, ?)", 1)
}

// through lets do use the driver's connection of c.
func (w *writer) through(c *sql.Conn, do func() error) error {
	return c.Raw(func(raw any) error {
		conn, ok := raw.(driver.Conn)
		if !ok {
			return errors.New("sqlite: no connection of a driver")
		}
		if err := w.prepare(conn); err != nil {
			return err
		}
		return do()
	})
}

// prepare compiles the statements, once for each connection: there is another one only after an error.
func (w *writer) prepare(conn driver.Conn) (err error) {
	if w.conn == conn {
		return nil
	}
	w.close()
	statement := func(text string) driver.StmtExecContext {
		if err != nil {
			return nil
		}
		var s driver.Stmt
		if s, err = conn.Prepare(text); err != nil {
			return nil
		}
		w.opened = append(w.opened, s)
		exec, ok := s.(driver.StmtExecContext)
		if !ok {
			err = errors.New("sqlite: a driver without contexts")
		}
		return exec
	}
	w.puts = map[store.Table]*putter{}
	for number, t := range w.tables {
		w.puts[number] = &putter{one: statement(t.sql(rows(putRecords, 1))), many: statement(t.sql(rows(putRecords, rowsAtOnce))),
			remove: statement(t.sql(removeRecord))}
	}
	w.insert, w.many = statement(rows(putChanges, 1)), statement(rows(putChanges, rowsAtOnce))
	if err != nil {
		w.close()
		return fmt.Errorf("sqlite: %w", err)
	}
	w.conn = conn
	return nil
}

// close ends the statements.
func (w *writer) close() {
	for _, s := range w.opened {
		_ = s.Close() // its connection may be gone already
	}
	w.conn, w.opened = nil, nil
}

// exec runs a statement with the first n arguments.
func (w *writer) exec(s driver.StmtExecContext, n int) error {
	_, err := s.ExecContext(context.Background(), w.args[:n])
	return err
}

// row sets the arguments of row i.
func (w *writer) row(i int, a, b, c, d driver.Value) {
	for k, v := range [4]driver.Value{a, b, c, d} {
		w.args[4*i+k] = driver.NamedValue{Ordinal: 4*i + k + 1, Value: v}
	}
}

// records writes all, which are in the order of their tables and keys.
func (w *writer) records(all []store.ImageRecord) error {
	defer clear(w.args[:])
	for len(all) > 0 {
		t := w.puts[all[0].Table]
		if t == nil {
			return fmt.Errorf("sqlite: no table %d", all[0].Table)
		}
		n, err := w.next(t, all)
		if err != nil {
			return fmt.Errorf("sqlite: write to %s: %w", w.tables[all[0].Table].name, err)
		}
		all = all[n:]
	}
	return nil
}

// next writes the first records of all, and returns how many.
func (w *writer) next(t *putter, all []store.ImageRecord) (int, error) {
	if all[0].Deleted {
		w.row(0, string(all[0].Key), nil, nil, nil)
		return 1, w.exec(t.remove, 1)
	}
	n := 0
	for n < min(rowsAtOnce, len(all)) && all[n].Table == all[0].Table && !all[n].Deleted {
		r := &all[n]
		w.row(n, string(r.Key), r.Value, int64(r.Version), r.Expires)
		n++
	}
	if n == rowsAtOnce {
		return n, w.exec(t.many, 4*n)
	}
	return 1, w.exec(t.one, 4)
}

// changes writes the rows of the outbox.
func (w *writer) changes(all []store.Change) error {
	defer clear(w.args[:])
	for len(all) > 0 {
		n, s := 1, w.insert
		if len(all) >= rowsAtOnce {
			n, s = rowsAtOnce, w.many
		}
		for i := range n {
			c := &all[i]
			w.row(i, int64(c.Sequence), int64(c.Table), string(c.Key), c.Deleted)
		}
		if err := w.exec(s, 4*n); err != nil {
			return fmt.Errorf("sqlite: write change %d: %w", all[0].Sequence, err)
		}
		all = all[n:]
	}
	return nil
}
