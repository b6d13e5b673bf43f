package shard

import (
	"math/bits"
	"time"
)

// Timer is an intrusive timer: embed it in the object it belongs to. The zero value is ready and disarmed.
// It belongs to one shard and is touched on that shard only. It must not be copied while armed.
type Timer struct {
	next, prev *Timer // circular list of the slot
	when       uint64 // tick at which it is due
	event      Event
	place      uint32 // 0 disarmed; else 1 + slot, near slots first
}

// Armed reports whether the timer is going to fire. On the shard only.
func (t *Timer) Armed() bool { return t.place != 0 }

// Arm lets e run on the shard after d, never earlier and at most one Tick plus the load of the shard later.
// An armed timer is armed anew; d <= 0 means the next tick. No allocation. On the shard only.
func (s *Shard) Arm(t *Timer, d time.Duration, e Event) {
	at := s.now + max(d, 0)
	if at < 0 { // overflow: as far as the clock goes
		at = Never - s.cfg.Tick
	}
	t.event = e
	s.wheel.catchUp(s.tick)
	s.wheel.arm(t, uint64((at+s.cfg.Tick-1)/s.cfg.Tick))
}

// Disarm takes t back; after it, the event does not run. Constant time; a timer that is not armed is left
// alone. On the shard only.
func (s *Shard) Disarm(t *Timer) {
	if t.place != 0 {
		s.wheel.unlink(t)
		t.event = nil
	}
}

// wheel is a hierarchical timing wheel of two levels. Time is cut into rounds of 4096 ticks. The near level
// has a slot per tick of this round and the next, so with a tick of 10 ms every SIP transaction timer goes
// straight to its slot. The far level has a slot per round. A far slot moves to the near level during the
// round before its own, a few timers per tick: a million registrations that expire in one hour never cost
// one long pause.
type wheel struct {
	cur      uint64 // what was due up to this tick has fired
	earliest uint64 // no timer is due before this tick; exact after advance, a lower bound otherwise
	armed    int
	far      int // of armed: on the far level
	nearBits [nearSlots / 64]uint64
	farBits  [farSlots / 64]uint64
	farLen   [farSlots]int32
	slots    [nearSlots + farSlots]*Timer
}

const (
	roundBits  = 12
	roundTicks = 1 << roundBits
	nearSlots  = 2 * roundTicks
	farSlots   = 4096
	never      = ^uint64(0)

	// smooth is how many timers may move from far to near in one go without anyone noticing.
	smooth = 512
)

// catchUp moves cur over ticks in which there was nothing to do.
func (w *wheel) catchUp(tick uint64) {
	if w.cur < tick && tick < w.earliest {
		w.cur = tick
	}
}

// arm links t into the slot of tick when, or of the next tick if that has passed.
func (w *wheel) arm(t *Timer, when uint64) {
	if t.place != 0 {
		w.unlink(t)
	}
	t.when = max(when, w.cur+1)
	w.earliest = min(w.earliest, w.link(t))
}

// link puts t into its slot and returns the tick at which the wheel must look there: when t is due, or when
// it may begin to move near.
func (w *wheel) link(t *Timer) (look uint64) {
	round, now := t.when>>roundBits, w.cur>>roundBits
	var slot uint64
	if round <= now+1 {
		look = t.when
		slot = t.when % nearSlots
		w.nearBits[slot/64] |= 1 << (slot % 64)
	} else {
		// Beyond the far level it waits in the last slot and is linked again from there.
		round = min(round, now+farSlots-1)
		look = (round - 1) << roundBits
		far := round % farSlots
		w.farBits[far/64] |= 1 << (far % 64)
		w.farLen[far]++
		w.far++
		slot = nearSlots + far
	}
	w.armed++
	t.place = uint32(slot) + 1
	head := w.slots[slot]
	if head == nil {
		w.slots[slot], t.next, t.prev = t, t, t
		return look
	}
	t.next, t.prev = head, head.prev
	head.prev.next = t
	head.prev = t
	return look
}

func (w *wheel) unlink(t *Timer) {
	slot := t.place - 1
	w.armed--
	if slot >= nearSlots {
		w.far--
		w.farLen[slot-nearSlots]--
	}
	switch {
	case t.next == t:
		w.slots[slot] = nil
		if slot < nearSlots {
			w.nearBits[slot/64] &^= 1 << (slot % 64)
		} else {
			far := slot - nearSlots
			w.farBits[far/64] &^= 1 << (far % 64)
		}
	default:
		t.next.prev, t.prev.next = t.prev, t.next
		if w.slots[slot] == t {
			w.slots[slot] = t.next
		}
	}
	t.next, t.prev, t.place = nil, nil, 0
}

// advance fires what is due up to tick target, in order of ticks, and within a tick in order of arming as
// far as the near level knows it. It stops after budget timers and returns what is left of it; the rest
// stays due.
func (w *wheel) advance(target uint64, budget int, fire func(Event)) int {
	for w.cur < target {
		end := w.cur | (roundTicks - 1) // last tick of the present round
		if w.cur == end {
			end += roundTicks
		}
		stop := min(target, end)
		for {
			tick := w.nearest(w.cur+1, stop)
			if tick == never {
				break
			}
			w.cur = tick
			slot := tick % nearSlots
			for w.slots[slot] != nil {
				if budget <= 0 {
					w.cur = tick - 1 // look at this slot again
					w.earliest = tick
					return 0
				}
				budget--
				t := w.slots[slot]
				e := t.event
				w.unlink(t)
				t.event = nil
				fire(e)
			}
		}
		w.approach(stop)
	}
	w.earliest = w.next()
	return budget
}

// approach moves cur to tick and brings timers of the next round near: a fair share of them on the way, the
// rest at the end of the round.
func (w *wheel) approach(tick uint64) {
	passed := tick - w.cur + 1
	w.cur = tick
	slot := (tick>>roundBits + 1) % farSlots
	n := uint64(w.farLen[slot])
	if n == 0 {
		return
	}
	if left := roundTicks - 1 - tick%roundTicks; left > 0 {
		n = min(n, max(smooth, (n*passed+left-1)/left))
	}
	for ; n > 0; n-- {
		t := w.slots[nearSlots+slot]
		w.unlink(t)
		w.link(t)
	}
}

// next is the first tick at which there is something to do.
func (w *wheel) next() uint64 {
	if w.armed == 0 {
		return never
	}
	round := w.cur >> roundBits
	tick := w.nearest(w.cur+1, (round+2)<<roundBits-1)
	if w.far == 0 {
		return tick
	}
	for i := uint64(1); i < farSlots; i++ {
		far := (round + i) % farSlots
		word := w.farBits[far/64] >> (far % 64)
		if word == 0 {
			i += 63 - far%64 // nothing in the rest of this word
			continue
		}
		i += uint64(bits.TrailingZeros64(word))
		if w.farLen[(round+i)%farSlots] <= smooth {
			return min(tick, (round+i)<<roundBits-1)
		}
		return min(tick, max(w.cur+1, (round+i-1)<<roundBits))
	}
	return tick
}

// nearest is the first tick from from to to, both included and within the near level, that has timers.
func (w *wheel) nearest(from, to uint64) uint64 {
	for tick := from; tick <= to; {
		slot := tick % nearSlots
		if word := w.nearBits[slot/64] >> (slot % 64); word != 0 {
			tick += uint64(bits.TrailingZeros64(word))
			if tick > to {
				return never
			}
			return tick
		}
		tick += 64 - slot%64
	}
	return never
}
