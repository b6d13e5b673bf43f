package sip

// Character classes of RFC 3261 25.1, one bit each.
const (
	clsToken      = 1 << iota // token: alphanum and -.!%*_+`'~
	clsWord                   // word: token and ()<>:\"/[]?{}
	clsUser                   // user without "escaped": unreserved and &=+$,;?/
	clsPassword               // password without "escaped": unreserved and &=+$,
	clsParam                  // paramchar without "escaped": unreserved and []/:&+$
	clsHeader                 // hnv-char without "escaped", with the '=' and '&' between: unreserved and []/?:+$=&
	clsHost                   // hostname; '_' too, because names of DNS may hold it (RFC 2181 11)
	clsHex                    // HEXDIG
	clsUnreserved             // unreserved
	clsTokens                 // what stands in a list of tokens: token, white space, comma
	clsNumeric                // digits and dots
	clsValue                  // what may stand in an unquoted parameter value: token, host, and the '/' of types
)

// class holds the classes of each octet, lower its lower-case form. Both are written once, here.
var class, lower = buildClasses()

func buildClasses() (class [256]uint16, lower [256]byte) {
	mark := func(bits uint16, chars string) {
		for i := range len(chars) {
			class[chars[i]] |= bits
		}
	}
	const (
		alphanum   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		unreserved = alphanum + "-_.!~*'()"
	)
	mark(clsToken|clsWord|clsTokens, alphanum+"-.!%*_+`'~")
	mark(clsTokens, " \t,")
	mark(clsWord, "()<>:\\\"/[]?{}")
	mark(clsUser|clsPassword|clsParam|clsHeader|clsUnreserved, unreserved)
	mark(clsUser, "&=+$,;?/#") // '#' is not in RFC 3261 25.1, but phones dial service codes with it
	mark(clsPassword, "&=+$,")
	mark(clsParam, "[]/:&+$")
	mark(clsHeader, "[]/?:+$=&")
	mark(clsHost, alphanum+"-._")
	mark(clsNumeric, "0123456789.")
	mark(clsHex, "0123456789abcdefABCDEF")
	// RFC 3261 25.1 (gen-value) allows token and host only, but peers put '=', '@' and '|' into branches and tags. As
	// long as no delimiter is among them every reader finds the same end.
	for i := 0x21; i <= 0xff; i++ {
		if i != 0x7f {
			mark(clsValue, string([]byte{byte(i)}))
		}
	}
	for _, c := range []byte("\",;<>\\") {
		class[c] &^= clsValue
	}
	for i := range lower {
		lower[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			lower[i] = byte(i) | 0x20
		}
	}
	return class, lower
}

// isLWS reports whether c is the white space that may stand in an unfolded value (RFC 3261 25.1, LWS).
func isLWS(c byte) bool { return c == ' ' || c == '\t' }

// trimLeft takes white space off the front.
func trimLeft(b []byte) []byte {
	for len(b) > 0 && isLWS(b[0]) {
		b = b[1:]
	}
	return b
}

// trim takes white space off both ends.
func trim(b []byte) []byte {
	b = trimLeft(b)
	for len(b) > 0 && isLWS(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// allOf reports whether every octet of b is in the class.
func allOf(b []byte, cls uint16) bool {
	for _, c := range b {
		if class[c]&cls == 0 {
			return false
		}
	}
	return true
}

// isToken reports whether b is a token (RFC 3261 25.1): not empty.
func isToken(b []byte) bool { return len(b) > 0 && allOf(b, clsToken) }

// escapedLen returns how many octets at the front of b are in the class or escapes (RFC 3261 25.1, escaped).
func escapedLen(b []byte, cls uint16) int {
	for i := 0; i < len(b); i++ {
		if class[b[i]]&cls != 0 {
			continue
		}
		if b[i] != '%' || !isEscape(b[i:]) {
			return i
		}
		i += 2
	}
	return len(b)
}

// isEscape reports whether two hexadecimal digits follow the first octet of b.
func isEscape(b []byte) bool {
	return len(b) > 2 && class[b[1]]&class[b[2]]&clsHex != 0
}

// parseUint reads a decimal number of digits only, at most limit; ok is false for anything else, "" included.
func parseUint(b []byte, limit uint64) (n uint64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > limit {
			return 0, false // before it can wrap: limit is at most 2^32
		}
	}
	return n, true
}
