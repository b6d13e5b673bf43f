package sip

import "bytes"

// param is one parameter of a field or a URI.
type param struct {
	name, value []byte // value without its quotes, escapes as they stand; nil if there is no '='
	quoted      bool
}

// isSound: a token for a name, no delimiter in a value without quotes (RFC 3261 25.1, generic-param).
func (p *param) isSound() bool {
	return isToken(p.name) && (p.quoted || allOf(p.value, clsValue))
}

// nextParam cuts the parameter before the next sep off s. White space around names and values is dropped. ok is
// false if there is no name, no value behind '=' or no end of a quoted string (RFC 3261 25.1, generic-param).
func nextParam(s []byte, sep byte) (p param, rest []byte, ok bool) {
	i := 0
	for i < len(s) && s[i] != '=' && s[i] != sep {
		i++
	}
	p.name = trim(s[:i])
	if len(p.name) == 0 {
		return p, nil, false
	}
	if i == len(s) || s[i] == sep {
		return p, after(s, i), true
	}
	for i++; i < len(s) && isLWS(s[i]); i++ {
	}
	if i < len(s) && s[i] == '"' {
		end := closeQuote(s[i:])
		if end < 0 {
			return p, nil, false
		}
		p.value, p.quoted = s[i+1:i+end], true
		for i += end + 1; i < len(s) && isLWS(s[i]); i++ {
		}
		if i < len(s) && s[i] != sep {
			return p, nil, false
		}
		return p, after(s, i), true
	}
	end := bytes.IndexByte(s[i:], sep)
	if end < 0 {
		end = len(s)
	} else {
		end += i
	}
	p.value = trim(s[i:end])
	return p, after(s, end), len(p.value) > 0
}

// after returns what stands behind the separator at i, nil at the end of s. A separator with nothing behind it leaves
// an empty slice that is not nil, in which nextParam finds no name.
func after(s []byte, i int) []byte {
	if i >= len(s) {
		return nil
	}
	return s[i+1:]
}

// closeQuote returns the index of the quote that ends the quoted string at the start of s, -1 if it has no end.
func closeQuote(s []byte) int {
	for i := 1; i < len(s); {
		end := bytes.IndexByte(s[i:], '"')
		if end < 0 {
			return -1
		}
		escape := bytes.IndexByte(s[i:i+end], '\\')
		if escape < 0 {
			return i + end
		}
		i += escape + 2
	}
	return -1
}

// Param returns the value of the parameter called name (any case) in params, the text that follows the first ';' of a
// field or URI. A quoted value is returned without its quotes, escapes within as they stand; a parameter without a
// value gives an empty slice. ok is false if it is absent or stands behind a malformed one. The value is a view.
func Param(params []byte, name string) (value []byte, ok bool) {
	for params != nil {
		p, rest, ok := nextParam(params, ';')
		if !ok {
			return nil, false
		}
		if foldEqual(p.name, name) {
			if p.value == nil {
				return params[:0], true
			}
			return p.value, true
		}
		params = rest
	}
	return nil, false
}

// maxParams bounds the parameters of one value or URI; a Contact with all feature tags of IMS has a dozen.
const maxParams = 32

// checkParams reports whether params follow the grammar of generic-param and no name stands twice
// (RFC 3261 7.3.1: a parameter name must not appear more than once).
func checkParams(params []byte) bool {
	var seen nameFilter
	for n, rest := 0, params; rest != nil; n++ {
		p, next, ok := nextParam(rest, ';')
		if !ok || n == maxParams || !p.isSound() {
			return false
		}
		if seen.maybe(p.name) && nameBefore(params[:len(params)-len(rest)], p.name) {
			return false
		}
		rest = next
	}
	return true
}

// nameFilter remembers names by one bit each: it says in a few instructions that a name is new.
type nameFilter uint64

// maybe reports whether name may have been seen before, and adds it.
func (f *nameFilter) maybe(name []byte) bool {
	bit := nameFilter(1) << ((lower[name[0]]*3 + lower[name[len(name)-1]]*5 + byte(len(name))) & 63)
	had := *f&bit != 0
	*f |= bit
	return had
}

// nameBefore reports whether one of the sound parameters in s, which end with ';', is called name. Names of URI
// parameters may hold escapes.
func nameBefore(s, name []byte) bool {
	for len(s) > 0 {
		p, rest, ok := nextParam(s, ';')
		if !ok {
			return false
		}
		if escapedEqual(p.name, name, true) {
			return true
		}
		s = rest
	}
	return false
}
