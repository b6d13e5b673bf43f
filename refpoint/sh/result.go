package sh

import (
	"errors"
	"fmt"
)

// Result is the outcome of an operation: a Result-Code of the Diameter base protocol or an Experimental-Result-Code of 3GPP
// (TS 29.329 6.2). The two number ranges overlap, so the value keeps them apart; the zero value is no result.
type Result uint32

// experimental marks an Experimental-Result-Code of vendor 10415.
const experimental Result = 1 << 31

// ResultSuccess is DIAMETER_SUCCESS, also for data that does not exist (TS 29.328 6.1.1.1).
const ResultSuccess Result = 2001

// Results that are failures; they travel as *ResultError.
const (
	ResultTooBusy                  Result = 3004
	ResultInvalidAVPValue          Result = 5004
	ResultMissingAVP               Result = 5005
	ResultAVPOccursTooManyTimes    Result = 5009
	ResultUnableToComply           Result = 5012
	ResultUserDataNotAvailable            = experimental | 4100
	ResultPriorUpdateInProgress           = experimental | 4101
	ResultUserUnknown                     = experimental | 5001
	ResultIdentitiesDontMatch             = experimental | 5002
	ResultTooMuchData                     = experimental | 5008
	ResultFeatureUnsupported              = experimental | 5011
	ResultUserDataNotRecognized           = experimental | 5100
	ResultOperationNotAllowed             = experimental | 5101
	ResultUserDataCannotBeRead            = experimental | 5102
	ResultUserDataCannotBeModified        = experimental | 5103
	ResultUserDataCannotBeNotified        = experimental | 5104
	ResultTransparentDataOutOfSync        = experimental | 5105
	ResultSubsDataAbsent                  = experimental | 5106
	ResultNoSubscriptionToData            = experimental | 5107
	ResultDSAINotAvailable                = experimental | 5108
)

var resultNames = map[Result]string{
	ResultSuccess: "success", ResultTooBusy: "too busy", ResultInvalidAVPValue: "invalid value",
	ResultMissingAVP: "information element missing", ResultAVPOccursTooManyTimes: "information element occurs too many times",
	ResultUnableToComply: "unable to comply", ResultUserDataNotAvailable: "user data not available",
	ResultPriorUpdateInProgress: "prior update in progress", ResultUserUnknown: "user unknown",
	ResultIdentitiesDontMatch: "identities do not match", ResultTooMuchData: "too much data", ResultFeatureUnsupported: "feature not supported",
	ResultUserDataNotRecognized: "user data not recognized", ResultOperationNotAllowed: "operation not allowed",
	ResultUserDataCannotBeRead: "user data cannot be read", ResultUserDataCannotBeModified: "user data cannot be modified",
	ResultUserDataCannotBeNotified: "user data cannot be notified", ResultTransparentDataOutOfSync: "transparent data out of sync",
	ResultSubsDataAbsent: "data of the subscription absent", ResultNoSubscriptionToData: "no subscription to the data",
	ResultDSAINotAvailable: "DSAI not available",
}

// Code returns the number as it stands in the AVP.
func (r Result) Code() uint32 { return uint32(r &^ experimental) }

// Experimental says whether the number is an Experimental-Result-Code of 3GPP.
func (r Result) Experimental() bool { return r&experimental != 0 }

// MakeResult is the inverse of Code and Experimental, for a wire form.
func MakeResult(code uint32, exp bool) Result {
	r := Result(code) &^ experimental
	if exp {
		r |= experimental
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
		return fmt.Sprintf("experimental result %d", r.Code())
	}
	return fmt.Sprintf("result %d", r.Code())
}

// ResultError is the one error that crosses Sh. Inner detail stays inside.
type ResultError struct{ Result Result }

// Error names the result.
func (e *ResultError) Error() string { return "sh: " + e.Result.String() }

// Is makes errors.Is compare results, so that an error decoded from a wire equals the sentinel.
func (e *ResultError) Is(target error) bool {
	t, ok := target.(*ResultError)
	return ok && t.Result == e.Result
}

// ResultOf returns the result of an error: ResultSuccess for nil, ResultUnableToComply for an error that is no *ResultError.
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
	ErrTooBusy                  = &ResultError{ResultTooBusy}
	ErrInvalidAVPValue          = &ResultError{ResultInvalidAVPValue}
	ErrMissingAVP               = &ResultError{ResultMissingAVP}
	ErrUnableToComply           = &ResultError{ResultUnableToComply}
	ErrUserDataNotAvailable     = &ResultError{ResultUserDataNotAvailable}
	ErrPriorUpdateInProgress    = &ResultError{ResultPriorUpdateInProgress}
	ErrUserUnknown              = &ResultError{ResultUserUnknown}
	ErrIdentitiesDontMatch      = &ResultError{ResultIdentitiesDontMatch}
	ErrTooMuchData              = &ResultError{ResultTooMuchData}
	ErrUserDataNotRecognized    = &ResultError{ResultUserDataNotRecognized}
	ErrOperationNotAllowed      = &ResultError{ResultOperationNotAllowed}
	ErrUserDataCannotBeRead     = &ResultError{ResultUserDataCannotBeRead}
	ErrUserDataCannotBeModified = &ResultError{ResultUserDataCannotBeModified}
	ErrUserDataCannotBeNotified = &ResultError{ResultUserDataCannotBeNotified}
	ErrTransparentDataOutOfSync = &ResultError{ResultTransparentDataOutOfSync}
	ErrSubsDataAbsent           = &ResultError{ResultSubsDataAbsent}
	ErrNoSubscriptionToData     = &ResultError{ResultNoSubscriptionToData}
	ErrDSAINotAvailable         = &ResultError{ResultDSAINotAvailable}
)

// CannotBe returns the refusal of an operation: 5102, 5103 or 5104 (TS 29.329 6.2.2).
func CannotBe(op Operation) *ResultError {
	switch op {
	case Pull:
		return ErrUserDataCannotBeRead
	case Update:
		return ErrUserDataCannotBeModified
	}
	return ErrUserDataCannotBeNotified
}
