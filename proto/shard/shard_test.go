package shard_test

import (
	"testing"
	"time"

	"imsafe/proto/shard"
)

func TestSmoke(t *testing.T) {
	clock := shard.NewFake(time.Unix(0, 0))
	s := shard.New(shard.Config{Clock: clock})
	defer s.Close()
	var w shard.Waker
	trace := ""
	s.Exec(shard.EventFunc(func(s *shard.Shard) {
		s.Start(func(tk *shard.Task) {
			trace += "a"
			tk.Await(func(x shard.Waker) { w = x })
			trace += "b"
			if !tk.AwaitFor(time.Second, func(shard.Waker) {}) {
				t.Error("no timeout")
			}
			trace += "c"
		})
	}))
	w.Wake()
	w.Wake()
	next := s.Step(clock.Now())
	if trace != "ab" || next > time.Second {
		t.Fatal(trace, next)
	}
	for next != shard.Never {
		clock.AdvanceTo(next)
		next = s.Step(next)
	}
	if trace != "abc" || clock.Now() != time.Second {
		t.Fatal(trace, clock.Now())
	}
}
