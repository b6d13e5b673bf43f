package isc

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong in a manifest.
type Problem struct {
	Key  string // dotted, with the number of the table: trigger[2].methods; "" if it concerns no key
	Line int    // from 1; 0 if unknown
	Text string // what is wrong, and why
	Hint string // what to write instead, may be empty
}

// Error says the problem in one line.
func (p Problem) Error() string {
	var parts []string
	if p.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d", p.Line))
	}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	text := strings.Join(append(parts, p.Text), ": ")
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}

// Problems is everything that is wrong with a manifest, as far as it could be read.
type Problems []Problem

// Error has a line for each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// TooLarge is the error for a manifest that is beyond its bounds: it was not read at all, or not to its end.
type TooLarge struct{ Problem }

// Error says which bound.
func (e TooLarge) Error() string { return "isc: manifest: " + e.Problem.Error() }
