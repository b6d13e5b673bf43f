package sh

import (
	"errors"
	"fmt"
	"testing"
)

// TS 29.329 6.2.
func TestResultNumbers(t *testing.T) {
	for result, want := range map[Result]uint32{
		ResultUserDataNotAvailable: 4100, ResultPriorUpdateInProgress: 4101, ResultUserUnknown: 5001, ResultIdentitiesDontMatch: 5002,
		ResultTooMuchData: 5008, ResultFeatureUnsupported: 5011, ResultUserDataNotRecognized: 5100, ResultOperationNotAllowed: 5101,
		ResultUserDataCannotBeRead: 5102, ResultUserDataCannotBeModified: 5103, ResultUserDataCannotBeNotified: 5104,
		ResultTransparentDataOutOfSync: 5105, ResultSubsDataAbsent: 5106, ResultNoSubscriptionToData: 5107, ResultDSAINotAvailable: 5108,
	} {
		if result.Code() != want || !result.Experimental() || MakeResult(want, true) != result || result.OK() {
			t.Errorf("%v is %d", result, result.Code())
		}
	}
	if ResultSuccess.Experimental() || !ResultSuccess.OK() {
		t.Error("success")
	}
}

func TestResultError(t *testing.T) {
	wrapped := fmt.Errorf("asking: %w", &ResultError{Result: MakeResult(5102, true)})
	if !errors.Is(wrapped, ErrUserDataCannotBeRead) || errors.Is(wrapped, ErrUserDataCannotBeModified) {
		t.Error("results do not compare")
	}
	for err, want := range map[error]Result{nil: ResultSuccess, wrapped: ResultUserDataCannotBeRead, errors.New("disk"): ResultUnableToComply} {
		if got := ResultOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	for op, want := range map[Operation]error{Pull: ErrUserDataCannotBeRead, Update: ErrUserDataCannotBeModified, Subscribe: ErrUserDataCannotBeNotified} {
		if got := CannotBe(op); !errors.Is(got, want) {
			t.Errorf("%v: %v", op, got)
		}
	}
}

// TS 29.328 table 7.6.1.
func TestDataReferences(t *testing.T) {
	for number, row := range map[DataReference]struct {
		name              string
		ops               Operation
		impu, psi, msisdn bool
	}{
		0:  {"RepositoryData", Pull | Update | Subscribe, true, true, false},
		10: {"IMSPublicIdentity", Pull | Subscribe, true, true, true},
		11: {"IMSUserState", Pull | Subscribe, true, false, false},
		12: {"S-CSCFName", Pull | Subscribe, true, true, false},
		13: {"InitialFilterCriteria", Pull | Subscribe, true, true, false},
		14: {"LocationInformation", Pull, true, false, true},
		16: {"ChargingInformation", Pull, true, true, true},
		17: {"MSISDN", Pull, true, false, true},
		18: {"PSIActivation", Pull | Update | Subscribe, false, true, false},
		19: {"DSAI", Pull | Update | Subscribe, true, true, false},
		27: {"STN-SR", Pull | Update, true, false, true},
	} {
		if number.String() != row.name || number.Operations() != row.ops {
			t.Errorf("%d is %v with %v", number, number, number.Operations())
		}
		if number.AccessBy(false, false) != row.impu || number.AccessBy(false, true) != row.psi || number.AccessBy(true, false) != row.msisdn {
			t.Errorf("%v: keys", number)
		}
		if back, ok := ParseDataReference(row.name); !ok || back != number {
			t.Errorf("%s is read as %v", row.name, back)
		}
	}
	for _, unknown := range []DataReference{1, 9, 20, 36, 255} {
		if unknown.Known() || unknown.Permits(Pull) || unknown.AccessBy(false, false) || unknown.Operations() != 0 {
			t.Errorf("%d is known", unknown)
		}
	}
	if _, ok := ParseDataReference("*"); ok {
		t.Error("a wildcard is a reference")
	}
	for _, r := range []DataReference{RefLocationInformation, RefMSISDN, RefDSAI} {
		if !r.Sensitive() {
			t.Errorf("%v may be granted by a wildcard", r)
		}
	}
}

// TS 29.328 6.1.2.1: 0 is for new data, 65535 is followed by 1.
func TestNextSequenceNumber(t *testing.T) {
	for n, want := range map[uint16]uint16{0: 1, 1: 2, 65534: 65535, 65535: 1} {
		if got := NextSequenceNumber(n); got != want {
			t.Errorf("after %d comes %d, want %d", n, got, want)
		}
	}
}
