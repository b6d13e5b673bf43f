package pcscf

import (
	"fmt"
	"testing"
	"time"
)

func TestSpend(t *testing.T) {
	s := newBudgets(Budget{Calls: 6, Messages: 60})
	now := time.Hour
	for i := range 6 {
		if wait := s.spend("alice", kindCall, now); wait != 0 {
			t.Fatalf("call %d waits for %v", i, wait)
		}
	}
	if wait := s.spend("alice", kindCall, now); wait != 10*time.Second {
		t.Errorf("the seventh waits for %v", wait)
	}
	if s.spend("bob", kindCall, now) != 0 || s.spend("alice", kindMessage, now) != 0 || s.spend("alice", kindOther, now) != 0 {
		t.Error("another user, another kind and what has no bound wait as well")
	}
	if wait := s.spend("alice", kindCall, now+4*time.Second); wait != 6*time.Second {
		t.Errorf("a refusal has cost something: %v", wait)
	}
	if s.spend("alice", kindCall, now+10*time.Second) != 0 || s.spend("alice", kindCall, now+10*time.Second) == 0 {
		t.Error("after ten seconds there is one, and no more")
	}
	if used := testing.AllocsPerRun(100, func() { s.spend("alice", kindMessage, now) }); used != 0 {
		t.Errorf("%v allocations", used)
	}
}

// TestSpend_of_many: others do not give back to a user what he has spent.
func TestSpend_of_many(t *testing.T) {
	s := newBudgets(Budget{Calls: 2})
	s.spend("mallory", kindCall, 0)
	s.spend("mallory", kindCall, 0)
	for i := range budgetSets {
		s.spend(fmt.Sprint(i), kindCall, time.Second)
	}
	if s.spend("mallory", kindCall, time.Second) == 0 {
		t.Error("mallory begins anew")
	}
}

func BenchmarkSpend(b *testing.B) {
	s := newBudgets(Budget{Messages: 1 << 30})
	b.ReportAllocs()
	var now time.Duration
	for b.Loop() {
		now++
		s.spend("alice@ims.mnc001.mcc001.3gppnetwork.org", kindMessage, now)
	}
}
