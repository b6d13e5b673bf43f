package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/storetest"
)

// pairs is a workload whose every state can be judged: Apply number i writes i under a and b of one pair, so after a crash both
// halves of a pair are equal, and not older than what was acknowledged nor newer than what was begun.
type pairs struct {
	begun, acknowledged [8]int
	reserved            uint64
	next                int
}

// work makes n changes, with reservations between them, until the store refuses.
func (p *pairs) work(db *store.DB, rng *rand.Rand, n int) {
	for range n {
		p.next++
		k := rng.IntN(len(p.begun))
		value := fmt.Append(make([]byte, 0, 3000), p.next)
		value = value[:len(value)+rng.IntN(2500)] // some batches are one block, some two
		ops := []store.Op{
			{Table: storetest.Loud, Key: fmt.Appendf(nil, "%d/a", k), Value: value},
			{Table: storetest.Loud, Key: fmt.Appendf(nil, "%d/b", k), Value: value},
		}
		p.begun[k] = p.next
		if db.Apply("pair", ops...) != nil {
			return
		}
		p.acknowledged[k] = p.next
		if rng.IntN(4) == 0 {
			_, to, err := db.Reserve("sqn", 32)
			if err != nil {
				return
			}
			p.reserved = to
		}
	}
}

func number(rec store.Record) int {
	text := string(rec.Value)
	for i, c := range text {
		if c == 0 {
			text = text[:i]
			break
		}
	}
	n, _ := strconv.Atoi(text)
	return n
}

// check compares the store with what was promised and takes over what it has.
func (p *pairs) check(t *testing.T, db *store.DB, when string) {
	t.Helper()
	for k := range p.begun {
		a, errA := db.Get(storetest.Loud, fmt.Appendf(nil, "%d/a", k))
		b, errB := db.Get(storetest.Loud, fmt.Appendf(nil, "%d/b", k))
		if errors.Is(errA, store.ErrNotFound) && errors.Is(errB, store.ErrNotFound) && p.acknowledged[k] == 0 {
			continue
		}
		if errA != nil || errB != nil {
			t.Fatalf("%s: pair %d: %v, %v; acknowledged %d", when, k, errA, errB, p.acknowledged[k])
		}
		if number(a) != number(b) || a.Version+1 != b.Version {
			t.Fatalf("%s: pair %d is half applied: %d and %d", when, k, number(a), number(b))
		}
		if n := number(a); n < p.acknowledged[k] || n > p.begun[k] {
			t.Fatalf("%s: pair %d is %d; acknowledged %d, begun %d", when, k, n, p.acknowledged[k], p.begun[k])
		}
		p.begun[k], p.acknowledged[k] = number(a), number(a)
	}
	from, to, err := db.Reserve("sqn", 1)
	if err != nil || from < p.reserved {
		t.Fatalf("%s: reserve from %d, %v; given up to %d", when, from, err, p.reserved)
	}
	p.reserved = to
}

// TestPowerCut turns the power off in every single write, sync and directory change of a run that fills several segments and writes
// several checkpoints, twice in a row, and looks at what is there.
func TestPowerCut(t *testing.T) {
	const changes = 25
	options := func(w *world, random *rand.ChaCha8) store.Options {
		o := w.options()
		o.Manual, o.SegmentBytes, o.CheckpointOps, o.Random, o.BatchBytes = true, 6<<12, 10, random, 4096
		o.JournalBytes = 1 << 40
		return o
	}
	random := rand.NewChaCha8([32]byte{1})
	for cut := 1; ; cut++ {
		w := newWorld(uint64(cut))
		rng := rand.New(rand.NewPCG(uint64(cut), 1))
		var p pairs
		w.disk.CutAfter(cut)
		whole := false
		for _, when := range []string{"first cut", "second cut"} {
			db, err := store.Open(options(w, random))
			if err == nil {
				p.work(db, rng, changes)
				whole = db.Failure() == nil
				db.Abandon()
			} else if !errors.Is(err, disk.ErrCut) {
				t.Fatalf("%s in operation %d: %v", when, cut, err)
			}
			w.disk = w.disk.Crash()
			db, err = store.Open(options(w, random))
			if err != nil {
				t.Fatalf("%s in operation %d: open: %v", when, cut, err)
			}
			p.check(t, db, fmt.Sprintf("%s in operation %d", when, cut))
			db.Abandon()
			w.disk = w.disk.Crash()
			w.disk.CutAfter(1 + rng.IntN(cut))
		}
		if whole {
			t.Logf("%d places to cut", cut)
			return
		}
	}
}

