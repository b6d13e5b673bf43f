package filter

import (
	"bytes"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// condition is a service point trigger without its negation and its groups (TS 29.228 B.2.3).
type condition struct {
	kind cx.SPTKind

	sessionCase   cx.SessionCase
	registrations cx.RegistrationTypes
	method        sip.Method   // MethodOther: the one of that name
	header        sip.HeaderID // HdrOther: those of that name
	name          string       // of a method, header or line; "" if names is an expression
	names         *expression  // header or line
	wholeURI      bool         // the expression is for all of the Request-URI
	content       *expression  // nil: it is enough that the field or line is there
}

// test says whether a condition holds for the request.
func (e *Evaluation) test(c *condition) bool {
	switch c.kind {
	case cx.SPTMethod:
		return e.isMethod(c)
	case cx.SPTSessionCase:
		return e.request.Case == c.sessionCase
	case cx.SPTRequestURI:
		return e.match(c.content, c.subject(e.request.Message.RequestURI()))
	case cx.SPTSIPHeader:
		return e.hasHeader(c)
	default:
		return e.describes(c)
	}
}

// match runs an expression within what work is left.
func (e *Evaluation) match(x *expression, text []byte) bool {
	return e.spend(x.cost(len(text))) && x.match(text)
}

// spend counts steps, and says whether there are some left.
func (e *Evaluation) spend(steps int) bool {
	if e.work += steps; e.work > maxWork {
		e.err = ErrTooMuchWork
	}
	return e.err == nil
}

// isMethod compares methods, which are case-sensitive (RFC 3261 7.1), and types of registration.
func (e *Evaluation) isMethod(c *condition) bool {
	m := e.request.Message
	if m.Method() != c.method || c.method == sip.MethodOther && string(m.MethodName()) != c.name {
		return false
	}
	return c.registrations == 0 || c.registrations&e.request.Registration != 0
}

// subject returns what of the Request-URI an expression is for: host and port of a SIP URI, the number of a tel URI, all of any other
// (TS 29.228 Annex F); all of it too if the expression can mean nothing else.
func (c *condition) subject(uri []byte) []byte {
	if c.wholeURI {
		return uri
	}
	return uriSubject(uri)
}

func uriSubject(uri []byte) []byte {
	u, err := sip.ParseURI(uri)
	switch {
	case err != nil:
		return uri
	case u.IsTel():
		return uri[len("tel:"):]
	case !u.IsSIP():
		return uri
	}
	// In a sound URI '@' stands behind the user part only.
	rest := uri[len(u.Scheme)+1:]
	rest = rest[bytes.IndexByte(rest, '@')+1:]
	if end := bytes.IndexAny(rest, ";?"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// hasHeader looks for a header field, and in its values: each value of a list is one.
func (e *Evaluation) hasHeader(c *condition) bool {
	m := e.request.Message
	if c.header != sip.HdrOther {
		if c.content == nil {
			return m.Has(c.header)
		}
		for v := range m.Values(c.header) {
			if e.match(c.content, v) {
				return true
			}
		}
		return false
	}
	for name, v := range m.Fields() {
		if e.spend(1) && e.isNamed(c, name) && (c.content == nil || e.match(c.content, v)) {
			return true
		}
	}
	return false
}

// isNamed compares names of header fields, which are not case-sensitive (RFC 3261 7.3.1).
func (e *Evaluation) isNamed(c *condition, name []byte) bool {
	if c.names != nil {
		return e.match(c.names, name)
	}
	return len(name) == len(c.name) && bytes.EqualFold(name, []byte(c.name))
}

// describes looks for a line of a session description, and in it.
func (e *Evaluation) describes(c *condition) bool {
	m := e.request.Message
	if !e.spend(len(m.Body()) / 4) { // no line and no part is shorter
		return false
	}
	return eachDescription(m.Get(sip.HdrContentType), m.Body(), 0, func(sdp []byte) bool {
		for l := (lines{rest: sdp}); l.next(); {
			if e.isLine(c, l.kind()) && (c.content == nil || e.match(c.content, l.value())) {
				return true
			}
		}
		return false
	})
}

func (e *Evaluation) isLine(c *condition, kind []byte) bool {
	if c.names != nil {
		return e.match(c.names, kind)
	}
	return string(kind) == c.name
}
