package shard_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"imsafe/proto/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newShard is a shard in fake time that is closed when the test ends; a panic on it fails the test.
func newShard(t testing.TB, change ...func(*shard.Config)) (*shard.Shard, *shard.Fake) {
	clock := shard.NewFake(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
	c := shard.Config{Clock: clock, OnPanic: func(v any, stack []byte) { t.Errorf("panic on the shard: %v\n%s", v, stack) }}
	for _, f := range change {
		f(&c)
	}
	s := shard.New(c)
	t.Cleanup(s.Close)
	return s, clock
}

// on runs f on the shard and fails if it was refused or queued.
func on(t testing.TB, s *shard.Shard, f func(s *shard.Shard)) {
	t.Helper()
	ran := false
	if !s.Exec(shard.EventFunc(func(s *shard.Shard) { ran = true; f(s) })) || !ran {
		t.Fatal("event did not run")
	}
}

// elapse moves the shard and its clock forward by d, from one due moment to the next.
func elapse(s *shard.Shard, clock *shard.Fake, d time.Duration) {
	end := clock.Now() + d
	for next := s.Step(clock.Now()); next <= end; next = s.Step(next) {
		clock.AdvanceTo(next)
	}
	clock.AdvanceTo(end)
	s.Step(end)
}

// running runs s.Run until the test ends.
func running(t testing.TB, s *shard.Shard) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func realTime(c *shard.Config) { c.Clock = shard.RealClock() }

func TestExec(t *testing.T) {
	t.Run("event brought on the shard waits for the present one", func(t *testing.T) {
		s, _ := newShard(t)
		var trace []string
		note := func(x string) shard.Event {
			return shard.EventFunc(func(*shard.Shard) { trace = append(trace, x) })
		}
		on(t, s, func(s *shard.Shard) {
			s.Exec(note("b"))
			s.Post(note("c"))
			trace = append(trace, "a")
		})
		if got := strings.Join(trace, ""); got != "abc" {
			t.Fatal(got)
		}
		if st := s.Stats(); st.Inline != 1 || st.Queued != 2 {
			t.Fatalf("%+v", st)
		}
	})
	t.Run("posted event waits and is not overtaken", func(t *testing.T) {
		s, _ := newShard(t)
		trace := ""
		s.Post(shard.EventFunc(func(*shard.Shard) { trace += "a" }))
		if trace != "" {
			t.Fatal("Post ran the event")
		}
		s.Exec(shard.EventFunc(func(*shard.Shard) { trace += "b" }))
		if trace != "ab" {
			t.Fatal(trace)
		}
	})
	t.Run("full inbox refuses and recovers", func(t *testing.T) {
		s, _ := newShard(t, func(c *shard.Config) { c.Inbox = 4 })
		n := 0
		count := shard.EventFunc(func(*shard.Shard) { n++ })
		on(t, s, func(s *shard.Shard) {
			for i := range 6 {
				if s.Exec(count) != (i < 4) {
					t.Errorf("event %d", i)
				}
			}
		})
		if n != 4 || s.Stats().Refused != 2 {
			t.Fatal(n, s.Stats())
		}
		for range 4 { // fill it from outside: the visitor makes room for its own event
			s.Post(count)
		}
		if s.Post(count) {
			t.Fatal("fifth accepted")
		}
		if !s.Exec(count) || n != 9 {
			t.Fatal(n)
		}
	})
	t.Run("panic ends the event and is reported with its stack", func(t *testing.T) {
		var value any
		var stack string
		s, _ := newShard(t, func(c *shard.Config) {
			c.OnPanic = func(v any, b []byte) { value, stack = v, string(b) }
		})
		on(t, s, func(*shard.Shard) { guilty() })
		if value != "guilty" || !strings.Contains(stack, "shard_test.guilty") {
			t.Fatal(value, stack)
		}
		on(t, s, func(*shard.Shard) {})
		if st := s.Stats(); st.Panics != 1 || st.Inline != 2 {
			t.Fatalf("%+v", st)
		}
	})
	t.Run("runtime.Goexit in an event frees the shard", func(t *testing.T) {
		s, _ := newShard(t)
		done := make(chan bool)
		go func() {
			defer close(done)
			s.Exec(shard.EventFunc(func(*shard.Shard) { runtime.Goexit() }))
		}()
		<-done
		on(t, s, func(*shard.Shard) {})
	})
}

func guilty() { panic("guilty") }

// TestExecFromManyGoroutines is for the race detector: plain memory, touched on the shard only, from events
// and tasks that any goroutine may come to run.
func TestExecFromManyGoroutines(t *testing.T) {
	const producers, events = 8, 2000
	for _, burst := range []int{1, 1000} {
		t.Run(fmt.Sprintf("burst %d", burst), func(t *testing.T) {
			s, _ := newShard(t, realTime, func(c *shard.Config) { c.Burst, c.Inbox = burst, 64 })
			running(t, s)
			var last [producers]int
			total, tasks := 0, 0
			var outside sync.WaitGroup
			deliver := func(p, i int) shard.Event {
				return shard.EventFunc(func(s *shard.Shard) {
					total++
					if last[p] != i {
						t.Errorf("producer %d: event %d after %d", p, i, last[p])
					}
					last[p]++
					if i%50 == 0 {
						s.Start(func(task *shard.Task) {
							task.Await(func(w shard.Waker) {
								outside.Add(1)
								go func() { defer outside.Done(); w.Wake() }()
							})
							task.AwaitFor(time.Millisecond, func(shard.Waker) {})
							tasks++
						})
					}
				})
			}
			var wg sync.WaitGroup
			for p := range producers {
				wg.Go(func() {
					for i := range events {
						bring := s.Exec
						if i%7 == 0 {
							bring = s.Post
						}
						for e := deliver(p, i); !bring(e); {
							runtime.Gosched()
						}
					}
				})
			}
			wg.Wait()
			outside.Wait()
			want := producers * events
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				var n, k int
				if err := s.Call(t.Context(), func(*shard.Task) { n, k = total, tasks }); err != nil {
					t.Fatal(err)
				}
				if n == want && k == want/50 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d events of %d, %d tasks of %d", n, want, k, want/50)
				}
			}
			if st := s.Stats(); burst == 1 && st.HandedOver == 0 {
				t.Errorf("nothing was left to Run: %+v", st)
			}
		})
	}
}