// TestSyncFails: a store whose disk failed once promises nothing any more, and what it had promised is there after a restart.
func TestSyncFails(t *testing.T) {
	for _, manual := range []bool{true, false} {
		t.Run(fmt.Sprintf("manual=%v", manual), func(t *testing.T) {
			w := newWorld(3)
			o := w.options()
			o.Manual = manual
			db := w.open(t, o)
			var p pairs
			rng := rand.New(rand.NewPCG(1, 1))
			p.work(db, rng, 10)
			w.disk.FailSync(1)
			p.work(db, rng, 10)
			if db.Failure() == nil {
				t.Fatal("the store did not notice")
			}
			for range 3 {
				if err := db.Apply("p", store.Op{Table: storetest.Loud, Key: []byte("k"), Value: []byte("v")}); !errors.Is(err, store.ErrFailed) {
					t.Fatalf("apply after the failure: %v", err)
				}
				if _, _, err := db.Reserve("c", 1); !errors.Is(err, store.ErrFailed) {
					t.Fatalf("reserve after the failure: %v", err)
				}
			}
			if _, err := db.Get(storetest.Loud, []byte("0/a")); err != nil {
				t.Fatalf("reading ends too: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			// First without a power cut: the kernel still shows the pages that the disk never got. They are written again before
			// anything is built on them, so that a power cut afterwards loses nothing.
			o = w.options()
			o.Manual = true // no checkpoint, which would save what the journal lost
			db = w.open(t, o)
			p.check(t, db, "after the restart")
			p.work(db, rng, 3)
			db.Abandon()
			w.disk = w.disk.Crash()
			o = w.options()
			db = w.open(t, o)
			p.check(t, db, "after the power cut")
			db.Close()
		})
	}
}

// TestDiskFull: nothing was written, so nothing is lost but the answer; with room again it goes on.
func TestDiskFull(t *testing.T) {
	w := newWorld(4)
	o := w.options()
	o.Manual, o.SegmentBytes, o.CheckpointOps, o.BatchBytes, o.CheckpointEvery = true, 4<<12, 1<<20, 4096, 1<<62
	o.JournalBytes = 1 << 40
	db := w.open(t, o)
	w.disk.Capacity(16 << 12)
	version := uint64(0)
	stored := 0
	put := func() error {
		ops := []store.Op{{Table: storetest.Loud, Key: []byte("k"), Value: fmt.Append(nil, stored), Cond: store.IfVersion, Version: version}}
		if version == 0 {
			ops[0].Cond = store.IfAbsent
		}
		err := db.Apply("p", ops...)
		if err == nil {
			version = ops[0].Version
			stored++
		}
		return err
	}
	var err error
	for err == nil && stored < 1000 {
		err = put()
	}
	if !errors.Is(err, store.ErrFull) || stored == 0 {
		t.Fatalf("after %d changes: %v", stored, err)
	}
	if err := put(); !errors.Is(err, store.ErrFull) {
		t.Fatalf("once more: %v", err)
	}
	if rec, err := db.Get(storetest.Loud, []byte("k")); err != nil || rec.Version != version {
		t.Fatalf("readers see version %d, %v; committed is %d", rec.Version, err, version)
	}
	if err := db.Checkpoint(); err != nil { // frees segments
		t.Fatal(err)
	}
	for range 5 {
		if err := put(); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	db.Abandon()
	w.disk = w.disk.Crash()
	db = w.open(t, w.options())
	if rec, err := db.Get(storetest.Loud, []byte("k")); err != nil || rec.Version != version {
		t.Fatalf("after the crash version %d, %v; want %d", rec.Version, err, version)
	}
	db.Close()
}

// fakeClock is moved by hand.
type fakeClock struct{ now time.Duration }

func (c *fakeClock) Now() time.Duration { return c.now }
func (c *fakeClock) Wall() time.Time    { return time.Unix(1_700_000_000, 0).Add(c.now) }

// TestSlowSync: with a disk that takes its time under a simulated clock, an answer comes when the sync is over and not before, what
// comes meanwhile goes into the next batch, and a power cut in between loses nothing acknowledged.
func TestSlowSync(t *testing.T) {
	clock := &fakeClock{now: time.Second}
	w := newWorld(5)
	o := w.options()
	o.Manual, o.Clock = true, clock
	w.disk.SlowSync(clock.Now, func() time.Duration { return 40 * time.Millisecond }, nil)
	db := w.open(t, o)
	clock.now += time.Second
	var answers []string
	put := func(key string) {
		ops := []store.Op{{Table: storetest.Loud, Key: []byte(key), Value: []byte("v")}}
		db.ApplyAsync(key, ops, func(err error) { answers = append(answers, fmt.Sprintf("%s %v %v", key, err, clock.now)) })
	}
	put("a")
	if next := db.Step(); next != clock.now+40*time.Millisecond || len(answers) != 0 {
		t.Fatalf("next step at %v, answers %q", next, answers)
	}
	put("b")
	put("c")
	clock.now += 39 * time.Millisecond
	db.Step()
	if _, err := db.Get(storetest.Loud, []byte("a")); !errors.Is(err, store.ErrNotFound) || len(answers) != 0 {
		t.Fatalf("visible before it is durable: %v, %q", err, answers)
	}
	clock.now += time.Millisecond
	next := db.Step()
	if len(answers) != 1 || next != clock.now+40*time.Millisecond {
		t.Fatalf("answers %q, next step at %v", answers, next)
	}
	db.Abandon()
	w.disk = w.disk.Crash()
	db = w.open(t, w.options())
	defer db.Close()
	if _, err := db.Get(storetest.Loud, []byte("a")); err != nil {
		t.Fatalf("acknowledged and lost: %v", err)
	}
}

// TestStepCheckpoints: in manual mode the image is written when the clock says so.
func TestStepCheckpoints(t *testing.T) {
	clock := &fakeClock{}
	w := newWorld(6)
	o := w.options()
	o.Manual, o.Clock, o.CheckpointEvery = true, clock, 2*time.Second
	db := w.open(t, o)
	defer db.Close()
	if next := db.Step(); next != store.Never {
		t.Fatalf("an idle store wants to be called at %v", next)
	}
	if err := db.Apply("p", store.Op{Table: storetest.Loud, Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	inImage := func() bool {
		_, err := w.image.Get(storetest.Loud, []byte("k"))
		return err == nil
	}
	next := db.Step()
	if next != 2*time.Second || inImage() {
		t.Fatalf("next step at %v, in the image: %v", next, inImage())
	}
	clock.now = next
	if next = db.Step(); next != store.Never || !inImage() {
		t.Fatalf("next step at %v, in the image: %v", next, inImage())
	}
}
