package shard

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"
)

// Errors of Call.
var (
	ErrFull     = errors.New("shard: full")               // inbox or tasks: answer 503
	ErrClosed   = errors.New("shard: closed")             // before fn returned
	ErrPanicked = errors.New("shard: procedure panicked") // reported to OnPanic
)

// Task is a procedure on a coroutine of its shard: it may wait without stopping the shard, and while it
// runs it is on the shard. It is valid until its function returns; do not keep it. Its methods are called
// by that function only.
type Task struct {
	shard *Shard

	// The coroutine: resume continues it, yield parks it, cancel makes yield return false. Whoever is on
	// the shard resumes it, so it moves between goroutines; the shard's lock orders them.
	resume func() (struct{}, bool)
	cancel func()
	yield  func(struct{}) bool

	fn        func(*Task) // the body is fn or proc
	proc      Procedure
	over      bool // the body has ended
	unwinding bool // the shard ended first
	timedOut  bool
	timer     Timer
	wait      uint64 // number of the present or last wait, in steps of phases

	state atomic.Uint64 // wait | phase
	next  *Task         // in woken or ready
	index int           // in Shard.tasks
}

// Phases of a wait, in the low bits of state.
const (
	starting uint64 = iota + 1 // inside start: a wake only leaves a mark
	parked                     // a wake makes ready
	woken                      // further wakes do nothing
	phases   = 4
)

// Procedure is the body of a task, for Begin. Implement it on pointer types.
type Procedure interface{ Proceed(t *Task) }

// Start runs fn as a task, at once, until it first parks or returns. It reports false if Config.Tasks are
// alive or the shard is closed: fn does not run, answer 503. On the shard only (events, timers, other tasks).
func (s *Shard) Start(fn func(*Task)) bool { return s.begin(fn, nil) }

// Begin is Start for a Procedure: a pointer that carries its arguments, so no closure is allocated.
func (s *Shard) Begin(p Procedure) bool { return s.begin(nil, p) }

func (s *Shard) begin(fn func(*Task), p Procedure) bool {
	if s.life.Load() != open || s.count.tasks.Load() >= int64(s.cfg.Tasks) {
		s.count.refused.Add(1)
		return false
	}
	var t *Task
	if n := len(s.spare); n > 0 {
		t = s.spare[n-1]
		s.spare[n-1] = nil
		s.spare = s.spare[:n-1]
	} else {
		t = &Task{shard: s, index: len(s.tasks)}
		t.resume, t.cancel = iter.Pull(t.coroutine)
		s.tasks = append(s.tasks, t)
	}
	t.fn, t.proc, t.over = fn, p, false
	s.count.tasks.Add(1)
	s.goOn(t)
	return true
}

// goOn lets t run until it parks or its body ends. Tasks nest: one that starts another waits for it here.
func (s *Shard) goOn(t *Task) {
	outer := s.current
	s.current = t
	t.resume()
	s.current = outer
	if !t.over {
		return
	}
	s.count.tasks.Add(-1)
	if len(s.spare) < s.cfg.Spare {
		s.spare = append(s.spare, t)
		return
	}
	t.cancel()
	s.forget(t)
}

func (s *Shard) forget(t *Task) {
	last := len(s.tasks) - 1
	s.tasks[t.index] = s.tasks[last]
	s.tasks[t.index].index = t.index
	s.tasks[last] = nil
	s.tasks = s.tasks[:last]
}

// endTasks unwinds the parked and dismisses the spare.
func (s *Shard) endTasks() {
	for len(s.tasks) > 0 {
		t := s.tasks[len(s.tasks)-1]
		s.tasks = s.tasks[:len(s.tasks)-1]
		if !t.over {
			s.count.tasks.Add(-1)
		}
		s.current = t
		t.cancel()
		s.current = nil
	}
	s.spare = nil
}

// coroutine runs one body after another.
func (t *Task) coroutine(yield func(struct{}) bool) {
	t.yield = yield
	for {
		t.body()
		t.fn, t.proc, t.over = nil, nil, true
		if t.unwinding || !yield(struct{}{}) {
			return
		}
	}
}

// unwound is the panic that ends a parked task when its shard ends. Not reported.
type unwound struct{}

func (t *Task) body() {
	ended := false
	defer func() {
		v := recover()
		if _, ok := v.(unwound); ok || ended {
			return
		}
		if v != nil {
			t.shard.report(v)
			return
		}
		// runtime.Goexit, as a failing test does: it takes the coroutine and the visitor with it.
		t.shard.count.tasks.Add(-1)
		t.shard.forget(t)
	}()
	if t.fn != nil {
		t.fn(t)
	} else {
		t.proc.Proceed(t)
	}
	ended = true
}

// Await calls start with a Waker and parks the task until it is woken. start runs at once, on the shard; it
// may wake synchronously, then Await returns without parking. What was written before Wake is visible
// after Await.
func (t *Task) Await(start func(Waker)) { t.await(-1, start) }

