package as

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/shard"
)

// work counts the handlers that are at work: neither returned nor waiting for something on the shard. Whoever wakes one counts it before it
// runs, so that the count is never 0 in between, and a simulation knows when nothing more will come at this moment.
type work struct {
	mu      sync.Mutex
	changed sync.Cond
	running int
}

func (w *work) init() { w.changed.L = &w.mu }

func (w *work) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running += n
	if w.running == 0 {
		w.changed.Broadcast()
	}
}

// Idle waits until no handler is at work: each has returned, or waits for an event of its session. It reports whether one was. It is for
// tests in virtual time.
func (s *Service) Idle() (worked bool) {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	for s.work.running > 0 {
		worked = true
		s.work.changed.Wait()
	}
	return worked
}

// start runs a handler on a goroutine of its own.
func (s *Service) start(f func()) {
	s.work.add(1)
	s.wg.Go(func() {
		defer s.work.add(-1)
		f()
	})
}

// Go runs f beside the handlers, for what a service does by itself: Run returns when it has returned, and its ctx ends with the service.
func (s *Service) Go(f func(ctx context.Context) error) {
	s.start(func() { _ = s.watch(func() error { return f(s.ctx) }) })
}

// watch runs what a handler does. A defect in it costs its own session, and nobody else's.
func (s *Service) watch(handler func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errDefect
			s.log.Error("defect", "panic", v, "stack", string(debug.Stack()))
		}
		if err != nil {
			s.counters.Failed.Add(1)
			s.log.Warn("a handler failed", "error", err)
		}
	}()
	return handler()
}

var errDefect = errors.New("as: a defect in the handler")

// wait is one handler that waits for something to be ready on the shard.
type wait struct {
	ready func() bool
	done  chan struct{}
	over  atomic.Bool
	err   error
}

// wake lets a waiting handler go on, once.
func (w *work) wake(x *wait, err error) {
	if x.over.CompareAndSwap(false, true) {
		x.err = err
		w.add(1)
		close(x.done)
	}
}

// waits are those who wait for one session or leg. On the shard.
type waits []*wait

// happened asks those who wait whether what they wait for is there.
func (s *Service) happened(list *waits) {
	*list = slices.DeleteFunc(*list, func(w *wait) bool {
		switch {
		case w.over.Load():
		case w.ready():
			s.work.wake(w, nil)
		}
		return w.over.Load()
	})
}

// await runs begin on the shard and waits there until ready, which is asked again whenever something has happened to those of list. It returns
// the error of begin, that of ctx, or ErrClosed.
func (s *Service) await(ctx context.Context, list *waits, begin func() error, ready func() bool) error {
	w := &wait{ready: ready, done: make(chan struct{})}
	entered := s.enter(func() {
		if w.over.Load() {
			return
		}
		if err := begin(); err != nil || ready() {
			s.work.wake(w, err)
			return
		}
		*list = append(*list, w)
		if x, ok := ctx.Value(sessionOf{}).(*Session); ok {
			x.under = append(slices.DeleteFunc(x.under, func(w *wait) bool { return w.over.Load() }), w)
		}
	})
	if !entered {
		return ErrClosed
	}
	defer context.AfterFunc(ctx, func() { s.work.wake(w, context.Cause(ctx)) })()
	defer context.AfterFunc(s.ctx, func() { s.work.wake(w, ErrClosed) })()
	s.work.add(-1) // whoever wakes it counts it again
	<-w.done
	return w.err
}

// do runs f on the shard and returns when it has run.
func (s *Service) do(f func() error) error {
	return s.await(context.Background(), nil, f, func() bool { return true })
}

// Sleep waits for d by the clock of the service: in a test that is virtual time. It returns early with the error of ctx.
func (s *Service) Sleep(ctx context.Context, d time.Duration) error {
	var list waits
	var timer shard.Timer
	over := false
	begin := func() error {
		s.shard.Arm(&timer, d, shard.EventFunc(func(*shard.Shard) { over = true; s.happened(&list) }))
		return nil
	}
	defer s.enter(func() { s.shard.Disarm(&timer) })
	return s.await(ctx, &list, begin, func() bool { return over })
}
