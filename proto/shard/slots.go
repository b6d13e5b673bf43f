package shard

// Slots is a table of objects of one shard that tokens name by index and generation, so a packet leads to
// its object without a map. A released slot gets a new generation: an old name does not open it (until
// 65535 reuses of that slot; slots are reused oldest first to put that off). On the shard only.
// The zero value is ready, without a limit other than the 32-bit index.
type Slots[T any] struct {
	Limit int // slots that may be taken at once; 0 means no limit
}

// Take takes a slot; its T is the zero value and does not move until Release. ok is false at the limit.
func (x *Slots[T]) Take() (p *T, slot uint32, gen uint16, ok bool) { panic("soon") }

// Get returns the object named by slot and gen, or false if there is none (any more).
func (x *Slots[T]) Get(slot uint32, gen uint16) (*T, bool) { panic("soon") }

// Release zeroes the object and gives the slot back; false if the name is not valid.
func (x *Slots[T]) Release(slot uint32, gen uint16) bool { panic("soon") }

// Len is the number of slots taken.
func (x *Slots[T]) Len() int { panic("soon") }

// All calls yield for each taken slot in order of the index. The loop may release the slot it is at.
func (x *Slots[T]) All(yield func(slot uint32, p *T) bool) { panic("soon") }
