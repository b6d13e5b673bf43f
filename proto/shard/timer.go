package shard

import "time"

// Timer is an intrusive timer: embed it in the object it belongs to. The zero value is ready and disarmed.
// It belongs to one shard and is touched on that shard only. It must not be copied while armed.
type Timer struct {
	next, prev *Timer
	when       uint64
	event      Event
	place      uint32
}

// Armed reports whether the timer is going to fire. On the shard only.
func (t *Timer) Armed() bool { return t.place != 0 }

// Arm lets e run on the shard after d, never earlier and at most one Tick plus the load of the shard later.
// An armed timer is armed anew; d <= 0 means the next tick. No allocation. On the shard only.
func (s *Shard) Arm(t *Timer, d time.Duration, e Event) { panic("soon") }

// Disarm takes t back; after it, the event does not run. Constant time; a timer that is not armed is left
// alone. On the shard only.
func (s *Shard) Disarm(t *Timer) { panic("soon") }
