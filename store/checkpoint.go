package store

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// Checkpoint brings the image up to everything that was committed before the call and recycles the journal behind it.
//
// The image gets the state at one sequence number exactly, and that number, in one transaction: it is always a state that the store
// had, and a replay over it is a replay of what is missing.
func (db *DB) Checkpoint() error {
	db.checkpoint.Lock()
	defer db.checkpoint.Unlock()
	db.tailMu.Lock()
	work := db.tail[:len(db.tail):len(db.tail)]
	meta := db.meta
	db.tailMu.Unlock()
	if len(work) == 0 {
		return nil
	}
	last := lastStates(work)
	w := &ImageWrite{Meta: meta, Records: make([]ImageRecord, 0, len(last))}
	if meta.Sequence > db.o.ChangesKept {
		w.Trim = meta.Sequence - db.o.ChangesKept
	}
	for _, c := range last {
		w.Records = append(w.Records, ImageRecord{
			Table: c.table, Deleted: c.deleted,
			Record: Record{Key: c.key(), Value: c.value(), Version: c.version, Expires: c.expires},
		})
		if !db.quiet[c.table] && c.version > w.Trim {
			w.Changes = append(w.Changes, c.outbox())
		}
	}
	slices.SortFunc(w.Changes, func(a, b Change) int { return cmp.Compare(a.Sequence, b.Sequence) })
	if err := db.image.Write(w); err != nil {
		return err
	}
	db.counters.checkpoints.Add(1)
	db.counters.saved.Add(uint64(len(last)))
	// From here on the image has the newest state of all of work. The order matters: see resident.generation.
	db.resident.generation.Add(1)
	for _, c := range last {
		db.resident.saved(c)
	}
	db.resident.settle()
	db.tailMu.Lock()
	db.tail = append(make([]change, 0, min(len(work), db.o.CheckpointOps)), db.tail[len(work):]...) // the next one is about as long
	db.tailSince = db.o.Clock.Now()
	db.tailMu.Unlock()
	return db.journal.Recycle(meta.Sequence)
}

func (c *change) outbox() Change {
	return Change{Sequence: c.version, Table: c.table, Key: c.key(), Deleted: c.deleted}
}

// lastStates returns the last change of each record in work, in the order of (table, key).
func lastStates(work []change) []*change {
	all := make([]*change, len(work))
	for i := range work {
		all[i] = &work[i]
	}
	slices.SortFunc(all, compareChanges)
	n := 0
	for i, c := range all {
		if i+1 < len(all) && all[i+1].table == c.table && bytes.Equal(all[i+1].key(), c.key()) {
			continue
		}
		all[n] = c
		n++
	}
	return all[:n]
}

func compareChanges(a, b *change) int {
	return cmp.Or(cmp.Compare(a.table, b.table), bytes.Compare(a.key(), b.key()), cmp.Compare(a.version, b.version))
}

func (db *DB) checkpointDue() bool {
	db.tailMu.Lock()
	defer db.tailMu.Unlock()
	return db.checkpointDueLocked()
}

func (db *DB) checkpointDueLocked() bool {
	return len(db.tail) >= db.o.CheckpointOps || db.o.Manual && len(db.tail) > 0 && db.o.Clock.Now() >= db.tailSince+db.o.CheckpointEvery
}

// nextCheckpoint returns when Step has to write the image.
func (db *DB) nextCheckpoint() time.Duration {
	db.tailMu.Lock()
	defer db.tailMu.Unlock()
	if len(db.tail) == 0 {
		return Never
	}
	return db.tailSince + db.o.CheckpointEvery
}
