package spine

import (
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	bounds "imsafe/proto/overload"
	"imsafe/store/seal"
	"imsafe/test/postgres"
)

// inDatabase puts the store of the child into the database that its parent names.
func inDatabase(c *config.Config) {
	if url := os.Getenv(childDatabase); url != "" {
		number, _ := strconv.ParseUint(os.Getenv(childNumber), 10, 16)
		c.Store.Engine, c.Store.URL, c.Node.Number = config.Postgres, url, uint16(number)
	}
}

// newKeyring makes the sealing keys: for nodes that share subscribers, the same ones.
func newKeyring(c *config.Config) (*seal.Keyring, error) {
	var random io.Reader = rand.Reader
	if c.Store.Shared() {
		random = mathrand.NewChaCha8([32]byte{})
	}
	return seal.Generate(random)
}

// patience is what counts as overload: with a database, which shares the processors with the nodes and the clients, more.
func patience(c *config.Config) bounds.Config {
	if !c.Store.Shared() {
		return bounds.Config{}
	}
	return bounds.Config{Target: 500 * time.Millisecond, Enter: 2 * time.Second}
}

// cpuOf is what the kernel accounts to the processes of a database that live.
func cpuOf(b testing.TB, s *postgres.Server) (used time.Duration) {
	const tick = 10 * time.Millisecond // of /proc: USER_HZ
	for _, pid := range s.Processes() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // one may end meanwhile
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		for _, field := range fields[11:13] { // utime and stime
			n, _ := strconv.Atoi(field)
			used += time.Duration(n) * tick
		}
	}
	return used
}

// loads are what a registration took, round by round, in microseconds.
type loads struct{ nodes, database, apart []float64 }

// run lets clients register n times, and notes what that took: CPU of the nodes and of the database, and time, for each.
func (l *loads) run(b *testing.B, n int, db *postgres.Server, clients []*client, nodes ...*server) {
	b.Helper()
	sum := func() (used time.Duration) {
		for _, s := range nodes {
			used += s.cpu(b)
		}
		return used
	}
	cpu, base, began := sum(), cpuOf(b, db), time.Now()
	if failed := drive(clients, n, func(c *client, _ int) bool { return c.register() }); failed > 0 {
		b.Errorf("%d of %d failed", failed, n)
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
	l.apart = append(l.apart, each(time.Since(began)))
	l.nodes = append(l.nodes, each(sum()-cpu))
	l.database = append(l.database, each(cpuOf(b, db)-base))
}

// BenchmarkDatabase is the second half of P18: registrations on one node whose store is a database, and on two nodes that share it, in turn. Each
// node has as many clients at work in both cases. Two nodes, the database and the clients share this machine: so the rate says
// little, and what counts is the processor of the nodes for each registration, with that of the database beside it. A second node on a machine of
// its own gives times-rate as many registrations, as long as the database has not come to its end.
func BenchmarkDatabase(b *testing.B) {
	db := postgres.StartIn(b, "")
	var nodes []*server
	for number := range 2 {
		nodes = append(nodes, start(b, childDatabase+"="+db.URL(), fmt.Sprintf("%s=%d", childNumber, number+1)))
	}
	first, second := crew(b, nodes[0], 0, window), crew(b, nodes[1], window, window)
	var warm, one, two loads
	warm.run(b, 1000, db, append(first, second...), nodes...)
	b.ResetTimer()
	for range 3 {
		one.run(b, b.N, db, first, nodes[0])
		two.run(b, 2*b.N, db, append(first[:window:window], second...), nodes...)
	}
	b.StopTimer()
	b.ReportMetric(median(one.nodes), "us-cpu/op")
	b.ReportMetric(median(two.nodes), "us-cpu-of-two/op")
	b.ReportMetric(median(one.database), "us-cpu-database/op")
	b.ReportMetric(median(two.database), "us-cpu-database-of-two/op")
	b.ReportMetric(2*median(one.nodes)/median(two.nodes), "times-rate")
	b.Logf("one node: %.0f/s here; two: %.0f/s", 1e6/median(one.apart), 1e6/median(two.apart))
}
