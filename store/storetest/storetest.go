// Package storetest is the conformance suite of store.Store: every engine passes it before a room may stand on it. Only tests import
// it. A test may use the tables that Tables declares.
package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"imsafe/store"
)

// Tables of the suite.
const (
	Loud  store.Table = 240 // its changes are in the outbox
	Quiet store.Table = 241 // its changes are not
)

// Tables declares the suite's tables.
func Tables() []store.TableSpec {
	return []store.TableSpec{{Table: Loud, Name: "loud"}, {Table: Quiet, Name: "quiet", Quiet: true}}
}

// Engine opens one store again and again over the same state.
type Engine struct {
	// Open opens the store; a second Open sees what the first had acknowledged.
	Open func(t testing.TB) store.Store
	// Close ends the store that Open gave, cleanly.
	Close func(t testing.TB, s store.Store)
	// Crash ends it as a power cut or a kill would; nil if the engine cannot.
	Crash func(t testing.TB, s store.Store)
}

// Run runs the suite; factory makes an engine over new, empty state.
func Run(t *testing.T, factory func(t testing.TB) Engine) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"a record is written, changed, deleted", testLife},
		{"values and keys of any octets come back", testOctets},
		{"an op beyond the limits is refused", testInvalid},
		{"if absent succeeds once", testIfAbsent},
		{"if version refuses a record that was deleted and made again", testABA},
		{"an apply with one false condition changes nothing", testAtomic},
		{"a false condition does not touch its neighbours", testIsolation},
		{"increments by many are not lost", testRace},
		{"changes of a partition take effect in the order of the calls", testOrder},
		{"what is acknowledged is visible in the callback", testVisible},
		{"what was read stays the newest while the table has not changed", testChanged},
		{"reservations never overlap", testReserve},
		{"a scan gives every record once, in order", testScan},
		{"what was fetched before is what there is", testPrefetch},
		{"the outbox has the last change of every record", testChanges},
		{"the sweeper sees what has expired and nothing else", testSweep},
		{"random work agrees with a map", testModel},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{t: t, engine: factory(t)}
			f.Store = f.engine.Open(t)
			defer func() { f.engine.Close(t, f.Store) }()
			c.test(t, f)
		})
	}
}

// fixture is a store that can be closed and opened again.
type fixture struct {
	store.Store
	t      testing.TB
	engine Engine
}

func (f *fixture) reopen() {
	f.engine.Close(f.t, f.Store)
	f.Store = f.engine.Open(f.t)
}

// crash is reopen for engines that cannot crash.
func (f *fixture) crash() {
	if f.engine.Crash == nil {
		f.reopen()
		return
	}
	f.engine.Crash(f.t, f.Store)
	f.Store = f.engine.Open(f.t)
}

// put writes and must succeed; it returns the new version.
func (f *fixture) put(key, value string, cond store.Cond, version uint64) uint64 {
	f.t.Helper()
	ops := []store.Op{{Table: Loud, Key: []byte(key), Value: []byte(value), Cond: cond, Version: version}}
	if err := f.Apply("p", ops...); err != nil {
		f.t.Fatalf("put %s: %v", key, err)
	}
	return ops[0].Version
}

// testChanged keeps what it read as long as Changed allows, while others write: it is never behind what was acknowledged before it looked.
func testChanged(t *testing.T, f *fixture) {
	if f.Changed(Loud) == 0 {
		t.Error("the number is 0")
	}
	before := f.Changed(Quiet)
	f.put("k", "0", store.Always, 0)
	if f.Changed(Quiet) != before {
		t.Error("a change of one table was one of another")
	}
	var acknowledged atomic.Uint64
	var done atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		defer done.Store(true)
		for range 200 {
			ops := []store.Op{{Table: Quiet, Key: []byte("x"), Value: []byte("y")}, {Table: Loud, Key: []byte("k"), Value: []byte("v")}}
			if err := f.Apply("p", ops...); err != nil {
				t.Error(err)
				return
			}
			acknowledged.Store(ops[1].Version)
		}
	})
	var kept store.Record
	var as uint64 // Changed, at which kept was read
	for !done.Load() {
		least := acknowledged.Load()
		if now := f.Changed(Loud); now != as {
			rec, err := f.Get(Loud, []byte("k"))
			if err != nil {
				t.Fatal(err)
			}
			kept, as = rec, now
		}
		if kept.Version < least {
			t.Fatalf("version %d is kept, %d was acknowledged before", kept.Version, least)
		}
	}
	writer.Wait()
}

