package sqlite_test

import (
	"crypto/rand"
	"testing"
	"time"

	"imsafe/store"
	"imsafe/store/sqlite"
	"imsafe/store/storetest"
)

// wallClock is real time.
type wallClock struct{ start time.Time }

func (c wallClock) Now() time.Duration { return time.Since(c.start) }
func (c wallClock) Wall() time.Time    { return time.Now() }

func options() store.Options {
	return store.Options{Clock: wallClock{time.Now()}, Random: rand.Reader, Tables: storetest.Tables(), SegmentBytes: 1 << 21, CheckpointOps: 500}
}

func open(t testing.TB, dir string, o store.Options) *store.DB {
	t.Helper()
	db, err := sqlite.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Engine {
		dir := t.TempDir()
		return storetest.Engine{
			Open: func(t testing.TB) store.Store { return open(t, dir, options()) },
			Close: func(t testing.TB, s store.Store) {
				if err := s.(*store.DB).Close(); err != nil {
					t.Fatal(err)
				}
			},
			// As a kill would: no last checkpoint, so the journal is replayed over an image that is behind.
			Crash: func(t testing.TB, s store.Store) { s.(*store.DB).Abandon() },
		}
	})
}
