package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestInMemory: the store of other rooms' tests, and what a closed one answers.
func TestInMemory(t *testing.T) {
	db, err := store.InMemory(wallClock{time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Apply("p", store.Op{Table: 17, Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if err := db.Apply("p", store.Op{Table: 17, Key: []byte("k"), Value: []byte("v")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("apply after close: %v", err)
	}
	if _, _, err := db.Reserve("c", 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("reserve after close: %v", err)
	}
	if _, err := db.Get(17, []byte("not in memory")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	db.GetAsync(17, []byte("not in memory"), func(_ store.Record, err error) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("get after close: %v", err)
		}
	})
}

// TestManual: everything on the caller's goroutine, checkpoints too.
func TestManual(t *testing.T) {
	w := newWorld(2)
	o := w.options()
	o.Manual = true
	db := w.open(t, o)
	for i := range 300 { // beyond a checkpoint
		ops := []store.Op{{Table: storetest.Loud, Key: fmt.Append(nil, i%50), Value: fmt.Append(nil, i)}}
		if err := db.Apply("p", ops...); err != nil {
			t.Fatal(err)
		}
	}
	if s := db.Stats(); s.Checkpoints < 2 || s.Changes != 300 {
		t.Errorf("%+v", s)
	}
	// A callback may use the store.
	second := errors.New("not called")
	db.ApplyAsync("p", []store.Op{{Table: storetest.Loud, Key: []byte("a"), Value: []byte("1"), Cond: store.IfAbsent}}, func(err error) {
		db.ApplyAsync("p", []store.Op{{Table: storetest.Loud, Key: []byte("b"), Value: []byte("1"), Cond: store.IfAbsent}}, func(err error) { second = err })
		db.Step() // refused, not fatal
	})
	db.Step()
	if second != nil {
		t.Errorf("apply from a callback: %v", second)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSameSeedSameDisk: a run in manual mode is a function of its seed.
func TestSameSeedSameDisk(t *testing.T) {
	run := func() (state string) {
		w := newWorld(9)
		for range 3 {
			o := w.options()
			o.Manual, o.Clock, o.SegmentBytes, o.BatchBytes = true, &fakeClock{}, 6<<12, 4096
			db := w.open(t, o)
			var p pairs
			p.work(db, rand.New(rand.NewPCG(1, 1)), 40)
			w.disk.CutAfter(7)
			p.work(db, rand.New(rand.NewPCG(1, 1)), 40)
			db.Abandon()
			w.disk = w.disk.Crash()
			names, _ := w.disk.ReadDir()
			state += fmt.Sprint(p, names, w.disk.Ops())
		}
		return state
	}
	if a, b := run(), run(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}

func TestMarks(t *testing.T) {
	w := newWorld(1)
	o := w.options()
	o.Lab = true
	db := w.open(t, o)
	id := db.Meta().ID
	if id == ([16]byte{}) || !db.Meta().Lab {
		t.Errorf("meta %+v", db.Meta())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.Lab = false
	if _, err := store.Open(o); !errors.Is(err, store.ErrWrongMark) {
		t.Errorf("a production process opened a lab store: %v", err)
	}
	o.Lab = true
	db = w.open(t, o)
	if db.Meta().ID != id {
		t.Error("another id")
	}
	db.Abandon()
	w.image = store.Memory() // removed: the journal still says whose it is
	o.Image, o.Lab = w.image.Open, false
	if _, err := store.Open(o); !errors.Is(err, store.ErrWrongMark) {
		t.Errorf("without the image: %v", err)
	}
	other := newWorld(5)
	db = other.open(t, other.options())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.Image = other.image.Open
	if _, err := store.Open(o); !errors.Is(err, store.ErrForeign) {
		t.Errorf("the image of another store: %v", err)
	}
}

// TestImageLost: an image that was removed is made again if the journal is whole, else the store refuses to start with a part.
func TestImageLost(t *testing.T) {
	w := newWorld(1)
	o := w.options()
	o.Manual, o.SegmentBytes = true, 6<<12
	db := w.open(t, o)
	var p pairs
	p.work(db, rand.New(rand.NewPCG(1, 1)), 30)
	db.Abandon()
	w.image = store.Memory()
	o.Image = w.image.Open
	db = w.open(t, o)
	p.check(t, db, "without the image")
	if err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	p.work(db, rand.New(rand.NewPCG(2, 1)), 30)
	db.Abandon()
	o.Image = store.Memory().Open
	if _, err := store.Open(o); !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("half a store opens: %v", err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	o := newWorld(1).options()
	o.Disk = disk.OS(dir)
	db, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var locked *disk.LockedError
	if _, err := store.Open(o); !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = store.Open(o); err != nil {
		t.Fatalf("after close: %v", err)
	}
	db.Close()
}

// slowImage answers reads when it is told to.
type slowImage struct {
	store.Image
	gate chan struct{}
}

func (s slowImage) Get(t store.Table, key []byte) (store.Record, error) {
	<-s.gate
	return s.Image.Get(t, key)
}

// lateImage reads at once and answers when it is told to.
type lateImage struct {
	store.Image
	read, gate chan struct{}
}

func (l lateImage) Get(t store.Table, key []byte) (store.Record, error) {
	rec, err := l.Image.Get(t, key)
	l.read <- struct{}{}
	<-l.gate
	return rec, err
}

// TestStaleRead: a reader has read the image and sleeps, the record is changed, saved and leaves memory: what he brings is old.
func TestStaleRead(t *testing.T) {
	w := newWorld(1)
	late := lateImage{w.image, make(chan struct{}), make(chan struct{})}
	o := w.options()
	o.CacheBytes, o.Readers = 1, 1
	o.Image = func([]store.TableSpec) (store.Image, error) { return late, nil }
	db := w.open(t, o)
	put := func() uint64 {
		ops := []store.Op{{Table: storetest.Loud, Key: []byte("k"), Value: []byte("v")}}
		if err := db.Apply("p", ops...); err != nil {
			t.Fatal(err)
		}
		if err := db.Checkpoint(); err != nil { // and it leaves memory
			t.Fatal(err)
		}
		return ops[0].Version
	}
	put()
	got := make(chan uint64, 1)
	db.GetAsync(storetest.Loud, []byte("k"), func(rec store.Record, err error) { got <- rec.Version })
	<-late.read
	newest := put()
	late.gate <- struct{}{}
	select {
	case <-late.read: // it reads again
		late.gate <- struct{}{}
	case version := <-got:
		t.Fatalf("version %d without reading again, the newest is %d", version, newest)
	}
	if version := <-got; version != newest {
		t.Errorf("version %d, the newest is %d", version, newest)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadsAreBounded: a flood of unknown keys is refused, not queued for ever; what is in memory is answered all the same.
func TestReadsAreBounded(t *testing.T) {
	w := newWorld(1)
	gate := make(chan struct{})
	o := w.options()
	o.Readers, o.ReadQueue = 1, 4
	o.Image = func([]store.TableSpec) (store.Image, error) { return slowImage{w.image, gate}, nil }
	db := w.open(t, o)
	if err := db.Apply("p", store.Op{Table: storetest.Loud, Key: []byte("known"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	var refused, answered atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Add(1)
		done := func(err error) {
			if errors.Is(err, store.ErrOverloaded) {
				refused.Add(1)
			} else {
				answered.Add(1)
			}
			wg.Done()
		}
		key := fmt.Append(nil, i)
		if i%2 == 0 {
			db.GetAsync(storetest.Loud, key, func(_ store.Record, err error) { done(err) })
		} else {
			db.ApplyAsync(string(key), []store.Op{{Table: storetest.Loud, Key: key, Value: key, Cond: store.IfAbsent}}, done)
		}
	}
	if refused.Load() < 44 {
		t.Errorf("%d refused at once", refused.Load())
	}
	hit := false
	db.GetAsync(storetest.Loud, []byte("known"), func(_ store.Record, err error) { hit = err == nil })
	if !hit {
		t.Error("what is in memory waits too")
	}
	close(gate)
	wg.Wait()
	if answered.Load() == 0 || refused.Load()+answered.Load() != 50 {
		t.Errorf("%d refused, %d answered", refused.Load(), answered.Load())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWritesAreBounded: more than the queue or the journal may hold is refused; nothing is lost by it.
func TestWritesAreBounded(t *testing.T) {
	w := newWorld(1)
	o := w.options()
	o.Manual, o.QueueBytes, o.SegmentBytes, o.JournalBytes, o.CheckpointOps = true, 10_000, 8<<12, 3*8<<12, 1<<30
	o.CheckpointEvery = time.Hour
	db := w.open(t, o)
	value := make([]byte, 1000)
	accepted, refused := 0, 0
	put := func(i int) {
		db.ApplyAsync("p", []store.Op{{Table: storetest.Loud, Key: fmt.Append(nil, i), Value: value}}, func(err error) {
			switch {
			case err == nil:
				accepted++
			case errors.Is(err, store.ErrOverloaded):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	for i := range 20 {
		put(i)
	}
	db.Step()
	if accepted != 9 || refused != 11 {
		t.Errorf("queue: %d accepted, %d refused", accepted, refused)
	}
	for i := range 200 {
		put(i)
		db.Step()
	}
	if refused == 11 {
		t.Error("the journal grows without a bound")
	}
	if err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	before := accepted
	put(1000)
	db.Step()
	if accepted != before+1 {
		t.Error("still refused after the checkpoint")
	}
	if err := db.Apply("p", store.Op{Table: storetest.Loud, Key: []byte("k"), Value: make([]byte, 9<<12)}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("larger than a segment: %v", err)
	}
	if db.Failure() != nil {
		t.Error(db.Failure())
	}
	db.Close()
}

// TestTrimmed: who slept longer than the outbox remembers is told so, and goes on after a scan.
func TestTrimmed(t *testing.T) {
	w := newWorld(1)
	o := w.options()
	o.Manual, o.ChangesKept = true, 10
	db := w.open(t, o)
	defer db.Close()
	for i := range 50 {
		if err := db.Apply("p", store.Op{Table: storetest.Loud, Key: fmt.Append(nil, i), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	rows, cursor, err := db.Changes(5, 100)
	if !errors.Is(err, store.ErrTrimmed) || cursor != 50 || rows != nil {
		t.Errorf("%d rows, cursor %d, %v", len(rows), cursor, err)
	}
	rows, _, err = db.Changes(0, 100)
	if err != nil || len(rows) != 10 || rows[0].Sequence != 41 {
		t.Errorf("from the oldest: %v %v", rows, err)
	}
	if _, _, err := db.Changes(40, 100); err != nil {
		t.Errorf("from the edge: %v", err)
	}
}

// TestManyAtOnce works with a small cache, small segments and checkpoints all the time: no reader ever sees a record go back.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(1)
	o := w.options()
	o.CacheBytes, o.CheckpointOps, o.CheckpointEvery, o.SegmentBytes = 1, 20, time.Millisecond, 32<<12
	db := w.open(t, o)
	const keys = 30
	var highest [keys]atomic.Uint64 // acknowledged or seen
	name := func(k int) []byte { return fmt.Append(nil, "key", k) }
	deadline := time.Now().Add(500 * time.Millisecond)
	var wg sync.WaitGroup
	raise := func(k int, version uint64) {
		for {
			old := highest[k].Load()
			if version <= old || highest[k].CompareAndSwap(old, version) {
				return
			}
		}
	}
	for worker := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			for time.Now().Before(deadline) {
				k := rng.IntN(keys)
				ops := []store.Op{{Table: storetest.Loud, Key: name(k), Value: make([]byte, rng.IntN(300))}}
				if rec, err := db.Get(storetest.Loud, name(k)); err == nil && rng.IntN(2) == 0 {
					ops[0].Cond, ops[0].Version = store.IfVersion, rec.Version
				}
				switch err := db.Apply(string(name(k)), ops...); {
				case err == nil:
					raise(k, ops[0].Version)
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 2))
			for time.Now().Before(deadline) {
				k := rng.IntN(keys)
				floor := highest[k].Load()
				rec, err := db.Get(storetest.Loud, name(k))
				if errors.Is(err, store.ErrNotFound) && floor == 0 {
					continue
				}
				if err != nil || rec.Version < floor {
					t.Errorf("%s: version %d after %d, %v", name(k), rec.Version, floor, err)
					return
				}
				raise(k, rec.Version)
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(deadline) {
			var floors [keys]uint64
			for k := range keys {
				floors[k] = highest[k].Load()
			}
			found := map[string]uint64{}
			for cursor := []byte(nil); ; {
				page, next, err := db.Scan(storetest.Loud, []byte("key"), cursor, 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range page {
					found[string(r.Key)] = r.Version
				}
				if cursor = next; next == nil {
					break
				}
			}
			for k, floor := range floors {
				if found[string(name(k))] < floor {
					t.Errorf("scan: %s version %d after %d", name(k), found[string(name(k))], floor)
					return
				}
			}
		}
	})
	wg.Wait()
	s := db.Stats()
	if s.Checkpoints < 5 || s.Misses < 10 {
		t.Errorf("nothing was tried: %+v", s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
