package spine

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"imsafe/bench/load"
)

const (
	manyUsers = 20_000
	manyRate  = 5_000 // registrations a second
)

// childScheme, not empty, is the scheme of population.
const childScheme = "IMSAFE_BENCH_SCHEME"

// BenchmarkRegisterMany is P2: registrations with a challenge, durable, of 20,000 users with an address each, 5,000 a second that arrive at random. Nothing
// of a user is in the processor's caches when he comes, and the node waits between two bursts: what BenchmarkRegister, with 64 clients, does not see.
func BenchmarkRegisterMany(b *testing.B) {
	for _, scheme := range []string{"MD5", "AKAv1-MD5"} {
		b.Run(scheme, func(b *testing.B) {
			users := population(manyUsers)
			users.Scheme = scheme
			registrations(b, users, "."+scheme, fmt.Sprintf("%s=%d", childRange, manyUsers), childScheme+"="+scheme)
		})
	}
}

// BenchmarkMix is what a scenario of P17 costs, by room: the mix, calls of 100 ms, 2,400 scenarios a second of 20,000 users with an address each.
func BenchmarkMix(b *testing.B) {
	atRate(b, population(manyUsers), load.StandardMix(), 2400, "", fmt.Sprintf("%s=%d", childRange, manyUsers))
}

// registrations offers a node of its own b.N registrations with a challenge of users.
func registrations(b *testing.B, users load.Range, suffix string, env ...string) *load.Report {
	return atRate(b, users, load.Mix{load.Reregistration: 1}, manyRate, suffix, env...)
}

// atRate offers a node of its own b.N scenarios of users, so many a second, reports what they cost it, and writes the profiles that are asked for with the
// suffix.
func atRate(b *testing.B, users load.Range, mix load.Mix, rate int, suffix string, env ...string) *load.Report {
	s := start(b, env...)
	target := &load.Target{Domain: domain, Proxies: []netip.AddrPort{s.address}, Transport: load.UDP, Expires: 7200, Agent: "bench",
		Clients: load.Clients{Addresses: netip.MustParsePrefix("127.64.0.0/10"), FirstPort: uint16(20000 + os.Getpid()%20000), Ports: 1}}
	all, err := users.Subscribers(domain)
	if err != nil {
		b.Fatal(err)
	}
	pin(1)
	g, err := load.Open(target, all, 1, "many")
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	settings := load.Settings{Mix: mix, Rate: float64(rate), Window: 128, PIDs: []int{s.cmd.Process.Pid}, Hold: 100 * time.Millisecond,
		Time: max(time.Duration(b.N)*time.Second/time.Duration(rate), time.Second)}
	if _, err := g.Prepare(b.Context(), &settings); err != nil {
		b.Fatal(err)
	}
	defer s.profiles(b, suffix)()
	b.ResetTimer()
	r, err := g.Run(b.Context(), settings)
	b.StopTimer()
	switch {
	case err != nil:
		b.Fatal(err)
	case len(r.Latencies) == 0:
		b.Fatal("nothing was answered")
	case r.Failed*1000 > r.Offered:
		b.Errorf("%d of %d failed: %v", r.Failed, r.Offered, r.Failures)
	}
	b.ReportMetric(r.CPU, "us-cpu/op")
	b.ReportMetric(float64(r.Latencies[0].P50)/1000, "ms-p50")
	b.ReportMetric(float64(r.Latencies[0].P99)/1000, "ms-p99")
	b.ReportMetric(float64(r.Failed), "failed")
	return r
}
