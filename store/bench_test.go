package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
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

// diskWorld is a store on the real disk without an image that costs anything: the journal alone.
func journalOnly(b *testing.B, window time.Duration) *store.DB {
	b.Helper()
	o := store.Options{
		Disk: disk.OS(b.TempDir()), Image: store.Memory().Open, Clock: wallClock{time.Now()}, Random: zeroReader{},
		Tables: storetest.Tables(), Window: window, CheckpointEvery: time.Hour, CheckpointOps: 1 << 30,
	}
	db, err := store.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

const benchKeys = 20_000

// BenchmarkApply measures CPU per durable change of a 600-octet record, with so many changes in each batch.
func BenchmarkApply(b *testing.B) {
	for _, batch := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("journal/batch=%d", batch), func(b *testing.B) {
			db := journalOnly(b, -1)
			value := make([]byte, 600)
			keys := make([][]byte, benchKeys)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "sip:user%06d@ims.example", i)
			}
			var wg sync.WaitGroup
			done := func(err error) {
				if err != nil {
					b.Error(err)
				}
				wg.Done()
			}
			b.ReportAllocs()
			b.ResetTimer()
			start := cpu()
			for n := 0; n < b.N; n += batch {
				wg.Add(batch)
				// One Apply of many ops and many Applies cost the journal the same; hold the committer so that they meet.
				for i := range batch {
					k := keys[(n+i)%benchKeys]
					db.ApplyAsync("p", []store.Op{{Table: storetest.Quiet, Key: k, Value: value}}, done)
				}
				wg.Wait()
			}
			b.ReportMetric(float64(cpu()-start)/float64(time.Microsecond)/float64(b.N), "us-cpu/op")
		})
	}
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
			b.ReportMetric(float64(cpu()-start)/float64(time.Microsecond)/float64(b.N), "us-cpu/op")
		})
	}
}
