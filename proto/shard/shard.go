package shard

import (
	"context"
	"math"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

// Never is the time of what is not going to happen: Step returns it when no timer is armed.
const Never = time.Duration(math.MaxInt64)

// Event is a piece of work. Run is called once per acceptance, on the shard, and must not block.
// Implement it on pointer types: then handing one over allocates nothing.
type Event interface{ Run(s *Shard) }

// EventFunc makes an Event of a function. It allocates, so it is not for hot paths.
func EventFunc(f func(s *Shard)) Event { return &eventFunc{f} }

type eventFunc struct{ f func(s *Shard) }

func (e *eventFunc) Run(s *Shard) { e.f(s) }

// Config is what a shard is made of. Clock is required, the rest has defaults.
type Config struct {
	Node  uint16        // of this process, as written into a Place
	ID    uint8         // of this shard in its process
	Clock Clock         // required; Run expects one that moves with real time
	Inbox int           // events that may wait; rounded up to a power of two; 0 means 4096
	Burst int           // queued events that a visitor runs before it leaves the rest to Run; 0 means 128
	Tick  time.Duration // granularity of timers; 0 means 10 ms
	Tasks int           // tasks that may be alive at once; 0 means 16384
	Spare int           // finished coroutines kept for reuse; 0 means 256
	// OnPanic gets the value and the stack of an event or task that panicked; the shard lives on. It runs
	// on the shard and must not panic. nil means that panics are only counted.
	OnPanic func(value any, stack []byte)
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		panic("shard: Config.Clock is required")
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Inbox, 4096}, {&c.Burst, 128}, {&c.Tasks, 16384}, {&c.Spare, 256}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Tick <= 0 {
		c.Tick = 10 * time.Millisecond
	}
	return c
}

// Life of a shard.
const (
	open uint32 = iota
	closing
	closed
)

// Shard runs events one at a time. Make it with New, end it with Close.
type Shard struct {
	cfg Config

	// On the shard only: whoever has busy owns these.
	now      time.Duration
	tick     uint64        // last tick that has passed at now
	tickEnds time.Duration // when the next one has
	wheel    wheel
	idle     []Event // asked for by OnIdle
	idleOld  []Event // the other buffer of idle
	nextIdle []Event // asked for by themselves: for the next visit
	flushing Event   // the OnIdle event that is running
	ready    queue   // woken tasks, oldest first
	current  *Task   // running now, nil outside tasks
	tasks    []*Task // every coroutine: alive and spare
	spare    []*Task

	// Shared. busy is the one lock: false -> true enters, true -> false leaves. Every way of bringing work
	// first makes the work visible and then looks at busy; whoever leaves first clears busy and then looks
	// for work. So one of the two sees the other.
	_     [64]byte
	busy  atomic.Bool
	life  atomic.Uint32
	woken atomic.Pointer[Task] // stack of tasks woken since the shard last looked

	// With Run: due is when the wheel must be looked at, sleep is how long Run intends to sleep. Written
	// and read crosswise like busy and work: the visitor stores due and reads sleep, Run the other way.
	due     atomic.Int64
	sleep   atomic.Int64
	running atomic.Bool
	wake    chan struct{} // capacity 1
	done    chan struct{} // closed when closed

	inbox ring
	count counters
}

type counters struct {
	inline, queued, handedOver, refused, panics atomic.Uint64
	tasks, timers                               atomic.Int64
}