// TestShardsCallEachOther lets events and tasks of two shards bring work to the other one, from two goroutines:
// they nest, they find the other busy, and nobody waits for anybody.
func TestShardsCallEachOther(t *testing.T) {
	const rounds = 3000
	var shards [2]*shard.Shard
	for i := range shards {
		// Room for everything: a shard that waits for room in the other one would wait for ever.
		shards[i], _ = newShard(t, realTime, func(c *shard.Config) { c.Inbox = 2 * rounds })
		running(t, shards[i])
	}
	var arrived [2]int
	var all sync.WaitGroup
	for i, here := range shards {
		there := shards[1-i]
		all.Add(rounds)
		go func() {
			for range rounds {
				arrive := shard.EventFunc(func(s *shard.Shard) {
					s.Start(func(task *shard.Task) {
						defer all.Done()
						task.Await(func(w shard.Waker) {
							there.Exec(shard.EventFunc(func(*shard.Shard) { arrived[1-i]++; w.Wake() }))
						})
					})
				})
				here.Exec(arrive)
				runtime.Gosched()
			}
		}()
	}
	all.Wait()
	for i, s := range shards {
		if err := s.Call(t.Context(), func(*shard.Task) {
			if arrived[i] != rounds {
				t.Errorf("shard %d: %d", i, arrived[i])
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingIsLost lets work arrive at the very moment when somebody leaves, with nothing behind it that
// would bring it to light: each way of arriving must see to it itself.
func TestNothingIsLost(t *testing.T) {
	s, _ := newShard(t, realTime)
	running(t, s)
	done := make(chan bool, 1)
	var waker shard.Waker
	var timer shard.Timer
	arrived := shard.EventFunc(func(*shard.Shard) { done <- true })
	ways := map[string]func(){
		"post": func() { s.Post(arrived) },
		"exec": func() { s.Exec(arrived) },
		"wake": func() { waker.Wake() },
		"timer": func() {
			s.Exec(shard.EventFunc(func(s *shard.Shard) { s.Arm(&timer, 0, arrived) }))
		},
	}
	for name, arrive := range ways {
		rounds := 3000
		if name == "timer" {
			rounds = 30 // each takes a tick
		}
		for i := range rounds {
			if name == "wake" {
				parked := make(chan bool)
				s.Exec(shard.EventFunc(func(s *shard.Shard) {
					s.Start(func(task *shard.Task) {
						task.Await(func(w shard.Waker) { waker = w; close(parked) })
						done <- true
					})
				}))
				<-parked
			}
			left := make(chan bool)
			go func() {
				defer close(left)
				spin := 0
				s.Exec(shard.EventFunc(func(*shard.Shard) {
					for range i % 100 * 10 {
						spin++
					}
				}))
			}()
			arrive()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatalf("%s: lost in round %d, %+v", name, i, s.Stats())
			}
			<-left
		}
	}
}

func TestPostWakesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newShard(t, realTime)
		running(t, s)
		synctest.Wait()
		var ran atomic.Bool
		s.Post(shard.EventFunc(func(*shard.Shard) { ran.Store(true) }))
		synctest.Wait()
		if !ran.Load() {
			t.Fatal("Run sleeps")
		}
	})
}

func TestRunTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newShard(t, realTime)
		running(t, s)
		synctest.Wait() // asleep, nothing armed
		start := time.Now()
		fired := make(chan time.Duration, 2)
		var long, short shard.Timer
		note := shard.EventFunc(func(*shard.Shard) { fired <- time.Since(start) })
		on(t, s, func(s *shard.Shard) { s.Arm(&long, time.Hour, note) })
		synctest.Wait()
		on(t, s, func(s *shard.Shard) { s.Arm(&short, 500*time.Millisecond, note) }) // earlier than Run thought
		for _, want := range []time.Duration{500 * time.Millisecond, time.Hour} {
			if got := <-fired; got < want || got > want+10*time.Millisecond {
				t.Errorf("fired after %v, want %v", got, want)
			}
		}
	})
}

