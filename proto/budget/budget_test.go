package budget_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imsafe/proto/budget"
)

// exact is a token bucket without a bound on memory: what each key may have at most.
type exact struct {
	rate budget.Rate
	left map[budget.Key]float64
	last map[budget.Key]time.Duration
}

func (e *exact) take(k budget.Key, now time.Duration) bool {
	if _, known := e.left[k]; !known {
		e.left[k], e.last[k] = float64(e.rate.Burst), now
	}
	fill := float64(now-e.last[k]) / float64(e.rate.Per) * float64(e.rate.Limit)
	e.left[k], e.last[k] = min(e.left[k]+fill, float64(e.rate.Burst)), now
	const dust = 1e-4 // a debt is a whole, even number of nanoseconds
	if e.left[k] < 1-dust {
		return false
	}
	e.left[k]--
	return true
}

// credit is what a key has had, and whether that was ever more than its rate gives. The table is stricter than exact buckets where keys
// meet, and must never be more generous.
type credit struct {
	rate  budget.Rate
	spent map[budget.Key][]time.Duration
}

func (c *credit) over(k budget.Key, now time.Duration) bool {
	c.spent[k] = append(c.spent[k], now)
	all := c.spent[k]
	for i, from := range all {
		allowed := float64(c.rate.Burst) + float64(now-from)/float64(c.rate.Per)*float64(c.rate.Limit) + 1e-3
		if float64(len(all)-i) > allowed {
			return true
		}
	}
	return false
}

func rates() *rapid.Generator[budget.Rate] {
	return rapid.Custom(func(t *rapid.T) budget.Rate {
		return budget.Rate{Limit: rapid.IntRange(1, 50).Draw(t, "limit"), Per: time.Duration(rapid.IntRange(1, 10000).Draw(t, "per")) * time.Millisecond,
			Burst: rapid.IntRange(1, 20).Draw(t, "burst")}
	})
}

// TestTable_neverMore: however many keys crowd into a few places, none gets more in any stretch of time than its burst and its rate. Virtual
// time.
func TestTable_neverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rates().Draw(t, "rate")
		table := budget.NewTable(rate, 8)
		c := credit{rate, map[budget.Key][]time.Duration{}}
		var now time.Duration
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond
			k := budget.Key(rapid.Uint64Range(1, 30).Draw(t, "key"))
			if table.Take(k, now).Granted() && c.over(k, now) {
				t.Fatalf("key %d got more than %v", k, rate)
			}
		}
	})
}

// TestTable_exact: with room for all, a table is what exact buckets are, and tells of a first refusal once.
func TestTable_exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rates().Draw(t, "rate")
		table := budget.NewTable(rate, 8)
		e := &exact{rate, map[budget.Key]float64{}, map[budget.Key]time.Duration{}}
		told := map[budget.Key]bool{}
		var now time.Duration
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond
			k := budget.Key(rapid.Uint64Range(1, 8).Draw(t, "key"))
			v := table.Take(k, now)
			if want := e.take(k, now); v.Granted() != want {
				t.Fatalf("key %d at %v: granted %v, want %v of %v", k, now, v.Granted(), want, rate)
			}
			if v == budget.RefusedFirst && told[k] || v == budget.Refused && !told[k] {
				t.Fatalf("key %d at %v: verdict %v, told before: %v", k, now, v, told[k])
			}
			told[k] = !v.Granted()
		}
	})
}

// TestTable_many: n at once are n ones, all or none; more than a bucket can hold need a full one and leave an empty one.
func TestTable_many(t *testing.T) {
	table := budget.NewTable(budget.Rate{Limit: 10, Per: time.Second, Burst: 10}, 8)
	for _, step := range []struct {
		n    int
		now  time.Duration
		want bool
	}{{7, 0, true}, {4, 0, false}, {3, 0, true}, {1, 0, false}, {5, 500 * time.Millisecond, true}, {0, 500 * time.Millisecond, true}, {100, time.Second, false},
		{100, 2 * time.Second, true}, {1, 2 * time.Second, false}} {
		if got := table.TakeN(1, step.n, step.now).Granted(); got != step.want {
			t.Errorf("%d at %v: granted %v", step.n, step.now, got)
		}
	}
}

// TestBucket is the same for the one that all share.
func TestBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rates().Draw(t, "rate")
		b := budget.NewBucket(rate)
		e := &exact{rate, map[budget.Key]float64{}, map[budget.Key]time.Duration{}}
		var now time.Duration
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond
			if got, want := b.Take(now).Granted(), e.take(1, now); got != want {
				t.Fatalf("at %v: %v, want %v of %v", now, got, want, rate)
			}
		}
	})
}

