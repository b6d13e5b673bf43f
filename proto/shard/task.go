package shard

import (
	"context"
	"errors"
	"time"
)

// Errors of Call.
var (
	ErrFull     = errors.New("shard: full")               // inbox or tasks: answer 503
	ErrClosed   = errors.New("shard: closed")             // before fn returned
	ErrPanicked = errors.New("shard: procedure panicked") // reported to OnPanic
)

// Task is a procedure on a coroutine of its shard: it may wait without stopping the shard, and while it
// runs it is on the shard. It is valid until its function returns; do not keep it.
type Task struct{}

// Procedure is the body of a task, for Begin. Implement it on pointer types.
type Procedure interface{ Proceed(t *Task) }

// Start runs fn as a task, at once, until it first parks or returns. It reports false if Config.Tasks are
// alive or the shard is closed: fn does not run, answer 503. On the shard only (events, timers, other tasks).
func (s *Shard) Start(fn func(*Task)) bool { panic("soon") }

// Begin is Start for a Procedure: a pointer that carries its arguments, so no closure is allocated.
func (s *Shard) Begin(p Procedure) bool { panic("soon") }

// Call runs fn as a task of the shard and returns when fn has returned: nil, or ErrFull, ErrClosed,
// ErrPanicked, or ctx.Err() if ctx ends first (fn then goes on without an audience). Any goroutine that is
// not on the shard; somebody must drive the shard (Run or Step) for fn to wake from its waits.
func (s *Shard) Call(ctx context.Context, fn func(*Task)) error { panic("soon") }

// Await calls start with a Waker and parks the task until it is woken. start runs at once, on the shard; it
// may wake synchronously, then Await returns without parking. What was written before Wake is visible
// after Await.
func (t *Task) Await(start func(Waker)) { panic("soon") }

// AwaitFor is Await with a limit: it reports true if d passed without a wake. A wake that comes later is
// ignored, so what the operation writes must not be shared with the next step.
func (t *Task) AwaitFor(d time.Duration, start func(Waker)) (timedOut bool) { panic("soon") }

// Shard is the shard that the task runs on.
func (t *Task) Shard() *Shard { panic("soon") }

// Now is Shard().Now().
func (t *Task) Now() time.Duration { panic("soon") }

// Wall is Shard().Wall().
func (t *Task) Wall() time.Time { panic("soon") }

// Waker wakes one wait of one task. It is a small value, free to copy and to keep: a Waker whose wait is
// over does nothing. The zero Waker does nothing.
type Waker struct {
	task *Task
	wait uint64
}

// Wake makes the task ready: it goes on after the present event if the shard is busy, else on the Run
// goroutine. It does not run the task itself, never blocks and never fails. Any goroutine; twice is harmless.
func (w Waker) Wake() { panic("soon") }