func TestOnIdle(t *testing.T) {
	s, clock := newShard(t, func(c *shard.Config) { c.Burst = 4 })
	var trace []string
	note := func(x string) shard.Event {
		return shard.EventFunc(func(*shard.Shard) { trace = append(trace, x) })
	}
	check := func(want string) {
		t.Helper()
		if got := strings.Join(trace, " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		trace = nil
	}
	flush := note("flush")
	on(t, s, func(s *shard.Shard) {
		s.OnIdle(flush)
		s.Exec(note("a"))
		s.OnIdle(flush)
		s.Start(func(task *shard.Task) {
			task.Await(func(w shard.Waker) { s.Exec(shard.EventFunc(func(*shard.Shard) { w.Wake() })) })
			trace = append(trace, "task")
		})
	})
	check("a task flush")
	on(t, s, func(*shard.Shard) {})
	check("")
	// Under load nothing is idle, but after a burst it is time.
	on(t, s, func(s *shard.Shard) {
		s.OnIdle(flush)
		for i := range 6 {
			s.Exec(note(fmt.Sprint(i)))
		}
	})
	check("0 1 2 3 flush 4 5")
	// What a flush causes is flushed before the shard goes idle; what asks for itself waits for the next visit.
	var again shard.Event
	again = shard.EventFunc(func(s *shard.Shard) {
		trace = append(trace, "again")
		s.OnIdle(again)
		s.OnIdle(flush)
	})
	on(t, s, func(s *shard.Shard) { s.OnIdle(again) })
	check("again flush")
	s.Step(clock.Now())
	check("again flush")
}

// TestSameRun drives a shard with random events, tasks and timers twice and compares what happened.
func TestSameRun(t *testing.T) {
	run := func(seed uint64) (trace []string) {
		s, clock := newShard(t)
		random := seed
		next := func(n uint64) uint64 {
			random = random*6364136223846793005 + 1442695040888963407
			return random >> 33 % n
		}
		var wakers []shard.Waker
		var timers [8]shard.Timer
		for step := range 400 {
			id := fmt.Sprint(step)
			on(t, s, func(s *shard.Shard) {
				switch next(4) {
				case 0:
					s.Start(func(task *shard.Task) {
						late := task.AwaitFor(time.Duration(next(3000))*time.Millisecond, func(w shard.Waker) { wakers = append(wakers, w) })
						trace = append(trace, fmt.Sprint(id, late, task.Now()))
					})
				case 1:
					s.Arm(&timers[next(8)], time.Duration(next(100_000))*time.Millisecond, shard.EventFunc(func(s *shard.Shard) {
						trace = append(trace, fmt.Sprint("timer", id, s.Now()))
					}))
				case 2:
					s.Disarm(&timers[next(8)])
				case 3:
					for range min(len(wakers), 3) {
						wakers[next(uint64(len(wakers)))].Wake()
					}
				}
			})
			elapse(s, clock, time.Duration(next(200))*time.Millisecond)
		}
		elapse(s, clock, time.Hour)
		return trace
	}
	a, b := run(1), run(1)
	if !slices.Equal(a, b) || len(a) < 50 {
		t.Fatalf("%d and %d entries, or different", len(a), len(b))
	}
	if slices.Equal(a, run(2)) {
		t.Fatal("the seed has no influence")
	}
}

func TestClose(t *testing.T) {
	t.Run("parked tasks unwind and their deferred calls run", func(t *testing.T) {
		s, _ := newShard(t)
		trace := ""
		on(t, s, func(s *shard.Shard) {
			s.Start(func(task *shard.Task) {
				defer func() { trace += "outer" }()
				defer func() {
					task.Await(func(shard.Waker) { t.Error("Await starts something") })
				}()
				task.AwaitFor(time.Hour, func(shard.Waker) {})
				t.Error("went on")
			})
		})
		s.Close()
		s.Close()
		if st := s.Stats(); trace != "outer" || st.Tasks != 0 || st.Panics != 0 {
			t.Fatal(trace, st)
		}
		if s.Exec(shard.EventFunc(func(*shard.Shard) {})) || s.Post(shard.EventFunc(func(*shard.Shard) {})) {
			t.Fatal("accepted an event")
		}
		if err := s.Call(t.Context(), func(*shard.Task) {}); err != shard.ErrClosed {
			t.Fatal(err)
		}
	})
	t.Run("accepted events still run", func(t *testing.T) {
		s, _ := newShard(t)
		n := 0
		for range 1000 {
			s.Post(shard.EventFunc(func(*shard.Shard) { n++ }))
		}
		s.Close()
		if n != 1000 {
			t.Fatal(n)
		}
	})
	t.Run("while somebody is inside", func(t *testing.T) {
		s, _ := newShard(t)
		inside, leave := make(chan bool), make(chan bool)
		go s.Exec(shard.EventFunc(func(*shard.Shard) { inside <- true; <-leave }))
		<-inside
		closed := make(chan bool)
		go func() { s.Close(); close(closed) }()
		select {
		case <-closed:
			t.Fatal("Close did not wait")
		case leave <- true:
		}
		<-closed
	})
	t.Run("Run returns and callers are told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := newShard(t, realTime)
			ended := make(chan error, 2)
			go func() { ended <- s.Run(context.Background()) }()
			go func() {
				ended <- s.Call(context.Background(), func(task *shard.Task) { task.Await(func(shard.Waker) {}) })
			}()
			synctest.Wait()
			s.Close()
			a, b := <-ended, <-ended
			if a == nil {
				a, b = b, a
			}
			if a != shard.ErrClosed || b != nil {
				t.Fatal(a, b)
			}
		})
	})
}
