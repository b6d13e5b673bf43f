package live

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// Counters reads the node's metrics as Prometheus would, by name without the prefix "imsafe_".
func (n *Node) Counters() (map[string]float64, error) {
	client := http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://%v/metrics", n.metrics))
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	counters := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), " ")
		if !found || strings.HasPrefix(name, "#") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("live: metric %s: %w", name, err)
		}
		counters[strings.TrimPrefix(name, "imsafe_")] = v
	}
	return counters, lines.Err()
}

// Panics is how many procedures ended with a panic.
func (n *Node) Panics() (panics uint64) {
	for _, sh := range n.Shards {
		panics += sh.Stats().Panics
	}
	return panics
}

// Usage is what the node holds at a moment: all that a flood could make it keep. Heap is of the whole process.
type Usage struct {
	Heap         uint64 // octets alive after a collection
	Goroutines   int
	Descriptors  int
	Tasks        int
	Transactions int
	Associations int
	Connections  int
}

// Usage measures. It collects garbage, so it takes some milliseconds.
func (n *Node) Usage() (Usage, error) {
	c, err := n.Counters()
	if err != nil {
		return Usage{}, err
	}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Goroutines: runtime.NumGoroutine(), Descriptors: len(descriptors), Associations: n.Door.Associations(),
		Transactions: int(c["siptxn_servers"] + c["siptxn_clients"]), Connections: int(c["siptransport_conns"])}
	for _, sh := range n.Shards {
		u.Tasks += sh.Stats().Tasks
	}
	for range 3 { // pools empty in two
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap = m.HeapAlloc
	return u, nil
}

// Descriptors says what each descriptor of this process is: a file, a socket, a pipe.
func Descriptors() (open []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, target)
		}
	}
	slices.Sort(open)
	return open
}

// Above says what of u is more than in base and what allow adds to it; "" if nothing is.
func (u Usage) Above(base, allow Usage) string {
	var over []string
	for _, x := range []struct {
		name              string
		now, before, more int
	}{
		{"octets of heap", int(u.Heap), int(base.Heap), int(allow.Heap)},
		{"goroutines", u.Goroutines, base.Goroutines, allow.Goroutines},
		{"descriptors", u.Descriptors, base.Descriptors, allow.Descriptors},
		{"tasks", u.Tasks, base.Tasks, allow.Tasks},
		{"transactions", u.Transactions, base.Transactions, allow.Transactions},
		{"associations", u.Associations, base.Associations, allow.Associations},
		{"connections", u.Connections, base.Connections, allow.Connections},
	} {
		if x.now > x.before+x.more {
			over = append(over, fmt.Sprintf("%d %s, %d before and %d allowed", x.now, x.name, x.before, x.more))
		}
	}
	return strings.Join(over, "; ")
}
