package sip

import "bytes"

// parseHostPort reads host [":" port] from the front of b and returns what follows. An IPv6 reference loses its
// brackets. With lws, white space may surround the colon, as COLON of RFC 3261 25.1 lets it in a Via.
func parseHostPort(b []byte, lws bool) (host []byte, port uint16, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isIPv6(b[1:end]) {
			return nil, 0, nil, false
		}
		host, rest = b[1:end], b[end+1:]
	} else {
		n := hostnameLen(b)
		if n == 0 {
			return nil, 0, nil, false
		}
		host, rest = b[:n], b[n:]
	}
	after := rest
	if lws {
		after = trimLeft(after)
	}
	if len(after) == 0 || after[0] != ':' {
		return host, 0, rest, true
	}
	after = after[1:]
	if lws {
		after = trimLeft(after)
	}
	n := 0
	for n < len(after) && after[n] >= '0' && after[n] <= '9' {
		n++
	}
	p, ok := parseUint(after[:n], 65535)
	return host, uint16(p), after[n:], ok && p > 0
}

// hostnameLen returns the length of the name or IPv4 address at the front of b, 0 if there is none (RFC 3261 25.1,
// hostname). A name may begin with a digit (RFC 1123 2.1) but digits and dots alone must be an address.
func hostnameLen(b []byte) int {
	n, numeric, prev := 0, uint16(clsNumeric), byte('.')
	for ; n < len(b); n++ {
		c := b[n]
		k := class[c]
		if k&clsHost == 0 {
			break
		}
		if c == '.' && prev == '.' {
			return 0 // an empty label
		}
		numeric &= k
		prev = c
	}
	if n > 255 || numeric != 0 && !isIPv4(b[:n]) {
		return 0
	}
	return n
}

// isHostname reports whether all of b is a name or an IPv4 address.
func isHostname(b []byte) bool { return len(b) > 0 && hostnameLen(b) == len(b) }

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
			groups += 2
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
