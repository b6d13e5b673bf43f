package cx

import (
	"errors"
	"fmt"
	"log/slog"
)

// Result is the outcome of an operation of Cx or Sh: a Result-Code of the Diameter base protocol or an Experimental-Result-Code of 3GPP,
// whose numbers the two reference points share (TS 29.229 6.2, TS 29.329 6.2). The two number ranges overlap, so the value keeps
// them apart; the zero value is no result.
type Result uint32

// Experimental marks an Experimental-Result-Code of vendor 10415.
const Experimental Result = 1 << 31

// Results that are not failures.
const (
	ResultSuccess                    Result = 2001                // DIAMETER_SUCCESS
	ResultLimitedSuccess             Result = 2002                // DIAMETER_LIMITED_SUCCESS
	ResultFirstRegistration                 = Experimental | 2001 // DIAMETER_FIRST_REGISTRATION
	ResultSubsequentRegistration            = Experimental | 2002 // DIAMETER_SUBSEQUENT_REGISTRATION
	ResultUnregisteredService               = Experimental | 2003 // DIAMETER_UNREGISTERED_SERVICE
	ResultSuccessServerNameNotStored        = Experimental | 2004 // DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED
)

// Results that are failures; they travel as *ResultError.
const (
	ResultTooBusy                   Result = 3004 // DIAMETER_TOO_BUSY
	ResultAuthorizationRejected     Result = 5003 // DIAMETER_AUTHORIZATION_REJECTED
	ResultInvalidAVPValue           Result = 5004 // DIAMETER_INVALID_AVP_VALUE
	ResultMissingAVP                Result = 5005 // DIAMETER_MISSING_AVP
	ResultAVPNotAllowed             Result = 5008 // DIAMETER_AVP_NOT_ALLOWED
	ResultAVPOccursTooManyTimes     Result = 5009 // DIAMETER_AVP_OCCURS_TOO_MANY_TIMES
	ResultUnableToComply            Result = 5012 // DIAMETER_UNABLE_TO_COMPLY
	ResultUserUnknown                      = Experimental | 5001
	ResultIdentitiesDontMatch              = Experimental | 5002
	ResultIdentityNotRegistered            = Experimental | 5003
	ResultRoamingNotAllowed                = Experimental | 5004
	ResultIdentityAlreadyRegistered        = Experimental | 5005
	ResultAuthSchemeNotSupported           = Experimental | 5006
	ResultInAssignmentType                 = Experimental | 5007
	ResultTooMuchData                      = Experimental | 5008
	ResultNotSupportedUserData             = Experimental | 5009
	ResultFeatureUnsupported               = Experimental | 5011
	ResultServingNodeFeatureUnsup          = Experimental | 5012
)

var resultNames = map[Result]string{
	ResultSuccess: "success", ResultLimitedSuccess: "limited success",
	ResultFirstRegistration: "first registration", ResultSubsequentRegistration: "subsequent registration",
	ResultUnregisteredService: "unregistered service", ResultSuccessServerNameNotStored: "server name not stored",
	ResultTooBusy: "too busy", ResultAuthorizationRejected: "authorization rejected",
	ResultInvalidAVPValue: "invalid value", ResultMissingAVP: "information element missing",
	ResultAVPNotAllowed:         "information element not allowed",
	ResultAVPOccursTooManyTimes: "information element occurs too many times",
	ResultUnableToComply:        "unable to comply", ResultUserUnknown: "user unknown",
	ResultIdentitiesDontMatch: "identities do not match", ResultIdentityNotRegistered: "identity not registered",
	ResultRoamingNotAllowed: "roaming not allowed", ResultIdentityAlreadyRegistered: "identity already registered elsewhere",
	ResultAuthSchemeNotSupported: "authentication scheme not supported",
	ResultInAssignmentType:       "assignment type does not fit the state",
	ResultTooMuchData:            "too much data", ResultNotSupportedUserData: "user data not supported",
	ResultFeatureUnsupported: "feature not supported", ResultServingNodeFeatureUnsup: "serving node lacks the feature",
	// of Sh
	Experimental | 4100: "user data not available", Experimental | 4101: "prior update in progress",
	Experimental | 5100: "user data not recognized", Experimental | 5101: "operation not allowed",
	Experimental | 5102: "user data cannot be read", Experimental | 5103: "user data cannot be modified",
	Experimental | 5104: "user data cannot be notified", Experimental | 5105: "transparent data out of sync",
	Experimental | 5106: "data of the subscription absent", Experimental | 5107: "no subscription to the data",
	Experimental | 5108: "DSAI not available",
}

