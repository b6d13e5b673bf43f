package sh

import "imsafe/refpoint/cx"

// Result is the outcome of an operation. Sh shares its numbers with Cx (TS 29.329 6.2).
type Result = cx.Result

// ResultError is the one error that crosses Sh. Inner detail stays inside.
type ResultError = cx.ResultError

// ResultSuccess is DIAMETER_SUCCESS, also for data that does not exist (TS 29.328 6.1.1.1).
const ResultSuccess = cx.ResultSuccess

// Results that are failures; they travel as *ResultError.
const (
	ResultTooBusy                  = cx.ResultTooBusy
	ResultInvalidAVPValue          = cx.ResultInvalidAVPValue
	ResultMissingAVP               = cx.ResultMissingAVP
	ResultAVPOccursTooManyTimes    = cx.ResultAVPOccursTooManyTimes
	ResultUnableToComply           = cx.ResultUnableToComply
	ResultUserDataNotAvailable     = cx.Experimental | 4100
	ResultPriorUpdateInProgress    = cx.Experimental | 4101
	ResultUserUnknown              = cx.ResultUserUnknown
	ResultIdentitiesDontMatch      = cx.ResultIdentitiesDontMatch
	ResultTooMuchData              = cx.ResultTooMuchData
	ResultFeatureUnsupported       = cx.ResultFeatureUnsupported
	ResultUserDataNotRecognized    = cx.Experimental | 5100
	ResultOperationNotAllowed      = cx.Experimental | 5101
	ResultUserDataCannotBeRead     = cx.Experimental | 5102
	ResultUserDataCannotBeModified = cx.Experimental | 5103
	ResultUserDataCannotBeNotified = cx.Experimental | 5104
	ResultTransparentDataOutOfSync = cx.Experimental | 5105
	ResultSubsDataAbsent           = cx.Experimental | 5106
	ResultNoSubscriptionToData     = cx.Experimental | 5107
	ResultDSAINotAvailable         = cx.Experimental | 5108
)

// The failures as values, for errors.Is. They are shared and never changed.
var (
	ErrTooBusy                  = cx.ErrTooBusy
	ErrInvalidAVPValue          = cx.ErrInvalidAVPValue
	ErrMissingAVP               = cx.ErrMissingAVP
	ErrUnableToComply           = cx.ErrUnableToComply
	ErrUserDataNotAvailable     = &ResultError{Result: ResultUserDataNotAvailable}
	ErrPriorUpdateInProgress    = &ResultError{Result: ResultPriorUpdateInProgress}
	ErrUserUnknown              = cx.ErrUserUnknown
	ErrIdentitiesDontMatch      = cx.ErrIdentitiesDontMatch
	ErrTooMuchData              = cx.ErrTooMuchData
	ErrUserDataNotRecognized    = &ResultError{Result: ResultUserDataNotRecognized}
	ErrOperationNotAllowed      = &ResultError{Result: ResultOperationNotAllowed}
	ErrUserDataCannotBeRead     = &ResultError{Result: ResultUserDataCannotBeRead}
	ErrUserDataCannotBeModified = &ResultError{Result: ResultUserDataCannotBeModified}
	ErrUserDataCannotBeNotified = &ResultError{Result: ResultUserDataCannotBeNotified}
	ErrTransparentDataOutOfSync = &ResultError{Result: ResultTransparentDataOutOfSync}
	ErrSubsDataAbsent           = &ResultError{Result: ResultSubsDataAbsent}
	ErrNoSubscriptionToData     = &ResultError{Result: ResultNoSubscriptionToData}
	ErrDSAINotAvailable         = &ResultError{Result: ResultDSAINotAvailable}
)

// MakeResult is the inverse of Result's Code and Experimental, for a wire form.
func MakeResult(code uint32, experimental bool) Result { return cx.MakeResult(code, experimental) }

// ResultOf returns the result of an error: ResultSuccess for nil, ResultUnableToComply for an error that is no *ResultError.
func ResultOf(err error) Result { return cx.ResultOf(err) }

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
