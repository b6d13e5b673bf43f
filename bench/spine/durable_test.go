package spine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"

	"imsafe/config"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/disk"
)

// childVolatile, not empty, gives the node a store that forgets.
const childVolatile = "IMSAFE_BENCH_VOLATILE"

const durableTurns = 3

// BenchmarkDurable is P15: what durability adds to a registration with a challenge, at 5,000 a second that arrive at random, of 20,000 users with an address
// each. A node that keeps nothing on a disk and one that does take turns; medians, and their ratio. IMSAFE_PROFILE=file writes a profile of each.
func BenchmarkDurable(b *testing.B) {
	cpu, p50 := map[bool][]float64{}, map[bool][]float64{}
	for turn := range durableTurns {
		for _, durable := range []bool{false, true} {
			name := fmt.Sprintf("durable=%v/turn=%d", durable, turn)
			b.Run(name, func(b *testing.B) {
				env := []string{fmt.Sprintf("%s=%d", childRange, manyUsers)}
				if !durable {
					env = append(env, childVolatile+"=1")
				}
				r := registrations(b, population(manyUsers), fmt.Sprintf(".durable-%v", durable), env...)
				if b.N > 1 {
					cpu[durable], p50[durable] = append(cpu[durable], r.CPU), append(p50[durable], float64(r.Latencies[0].P50)/1000)
				}
			})
		}
	}
	if len(cpu[true]) == 0 || len(cpu[false]) == 0 {
		return
	}
	b.Run("ratio", func(b *testing.B) {
		b.ReportMetric(median(cpu[true])/median(cpu[false]), "x-cpu")
		b.ReportMetric(median(p50[true])-median(p50[false]), "ms-p50-more")
	})
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// openStore opens the store of the node, or one that forgets.
func openStore(c *config.Config, clock shard.Clock, log *slog.Logger) (store.Engine, error) {
	if os.Getenv(childVolatile) == "" {
		return node.OpenStore(c, clock, log, "")
	}
	if err := os.MkdirAll(c.Node.DataDir, 0o700); err != nil { // of the node's socket
		return nil, err
	}
	return store.Open(store.Options{Disk: &forgetful{files: map[string]bool{}}, Image: store.Memory().Open, Clock: clock, Random: rand.Reader,
		Lab: c.Node.Lab, Tables: node.Tables(), Window: -1, CacheBytes: int64(c.Store.Cache)})
}

// forgetful is a disk.Disk that writes nowhere, at once.
type forgetful struct {
	mu    sync.Mutex
	files map[string]bool
}

var errForgotten = errors.New("nothing that was written can be read")

// Open implements disk.Disk.
func (d *forgetful) Open(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.files[name] {
		return nil, fs.ErrNotExist
	}
	return nowhere{}, nil
}

// Create implements disk.Disk.
func (d *forgetful) Create(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[name] = true
	return nowhere{}, nil
}

// Remove implements disk.Disk.
func (d *forgetful) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	return nil
}

// Rename implements disk.Disk.
func (d *forgetful) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, from)
	d.files[to] = true
	return nil
}

// ReadDir implements disk.Disk: at the start there is nothing.
func (d *forgetful) ReadDir() ([]string, error) { return nil, nil }

// SyncDir implements disk.Disk.
func (d *forgetful) SyncDir() error { return nil }

// Lock implements disk.Disk.
func (d *forgetful) Lock() (io.Closer, error) { return io.NopCloser(nil), nil }

// nowhere is a file of it.
type nowhere struct{}

func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, errForgotten }
func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nowhere) Datasync() error                        { return nil }
func (nowhere) Preallocate(int64) error                { return nil }
func (nowhere) Size() (int64, error)                   { return 16 << 20, nil }
func (nowhere) Close() error                           { return nil }
