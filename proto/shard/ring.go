package shard

import "sync/atomic"

// ring is the inbox: bounded, many producers, one consumer (whoever is on the shard). Each cell carries the
// turn at which it may be written or read, so producers meet only at tail.
type ring struct {
	cells []cell
	mask  uint64
	_     [64]byte // keeps the producers' line away from the others
	tail  atomic.Uint64
	_     [56]byte
	head  atomic.Uint64 // written on the shard only
	_     [56]byte
}

type cell struct {
	turn  atomic.Uint64 // == position: free for that position; == position+1: holds its event
	event Event
}

func (r *ring) init(size int) {
	n := uint64(2)
	for n < uint64(size) {
		n <<= 1
	}
	r.cells, r.mask = make([]cell, n), n-1
	for i := range r.cells {
		r.cells[i].turn.Store(uint64(i))
	}
}

// push reports false if the ring is full. Any goroutine.
func (r *ring) push(e Event) bool {
	for {
		pos := r.tail.Load()
		c := &r.cells[pos&r.mask]
		switch turn := c.turn.Load(); {
		case turn == pos:
			if r.tail.CompareAndSwap(pos, pos+1) {
				c.event = e
				c.turn.Store(pos + 1)
				return true
			}
		case turn < pos:
			// The cell still holds the event of one round ago.
			return false
		}
	}
}

// pop takes the oldest event. A producer that has a position but has not written yet makes the ring look
// empty; it looks after the shard itself when it has. On the shard only.
func (r *ring) pop() (Event, bool) {
	head := r.head.Load()
	c := &r.cells[head&r.mask]
	if c.turn.Load() != head+1 {
		return nil, false
	}
	e := c.event
	c.event = nil
	c.turn.Store(head + r.mask + 1)
	r.head.Store(head + 1)
	return e, true
}

// unclaimed reports that no producer has a position, written or not: one may be claimed ahead of an event
// that was there before. On the shard only.
func (r *ring) unclaimed() bool { return r.tail.Load() == r.head.Load() }

// empty is pop without taking. Any goroutine; from outside the answer may be old, but then there is
// somebody inside who will look again.
func (r *ring) empty() bool {
	head := r.head.Load()
	return r.cells[head&r.mask].turn.Load() != head+1
}
