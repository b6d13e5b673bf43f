package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"imsafe/store/disk"
)

// tableCounters is the store's own table: the high-water marks of Reserve, as decimal text for the people who read the image.
const tableCounters Table = 0

// change is one accepted op. Its version is its sequence number.
type change struct {
	block   []byte // key, then value; immutable
	hash    uint64
	version uint64
	expires int64
	slot    uint32 // slot+1 of its entry in memory, once accepted
	keyLen  uint16
	table   Table
	deleted bool
}

func (c *change) key() []byte   { return c.block[:c.keyLen:c.keyLen] }
func (c *change) value() []byte { return c.block[c.keyLen:] }

// request is one Apply or Reserve on its way.
type request struct {
	partition string
	ops       []Op
	done      func(error)

	reserve  uint64 // n of a Reserve; 0: an Apply
	from, to uint64
	reserved func(from, to uint64, err error)
	counter  [1]Op // the op of a Reserve

	first uint64 // version of the first change, once accepted
	seen  []seen // what a reader found for the ops that needed it, nil if none had to
}

// seen is what was read for the condition of an op. It holds as long as the generation stands and memory does not know better: with
// a small cache a record may have left memory again before its request is judged.
type seen struct {
	valid      bool
	exists     bool
	rec        Record
	generation uint64
}

// look returns what was seen for op i, if it still holds.
func (db *DB) look(r *request, i int) (rec Record, exists, known bool) {
	if r.seen == nil || !r.seen[i].valid || r.seen[i].generation != db.resident.generation.Load() {
		return Record{}, false, false
	}
	return r.seen[i].rec, r.seen[i].exists, true
}

// finish tells the caller.
func (db *DB) finish(r *request, err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrConflict):
		db.counters.conflicts.Add(1)
	case errors.Is(err, ErrOverloaded), errors.Is(err, ErrFull), errors.Is(err, ErrFailed):
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

// batch is what goes to the journal in one write and one sync.
type batch struct {
	requests []*request
	changes  []change
	octets   int
}

// committer is the part of a DB between Apply and the journal. mu guards everything in it.
type committer struct {
	next    uint64   // version of the next change
	batches []*batch // waiting; all but the last are full
	spare   *batch   // an empty one for reuse
	waiting map[string][]*request
	marks   map[string]uint64 // newest mark of counters with a reservation that is not committed
	queued  int               // octets in batches
	refuse  error             // why nothing more is accepted: ErrFailed, ErrClosed
}

// ApplyAsync implements Store.
func (db *DB) ApplyAsync(partition string, ops []Op, done func(error)) {
	r := &request{partition: partition, ops: ops, done: done}
	if err := db.validate(ops); err != nil || len(ops) == 0 {
		done(err)
		return
	}
	db.submit(r)
}

// ReserveAsync implements Store.
func (db *DB) ReserveAsync(counter string, n uint64, done func(from, to uint64, err error)) {
	if n == 0 || len(counter) == 0 || len(counter) > MaxKey {
		done(0, 0, fmt.Errorf("%w: reserve %d of counter with %d octets", ErrInvalid, n, len(counter)))
		return
	}
	r := &request{partition: counter, reserve: n, reserved: done}
	r.counter[0] = Op{Table: tableCounters, Key: []byte(counter)}
	r.ops = r.counter[:]
	db.submit(r)
}

// validate refuses what no engine could store.
func (db *DB) validate(ops []Op) error {
	if len(ops) > MaxOps {
		return fmt.Errorf("%w: %d ops in one apply", ErrInvalid, len(ops))
	}
	total := 0
	for i := range ops {
		op := &ops[i]
		if err := op.Check(op.Table != tableCounters && db.known[op.Table]); err != nil {
			return err
		}
		total += recordSize(len(op.Key), len(op.Value))
	}
	if total > MaxApply {
		return fmt.Errorf("%w: %d octets in one apply", ErrInvalid, total)
	}
	return nil
}

// submit brings a request to the queue, after those of its partition that wait for the image.
func (db *DB) submit(r *request) {
	db.mu.Lock()
	var err error
	waiting, behind := db.commit.waiting[r.partition]
	switch {
	case !behind || db.commit.refuse != nil:
		var ok bool
		if err, ok = db.acceptLocked(r); !ok {
			err = db.park(r)
		}
	case len(waiting) >= db.o.ReadQueue:
		err = ErrOverloaded
	default:
		db.commit.waiting[r.partition] = append(waiting, r)
	}
	db.mu.Unlock()
	if err != nil {
		db.finish(r, err)
	}
}

// park lets r wait until a reader has fetched the records that its conditions are about. Called with mu held.
func (db *DB) park(r *request) error {
	if db.o.Manual {
		return db.acceptLoading(r)
	}
	if err := db.ask(read{request: r}); err != nil {
		return err
	}
	db.commit.waiting[r.partition] = nil
	return nil
}

