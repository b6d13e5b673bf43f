package shard_test

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/proto/shard"
)

// BenchmarkExecInline is an event that finds the shard idle, as nearly every packet does.
func BenchmarkExecInline(b *testing.B) {
	s, _ := newShard(b, realTime)
	e := &nothing{}
	b.ReportAllocs()
	for b.Loop() {
		s.Exec(e)
	}
	if e.n == 0 || s.Stats().Queued > 0 {
		b.Fatal(e.n, s.Stats())
	}
}

// batch brings n events from inside, so all of them go through the inbox.
type batch struct {
	n     int
	event shard.Event
}

func (x *batch) Run(s *shard.Shard) {
	for range x.n {
		s.Exec(x.event)
	}
}

// BenchmarkExecQueued is an event that finds the shard busy and is taken by the goroutine inside.
func BenchmarkExecQueued(b *testing.B) {
	s, _ := newShard(b, realTime)
	x := &batch{n: 1000, event: &nothing{}}
	b.ReportAllocs()
	for i := 0; i < b.N; i += x.n {
		s.Exec(x)
	}
}

// BenchmarkExecContended is Exec from all processors at once.
func BenchmarkExecContended(b *testing.B) {
	s, _ := newShard(b, realTime)
	running(b, s)
	e := &nothing{}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for !s.Exec(e) {
				runtime.Gosched()
			}
		}
	})
	st := s.Stats()
	b.ReportMetric(float64(st.Queued)/float64(st.Queued+st.Inline), "queued/op")
	b.ReportMetric(float64(st.Refused)/float64(b.N), "refused/op")
}

// BenchmarkPostAcrossThreads is what Exec saves: the event is handed to the sleeping Run goroutine. It comes
// after a pause, as packets do; then the other thread sleeps in the kernel. The figures are the time from Post
// to the beginning of the event; ns/op includes the pause and means nothing.
func BenchmarkPostAcrossThreads(b *testing.B) {
	s, _ := newShard(b, realTime)
	running(b, s)
	e := &arrival{}
	var all []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); {
		}
		e.at.Store(0)
		e.since = time.Now()
		s.Post(e)
		for e.at.Load() == 0 {
		}
		all = append(all, time.Duration(e.at.Load()))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/10]), "p10-ns")
	b.ReportMetric(float64(all[len(all)/2]), "median-ns")
}

type arrival struct {
	since time.Time
	at    atomic.Int64
}

func (e *arrival) Run(*shard.Shard) { e.at.Store(int64(time.Since(e.since))) }

// quick is a procedure that does not wait.
type quick struct{ n int }

func (p *quick) Run(s *shard.Shard)    { s.Begin(p) }
func (p *quick) Proceed(t *shard.Task) { p.n++ }

// BenchmarkTaskWithoutWait is an event that runs as a task: what a coroutine costs when it is not needed.
func BenchmarkTaskWithoutWait(b *testing.B) {
	s, _ := newShard(b, realTime)
	p := &quick{}
	b.ReportAllocs()
	for b.Loop() {
		s.Exec(p)
	}
}

// parker waits once for a wake that comes on the shard.
type parker struct{ waker shard.Waker }

func (p *parker) Run(s *shard.Shard)    { s.Begin(p) }
func (p *parker) Proceed(t *shard.Task) { t.Await(func(w shard.Waker) { p.waker = w }) }

type waking struct{ p *parker }

func (e *waking) Run(s *shard.Shard) { e.p.waker.Wake() }

// BenchmarkTaskParkWake is two events: the first starts a task that parks, the second wakes it and it ends.
func BenchmarkTaskParkWake(b *testing.B) {
	s, _ := newShard(b, realTime)
	p := &parker{}
	e := &waking{p}
	b.ReportAllocs()
	for b.Loop() {
		s.Exec(p)
		s.Exec(e)
	}
	if st := s.Stats(); st.Tasks != 0 {
		b.Fatal(st)
	}
}

// BenchmarkTaskParkWakeLimit is the same with AwaitFor.
func BenchmarkTaskParkWakeLimit(b *testing.B) {
	s, _ := newShard(b, realTime)
	p := &limited{}
	e := &waking{&p.parker}
	b.ReportAllocs()
	for b.Loop() {
		s.Exec(p)
		s.Exec(e)
	}
}

type limited struct{ parker }

func (p *limited) Run(s *shard.Shard) { s.Begin(p) }
func (p *limited) Proceed(t *shard.Task) {
	t.AwaitFor(5*time.Second, func(w shard.Waker) { p.waker = w })
}

