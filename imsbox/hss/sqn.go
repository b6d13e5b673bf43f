package hss

import (
	"errors"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/store"
)

// Sequence numbers. The record of a private identity holds a mark: every SEQ below it may have been used. A
// reservation moves the mark durably, and the numbers between the old mark and the new one are then given out
// from memory. After a crash the HSS goes on at the mark: numbers are skipped, never repeated. When a quarter of them is left the next are
// reserved, so that no challenge waits for the disk but the first one.

// draw is the reservation of a private identity, guarded by volatile.mu. SEQ next up to limit (exclusive)
// are ours.
type draw struct {
	impi        string
	next, limit uint64
	busy        bool // somebody reserves
	waiting     []shard.Waker
	resynced    *Resynced // the last time; nil for most
}

// attempts bounds how often a conditional change is tried again after a conflict, and pause says how long a
// procedure waits before it tries: the change that came first may not be visible yet.
const attempts = 7

func pause(t *shard.Task, attempt int) {
	if attempt > 0 {
		t.AwaitFor(5*time.Millisecond<<attempt, func(shard.Waker) {})
	}
}

// draw returns the next SEQ of a private identity. It waits for the disk where nothing is reserved.
func (h *HSS) draw(t *shard.Task, u *user, impi string) (uint64, error) {
	for {
		u.mu.Lock()
		d := u.drawOf(impi)
		if d.next < d.limit {
			seq := d.next
			d.next++
			ahead := !d.busy && d.limit-d.next == h.cfg.ReserveSQN/4
			d.busy = d.busy || ahead
			u.mu.Unlock()
			if ahead {
				h.reserveAhead(t, u, impi, d)
			}
			return seq, nil
		}
		if !u.beginReserving(t, d) {
			continue
		}
		if err := h.reserve(t, u, impi, d, nil); err != nil {
			return 0, err
		}
	}
}

// moveTo takes what a card said it has seen (TS 33.102 6.3.5): if the next number would not be accepted, go
// on from the card's. Only a token whose MAC was verified may lead here.
func (h *HSS) moveTo(t *shard.Task, u *user, impi string, seen uint64) error {
	for {
		u.mu.Lock()
		d := u.drawOf(impi)
		if d.next < d.limit {
			if accepted(d.next, seen) {
				u.mu.Unlock()
				return nil
			}
			if seen+1 > d.next && seen+1 < d.limit { // inside the reservation
				d.next = seen + 1
				u.mu.Unlock()
				return nil
			}
		}
		if !u.beginReserving(t, d) {
			continue
		}
		return h.reserve(t, u, impi, d, &seen)
	}
}

// Resynced is a resynchronisation of a card (TS 33.102 6.3.5).
type Resynced struct {
	At   time.Time `json:"at"`
	Seen uint64    `json:"seen"` // the highest SEQ that the card had accepted
	// Next is the SEQ that would have come next here; 0 if none was reserved, as after a restart.
	Next uint64 `json:"next,omitempty"`
}

// noteResync remembers, in memory, that a card had to be followed.
func (h *HSS) noteResync(u *user, impi string, seen uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.drawOf(impi)
	r := &Resynced{At: h.ports.Clock.Wall().UTC(), Seen: seen}
	if d.next < d.limit {
		r.Next = d.next
	}
	d.resynced = r
}

// lastResync returns the last resynchronisation of a card that is remembered, nil if there is none.
func (h *HSS) lastResync(impi string) *Resynced {
	u := h.cache.get(TablePrivate, impi)
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if d := u.drawn(impi); d != nil {
		return d.resynced
	}
	return nil
}

// accepted says whether a card that has seen a number takes next (TS 33.102 C.2.2).
func accepted(next, seen uint64) bool { return next > seen && next-seen <= aka.Delta }

// drawOf returns the reservation of a private identity. mu is held.
func (v *volatile) drawOf(impi string) *draw {
	d := v.drawn(impi)
	if d == nil {
		d = &draw{impi: impi}
		v.draws = append(v.draws, d)
	}
	return d
}

// drawn is drawOf for one that may not be there: nil. mu is held.
func (v *volatile) drawn(impi string) *draw {
	for _, d := range v.draws {
		if d.impi == impi {
			return d
		}
	}
	return nil
}

