package postgres

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"imsafe/store"
)

// The channel on which nodes tell what they committed: the sender's number, then the places of the records (cache.go), or everything where
// they are too many for one message.
const (
	channel    = "imsafe"
	everything = "*"
	// maxTold is how many places go into one message: PostgreSQL takes 7,999 octets, and nine become twelve.
	maxTold = 600
)

// The watch tries this often whether it still hears, and waits so long for the answer: together less than Staleness.
const (
	watchEvery  = 400 * time.Millisecond
	watchAnswer = time.Second
	// watchAgain is the pause between attempts to connect.
	watchAgain = 100 * time.Millisecond
	watchTrim  = time.Minute
)

// watch connects, does what is to be done first, and takes the number of this node. What is told from now on waits in the connection.
func (db *DB) watch(ctx context.Context, first func(context.Context, *pgx.Conn) error) (*pgx.Conn, error) {
	conn, err := db.o.Target.dial(ctx, db.name("watch"), func(c *pgx.ConnConfig) {
		c.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { db.told(n.Payload) }
		c.RuntimeParams["lock_timeout"] = "1500" // a session of ours that ends takes a moment
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = first(ctx, conn)
	if err == nil {
		err = db.beNode(ctx, conn)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// beNode takes the number of this node for as long as the connection stands, and listens.
func (db *DB) beNode(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "select pg_advisory_lock($1, $2)", int32(nodeLock), int32(db.o.Node))
	var p *pgconn.PgError
	if errors.As(err, &p) && p.Code == "55P03" { // lock_not_available
		return fmt.Errorf("%w: %d", ErrNodeTaken, db.o.Node)
	}
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "insert into imsafe.nodes (node, token) values ($1, 0) on conflict do nothing", int32(db.o.Node)); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "listen "+channel)
	return err
}

// runWatch hears what others change until Close, and connects anew for as long as it takes.
func (db *DB) runWatch(conn *pgx.Conn) {
	for {
		err := db.hear(conn)
		closing, cancel := context.WithTimeout(context.Background(), watchAnswer)
		_ = conn.Close(closing) // it is broken, or we are done
		cancel()
		db.serve(false, err)
		for conn = nil; conn == nil; {
			if !db.rest(db.ctx, watchAgain) {
				return
			}
			if conn, err = db.watch(db.ctx, db.sameStore); err != nil {
				db.blame(err)
			}
		}
		db.serve(true, nil)
	}
}

// blame notes why the database is still away.
func (db *DB) blame(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.away = err
}

// rest waits; false if ctx ended meanwhile.
func (db *DB) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hear takes what is told, and asks often enough whether the server still is there and still promises what it did.
func (db *DB) hear(conn *pgx.Conn) error {
	trimmed := db.o.Clock.Now()
	for {
		ctx, cancel := context.WithTimeout(db.ctx, watchEvery)
		for ctx.Err() == nil {
			if _, err := conn.WaitForNotification(ctx); err != nil && ctx.Err() == nil {
				cancel()
				return err
			}
		}
		cancel()
		if err := db.ctx.Err(); err != nil {
			return err
		}
		ctx, cancel = context.WithTimeout(db.ctx, watchAnswer)
		err := db.o.Target.judge(ctx, conn)
		cancel()
		if err != nil {
			return err
		}
		if now := db.o.Clock.Now(); now-trimmed > watchTrim {
			trimmed = now
			if err := db.trim(db.ctx, conn); err != nil {
				return err
			}
		}
	}
}

// trim takes the oldest rows of the outbox away.
func (db *DB) trim(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, watchTrim)
	defer cancel()
	var last int64
	if err := conn.QueryRow(ctx, "select last_value from imsafe.versions").Scan(&last); err != nil {
		return err
	}
	edge := last - int64(db.o.ChangesKept*batchRoom)
	if edge <= 0 {
		return nil
	}
	_, err := conn.Exec(ctx, `with gone as (delete from imsafe.changes where batch <= $1 returning sequences[array_upper(sequences, 1)] as last)
		update imsafe.meta set trimmed = greatest(trimmed, (select max(last) from gone)) where exists (select from gone)`, edge)
	return err
}

// tell is the message about changed records; nothing if there are none.
func tell(node uint16, rows []*row) string {
	if len(rows) > maxTold {
		return fmt.Sprintf("%d %s", node, everything)
	}
	b := make([]byte, 0, 9*len(rows))
	for _, r := range rows {
		b = binary.BigEndian.AppendUint64(append(b, byte(r.table)), place(r.table, r.key))
	}
	return fmt.Sprintf("%d %s", node, base64.StdEncoding.EncodeToString(b))
}

// told forgets what another node has changed.
func (db *DB) told(message string) {
	var node uint16
	var text string
	if _, err := fmt.Sscanf(message, "%d %s", &node, &text); err == nil && node == db.o.Node {
		return
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if text == everything || err != nil || len(b)%9 != 0 {
		db.cache.set(true)
		for t := range db.changed {
			db.changed[t].Add(1)
		}
		return
	}
	for ; len(b) > 0; b = b[9:] {
		db.cache.forget(binary.BigEndian.Uint64(b[1:]))
		db.changed[store.Table(b[0])].Add(1)
	}
}