func (f *fixture) want(key, value string, version uint64) {
	f.t.Helper()
	rec, err := f.Get(Loud, []byte(key))
	if err != nil {
		f.t.Fatalf("get %s: %v", key, err)
	}
	if string(rec.Value) != value || rec.Version != version || string(rec.Key) != key {
		f.t.Fatalf("get %s: %q %q version %d, want %q version %d", key, rec.Key, rec.Value, rec.Version, value, version)
	}
}

func (f *fixture) wantError(err, want error) {
	f.t.Helper()
	if !errors.Is(err, want) {
		f.t.Fatalf("got %v, want %v", err, want)
	}
}

func (f *fixture) wantNone(key string) {
	f.t.Helper()
	_, err := f.Get(Loud, []byte(key))
	f.wantError(err, store.ErrNotFound)
}

func testLife(t *testing.T, f *fixture) {
	f.wantNone("a")
	first := f.put("a", "1", store.Always, 0)
	f.want("a", "1", first)
	second := f.put("a", "2", store.IfVersion, first)
	if second <= first {
		t.Fatalf("version %d after %d", second, first)
	}
	f.reopen()
	f.want("a", "2", second)
	f.crash()
	f.want("a", "2", second)
	if err := f.Apply("p", store.Op{Table: Loud, Key: []byte("a"), Cond: store.IfVersion, Version: second}); err != nil {
		t.Fatal(err)
	}
	f.wantNone("a")
	f.crash()
	f.wantNone("a")
	if err := f.Apply("p", store.Op{Table: Loud, Key: []byte("a")}); err != nil {
		t.Fatalf("delete of nothing: %v", err)
	}
	if _, err := f.Get(Quiet, []byte("a")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the other table has it: %v", err)
	}
}

func testOctets(t *testing.T, f *fixture) {
	keys := [][]byte{{0}, {0, 0}, []byte("a\x00b"), []byte("a"), {0xff}, {0xff, 0xff}, []byte("\xc3\x28"), []byte("ключ"), []byte("a'b\"c%_"), bytes.Repeat([]byte("k"), store.MaxKey)}
	values := [][]byte{{}, {0}, []byte("text"), []byte("a\x00b"), bytes.Repeat([]byte{0xff, 0}, 5000), bytes.Repeat([]byte("v"), store.MaxValue)}
	for round := range 3 {
		for i, key := range keys {
			value := values[(i+round)%len(values)]
			if round < 2 {
				op := store.Op{Table: Loud, Key: key, Value: value, Expires: int64(i) << 40}
				if err := f.Apply("p", op); err != nil {
					t.Fatalf("key %q: %v", key, err)
				}
			} else {
				value = values[(i+1)%len(values)]
			}
			rec, err := f.Get(Loud, key)
			if err != nil || rec.Value == nil || !bytes.Equal(rec.Value, value) || !bytes.Equal(rec.Key, key) || rec.Expires != int64(i)<<40 {
				t.Fatalf("round %d, key %q: %d octets, expires %d, %v", round, key, len(rec.Value), rec.Expires, err)
			}
		}
		f.reopen()
	}
}

func testInvalid(t *testing.T, f *fixture) {
	good := store.Op{Table: Loud, Key: []byte("k"), Value: []byte("v")}
	for name, change := range map[string]func(*store.Op){
		"empty key":          func(o *store.Op) { o.Key = nil },
		"long key":           func(o *store.Op) { o.Key = make([]byte, store.MaxKey+1) },
		"long value":         func(o *store.Op) { o.Value = make([]byte, store.MaxValue+1) },
		"table of the store": func(o *store.Op) { o.Table = 0 },
		"unknown table":      func(o *store.Op) { o.Table = 199 },
		"negative expiry":    func(o *store.Op) { o.Expires = -1 },
		"unknown condition":  func(o *store.Op) { o.Cond = 77 },
	} {
		bad := good
		change(&bad)
		if err := f.Apply("p", good, bad); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.wantNone("k")
	if _, _, err := f.Reserve("c", 0); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("reserve of nothing: %v", err)
	}
	if err := f.Apply("p"); err != nil {
		t.Errorf("apply of nothing: %v", err)
	}
}

