package sip

import "bytes"

// Credentials are the Digest credentials of one Authorization or Proxy-Authorization value (RFC 3261 20.7, RFC 7616
// 3.4, RFC 3310 3.4, TS 24.229 7.2A). All are views without quotes, escapes as they stand; nil means absent, empty
// means that an empty value was sent (the first REGISTER of IMS sends nonce="" and response="").
type Credentials struct {
	Username, Realm, Nonce, URI, Response, Algorithm []byte
	Cnonce, QOP, NC, Opaque                          []byte
	AUTS                                             []byte // resynchronisation token, base64 (RFC 3310 3.4)
	IntegrityProtected                               []byte // yes, no, tls-yes ...: between P- and S-CSCF only
}

// slot returns where the parameter called name belongs, nil if it is not one of ours.
func (c *Credentials) slot(name []byte) *[]byte {
	switch {
	case foldEqual(name, "username"):
		return &c.Username
	case foldEqual(name, "realm"):
		return &c.Realm
	case foldEqual(name, "nonce"):
		return &c.Nonce
	case foldEqual(name, "uri"):
		return &c.URI
	case foldEqual(name, "response"):
		return &c.Response
	case foldEqual(name, "algorithm"):
		return &c.Algorithm
	case foldEqual(name, "cnonce"):
		return &c.Cnonce
	case foldEqual(name, "qop"):
		return &c.QOP
	case foldEqual(name, "nc"):
		return &c.NC
	case foldEqual(name, "opaque"):
		return &c.Opaque
	case foldEqual(name, "auts"):
		return &c.AUTS
	case foldEqual(name, "integrity-protected"):
		return &c.IntegrityProtected
	}
	return nil
}

// ParseCredentials reads one value. It returns ErrScheme for another scheme and ErrCredentials for a malformed value
// or a parameter that stands twice. It keeps views of b.
func ParseCredentials(b []byte) (Credentials, error) {
	var c Credentials
	rest, err := digestParams(b, ErrCredentials)
	if err != nil {
		return c, err
	}
	for rest != nil {
		p, next, ok := nextAuthParam(rest)
		if !ok {
			return Credentials{}, ErrCredentials
		}
		rest = next
		if slot := c.slot(p.name); slot != nil {
			if *slot != nil {
				return Credentials{}, ErrCredentials
			}
			*slot = p.value
		}
	}
	return c, nil
}

// digestParams returns what follows the scheme Digest.
func digestParams(b []byte, malformed error) ([]byte, error) {
	b = trim(b)
	i := 0
	for i < len(b) && class[b[i]]&clsToken != 0 {
		i++
	}
	if i == 0 || i == len(b) || !isLWS(b[i]) {
		return nil, malformed
	}
	if !foldEqual(b[:i], "Digest") {
		return nil, ErrScheme
	}
	return b[i:], nil
}

// AuthParam returns the value of the auth-param called name (any case) in a Digest challenge or credentials v, without its
// quotes; nil if it is absent or v is malformed before it. It is for parameters that Challenge and Credentials leave out.
func AuthParam(v []byte, name string) []byte {
	rest, err := digestParams(v, ErrChallenge)
	for err == nil && rest != nil {
		p, next, ok := nextAuthParam(rest)
		switch {
		case !ok:
			return nil
		case foldEqual(p.name, name):
			return p.value
		}
		rest = next
	}
	return nil
}

// nextAuthParam cuts one auth-param off; unlike a generic-param it always has a value.
func nextAuthParam(s []byte) (p param, rest []byte, ok bool) {
	p, rest, ok = nextParam(s, ',')
	return p, rest, ok && p.value != nil && isToken(p.name)
}

// AppendTo appends the credentials as a field value. What is nil is left out. integrity-protected is written as a
// quoted string, as the flows of TS 24.229 do.
func (c *Credentials) AppendTo(dst []byte) []byte {
	return appendAuthParams(append(dst, "Digest "...), []authParam{{quoted, "username", c.Username}, {quoted, "realm", c.Realm},
		{quoted, "nonce", c.Nonce}, {quoted, "uri", c.URI}, {quoted, "response", c.Response}, {token, "algorithm", c.Algorithm},
		{quoted, "cnonce", c.Cnonce}, {token, "qop", c.QOP}, {token, "nc", c.NC}, {quoted, "opaque", c.Opaque}, {quoted, "auts", c.AUTS},
		{quoted, "integrity-protected", c.IntegrityProtected}})
}

// Challenge is a Digest challenge of one WWW-Authenticate or Proxy-Authenticate value (RFC 3261 20.44, RFC 7616 3.3).
// The slices are views without quotes; nil means absent. The keys ck and ik have no place here: no encoder for them
// exists on this floor.
type Challenge struct {
	Realm, Nonce, Algorithm, QOP, Opaque, Domain []byte
	Stale                                        bool
}

