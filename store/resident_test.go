package store

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"imsafe/store/disk"
)

// stubClock stands still.
type stubClock struct{}

func (stubClock) Now() time.Duration { return 0 }
func (stubClock) Wall() time.Time    { return time.Time{} }

func testChange(r *resident, key string, version uint64, value string, deleted bool) *change {
	c := &change{block: []byte(key + value), keyLen: uint16(len(key)), table: 1, version: version, deleted: deleted}
	c.hash = r.hash(1, []byte(key))
	return c
}

// TestFillRace: what was read from the image before a checkpoint ended must not be cached after it, when the record it wrote may
// have left memory again.
func TestFillRace(t *testing.T) {
	r := newResident(0) // nothing clean is kept
	key := []byte("k")
	generation := r.generation.Load()
	fromImage := Record{Key: key, Value: []byte("old"), Version: 1} // the reader has read, and sleeps
	c := testChange(r, "k", 2, "new", false)
	r.accept(c)
	if version, exists, known := r.newest(c.hash, 1, key); version != 2 || !exists || !known {
		t.Fatalf("newest: %d %v %v", version, exists, known)
	}
	if _, _, hit := r.lookup(1, key); hit {
		t.Fatal("what is not committed is visible")
	}
	r.commit(c)
	if rec, found, ok := r.fill(1, key, fromImage, true, generation); !ok || !found || rec.Version != 2 {
		t.Fatalf("memory knows better: %+v %v %v", rec, found, ok)
	}
	r.generation.Add(1)
	r.saved(c)
	for i := range r.stripes { // and the record leaves
		s := &r.stripes[i]
		s.limit = -1
		s.evict()
		s.limit = 1 << 20
	}
	if _, _, hit := r.lookup(1, key); hit {
		t.Fatal("it did not leave: the test shows nothing")
	}
	if _, _, ok := r.fill(1, key, fromImage, true, generation); ok {
		t.Fatal("an old version came back")
	}
	if rec, found, ok := r.fill(1, key, Record{Key: key, Value: []byte("new"), Version: 2}, true, r.generation.Load()); !ok || !found || rec.Version != 2 {
		t.Fatalf("after reading again: %+v %v %v", rec, found, ok)
	}
}

// TestEvict: clean records stay under the limit, dirty and pending ones stay, what is used outlives what was read once.
func TestEvict(t *testing.T) {
	const limit = stripeCount * 20 * (entryOverhead + 30)
	r := newResident(limit)
	var dirty []*change
	for i := range 500 {
		c := testChange(r, fmt.Sprintf("dirty%d", i), uint64(i+1), "v", i%7 == 0)
		r.accept(c)
		r.commit(c)
		dirty = append(dirty, c)
	}
	hot := func(i int) []byte { return fmt.Appendf(nil, "hot%d", i) }
	for i := range 100 {
		r.fill(1, hot(i), Record{Value: []byte("v"), Version: 1}, true, 0)
	}
	for i := range 20_000 {
		key := fmt.Appendf(nil, "once%d", i)
		r.fill(1, key, Record{Value: bytes.Repeat([]byte("v"), i%50), Version: 1}, i%2 == 0, 0)
		r.lookup(1, hot(i%100))
	}
	if r.octets() > limit {
		t.Errorf("%d octets are kept, the limit is %d", r.octets(), limit)
	}
	stayed := 0
	for i := range 100 {
		if _, _, hit := r.lookup(1, hot(i)); hit {
			stayed++
		}
	}
	if stayed < 95 {
		t.Errorf("%d of 100 hot records are left", stayed)
	}
	for _, c := range dirty {
		rec, err, hit := r.lookup(1, c.key())
		if !hit || (err != nil) != c.deleted || !c.deleted && rec.Version != c.version {
			t.Fatalf("%s is not in the image and not in memory: %+v %v %v", c.key(), rec, err, hit)
		}
	}
	r.generation.Add(1)
	for _, c := range dirty {
		r.saved(c)
	}
	if r.octets() > limit {
		t.Errorf("after the checkpoint %d octets", r.octets())
	}
	// Everything leaves; the accounting ends at zero.
	for i := range r.stripes {
		r.stripes[i].limit = -1
		r.stripes[i].evict()
		if n := r.stripes[i].index.count; n != 0 || r.stripes[i].clean != 0 {
			t.Fatalf("stripe %d: %d entries and %d octets are left", i, n, r.stripes[i].clean)
		}
	}
}

