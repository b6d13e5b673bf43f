package clientims

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/secagree"
)

// TestDrop: an address that does not heed thousands of refusals is dropped in the kernel, once for as long as it is; one that has registered, and one
// that heeds them, is not.
func TestDrop(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	b.door.budgets = newBudgets(Budgets{Source: budget.Rate{Limit: 1, Per: time.Second, Burst: 10}, DropAfter: budget.Rate{Limit: 1, Per: time.Second, Burst: 100}, Places: 256})
	var dropped []netip.Addr
	b.door.ports.Drop = func(a netip.Addr, connections bool) {
		if connections {
			t.Errorf("datagrams of %v cost it its connections", a)
		}
		dropped = append(dropped, a)
	}
	flood := func(p *phone, times int) {
		for range times {
			p.sendClear("OPTIONS", "X: y")
		}
	}
	alice, mallory, carol := b.phone("alice", "203.0.113.7"), b.phone("mallory", "198.51.100.9"), b.phone("carol", "198.51.100.10")
	alice.register()
	flood(alice, 500)
	flood(carol, 100)
	flood(mallory, 500)
	if !slices.Equal(dropped, []netip.Addr{netip.MustParseAddr("198.51.100.9")}) || b.door.Budgets().Outcasts.Load() != 1 {
		t.Fatalf("dropped: %v", dropped)
	}
	b.clock.Advance(time.Minute + time.Second)
	flood(mallory, 500)
	if len(dropped) != 2 {
		t.Errorf("after its time dropped %d times, want twice", len(dropped))
	}
	dropped = nil
	b.door.ports.Drop = func(a netip.Addr, connections bool) {
		if !connections {
			t.Errorf("connections of %v cost it its datagrams", a)
		}
		dropped = append(dropped, a)
	}
	for range 1000 {
		b.door.Admits(netip.MustParseAddrPort("192.0.2.77:40000"))
	}
	if !slices.Equal(dropped, []netip.Addr{netip.MustParseAddr("192.0.2.77")}) {
		t.Errorf("dropped for its connections: %v", dropped)
	}
}
