package sip

import "bytes"

// parseHostPort reads host [":" port]. An IPv6 reference loses its brackets. With lws, white space may surround the
// colon, as COLON of RFC 3261 25.1 lets it in a Via.
func parseHostPort(b []byte, lws bool) (host []byte, port uint16, ok bool) {
	var rest []byte
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return nil, 0, false
		}
		host, rest = b[1:end], b[end+1:]
		if !isIPv6(host) {
			return nil, 0, false
		}
	} else {
		end := bytes.IndexByte(b, ':')
		if end < 0 {
			end = len(b)
		}
		host, rest = b[:end], b[end:]
		if lws {
			host = trim(host)
		}
		if !isHostname(host) {
			return nil, 0, false
		}
	}
	if lws {
		rest = trim(rest)
	}
	if len(rest) == 0 {
		return host, 0, true
	}
	digits := rest[1:]
	if lws {
		digits = trim(digits)
	}
	n, ok := parseUint(digits, 65535)
	return host, uint16(n), ok && n > 0 && rest[0] == ':'
}

// isHostname reports whether b is a name or an IPv4 address (RFC 3261 25.1, hostname). A name may begin with a digit
// (RFC 1123 2.1) but digits and dots alone must be an address.
func isHostname(b []byte) bool {
	if len(b) == 0 || len(b) > 255 {
		return false
	}
	numeric, prev := true, byte('.')
	for _, c := range b {
		if class[c]&clsHost == 0 || c == '.' && prev == '.' {
			return false // an empty label
		}
		numeric = numeric && c <= '9' && c != '-'
		prev = c
	}
	return !numeric || isIPv4(b)
}

func isIPv4(b []byte) bool {
	for i := range 4 {
		end := len(b)
		if i < 3 {
			if end = bytes.IndexByte(b, '.'); end < 0 {
				return false
			}
		}
		if _, ok := parseUint(b[:end], 255); !ok || end > 3 {
			return false
		}
		if i < 3 {
			b = b[end+1:]
		}
	}
	return true
}

// isIPv6 reports whether b is the text of an IPv6 address (RFC 4291 2.2). The third colon before an IPv4 tail that the
// grammar of RFC 3261 produced by mistake is tolerated (RFC 5118 4.10).
func isIPv6(b []byte) bool {
	groups, compressed, i := 0, false, 0
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		compressed, i = true, 2
	}
	for i < len(b) {
		if i > 0 && b[i] == ':' && compressed && b[i-1] == ':' && b[i-2] == ':' && isIPv4(b[i+1:]) {
			i++
		}
		end := i
		for end < len(b) && class[b[end]]&clsHex != 0 {
			end++
		}
		if end < len(b) && b[end] == '.' {
			if !isIPv4(b[i:]) {
				return false
			}
			groups, i = groups+2, len(b)
			break
		}
		if end == i || end-i > 4 {
			return false
		}
		groups++
		if i = end; i == len(b) {
			break
		}
		if b[i] != ':' || i+1 == len(b) {
			return false
		}
		if i++; b[i] == ':' {
			if compressed {
				return false
			}
			compressed = true
			i++
		}
	}
	if compressed {
		return groups < 8
	}
	return groups == 8
}
