package sip

import (
	"bytes"
	"strconv"
)

// URI is a parsed SIP, SIPS or tel URI (RFC 3261 19.1, RFC 3966), or any other as Scheme and Opaque. The slices are
// views of what was parsed, escapes as they stand. The zero value is no URI.
type URI struct {
	Scheme   []byte
	User     []byte // user part; of a tel URI the number
	Password []byte // nil if there is none
	Host     []byte // an IPv6 address without its brackets; nil in a tel URI
	Port     uint16 // 0 = none
	Params   []byte // behind the first ';', nil if there are none
	Headers  []byte // behind the '?', nil if there are none
	Opaque   []byte // what follows the scheme of any other URI
}

// scheme tells the URIs apart that we know.
type scheme uint8

const (
	schemeOther scheme = iota
	schemeSIP
	schemeSIPS
	schemeTel
)

func schemeOf(b []byte) scheme {
	switch {
	case len(b) < 3 || len(b) > 4:
		return schemeOther
	case b[0]|0x20 == 's' && b[1]|0x20 == 'i' && b[2]|0x20 == 'p':
		if len(b) == 3 {
			return schemeSIP
		}
		if b[3]|0x20 == 's' {
			return schemeSIPS
		}
	case b[0]|0x20 == 't' && b[1]|0x20 == 'e' && b[2]|0x20 == 'l' && len(b) == 3:
		return schemeTel
	}
	return schemeOther
}

// IsSIP reports whether the scheme is sip or sips.
func (u *URI) IsSIP() bool {
	s := schemeOf(u.Scheme)
	return s == schemeSIP || s == schemeSIPS
}

// IsTel reports whether the scheme is tel.
func (u *URI) IsTel() bool { return schemeOf(u.Scheme) == schemeTel }

// ParseURI reads a URI strictly: every octet must be one that the grammar of RFC 3261 25.1 or RFC 3966 3 lets stand
// there. It returns ErrURI otherwise and keeps views of b.
func ParseURI(b []byte) (URI, error) {
	var u URI
	if !u.parse(b) {
		return URI{}, ErrURI
	}
	return u, nil
}

// parse fills an empty u.
func (u *URI) parse(b []byte) bool {
	colon := 3 // of sip and tel
	if len(b) < 5 || b[3] != ':' || schemeOf(b[:3]) == schemeOther {
		colon = bytes.IndexByte(b, ':')
	}
	if colon <= 0 || colon == len(b)-1 {
		return false
	}
	u.Scheme = b[:colon]
	rest := b[colon+1:]
	switch schemeOf(u.Scheme) {
	case schemeSIP, schemeSIPS:
		return u.parseSIP(rest)
	case schemeTel:
		return u.parseTel(rest)
	}
	u.Opaque = rest
	return isScheme(u.Scheme) && isOpaque(rest)
}

// isScheme: RFC 3986 3.1.
func isScheme(b []byte) bool {
	for i, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}

// isOpaque refuses white space, controls and the delimiters that RFC 3986 2 leaves out of every URI.
func isOpaque(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '"' {
			return false
		}
	}
	return true
}

func (u *URI) parseSIP(b []byte) bool {
	// '@' stands for itself nowhere but behind the user part, where ';' and '?' mean nothing yet.
	if at := bytes.IndexByte(b, '@'); at >= 0 {
		n := escapedLen(b[:at], clsUser)
		u.User = b[:n]
		if n < at && b[n] == ':' {
			u.Password = b[n+1 : at]
			n += 1 + escapedLen(u.Password, clsPassword)
		}
		if len(u.User) == 0 || n != at {
			return false
		}
		b = b[at+1:]
	}
	var ok bool
	if u.Host, u.Port, b, ok = parseHostPort(b, false); !ok {
		return false
	}
	if len(b) > 0 && b[0] == ';' {
		n := uriParamsLen(b[1:])
		if n < 0 {
			return false
		}
		u.Params, b = b[1:n+1], b[n+1:]
	}
	if len(b) > 0 {
		u.Headers = b[1:]
		return b[0] == '?' && len(u.Headers) > 0 && escapedLen(u.Headers, clsHeader) == len(u.Headers)
	}
	return true
}

// uriParamsLen returns the length of the parameters at the front of b, up to '?' or the end, -1 if they do not follow
// their grammar: names and values of paramchar, none of them empty (RFC 3261 25.1, uri-parameters), no name twice
// (RFC 3261 19.1.1, RFC 3966 3).
func uriParamsLen(b []byte) int {
	var seen nameFilter
	start, equals, count, escaped := 0, -1, 0, false
	for i := 0; ; i++ {
		if i < len(b) && class[b[i]]&clsParam != 0 {
			continue
		}
		switch {
		case i == len(b) || b[i] == ';' || b[i] == '?':
			name := b[start:i]
			if equals >= 0 {
				name = b[start:equals]
			}
			if len(name) == 0 || equals == i-1 || count == maxParams ||
				(seen.maybe(name) || escaped) && nameBefore(b[:start], name) {
				return -1
			}
			if i == len(b) || b[i] == '?' {
				return i
			}
			count++
			start, equals = i+1, -1
		case b[i] == '=' && equals < 0:
			equals = i
		case b[i] == '%' && isEscape(b[i:]):
			escaped = true
			i += 2
		default:
			return -1
		}
	}
}

