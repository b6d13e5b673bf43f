package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"imsafe/store"
)

// scanAll walks all pages.
func (f *fixture) scanAll(prefix string, limit int) []store.Record {
	f.t.Helper()
	var all []store.Record
	var cursor []byte
	for {
		page, next, err := f.Scan(Loud, []byte(prefix), cursor, limit)
		if err != nil || len(page) > limit {
			f.t.Fatalf("scan %q after %q: %d records, %v", prefix, cursor, len(page), err)
		}
		all = append(all, page...)
		if next == nil {
			return all
		}
		if bytes.Compare(next, cursor) <= 0 {
			f.t.Fatalf("scan stands still at %q", cursor)
		}
		cursor = next
	}
}

// wantScan compares all pages with the model.
func (f *fixture) wantScan(prefix string, limit int, model map[string]string) {
	f.t.Helper()
	var want, got []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if strings.HasPrefix(k, prefix) {
			want = append(want, k+"="+model[k])
		}
	}
	for _, r := range f.scanAll(prefix, limit) {
		got = append(got, string(r.Key)+"="+string(r.Value))
	}
	if !slices.Equal(got, want) {
		f.t.Fatalf("scan %q by %d:\ngot  %q\nwant %q", prefix, limit, got, want)
	}
}

func testScan(t *testing.T, f *fixture) {
	model := map[string]string{}
	write := func(key, value string) {
		model[key] = value
		f.put(key, value, store.Always, 0)
	}
	remove := func(key string) {
		delete(model, key)
		if err := f.Apply("p", store.Op{Table: Loud, Key: []byte(key)}); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		for _, limit := range []int{1, 2, 3, 7, 100} {
			for _, prefix := range []string{"", "a", "a\xff", "\xff", "b/", "none"} {
				f.wantScan(prefix, limit, model)
			}
		}
	}
	check()
	for _, key := range []string{"a", "a\x00", "a/1", "a/2", "a\xff", "a\xff\xff", "a\xff1", "b", "b/1", "b/2", "b0", "\xff", "\xff\xff", "\xffz"} {
		write(key, "old")
	}
	check()
	f.reopen() // all of it in the image
	check()
	for _, key := range []string{"a/2", "b/1", "a\xff\xff"} { // some of it changed since
		write(key, "new")
	}
	for _, key := range []string{"a/3", "b/0", "a\xff0", "\xffa", "zz"} {
		write(key, "added")
	}
	for _, key := range []string{"a", "b0", "\xff\xff", "a/3"} {
		remove(key)
	}
	check()
	f.crash()
	check()
}

func testChanges(t *testing.T, f *fixture) {
	last := map[string]store.Change{} // what the outbox must end with, by key
	write := func(key string, value []byte) {
		ops := []store.Op{
			{Table: Loud, Key: []byte(key), Value: value},
			{Table: Quiet, Key: []byte(key), Value: value},
		}
		if err := f.Apply("p", ops...); err != nil {
			t.Fatal(err)
		}
		last[key] = store.Change{Sequence: ops[0].Version, Table: Loud, Key: []byte(key), Deleted: value == nil}
	}
	cursor := uint64(0)
	seen := map[string]store.Change{}
	follow := func() {
		t.Helper()
		for {
			rows, next, err := f.Changes(cursor, 3)
			if err != nil || len(rows) > 3 {
				t.Fatalf("changes after %d: %d rows, %v", cursor, len(rows), err)
			}
			for _, c := range rows {
				if c.Sequence <= cursor || c.Table != Loud {
					t.Fatalf("after %d: %+v", cursor, c)
				}
				cursor = c.Sequence
				seen[string(c.Key)] = c
			}
			if cursor != next {
				t.Fatalf("next cursor %d, last row %d", next, cursor)
			}
			if len(rows) == 0 {
				break
			}
		}
		for key, want := range last {
			if got := seen[key]; got.Sequence != want.Sequence || got.Deleted != want.Deleted {
				t.Fatalf("%s: last seen %+v, want %+v", key, got, want)
			}
		}
	}
	follow()
	for round := range 4 {
		for i := range 10 {
			write(fmt.Sprintf("k%d", i), fmt.Append(nil, round))
		}
		write(fmt.Sprintf("k%d", round), nil)
		if round%2 == 0 {
			f.reopen()
		}
		follow()
	}
	// From the start again, over image and memory.
	cursor = 0
	clear(seen)
	follow()
	f.crash()
	follow()
}

