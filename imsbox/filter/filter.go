// Package filter runs the initial filter criteria of a service profile (TS 29.228 Annexes B, C and F, TS 23.218 5.2, TS 24.229 5.4.3.2 and
// 5.4.3.3): it compiles them once, says which of them match a request, one after the other, and explains why.
//
// It decides and does nothing: it sends no request to an application server, changes none, and keeps no dialog. What is malformed is
// refused when it is compiled, with a place and what to do; what is compiled is evaluated in time linear in the request, without
// allocation. Imported by functions of the IMS-BOX and by node. A Filter never changes and is safe for concurrent use, a Library is too;
// an Evaluation belongs to one goroutine.
package filter

import (
	"errors"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// Filter is the criteria of one service profile, compiled, in the order of their priorities. A nil one has none. Make it with Compile.
type Filter struct {
	version    Version
	criteria   []Criterion
	conditions []condition // of all criteria, each different one once
}

// Criterion is one initial filter criterion (TS 29.228 B.2.2). It belongs to its Filter: do not change it.
type Criterion struct {
	Priority int
	// SharedSet is the SharedIFCSetID of the set that it stands in; -1 for one of the profile's own.
	SharedSet int
	Part      cx.ProfilePart
	// Server is where a matching request goes, what happens if it does not answer, and what a third-party REGISTER to it carries.
	Server cx.ApplicationServer

	unconditional bool // without a trigger point
	cnf           bool
	groups        []group
}

// group is a group of a trigger point: its terms are alternatives in CNF, and must all hold in DNF.
type group struct {
	number int
	terms  []term
}

// term is a condition in a group.
type term struct {
	condition uint16
	negated   bool
}

// Len is the number of criteria.
func (f *Filter) Len() int {
	if f == nil {
		return 0
	}
	return len(f.criteria)
}

// At returns criterion number i, counted from 0 in the order of priorities.
func (f *Filter) At(i int) *Criterion { return &f.criteria[i] }

// Request is what criteria are evaluated against.
type Request struct {
	// Message is the request as it came: an initial request, a standalone one, or a REGISTER. It must not be edited while an Evaluation
	// or an Explanation of it goes on.
	Message *sip.Message
	// Case is the session case. That of a REGISTER is OriginatingRegistered.
	Case cx.SessionCase
	// Unregistered says of OriginatingCDIV that the served user is not registered. The other cases say it themselves.
	Unregistered bool
	// Registration is what a REGISTER is: exactly one of the types. 0 for other methods.
	Registration cx.RegistrationTypes
}

// registered says which part of the profile counts.
func (r *Request) registered() bool {
	switch r.Case {
	case cx.TerminatingUnregistered, cx.OriginatingUnregistered:
		return false
	case cx.OriginatingCDIV:
		return !r.Unregistered
	}
	return true
}

// The errors of an Evaluation. After one it yields nothing: the request is to be refused, since nobody can say which servers it should
// have gone to.
var (
	// ErrVersion: the cursor is of another version of the profile. Library.Find may have that one.
	ErrVersion = errors.New("filter: the cursor is of another version of the profile")
	// ErrTooMuchWork: to go on would take more steps than one evaluation may.
	ErrTooMuchWork = errors.New("filter: the request is too long for the expressions of the profile")
)

// maxWork bounds one evaluation: instructions of the expressions times octets that they look at. An ordinary profile and an INVITE need
// some thousand; the bound is about a tenth of a second.
const maxWork = 4 << 20

// Evaluation yields the criteria that match a request, in the order of their priorities:
//
//	e := f.Evaluate(request)
//	for c := e.Next(); c != nil; c = e.Next() { ... }
//	if e.Err() != nil { ... }
//
// A S-CSCF takes the first, keeps e.Cursor(), and when the application server gives the request back makes a new Evaluation of what
// came back with Resume: the server may have changed it (TS 24.229 5.4.3.2, 5.4.3.3). For a REGISTER it takes all of them
// (TS 24.229 5.4.1.7). Not safe for concurrent use.
type Evaluation struct {
	filter  *Filter
	request Request
	next    int
	work    int
	err     error

	// What the first conditions said: most conditions stand in more than one criterion.
	known, held uint64
}

// Evaluate begins with the first criterion.
func (f *Filter) Evaluate(r Request) Evaluation { return Evaluation{filter: f, request: r} }

// Resume goes on at a cursor. If it is one of another version of the profile, Err is ErrVersion.
func (f *Filter) Resume(r Request, c Cursor) Evaluation {
	e := Evaluation{filter: f, request: r, next: int(c.Next)}
	if c.Version != f.Version() || e.next > f.Len() {
		e.err = ErrVersion
	}
	return e
}

// Next returns the next criterion that matches, nil if there is none or after an error.
func (e *Evaluation) Next() *Criterion {
	if e.filter == nil || e.err != nil {
		return nil
	}
	for e.next < len(e.filter.criteria) {
		c := &e.filter.criteria[e.next]
		matches := e.matches(c)
		if e.err != nil {
			return nil // what a condition said that could not be tested means nothing
		}
		e.next++
		if matches {
			return c
		}
	}
	return nil
}

// Cursor says where to go on after what Next returned.
func (e *Evaluation) Cursor() Cursor {
	return Cursor{Version: e.filter.Version(), Next: uint16(e.next)}
}

// Err returns why the evaluation ended early: ErrVersion, ErrTooMuchWork, or nil.
func (e *Evaluation) Err() error { return e.err }

// matches says whether a criterion matches (TS 29.228 B.2.2, Annex C).
func (e *Evaluation) matches(c *Criterion) bool {
	if !c.counts(&e.request) {
		return false
	}
	for i := range c.groups {
		if e.groupHolds(c, &c.groups[i]) != c.cnf {
			return !c.cnf // one that fails decides in CNF, one that holds in DNF
		}
	}
	return c.cnf || c.unconditional
}

// counts says whether the criterion is in the part of the profile that counts for the request (TS 29.228 B.2.2).
func (c *Criterion) counts(r *Request) bool {
	return c.Part == cx.PartCommon || (c.Part == cx.PartRegistered) == r.registered()
}

func (e *Evaluation) groupHolds(c *Criterion, g *group) bool {
	for _, t := range g.terms {
		if e.holds(t.condition) != t.negated == c.cnf {
			return c.cnf
		}
	}
	return !c.cnf
}

// holds says whether a condition holds, and remembers it.
func (e *Evaluation) holds(i uint16) bool {
	bit := uint64(1) << (i & 63)
	if i < 64 && e.known&bit != 0 {
		return e.held&bit != 0
	}
	holds := e.test(&e.filter.conditions[i])
	if i < 64 {
		e.known |= bit
		if holds {
			e.held |= bit
		}
	}
	return holds
}
