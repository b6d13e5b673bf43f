package sip

import (
	"bytes"
	"strings"
)

// maxValue is the longest value that a field can hold, in octets.
const maxValue = 1<<16 - 1

// drop counts an edit that cannot leave safely; under Poison it panics, because the caller has a defect.
func (m *Message) drop(what string) {
	if m.pool.limits.Poison {
		panic("sip: unsafe edit: " + what)
	}
	m.pool.dropped.Add(1)
}

// isSafe reports whether v may stand in a line.
func isSafe(v []byte) bool {
	return len(v) <= maxValue && (!hasControl(v) || // which is nearly always so, and one look
		bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 && bytes.IndexByte(v, 0) < 0)
}

// put copies v into the arena if it is safe.
func (m *Message) put(v []byte) (span, bool) {
	m.check()
	v = trim(v)
	if !isSafe(v) {
		m.drop("CR, LF, NUL or length")
		return span{}, false
	}
	s := span{uint32(len(m.arena)) | arenaBit, uint32(len(v))}
	m.arena = append(m.arena, v...)
	return s, true
}

func (m *Message) putString(v string) (span, bool) {
	m.check()
	v = strings.Trim(v, " \t")
	at := len(m.arena)
	m.arena = append(m.arena, v...)
	if !isSafe(m.arena[at:]) {
		m.arena = m.arena[:at]
		m.drop("CR, LF, NUL or length")
		return span{}, false
	}
	return span{uint32(at) | arenaBit, uint32(len(v))}, true
}

// store makes a field of id h of v. HdrOther has no name and is refused.
func (m *Message) store(h HeaderID, v []byte) (field, bool) {
	if h == HdrOther || h >= numHeaders {
		m.drop("field without a name")
		return field{}, false
	}
	s, ok := m.put(v)
	return field{off: s.off, n: uint16(s.n)}, ok
}

func (m *Message) storeString(h HeaderID, v string) (field, bool) {
	if h == HdrOther || h >= numHeaders {
		m.drop("field without a name")
		return field{}, false
	}
	s, ok := m.putString(v)
	return field{off: s.off, n: uint16(s.n)}, ok
}

// storeNamed makes a field without an id; the name stands before the value in the arena.
func (m *Message) storeNamed(name string, v []byte) (field, bool) {
	at := len(m.arena)
	m.arena = append(m.arena, name...)
	if !isToken(m.arena[at:]) || len(name) > maxValue {
		m.arena = m.arena[:at]
		m.drop("field name")
		return field{}, false
	}
	s, ok := m.put(v)
	return field{off: s.off, n: uint16(s.n), name: uint16(len(name)), back: uint16(len(name))}, ok
}

// storeParts makes a field of a value of m and two strings behind it.
func (m *Message) storeParts(h HeaderID, v []byte, a, b string) (field, bool) {
	at := uint32(len(m.arena))
	m.arena = append(m.arena, v...)
	m.arena = append(m.arena, a...)
	m.arena = append(m.arena, b...)
	if !isSafe(m.arena[at:]) {
		m.arena = m.arena[:at]
		m.drop("CR, LF, NUL or length")
		return field{}, false
	}
	return field{off: at | arenaBit, n: uint16(uint32(len(m.arena)) - at)}, true
}
