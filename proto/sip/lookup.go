package sip

import "encoding/binary"

// The name of a field is found without a map: the first four and the last four octets, folded to lower case, and
// the length make a key that a multiplication sends to a slot of its own. The multiplier was searched for so that no
// two names of headerDefs meet; buildIndex refuses to start otherwise, and a test repeats the check.
const (
	hashMultiplier = 0x51947a7b13e4d5d
	hashBits       = 9
	foldMask       = 0x2020202020202020
)

// headerIndex maps the hash of a name to its id, compactIndex a single octet to its id. Both are written once, here.
var headerIndex, compactIndex = buildIndex()

func buildIndex() (index [1 << hashBits]HeaderID, compact [256]HeaderID) {
	for h := HdrOther + 1; h < numHeaders; h++ {
		def := &headerDefs[h]
		if c := def.compact; c != 0 {
			compact[c], compact[c&^0x20] = h, h
		}
		if len(def.name) < 4 {
			continue // To and Via, which LookupHeader knows by heart
		}
		slot := &index[nameHash([]byte(def.name))]
		if *slot != HdrOther {
			panic("sip: hash collision between " + slot.String() + " and " + def.name)
		}
		*slot = h
	}
	return index, compact
}

// nameHash is the slot of a name of four octets or more.
func nameHash(name []byte) uint64 {
	n := len(name)
	first := uint64(binary.LittleEndian.Uint32(name))
	last := uint64(binary.LittleEndian.Uint32(name[n-4:]))
	key := (first<<32 | last) | foldMask
	return (key + uint64(n)) * hashMultiplier >> (64 - hashBits)
}

// LookupHeader returns the id of the field called name, HdrOther if it has none. Any case and the compact forms are
// understood (RFC 3261 7.3.1, 7.3.3).
func LookupHeader(name []byte) HeaderID {
	h, _ := lookup(name)
	return h
}

// lookup also reports whether name is what the emission would write. An unknown name leaves as it came.
func lookup(name []byte) (h HeaderID, canonical bool) {
	switch len(name) {
	case 0:
		return HdrOther, true
	case 1:
		h = compactIndex[name[0]]
		return h, h == HdrOther
	case 2:
		h = HdrTo
	case 3:
		h = HdrVia
	default:
		h = headerIndex[nameHash(name)]
	}
	if string(name) == headerDefs[h].name {
		return h, true
	}
	if foldEqual(name, headerDefs[h].name) {
		return h, false
	}
	return HdrOther, true
}

// foldEqual compares two tokens of equal length without regard to case.
func foldEqual(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

// equalFold compares two tokens without regard to case (ASCII only, as SIP does).
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

// HeaderSet is a set of header ids, an allow-list for AppendFiltered. Fields without an id are the one member
// HdrOther. The zero value is empty. Not safe for concurrent change; build it once and share it read-only.
type HeaderSet [(int(numHeaders) + 63) / 64]uint64

// NewHeaderSet returns the set of ids.
func NewHeaderSet(ids ...HeaderID) *HeaderSet {
	s := new(HeaderSet)
	for _, h := range ids {
		s.Add(h)
	}
	return s
}

// AllHeaders returns the set of every id, HdrOther included: the starting point for "everything but".
func AllHeaders() *HeaderSet {
	s := new(HeaderSet)
	for h := HdrOther; h < numHeaders; h++ {
		s.Add(h)
	}
	return s
}

// Add puts h into the set.
func (s *HeaderSet) Add(h HeaderID) {
	if h < numHeaders {
		s[h>>6] |= 1 << (h & 63)
	}
}

// Drop takes h out of the set.
func (s *HeaderSet) Drop(h HeaderID) {
	if h < numHeaders {
		s[h>>6] &^= 1 << (h & 63)
	}
}

// Has reports whether h is in the set.
func (s *HeaderSet) Has(h HeaderID) bool {
	return h < numHeaders && s[h>>6]&(1<<(h&63)) != 0
}
