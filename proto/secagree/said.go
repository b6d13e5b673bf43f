package secagree

import (
	"bytes"
	"slices"
	"strings"
)

// Said is what a header field has said, as it was written: its values, each with a line end behind it. Who says it again nearly always writes the same
// octets, and then it means the same; else Parse tells what was meant. The zero value is a field that was not there.
type Said string

// Quote notes the values of a header field that Parse has accepted.
func Quote(values [][]byte) Said {
	var space [1024]byte
	text := space[:0]
	for _, v := range values {
		text = append(append(text, v...), '\n')
	}
	return Said(text)
}

// verbatim reports whether values are what was said, octet by octet.
func (s Said) verbatim(values [][]byte) bool {
	rest := string(s)
	for _, v := range values {
		line, behind, more := strings.Cut(rest, "\n")
		if !more || line != string(v) {
			return false
		}
		rest = behind
	}
	return rest == "" && len(values) > 0
}

// entries are what was meant.
func (s Said) entries() []Entry {
	var values [][]byte
	for rest := string(s); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		values = append(values, []byte(line))
	}
	list, _ := Parse(values) // as when it was quoted; of what was not there nothing is meant
	return list.Entries
}

// written reports whether values are what AppendTo writes of entries, in their order.
func written(entries []Entry, values [][]byte) bool {
	if len(values) != len(entries) || len(values) == 0 {
		return false
	}
	var space [256]byte
	for i := range values {
		if !bytes.Equal(values[i], entries[i].AppendTo(space[:0])) {
			return false
		}
	}
	return true
}

// says reports whether two lists say the same: the same mechanisms as often, in any order, any spelling and any number of header
// fields. The media plane has no part in it. With preference the values of q count: so it is for a Security-Verify, which has to repeat the
// Security-Server (TS 33.203 7.2 and 7.3.2.3). Without, mechanisms, algorithms, SPIs and ports count: so it is for a Security-Client, in
// which a preference has no use (TS 33.203 7.2, Annex H).
func says(some, others []Entry, preference bool) bool {
	if len(some) != len(others) || len(some) > MaxMechanisms {
		return false // Parse and Offer make no longer ones
	}
	var taken [MaxMechanisms]bool // of others
	for i := range some {
		at := 0
		for at < len(others) && (taken[at] || !some[i].same(&others[at], preference)) {
			at++
		}
		if at == len(others) {
			return false
		}
		taken[at] = true
	}
	return true
}

// same reports whether two entries mean the same, with or without their preferences.
func (e *Entry) same(o *Entry, preference bool) bool {
	return e.Suite() == o.Suite() && e.Prot == o.Prot && e.Mode == o.Mode && e.Endpoint() == o.Endpoint() && slices.Equal(e.Other, o.Other) &&
		(!preference || e.HasQ == o.HasQ && e.Q == o.Q)
}
