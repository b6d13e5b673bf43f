package shard

import (
	"sync/atomic"
	"time"
)

// Clock is where a shard reads time. All shards of a process share one.
// Implementations are safe for concurrent use.
type Clock interface {
	// Now is monotonic time since an origin of the clock's own. Lifetimes and timers use it.
	Now() time.Duration
	// Wall is the time of day: for what people and peers read, never for lifetimes.
	Wall() time.Time
}

type realClock struct{ origin time.Time }

// RealClock returns the clock of the machine; its origin is the moment of the call.
func RealClock() Clock { return &realClock{origin: time.Now()} }

func (c *realClock) Now() time.Duration { return time.Since(c.origin) }
func (c *realClock) Wall() time.Time    { return time.Now() }

// Fake is a Clock that stands still until it is moved. Safe for concurrent use.
type Fake struct {
	now  atomic.Int64 // nanoseconds since the origin
	wall atomic.Int64 // Unix nanoseconds at the origin
}

// NewFake returns a Fake at monotonic time 0 whose wall clock shows wall.
func NewFake(wall time.Time) *Fake {
	f := &Fake{}
	f.wall.Store(wall.UnixNano())
	return f
}

// Now is the fake monotonic time.
func (f *Fake) Now() time.Duration { return time.Duration(f.now.Load()) }

// Wall is the fake time of day, in UTC.
func (f *Fake) Wall() time.Time { return time.Unix(0, f.wall.Load()+f.now.Load()).UTC() }

// Advance moves both clocks forward by d, which must not be negative, and returns the new monotonic time.
func (f *Fake) Advance(d time.Duration) time.Duration {
	if d < 0 {
		panic("shard: monotonic time does not go back")
	}
	return time.Duration(f.now.Add(int64(d)))
}

// AdvanceTo moves both clocks forward to monotonic time now; a time in the past changes nothing.
func (f *Fake) AdvanceTo(now time.Duration) {
	for {
		old := f.now.Load()
		if int64(now) <= old || f.now.CompareAndSwap(old, int64(now)) {
			return
		}
	}
}

// JumpWall changes the time of day only, as an administrator or a bad NTP server does.
func (f *Fake) JumpWall(d time.Duration) { f.wall.Add(int64(d)) }