// beginReserving makes the caller the one who reserves, or waits until another has done so and returns false:
// then everything is to be looked at again. It is called with mu held and returns without it.
func (v *volatile) beginReserving(t *shard.Task, d *draw) bool {
	if !d.busy {
		d.busy = true
		v.mu.Unlock()
		return true
	}
	t.Await(func(w shard.Waker) {
		d.waiting = append(d.waiting, w)
		v.mu.Unlock()
	})
	return false
}

func (v *volatile) endReserving(d *draw) {
	v.mu.Lock()
	waiting := d.waiting
	d.busy, d.waiting = false, nil
	v.mu.Unlock()
	for _, w := range waiting {
		w.Wake()
	}
}

// reserveAhead reserves in a procedure of its own. Whoever finds nothing left, were it because that failed, waits or reserves for himself.
func (h *HSS) reserveAhead(t *shard.Task, u *user, impi string, d *draw) {
	if !t.Shard().Start(func(t *shard.Task) { _ = h.reserve(t, u, impi, d, nil) }) {
		u.endReserving(d)
	}
}

// reserve moves the mark durably and takes the numbers below it, so that ReserveSQN are ours. With seen it goes on from a card's number
// where its own would not be accepted: ahead of it, or back to it if the distance is more than a card
// takes, which happens only if the record went wrong (TS 33.102 6.3.5 step 5). It ends what beginReserving began.
func (h *HSS) reserve(t *shard.Task, u *user, impi string, d *draw, seen *uint64) error {
	defer u.endReserving(d)
	for attempt := range attempts {
		pause(t, attempt)
		rec, err := h.get(t, TableSQN, []byte(impi))
		s := sequence{mark: 1, epoch: h.cfg.RestoreEpoch} // SEQ 0 is never fresh
		op := store.Op{Table: TableSQN, Key: []byte(impi), Cond: store.IfAbsent}
		switch {
		case err == nil:
			if s, err = decodeSequence(rec.Value); err != nil {
				return h.unable("decode", err)
			}
			op.Cond, op.Version = store.IfVersion, rec.Version
		case !errors.Is(err, store.ErrNotFound):
			return h.unable("read", err)
		}
		base := s.mark + h.restoreJump(s)
		if seen != nil && !accepted(base, *seen) {
			base = *seen + 1
		}
		u.mu.Lock()
		left := d.limit - d.next
		u.mu.Unlock()
		if seen != nil {
			left = 0 // none of them is of use
		}
		next := sequence{base + h.cfg.ReserveSQN - left, unixSeconds(h.ports.Clock.Wall()), h.cfg.RestoreEpoch}
		if next.mark > aka.MaxSEQ {
			return h.unable("reserve", errExhausted)
		}
		op.Value = next.encode()
		if err = h.apply(t, u.id, op); errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return h.unable("reserve", err)
		}
		u.mu.Lock()
		if seen != nil || d.next == d.limit || d.limit != base { // else they follow those that are left
			d.next = base
		}
		d.limit = next.mark
		u.mu.Unlock()
		return nil
	}
	return h.unable("reserve", store.ErrConflict)
}

var errExhausted = errors.New("hss: sequence numbers are used up")

// The jump after a restored backup: the numbers that can have been handed out since the record in the backup
// was written, assuming no subscriber draws more than restoreRate a second for long, on top of restoreSlack.
// A jump is bounded so that a card still accepts it; beyond the bound the card asks for resynchronisation, and
// nothing is repeated that it would accept.
const (
	restoreRate  = 16
	restoreSlack = 4096
	restoreMost  = aka.Delta / 2
)

// restoreJump says how far to jump, once per restore and record: 0 if the record was written after the last
// restore.
func (h *HSS) restoreJump(s sequence) uint64 {
	if s.epoch == h.cfg.RestoreEpoch {
		return 0
	}
	since := h.cfg.RestoredAt.Sub(time.Unix(s.written, 0))
	jump := uint64(restoreSlack)
	if since > 0 {
		jump += restoreRate * uint64(since/time.Second)
	}
	return min(jump, restoreMost)
}