func testIfAbsent(t *testing.T, f *fixture) {
	op := store.Op{Table: Loud, Key: []byte("a"), Value: []byte("1"), Cond: store.IfAbsent, Expires: 1}
	if err := f.Apply("p", op); err != nil {
		t.Fatal(err)
	}
	f.wantError(f.Apply("p", op), store.ErrConflict) // also though it has expired long ago
	f.crash()
	f.wantError(f.Apply("p", op), store.ErrConflict)
	if err := f.Apply("p", store.Op{Table: Loud, Key: op.Key}); err != nil {
		t.Fatal(err)
	}
	if err := f.Apply("p", op); err != nil {
		t.Fatalf("after the delete: %v", err)
	}
}

func testABA(t *testing.T, f *fixture) {
	old := f.put("a", "1", store.IfAbsent, 0)
	f.wantError(f.Apply("p", store.Op{Table: Loud, Key: []byte("b"), Cond: store.IfVersion, Version: old}), store.ErrConflict)
	if err := f.Apply("p", store.Op{Table: Loud, Key: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	f.reopen()
	again := f.put("a", "1", store.IfAbsent, 0)
	late := store.Op{Table: Loud, Key: []byte("a"), Value: []byte("late"), Cond: store.IfVersion, Version: old}
	f.wantError(f.Apply("p", late), store.ErrConflict)
	f.want("a", "1", again)
}

func testAtomic(t *testing.T, f *fixture) {
	a := f.put("a", "1", store.Always, 0)
	err := f.Apply("p",
		store.Op{Table: Loud, Key: []byte("a"), Value: []byte("2"), Cond: store.IfVersion, Version: a},
		store.Op{Table: Loud, Key: []byte("b"), Value: []byte("2"), Cond: store.IfAbsent},
		store.Op{Table: Quiet, Key: []byte("c"), Value: []byte("2"), Cond: store.IfVersion, Version: 1 << 40})
	f.wantError(err, store.ErrConflict)
	f.want("a", "1", a)
	f.wantNone("b")
	// Conditions are judged against the state before: the two ops on a do not see each other.
	ops := []store.Op{
		{Table: Loud, Key: []byte("a"), Value: []byte("2"), Cond: store.IfVersion, Version: a},
		{Table: Loud, Key: []byte("a"), Value: []byte("3"), Cond: store.IfVersion, Version: a},
		{Table: Loud, Key: []byte("b"), Value: []byte("2"), Cond: store.IfAbsent},
	}
	if err := f.Apply("p", ops...); err != nil {
		t.Fatal(err)
	}
	f.want("a", "3", ops[1].Version)
	f.want("b", "2", ops[2].Version)
	f.crash()
	f.want("a", "3", ops[1].Version)
	f.want("b", "2", ops[2].Version)
}

func testIsolation(t *testing.T, f *fixture) {
	const n = 200
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		op := store.Op{Table: Loud, Key: fmt.Appendf(nil, "k%03d", i), Value: []byte("v")}
		if i%2 == 1 {
			op.Cond, op.Version = store.IfVersion, 1<<40
		}
		wg.Add(1)
		f.ApplyAsync(string(op.Key), []store.Op{op}, func(err error) {
			errs[i] = err
			wg.Done()
		})
	}
	f.settle()
	wg.Wait()
	for i, err := range errs {
		if i%2 == 0 && err != nil || i%2 == 1 && !errors.Is(err, store.ErrConflict) {
			t.Fatalf("apply %d: %v", i, err)
		}
	}
}

// settle lets a store without goroutines work: a blocking call steps it.
func (f *fixture) settle() {
	if err := f.Apply("settle", store.Op{Table: Quiet, Key: []byte("settle"), Value: []byte{}}); err != nil {
		f.t.Fatal(err)
	}
}

func testRace(t *testing.T, f *fixture) {
	const workers, rounds = 8, 40
	key := []byte("counter")
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < rounds; {
				rec, err := f.Get(Loud, key)
				op := store.Op{Table: Loud, Key: key, Cond: store.IfVersion, Version: rec.Version}
				var n uint64
				if errors.Is(err, store.ErrNotFound) {
					op.Cond = store.IfAbsent
				} else if err != nil {
					t.Error(err)
					return
				} else {
					n = binary.BigEndian.Uint64(rec.Value)
				}
				op.Value = binary.BigEndian.AppendUint64(nil, n+1)
				switch err := f.Apply("p", op); {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.crash()
	rec, err := f.Get(Loud, key)
	if err != nil || binary.BigEndian.Uint64(rec.Value) != workers*rounds {
		t.Fatalf("counter %x, %v, want %d", rec.Value, err, workers*rounds)
	}
}

func testOrder(t *testing.T, f *fixture) {
	version := f.put("cold", "0", store.Always, 0)
	f.reopen() // now nothing is in memory: the first op has to wait for the disk, the others for it
	var wg sync.WaitGroup
	var order []int
	for i := range 20 {
		op := store.Op{Table: Loud, Key: []byte("cold"), Value: fmt.Append(nil, i)}
		if i == 0 {
			op.Cond, op.Version = store.IfVersion, version
		}
		wg.Add(1)
		f.ApplyAsync("p", []store.Op{op}, func(err error) {
			if err != nil {
				t.Errorf("apply %d: %v", i, err)
			}
			order = append(order, i) // callbacks come one at a time
			wg.Done()
		})
	}
	f.settle()
	wg.Wait()
	for i, got := range order {
		if i != got {
			t.Fatalf("callbacks in the order %v", order)
		}
	}
	rec, err := f.Get(Loud, []byte("cold"))
	if err != nil || string(rec.Value) != "19" {
		t.Fatalf("%q %v", rec.Value, err)
	}
}

func testVisible(t *testing.T, f *fixture) {
	var wg sync.WaitGroup
	for i := range 100 {
		key := fmt.Appendf(nil, "k%d", i%10)
		ops := []store.Op{{Table: Loud, Key: key, Value: fmt.Append(nil, i)}}
		wg.Add(1)
		f.ApplyAsync(string(key), ops, func(err error) {
			defer wg.Done()
			f.GetAsync(Loud, key, func(rec store.Record, got error) {
				if err != nil || got != nil || rec.Version < ops[0].Version {
					t.Errorf("apply %d: %v; then %v, version %d of %d", i, err, got, rec.Version, ops[0].Version)
				}
			})
		})
	}
	f.settle()
	wg.Wait()
}

func testReserve(t *testing.T, f *fixture) {
	var mu sync.Mutex
	given := map[uint64]bool{}
	highest := uint64(0)
	take := func(n uint64) {
		from, to, err := f.Reserve("sqn/1", n)
		if err != nil || to-from != n {
			t.Errorf("reserve %d: %d to %d, %v", n, from, to, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for v := from; v < to; v++ {
			if given[v] {
				t.Errorf("%d given twice", v)
			}
			given[v] = true
		}
		highest = max(highest, to)
	}
	for round := range 4 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n := range uint64(5) {
					take(n + 1)
				}
			})
		}
		wg.Wait()
		before := highest
		if round%2 == 0 {
			f.reopen()
		} else {
			f.crash()
		}
		take(1)
		if highest <= before {
			t.Fatalf("mark %d after reopen, %d before", highest, before)
		}
	}
	from, _, err := f.Reserve("another", 7)
	if err != nil || from != 0 {
		t.Fatalf("first of another counter: %d %v", from, err)
	}
	_, _, err = f.Reserve("another", 1<<63)
	f.wantError(err, store.ErrExhausted)
	if from, _, err = f.Reserve("another", 1); err != nil || from != 7 {
		t.Fatalf("after a refusal: %d %v", from, err)
	}
}
