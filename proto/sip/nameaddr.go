package sip

import (
	"bytes"
	"strings"
)

// NameAddr is a parsed name-addr or addr-spec with the parameters of the field (RFC 3261 20.10, 25.1). The slices are
// views of what was parsed.
type NameAddr struct {
	Display []byte // display name, without quotes, escapes as they stand; nil if there is none
	URI     []byte // what stands between < and >, or the addr-spec
	Params  []byte // behind the ';' that follows, nil if there are none
	Bracket bool   // the URI stood in < and >
}

// ParseNameAddr reads one value of From, To, Contact, Route, P-Asserted-Identity and their like. It returns
// ErrNameAddr if the parts cannot be told apart; the URI and the parameters are not looked into. Contact: * is no
// name-addr. It keeps views of b.
func ParseNameAddr(b []byte) (NameAddr, error) {
	var n NameAddr
	b = trim(b)
	if len(b) == 0 {
		return n, ErrNameAddr
	}
	start := 0 // of '<'
	switch {
	case b[0] == '"':
		end := closeQuote(b)
		if end < 0 {
			return n, ErrNameAddr
		}
		n.Display = b[1:end]
		for start = end + 1; start < len(b) && isLWS(b[start]); start++ {
		}
		if start == len(b) || b[start] != '<' {
			return NameAddr{}, ErrNameAddr
		}
	case b[0] != '<':
		// RFC 3261 25.1, display-name: tokens and white space. RFC 4475 3.1.1.6: none is needed before '<'.
		for start < len(b) && (class[b[start]]&clsToken != 0 || isLWS(b[start])) {
			start++
		}
		if start == len(b) || b[start] != '<' {
			return parseAddrSpec(b)
		}
		n.Display = trim(b[:start])
	}
	end := bytes.IndexByte(b[start:], '>')
	if end < 0 {
		return NameAddr{}, ErrNameAddr
	}
	n.URI, n.Bracket = b[start+1:start+end], true
	return n.withParams(b[start+end+1:])
}

// parseAddrSpec: without brackets the URI ends at ';', '?' and ',' may not stand in it (RFC 3261 20.10).
func parseAddrSpec(b []byte) (NameAddr, error) {
	end := 0
	for end < len(b) && b[end] != ';' && !isLWS(b[end]) {
		switch b[end] {
		case '?', ',', '<', '>', '"':
			return NameAddr{}, ErrNameAddr
		}
		end++
	}
	n := NameAddr{URI: b[:end]}
	if bytes.IndexByte(n.URI, ':') <= 0 {
		return NameAddr{}, ErrNameAddr
	}
	return n.withParams(b[end:])
}

// withParams takes the rest of the value: nothing or ';' and parameters.
func (n NameAddr) withParams(rest []byte) (NameAddr, error) {
	for len(rest) > 0 && isLWS(rest[0]) {
		rest = rest[1:]
	}
	if len(n.URI) == 0 || len(rest) > 0 && rest[0] != ';' {
		return NameAddr{}, ErrNameAddr
	}
	if len(rest) > 0 {
		n.Params = rest[1:]
	}
	return n, nil
}

// Param returns the value of a parameter of the field (not of the URI); see the function Param.
func (n *NameAddr) Param(name string) ([]byte, bool) { return Param(n.Params, name) }

// Tag returns the tag of a From or To, nil if there is none.
func (n *NameAddr) Tag() []byte {
	tag, ok := Param(n.Params, "tag")
	if !ok {
		return nil
	}
	return tag
}

// DerivedPrivateIdentity returns the private identity of a client that names none: a SIP public identity, as
// PublicIdentity returns it, without its scheme (TS 23.003 13.4B, the other way round). It is false for a tel URI and
// for a URI without a user.
func DerivedPrivateIdentity(impu string) (string, bool) {
	impi, ok := strings.CutPrefix(impu, "sip:")
	if !ok || strings.IndexByte(impi, '@') <= 0 {
		return "", false
	}
	return impi, true
}

// PublicIdentity returns the identity in v, a name-addr or a URI, as the core writes it: "sip:user@host" without
// parameters and with the host in lower case, or a canonical tel URI; see URI.AppendAOR (TS 23.003 13.4). It is false
// if v names neither.
func PublicIdentity(v []byte) (string, bool) {
	addr, err := ParseNameAddr(v)
	if err != nil {
		return "", false
	}
	return publicIdentity(addr.URI)
}

// publicIdentity is PublicIdentity for a URI.
func publicIdentity(v []byte) (string, bool) {
	uri, err := ParseURI(v)
	if err != nil || !uri.IsSIP() && !uri.IsTel() {
		return "", false
	}
	var b [256]byte
	return string(uri.AppendAOR(b[:0])), true
}
