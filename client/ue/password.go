package ue

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"imsafe/client/isim"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Secret is a password in memory. However it is printed or encoded, it says [redacted].
type Secret string

// String returns a placeholder.
func (Secret) String() string { return "[redacted]" }

// Format writes a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText encodes a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Password is what a subscriber without a card has in its place: SIP Digest with SHA-256, over TLS only (TS 33.203 Annex N
// and O, RFC 7616, RFC 8760). There is no MD5: a client that knew it could be bidden down to it.
type Password struct {
	Identity isim.Identity
	Secret   Secret
	// Plain is how telephones speak with a SIP server that is no IMS (RFC 3261 22): MD5 or SHA-256, in clear too, no Authorization before a
	// challenge, no headers of 3GPP, and nothing by which the server proves itself. It needs Lab.
	Plain bool
}

// unsafe is as Config's.
func (p *Password) unsafe(c *Config) string {
	id := p.Identity
	switch {
	case c.Card != nil:
		return "a card and a password; a subscriber has one of them"
	case id.IMPI == "" || id.HomeDomain == "" || len(id.IMPUs) == 0 || p.Secret == "":
		return "a password needs IMPI, home domain, a public identity and the password itself"
	case !quotable(id.IMPI) || !quotable(id.HomeDomain):
		return "an identity that cannot be written into a challenge's answer"
	case p.Plain && !c.Lab:
		return "a server that proves nothing needs Lab"
	case c.Scheme.AKA():
		return "AKA takes a card"
	case p.Plain:
		return ""
	case c.Scheme != aka.SHA256:
		return "a password is for SHA-256 alone"
	case c.Transport != TLS:
		return "SIP Digest outside TLS (TS 33.203 Annex O)"
	}
	return ""
}

// plain reports whether the network is no IMS.
func (u *UE) plain() bool { return u.cfg.Password != nil && u.cfg.Password.Plain }

// who returns the identity of whichever there is.
func (c *Config) who() isim.Identity {
	if c.Card != nil {
		return c.Card.Identity()
	}
	id := c.Password.Identity
	id.IMPUs = slices.Clone(id.IMPUs)
	return id
}

// proof is what the network must show for one answer of ours.
type proof struct{ rspauth, nc, cnonce string }

// answerPassword answers a challenge of the own realm and algorithm, and remembers what the network must show in return.
func (u *UE) answerPassword(a *authentication, c *sip.Challenge, method, uri string) (string, error) {
	if !c.HasQOP("auth") && !u.plain() {
		return "", fmt.Errorf("%w: without qop=auth nobody counts the answers", ErrDowngrade)
	}
	if len(c.Nonce) == 0 {
		return "", ErrChallenge
	}
	if a.good++; a.good > maxGood {
		return "", ErrRefused
	}
	d := aka.Digest{Algorithm: u.cfg.Scheme, Username: []byte(u.identity.IMPI), Realm: c.Realm, Nonce: c.Nonce, Method: []byte(method),
		URI: []byte(uri)}
	if c.HasQOP("auth") {
		d.QOP, d.NC, d.Cnonce = []byte("auth"), []byte("00000001"), []byte(u.token(24))
	}
	password := []byte(u.cfg.Password.Secret)
	defer clear(password)
	a.wants = &proof{rspauth: string(d.AppendRspauth(nil, password)), nc: string(d.NC), cnonce: string(d.Cnonce)}
	out := sip.Credentials{Username: d.Username, Realm: d.Realm, Nonce: d.Nonce, URI: d.URI, Response: d.AppendResponse(nil, password),
		Algorithm: []byte(u.cfg.Scheme.String()), QOP: d.QOP, NC: d.NC, Cnonce: d.Cnonce, Opaque: c.Opaque}
	return string(out.AppendTo(nil)), nil
}

// proven reports whether a 200 to REGISTER shows that the network knows the password (RFC 7616 3.5). That is all by which it
// proves itself beyond its certificate, so without it there is no registration (TS 33.203 N.2.1.1). With a card, AUTN has
// done so before.
func (u *UE) proven(a *authentication, resp *sip.Message) bool {
	if u.cfg.Password == nil || u.plain() {
		return true
	}
	info, err := sip.ParseAuthenticationInfo(resp.Get(sip.HdrAuthenticationInfo))
	return err == nil && a.wants != nil && string(info.QOP) == "auth" && string(info.NC) == a.wants.nc && string(info.Cnonce) == a.wants.cnonce &&
		subtle.ConstantTimeCompare(info.Rspauth, []byte(a.wants.rspauth)) == 1
}
