package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"imsafe/store"
)

// request is one Apply or Reserve on its way.
type request struct {
	ops  []store.Op
	done func(error)
	size int

	reserve  uint64 // n of a Reserve; 0: an Apply
	from, to uint64
	reserved func(from, to uint64, err error)
	counter  [1]store.Op // the op of a Reserve

	since   time.Duration // when it was asked for
	verdict error         // of the attempt under way
	first   uint64        // version of its first change
}

// finish tells the caller.
func (db *DB) finish(r *request, err error) {
	switch {
	case err == nil:
	case errors.Is(err, store.ErrConflict):
		db.counters.conflicts.Add(1)
	case errors.Is(err, store.ErrOverloaded), errors.Is(err, store.ErrFailed):
		db.counters.overloads.Add(1)
	}
	if r.reserved != nil {
		if err != nil {
			r.from, r.to = 0, 0
		}
		r.reserved(r.from, r.to, err)
		return
	}
	if err == nil {
		for i := range r.ops {
			r.ops[i].Version = r.first + uint64(i)
		}
	}
	r.done(err)
}

// Apply implements store.Store.
func (db *DB) Apply(partition string, ops ...store.Op) error {
	answer := make(chan error, 1)
	db.ApplyAsync(partition, ops, func(err error) { answer <- err })
	return <-answer
}

// ApplyAsync implements store.Store. One committer takes all changes in the order of the calls, so that of a partition needs no care.
func (db *DB) ApplyAsync(_ string, ops []store.Op, done func(error)) {
	size, err := db.validate(ops)
	if err != nil || len(ops) == 0 {
		done(err)
		return
	}
	db.submit(&request{ops: ops, done: done, size: size})
}

// Reserve implements store.Store.
func (db *DB) Reserve(counter string, n uint64) (from, to uint64, err error) {
	answer := make(chan struct{})
	db.ReserveAsync(counter, n, func(f, t uint64, e error) {
		from, to, err = f, t, e
		close(answer)
	})
	<-answer
	return from, to, err
}

// ReserveAsync implements store.Store.
func (db *DB) ReserveAsync(counter string, n uint64, done func(from, to uint64, err error)) {
	if n == 0 || len(counter) == 0 || len(counter) > store.MaxKey {
		done(0, 0, fmt.Errorf("%w: reserve %d of counter with %d octets", store.ErrInvalid, n, len(counter)))
		return
	}
	if n > math.MaxInt64 {
		done(0, 0, store.ErrExhausted)
		return
	}
	r := &request{reserve: n, reserved: done, size: len(counter)}
	r.counter[0] = store.Op{Table: tableCounters, Key: []byte(counter)}
	r.ops = r.counter[:]
	db.submit(r)
}

// validate refuses what no engine could store, and says how large the rest is.
func (db *DB) validate(ops []store.Op) (size int, err error) {
	if len(ops) > store.MaxOps {
		return 0, fmt.Errorf("%w: %d ops in one apply", store.ErrInvalid, len(ops))
	}
	for i := range ops {
		op := &ops[i]
		if err := op.Check(op.Table != tableCounters && db.known[op.Table]); err != nil {
			return 0, err
		}
		size += len(op.Key) + len(op.Value)
	}
	if size > store.MaxApply {
		return 0, fmt.Errorf("%w: %d octets in one apply", store.ErrInvalid, size)
	}
	return size, nil
}

// submit queues a request. While the database has been away for longer than anybody is to wait, it is refused at once.
func (db *DB) submit(r *request) {
	r.since = db.o.Clock.Now()
	if err := db.gone(); err != nil {
		db.finish(r, err)
		return
	}
	db.mu.Lock()
	err := db.refuse
	if err == nil && db.queued+r.size > db.o.QueueBytes {
		err = store.ErrOverloaded
	}
	if err == nil {
		db.queue = append(db.queue, r)
		db.queued += r.size
	}
	first := len(db.queue) == 1
	db.mu.Unlock()
	switch {
	case err != nil:
		db.finish(r, err)
	case first:
		db.wakeCommitter()
	}
}

func (db *DB) wakeCommitter() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

// take removes from the queue what fits into one batch; ended is true when nothing will come any more.
func (db *DB) take() (taken []*request, ended bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	octets, ops, n := 0, 0, 0
	for _, r := range db.queue {
		if n > 0 && (octets+r.size > db.o.BatchBytes || ops+len(r.ops) > store.MaxOps) {
			break
		}
		octets += r.size
		ops += len(r.ops)
		n++
	}
	taken = append(taken, db.queue[:n]...)
	db.queue = append(db.queue[:0], db.queue[n:]...)
	clear(db.queue[len(db.queue):cap(db.queue)])
	db.queued -= octets
	return taken, n == 0 && db.refuse != nil
}

// runCommitter commits batch after batch until Close. Batches begin at least Window apart while more came during the last one: a commit costs the
// same whatever it carries. A caller who waits for his answer before he comes again is not kept waiting.
func (db *DB) runCommitter() {
	c := &committer{db: db, token: db.token}
	defer c.hangUp()
	for range db.wake {
		for {
			taken, ended := db.take()
			if ended {
				return
			}
			if len(taken) == 0 {
				break
			}
			begun := db.o.Clock.Now()
			c.commit(taken)
			if more := db.waiting(); more && db.o.Window > 0 {
				if pause := begun + db.o.Window - db.o.Clock.Now(); pause > 0 {
					db.rest(context.Background(), pause)
				}
			}
		}
	}
}

