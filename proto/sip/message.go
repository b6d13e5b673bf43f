package sip

import (
	"bytes"
	"iter"
	"sync/atomic"
)

// inlineFields is how many fields the index of a Message holds without help.
const inlineFields = 48

// arenaBit in an offset says that it counts in the arena and not in the slab.
const arenaBit = 1 << 31

// span is a run of octets in the slab or the arena of a message.
type span struct{ off, n uint32 }

// field is one entry of the index. Its id stands beside it, in Message.ids, so that a search for an id is one
// vectorised search for an octet.
type field struct {
	off   uint32 // start of the value, perhaps with arenaBit
	n     uint16 // octets of the value
	name  uint16 // HdrOther: octets of the name
	back  uint16 // HdrOther: from the start of the name to the start of the value
	flags uint16
}

const (
	// flagVerbatim: the octets before the value in the slab are exactly those that the emission would write between
	// the field before it and the value, so runs of such fields leave as one copy.
	flagVerbatim = 1 << iota
	// flagJoin: the value is a token that stood behind a comma in a line of nothing but tokens (Allow, Supported,
	// ...). It leaves on the line of the field before it, if that is still its neighbour in the list.
	flagJoin
)

// Message is one SIP request or response. Make it with Pool.Parse, Pool.NewRequest, Pool.NewResponse or Clone, and
// give it back with Release; the zero value is not usable. See the package comment for ownership and concurrency.
type Message struct {
	pool *Pool
	slab *slab  // nil if the message was built by us
	buf  []byte // the received octets, all of slab.buf that is in use

	arena  []byte  // octets of our own edits
	ids    []byte  // the HeaderID of each field
	fields []field // the fields, as long as ids
	more   *overflow
	room   int // fields that the parser may add without asking

	read readings // by the typed views

	refs atomic.Int32
	dead bool // released under Limits.Poison

	request       bool
	method        Method
	status        uint16
	defects       Defect
	contentLength int32 // as received, -1 if there was none
	methodName    span  // for MethodOther
	uri           span
	reason        span
	body          span

	inlineIDs    [inlineFields]byte
	inlineFields [inlineFields]field
}

// reset makes a message of the pool forget everything but its arena's memory.
func (m *Message) reset() {
	m.slab, m.buf, m.more = nil, nil, nil
	m.arena = m.arena[:0]
	m.ids, m.fields = m.inlineIDs[:0], m.inlineFields[:0]
	m.request, m.method, m.status, m.defects, m.contentLength = false, 0, 0, 0, -1
	m.methodName, m.uri, m.reason, m.body = span{}, span{}, span{}, span{}
	m.read.forget()
}

// check panics when m has been released and the pool poisons (tests, race detector).
func (m *Message) check() {
	if m.dead {
		panic("sip: use of a released message")
	}
}

// bytes returns the octets of a span as a view that cannot grow into its neighbour.
func (m *Message) bytes(off, n uint32) []byte {
	if off&arenaBit != 0 {
		off &^= arenaBit
		return m.arena[off : off+n : off+n]
	}
	return m.buf[off : off+n : off+n]
}

func (m *Message) value(i int) []byte {
	f := &m.fields[i]
	return m.bytes(f.off, uint32(f.n))
}

// fieldName returns the canonical name of field i, for HdrOther the name as received.
func (m *Message) fieldName(i int) []byte {
	if h := HeaderID(m.ids[i]); h != HdrOther {
		return canonicalNames[h]
	}
	f := &m.fields[i]
	return m.bytes(f.off-uint32(f.back), uint32(f.name))
}

// canonicalNames is headerDefs[h].name as octets, for Fields. It is written once, here.
var canonicalNames = func() (names [numHeaders][]byte) {
	for h := range names {
		names[h] = []byte(headerDefs[h].name)
	}
	return names
}()

// Clone returns a message of its own with the same content and one lease: index and arena are copied, the slab is
// shared. The clone may be edited and released independently of m.
func (m *Message) Clone() *Message {
	m.check()
	c := m.pool.get()
	if m.slab != nil {
		m.slab.refs.Add(1)
		c.slab, c.buf = m.slab, m.buf
	}
	c.arena = append(c.arena, m.arena...)
	c.reserve(len(m.ids))
	c.ids, c.fields = append(c.ids, m.ids...), append(c.fields, m.fields...)
	c.request, c.method, c.status, c.defects, c.contentLength = m.request, m.method, m.status, m.defects, m.contentLength
	c.methodName, c.uri, c.reason, c.body = m.methodName, m.uri, m.reason, m.body
	c.read.take(&m.read)
	return c
}

// Retain takes another lease of m and returns m. While there is more than one lease nobody may edit m.
func (m *Message) Retain() *Message {
	m.check()
	m.refs.Add(1)
	return m
}

// Release gives back one lease; with the last one the message returns to its pool and every view of it is void. A
// nil message is fine. Releasing twice panics under Limits.Poison and is counted otherwise. Safe for concurrent use.
func (m *Message) Release() {
	if m == nil {
		return
	}
	for {
		n := m.refs.Load()
		if n <= 0 {
			m.pool.doubled.Add(1)
			if m.pool.limits.Poison {
				panic("sip: message released twice")
			}
			return
		}
		if m.refs.CompareAndSwap(n, n-1) {
			if n == 1 {
				m.pool.recycle(m)
			}
			return
		}
	}
}

