package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/store"
	"imsafe/store/sqlite"
	"imsafe/store/storetest"
)

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func subscriber(i int) []byte {
	return fmt.Appendf(nil, "0010100%08d@ims.mnc001.mcc001.3gppnetwork.org", i)
}

// BenchmarkImageWrite measures CPU per record that a checkpoint writes: some of 50,000 registrations of 600 octets, in key order.
func BenchmarkImageWrite(b *testing.B) {
	const total = 50_000
	for _, n := range []int{1_000, 10_000, 50_000} {
		for _, table := range []store.Table{storetest.Quiet, storetest.Loud} {
			b.Run(fmt.Sprintf("records=%d/outbox=%v", n, table == storetest.Loud), func(b *testing.B) {
				m, err := sqlite.OpenImage(filepath.Join(b.TempDir(), "x.db"), storetest.Tables())
				if err != nil {
					b.Fatal(err)
				}
				defer m.Close()
				seq := uint64(0)
				checkpoint := func(users []int) {
					w := &store.ImageWrite{}
					for _, i := range users {
						seq++
						rec := store.Record{Key: subscriber(i), Value: make([]byte, 600), Version: seq, Expires: int64(1_700_000_000_000 + seq)}
						w.Records = append(w.Records, store.ImageRecord{Table: table, Record: rec})
						if table == storetest.Loud {
							w.Changes = append(w.Changes, store.Change{Sequence: seq, Table: table, Key: rec.Key})
						}
					}
					w.Meta.Sequence = seq
					if err := m.Write(w); err != nil {
						b.Fatal(err)
					}
				}
				all := make([]int, total)
				for i := range all {
					all[i] = i
				}
				checkpoint(all)
				rng := rand.New(rand.NewPCG(1, 1))
				b.ResetTimer()
				start, rows := cpu(), 0
				for b.Loop() {
					chosen := map[int]bool{}
					for len(chosen) < n {
						chosen[rng.IntN(total)] = true
					}
					users := make([]int, 0, n)
					for i := range total {
						if chosen[i] {
							users = append(users, i)
						}
					}
					checkpoint(users)
					rows += n
				}
				b.ReportMetric(float64(cpu()-start)/float64(time.Microsecond)/float64(rows), "us-cpu/record")
			})
		}
	}
}

// BenchmarkImageGet is what a miss of the cache costs.
func BenchmarkImageGet(b *testing.B) {
	const total = 100_000
	m, err := sqlite.OpenImage(filepath.Join(b.TempDir(), "x.db"), storetest.Tables())
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	w := &store.ImageWrite{}
	for i := range total {
		w.Records = append(w.Records, store.ImageRecord{Table: storetest.Quiet, Record: store.Record{Key: subscriber(i), Value: make([]byte, 600), Version: 1}})
	}
	if err := m.Write(w); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Get(storetest.Quiet, subscriber(rng.IntN(total))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is performance goal P16 as far as the store goes: the time from Open to the first record of a store with 100,000
// subscribers and 50,000 registrations of 600 octets, closed cleanly, or killed with the last registrations only in the journal.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	o := options()
	o.SegmentBytes, o.CheckpointOps, o.CheckpointEvery = 0, 0, 0 // as in production
	fill := func(db *store.DB, t store.Table, from, to int) {
		const step = 1000
		for i := from; i < to; i += step {
			ops := make([]store.Op, 0, step)
			for k := i; k < min(i+step, to); k++ {
				ops = append(ops, store.Op{Table: t, Key: subscriber(k), Value: make([]byte, 600), Expires: int64(k)})
			}
			if err := db.Apply("p", ops...); err != nil {
				b.Fatal(err)
			}
		}
	}
	db := open(b, dir, o)
	fill(db, storetest.Quiet, 0, 100_000)
	fill(db, storetest.Loud, 0, 50_000)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	for _, unsaved := range []int{0, 10_000, 50_000} {
		b.Run(fmt.Sprintf("unsaved=%d", unsaved), func(b *testing.B) {
			if unsaved > 0 {
				o := o
				o.CheckpointOps, o.CheckpointEvery = 1<<30, time.Hour
				db := open(b, dir, o)
				fill(db, storetest.Loud, 0, unsaved)
				db.Abandon()
			}
			late := o
			late.CheckpointOps, late.CheckpointEvery = 1<<30, time.Hour
			var ready time.Duration
			b.ResetTimer()
			start := cpu()
			for n := range b.N {
				began := time.Now()
				db := open(b, dir, late)
				if _, err := db.Get(storetest.Quiet, subscriber(n*7919%100_000)); err != nil {
					b.Fatal(err)
				}
				ready += time.Since(began)
				b.StopTimer()
				db.Abandon()
				b.StartTimer()
			}
			b.ReportMetric(float64(ready)/float64(time.Millisecond)/float64(b.N), "ms-to-first-get")
			b.ReportMetric(float64(cpu()-start)/float64(time.Millisecond)/float64(b.N), "ms-cpu")
		})
	}
	b.Run("sweep", func(b *testing.B) {
		db := open(b, dir, o)
		defer db.Close()
		for b.Loop() {
			if due, err := db.Sweep(storetest.Quiet, 1000, 5000); err != nil || len(due) != 1000 {
				b.Fatalf("%d due, %v", len(due), err)
			}
		}
	})
}

// BenchmarkRegistrations is performance goal P15 with everything in it: 5,000 changes per second, arriving at random, of 50,000
// registrations of 600 octets, journal and image on the disk. Run it for 20 seconds or more (-benchtime 100000x): a checkpoint comes
// every five.
func BenchmarkRegistrations(b *testing.B) {
	const rate, users = 5_000, 50_000
	o := options()
	o.SegmentBytes, o.CheckpointOps, o.CheckpointEvery = 0, 0, 0
	db := open(b, b.TempDir(), o)
	defer db.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 600)
	var wg sync.WaitGroup
	wg.Add(b.N)
	latencies := make([]time.Duration, 0, b.N) // appended to by the committer only
	b.ResetTimer()
	start, began := cpu(), time.Now()
	due := time.Duration(0)
	for range b.N {
		due += time.Duration(rng.ExpFloat64() / rate * float64(time.Second))
		if early := due - time.Since(began); early > 0 {
			time.Sleep(early)
		}
		at := time.Now()
		ops := []store.Op{{Table: storetest.Quiet, Key: subscriber(rng.IntN(users)), Value: value}}
		db.ApplyAsync("p", ops, func(err error) {
			if err != nil {
				b.Error(err)
			}
			latencies = append(latencies, time.Since(at))
			wg.Done()
		})
	}
	wg.Wait()
	s := db.Stats()
	b.ReportMetric(float64(cpu()-start)/float64(time.Microsecond)/float64(s.Changes), "us-cpu/change")
	b.ReportMetric(float64(s.Changes)/float64(s.Batches), "changes/sync")
	b.ReportMetric(float64(s.Saved)/float64(s.Changes), "saved/change")
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2])/float64(time.Millisecond), "ms-p50")
	b.ReportMetric(float64(latencies[len(latencies)*99/100])/float64(time.Millisecond), "ms-p99")
}