func testPrefetch(t *testing.T, f *fixture) {
	random := rand.New(rand.NewPCG(1, 2))
	there := map[string]bool{}
	name := func() string { return fmt.Sprintf("u%0*d", 1+random.IntN(3), random.IntN(400)) }
	for round := range 12 {
		for range 40 {
			if key := name(); there[key] && random.IntN(2) == 0 {
				delete(there, key)
				if err := f.Apply("p", store.Op{Table: Loud, Key: []byte(key)}); err != nil {
					t.Fatal(err)
				}
			} else {
				there[key] = true
				f.put(key, "v", store.Always, 0)
			}
		}
		if round%3 == 2 {
			f.reopen()
		}
		var keys [][]byte
		for range random.IntN(60) {
			keys = append(keys, []byte(name()))
		}
		if err := f.Prefetch(Loud, keys); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			rec, err := f.Get(Loud, key)
			if found := err == nil; found != there[string(key)] || found && !bytes.Equal(rec.Key, key) {
				t.Fatalf("%q after it was fetched: %v, %v; there: %v", key, rec, err, there[string(key)])
			}
			err = f.Apply("p", store.Op{Table: Loud, Key: key, Value: []byte("v"), Cond: store.IfAbsent})
			if (err == nil) == there[string(key)] {
				t.Fatalf("%q made anew: %v; there: %v", key, err, there[string(key)])
			}
			there[string(key)] = true
		}
	}
	if err := f.Prefetch(Loud, [][]byte{nil}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("an empty key: %v", err)
	}
}

func testSweep(t *testing.T, f *fixture) {
	put := func(key string, expires int64) {
		op := store.Op{Table: Loud, Key: []byte(key), Value: []byte("v"), Expires: expires}
		if err := f.Apply("p", op); err != nil {
			t.Fatal(err)
		}
	}
	want := func(now int64, limit int, keys ...string) {
		t.Helper()
		due, err := f.Sweep(Loud, now, limit)
		var got []string
		for _, r := range due {
			got = append(got, string(r.Key))
		}
		if err != nil || !slices.Equal(got, keys) {
			t.Fatalf("sweep at %d: %q, %v, want %q", now, got, err, keys)
		}
	}
	want(1000, 10)
	put("never", 0)
	for i := range 8 {
		put(fmt.Sprintf("k%d", i), int64(100+i))
	}
	want(99, 10)
	want(101, 10, "k0", "k1")
	want(1000, 3, "k0", "k1", "k2")
	f.reopen()
	want(101, 10, "k0", "k1")
	put("k0", 200) // refreshed: the image still says 100
	put("k2", 0)
	put("young", 90)
	want(103, 10, "k1", "k3", "young")
	want(103, 2, "k1", "k3")
	due, err := f.Sweep(Loud, 103, 10)
	if err != nil {
		t.Fatal(err)
	}
	put("k1", 300) // between sweep and removal
	for _, r := range due {
		err := f.Apply("p", store.Op{Table: Loud, Key: r.Key, Cond: store.IfVersion, Version: r.Version})
		if refreshed := string(r.Key) == "k1"; refreshed != errors.Is(err, store.ErrConflict) || !refreshed && err != nil {
			t.Fatalf("remove %s: %v", r.Key, err)
		}
	}
	want(103, 10)
	f.crash()
	want(103, 10)
	want(1000, 10, "k0", "k1", "k4", "k5", "k6", "k7")
}

// testModel does random work and compares the store with a map all the time, over reopens and crashes.
func testModel(t *testing.T, f *fixture) {
	rng := rand.New(rand.NewPCG(7, 7))
	model := map[string]string{}
	versions := map[string]uint64{}
	for i := range 3000 {
		key := fmt.Sprintf("k%02d", rng.IntN(60))
		switch n := rng.IntN(1000); {
		case n < 4:
			f.reopen()
		case n < 8:
			f.crash()
		case n < 12:
			f.wantScan(key[:2], 1+rng.IntN(9), model)
		case n < 500:
			rec, err := f.Get(Loud, []byte(key))
			want, exists := model[key]
			if exists != (err == nil) || string(rec.Value) != want || rec.Version != versions[key] {
				t.Fatalf("step %d: get %s: %q version %d, %v; want %q version %d", i, key, rec.Value, rec.Version, err, want, versions[key])
			}
		default:
			f.randomApply(rng, i, model, versions)
		}
	}
	f.reopen()
	f.wantScan("", 13, model)
}

// randomApply changes one to three records under random conditions.
func (f *fixture) randomApply(rng *rand.Rand, i int, model map[string]string, versions map[string]uint64) {
	f.t.Helper()
	var ops []store.Op
	holds := true
	for range 1 + rng.IntN(3) {
		key := fmt.Sprintf("k%02d", rng.IntN(60))
		op := store.Op{Table: Loud, Key: []byte(key), Value: fmt.Append(nil, i), Cond: store.Cond(rng.IntN(3)), Version: versions[key]}
		if rng.IntN(4) == 0 {
			op.Value = nil
		}
		if rng.IntN(8) == 0 {
			op.Version++
		}
		_, exists := model[key]
		switch op.Cond {
		case store.IfAbsent:
			holds = holds && !exists
		case store.IfVersion:
			holds = holds && exists && op.Version == versions[key]
		}
		ops = append(ops, op)
	}
	err := f.Apply("p", ops...)
	if holds != (err == nil) || err != nil && !errors.Is(err, store.ErrConflict) {
		f.t.Fatalf("step %d: %v, conditions hold: %v", i, err, holds)
	}
	if err != nil {
		return
	}
	for _, op := range ops {
		if op.Value == nil {
			delete(model, string(op.Key))
			delete(versions, string(op.Key))
		} else {
			model[string(op.Key)] = string(op.Value)
			versions[string(op.Key)] = op.Version
		}
	}
}
