package store_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/storetest"
)

// cpu returns user and system time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// journalOnly is a store on the real disk with an image that costs next to nothing: what is measured is the journal.
func journalOnly(b *testing.B, manual bool, window time.Duration) *store.DB {
	b.Helper()
	o := store.Options{
		Disk: disk.OS(b.TempDir()), Image: store.Memory().Open, Clock: wallClock{time.Now()}, Random: rand.NewChaCha8([32]byte{}),
		Tables: storetest.Tables(), Window: window, Manual: manual, CheckpointEvery: time.Hour, CheckpointOps: 1 << 30, JournalBytes: 1 << 40,
	}
	db, err := store.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Abandon)
	return db
}

const benchKeys = 20_000

// writes makes changes of 600-octet records.
type writes struct {
	keys  [][]byte
	value []byte
	n     int
}

func newWrites() *writes {
	w := &writes{value: make([]byte, 600)}
	for i := range benchKeys {
		w.keys = append(w.keys, fmt.Appendf(nil, "sip:user%06d@ims.example", i))
	}
	return w
}

func (w *writes) next() []store.Op {
	w.n++
	return []store.Op{{Table: storetest.Quiet, Key: w.keys[w.n%benchKeys], Value: w.value}}
}

// report gives CPU per change and how many changes shared a sync.
func report(b *testing.B, db *store.DB, start time.Duration) {
	used := cpu() - start
	s := db.Stats()
	b.ReportMetric(float64(used)/float64(time.Microsecond)/float64(s.Changes), "us-cpu/change")
	b.ReportMetric(float64(s.Changes)/float64(s.Batches), "changes/sync")
}

// BenchmarkJournal is CPU per durable change with exactly so many changes in each batch.
func BenchmarkJournal(b *testing.B) {
	for _, batch := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			db := journalOnly(b, true, -1)
			w := newWrites()
			done := func(err error) {
				if err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			start := cpu()
			for n := 0; n < b.N; n += batch {
				for range batch {
					db.ApplyAsync("p", w.next(), done)
				}
				db.Step()
			}
			report(b, db, start)
		})
	}
}

// BenchmarkCommitter is the same with the committer on its own goroutine, callers that wait for their answer, and no window.
func BenchmarkCommitter(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			db := journalOnly(b, false, -1)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			start := cpu()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					w := newWrites()
					w.n = c * benchKeys / callers
					for left.Add(-1) >= 0 {
						if err := db.Apply("p", w.next()...); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			report(b, db, start)
		})
	}
}

// BenchmarkOpenLoop is the durability of performance goal P15: changes arrive at random, so many in a second, whatever the disk does.
func BenchmarkOpenLoop(b *testing.B) {
	for _, rate := range []float64{500, 5_000, 20_000} {
		for _, window := range []time.Duration{-1, 3 * time.Millisecond} {
			b.Run(fmt.Sprintf("rate=%.0f/window=%v", rate, max(window, 0)), func(b *testing.B) {
				db := journalOnly(b, false, window)
				w := newWrites()
				rng := rand.New(rand.NewPCG(1, 1))
				latencies := make([]time.Duration, 0, b.N) // appended to by the committer only
				var wg sync.WaitGroup
				wg.Add(b.N)
				b.ResetTimer()
				start, began := cpu(), time.Now()
				due := time.Duration(0)
				for range b.N {
					due += time.Duration(rng.ExpFloat64() / rate * float64(time.Second))
					if early := due - time.Since(began); early > 0 {
						time.Sleep(early)
					}
					at := time.Now()
					db.ApplyAsync("p", w.next(), func(err error) {
						if err != nil {
							b.Error(err)
						}
						latencies = append(latencies, time.Since(at))
						wg.Done()
					})
				}
				wg.Wait()
				report(b, db, start)
				slices.Sort(latencies)
				b.ReportMetric(float64(latencies[len(latencies)/2])/float64(time.Millisecond), "ms-p50")
				b.ReportMetric(float64(latencies[len(latencies)*99/100])/float64(time.Millisecond), "ms-p99")
			})
		}
	}
}

// BenchmarkGet is a hit in memory.
func BenchmarkGet(b *testing.B) {
	db := journalOnly(b, true, -1)
	w := newWrites()
	for range benchKeys {
		db.ApplyAsync("p", w.next(), func(error) {})
	}
	db.Step()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if _, err := db.Get(storetest.Quiet, w.keys[n%benchKeys]); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkSQLiteDirect is the same without a journal: SQLite with synchronous FULL and so many changes in a transaction.
func BenchmarkSQLiteDirect(b *testing.B) {
	for _, batch := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "x.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.Exec("CREATE TABLE t (key TEXT PRIMARY KEY, value BLOB, ver INTEGER, expires INTEGER) WITHOUT ROWID"); err != nil {
				b.Fatal(err)
			}
			put, err := db.Prepare("INSERT INTO t VALUES (?, ?, ?, 0) ON CONFLICT (key) DO UPDATE SET value = excluded.value, ver = excluded.ver")
			if err != nil {
				b.Fatal(err)
			}
			value := make([]byte, 600)
			b.ResetTimer()
			start := cpu()
			for n := 0; n < b.N; n += batch {
				tx, err := db.Begin()
				if err != nil {
					b.Fatal(err)
				}
				stmt := tx.Stmt(put)
				for i := range batch {
					if _, err := stmt.Exec(fmt.Sprintf("sip:user%06d@ims.example", (n+i)%benchKeys), value, n+i); err != nil {
						b.Fatal(err)
					}
				}
				if err := tx.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-start)/float64(time.Microsecond)/float64(b.N), "us-cpu/change")
		})
	}
}