// ParseChallenge reads one value. It returns ErrScheme for another scheme and ErrChallenge for a malformed value or
// a parameter that stands twice. It keeps views of b.
func ParseChallenge(b []byte) (Challenge, error) {
	var c Challenge
	var stale []byte
	rest, err := digestParams(b, ErrChallenge)
	if err != nil {
		return c, err
	}
	for rest != nil {
		p, next, ok := nextAuthParam(rest)
		if !ok {
			return Challenge{}, ErrChallenge
		}
		rest = next
		var slot *[]byte
		switch {
		case foldEqual(p.name, "realm"):
			slot = &c.Realm
		case foldEqual(p.name, "nonce"):
			slot = &c.Nonce
		case foldEqual(p.name, "algorithm"):
			slot = &c.Algorithm
		case foldEqual(p.name, "qop"):
			slot = &c.QOP
		case foldEqual(p.name, "opaque"):
			slot = &c.Opaque
		case foldEqual(p.name, "domain"):
			slot = &c.Domain
		case foldEqual(p.name, "stale"):
			slot = &stale
		default:
			continue
		}
		if *slot != nil {
			return Challenge{}, ErrChallenge
		}
		*slot = p.value
	}
	c.Stale = foldEqual(stale, "true")
	return c, nil
}

// HasQOP reports whether the challenge offers the quality of protection called token (auth, auth-int).
func (c *Challenge) HasQOP(token string) bool {
	for rest := c.QOP; len(rest) > 0; {
		one := rest
		if i := bytes.IndexByte(rest, ','); i >= 0 {
			one, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		if foldEqual(trim(one), token) {
			return true
		}
	}
	return false
}

// AppendTo appends the challenge as a field value. What is nil is left out.
func (c *Challenge) AppendTo(dst []byte) []byte {
	var stale []byte
	if c.Stale {
		stale = trueToken
	}
	return appendAuthParams(append(dst, "Digest "...), []authParam{{quoted, "realm", c.Realm}, {quoted, "domain", c.Domain},
		{quoted, "nonce", c.Nonce}, {quoted, "opaque", c.Opaque}, {token, "stale", stale}, {token, "algorithm", c.Algorithm},
		{quoted, "qop", c.QOP}})
}

// AuthenticationInfo is what a server says of itself after it accepted a response (RFC 7615 3, RFC 7616 3.5): Rspauth is
// the proof that it knows the password too. The slices are views without quotes; nil means absent.
type AuthenticationInfo struct{ Rspauth, QOP, NC, Cnonce, NextNonce []byte }

// ParseAuthenticationInfo reads the value of Authentication-Info. It returns ErrAuthInfo for a malformed value or a
// parameter that stands twice. It keeps views of b.
func ParseAuthenticationInfo(b []byte) (AuthenticationInfo, error) {
	var a AuthenticationInfo
	for rest := trim(b); ; {
		p, next, ok := nextAuthParam(rest)
		if !ok {
			return AuthenticationInfo{}, ErrAuthInfo
		}
		if slot := a.slot(p.name); slot != nil {
			if *slot != nil {
				return AuthenticationInfo{}, ErrAuthInfo
			}
			*slot = p.value
		}
		if rest = next; rest == nil {
			return a, nil
		}
	}
}

func (a *AuthenticationInfo) slot(name []byte) *[]byte {
	switch {
	case foldEqual(name, "rspauth"):
		return &a.Rspauth
	case foldEqual(name, "qop"):
		return &a.QOP
	case foldEqual(name, "nc"):
		return &a.NC
	case foldEqual(name, "cnonce"):
		return &a.Cnonce
	case foldEqual(name, "nextnonce"):
		return &a.NextNonce
	}
	return nil
}

// AppendTo appends the field value. What is nil is left out.
func (a *AuthenticationInfo) AppendTo(dst []byte) []byte {
	return appendAuthParams(dst, []authParam{{quoted, "nextnonce", a.NextNonce}, {token, "qop", a.QOP}, {quoted, "rspauth", a.Rspauth},
		{quoted, "cnonce", a.Cnonce}, {token, "nc", a.NC}})
}

var trueToken = []byte("true")

// authParam is an auth-param to be written; one without a value is left out.
type authParam struct {
	form  authForm
	name  string
	value []byte
}

// authForm is how the value of an auth-param is written.
type authForm bool

const (
	token  authForm = false
	quoted authForm = true
)

// appendAuthParams appends params with commas between.
func appendAuthParams(dst []byte, params []authParam) []byte {
	some := false
	for i := range params {
		p := &params[i]
		if p.value == nil {
			continue
		}
		if some {
			dst = append(dst, ", "...)
		}
		some = true
		dst = append(append(dst, p.name...), '=')
		if p.form == quoted {
			dst = appendQuoted(dst, p.value)
		} else {
			dst = append(dst, p.value...)
		}
	}
	return dst
}

// appendQuoted appends v in quotes. A quote in v that is not escaped would end the string early and let v write parameters
// of its own, so it gets its backslash here.
func appendQuoted(dst, v []byte) []byte {
	dst = append(dst, '"')
	for len(v) > 0 {
		i := bytes.IndexAny(v, `\"`)
		if i < 0 {
			break
		}
		dst = append(append(dst, v[:i]...), '\\')
		if v[i] == '\\' && i+1 < len(v) {
			i++ // what it escapes
		}
		dst = append(dst, v[i])
		v = v[i+1:]
	}
	return append(append(dst, v...), '"')
}
