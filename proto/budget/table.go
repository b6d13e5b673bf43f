package budget

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Rate is how a bucket fills and what it holds.
type Rate struct {
	Limit int           // so many
	Per   time.Duration // in this time
	Burst int           // at once, after a while of none; at least 1
}

// Sound reports whether a bucket can have this rate: Burst and Limit are at least 1, and the bucket is full within a year.
func (r Rate) Sound() bool {
	const year = 365 * 24 * time.Hour
	return r.Limit >= 1 && r.Burst >= 1 && r.Per > 0 && r.Per/time.Duration(r.Limit) > 1 && float64(r.Per)*float64(r.Burst)/float64(r.Limit) < float64(year)
}

// Times is n times as much in the same time.
func (r Rate) Times(n int) Rate { return Rate{Limit: r.Limit * n, Per: r.Per, Burst: r.Burst * n} }

// String returns "20 in 1s, 100 at once".
func (r Rate) String() string { return fmt.Sprintf("%d in %v, %d at once", r.Limit, r.Per, r.Burst) }

// pace is a Rate in nanoseconds: what one costs, and how much may be owed. The lowest bit of a debt is not part of it.
type pace struct{ cost, most int64 }

func (r Rate) pace() pace {
	if !r.Sound() {
		panic("budget: unsound rate " + r.String())
	}
	cost := int64(r.Per) / int64(r.Limit)
	return pace{cost: cost, most: cost * int64(r.Burst)}
}

// Verdict is the answer of a budget.
type Verdict uint8

// The verdicts.
const (
	Granted Verdict = iota
	Refused
	// RefusedFirst is Refused for the first time since something was granted: when somebody may be told of it once.
	RefusedFirst
)

// Granted reports whether it is spent.
func (v Verdict) Granted() bool { return v == Granted }

// take spends out of a bucket that is full at *full. The bucket is an instant, so it needs no clock of its own and does not have to be
// filled: what is owed is the time until then (the generic cell rate algorithm, ITU-T I.371). Its lowest bit says that a refusal was told.
func (p pace) take(full *int64, now, cost int64) Verdict {
	next := max(*full&^1, now) + cost
	if next-now <= p.most {
		*full = next &^ 1
		return Granted
	}
	if *full&1 != 0 {
		return Refused
	}
	*full |= 1
	return RefusedFirst
}

const (
	ways    = 8   // buckets of a set: 128 octets, two lines of the cache
	stripes = 256 // locks
)

// place is a bucket, or a key that is remembered until full.
type place struct {
	key  Key // 0: nobody's
	full int64
}

type set [ways]place

// find returns the place of key, -1 if there is none, and the one with the least.
func (s *set) find(key Key) (own, least int) {
	own = -1
	for i := range s {
		if s[i].key == key {
			own = i
		}
		if s[i].full < s[least].full {
			least = i
		}
	}
	return own, least
}

// sets is the memory of a Table or a Recent.
type sets struct {
	mask  uint64
	sets  []set
	locks [stripes]struct {
		sync.Mutex
		_ [56]byte // a line of the cache for each
	}
}

// hold makes room for at least so many places.
func (x *sets) hold(places int) {
	n := 1
	for n*ways < places {
		n *= 2
	}
	x.sets, x.mask = make([]set, n), uint64(n-1)
}

// of returns the set of a key, locked.
func (x *sets) of(key Key) (*set, *sync.Mutex) {
	i := uint64(key) & x.mask
	l := &x.locks[i%stripes].Mutex
	l.Lock()
	return &x.sets[i], l
}

// Table has a bucket for every key that spends.
type Table struct {
	pace
	sets
}

// NewTable makes a Table of buckets of one rate, with room for at least so many that owe something at the same moment: 16 octets each. It
// panics if r is not sound.
func NewTable(r Rate, places int) *Table {
	t := &Table{pace: r.pace()}
	t.hold(places)
	return t
}

// Take spends one of key's at now, on a monotonic clock that begins at 0 or later.
func (t *Table) Take(key Key, now time.Duration) Verdict { return t.TakeN(key, 1, now) }

// TakeN spends n of key's, all or none. More than there can be at once cost as much as that.
func (t *Table) TakeN(key Key, n int, now time.Duration) Verdict {
	cost := min(t.cost*int64(max(n, 0)), t.most)
	s, l := t.of(key)
	defer l.Unlock()
	if own, least := s.find(key); own >= 0 {
		return t.take(&s[own].full, int64(now), cost)
	} else if p := &s[least]; max(p.full&^1, int64(now))+cost-int64(now) <= t.most {
		p.key = key
		return t.take(&p.full, int64(now), cost)
	}
	return Refused // all of the set owe all they may, and nothing shows that this one owes less
}

// Bucket is one bucket for all.
type Bucket struct {
	pace
	full atomic.Int64
}

// NewBucket makes a full Bucket. It panics if r is not sound.
func NewBucket(r Rate) *Bucket { return &Bucket{pace: r.pace()} }

// Take spends one at now.
func (b *Bucket) Take(now time.Duration) Verdict {
	for {
		was := b.full.Load()
		is := was
		v := b.take(&is, int64(now), b.cost)
		if is == was || b.full.CompareAndSwap(was, is) {
			return v
		}
	}
}

// Recent remembers keys, each until a time of its own. Who needs room takes that of the one whose time ends first.
type Recent struct{ sets }

// NewRecent makes a Recent with room for at least so many keys, 16 octets each.
func NewRecent(places int) *Recent {
	r := &Recent{}
	r.hold(places)
	return r
}

// Add remembers key until a time, or longer if it is known for longer already.
func (r *Recent) Add(key Key, until time.Duration) {
	s, l := r.of(key)
	defer l.Unlock()
	own, least := s.find(key)
	if own < 0 {
		own = least
		s[own] = place{key: key, full: math.MinInt64}
	}
	s[own].full = max(s[own].full, int64(until))
}

// Has reports whether key is remembered at now.
func (r *Recent) Has(key Key, now time.Duration) bool {
	s, l := r.of(key)
	defer l.Unlock()
	own, _ := s.find(key)
	return own >= 0 && s[own].full > int64(now)
}

// Take reports whether key is remembered at now, and forgets it.
func (r *Recent) Take(key Key, now time.Duration) bool {
	s, l := r.of(key)
	defer l.Unlock()
	own, _ := s.find(key)
	if own < 0 {
		return false
	}
	has := s[own].full > int64(now)
	s[own] = place{}
	return has
}