// Code returns the number as it stands in the AVP.
func (r Result) Code() uint32 { return uint32(r &^ Experimental) }

// Experimental says whether the number is an Experimental-Result-Code of 3GPP.
func (r Result) Experimental() bool { return r&Experimental != 0 }

// MakeResult is the inverse of Code and Experimental, for a wire form.
func MakeResult(code uint32, experimental bool) Result {
	r := Result(code) &^ Experimental
	if experimental {
		r |= Experimental
	}
	return r
}

// OK says whether r is a success.
func (r Result) OK() bool { return r.Code() >= 2000 && r.Code() < 3000 }

// String returns the result in words, or its number.
func (r Result) String() string {
	if s, ok := resultNames[r]; ok {
		return s
	}
	if r.Experimental() {
		return fmt.Sprintf("Experimental result %d", r.Code())
	}
	return fmt.Sprintf("result %d", r.Code())
}

// ResultError is the one error that crosses Cx and Sh. Inner detail stays inside.
type ResultError struct{ Result Result }

// Error names the result.
func (e *ResultError) Error() string { return "diameter: " + e.Result.String() }

// Is makes errors.Is compare results, so that an error decoded from a wire equals the sentinel.
func (e *ResultError) Is(target error) bool {
	t, ok := target.(*ResultError)
	return ok && t.Result == e.Result
}

// ResultOf returns the result of an error: ResultSuccess for nil, ResultUnableToComply for an error
// that is no *ResultError (TS 29.228 6: unknown permanent failures are treated so).
func ResultOf(err error) Result {
	if err == nil {
		return ResultSuccess
	}
	var e *ResultError
	if errors.As(err, &e) {
		return e.Result
	}
	return ResultUnableToComply
}

// The failures as values, for errors.Is. They are shared and never changed.
var (
	ErrTooBusy                   = &ResultError{ResultTooBusy}
	ErrAuthorizationRejected     = &ResultError{ResultAuthorizationRejected}
	ErrInvalidAVPValue           = &ResultError{ResultInvalidAVPValue}
	ErrMissingAVP                = &ResultError{ResultMissingAVP}
	ErrAVPNotAllowed             = &ResultError{ResultAVPNotAllowed}
	ErrAVPOccursTooManyTimes     = &ResultError{ResultAVPOccursTooManyTimes}
	ErrUnableToComply            = &ResultError{ResultUnableToComply}
	ErrUserUnknown               = &ResultError{ResultUserUnknown}
	ErrIdentitiesDontMatch       = &ResultError{ResultIdentitiesDontMatch}
	ErrIdentityNotRegistered     = &ResultError{ResultIdentityNotRegistered}
	ErrRoamingNotAllowed         = &ResultError{ResultRoamingNotAllowed}
	ErrIdentityAlreadyRegistered = &ResultError{ResultIdentityAlreadyRegistered}
	ErrAuthSchemeNotSupported    = &ResultError{ResultAuthSchemeNotSupported}
	ErrInAssignmentType          = &ResultError{ResultInAssignmentType}
	ErrTooMuchData               = &ResultError{ResultTooMuchData}
	ErrNotSupportedUserData      = &ResultError{ResultNotSupportedUserData}
)

// SecretHex is an H(A1) in hexadecimal. It prints as a placeholder; Reveal is the only way in.
type SecretHex struct{ digits string }

// NewSecretHex wraps digits.
func NewSecretHex(digits string) SecretHex { return SecretHex{digits} }

// Reveal returns the digits, for the computation of a response.
func (s SecretHex) Reveal() string { return s.digits }

// String returns a placeholder, never the secret.
func (SecretHex) String() string { return "[redacted]" }

// Format writes a placeholder for every verb.
func (SecretHex) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// LogValue logs a placeholder.
func (SecretHex) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText encodes a placeholder.
func (SecretHex) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
