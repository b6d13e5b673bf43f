package store_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/storetest"
)

// wallClock is real time.
type wallClock struct{ start time.Time }

func (c wallClock) Now() time.Duration { return time.Since(c.start) }
func (c wallClock) Wall() time.Time    { return time.Now() }

// world is what survives a store: a disk and an image.
type world struct {
	disk  *disk.Fake
	image *store.MemoryImage
	seed  uint64
}

func newWorld(seed uint64) *world {
	return &world{disk: disk.NewFake(seed), image: store.Memory(), seed: seed}
}

func (w *world) options() store.Options {
	return store.Options{
		Disk: w.disk, Image: w.image.Open, Clock: wallClock{time.Now()}, Random: rand.NewChaCha8([32]byte{byte(w.seed)}),
		Tables: storetest.Tables(), SegmentBytes: 1 << 21, CheckpointOps: 100,
	}
}

func (w *world) open(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func (w *world) engine(manual bool) storetest.Engine {
	return storetest.Engine{
		Open: func(t testing.TB) store.Store {
			o := w.options()
			o.Manual = manual
			return w.open(t, o)
		},
		Close: func(t testing.TB, s store.Store) {
			if err := s.(*store.DB).Close(); err != nil {
				t.Fatal(err)
			}
		},
		Crash: func(t testing.TB, s store.Store) {
			s.(*store.DB).Abandon()
			w.disk = w.disk.Crash()
		},
	}
}

func TestConformance(t *testing.T) {
	t.Run("memory image and fake disk", func(t *testing.T) {
		storetest.Run(t, func(testing.TB) storetest.Engine { return newWorld(1).engine(false) })
	})
}