// New makes a shard at the present time of its clock. It panics if c.Clock is nil: a defect of assembly.
func New(c Config) *Shard {
	s := &Shard{cfg: c.withDefaults(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.inbox.init(s.cfg.Inbox)
	s.wheel.earliest = never
	s.look()
	s.due.Store(int64(Never))
	return s
}

// Exec runs e before it returns if the shard is idle, else queues it for the goroutine inside. Order is
// first in, first out. It reports false if the inbox is full or the shard closed: e will not run and the
// caller answers 503. Any goroutine, on another shard too; called on the shard itself it queues. Work that
// others queued is run as well, at most Burst events, so hold no lock, and where that must not happen use Post.
func (s *Shard) Exec(e Event) bool {
	if s.life.Load() != open {
		s.count.refused.Add(1)
		return false
	}
	if s.enter() {
		if s.inbox.unclaimed() {
			s.count.inline.Add(1)
			s.visit(e)
			return true
		}
		// Others were here first: posted, or left over from a burst. e goes behind them.
		queued := s.inbox.push(e)
		s.visit(nil)
		if queued {
			return true
		}
	}
	if !s.inbox.push(e) {
		s.count.refused.Add(1)
		return false
	}
	if s.enter() { // the one inside may have left before it could see e
		s.visit(nil)
	}
	return true
}

// Post queues e and wakes the shard's Run goroutine if nobody is inside. It never runs e itself, so it is
// for completions from goroutines that must not be held up (the journal's committer). It reports false as
// Exec does. Any goroutine.
func (s *Shard) Post(e Event) bool {
	if s.life.Load() != open || !s.inbox.push(e) {
		s.count.refused.Add(1)
		return false
	}
	s.nudge()
	return true
}

// Step runs everything due at now and returns when something is due next (a lower bound), or Never.
// It is the shard of a simulation: one goroutine, a Fake clock moved to now beforehand, and then the same
// events in the same order make the same run. Not while Run is running, and not on the shard.
func (s *Shard) Step(now time.Duration) (next time.Duration) {
	if !s.enter() {
		panic("shard: Step while somebody is inside")
	}
	s.pass(now)
	s.visit(nil)
	return time.Duration(s.due.Load())
}

// OnIdle lets e run ONCE, when the shard has drained its work and before it goes idle, or after Burst
// events, whichever comes first: the place to flush batched writes. While e waits, asking again for the
// same e changes nothing. An e that asks for itself is run in the next visit, not in this one again.
// On the shard only.
func (s *Shard) OnIdle(e Event) {
	list := &s.idle
	if e == s.flushing {
		list = &s.nextIdle
	}
	if !slices.Contains(*list, e) {
		*list = append(*list, e)
	}
}

// Close ends the shard: events accepted before still run, timers never fire again, parked tasks unwind
// (their deferred calls run, code after Await does not), later events are refused. It returns when all of
// that happened. Any goroutine that is not on the shard; twice is harmless.
func (s *Shard) Close() {
	s.life.CompareAndSwap(open, closing)
	if s.enter() {
		s.visit(nil)
	}
	<-s.done
}

// Now is the monotonic time at which the present event began. On the shard only.
func (s *Shard) Now() time.Duration { return s.now }

// Clock is Config.Clock, for whoever asks for the time of this shard from elsewhere. Any goroutine.
func (s *Shard) Clock() Clock { return s.cfg.Clock }

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
	HandedOver uint64 // times somebody left with work waiting for Run, because of Burst
	Refused    uint64 // events and tasks turned away: inbox full, too many tasks, closed
	Panics     uint64 // events and tasks that ended with a panic
	Tasks      int    // alive now, running or parked
	Timers     int    // armed at the end of the last visit
}

// Stats reads the counters; they may be of slightly different moments. Any goroutine.
func (s *Shard) Stats() Stats {
	c := &s.count
	return Stats{
		Inline: c.inline.Load(), Queued: c.queued.Load(), HandedOver: c.handedOver.Load(),
		Refused: c.refused.Load(), Panics: c.panics.Load(),
		Tasks: int(c.tasks.Load()), Timers: int(c.timers.Load()),
	}
}

// Fullness is which share of the tasks that may be alive is alive. Any goroutine.
func (s *Shard) Fullness() float64 { return float64(s.count.tasks.Load()) / float64(s.cfg.Tasks) }

// enter makes the caller the one inside. It must call visit next.
func (s *Shard) enter() bool { return s.busy.CompareAndSwap(false, true) }

// visit runs first (if not nil) and what there is to do besides, and leaves.
func (s *Shard) visit(first Event) {
	left := false
	defer func() {
		if !left { // an event called runtime.Goexit, as a failing test does
			s.current, s.flushing = nil, nil
			s.busy.Store(false)
			s.signal()
		}
	}()
	if len(s.nextIdle) > 0 {
		s.idle = append(s.idle, s.nextIdle...)
		clear(s.nextIdle)
		s.nextIdle = s.nextIdle[:0]
	}
	s.look()
	if first != nil {
		s.run(first)
	}
	for budget := s.cfg.Burst; ; s.look() {
		budget = s.drain(budget)
		if s.life.Load() == closing {
			s.end()
		}
		more := !s.ready.empty() || s.wheel.earliest <= s.tick
		s.publish()
		s.busy.Store(false)
		if !more && !s.waiting() {
			break
		}
		if budget <= 0 {
			if s.running.Load() {
				s.count.handedOver.Add(1)
				s.signal()
				break
			}
			budget = s.cfg.Burst
		}
		if !s.enter() {
			break // the new one inside sees the work
		}
	}
	left = true
}

// drain works until there is nothing left, or budget pieces of work are done; it returns what is left of
// the budget. Batched writes go out in either case.
func (s *Shard) drain(budget int) int {
	for s.life.Load() != closed {
		if budget > 0 && s.takeWoken() {
			budget -= s.runReady()
		} else if budget > 0 && s.wheel.earliest <= s.tick {
			budget = s.wheel.advance(s.tick, budget, s.fire)
		} else if e, ok := s.next(budget); ok {
			budget--
			s.count.queued.Add(1)
			s.look()
			s.run(e)
		} else if len(s.idle) > 0 {
			s.flush()
		} else {
			break
		}
	}
	return max(budget, 0)
}

func (s *Shard) next(budget int) (Event, bool) {
	if budget <= 0 {
		return nil, false
	}
	return s.inbox.pop()
}

// fire runs the event of a timer and the tasks that it made ready.
func (s *Shard) fire(e Event) {
	s.run(e)
	if s.takeWoken() {
		s.runReady()
	}
}

// flush runs the OnIdle events.
func (s *Shard) flush() {
	events := s.idle
	s.idle, s.idleOld = s.idleOld[:0], events
	for i, e := range events {
		events[i] = nil
		s.flushing = e
		s.run(e)
	}
	s.flushing = nil
}

// run is the boundary of a panic: it ends e, not the shard.
func (s *Shard) run(e Event) {
	defer s.caught()
	e.Run(s)
}

func (s *Shard) caught() {
	if v := recover(); v != nil {
		s.report(v)
	}
}

// report must be called by the deferred function that recovered v, so that the stack is still there.
func (s *Shard) report(v any) {
	s.count.panics.Add(1)
	if s.cfg.OnPanic != nil {
		s.cfg.OnPanic(v, debug.Stack())
	}
}

// look reads the clock.
func (s *Shard) look() { s.pass(s.cfg.Clock.Now()) }

// pass lets time pass until now. It never goes back, also where Step was ahead of the clock.
func (s *Shard) pass(now time.Duration) {
	s.now = max(s.now, now)
	if s.now >= s.tickEnds {
		s.tick = uint64(s.now / s.cfg.Tick)
		s.tickEnds = time.Duration(s.tick+1) * s.cfg.Tick
	}
}

// publish tells those outside about timers, before leaving.
func (s *Shard) publish() {
	if n := int64(s.wheel.armed); n != s.count.timers.Load() {
		s.count.timers.Store(n)
	}
	due := int64(Never)
	if s.wheel.earliest < uint64(Never/s.cfg.Tick) {
		due = int64(s.wheel.earliest) * int64(s.cfg.Tick)
	}
	if due != s.due.Load() {
		s.due.Store(due)
		if due < s.sleep.Load() {
			s.signal()
		}
	}
}

// waiting reports whether there is work that came while nobody looked. Any goroutine.
func (s *Shard) waiting() bool {
	switch s.life.Load() {
	case closed:
		return false
	case closing:
		return true
	}
	return s.woken.Load() != nil || !s.inbox.empty()
}

// nudge is called after work was made visible: if nobody is inside to see it, Run must.
func (s *Shard) nudge() {
	if !s.busy.Load() {
		s.signal()
	}
}

func (s *Shard) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// end is the last thing that happens on a shard.
func (s *Shard) end() {
	s.drain(len(s.inbox.cells))
	s.endTasks()
	s.flush()
	s.wheel.earliest = never
	s.life.Store(closed)
	close(s.done)
}

// Run serves timers, posted events and wake-ups until ctx ends (then it returns ctx.Err()) or the shard is
// closed (nil). Start it once per shard in production. It blocks.
func (s *Shard) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		panic("shard: Run is running already")
	}
	defer s.running.Store(false)
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		pause := s.cfg.Tick // somebody is inside and looks after everything
		if s.enter() {
			s.visit(nil)
			pause = 0
		}
		until := s.due.Load()
		s.sleep.Store(until)
		if s.due.Load() < until {
			continue
		}
		if Never == time.Duration(until) {
			alarm.Stop()
		} else {
			alarm.Reset(max(pause, time.Duration(until)-s.cfg.Clock.Now()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return nil
		case <-s.wake:
		case <-alarm.C:
		}
	}
}
