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
	p := &PCSCF{cfg: Config{Even: 5 * time.Millisecond}}
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