// Pool returns the pool that m came from.
func (m *Message) Pool() *Pool { return m.pool }

// IsRequest reports whether m is a request.
func (m *Message) IsRequest() bool {
	m.check()
	return m.request
}

// Method returns the method of a request, MethodOther for an unknown one and for a response.
func (m *Message) Method() Method {
	m.check()
	return m.method
}

// MethodName returns the method of a request as it stands on the wire, nil for a response.
func (m *Message) MethodName() []byte {
	m.check()
	if !m.request {
		return nil
	}
	if m.method != MethodOther {
		return methodOctets[m.method]
	}
	return m.bytes(m.methodName.off, m.methodName.n)
}

// methodOctets is methodNames as octets. It is written once, here.
var methodOctets = func() (names [numMethods][]byte) {
	for i := range names {
		names[i] = []byte(methodNames[i])
	}
	return names
}()

// RequestURI returns the Request-URI of a request, nil for a response.
func (m *Message) RequestURI() []byte {
	m.check()
	if !m.request {
		return nil
	}
	return m.bytes(m.uri.off, m.uri.n)
}

// Status returns the status code of a response (100 to 699), 0 for a request and for a code out of range.
func (m *Message) Status() int {
	m.check()
	return int(m.status)
}

// Reason returns the reason phrase of a response, which may be empty.
func (m *Message) Reason() []byte {
	m.check()
	return m.bytes(m.reason.off, m.reason.n)
}

// Received returns how many octets the message was parsed from, 0 if we made it.
func (m *Message) Received() int { return len(m.buf) }

// Body returns the body, empty if there is none.
func (m *Message) Body() []byte {
	m.check()
	return m.bytes(m.body.off, m.body.n)
}

// ContentLength returns the Content-Length as it was received. The field is no part of the index: the body has a
// length of its own and the emission writes that.
func (m *Message) ContentLength() (n int, ok bool) {
	m.check()
	return max(int(m.contentLength), 0), m.contentLength >= 0
}

func (m *Message) first(h HeaderID) int { return bytes.IndexByte(m.ids, byte(h)) }
func (m *Message) last(h HeaderID) int  { return bytes.LastIndexByte(m.ids, byte(h)) }

// Get returns the first value of h, nil if there is none. An empty value is not nil.
func (m *Message) Get(h HeaderID) []byte {
	m.check()
	if i := m.first(h); i >= 0 {
		return m.value(i)
	}
	return nil
}

// Last returns the last value of h, nil if there is none.
func (m *Message) Last(h HeaderID) []byte {
	m.check()
	if i := m.last(h); i >= 0 {
		return m.value(i)
	}
	return nil
}

// Nth returns value number i of h, counted from 0, nil if there are not so many.
func (m *Message) Nth(h HeaderID, i int) []byte {
	m.check()
	for at, id := range m.ids {
		if id != byte(h) {
			continue
		}
		if i == 0 {
			return m.value(at)
		}
		i--
	}
	return nil
}

// Count returns the number of values of h.
func (m *Message) Count(h HeaderID) int {
	m.check()
	n := 0
	for _, id := range m.ids {
		if id == byte(h) {
			n++
		}
	}
	return n
}

// Has reports whether there is a field h.
func (m *Message) Has(h HeaderID) bool {
	m.check()
	return m.first(h) >= 0
}

// HasAny reports whether there is a field of the set.
func (m *Message) HasAny(set *HeaderSet) bool {
	m.check()
	for _, id := range m.ids {
		if set.Has(HeaderID(id)) {
			return true
		}
	}
	return false
}

// Values yields the values of h from top to bottom. The message must not be edited meanwhile.
func (m *Message) Values(h HeaderID) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) { m.each(h, yield) }
}

func (m *Message) each(h HeaderID, yield func([]byte) bool) {
	m.check()
	for i, id := range m.ids {
		if id == byte(h) && !yield(m.value(i)) {
			return
		}
	}
}

// GetName returns the first value of the field called name (any case, compact forms included), nil if there is none.
func (m *Message) GetName(name string) []byte {
	m.check()
	if i := m.firstName(name); i >= 0 {
		return m.value(i)
	}
	return nil
}

// firstName returns the index of the first field called name, -1 if there is none.
func (m *Message) firstName(name string) int {
	if h := LookupHeader([]byte(name)); h != HdrOther {
		return m.first(h)
	}
	for i, id := range m.ids {
		if id == byte(HdrOther) && foldEqual(m.fieldName(i), name) {
			return i
		}
	}
	return -1
}

// Fields yields every field as name and value, in order: canonical names, unknown names as received. Content-Length
// is not among them. The message must not be edited meanwhile.
func (m *Message) Fields() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) { m.eachField(yield) }
}

func (m *Message) eachField(yield func(name, value []byte) bool) {
	m.check()
	for i := range m.ids {
		if !yield(m.fieldName(i), m.value(i)) {
			return
		}
	}
}

// HasToken reports whether one of the values of h is token, without regard to case: for Require, Supported, Allow
// and their like, whose values have no parameters.
func (m *Message) HasToken(h HeaderID, token string) bool {
	m.check()
	for i, id := range m.ids {
		if id == byte(h) && foldEqual(m.value(i), token) {
			return true
		}
	}
	return false
}
