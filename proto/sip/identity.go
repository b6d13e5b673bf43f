package sip

// PublicIdentity returns the identity in v, a name-addr or a URI, as the core writes it: sip:user@host without
// parameters and with the host in lower case, or a canonical tel URI (TS 23.003 13.4). It is false if v is
// neither.
func PublicIdentity(v []byte) (string, bool) {
	addr, err := ParseNameAddr(v)
	if err != nil {
		return "", false
	}
	uri, err := ParseURI(addr.URI)
	if err != nil {
		return "", false
	}
	var b [256]byte
	aor := uri.AppendAOR(b[:0])
	return string(aor), len(aor) > 0
}
