package sip

import "bytes"

// Equal compares two URIs as RFC 3261 19.1.4 does for SIP and RFC 3966 4 for tel. It is not transitive (parameters
// that only one side has may not count), so it is no key: use AppendAOR for that.
func (u *URI) Equal(v *URI) bool {
	s := schemeOf(u.Scheme)
	if s != schemeOf(v.Scheme) {
		return false
	}
	switch s {
	case schemeTel:
		return telEqual(u, v)
	case schemeOther:
		return equalFold(u.Scheme, v.Scheme) && bytes.Equal(u.Opaque, v.Opaque)
	}
	return (u.User == nil) == (v.User == nil) && escapedEqual(u.User, v.User, false) &&
		(u.Password == nil) == (v.Password == nil) && escapedEqual(u.Password, v.Password, false) &&
		equalFold(u.Host, v.Host) && u.Port == v.Port &&
		paramsAgree(u.Params, v.Params) && paramsAgree(v.Params, u.Params) &&
		headersWithin(u.Headers, v.Headers) && headersWithin(v.Headers, u.Headers)
}

// mustAgree are the parameters that count even where only one side has them (RFC 3261 19.1.4).
var mustAgree = [...]string{"user", "ttl", "method", "maddr", "transport"}

// paramsAgree looks for each parameter of a in b.
func paramsAgree(a, b []byte) bool {
	for a != nil {
		p, rest, ok := nextParam(a, ';')
		if !ok {
			return false
		}
		a = rest
		v, found := escapedParam(b, p.name)
		if found && !escapedEqual(p.value, v, true) {
			return false
		}
		if found {
			continue
		}
		for _, name := range mustAgree {
			if foldEqual(p.name, name) {
				return false
			}
		}
	}
	return true
}

// escapedParam finds a URI parameter whose name may hold escapes.
func escapedParam(params, name []byte) (value []byte, ok bool) {
	for params != nil {
		p, rest, ok := nextParam(params, ';')
		if !ok {
			return nil, false
		}
		if escapedEqual(p.name, name, true) {
			return p.value, true
		}
		params = rest
	}
	return nil, false
}

// headersWithin reports whether each header of a stands in b with the same value (RFC 3261 19.1.4: never ignored).
func headersWithin(a, b []byte) bool {
	if (a == nil) != (b == nil) {
		return false
	}
	for a != nil {
		p, rest, ok := nextParam(a, '&')
		if !ok {
			p.name, rest = a, nil // not name=value: compare what is left as one
		}
		if !headerIn(b, p) {
			return false
		}
		a = rest
	}
	return true
}

func headerIn(b []byte, want param) bool {
	for b != nil {
		p, rest, ok := nextParam(b, '&')
		if !ok {
			p, rest = param{name: b}, nil
		}
		if escapedEqual(p.name, want.name, true) && escapedEqual(p.value, want.value, false) {
			return true
		}
		b = rest
	}
	return false
}

// escapedEqual compares two texts in which an escaped unreserved character equals itself; fold ignores case.
func escapedEqual(a, b []byte, fold bool) bool {
	for len(a) > 0 && len(b) > 0 {
		ca, ea, na := nextChar(a)
		cb, eb, nb := nextChar(b)
		if fold {
			ca, cb = lower[ca], lower[cb]
		}
		if ca != cb || ea != eb {
			return false
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) == 0 && len(b) == 0
}

// telEqual: RFC 3966 4: numbers without visual separators, all parameters in any order.
func telEqual(u, v *URI) bool {
	a, b := u.User, v.User
	for {
		for len(a) > 0 && isVisual(a[0]) {
			a = a[1:]
		}
		for len(b) > 0 && isVisual(b[0]) {
			b = b[1:]
		}
		if len(a) == 0 || len(b) == 0 {
			break
		}
		if lower[a[0]] != lower[b[0]] {
			return false
		}
		a, b = a[1:], b[1:]
	}
	return len(a) == len(b) && telParamsWithin(u.Params, v.Params) && telParamsWithin(v.Params, u.Params)
}

func telParamsWithin(a, b []byte) bool {
	for a != nil {
		p, rest, ok := nextParam(a, ';')
		if !ok {
			return false
		}
		v, found := escapedParam(b, p.name)
		if !found || !escapedEqual(p.value, v, true) {
			return false
		}
		a = rest
	}
	return true
}