// TestShorten: what an import took is given back when its records are in the image, and all that was kept in memory stays; not while one of
// those far behind is still to be saved.
func TestShorten(t *testing.T) {
	const many, kept = 200_000, 300 // in all stripes; records of each that stay
	r := newResident(stripeCount * kept * (entryOverhead + 16))
	slots := func() (n, words int) {
		for i := range r.stripes {
			n, words = n+len(r.stripes[i].entries), words+len(r.stripes[i].index.words)
		}
		return n, words
	}
	var changes []*change
	for i := range many {
		c := testChange(r, fmt.Sprintf("%08d", i), uint64(i+1), "value", false)
		r.accept(c)
		r.commit(c)
		changes = append(changes, c)
	}
	wasSlots, wasWords := slots()
	last := changes[many-stripeCount*8:] // some of each stripe, at its end
	for _, c := range changes[:len(changes)-len(last)] {
		r.saved(c)
	}
	r.settle()
	if n, _ := slots(); n < wasSlots/2 {
		t.Errorf("%d slots of %d are left while records at the end are dirty", n, wasSlots)
	}
	for _, c := range last {
		r.saved(c)
	}
	var there []*change
	for _, c := range changes {
		if _, _, hit := r.lookup(1, c.key()); hit {
			there = append(there, c)
		}
	}
	octets := r.octets()
	r.settle()
	n, words := slots()
	t.Logf("%d of %d slots, %d of %d words for %d records", n, wasSlots, words, wasWords, len(there))
	if len(there) < stripeCount*kept/2 || n > len(there)*5/4 || words > 4*len(there) {
		t.Errorf("%d slots and %d words for %d records", n, words, len(there))
	}
	for _, c := range there {
		if rec, err, hit := r.lookup(1, c.key()); !hit || err != nil || rec.Version != c.version {
			t.Fatalf("%s: %+v %v %v", c.key(), rec, err, hit)
		}
	}
	if r.octets() != octets {
		t.Errorf("%d octets, before %d", r.octets(), octets)
	}
	for i := range many { // and it goes on
		c := testChange(r, fmt.Sprintf("%08d", i), uint64(many+i+1), "another", false)
		r.accept(c)
		r.commit(c)
		r.saved(c)
	}
	if r.octets() > octets+stripeCount*(entryOverhead+16) {
		t.Errorf("%d octets, before %d", r.octets(), octets)
	}
}

// TestSameHash: records whose hashes are equal are still different records.
func TestSameHash(t *testing.T) {
	r := newResident(1 << 20)
	var s stripe
	s.limit = 1 << 20
	for i := range 10 {
		key := fmt.Appendf(nil, "k%d", i)
		e := &s.entries[s.add(42, 1, key, len(key))-1]
		e.version = uint64(i)
		e.flags |= flagKnown
	}
	check := func(gone map[int]bool) {
		t.Helper()
		for i := range 10 {
			e := s.find(42, 1, fmt.Appendf(nil, "k%d", i))
			if gone[i] != (e == nil) || e != nil && e.version != uint64(i) {
				t.Fatalf("k%d: %+v", i, e)
			}
			if s.find(42, 2, fmt.Appendf(nil, "k%d", i)) != nil {
				t.Fatal("the table does not matter")
			}
		}
	}
	check(nil)
	gone := map[int]bool{}
	for _, i := range []int{9, 0, 5, 4, 1, 8} { // head, tail, middle of the chain
		s.remove(s.locate(42, 1, fmt.Appendf(nil, "k%d", i)) - 1)
		gone[i] = true
		check(gone)
	}
	if r.hash(1, []byte("k")) == r.hash(2, []byte("k")) {
		t.Error("tables share hashes")
	}
}

