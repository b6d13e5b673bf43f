package shard_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"imsafe/proto/shard"
)

func TestAwait(t *testing.T) {
	t.Run("wake within start does not park", func(t *testing.T) {
		s, _ := newShard(t)
		trace := ""
		on(t, s, func(s *shard.Shard) {
			s.Start(func(task *shard.Task) {
				task.Await(func(w shard.Waker) { w.Wake(); w.Wake() })
				trace += "a"
			})
			trace += "b"
		})
		if trace != "ab" {
			t.Fatal(trace)
		}
	})
	t.Run("wake on the shard takes effect after the present event", func(t *testing.T) {
		s, _ := newShard(t)
		var w shard.Waker
		trace := ""
		on(t, s, func(s *shard.Shard) {
			s.Start(func(task *shard.Task) {
				task.Await(func(x shard.Waker) { w = x })
				trace += "task"
			})
		})
		on(t, s, func(s *shard.Shard) {
			s.Exec(shard.EventFunc(func(*shard.Shard) { trace += " next" }))
			w.Wake()
			trace += "event "
		})
		if trace != "event task next" {
			t.Fatal(trace)
		}
	})
	t.Run("stale, double and zero wakers do nothing", func(t *testing.T) {
		s, clock := newShard(t)
		var wakers []shard.Waker
		keep := func(w shard.Waker) { wakers = append(wakers, w) }
		trace := ""
		on(t, s, func(s *shard.Shard) {
			s.Start(func(task *shard.Task) {
				task.Await(keep)
				trace += "a"
				task.Await(keep)
				trace += "b"
			})
		})
		wakers[0].Wake()
		wakers[0].Wake()
		s.Step(clock.Now())
		wakers[0].Wake()
		shard.Waker{}.Wake()
		s.Step(clock.Now())
		if trace != "a" {
			t.Fatal(trace)
		}
		wakers[1].Wake()
		s.Step(clock.Now())
		// The coroutine now serves another procedure; the old names do not reach it.
		on(t, s, func(s *shard.Shard) {
			s.Start(func(task *shard.Task) { task.Await(keep); trace += "c" })
		})
		wakers[0].Wake()
		wakers[1].Wake()
		s.Step(clock.Now())
		if trace != "ab" || s.Stats().Tasks != 1 {
			t.Fatal(trace, s.Stats())
		}
	})
}

func TestAwaitFor(t *testing.T) {
	s, clock := newShard(t)
	var late, early shard.Waker
	var lateOut, earlyOut bool
	var lateAt time.Duration
	on(t, s, func(s *shard.Shard) {
		s.Start(func(task *shard.Task) {
			lateOut = task.AwaitFor(time.Second, func(w shard.Waker) { late = w })
			lateAt = task.Now()
			task.Await(func(shard.Waker) {})
			t.Error("a late wake woke the next wait")
		})
		s.Start(func(task *shard.Task) {
			earlyOut = task.AwaitFor(time.Second, func(w shard.Waker) { early = w })
			if task.AwaitFor(time.Minute, func(w shard.Waker) { w.Wake() }) {
				t.Error("timed out after a wake within start")
			}
		})
	})
	early.Wake()
	elapse(s, clock, 2*time.Second)
	late.Wake()
	elapse(s, clock, 2*time.Minute)
	if !lateOut || earlyOut || lateAt != time.Second || s.Stats().Timers != 0 || s.Stats().Tasks != 1 {
		t.Fatal(lateOut, earlyOut, lateAt, s.Stats())
	}
}

func TestTasksNest(t *testing.T) {
	s, clock := newShard(t)
	trace := ""
	var inner, outer shard.Waker
	on(t, s, func(s *shard.Shard) {
		s.Start(func(task *shard.Task) {
			trace += "1"
			s.Start(func(task *shard.Task) {
				trace += "2"
				task.Await(func(w shard.Waker) { inner = w })
				trace += "5"
				outer.Wake()
			})
			trace += "3"
			task.Await(func(w shard.Waker) { outer = w })
			trace += "6"
		})
		trace += "4"
	})
	inner.Wake()
	s.Step(clock.Now())
	if trace != "123456" || s.Stats().Tasks != 0 {
		t.Fatal(trace, s.Stats())
	}
}

func TestAwaitOutsideOfItsTask(t *testing.T) {
	var reported []any
	s, _ := newShard(t, func(c *shard.Config) {
		c.OnPanic = func(v any, _ []byte) { reported = append(reported, v) }
	})
	var stray *shard.Task
	on(t, s, func(s *shard.Shard) {
		s.Start(func(task *shard.Task) { stray = task; task.Await(func(shard.Waker) {}) })
	})
	on(t, s, func(s *shard.Shard) { stray.Await(func(shard.Waker) {}) })
	on(t, s, func(s *shard.Shard) {
		s.Start(func(task *shard.Task) {
			task.Await(func(shard.Waker) { task.Await(func(w shard.Waker) { w.Wake() }) })
		})
	})
	if len(reported) != 2 {
		t.Fatal(reported)
	}
}

