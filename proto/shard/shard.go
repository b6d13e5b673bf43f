package shard

import (
	"context"
	"math"
	"time"
)

// Never is the time of what is not going to happen: Step returns it when no timer is armed.
const Never = time.Duration(math.MaxInt64)

// Event is a piece of work. Run is called once per acceptance, on the shard, and must not block.
// Implement it on pointer types: then handing one over allocates nothing.
type Event interface{ Run(s *Shard) }

// EventFunc makes an Event of a function; the closure is an allocation, so not for hot paths.
type EventFunc func(s *Shard)

// Run calls f.
func (f EventFunc) Run(s *Shard) { f(s) }

// Config is what a shard is made of. Clock is required, the rest has defaults.
type Config struct {
	Node    uint16        // of this process, as written into a Place
	ID      uint8         // of this shard in its process
	Clock   Clock         // required
	Inbox   int           // events that may wait; rounded up to a power of two; 0 means 4096
	Burst   int           // queued events that a visitor runs before it hands the rest to Run; 0 means 128
	Tick    time.Duration // granularity of timers; 0 means 10 ms
	Tasks   int           // tasks that may be alive at once; 0 means 16384
	Spare   int           // finished coroutines kept for reuse; 0 means 256
	OnPanic func(value any, stack []byte)
}

// Shard runs events one at a time. Make it with New, end it with Close.
type Shard struct{ cfg Config }

// New makes a shard at the present time of its clock. It panics if c.Clock is nil: a defect of assembly.
func New(c Config) *Shard { panic("soon") }

// Exec runs e before it returns if the shard is idle, else queues it for the goroutine inside. Order is
// first in, first out. It reports false if the inbox is full or the shard closed: e will not run and the
// caller answers 503. Any goroutine; called on the shard it queues. Work queued meanwhile by others is run
// too, at most Burst events, so do not call it where that must not happen: use Post there.
func (s *Shard) Exec(e Event) bool { panic("soon") }

// Post queues e and wakes the shard's Run goroutine if nobody is inside. It never runs e itself, so it is
// for completions from goroutines that must not be held up (the journal's committer). It reports false as
// Exec does. Any goroutine.
func (s *Shard) Post(e Event) bool { panic("soon") }

// Step runs everything due at now and returns when something is due next (a lower bound), or Never.
// It is the shard of a simulation: one goroutine, a Fake clock moved to now beforehand, and then the same
// events in the same order make the same run. Not while Run is running, and not on the shard.
func (s *Shard) Step(now time.Duration) (next time.Duration) { panic("soon") }

// Run serves timers, posted events and wake-ups until ctx ends (then it returns ctx.Err()) or the shard is
// closed (nil). Start it once per shard in production. It blocks.
func (s *Shard) Run(ctx context.Context) error { panic("soon") }

// OnIdle lets e run ONCE, when the shard has drained its work and before it goes idle, or after Burst
// events, whichever comes first: the place to flush batched writes. While e waits, asking again
// for the same e changes nothing. On the shard only.
func (s *Shard) OnIdle(e Event) { panic("soon") }

// Close ends the shard: events accepted before still run, timers never fire again, parked tasks unwind
// (their deferred calls run, code after Await does not), later events are refused. It returns when all of
// that happened. Any goroutine that is not on the shard; twice is harmless.
func (s *Shard) Close() { panic("soon") }

// Now is the monotonic time at which the present event began. On the shard only.
func (s *Shard) Now() time.Duration { panic("soon") }

// Wall is the time of day, read from the clock at each call. Any goroutine.
func (s *Shard) Wall() time.Time { return s.cfg.Clock.Wall() }

// ID is Config.ID. Any goroutine.
func (s *Shard) ID() uint8 { return s.cfg.ID }

// Node is Config.Node. Any goroutine.
func (s *Shard) Node() uint16 { return s.cfg.Node }

// Stats counts what a shard did since New, and what it holds at the moment.
type Stats struct {
	Inline     uint64 // events that ran at once on the goroutine that brought them
	Queued     uint64 // events that waited in the inbox
	HandedOver uint64 // times a visitor left queued work to Run, because of Burst
	Refused    uint64 // events and tasks turned away: inbox full, too many tasks, closed
	Panics     uint64 // events and tasks that ended with a panic
	Tasks      int    // alive now, running or parked
	Timers     int    // armed at the end of the last visit
}

// Stats reads the counters; they may be of slightly different moments. Any goroutine.
func (s *Shard) Stats() Stats { panic("soon") }
