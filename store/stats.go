package store

import "sync/atomic"

// Stats are sums since Open, for metrics (imsafe_store_..._total) and tests.
type Stats struct {
	Changes     uint64 // durable changes
	Batches     uint64 // journal writes, each with one sync
	Conflicts   uint64 // refused for a condition
	Overloads   uint64 // refused for too much work, a full disk or a failed one
	Misses      uint64 // records that had to be read from the image
	Checkpoints uint64 // writes of the image
	Saved       uint64 // records written to the image
	Unsaved     int    // changes that are not in the image now
	CacheOctets int64  // records in memory that could leave
}

// counters are the Stats that grow.
type counters struct {
	changes, batches, conflicts, overloads, misses, checkpoints, saved atomic.Uint64
}

// Stats returns the sums. Safe for concurrent use; the fields are not of one instant.
func (db *DB) Stats() Stats {
	c := &db.counters
	return Stats{
		Changes: c.changes.Load(), Batches: c.batches.Load(), Conflicts: c.conflicts.Load(), Overloads: c.overloads.Load(),
		Misses: c.misses.Load(), Checkpoints: c.checkpoints.Load(), Saved: c.saved.Load(),
		Unsaved: len(db.unsaved()), CacheOctets: db.resident.octets(),
	}
}
