package filter

import (
	"errors"
	"fmt"
	"strings"
)

// The limits of a profile. Beyond one it is refused whole, so that a document of a service's provider costs no more than its writing.
const (
	MaxCriteria     = 128   // of a profile, shared sets included
	MaxTriggers     = 64    // service point triggers of a criterion
	MaxGroups       = 64    // of a criterion
	MaxTerms        = 2048  // of a profile: each trigger counts once for each of its groups
	MaxPattern      = 1024  // octets of an expression, a name or a server
	MaxInstructions = 16384 // of all expressions of a profile, compiled
	MaxServiceInfo  = 4096  // octets
)

// Reason says what kind of mistake a Problem is.
type Reason string

// The reasons for which criteria are refused.
const (
	TooManyCriteria    Reason = "too-many-criteria"
	TooManyTriggers    Reason = "too-many-triggers"
	TooManyGroups      Reason = "too-many-groups"
	TooManyTerms       Reason = "too-many-terms"
	PatternTooLong     Reason = "pattern-too-long"
	ExpressionTooLarge Reason = "expression-too-large"
	TooMuchToMatch     Reason = "too-much-to-match"
	TextTooLong        Reason = "text-too-long"
	BadExpression      Reason = "bad-expression"
	BadMethod          Reason = "bad-method"
	BadHeader          Reason = "bad-header"
	BadPriority        Reason = "bad-priority"
	BadServer          Reason = "bad-server"
	BadTrigger         Reason = "bad-trigger"
	NoGroup            Reason = "no-group"
	UnknownSharedSet   Reason = "unknown-shared-set"
)

// Problem is one thing that is wrong with criteria: where, what, and what to do. It is written for the operator.
type Problem struct {
	Place  string `json:"place"` // as criteria[2].trigger[0].content, counted from 0 in the order given
	Reason Reason `json:"reason"`
	What   string `json:"what"`
	Do     string `json:"do"`
}

// String is the problem as one line.
func (p Problem) String() string { return p.Place + ": " + p.What + "; " + p.Do }

// Problems are all that is wrong with criteria. It is never empty.
type Problems []Problem

// Error lists the first ones.
func (p Problems) Error() string {
	const shown = 5
	text := make([]string, 0, shown)
	for _, x := range p[:min(len(p), shown)] {
		text = append(text, x.String())
	}
	if more := len(p) - shown; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return "filter: " + strings.Join(text, "; ")
}

func (p *Problems) add(place string, reason Reason, do, what string, args ...any) {
	*p = append(*p, Problem{Place: place, Reason: reason, What: fmt.Sprintf(what, args...), Do: do})
}

// errTooLarge is an expression of more than maxInstructions.
var errTooLarge = errors.New("too large when compiled")
