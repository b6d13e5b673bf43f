package hss

import (
	"crypto/subtle"
	"fmt"
	"strings"

	"imsafe/refpoint/cx"
)

// Given are keys that somebody believes to be those of a card: K, and the operator's value, bound to K or not.
type Given struct {
	K Secret `json:"k"`
	// Bound is OPc or TOPc, Operator OP or TOP: one of them, or none.
	Bound    Secret `json:"bound,omitempty"`
	Operator Secret `json:"operator,omitempty"`
}

// Verdict is what a comparison shows.
type Verdict string

// The verdicts. Two of them leave open which side is wrong: the values alone do not say it.
const (
	SameKeys    Verdict = "same"         // those that are sealed
	SameK       Verdict = "same-k"       // and nothing else was given
	OtherK      Verdict = "other-k"      // so nothing can be said of the operator's value
	OtherValue  Verdict = "other-value"  // K is the same, the operator's value is another
	SealedIsOP  Verdict = "sealed-is-op" // OP was stored in the place of OPc
	SealedTwice Verdict = "sealed-twice" // OPc was taken for OP, and bound to K once more
	OPGivenOPc  Verdict = "op-for-opc"   // what was given as OPc is OP, or OPc was taken for OP when it was stored
	OPcGivenOP  Verdict = "opc-for-op"   // what was given as OP is OPc, or OP was stored in the place of OPc
	NoCard      Verdict = "no-card"      // the subscriber has none
)

// Comparison is the verdict on the keys of one card.
type Comparison struct {
	IMPI    string  `json:"impi"`
	Verdict Verdict `json:"verdict"`
	// Bound and Operator are what the operator's values are called for this card: OPc and OP, or TOPc and TOP.
	Bound    string `json:"bound,omitempty"`
	Operator string `json:"operator,omitempty"`
}

// Compare holds keys against those that are sealed, and finds the classic mistakes: OP for OPc, the reverse. name is the private identity
// of the card, or any identity of a subscriber who has one. It shows no key. It returns Mistakes if what is given is no key, ErrUnknown,
// or an error of the keyring. It waits for the disk.
func (h *HSS) Compare(name string, given *Given) (Comparison, error) {
	_, sub, _, err := h.load(name)
	if err != nil {
		return Comparison{}, err
	}
	i := sub.findPrivate(cx.IMPI(name))
	if i < 0 {
		i = 0
	}
	p := &sub.privates[i]
	c := Comparison{IMPI: p.impi, Verdict: NoCard}
	f := familyOf(p.algorithm)
	if f == nil {
		return c, nil
	}
	c.Bound, c.Operator = f.bound, f.op
	k, bound, op, mistakes := given.read(p.impi, f)
	if len(mistakes) > 0 {
		return c, mistakes
	}
	var buf [maxSealed]byte
	defer clear(buf[:])
	plain, err := h.ports.Keys().Open(buf[:0], uint8(TableSubscription), p.sealedFor(), p.sealed)
	if err != nil {
		return c, err
	}
	defer clear(plain)
	if len(plain) < f.octets {
		return c, fmt.Errorf("%w: %d octets of keys", errRecord, len(plain))
	}
	c.Verdict = f.verdict(plain[:len(plain)-f.octets], plain[len(plain)-f.octets:], k, bound, op)
	return c, nil
}

// read reads what is given, or says what is wrong with it.
func (g *Given) read(impi string, f *family) (k, bound, op []byte, _ Mistakes) {
	v := &review{subject: impi}
	one := func(s Secret, field string, octets ...int) []byte {
		if s == "" && field != "k" {
			return nil
		}
		b, wrong := readKey(s, octets...)
		if wrong != "" {
			v.add(field, "%s", wrong)
		}
		return b
	}
	k = one(g.K, "k", f.kOctets...)
	bound = one(g.Bound, strings.ToLower(f.bound), f.octets)
	op = one(g.Operator, strings.ToLower(f.op), f.octets)
	if bound != nil && op != nil {
		v.add(strings.ToLower(f.bound), "both %s and %s are given; give one", f.bound, f.op)
	}
	return k, bound, op, v.found
}

// verdict compares. The sealed keys are k0 and bound0.
func (f *family) verdict(k0, bound0, k, bound, op []byte) Verdict {
	same := func(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
	switch {
	case !same(k0, k):
		return OtherK
	case bound == nil && op == nil:
		return SameK
	case bound != nil && same(bound0, bound), op != nil && same(bound0, f.derive(k, op)):
		return SameKeys
	case bound != nil && same(f.derive(k, bound0), bound):
		return SealedIsOP
	case bound != nil && same(bound0, f.derive(k, bound)):
		return OPGivenOPc
	case op != nil && same(bound0, op):
		return OPcGivenOP
	case op != nil && same(bound0, f.derive(k, f.derive(k, op))):
		return SealedTwice
	}
	return OtherValue
}