// BenchmarkTaskParked is the memory of a parked task: coroutine, stack and Task.
func BenchmarkTaskParked(b *testing.B) {
	const crowd = 10_000
	for b.Loop() {
		s, _ := newShard(b)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		on(b, s, func(s *shard.Shard) {
			for range crowd {
				s.Start(func(t *shard.Task) { t.Await(func(shard.Waker) {}) })
			}
		})
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/crowd, "B/task")
		s.Close()
	}
}

// onShard runs a whole benchmark loop as one event, so that only what happens inside is measured.
func onShard(b *testing.B, s *shard.Shard, f func(s *shard.Shard)) {
	b.Helper()
	b.ReportAllocs()
	on(b, s, f)
}

func BenchmarkTimerArmDisarm(b *testing.B) {
	s, _ := newShard(b)
	var t shard.Timer
	e := &nothing{}
	onShard(b, s, func(s *shard.Shard) {
		for b.Loop() {
			s.Arm(&t, 32*time.Second, e)
			s.Disarm(&t)
		}
	})
}

// crowd arms a million timers from 32 s to one hour.
func crowd(s *shard.Shard, e shard.Event) []shard.Timer {
	timers := make([]shard.Timer, 1_000_000)
	for i := range timers {
		s.Arm(&timers[i], 32*time.Second+time.Duration(i%3568)*time.Second, e)
	}
	return timers
}

// BenchmarkTimerRearmAmongMillion moves one of a million live timers; nothing of it is in the cache.
func BenchmarkTimerRearmAmongMillion(b *testing.B) {
	s, _ := newShard(b)
	e := &nothing{}
	var timers []shard.Timer
	on(b, s, func(s *shard.Shard) { timers = crowd(s, e) })
	onShard(b, s, func(s *shard.Shard) {
		i := uint64(0)
		for b.Loop() {
			i = i*6364136223846793005 + 1442695040888963407
			s.Arm(&timers[i>>40%1_000_000], 32*time.Second+time.Duration(i>>50)*time.Millisecond, e)
		}
	})
}

// BenchmarkTimerMillionFire is a million timers armed, moved through the levels and fired over one hour in
// steps of a tick; per timer, and the longest single step.
func BenchmarkTimerMillionFire(b *testing.B) {
	for b.Loop() {
		s, clock := newShard(b)
		e := &nothing{}
		start := time.Now()
		on(b, s, func(s *shard.Shard) { crowd(s, e) })
		var longest time.Duration
		for clock.Now() < time.Hour+time.Second {
			began := time.Now()
			s.Step(clock.Advance(10 * time.Millisecond))
			longest = max(longest, time.Since(began))
		}
		if e.n != 1_000_000 {
			b.Fatal(e.n)
		}
		b.ReportMetric(float64(time.Since(start))/1e6, "ns/timer")
		b.ReportMetric(float64(longest.Microseconds()), "longest-us")
	}
}

func BenchmarkSeal(b *testing.B) {
	x := shard.NewSealer(shard.SealingKey{1})
	buf := make([]byte, 0, shard.TokenSize)
	b.ReportAllocs()
	for b.Loop() {
		buf = x.Seal(buf[:0], 'v', somePlace)
	}
}

func BenchmarkOpen(b *testing.B) {
	x := shard.NewSealer(shard.SealingKey{1})
	token := x.Seal(nil, 'v', somePlace)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := x.Open('v', token); !ok {
			b.Fatal("does not open")
		}
	}
}

// BenchmarkOpenForged is a refusal after both keys.
func BenchmarkOpenForged(b *testing.B) {
	x := shard.NewSealer(shard.SealingKey{1})
	token := shard.NewSealer(shard.SealingKey{2}).Seal(nil, 'v', somePlace)
	x.Rotate(shard.SealingKey{3})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := x.Open('v', token); ok {
			b.Fatal("opens")
		}
	}
}

func BenchmarkSlotsGet(b *testing.B) {
	var slots shard.Slots[[64]byte]
	var gens [4096]uint16
	for range gens {
		_, slot, gen, _ := slots.Take()
		gens[slot] = gen
	}
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i += 1021
		if _, ok := slots.Get(i%4096, gens[i%4096]); !ok {
			b.Fatal("lost")
		}
	}
}

func BenchmarkSlotsTakeRelease(b *testing.B) {
	var slots shard.Slots[[64]byte]
	for range 1000 {
		slots.Take()
	}
	b.ReportAllocs()
	for b.Loop() {
		_, slot, gen, _ := slots.Take()
		slots.Release(slot, gen)
	}
}
