package shard

// Slots is a table of objects of one shard that tokens name by index and generation, so a packet leads to
// its object without a map. A released slot gets a new generation: an old name does not open it (until
// 65535 reuses of that slot; slots are reused oldest first to put that off). On the shard only.
// The zero value is ready, without a limit other than the 32-bit index.
type Slots[T any] struct {
	Limit int // slots that may be taken at once; 0 means no limit

	pages       []*[slotPage]slotOf[T] // objects do not move
	made, taken uint32
	oldest      uint32 // free list, first in, first out: 1 + index, 0 is none
	newest      uint32
}

const slotPage = 256

type slotOf[T any] struct {
	object T
	next   uint32 // in the free list
	gen    uint16 // never 0, so the zero Place opens nothing
	taken  bool
}

func (x *Slots[T]) at(slot uint32) *slotOf[T] { return &x.pages[slot/slotPage][slot%slotPage] }

// Take takes a slot; its T is the zero value and does not move until Release. ok is false at the limit.
func (x *Slots[T]) Take() (p *T, slot uint32, gen uint16, ok bool) {
	if x.Limit > 0 && int(x.taken) >= x.Limit || x.taken == 1<<32-1 {
		return nil, 0, 0, false
	}
	var c *slotOf[T]
	// A slot is reused only when a page of others waits behind it: that spreads the generations.
	if free := x.made - x.taken; free > 0 && (free >= slotPage || x.full()) {
		slot = x.oldest - 1
		c = x.at(slot)
		x.oldest = c.next
		if x.oldest == 0 {
			x.newest = 0
		}
	} else {
		slot = x.made
		if slot/slotPage == uint32(len(x.pages)) {
			x.pages = append(x.pages, new([slotPage]slotOf[T]))
		}
		x.made++
		c = x.at(slot)
		c.gen = 1
	}
	x.taken++
	c.taken, c.next = true, 0
	return &c.object, slot, c.gen, true
}

// full reports whether no new slot may be made.
func (x *Slots[T]) full() bool {
	return x.made == 1<<32-1 || x.Limit > 0 && int(x.made) >= x.Limit
}

// Get returns the object named by slot and gen, or false if there is none (any more).
func (x *Slots[T]) Get(slot uint32, gen uint16) (*T, bool) {
	if slot >= x.made {
		return nil, false
	}
	c := x.at(slot)
	if !c.taken || c.gen != gen {
		return nil, false
	}
	return &c.object, true
}

// Release zeroes the object and gives the slot back; false if the name is not valid.
func (x *Slots[T]) Release(slot uint32, gen uint16) bool {
	if _, ok := x.Get(slot, gen); !ok {
		return false
	}
	c := x.at(slot)
	var zero T
	c.object, c.taken = zero, false
	if c.gen++; c.gen == 0 {
		c.gen = 1
	}
	if x.newest == 0 {
		x.oldest = slot + 1
	} else {
		x.at(x.newest - 1).next = slot + 1
	}
	x.newest = slot + 1
	x.taken--
	return true
}

// Len is the number of slots taken.
func (x *Slots[T]) Len() int { return int(x.taken) }

// All calls yield for each taken slot in order of the index. The loop may take and release slots; what it
// takes may be seen or not.
func (x *Slots[T]) All(yield func(slot uint32, p *T) bool) {
	for slot := uint32(0); slot < x.made; slot++ {
		if c := x.at(slot); c.taken && !yield(slot, &c.object) {
			return
		}
	}
}
