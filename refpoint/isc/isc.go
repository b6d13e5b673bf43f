// Package isc is the contract of the ISC reference point between the S-CSCF and the application servers
// (TS 23.228 4.2.4, TS 24.229 5.7): what a service platform is, what it asks for and what it was granted.
//
// A platform is a principal. Its provider writes a Manifest, in TOML: identity, endpoint, triggers, scopes, whose
// sessions, which data, limits. A person approves it with a key that is not on the core; the Approval says what was
// granted, and a Service is the platform as the core sees it from then on. What is not written is refused.
//
// The package reads, checks and answers questions; it stores nothing, opens no connection and decides about no
// message: that is done by the door, iface/imsservice. Values are immutable once made, and so safe for concurrent
// use. It imports refpoint/cx, because a trigger is an initial filter criterion (TS 29.228 B.2.2).
package isc

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"
)

// Fingerprint is the SHA-256 of a SubjectPublicKeyInfo (RFC 5280 4.1.2.7): it names a key, however often its certificate is
// renewed.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of the key that a certificate or a request is about, from its RawSubjectPublicKeyInfo.
func FingerprintOf(spki []byte) Fingerprint { return sha256.Sum256(spki) }

// fingerprintDigits leave out what is misheard or misread: i, l, o and u (as Crockford's base 32 does).
const fingerprintDigits = "0123456789abcdefghjkmnpqrstvwxyz"

// The written form: 100 bits in five groups of four digits.
const fingerprintGroups, fingerprintGroup = 5, 4

// String writes the first 100 bits in groups that can be read aloud. To find another key with the same text takes 2^100
// attempts.
func (f Fingerprint) String() string {
	var b strings.Builder
	for i := range fingerprintGroups * fingerprintGroup {
		if i > 0 && i%fingerprintGroup == 0 {
			b.WriteByte('-')
		}
		bit := i * 5
		two := uint16(f[bit/8])<<8 | uint16(f[bit/8+1])
		b.WriteByte(fingerprintDigits[two>>(11-bit%8)&31])
	}
	return b.String()
}

// Matches says whether text, as a person typed it, is the fingerprint: hyphens and spaces may be left out, capital letters do.
// A part of it does not match.
func (f Fingerprint) Matches(text string) bool {
	strip := func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}
	return strings.Map(strip, strings.ToLower(text)) == strings.Map(strip, f.String())
}

// Service is an approved platform as the core sees it: the manifest, and what was granted of it. It is not changed after it
// was handed out; a new approval is a new Service.
type Service struct {
	Manifest     *Manifest
	Granted      Scopes        // what the operator granted: no more than the manifest asks for, perhaps less
	AllUsers     bool          // the operator granted users.all
	Set          int           // number of its shared set of initial filter criteria (TS 29.228 B.2.1)
	Fingerprints []Fingerprint // the keys that it may prove itself with
	Serial       uint64        // of its approval
}

// Name returns the name of the service.
func (s *Service) Name() string { return s.Manifest.Service }

// May says whether a scope was granted. IdentityAssert only says that there is something that it may assert: AssertsAs decides.
func (s *Service) May(scope Scope) bool { return s.Granted.Has(scope) }

// Serves says whether the members of a group are its users.
func (s *Service) Serves(group string) bool {
	return s.AllUsers && s.Manifest.Users.All || slices.Contains(s.Manifest.Users.Groups, group)
}

// Media returns what it may do with media, and whether anything: recording alone is nothing.
func (s *Service) Media() (MediaRight, bool) {
	right := MediaRight{Service: strings.TrimSuffix(s.Manifest.Identity(""), "/"), Kbps: 1000 * s.Manifest.Limits.MediaMbps}
	for _, d := range []struct {
		scope Scope
		name  string
	}{{MediaMix, "mix"}, {MediaReceive, "receive"}, {MediaRecord, "record"}, {MediaSend, "send"}} {
		if s.May(d.scope) {
			right.Scope = append(right.Scope, d.name)
		}
	}
	return right, s.May(MediaMix) || s.May(MediaReceive) || s.May(MediaSend)
}

// AssertsAs says whether it may assert an identity that is neither its own nor that of the user it serves. identity is a SIP
// or tel URI in canonical form, without brackets and parameters.
func (s *Service) AssertsAs(identity []byte) bool { return s.Granted.Asserts(identity) }

// Is says whether an identity is one of its public service identities (TS 23.003 13.5). identity is canonical.
func (s *Service) Is(identity []byte) bool {
	for _, psi := range s.Manifest.PSI {
		if psi == string(identity) {
			return true
		}
	}
	return false
}

// SeesHeader says whether a kind of header may be shown to it.
func (s *Service) SeesHeader(h Headers) bool { return s.Manifest.See&h == h }

// HasKey says whether a certificate is about a key that it may prove itself with.
func (s *Service) HasKey(leaf *x509.Certificate) bool {
	return slices.Contains(s.Fingerprints, FingerprintOf(leaf.RawSubjectPublicKeyInfo))
}