func (db *DB) waiting() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.queue) > 0
}

// committer has the connection that writes. It belongs to one goroutine.
type committer struct {
	db     *DB
	conn   *pgx.Conn
	warned bool // the server had doubts about the commit under way
	token  int64
}

func (c *committer) hangUp() {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), watchAnswer)
		defer cancel()
		_ = c.conn.Close(ctx) // it is broken, or we are done
		c.conn = nil
	}
}

// errUnknown: the commit was sent, and whether it is there nobody has said.
var errUnknown = errors.New("postgres: outcome unknown")

// commit brings requests to the database and tells their callers. A transaction that others undid, or that a connection took with it before its
// commit was sent, is made again; where the commit was sent, the database is asked what became of it.
func (c *committer) commit(requests []*request) {
	db := c.db
	until := requests[0].since + db.o.Patience
	for {
		err := c.ready()
		var b *batch
		if err == nil {
			c.token++
			b = newBatch(db, c.token, requests)
			if err = c.try(b); errors.Is(err, errUnknown) {
				err = c.resolve(b, until)
			}
		}
		switch {
		case err == nil:
			b.publish()
			return
		case again(err) && db.o.Clock.Now() < until:
			continue
		case fatal(err) || db.o.Clock.Now() >= until:
			db.o.Log.Error("store: commit failed", "error", err, "requests", len(requests))
			for _, r := range requests {
				db.finish(r, fmt.Errorf("%w: the database", store.ErrFailed))
			}
			return
		}
		c.hangUp()
		db.await(until)
	}
}

// await waits until the watch stands again, or a moment.
func (db *DB) await(until time.Duration) {
	timer := time.NewTimer(max(min(watchAgain, until-db.o.Clock.Now()), 0))
	defer timer.Stop()
	select {
	case <-db.served:
	case <-timer.C:
	}
}

// again reports whether a transaction was undone for the sake of another (PostgreSQL: serialization_failure, deadlock_detected,
// unique_violation).
func again(err error) bool {
	var p *pgconn.PgError
	return errors.As(err, &p) && (p.Code == "40001" || p.Code == "40P01" || p.Code == "23505")
}

// fatal reports whether trying again would lead to the same: the server says what is wrong, and it is neither that it goes nor that it
// comes (classes 08, 53, 57) nor that it is a standby (25006).
func fatal(err error) bool {
	var p *pgconn.PgError
	if !errors.As(err, &p) || len(p.Code) != 5 {
		return errors.Is(err, errUnknown)
	}
	class := p.Code[:2]
	return !again(err) && class != "08" && class != "53" && class != "57" && p.Code != "25006"
}

// ready sees to it that there is a connection. Without the watch nothing is written: this node might not be this node any more.
func (c *committer) ready() (err error) {
	c.db.mu.Lock()
	serving, away := c.db.serving, c.db.away
	c.db.mu.Unlock()
	if !serving {
		return fmt.Errorf("postgres: not served: %w", away)
	}
	if c.conn != nil && !c.conn.IsClosed() {
		return nil
	}
	c.conn, err = c.db.o.Target.dial(context.Background(), c.db.name("commit"), func(config *pgx.ConnConfig) {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { c.warned = c.warned || n.SeverityUnlocalized == "WARNING" }
	})
	return err
}

// try brings the batch to the database in one transaction of two round trips.
func (c *committer) try(b *batch) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.db.o.Patience)
	defer cancel()
	b.listen()
	if err := b.lock(ctx, c.conn); err != nil {
		return errors.Join(err, c.rollback(ctx))
	}
	b.judge()
	if len(b.dirty) == 0 {
		return c.rollback(ctx)
	}
	c.warned = false
	sent, err := b.write(ctx, c.conn)
	var refused *pgconn.PgError
	switch {
	case err == nil && !c.warned:
		return nil
	case errors.As(err, &refused) && refused.Severity == "ERROR" && !c.conn.IsClosed():
		return errors.Join(err, c.rollback(ctx))
	case sent:
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return err
}

// rollback ends a transaction that leaves nothing.
func (c *committer) rollback(ctx context.Context) error {
	if c.conn.IsClosed() {
		return nil
	}
	_, err := c.conn.Exec(ctx, "rollback")
	return err
}

// resolve finds out whether a batch is there whose commit was sent and not answered. To ask is a commit itself, behind that of the batch: with a
// synchronous standby that has the one, it has the other.
func (c *committer) resolve(b *batch, until time.Duration) error {
	for {
		c.hangUp()
		last, err := c.lastToken()
		switch {
		case err == nil && last == b.token:
			return nil
		case err == nil:
			return errAborted
		case c.db.o.Clock.Now() >= until:
			return fmt.Errorf("%w: %w", errUnknown, err)
		}
		c.db.await(until)
	}
}

// errAborted is what became of a transaction that is to be made again.
var errAborted = errors.New("postgres: the connection was lost before the commit")

// lastToken returns the token of the last batch of this node that is there, and stays there.
func (c *committer) lastToken() (token int64, err error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.db.o.Patience)
	defer cancel()
	c.warned = false
	err = c.conn.QueryRow(ctx, "update imsafe.nodes set token = token where node = $1 returning token", int32(c.db.o.Node)).Scan(&token)
	if err == nil && c.warned {
		err = errors.New("postgres: the standby does not answer")
	}
	return token, err
}
