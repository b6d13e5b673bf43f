package slab

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	pageSize   = 64 << 10 // holds records of one size class
	chunkPages = 16       // pages that are asked of the run time at once: 1 MiB
	grain      = 8        // every slot begins at a multiple of it
	refsInPage = pageSize / grain
	maxPages   = 1 << 32 / refsInPage
)

// ref names a slot by its place in all pages, in grains, so a reader needs no other word than this one to find
// a record: 32 GiB in all. 0 is none, because page 0 is never used.
type ref uint32

func (r ref) page() uint32 { return uint32(r) / refsInPage }

// chunk holds no pointers, so the collector keeps it without looking inside.
type chunk struct {
	meta [chunkPages]page
	data [chunkPages * pageSize]byte
}

const chunkSize = int64(unsafe.Sizeof(chunk{}))

// page is the bookkeeping of one page, under the mutex of its class. Free slots form a list inside the page:
// the first two octets of a free slot are 1 + the next one, all its other octets are zero.
type page struct {
	class      int32
	used       uint16 // slots taken
	fresh      uint16 // slots from this one on were not taken since the page came to its class
	free       uint16 // 1 + first slot of the free list, 0 is none
	next, prev uint32 // among the pages of the class that have room, 0 ends
}

// class is one size of slots. All stripes share it, so a small table with records of many sizes stays small.
// Its mutex is held for some twenty instructions, and not at all when a record keeps its size class.
type class struct {
	mu   sync.Mutex
	room uint32 // first page that has room, 0 is none
	_    [52]byte
}

// arena hands out slots of memory. The octets of a slot belong to whoever holds its ref.
type arena struct {
	classes [classes]class
	chunks  atomic.Pointer[[]*chunk] // copied when it grows, so readers need no lock

	mu        sync.Mutex
	made      uint32   // pages made, page 0 included
	freePages []uint32 // made, of no class at present
	maxChunks int
}

// Size classes: steps of 8 up to 128 octets, eight steps per doubling up to 2 KiB, above that whole
// fractions of a page. So up to 2 KiB at most an eighth of a slot is lost.
const (
	classes    = 12 + 32 + 32
	firstEight = 12 // 128 octets
	firstPart  = 44 // 1/32 of a page
)

// slotSize is the size of the slots of a class, in octets.
func slotSize(class int) int {
	switch {
	case class < firstEight:
		return 32 + 8*class
	case class < firstPart:
		base := 128 << ((class - firstEight) / 8)
		return base + base/8*((class-firstEight)%8)
	}
	return pageSize / (classes - class) &^ 7
}

// classOf is the smallest class whose slots hold size octets; size is at most pageSize.
func classOf(size int) int {
	switch {
	case size <= 128:
		return max(0, (size-32+7)/8)
	case size <= 2048:
		doubling := bits.Len(uint(size-1)) - 8 // 0 for 129 .. 256
		step := 16 << doubling
		return firstEight + 8*doubling + (size-128<<doubling+step-1)/step
	}
	class := classes - pageSize/size
	if slotSize(class) < size { // rounding to 8
		class++
	}
	return class
}

func (a *arena) init(limit int64) {
	a.maxChunks = maxPages / chunkPages
	if limit > 0 {
		a.maxChunks = min(a.maxChunks, max(1, int(limit/chunkSize)))
	}
	a.chunks.Store(&[]*chunk{})
}

// held is the memory of the arena, in octets.
func (a *arena) held() int64 { return int64(len(*a.chunks.Load())) * chunkSize }

func (a *arena) page(number uint32) *page {
	return &(*a.chunks.Load())[number/chunkPages].meta[number%chunkPages]
}

// memory is what begins at r; the slot ends after the size of its class.
func (a *arena) memory(r ref) []byte {
	const inChunk = chunkPages * refsInPage
	return (*a.chunks.Load())[r/inChunk].data[r%inChunk*grain:]
}

// classAt is the class of a slot that is taken; it does not change while that is so.
func (a *arena) classAt(r ref) int { return int(a.page(r.page()).class) }

// slotOf is the n-th slot of a page with slots of size octets.
func slotOf(page uint32, n uint16, size int) ref {
	return ref(page*refsInPage) + ref(int(n)*size/grain)
}

// take returns a free slot of a class; false when the table is full. Its first two octets are undefined.
func (a *arena) take(class int) (ref, bool) {
	c := &a.classes[class]
	size := slotSize(class)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room == 0 {
		number, ok := a.takePage()
		if !ok {
			return 0, false
		}
		*a.page(number) = page{class: int32(class)}
		c.room = number
	}
	number := c.room
	p := a.page(number)
	var r ref
	if p.free != 0 {
		r = slotOf(number, p.free-1, size)
		p.free = binary.LittleEndian.Uint16(a.memory(r))
	} else {
		r = slotOf(number, p.fresh, size)
		p.fresh++
	}
	p.used++
	if int(p.used) == pageSize/size {
		a.unlink(c, p)
	}
	return r, true
}

// give zeroes a slot and takes it back.
func (a *arena) give(r ref) {
	class := a.classAt(r)
	size := slotSize(class)
	b := a.memory(r)[:size]
	clear(b)
	number := r.page()
	c := &a.classes[class]
	c.mu.Lock()
	defer c.mu.Unlock()
	p := a.page(number)
	if int(p.used) == pageSize/size { // it was full, now it has room
		p.next, p.prev = c.room, 0
		if c.room != 0 {
			a.page(c.room).prev = number
		}
		c.room = number
	}
	binary.LittleEndian.PutUint16(b, p.free)
	p.free = uint16(int(r%refsInPage)*grain/size) + 1
	p.used--
	if p.used == 0 && (c.room != number || p.next != 0) { // keep one, so that a class at its edge does not flutter
		a.unlink(c, p)
		a.mu.Lock()
		a.freePages = append(a.freePages, number)
		a.mu.Unlock()
	}
}

// unlink removes p from the pages of c that have room.
func (a *arena) unlink(c *class, p *page) {
	if p.prev != 0 {
		a.page(p.prev).next = p.next
	} else {
		c.room = p.next
	}
	if p.next != 0 {
		a.page(p.next).prev = p.prev
	}
	p.next, p.prev = 0, 0
}

// takePage returns a page of no class.
func (a *arena) takePage() (number uint32, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.freePages); n > 0 {
		number = a.freePages[n-1]
		a.freePages = a.freePages[:n-1]
		return number, true
	}
	chunks := *a.chunks.Load()
	if int(a.made) == len(chunks)*chunkPages {
		if len(chunks) == a.maxChunks {
			return 0, false
		}
		grown := make([]*chunk, len(chunks)+1)
		copy(grown, chunks)
		grown[len(chunks)] = new(chunk)
		a.chunks.Store(&grown)
	}
	if a.made == 0 {
		a.made = 1
	}
	number = a.made
	a.made++
	return number, true
}
