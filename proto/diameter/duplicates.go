package diameter

import (
	"hash/maphash"
	"sync"
	"time"
)

// maxKept is the largest answer that is kept. What is larger is a profile, and fetching that twice changes nothing.
const maxKept = 8 << 10

// duplicates remembers requests and their answers, so that a request which comes again after a failover is not served twice
// (RFC 6733 3, 5.5.4). Safe for concurrent use: answers come from any shard.
type duplicates struct {
	seed maphash.Seed
	keep time.Duration

	mu    sync.Mutex
	find  map[dupKey]int32
	ring  []dupEntry // reused oldest first
	next  int32
	spent int32 // entries from here to next may be used; equal: none
}

// dupKey stands for Origin-Host and End-to-End Identifier.
type dupKey struct {
	host     uint64
	endToEnd uint32
}

type dupEntry struct {
	key    dupKey
	at     time.Duration
	used   bool
	done   bool
	answer []byte // empty and done: too large to be kept
	again  Reply  // a duplicate that waits for the answer
}

func newDuplicates(n int, keep time.Duration) *duplicates {
	return &duplicates{seed: maphash.MakeSeed(), keep: keep, find: make(map[dupKey]int32), ring: make([]dupEntry, n)}
}

// begin notes a request. The answer of an earlier one is sent by the caller; wait says that it is being worked out, and that r
// will get it too.
func (d *duplicates) begin(now time.Duration, origin []byte, r *Reply, again bool) (answer []byte, wait bool) {
	key := dupKey{maphash.Bytes(d.seed, origin), r.endToEnd}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, ok := d.find[key]; ok && again {
		e := &d.ring[i]
		switch {
		case now-e.at > d.keep:
		case !e.done:
			e.again = *r
			return nil, true
		case len(e.answer) > 0:
			return append([]byte(nil), e.answer...), false
		}
	}
	e := &d.ring[d.next]
	d.forget(e)
	*e = dupEntry{key: key, at: now, used: true, answer: e.answer[:0]}
	d.find[key] = d.next
	r.duplicate, r.dupKey = d.next, key
	d.next = (d.next + 1) % int32(len(d.ring))
	if d.next == d.spent { // full: the oldest makes room
		d.forget(&d.ring[d.spent])
		d.spent = (d.spent + 1) % int32(len(d.ring))
	}
	return nil, false
}

// end keeps the answer and returns the duplicate that waits for it.
func (d *duplicates) end(r *Reply, answer []byte) (again Reply, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := &d.ring[r.duplicate]
	if !e.used || e.key != r.dupKey || e.done {
		return Reply{}, false
	}
	e.done = true
	if len(answer) <= maxKept {
		e.answer = append(e.answer[:0], answer...)
	}
	again, e.again = e.again, Reply{}
	return again, again.conn != nil
}

// sweep clears what is too old: answers hold keys.
func (d *duplicates) sweep(now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.spent != d.next {
		e := &d.ring[d.spent]
		if e.used && now-e.at <= d.keep {
			return
		}
		d.forget(e)
		d.spent = (d.spent + 1) % int32(len(d.ring))
	}
}

// forget clears an entry; its buffer is kept for reuse.
func (d *duplicates) forget(e *dupEntry) {
	if !e.used {
		return
	}
	if i, ok := d.find[e.key]; ok && &d.ring[i] == e {
		delete(d.find, e.key)
	}
	b := e.answer[:cap(e.answer)]
	clear(b)
	*e = dupEntry{answer: b[:0]}
}
