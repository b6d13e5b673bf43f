package sip

import (
	"sync"
	"sync/atomic"
)

// Limits bounds what the parser and the framer accept. The zero value of a number means its default.
type Limits struct {
	MaxMessage int // octets of a whole message; default and ceiling 65535
	MaxBody    int // octets of a body; default MaxMessage
	MaxLine    int // octets of one header line, folds included; default 8192, ceiling 65535
	MaxFields  int // fields after lists are split; default and ceiling 256
	MaxList    int // values on one line; default 64
	MaxNesting int // comments within comments; default 8. Deeper ones count as a list that has no end

	// Poison is the test switch against stale references: a released message is overwritten, never used again, and
	// panics when it is touched; an edit that would let CR, LF or NUL out panics too. Always on under the race
	// detector.
	Poison bool
}

const (
	ceilingMessage = 1<<16 - 1
	ceilingFields  = 256
)

// withDefaults replaces zeros by defaults and holds numbers to their ceilings.
func (l Limits) withDefaults() Limits {
	bound := func(n *int, def, ceiling int) {
		if *n <= 0 {
			*n = def
		}
		*n = min(*n, ceiling)
	}
	bound(&l.MaxMessage, ceilingMessage, ceilingMessage)
	bound(&l.MaxBody, l.MaxMessage, l.MaxMessage)
	bound(&l.MaxLine, 8192, ceilingMessage)
	bound(&l.MaxFields, ceilingFields, ceilingFields)
	bound(&l.MaxList, 64, ceilingFields)
	bound(&l.MaxNesting, 8, 255)
	l.Poison = l.Poison || raceEnabled
	return l
}

// slabSizes are the classes of slabs in octets: most responses fit the first, most requests the next two.
var slabSizes = [...]int{1024, 2048, 3072, 4096, 8192, 16384, 65536}

// slab is a block of received octets that the messages which point into it share. Nobody writes to it after Parse
// until the last of them is released.
type slab struct {
	refs  atomic.Int32
	class uint8
	buf   []byte
}

// overflow holds the index of a message with more fields than fit into Message itself.
type overflow struct {
	ids    [overflowFields]byte
	fields [overflowFields]field
}

// overflowFields leaves room for our own edits above the fields that a parser may accept.
const overflowFields = ceilingFields + 64

// Pool gives out messages and slabs and takes them back. Make one per node with NewPool; it is safe for concurrent
// use and keeps nothing that the garbage collector cannot take.
type Pool struct {
	limits   Limits
	messages sync.Pool
	overflow sync.Pool
	slabs    [len(slabSizes)]sync.Pool

	dropped atomic.Uint64 // edits that were dropped
	doubled atomic.Uint64 // releases of a released message
	live    atomic.Int64  // messages not yet released; counted under Poison only, it would cost a shared cache line
}

// NewPool returns a Pool that holds messages to l.
func NewPool(l Limits) *Pool {
	return &Pool{limits: l.withDefaults()}
}

// Limits returns the limits in force, defaults filled in.
func (p *Pool) Limits() Limits { return p.limits }

// DroppedEdits returns how many edits were dropped because a value could not leave safely. Each is a defect of a
// caller. Safe for concurrent use.
func (p *Pool) DroppedEdits() uint64 { return p.dropped.Load() }

// DoubleReleases returns how often a message was released twice. Each is a defect of a caller.
func (p *Pool) DoubleReleases() uint64 { return p.doubled.Load() }

// Live returns how many messages are out; it counts under Limits.Poison only, for tests that look for leaks.
func (p *Pool) Live() int64 { return p.live.Load() }

// get returns an empty message with one lease.
func (p *Pool) get() *Message {
	m, _ := p.messages.Get().(*Message)
	if m == nil {
		m = &Message{pool: p, arena: make([]byte, 0, firstArena)}
		m.ids, m.fields = m.inlineIDs[:0], m.inlineFields[:0]
	}
	m.refs.Store(1)
	m.contentLength = -1
	if p.limits.Poison {
		p.live.Add(1)
	}
	return m
}

// getSlab returns a slab with room for n octets and one lease.
func (p *Pool) getSlab(n int) *slab {
	class := 0
	for slabSizes[class] < n {
		class++
	}
	s, _ := p.slabs[class].Get().(*slab)
	if s == nil {
		s = &slab{class: uint8(class), buf: make([]byte, slabSizes[class])}
	}
	s.refs.Store(1)
	return s
}

// putSlab gives back one lease of s.
func (p *Pool) putSlab(s *slab) {
	if s.refs.Add(-1) > 0 {
		return
	}
	if p.limits.Poison {
		poison(s.buf)
		return
	}
	p.slabs[s.class].Put(s)
}

// poison overwrites octets that nobody may look at any more.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

// firstArena holds what a proxy adds to a request, in octets.
const firstArena = 512

// maxKeptArena is the largest arena that a message takes back to the pool, in octets.
const maxKeptArena = 4096

// recycle empties m and returns it to the pool. The caller held the last lease.
func (p *Pool) recycle(m *Message) {
	if m.slab != nil {
		p.putSlab(m.slab)
	}
	if p.limits.Poison {
		p.live.Add(-1)
		poison(m.arena[:cap(m.arena)])
		m.dead = true
		return
	}
	if m.more != nil {
		p.overflow.Put(m.more)
	}
	if cap(m.arena) > maxKeptArena {
		m.arena = nil
	}
	m.reset()
	p.messages.Put(m)
}