func TestTaskLimits(t *testing.T) {
	s, clock := newShard(t, func(c *shard.Config) { c.Tasks, c.Spare = 10, 3 })
	goroutines := runtime.NumGoroutine()
	var wakers []shard.Waker
	on(t, s, func(s *shard.Shard) {
		for i := range 12 {
			if s.Start(func(task *shard.Task) { task.Await(func(w shard.Waker) { wakers = append(wakers, w) }) }) != (i < 10) {
				t.Errorf("task %d", i)
			}
		}
	})
	if st := s.Stats(); st.Tasks != 10 || st.Refused != 2 {
		t.Fatalf("%+v", st)
	}
	for _, w := range wakers {
		w.Wake()
	}
	s.Step(clock.Now())
	if st := s.Stats(); st.Tasks != 0 {
		t.Fatalf("%+v", st)
	}
	if kept := runtime.NumGoroutine() - goroutines; kept != 3 {
		t.Fatalf("%d coroutines kept, want 3", kept)
	}
}

func TestTaskPanics(t *testing.T) {
	var stack string
	s, clock := newShard(t, func(c *shard.Config) {
		c.OnPanic = func(v any, b []byte) { stack = string(b) }
	})
	var w shard.Waker
	after := false
	on(t, s, func(s *shard.Shard) {
		s.Start(func(task *shard.Task) {
			task.Await(func(x shard.Waker) { w = x })
			guilty()
		})
	})
	w.Wake()
	s.Step(clock.Now())
	on(t, s, func(s *shard.Shard) { s.Start(func(*shard.Task) { after = true }) })
	if st := s.Stats(); !strings.Contains(stack, "shard_test.guilty") || !after || st.Panics != 1 || st.Tasks != 0 {
		t.Fatal(stack, after, st)
	}
	if err := s.Call(t.Context(), func(*shard.Task) { guilty() }); err != shard.ErrPanicked {
		t.Fatal(err)
	}
}

func TestTaskGoexit(t *testing.T) {
	s, _ := newShard(t)
	done := make(chan bool)
	go func() {
		defer close(done)
		s.Exec(shard.EventFunc(func(s *shard.Shard) {
			s.Start(func(*shard.Task) { runtime.Goexit() })
		}))
	}()
	<-done
	ran := false
	on(t, s, func(s *shard.Shard) { s.Start(func(*shard.Task) { ran = true }) })
	if st := s.Stats(); !ran || st.Tasks != 0 {
		t.Fatal(ran, st)
	}
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newShard(t, realTime, func(c *shard.Config) { c.Tasks = 1 })
		running(t, s)
		start := time.Now()
		err := s.Call(t.Context(), func(task *shard.Task) {
			task.AwaitFor(time.Second, func(shard.Waker) {})
		})
		if err != nil || time.Since(start) < time.Second {
			t.Error(err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := false
		err = s.Call(ctx, func(task *shard.Task) {
			task.AwaitFor(2*time.Second, func(shard.Waker) {})
			gone = true
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := s.Call(t.Context(), func(*shard.Task) {}); err != shard.ErrFull {
			t.Error(err)
		}
		time.Sleep(2 * time.Second) // fake time of the bubble
		if err := s.Call(t.Context(), func(*shard.Task) {
			if !gone {
				t.Error("the procedure did not go on without its caller")
			}
		}); err != nil {
			t.Error(err)
		}
	})
}

// procedure is what rooms write on hot paths: a pooled object that is event and procedure at once.
type procedure struct {
	waker shard.Waker
	ends  int
}

func (p *procedure) Run(s *shard.Shard) { s.Begin(p) }
func (p *procedure) Proceed(t *shard.Task) {
	t.Await(func(w shard.Waker) { p.waker = w })
	t.AwaitFor(time.Minute, func(w shard.Waker) { p.waker = w })
	p.ends++
}

type nothing struct{ n int }

func (e *nothing) Run(*shard.Shard) { e.n++ }

func TestNoAllocations(t *testing.T) {
	s, clock := newShard(t)
	p, e, timer := &procedure{}, &nothing{}, &shard.Timer{}
	arm := &armer{timer: timer, event: e}
	for name, f := range map[string]func(){
		"exec": func() { s.Exec(e) },
		"post": func() { s.Post(e); s.Step(clock.Now()) },
		"task": func() {
			s.Exec(p)
			p.waker.Wake()
			s.Step(clock.Now())
			p.waker.Wake()
			s.Step(clock.Now())
		},
		"timer": func() {
			s.Exec(arm)
			s.Step(clock.Advance(time.Second))
		},
		"idle": func() { s.Exec((*idler)(e)) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if p.ends < 1000 || e.n < 4000 {
		t.Fatal(p.ends, e.n)
	}
}

type armer struct {
	timer *shard.Timer
	event shard.Event
}

func (a *armer) Run(s *shard.Shard) {
	s.Arm(a.timer, time.Minute, a.event)
	s.Disarm(a.timer)
	s.Arm(a.timer, 500*time.Millisecond, a.event)
}

type idler nothing

func (e *idler) Run(s *shard.Shard) { s.OnIdle((*nothing)(e)) }