// TestReject: what was accepted and never written leaves no trace.
func TestReject(t *testing.T) {
	r := newResident(1 << 20)
	r.fill(1, []byte("known"), Record{Value: []byte("v"), Version: 1}, true, 0)
	before := r.octets()
	for _, key := range []string{"known", "unknown"} {
		first, second := testChange(r, key, 2, "a", false), testChange(r, key, 3, "b", true)
		r.accept(first)
		r.accept(second)
		if version, exists, _ := r.newest(first.hash, 1, []byte(key)); version != 3 || exists {
			t.Errorf("%s: newest is %d %v", key, version, exists)
		}
		r.reject(first)
		r.reject(second)
	}
	if version, exists, known := r.newest(r.hash(1, []byte("known")), 1, []byte("known")); version != 1 || !exists || !known {
		t.Errorf("known: %d %v %v", version, exists, known)
	}
	if _, _, known := r.newest(r.hash(1, []byte("unknown")), 1, []byte("unknown")); known {
		t.Error("unknown is known")
	}
	if r.octets() != before {
		t.Errorf("%d octets, before %d", r.octets(), before)
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	r := newResident(1 << 20)
	r.fill(1, []byte("k"), Record{Value: make([]byte, 600), Version: 1}, true, 0)
	db := &DB{resident: r}
	key := []byte("k")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := db.Get(1, key); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per Get", n)
	}
}

// TestPace plays arrivals to the pacer: one caller after the other is never kept waiting, a crowd is gathered, a crowd too small to
// be worth it is let go.
func TestPace(t *testing.T) {
	const window = 3 * time.Millisecond
	run := func(arrive func(paced bool) (requests, during int), batches int) (waited int) {
		p := pacer{window: window}
		now := time.Duration(0)
		for range batches {
			wait := p.wait(now)
			paced := wait > 0
			if paced {
				waited++
				now += wait
			}
			requests, during := arrive(paced)
			p.begin(now, requests)
			now += 300 * time.Microsecond
			p.end(during)
		}
		return waited
	}
	if n := run(func(bool) (int, int) { return 1, 0 }, 1000); n != 0 {
		t.Errorf("a single caller waited %d times", n)
	}
	if n := run(func(paced bool) (int, int) {
		if paced {
			return 15, 2
		}
		return 2, 2
	}, 1000); n < 950 {
		t.Errorf("a crowd was gathered %d times of 1000", n)
	}
	if n := run(func(bool) (int, int) { return 2, 1 }, 1000); n > 50 {
		t.Errorf("two callers waited %d times of 1000", n)
	}
	p := pacer{window: -1, on: true}
	if p.wait(0) != 0 {
		t.Error("it waits without a window")
	}
}

// TestTableNames: what becomes SQL is a plain word.
func TestTableNames(t *testing.T) {
	for name, good := range map[string]bool{
		"subscribers": true, "t1": true, "a_b_c": true, "s": true, "sessions": true, "": false, "T": false, "1a": false, "a b": false,
		"a;drop": false, "a\"": false, "sqlite_x": false, "meta": false, "changes": false, "counters": false, "tables": false, "manifest": false,
		"a23456789012345678901234567890123": false,
	} {
		o := Options{Disk: disk.NewFake(1), Image: Memory().Open, Clock: stubClock{}, Random: bytes.NewReader(nil), Tables: []TableSpec{{Table: 1, Name: name}}}
		if _, err := o.withDefaults(); good != (err == nil) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// BenchmarkResident is a record of 200,000, each time another one: read; and changed until the image has it. It costs what memory costs.
func BenchmarkResident(b *testing.B) {
	const records = 200_000
	r := newResident(1 << 30)
	keys := make([][]byte, records)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%08d@ims.mnc001.mcc001.3gppnetwork.org", i*7919%records)
		r.fill(1, keys[i], Record{Value: make([]byte, 200), Version: 1}, true, 0)
	}
	b.Run("lookup", func(b *testing.B) {
		for i := range b.N {
			if _, _, hit := r.lookup(1, keys[i%records]); !hit {
				b.Fatal("lost")
			}
		}
	})
	b.Run("change", func(b *testing.B) {
		version := uint64(1)
		for i := range b.N {
			version++
			k := keys[i%records]
			c := change{block: k, keyLen: uint16(len(k)), table: 1, version: version, hash: r.hash(1, k)}
			r.newest(c.hash, c.table, k)
			r.accept(&c)
			r.commit(&c)
			r.saved(&c)
		}
	})
}