func (u *URI) parseTel(b []byte) bool {
	u.User = b
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		u.User, u.Params = b[:i], b[i+1:]
		if uriParamsLen(u.Params) != len(u.Params) {
			return false
		}
	}
	// RFC 3966 3: a global number is '+' and digits, a local one may hold '*', '#' and hexadecimal digits too; both
	// with visual separators.
	number := u.User
	global := len(number) > 0 && number[0] == '+'
	if global {
		number = number[1:]
	}
	count := 0
	for _, c := range number {
		switch {
		case c >= '0' && c <= '9', !global && (c == '*' || c == '#' || class[c]&clsHex != 0):
			count++
		case isVisual(c):
		default:
			return false
		}
	}
	return count > 0
}

// isVisual: RFC 3966 3, visual-separator.
func isVisual(c byte) bool { return c == '-' || c == '.' || c == '(' || c == ')' }

// AppendTo appends the URI as it was parsed.
func (u *URI) AppendTo(dst []byte) []byte {
	dst = append(dst, u.Scheme...)
	dst = append(dst, ':')
	if u.Opaque != nil {
		return append(dst, u.Opaque...)
	}
	if u.User != nil {
		dst = append(dst, u.User...)
		if u.Password != nil {
			dst = append(dst, ':')
			dst = append(dst, u.Password...)
		}
		if u.Host != nil {
			dst = append(dst, '@')
		}
	}
	dst = appendHostPort(dst, u.Host, u.Port)
	if u.Params != nil {
		dst = append(dst, ';')
		dst = append(dst, u.Params...)
	}
	if u.Headers != nil {
		dst = append(dst, '?')
		dst = append(dst, u.Headers...)
	}
	return dst
}

// AppendAOR appends the canonical address-of-record (RFC 3261 10.3 step 5, TS 23.003 13.4): "sip:user@host[:port]"
// with the scheme sip, escapes of unreserved characters undone, the others in upper case, the host in lower case,
// without password, parameters and headers; or "tel:number" without visual separators, a local number with its
// phone-context. Any other URI is appended as it is, with its scheme in lower case. Two addresses of one user give
// the same octets.
func (u *URI) AppendAOR(dst []byte) []byte {
	switch schemeOf(u.Scheme) {
	case schemeSIP, schemeSIPS:
		// RFC 5630 3.3: sips names the same user, reached in another way.
		dst = append(dst, "sip:"...)
		if u.User != nil {
			dst = appendUnescaped(dst, u.User)
			dst = append(dst, '@')
		}
		start := len(dst)
		dst = appendHostPort(dst, u.Host, u.Port)
		toLower(dst[start:])
	case schemeTel:
		dst = append(dst, "tel:"...)
		for _, c := range u.User {
			if !isVisual(c) {
				dst = append(dst, lower[c])
			}
		}
		if context, ok := u.Param("phone-context"); ok && len(u.User) > 0 && u.User[0] != '+' {
			dst = append(dst, ";phone-context="...)
			start := len(dst)
			dst = append(dst, context...)
			toLower(dst[start:])
		}
	default:
		start := len(dst)
		dst = append(dst, u.Scheme...)
		toLower(dst[start:])
		dst = append(dst, ':')
		dst = append(dst, u.Opaque...)
	}
	return dst
}

func toLower(b []byte) {
	for i, c := range b {
		b[i] = lower[c]
	}
}

const upperHex = "0123456789ABCDEF"

// appendUnescaped undoes the escapes of characters that need none and writes the others in upper case.
func appendUnescaped(dst, b []byte) []byte {
	for len(b) > 0 {
		c, escaped, n := nextChar(b)
		b = b[n:]
		if escaped {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// nextChar reads one character of b and its length. An escaped unreserved character equals itself unescaped
// (RFC 3261 19.1.4, RFC 3986 2.3); any other escape stays one.
func nextChar(b []byte) (c byte, escaped bool, n int) {
	if b[0] != '%' || !isEscape(b) {
		return b[0], false, 1
	}
	c = unhex(b[1])<<4 | unhex(b[2])
	return c, class[c]&clsUnreserved == 0, 3
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// Param returns the value of a URI parameter; see the function Param.
func (u *URI) Param(name string) ([]byte, bool) { return Param(u.Params, name) }

// appendHostPort appends host and, if it is not 0, the port; an IPv6 address gets its brackets.
func appendHostPort(dst, host []byte, port uint16) []byte {
	if bytes.IndexByte(host, ':') >= 0 {
		dst = append(dst, '[')
		dst = append(dst, host...)
		dst = append(dst, ']')
	} else {
		dst = append(dst, host...)
	}
	if port != 0 {
		dst = append(dst, ':')
		dst = strconv.AppendUint(dst, uint64(port), 10)
	}
	return dst
}
