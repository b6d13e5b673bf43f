package sip

import "strconv"

// ParseError says why octets are no SIP message. All values are predeclared, so that refusing costs no allocation;
// compare with ==.
type ParseError struct{ what string }

// Error implements error.
func (e *ParseError) Error() string { return "sip: " + e.what }

// The errors of Pool.Parse and, where the same fault makes a stream unusable, of Framer.Next.
var (
	ErrEmpty         = &ParseError{"nothing but line ends"}
	ErrTooLarge      = &ParseError{"message or body over the limit"}
	ErrStartLine     = &ParseError{"start line of another protocol"}
	ErrLineEnd       = &ParseError{"CR or LF on its own"}
	ErrNUL           = &ParseError{"NUL in the header"}
	ErrNoEnd         = &ParseError{"header without end"}
	ErrLineTooLong   = &ParseError{"header line over the limit"}
	ErrTooManyFields = &ParseError{"too many header fields"}
	ErrTooManyValues = &ParseError{"too many values on one line"}
)

// The errors of the typed views: a value that does not follow its grammar.
var (
	ErrURI         = &ParseError{"malformed URI"}
	ErrNameAddr    = &ParseError{"malformed name-addr"}
	ErrVia         = &ParseError{"malformed Via"}
	ErrCSeq        = &ParseError{"malformed CSeq"}
	ErrCredentials = &ParseError{"malformed Digest credentials"}
	ErrChallenge   = &ParseError{"malformed Digest challenge"}
	ErrAuthInfo    = &ParseError{"malformed Authentication-Info"}
	ErrScheme      = &ParseError{"authentication scheme other than Digest"}
	ErrMissing     = &ParseError{"header field missing"}
)

// StatusError is the one error that crosses the wire: a SIP status code, its reason phrase ("" means the default of
// the code) and, if not 0, the Retry-After in seconds (RFC 3261 20.33). Nothing else about the error reaches the peer.
type StatusError struct {
	Code       int
	Reason     string
	RetryAfter uint32
}

// Error implements error.
func (e *StatusError) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = ReasonPhrase(e.Code)
	}
	return "sip: " + strconv.Itoa(e.Code) + " " + reason
}
