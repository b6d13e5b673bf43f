package budget_test

import (
	"net/netip"
	"testing"
	"time"

	"imsafe/proto/budget"
)

var perSource = budget.Rate{Limit: 20, Per: time.Second, Burst: 100}

// addresses of very many sources.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// BenchmarkTake is the check of one datagram: the key of its source, and its bucket.
func BenchmarkTake(b *testing.B) {
	for name, mask := range map[string]int{"one source": 0, "a million sources": 1<<20 - 1} {
		b.Run(name, func(b *testing.B) {
			table, keys := budget.NewTable(perSource, 1<<16), budget.NewKeys()
			b.ReportAllocs()
			for i := range b.N {
				table.Take(keys.Source(address(i*7919&mask)), time.Duration(i)*20*time.Microsecond)
			}
		})
	}
}

func BenchmarkBucket(b *testing.B) {
	bucket := budget.NewBucket(perSource)
	b.ReportAllocs()
	for i := range b.N {
		bucket.Take(time.Duration(i) * 20 * time.Microsecond)
	}
}

func TestAllocations(t *testing.T) {
	table, recent, keys, n := budget.NewTable(perSource, 1<<10), budget.NewRecent(1<<10), budget.NewKeys(), 0
	got := testing.AllocsPerRun(1000, func() {
		n++
		k := keys.Source(address(n))
		table.Take(k, time.Duration(n))
		table.Take(keys.And(keys.Network(address(n)), []byte("user@ims.example")), time.Duration(n))
		recent.Add(k, time.Hour)
		recent.Take(k, 0)
	})
	if got != 0 {
		t.Errorf("%v allocations for each check", got)
	}
}