// AwaitFor is Await with a limit: it reports true if d passed without a wake. A wake that comes later is
// ignored, so what the operation writes must not be shared with the next step.
func (t *Task) AwaitFor(d time.Duration, start func(Waker)) (timedOut bool) {
	return t.await(max(d, 0), start)
}

func (t *Task) await(limit time.Duration, start func(Waker)) (timedOut bool) {
	s := t.shard
	if s.current != t {
		panic("shard: Await outside of its task")
	}
	if t.unwinding {
		panic(unwound{})
	}
	t.wait += phases
	wait := t.wait
	t.state.Store(wait | starting)
	start(Waker{task: t, wait: wait})
	if !t.state.CompareAndSwap(wait|starting, wait|parked) {
		if t.state.Load() != wait|woken {
			panic("shard: Await inside the start of another")
		}
		return false
	}
	t.timedOut = false
	if limit >= 0 {
		s.Arm(&t.timer, limit, (*deadline)(t))
	}
	t.unwinding = !t.yield(struct{}{})
	s.Disarm(&t.timer)
	if t.unwinding {
		panic(unwound{})
	}
	return t.timedOut
}

// deadline is a task as the event of its own timer.
type deadline Task

func (d *deadline) Run(s *Shard) {
	t := (*Task)(d)
	if t.state.CompareAndSwap(t.wait|parked, t.wait|woken) {
		t.timedOut = true
		s.ready.push(t)
	}
}

// Shard is the shard that the task runs on.
func (t *Task) Shard() *Shard { return t.shard }

// Now is Shard().Now().
func (t *Task) Now() time.Duration { return t.shard.now }

// Wall is Shard().Wall().
func (t *Task) Wall() time.Time { return t.shard.Wall() }

// Waker wakes one wait of one task. It is a small value, free to copy and to keep: a Waker whose wait is
// over does nothing. The zero Waker does nothing.
type Waker struct {
	task *Task
	wait uint64
}

// Wake makes the task ready: it goes on after the present event if the shard is busy, else on the Run
// goroutine. It does not run the task itself, never blocks and never fails. Any goroutine; twice is harmless.
func (w Waker) Wake() {
	t := w.task
	if t == nil || t.state.CompareAndSwap(w.wait|starting, w.wait|woken) {
		return
	}
	if t.state.CompareAndSwap(w.wait|parked, w.wait|woken) {
		s := t.shard
		for {
			t.next = s.woken.Load()
			if s.woken.CompareAndSwap(t.next, t) {
				break
			}
		}
		s.nudge()
	}
}

// queue is a list of tasks, first in, first out.
type queue struct{ first, last *Task }

func (q *queue) empty() bool { return q.first == nil }

func (q *queue) push(t *Task) {
	t.next = nil
	if q.last == nil {
		q.first = t
	} else {
		q.last.next = t
	}
	q.last = t
}

func (q *queue) pop() *Task {
	t := q.first
	q.first = t.next
	if q.first == nil {
		q.last = nil
	}
	t.next = nil
	return t
}

// takeWoken moves woken tasks to ready in the order of their wakes, and reports whether any task is ready.
func (s *Shard) takeWoken() bool {
	if s.woken.Load() != nil {
		var oldest *Task
		for t := s.woken.Swap(nil); t != nil; { // the stack has the newest first
			t, t.next, oldest = t.next, oldest, t
		}
		for t := oldest; t != nil; {
			next := t.next
			s.ready.push(t)
			t = next
		}
	}
	return !s.ready.empty()
}

// runReady lets the tasks that are ready now go on, and returns how many. What they wake waits its turn.
func (s *Shard) runReady() (n int) {
	for last := s.ready.last; ; {
		t := s.ready.pop()
		n++
		s.goOn(t)
		if t == last || s.ready.empty() {
			return n
		}
	}
}

// Call runs fn as a task of the shard and returns when fn has returned: nil, or ErrFull, ErrClosed,
// ErrPanicked, or ctx.Err() if ctx ends first (fn then goes on without an audience). Any goroutine that is
// not on the shard; somebody must drive the shard (Run or Step) for fn to wake from its waits.
func (s *Shard) Call(ctx context.Context, fn func(*Task)) error {
	c := &call{fn: fn, result: make(chan error, 1)}
	if !s.Exec(c) {
		if s.life.Load() != open {
			return ErrClosed
		}
		return ErrFull
	}
	select {
	case err := <-c.result:
		return err // it ran through at once: ctx is not even asked
	default:
	}
	select {
	case err := <-c.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		select {
		case err := <-c.result:
			return err
		default:
			return ErrClosed // accepted too late to run
		}
	}
}

// call is first the event and then the procedure of Call.
type call struct {
	fn     func(*Task)
	result chan error
}

func (c *call) Run(s *Shard) {
	if !s.Begin(c) {
		c.result <- ErrFull
	}
}

func (c *call) Proceed(t *Task) {
	err := ErrPanicked
	defer func() {
		if t.unwinding {
			err = ErrClosed
		}
		c.result <- err
	}()
	c.fn(t)
	err = nil
}
