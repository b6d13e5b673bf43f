package hss

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/aka"
)

// The keys of a card: what a person types, what is wrong with it, and what is sealed.

// cardKeys are the checked keys of a card as they are sealed: K and the operator's value that is bound to it.
type cardKeys struct {
	family *family
	k      []byte
	bound  []byte // OPc or TOPc
}

// algorithm makes what computes with the keys.
func (c *cardKeys) algorithm() (aka.Algorithm, error) {
	sealed := c.octets()
	defer clear(sealed)
	return c.family.algorithm(sealed)
}

// octets are the keys as they are sealed, for the caller to wipe.
func (c *cardKeys) octets() []byte {
	return append(append(make([]byte, 0, maxSealed), c.k...), c.bound...)
}

// family is what the sets of functions f1 to f5* differ in, from the point of view of provisioning.
type family struct {
	number    byte // in records
	kOctets   []int
	octets    int    // of the operator's value
	bound, op string // how that is called, bound to K and before
	derive    func(k, op []byte) []byte
	algorithm func(sealed []byte) (aka.Algorithm, error)
}

// familyOf returns the family by its number in records; nil for one without a card.
func familyOf(number byte) *family {
	switch number {
	case algorithmMilenage:
		return &family{algorithmMilenage, []int{16}, 16, "OPc", "OP", func(k, op []byte) []byte {
			opc := aka.DeriveOPc(aka.K(k), aka.OP(op))
			return opc[:]
		}, openMilenage}
	case algorithmTUAK:
		return &family{algorithmTUAK, []int{16, 32}, 32, "TOPc", "TOP", deriveTOPc, openTUAK}
	}
	return nil
}

func deriveTOPc(k, top []byte) []byte {
	var topc aka.TOPc
	if len(k) == len(aka.K256{}) {
		topc = aka.DeriveTOPc256(aka.K256(k), aka.TOP(top))
	} else {
		topc = aka.DeriveTOPc(aka.K(k), aka.TOP(top))
	}
	return topc[:]
}

func openMilenage(sealed []byte) (aka.Algorithm, error) {
	if len(sealed) != 32 {
		return nil, fmt.Errorf("%w: %d octets of keys", errRecord, len(sealed))
	}
	return aka.NewMilenage(aka.K(sealed[:16]), aka.OPc(sealed[16:])), nil
}

// openTUAK knows by the length which K it is.
func openTUAK(sealed []byte) (aka.Algorithm, error) {
	switch len(sealed) {
	case 16 + 32:
		return aka.NewTUAK(aka.K(sealed[:16]), aka.TOPc(sealed[16:]), aka.TUAKOptions{})
	case 32 + 32:
		return aka.NewTUAK256(aka.K256(sealed[:32]), aka.TOPc(sealed[32:]), aka.TUAKOptions{})
	}
	return nil, fmt.Errorf("%w: %d octets of keys", errRecord, len(sealed))
}

// maxSealed is the most that is sealed of a card: K and TOPc of 256 bits each.
const maxSealed = 64

// algorithmNumber is how a record writes what the card computes with; false for a name that is not known.
func (c *Card) algorithmNumber() (byte, bool) {
	switch {
	case c.digest():
		return algorithmDigest, c.Algorithm == ""
	case c.Algorithm == "" || c.Algorithm == "milenage":
		return algorithmMilenage, true
	case c.Algorithm == "tuak":
		return algorithmTUAK, true
	}
	return algorithmMilenage, false
}

// keyless reports that no key of a card is given.
func (c *Card) keyless() bool {
	return c.K == "" && c.OPc == "" && c.OP == "" && c.TOPc == "" && c.TOP == ""
}

// operatorValues returns those that belong to family f, and those that belong to another.
func (c *Card) operatorValues(f *family) (bound, op, otherBound, otherOP Secret) {
	if f.number == algorithmTUAK {
		return c.TOPc, c.TOP, c.OPc, c.OP
	}
	return c.OPc, c.OP, c.TOPc, c.TOP
}

