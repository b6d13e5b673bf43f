package hss

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"imsafe/proto/aka"
)

// The operator's value of TS 35.208 4.3.1, whose OPc subscriber has.
const testSet1OP = "cdc202d5123e20f62b6d676ac72cb318"

// bind binds an operator's value to the K of subscriber.
func bind(value Secret) Secret {
	k, _ := hex.DecodeString(string(subscriber().K))
	v, _ := hex.DecodeString(string(value))
	opc := aka.DeriveOPc(aka.K(k), aka.OP(v))
	return Secret(hex.EncodeToString(opc[:]))
}

// TestCompare: whoever made which mistake, the verdict says it, and no key.
func TestCompare(t *testing.T) {
	const op = Secret(testSet1OP)
	opc, k := subscriber().OPc, subscriber().K
	if bind(op) != opc {
		t.Fatal("the test set is not the one it should be")
	}
	other := Secret(strings.Repeat("12", 16))
	for name, s := range map[string]struct {
		sealed func(*Subscriber) // what was provisioned
		given  Given
		want   Verdict
	}{
		"the same, with OPc":         {func(*Subscriber) {}, Given{K: k, Bound: opc}, SameKeys},
		"the same, with OP":          {func(*Subscriber) {}, Given{K: k, Operator: op}, SameKeys},
		"capitals":                   {func(*Subscriber) {}, Given{K: Secret(strings.ToUpper(string(k))), Bound: opc}, SameKeys},
		"K alone":                    {func(*Subscriber) {}, Given{K: k}, SameK},
		"another K":                  {func(*Subscriber) {}, Given{K: other, Bound: opc}, OtherK},
		"another OPc":                {func(*Subscriber) {}, Given{K: k, Bound: other}, OtherValue},
		"another OP":                 {func(*Subscriber) {}, Given{K: k, Operator: other}, OtherValue},
		"OP sealed, OPc given":       {func(s *Subscriber) { s.OPc = op }, Given{K: k, Bound: opc}, SealedIsOP},
		"OP sealed, OP given":        {func(s *Subscriber) { s.OPc = op }, Given{K: k, Operator: op}, OPcGivenOP},
		"OPc bound again, OP given":  {func(s *Subscriber) { s.OPc, s.OP = "", opc }, Given{K: k, Operator: op}, SealedTwice},
		"OPc bound again, OPc given": {func(s *Subscriber) { s.OPc, s.OP = "", opc }, Given{K: k, Bound: opc}, OPGivenOPc},
		"OP given as OPc":            {func(*Subscriber) {}, Given{K: k, Bound: op}, OPGivenOPc},
		"OPc given as OP":            {func(*Subscriber) {}, Given{K: k, Operator: opc}, OPcGivenOP},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			sub := subscriber()
			s.sealed(sub)
			if err := h.Add(background, sub); err != nil {
				t.Fatal(err)
			}
			for _, who := range []string{string(aliceIMPI), sub.Public[1].IMPU} {
				c, err := h.Compare(who, &s.given)
				if err != nil || c.Verdict != s.want || c.Bound != "OPc" || c.Operator != "OP" || c.IMPI != string(aliceIMPI) {
					t.Errorf("%s: %+v %v, want %s", who, c, err, s.want)
				}
			}
		})
	}
}

// TestCompare_mistakes: what is no key is named without being shown.
func TestCompare_mistakes(t *testing.T) {
	h := newHouse(t)
	if _, err := h.Compare("nobody", &Given{}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	long := Secret(strings.Repeat("5c", 17))
	for field, given := range map[string]Given{"k": {}, "opc": {K: subscriber().K, Bound: long}, "op": {K: subscriber().K, Operator: "xyz"}} {
		_, err := h.Compare(string(aliceIMPI), &given)
		h.wantMistake(field, err, field)
		if strings.Contains(fmt.Sprint(err), string(long)) {
			t.Errorf("the key is shown: %v", err)
		}
	}
	_, err := h.Compare(string(aliceIMPI), &Given{K: subscriber().K, Bound: subscriber().OPc, Operator: subscriber().OPc})
	h.wantMistake("both", err, "opc")
	service := chatService()
	if err := h.Add(background, &service); err != nil {
		t.Fatal(err)
	}
	if c, err := h.Compare(service.IMPI, &Given{K: "00"}); err != nil || c.Verdict != NoCard {
		t.Errorf("%+v %v", c, err)
	}
}
