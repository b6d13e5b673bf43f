package spine

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// window is how many clients are at work at the same moment: enough that the node is never idle.
const window = 64

// measure lets scenario run b.N times, by many clients at once, and reports what it cost the node.
func measure(b *testing.B, clients []*client, s *server, scenario func(c *client, turn int) bool) {
	b.Helper()
	defer s.profiles(b, "")()
	objects, octets := s.allocations(b)
	before, began := s.cpu(b), time.Now()
	b.ResetTimer()
	failed := drive(clients, b.N, scenario)
	b.StopTimer()
	b.ReportMetric(float64((s.cpu(b)-before).Microseconds())/float64(b.N), "us-cpu/op")
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "op/s")
	objectsAfter, octetsAfter := s.allocations(b)
	b.ReportMetric(float64(objectsAfter-objects)/float64(b.N), "node-allocs/op")
	b.ReportMetric(float64(octetsAfter-octets)/float64(b.N), "node-B/op")
	if failed > 0 {
		b.Errorf("%d of %d failed", failed, b.N)
	}
}

// drive lets scenario run n times, by all clients at once, and returns how often it failed.
func drive(clients []*client, n int, scenario func(c *client, turn int) bool) int64 {
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for turn := next.Add(1); turn <= int64(n); turn = next.Add(1) {
				if !scenario(c, int(turn)) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	return failed.Load()
}

func crew(b testing.TB, s *server, first, n int) []*client { return crewOf(b, s, first, n, newClient) }

func crewOf(b testing.TB, s *server, first, n int, make func(testing.TB, *server, int) *client) []*client {
	b.Helper()
	pin(1)
	var all []*client
	for i := range n {
		all = append(all, make(b, s, first+i))
	}
	return all
}

// BenchmarkRegister is P1: AKA registration through P-, I-, S-CSCF and HSS in one process, durable, lab-udp.
func BenchmarkRegister(b *testing.B) {
	s := start(b)
	clients := crew(b, s, 0, window)
	measure(b, clients, s, func(c *client, _ int) bool { return c.register() })
}

// BenchmarkRefresh is the first half of P4: a registration refreshed without a challenge, durable, over TLS connections that are open.
func BenchmarkRefresh(b *testing.B) {
	s := start(b)
	clients := crewOf(b, s, users/2, window, newTLSClient)
	for _, c := range clients {
		if !c.register() {
			b.FailNow()
		}
	}
	measure(b, clients, s, func(c *client, _ int) bool { return c.refresh() })
}

// BenchmarkCallTwoShards is the call on two shards and two processors, and how many of the packets had to go from one shard
// to the other: the kernel spreads clients over the sockets, a call belongs to the caller's shard, so answers of a callee
// on the other socket cross once.
func BenchmarkCallTwoShards(b *testing.B) {
	s := start(b, childShards+"=2")
	callers, all := pairs(b, s)
	var p0, f0, p1, f1 float64
	fmt.Sscan(s.ask(b, "handovers", "handovers"), &p0, &f0)
	measure(b, callers, s, func(c *client, turn int) bool { return all[c].call(turn) })
	fmt.Sscan(s.ask(b, "handovers", "handovers"), &p1, &f1)
	b.ReportMetric((f1-f0)/(p1-p0), "handovers/packet")
}

// profiles begins the profiles of the node that are asked for, and returns what ends them. To count what is allocated makes all of it dearer, so nobody
// asks for both.
func (s *server) profiles(b testing.TB, suffix string) (end func()) {
	if file := os.Getenv("IMSAFE_ALLOCATIONS"); file != "" {
		s.ask(b, "count\ncpu", "cpu")
		return func() { s.ask(b, "heap "+file+suffix, "heap") }
	}
	file := os.Getenv("IMSAFE_PROFILE")
	if file == "" {
		return func() {}
	}
	s.ask(b, "profile "+file+suffix+"\ncpu", "cpu")
	return func() { s.ask(b, "stop\ncpu", "cpu") }
}
