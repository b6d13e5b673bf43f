package spine

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// alternate is how often two nodes are measured in turn: what the machine does meanwhile meets both.
const alternate = 3

// prices are what one of two nodes took for a registration, round by round.
type prices struct{ cpu, p50, p99 []time.Duration }

func (p *prices) add(cpu, p50, p99 time.Duration) {
	p.cpu, p.p50, p.p99 = append(p.cpu, cpu), append(p.p50, p50), append(p.p99, p99)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// compare lets two nodes register at a rate (0: as fast as they can) in turn, b.N times in each round, and reports the medians of the first, and what
// the second takes more.
func compare(b *testing.B, rate float64, first, second *server) (one, other prices) {
	b.Helper()
	type side struct {
		*server
		clients []*client
		prices  *prices
	}
	sides := []side{{first, crew(b, first, 0, window), &one}, {second, crew(b, second, 0, window), &other}}
	b.ResetTimer()
	for range alternate {
		for _, x := range sides {
			paced(b, x.clients, 500, rate) // what was idle while the other worked is woken up
			before := x.cpu(b)
			p50, p99 := paced(b, x.clients, b.N, rate)
			x.prices.add((x.cpu(b)-before)/time.Duration(b.N), p50, p99)
		}
	}
	b.StopTimer()
	a, z := median(one.cpu), median(other.cpu)
	b.ReportMetric(float64(a.Nanoseconds())/1e3, "us-cpu/op")
	b.ReportMetric(float64(z)/float64(a), "times-cpu")
	b.ReportMetric(float64((median(other.p50)-median(one.p50)).Microseconds())/1e3, "ms-more-p50")
	return one, other
}

// paced lets clients register n times, so many a second, and says how long they took from when each was due.
func paced(b *testing.B, clients []*client, n int, rate float64) (p50, p99 time.Duration) {
	took := make([]time.Duration, n)
	began := time.Now()
	var mu sync.Mutex
	i := 0
	failed := drive(clients, n, func(c *client, _ int) bool {
		mu.Lock()
		mine := i
		i++
		mu.Unlock()
		due := time.Now()
		if rate > 0 {
			due = began.Add(time.Duration(float64(mine) / rate * float64(time.Second)))
			<-time.After(time.Until(due))
		}
		ok := c.register()
		took[mine] = time.Since(due)
		return ok
	})
	if failed > 0 {
		b.Errorf("%d of %d failed", failed, n)
	}
	slices.Sort(took)
	return took[n/2], took[n*99/100]
}

// BenchmarkDurability is P15: a registration at 5,000 a second that is on the disk before its 200, beside the same with a store in memory.
func BenchmarkDurability(b *testing.B) {
	volatile, durable := compare(b, 5000, start(b, childStore+"=memory"), start(b))
	b.Logf("at 5,000/s in memory: CPU %v, p50 %v, p99 %v; durable: CPU %v, p50 %v, p99 %v", volatile.cpu, volatile.p50, volatile.p99, durable.cpu, durable.p50, durable.p99)
}

// BenchmarkControls is P19: a registration with all controls of the client interface that a laboratory can switch off switched off, beside the same
// with all of them on, both saturated.
func BenchmarkControls(b *testing.B) {
	off, on := compare(b, 0, start(b, childControls+"=off"), start(b))
	b.Logf("off: CPU %v; on: CPU %v", off.cpu, on.cpu)
}

// BenchmarkHandshake is P7: a whole TLS 1.3 handshake of a client that is new, and the end of its connection.
func BenchmarkHandshake(b *testing.B) {
	for name, curve := range map[string]tls.CurveID{"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			clients := crew(b, s, 0, 16)
			config := &tls.Config{RootCAs: s.trusted, ServerName: "pcscf." + domain, CurvePreferences: []tls.CurveID{curve}, MinVersion: tls.VersionTLS13}
			measure(b, clients, s, func(*client, int) bool {
				conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: config}).Dial("tcp", s.secured.String())
				if err != nil {
					b.Error(err)
					return false
				}
				return conn.Close() == nil
			})
		})
	}
}
