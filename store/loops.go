package store

import "time"

// runCommitter commits batch after batch until the store refuses work and nothing is left.
func (db *DB) runCommitter() {
	pace := pacer{window: db.o.Window}
	timer := time.NewTimer(time.Hour) // real time: Manual mode has no committer
	defer timer.Stop()
	for {
		requests, full, closing := db.queue()
		if requests == 0 {
			if closing {
				return
			}
			<-db.wake
			continue
		}
		if wait := pace.wait(db.o.Clock.Now()); wait > 0 && !full && !closing {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-db.wake: // full or closing, perhaps: look again
				continue
			}
		}
		b := db.take()
		if b == nil {
			continue
		}
		pace.begin(db.o.Clock.Now(), len(b.requests))
		if err := db.write(b); err != nil {
			db.fail(b, err)
			continue
		}
		requests, _, _ = db.queue()
		pace.end(requests)
		db.publish(b)
	}
}

// queue says how many requests wait, whether the first batch is full, and whether no more will come.
func (db *DB) queue() (requests int, full, closing bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	c := &db.commit
	for _, b := range c.batches {
		requests += len(b.requests)
	}
	full = len(c.batches) > 1 || len(c.batches) == 1 && c.batches[0].octets >= db.o.BatchBytes
	return requests, full, c.refuse != nil
}

func (db *DB) wakeCommitter() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

func (db *DB) wakeKeeper() {
	select {
	case db.stir <- struct{}{}:
	default:
	}
}

// runKeeper keeps a journal segment ready and the image up to date, until Close.
func (db *DB) runKeeper() {
	ticker := time.NewTicker(db.o.CheckpointEvery) // real time: Manual mode has no keeper
	defer ticker.Stop()
	failed := false // then only the ticker tries again
	for {
		if err := db.journal.Prepare(); err != nil {
			db.o.Log.Warn("store: no journal segment in reserve", "error", err)
		}
		due := false
		select {
		case <-db.quit:
			return
		case <-ticker.C:
			due = true
		case <-db.stir:
			due = !failed && db.checkpointDue()
		}
		if !due {
			continue
		}
		err := db.Checkpoint()
		if failed = err != nil; failed {
			db.o.Log.Error("store: checkpoint failed, the journal grows", "error", err)
		}
	}
}

// busyDisk is a disk whose syncs last longer than its calls: disk.Fake under a simulated clock.
type busyDisk interface{ Busy() time.Duration }

// Never is what Step returns when nothing waits.
const Never = time.Duration(1<<63 - 1)

// Step does the commits that are due, and a checkpoint when one is due, on the caller's goroutine. It returns the instant (of the
// clock) at which it wants to be called again, or Never: call it also after any ApplyAsync or ReserveAsync. Callbacks run inside it
// and may use the store, but not Step. Only for a store opened with Manual; not for concurrent use.
func (db *DB) Step() (next time.Duration) { return db.step(true) }

// step commits; patient waits for a disk that says it is busy.
func (db *DB) step(patient bool) (next time.Duration) {
	if db.stepping {
		return db.o.Clock.Now()
	}
	db.stepping = true
	defer func() { db.stepping = false }()
	for {
		if db.inflight != nil {
			if patient && db.o.Clock.Now() < db.until {
				return db.until
			}
			b := db.inflight
			db.inflight = nil
			db.publish(b)
		}
		b := db.take()
		if b == nil {
			break
		}
		if err := db.write(b); err != nil {
			db.fail(b, err)
			continue
		}
		db.inflight, db.until = b, 0
		if d, ok := db.o.Disk.(busyDisk); ok {
			db.until = d.Busy()
		}
	}
	if db.checkpointDue() {
		if err := db.Checkpoint(); err != nil {
			db.o.Log.Error("store: checkpoint failed, the journal grows", "error", err)
		}
	}
	return db.nextCheckpoint()
}

// drain commits everything that was accepted.
func (db *DB) drain() {
	if db.Failure() == nil {
		db.step(false)
	}
}

func (db *DB) drainIfManual() {
	if db.o.Manual {
		db.drain()
	}
}
