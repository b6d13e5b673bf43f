package shard_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"imsafe/proto/shard"
)

// TestTimersAreAList compares the wheel with a plain list under random arming, disarming and jumps in time,
// over every level: next tick, this round, next round, far rounds, beyond the far level.
func TestTimersAreAList(t *testing.T) {
	const tick = 10 * time.Millisecond
	type entry struct {
		timer shard.Timer
		armed bool
		at    time.Duration
		fired int
		want  int
	}
	rapid.Check(t, func(rt *rapid.T) {
		s, clock := newShard(t)
		defer s.Close()
		list := make([]entry, 40)
		events := make([]shard.Event, len(list))
		for i := range list {
			events[i] = shard.EventFunc(func(s *shard.Shard) {
				e := &list[i]
				if !e.armed || s.Now() < e.at || s.Now() >= e.at+tick {
					rt.Fatalf("timer %d fired at %v, wanted %v (armed %v)", i, s.Now(), e.at, e.armed)
				}
				e.armed, e.fired = false, e.fired+1
			})
		}
		delay := rapid.OneOf(
			rapid.Int64Range(-5, 30), rapid.Int64Range(0, 60_000), rapid.Int64Range(0, 4_000_000),
			rapid.Int64Range(0, 400_000_000), rapid.Just(int64(40_960)), rapid.Just(int64(81_920)),
		)
		rt.Repeat(map[string]func(*rapid.T){
			"arm": func(rt *rapid.T) {
				e, i := (*entry)(nil), rapid.IntRange(0, len(list)-1).Draw(rt, "timer")
				e = &list[i]
				d := time.Duration(delay.Draw(rt, "ms")) * time.Millisecond
				if !e.armed {
					e.want++
				}
				// Not before the next tick: the present one has fired.
				e.armed, e.at = true, max(clock.Now()+d, (clock.Now()/tick+1)*tick)
				on(t, s, func(s *shard.Shard) { s.Arm(&e.timer, d, events[i]) })
			},
			"disarm": func(rt *rapid.T) {
				e := &list[rapid.IntRange(0, len(list)-1).Draw(rt, "timer")]
				if e.armed {
					e.want--
				}
				e.armed = false
				on(t, s, func(s *shard.Shard) { s.Disarm(&e.timer) })
			},
			"wait": func(rt *rapid.T) {
				elapse(s, clock, max(0, time.Duration(delay.Draw(rt, "ms"))*time.Millisecond))
			},
			"": func(rt *rapid.T) {
				armed := 0
				for i := range list {
					e := &list[i]
					if e.armed {
						armed++
						if e.at+tick <= clock.Now() {
							rt.Fatalf("timer %d of %v did not fire until %v", i, e.at, clock.Now())
						}
					}
					if e.armed != e.timer.Armed() {
						rt.Fatalf("timer %d: Armed %v", i, e.timer.Armed())
					}
				}
				if s.Step(clock.Now()); s.Stats().Timers != armed {
					rt.Fatalf("%d timers, want %d", s.Stats().Timers, armed)
				}
			},
		})
		elapse(s, clock, 400_001*time.Second)
		for i := range list {
			if e := &list[i]; e.fired != e.want {
				rt.Fatalf("timer %d fired %d times, want %d", i, e.fired, e.want)
			}
		}
	})
}

func TestTimers(t *testing.T) {
	t.Run("the event of a timer may touch its neighbours", func(t *testing.T) {
		s, clock := newShard(t)
		var a, b, c shard.Timer
		trace := ""
		note := func(x string) shard.Event { return shard.EventFunc(func(*shard.Shard) { trace += x }) }
		on(t, s, func(s *shard.Shard) {
			s.Arm(&a, time.Second, shard.EventFunc(func(s *shard.Shard) {
				trace += "a"
				s.Disarm(&b)
				s.Arm(&a, time.Second, note("A"))
			}))
			s.Arm(&b, time.Second, note("b"))
			s.Arm(&c, time.Second, note("c"))
		})
		elapse(s, clock, 3*time.Second)
		if trace != "acA" {
			t.Fatal(trace)
		}
	})
	t.Run("a long sleep fires in order of time", func(t *testing.T) {
		s, clock := newShard(t)
		trace := ""
		timers := make([]shard.Timer, 3)
		on(t, s, func(s *shard.Shard) {
			for i, d := range []time.Duration{5 * time.Hour, time.Hour, 32 * time.Second} {
				s.Arm(&timers[i], d, shard.EventFunc(func(*shard.Shard) { trace += d.String() + " " }))
			}
		})
		s.Step(clock.Advance(24 * time.Hour))
		if trace != "32s 1h0m0s 5h0m0s " {
			t.Fatal(trace)
		}
	})
	t.Run("the farthest future does not overflow", func(t *testing.T) {
		s, clock := newShard(t)
		var timer shard.Timer
		on(t, s, func(s *shard.Shard) {
			s.Arm(&timer, shard.Never, shard.EventFunc(func(*shard.Shard) { t.Error("fired") }))
		})
		elapse(s, clock, 1000*time.Hour)
		if !timer.Armed() {
			t.Fatal("lost")
		}
	})
	t.Run("many due at once let others in between", func(t *testing.T) {
		s, clock := newShard(t, func(c *shard.Config) { c.Burst = 10 })
		timers := make([]shard.Timer, 100)
		fired, seen := 0, 0
		on(t, s, func(s *shard.Shard) {
			for i := range timers {
				s.Arm(&timers[i], time.Second, shard.EventFunc(func(s *shard.Shard) {
					if fired++; fired == 1 {
						s.OnIdle(shard.EventFunc(func(*shard.Shard) { seen = fired }))
					}
				}))
			}
		})
		s.Step(clock.Advance(time.Second))
		if fired != 100 || seen != 10 {
			t.Fatal(fired, seen)
		}
	})
	t.Run("a crowd moves near a few at a time", func(t *testing.T) {
		s, clock := newShard(t)
		const crowd = 20_000
		timers := make([]shard.Timer, crowd)
		fired := 0
		count := shard.EventFunc(func(*shard.Shard) { fired++ })
		on(t, s, func(s *shard.Shard) {
			for i := range timers {
				s.Arm(&timers[i], 100*time.Second+time.Duration(i)*time.Millisecond/2, count)
			}
		})
		elapse(s, clock, 105*time.Second)
		if want := 10_001; fired != want {
			t.Fatalf("%d fired, want %d", fired, want)
		}
		elapse(s, clock, 5*time.Second)
		if fired != crowd {
			t.Fatal(fired)
		}
	})
}

func TestFake(t *testing.T) {
	start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	f := shard.NewFake(start)
	f.Advance(time.Second)
	f.AdvanceTo(500 * time.Millisecond)
	f.JumpWall(-time.Hour)
	if f.Now() != time.Second || !f.Wall().Equal(start.Add(time.Second-time.Hour)) {
		t.Fatal(f.Now(), f.Wall())
	}
}
