package pcscf

import (
	"testing"
	"time"

	"imsafe/proto/shard"
)

// TestEven: an answer to a stranger leaves at a time that is counted from when his request came, whatever it took to make it.
func TestEven(t *testing.T) {
	clock := shard.NewFake(time.Unix(0, 0))
	sh := shard.New(shard.Config{Clock: clock, Tick: time.Millisecond})
	defer sh.Close()
	p := &PCSCF{cfg: Config{Even: 5 * time.Millisecond}, quantum: quantum{least: 5 * time.Millisecond, most: 5 * time.Millisecond}}
	for took, leaves := range map[time.Duration]time.Duration{0: 5, 1: 5, 3: 5, 6: 10, 8: 10, 23: 25} {
		begun, left := clock.Now(), time.Duration(-1)
		sh.Exec(shard.EventFunc(func(s *shard.Shard) {
			s.Start(func(task *shard.Task) {
				task.AwaitFor(took*time.Millisecond, func(shard.Waker) {})
				p.even(task, begun)
				left = clock.Now() - begun
			})
		}))
		for range 60 {
			clock.Advance(time.Millisecond)
			sh.Step(clock.Now())
		}
		if late := left - leaves*time.Millisecond; late < 0 || late > 2*time.Millisecond {
			t.Errorf("an answer that took %d ms left after %v", took, left)
		}
	}
}

// TestQuantum: what one answer needs all wait for from then on, whatever the others need; it ends when nobody has needed it for a window, and failures of the HSS
// change nothing.
func TestQuantum(t *testing.T) {
	const ms = time.Millisecond
	q := quantum{least: 5 * ms, most: 320 * ms}
	for _, step := range []struct{ at, took, quantum time.Duration }{
		{0, 1 * ms, 5 * ms},
		{1, 4 * ms, 10 * ms}, // more than three quarters
		{2, 1 * ms, 10 * ms},
		{3, 46 * ms, 80 * ms}, // somebody has that name
		{4, 36 * ms, 80 * ms},
		{5, 400 * ms, 80 * ms}, // a failure
		{6, 319 * ms, 320 * ms},
		{quantumWindow, 36 * ms, 320 * ms}, // kept for a second window
		{2*quantumWindow + 1, 36 * ms, 80 * ms},
		{2*quantumWindow + 2, 1 * ms, 80 * ms},
		{5 * quantumWindow, 1 * ms, 5 * ms}, // nobody has come for long
	} {
		if got := q.of(step.took, step.at); got != step.quantum {
			t.Errorf("an answer that took %v at %v leaves in quanta of %v, want %v", step.took, step.at, got, step.quantum)
		}
	}
}

// TestQuantum_is_not_lowered: who asks for names that take little, as often as he likes, does not shorten it for those that take long.
func TestQuantum_is_not_lowered(t *testing.T) {
	const ms = time.Millisecond
	q := quantum{least: 5 * ms, most: 320 * ms}
	known := q.of(46*ms, 0)
	for i := range time.Duration(100_000) {
		if unknown := q.of(36*ms, i); unknown != known {
			t.Fatalf("after %d names that nobody has their answers leave in quanta of %v, the first left in one of %v", i, unknown, known)
		}
	}
}
