package cx

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestResultRangesStayApart(t *testing.T) {
	// 5003 is AUTHORIZATION_REJECTED in the base protocol and IDENTITY_NOT_REGISTERED in Cx.
	if ResultAuthorizationRejected == ResultIdentityNotRegistered ||
		ResultAuthorizationRejected.Code() != ResultIdentityNotRegistered.Code() {
		t.Error("5003 and 5003")
	}
	for r := range resultNames {
		if MakeResult(r.Code(), r.Experimental()) != r {
			t.Errorf("%v does not survive", r)
		}
		if r.OK() != (r.Code() < 3000) {
			t.Errorf("%v: OK is %v", r, r.OK())
		}
	}
	if ResultFirstRegistration.Code() != 2001 || !ResultFirstRegistration.Experimental() || ResultSuccess.Experimental() {
		t.Error("TS 29.229 6.2.1")
	}
	if Result(0).OK() {
		t.Error("no result is not a success")
	}
}

func TestResultError(t *testing.T) {
	wired := fmt.Errorf("over the wire: %w", &ResultError{MakeResult(5001, true)})
	if !errors.Is(wired, ErrUserUnknown) || errors.Is(wired, ErrIdentitiesDontMatch) {
		t.Error("comparison by result")
	}
	if ResultOf(nil) != ResultSuccess || ResultOf(ErrTooBusy) != ResultTooBusy || ResultOf(errors.New("x")) != ResultUnableToComply {
		t.Error("ResultOf")
	}
	if ResultOf(wired) != ResultUserUnknown {
		t.Errorf("a wrapped error is %v", ResultOf(wired))
	}
}

func TestAssignmentTypes(t *testing.T) {
	// TS 29.229 6.3.15.
	for n, want := range map[ServerAssignmentType]string{0: "NO_ASSIGNMENT", 7: "USER_DEREGISTRATION_STORE_SERVER_NAME",
		11: "DEREGISTRATION_TOO_MUCH_DATA", 13: "PGW_UPDATE", 14: "unknown"} {
		if n.String() != want {
			t.Errorf("%d is %s, want %s", n, n, want)
		}
	}
	for n, want := range map[ServerAssignmentType]bool{0: false, 1: false, 2: false, 3: false, 4: true, 5: true, 6: true,
		7: true, 8: true, 9: false, 10: false, 11: true} {
		if n.Deregisters() != want {
			t.Errorf("%s: Deregisters is %v", n, !want)
		}
	}
}

type settlers struct{ got []error }

func (s *settlers) Settle(err error) { s.got = append(s.got, err) }

func TestBatch(t *testing.T) {
	var b Batch
	s := &settlers{}
	b.Add(Change{Table: 1, Key: []byte("k"), Value: []byte("v"), Cond: IfAbsent})
	b.OnSettle(s)
	b.OnSettle(s)
	failed := errors.New("conflict")
	b.Settle(failed)
	if len(s.got) != 2 || s.got[0] != failed || len(b.Changes) != 0 {
		t.Errorf("%v, %d changes left", s.got, len(b.Changes))
	}
	b.Settle(nil)
	if len(s.got) != 2 {
		t.Error("told twice")
	}
}

func TestSecretHexNeverPrints(t *testing.T) {
	s := NewSecretHex("0123456789abcdef")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, struct{ X SecretHex }{s}); strings.Contains(got, "0123") || strings.Contains(got, "3031") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if s.Reveal() != "0123456789abcdef" {
		t.Error("Reveal")
	}
}