// checkKeys reads K and the operator's value, bound or not, and holds them against the known answer if there is one.
func checkKeys(v *review, prefix string, c *Card) (keys cardKeys, ok bool) {
	before := len(v.found)
	number, _ := c.algorithmNumber() // an unknown one was said
	f := familyOf(number)
	bound, op, otherBound, otherOP := c.operatorValues(f)
	fieldBound, fieldOP := prefix+strings.ToLower(f.bound), prefix+strings.ToLower(f.op)
	mistake := func(field, text string) {
		if text != "" {
			v.add(field, "%s", text)
		}
	}
	var text string
	keys.family = f
	keys.k, text = readKey(c.K, f.kOctets...)
	mistake(prefix+"k", text)
	var value []byte
	switch {
	case otherBound != "" || otherOP != "":
		v.add(fieldBound, "%s is for another algorithm; this card has %s or %s", otherName(f), f.bound, f.op)
	case bound != "" && op != "":
		v.add(fieldBound, "both %s and %s are given; %s is the operator's, %s is computed from it and K: give one", f.bound, f.op, f.op, f.bound)
	case bound == "" && op == "":
		v.add(fieldBound, "neither %s nor %s is given", f.bound, f.op)
	case bound != "":
		keys.bound, text = readKey(bound, f.octets)
		mistake(fieldBound, text)
	default:
		value, text = readKey(op, f.octets)
		mistake(fieldOP, text)
	}
	if len(v.found) != before {
		return cardKeys{}, false
	}
	if op != "" {
		keys.bound = f.derive(keys.k, value)
	}
	switch {
	case uniform(keys.k):
		v.add(prefix+"k", "all octets are the same: that is not a key")
	case string(keys.k) == string(keys.bound):
		v.add(fieldBound, "K and %s are the same value", f.bound)
	}
	if c.Check != nil {
		checkKnownAnswer(v, prefix, c, &keys, value)
	}
	return keys, len(v.found) == before
}

// otherName is the operator's value of the other family.
func otherName(f *family) string {
	if f.number == algorithmTUAK {
		return "OPc or OP"
	}
	return "TOPc or TOP"
}

// readKey reads hexadecimal digits of one of several lengths, or says what is wrong without showing them.
func readKey(s Secret, octets ...int) ([]byte, string) {
	b, err := hex.DecodeString(string(s))
	if err != nil || !slices.Contains(octets, len(b)) {
		return nil, keyMistake(s, octets)
	}
	return b, ""
}

// keyMistake says what is wrong with hexadecimal digits, without showing them.
func keyMistake(s Secret, octets []int) string {
	switch {
	case s == "":
		return "missing"
	case strings.Trim(string(s), "0123456789abcdefABCDEF") != "" || strings.ContainsAny(string(s), " \t\r\n"):
		return "contains something that is not a hexadecimal digit (a space, a dot, an O for a 0?)"
	}
	var digits, bits []string
	for _, n := range octets {
		digits, bits = append(digits, fmt.Sprint(2*n)), append(bits, fmt.Sprint(8*n))
	}
	return fmt.Sprintf("%d hexadecimal digits; %s are needed (%s bits)", len(s), strings.Join(digits, " or "), strings.Join(bits, " or "))
}

// checkKnownAnswer finds the classic mistake: OP given as OPc, or the reverse. op is the operator's value if that was given.
func checkKnownAnswer(v *review, prefix string, c *Card, keys *cardKeys, op []byte) {
	rnd, err1 := hex.DecodeString(c.Check.RAND)
	want, err2 := hex.DecodeString(string(c.Check.RES))
	if errors.Join(err1, err2) != nil || len(rnd) != 16 || len(want) < 4 || len(want) > 16 {
		v.add(prefix+"check", "RAND is 32 hexadecimal digits, RES 8 to 32")
		return
	}
	answers := func(bound []byte) bool {
		a, err := (&cardKeys{keys.family, keys.k, bound}).algorithm()
		if err != nil {
			return false
		}
		res, _, _, _ := a.F2345(aka.RAND(rnd))
		expected := aka.NewRES(want)
		return res.Equal(&expected)
	}
	f := keys.family
	switch {
	case answers(keys.bound):
	case op == nil && answers(f.derive(keys.k, keys.bound)):
		v.add(prefix+strings.ToLower(f.bound), "this is %s, not %s: the known answer fits when it is taken as %s", f.op, f.bound, f.op)
	case op != nil && answers(op):
		v.add(prefix+strings.ToLower(f.op), "this is %s, not %s: the known answer fits when it is taken as %s", f.bound, f.op, f.bound)
	default:
		v.add(prefix+"check", "the known answer does not fit: K or %s is wrong", f.bound)
	}
}

// openKeys opens the sealed keys of a card.
func (h *HSS) openKeys(p *private) (aka.Algorithm, error) {
	f := familyOf(p.algorithm)
	if f == nil {
		return nil, fmt.Errorf("%w: a card of algorithm %d", errRecord, p.algorithm)
	}
	var buf [maxSealed]byte
	defer clear(buf[:])
	plain, err := h.ports.Keys().Open(buf[:0], uint8(TableSubscription), p.sealedFor(), p.sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return f.algorithm(plain)
}

func (h *HSS) sealKeys(p *private, keys *cardKeys) ([]byte, error) {
	plain := keys.octets()
	defer clear(plain)
	return h.ports.Keys().Seal(nil, h.ports.Random, uint8(TableSubscription), p.sealedFor(), plain)
}