// TestTable_crowd: millions of sources that send once each, at half of what all places together may grant, do not get a hundred honest
// ones refused that keep within their rate; and one that does not keep within it is held all the while.
func TestTable_crowd(t *testing.T) {
	rate := budget.Rate{Limit: 20, Per: time.Second, Burst: 100}
	const places = 1 << 12
	table, keys, r := budget.NewTable(rate, places), budget.NewKeys(), rand.New(rand.NewPCG(1, 1))
	key := func(n uint64) budget.Key { return keys.Of(binary.LittleEndian.AppendUint64(nil, n)) }
	perMilli := places * rate.Limit / 1000 / 2
	refused, greedy, strangers := 0, 0, 0
	for ms := range 10000 {
		now := time.Duration(ms) * time.Millisecond
		for range perMilli {
			if !table.Take(key(1<<63|r.Uint64()), now).Granted() {
				strangers++
			}
		}
		if !table.Take(key(uint64(ms%100)), now).Granted() { // each honest one ten times a second
			refused++
		}
		if table.Take(key(1000), now).Granted() {
			greedy++
		}
	}
	if refused > 0 {
		t.Errorf("honest sources were refused %d of 10000 times", refused)
	}
	if most := rate.Burst + 10*rate.Limit + 1; greedy > most {
		t.Errorf("one source got %d, want at most %d", greedy, most)
	}
	t.Logf("%d of %d strangers refused; the greedy one got %d of 10000", strangers, 10000*perMilli, greedy)
}

func TestRecent(t *testing.T) {
	r := budget.NewRecent(8)
	r.Add(1, time.Minute)
	r.Add(1, time.Second) // it is known for longer
	if !r.Has(1, 30*time.Second) || r.Has(1, time.Minute) || r.Has(2, 0) {
		t.Error("a key is remembered until its time")
	}
	for k := range budget.Key(7) {
		r.Add(k+10, time.Hour)
	}
	r.Add(99, 2*time.Hour) // takes the place of the one whose time ends first
	if r.Has(1, 0) || !r.Has(99, 0) || !r.Has(16, 0) {
		t.Error("the wrong one was forgotten")
	}
	if !r.Take(99, 0) || r.Take(99, 0) {
		t.Error("a key is taken once")
	}
}

func TestKeys(t *testing.T) {
	k := budget.NewKeys()
	a := netip.MustParseAddr
	for _, c := range []struct {
		one, other    string
		source, whole bool // same source, same network
	}{
		{"192.0.2.1", "192.0.2.2", false, true},
		{"192.0.2.1", "::ffff:192.0.2.1", true, true},
		{"192.0.2.1", "192.0.3.1", false, false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true, true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false, true},
		{"2001:db8:0:1::1", "2001:db8:1:1::1", false, false},
	} {
		if got := k.Source(a(c.one)) == k.Source(a(c.other)); got != c.source {
			t.Errorf("%s and %s are the same source: %v", c.one, c.other, got)
		}
		if got := k.Network(a(c.one)) == k.Network(a(c.other)); got != c.whole {
			t.Errorf("%s and %s are of the same network: %v", c.one, c.other, got)
		}
	}
	if k.Source(a("192.0.2.0")) == k.Network(a("192.0.2.0")) || k.OfText("x") != k.Of([]byte("x")) || k.And(1, []byte("x")) == k.And(2, []byte("x")) {
		t.Error("keys of different things meet")
	}
}

func TestRate_unsound(t *testing.T) {
	for _, r := range []budget.Rate{{}, {Limit: 1, Per: time.Second}, {Limit: 1, Burst: 1}, {Limit: 2, Per: 2, Burst: 1}, {Limit: 1, Per: 1 << 62, Burst: 4},
		{Limit: -1, Per: time.Second, Burst: 1}} {
		if r.Sound() {
			t.Errorf("%v is sound", r)
		}
	}
}

// FuzzTable: any order of keys and times; no key gets more than its rate, and nothing panics.
func FuzzTable(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 2, 9, 1, 255, 3, 3})
	f.Fuzz(func(t *testing.T, steps []byte) {
		rate := budget.Rate{Limit: 3, Per: time.Second, Burst: 2}
		table := budget.NewTable(rate, 8)
		c := credit{rate, map[budget.Key][]time.Duration{}}
		var now time.Duration
		for i := 0; i+1 < min(len(steps), 2000); i += 2 {
			now += time.Duration(steps[i+1]) * time.Millisecond
			if k := budget.Key(steps[i]) + 1; table.Take(k, now).Granted() && c.over(k, now) {
				t.Fatalf("key %d got more than %v", k, rate)
			}
		}
	})
}