// acceptLoading reads what is missing in place. Manual mode only, mu held.
func (db *DB) acceptLoading(r *request) error {
	for {
		if err := db.loadFor(r); err != nil {
			return err
		}
		if err, ok := db.acceptLocked(r); ok {
			return err
		}
	}
}

// loadFor reads the records that r has conditions on.
func (db *DB) loadFor(r *request) error {
	r.seen = make([]seen, len(r.ops))
	for i := range r.ops {
		op := &r.ops[i]
		if op.Cond == Always && r.reserve == 0 {
			continue
		}
		generation := db.resident.generation.Load() // before the reading
		rec, err := db.load(op.Table, op.Key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		r.seen[i] = seen{valid: true, exists: err == nil, rec: rec, generation: generation}
	}
	return nil
}

// resume goes on with r after a reader has fetched for it, and with those that waited behind it.
func (db *DB) resume(r *request) {
	err := db.loadFor(r)
	type refused struct {
		r   *request
		err error
	}
	var answers []refused
	db.mu.Lock()
	waiting := db.commit.waiting[r.partition]
	delete(db.commit.waiting, r.partition)
	for {
		ok := true
		if err == nil {
			err, ok = db.acceptLocked(r)
		}
		if !ok { // a checkpoint ended between load and now: once more
			if err = db.park(r); err == nil {
				db.commit.waiting[r.partition] = waiting
				break
			}
		}
		if err != nil {
			answers = append(answers, refused{r, err})
			err = nil
		}
		if len(waiting) == 0 {
			break
		}
		r, waiting = waiting[0], waiting[1:]
	}
	db.mu.Unlock()
	for _, a := range answers {
		db.finish(a.r, a.err)
	}
}

// acceptLocked judges the conditions of r against the newest state and puts its changes into the queue. ok is false if memory does
// not know enough to judge. Called with mu held; it keeps no reference to keys and values of the caller.
func (db *DB) acceptLocked(r *request) (err error, ok bool) {
	c := &db.commit
	if c.refuse != nil {
		return c.refuse, true
	}
	size := 0
	for i := range r.ops {
		size += recordSize(len(r.ops[i].Key), len(r.ops[i].Value))
	}
	if !db.journal.Fits(len(r.ops), size) {
		return fmt.Errorf("%w: %d octets do not fit into a segment of the journal", ErrInvalid, size), true
	}
	if c.queued+size > db.o.QueueBytes || db.journal.Octets() > db.o.JournalBytes {
		return ErrOverloaded, true
	}
	if c.next > math.MaxInt64-uint64(len(r.ops)) { // SQLite and PostgreSQL have signed integers
		return ErrExhausted, true
	}
	if r.reserve != 0 {
		err, ok = db.raiseMark(r)
	} else {
		err, ok = db.judge(r)
	}
	if err != nil || !ok {
		return err, ok
	}
	b := db.openBatch(size, len(r.ops))
	r.first = c.next
	for i := range r.ops {
		op := &r.ops[i]
		block := make([]byte, len(op.Key)+len(op.Value))
		copy(block[copy(block, op.Key):], op.Value)
		b.changes = append(b.changes, change{
			block: block, hash: db.resident.hash(op.Table, op.Key), version: c.next, expires: op.Expires,
			keyLen: uint16(len(op.Key)), table: op.Table, deleted: op.Value == nil,
		})
		db.resident.accept(&b.changes[len(b.changes)-1])
		c.next++
	}
	b.requests = append(b.requests, r)
	b.octets += size
	c.queued += size
	if len(b.requests) == 1 || b.octets >= db.o.BatchBytes {
		db.wakeCommitter()
	}
	return nil, true
}

// judge checks the conditions.
func (db *DB) judge(r *request) (err error, ok bool) {
	for i := range r.ops {
		op := &r.ops[i]
		if op.Cond == Always {
			continue
		}
		version, exists, known := db.resident.newest(db.resident.hash(op.Table, op.Key), op.Table, op.Key)
		if !known {
			var rec Record
			rec, exists, known = db.look(r, i)
			version = rec.Version
		}
		switch {
		case !known:
			return nil, false
		case op.Cond == IfAbsent && exists, op.Cond == IfVersion && (!exists || version != op.Version):
			return ErrConflict, true
		}
	}
	return nil, true
}

// raiseMark works out what a Reserve gives and the op that records it.
func (db *DB) raiseMark(r *request) (err error, ok bool) {
	op := &r.ops[0]
	mark, pending := db.commit.marks[string(op.Key)]
	if !pending {
		rec, err, hit := db.resident.lookup(op.Table, op.Key)
		exists := err == nil
		if !hit {
			if rec, exists, hit = db.look(r, 0); !hit {
				return nil, false
			}
		}
		if exists {
			if mark, err = strconv.ParseUint(string(rec.Value), 10, 64); err != nil {
				return fmt.Errorf("store: counter %q: %w", op.Key, err), true
			}
		}
	}
	if mark > math.MaxInt64-r.reserve || r.reserve > math.MaxInt64 {
		return ErrExhausted, true
	}
	r.from, r.to = mark, mark+r.reserve
	op.Value = strconv.AppendUint(nil, r.to, 10)
	db.commit.marks[string(op.Key)] = r.to
	return nil, true
}

// openBatch returns the batch that takes a request of so many octets and changes.
func (db *DB) openBatch(size, count int) *batch {
	c := &db.commit
	if n := len(c.batches); n > 0 {
		b := c.batches[n-1]
		if b.octets < db.o.BatchBytes && db.journal.Fits(len(b.changes)+count, b.octets+size) {
			return b
		}
	}
	b := c.spare
	if c.spare = nil; b == nil {
		b = &batch{}
	}
	c.batches = append(c.batches, b)
	return b
}

// take removes the first batch from the queue; nil if there is none.
func (db *DB) take() *batch {
	db.mu.Lock()
	defer db.mu.Unlock()
	c := &db.commit
	if len(c.batches) == 0 {
		return nil
	}
	b := c.batches[0]
	n := copy(c.batches, c.batches[1:])
	c.batches[n] = nil
	c.batches = c.batches[:n]
	c.queued -= b.octets
	return b
}

// write brings the batch to the disk. After it returned nil the batch is durable, and nobody has seen it yet.
func (db *DB) write(b *batch) error {
	db.journal.Begin(b.changes[0].version)
	for i := range b.changes {
		c := &b.changes[i]
		c.encode(db.journal.Record(recordSize(int(c.keyLen), len(c.block)-int(c.keyLen))))
	}
	return db.journal.Append()
}

// publish makes a durable batch visible and tells its callers.
func (db *DB) publish(b *batch) {
	reserved := false
	db.count(b)
	db.tailMu.Lock() // over both, so that a scan cannot miss what a get has seen
	for i := range b.changes {
		db.resident.commit(&b.changes[i])
		reserved = reserved || b.changes[i].table == tableCounters
	}
	db.count(b)
	db.tail = append(db.tail, b.changes...)
	db.meta.Sequence = b.changes[len(b.changes)-1].version
	due := db.checkpointDueLocked()
	db.tailMu.Unlock()
	db.counters.changes.Add(uint64(len(b.changes)))
	db.counters.batches.Add(1)
	if due || !db.journal.Prepared() {
		db.wakeKeeper()
	}
	if reserved {
		db.forgetMarks(b)
	}
	for _, r := range b.requests {
		db.finish(r, nil)
	}
	db.reuse(b)
}

// count makes Changed another number, for each table of b. Before the first change is visible: who has seen one of them doubts what he
// kept of the others. And after the last: who read the number first and then a record that was still the old one learns of it.
func (db *DB) count(b *batch) {
	for i := range b.changes {
		if t := b.changes[i].table; i == 0 || t != b.changes[i-1].table {
			db.changed[t].Add(1)
		}
	}
}

// forgetMarks drops the marks that are committed now: from here on the record in memory tells.
func (db *DB) forgetMarks(b *batch) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for i := range b.changes {
		c := &b.changes[i]
		if c.table != tableCounters {
			continue
		}
		if version, _, known := db.resident.newest(c.hash, c.table, c.key()); known && version == c.version {
			delete(db.commit.marks, string(c.key()))
		}
	}
}

// fail answers the batch and everything that was accepted after it, which builds on it.
func (db *DB) fail(b *batch, cause error) {
	fatal := !errors.Is(cause, disk.ErrFull)
	answer := ErrFull
	db.mu.Lock()
	c := &db.commit
	if fatal {
		answer = ErrFailed
		c.refuse = ErrFailed
		db.failure = cause
	}
	failed := append([]*batch{b}, c.batches...)
	c.batches, c.queued = nil, 0
	clear(c.marks)
	c.next = b.changes[0].version // never written, so never given
	for _, b := range failed {
		for i := range b.changes {
			db.resident.reject(&b.changes[i])
		}
	}
	db.mu.Unlock()
	db.o.Log.Error("store: commit failed", "error", cause, "fatal", fatal)
	for _, b := range failed {
		for _, r := range b.requests {
			db.finish(r, answer)
		}
	}
}

func (db *DB) reuse(b *batch) {
	clear(b.requests)
	clear(b.changes)
	b.requests, b.changes, b.octets = b.requests[:0], b.changes[:0], 0
	db.mu.Lock()
	db.commit.spare = b
	db.mu.Unlock()
}
