package sdp

import (
	"crypto"
	_ "crypto/sha256" // the hash functions a fingerprint may name
	_ "crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
)

// ErrFingerprint says that an a=fingerprint line is malformed (RFC 8122 5).
var ErrFingerprint = errors.New("sdp: malformed fingerprint")

// ErrWeakHash says that a fingerprint is well formed but its hash proves nothing today (MD2, MD5, SHA-1)
// or is unknown. Such a line is skipped, as RFC 8122 5.1 allows: another one may follow.
var ErrWeakHash = errors.New("sdp: fingerprint hash not accepted")

// Fingerprint is the hash of a certificate in DER form (RFC 8122 5). The zero value matches nothing.
type Fingerprint struct {
	Hash crypto.Hash // SHA256, SHA384 or SHA512
	Sum  [64]byte    // the first Hash.Size() octets count
}

// NewFingerprint returns the SHA-256 fingerprint of a certificate in DER form.
func NewFingerprint(der []byte) Fingerprint { return sum(crypto.SHA256, der) }

func sum(h crypto.Hash, der []byte) (f Fingerprint) {
	f.Hash = h
	w := h.New()
	w.Write(der)
	w.Sum(f.Sum[:0])
	return f
}

// Matches reports whether f is the fingerprint of the certificate, in constant time.
func (f Fingerprint) Matches(der []byte) bool {
	if hashName(f.Hash) == "" {
		return false
	}
	got := sum(f.Hash, der)
	return subtle.ConstantTimeCompare(got.Sum[:], f.Sum[:]) == 1
}

// MatchFingerprints reports whether the certificate matches the list as RFC 8122 5.1 reads it: only the
// strongest hash in the list counts, and one of its fingerprints must match. A weaker line beside a
// stronger one can therefore not be used to slip another certificate in. An empty list matches nothing.
func MatchFingerprints(list []Fingerprint, der []byte) bool {
	var best crypto.Hash
	for _, f := range list {
		if hashName(f.Hash) != "" && f.Hash.Size() > sizeOf(best) {
			best = f.Hash
		}
	}
	matched := 0
	for _, f := range list {
		if best != 0 && f.Hash == best && f.Matches(der) {
			matched = 1
		}
	}
	return matched == 1
}

func sizeOf(h crypto.Hash) int {
	if h == 0 {
		return 0
	}
	return h.Size()
}

func hashName(h crypto.Hash) string {
	switch h {
	case crypto.SHA256:
		return "sha-256"
	case crypto.SHA384:
		return "sha-384"
	case crypto.SHA512:
		return "sha-512"
	}
	return ""
}

// String returns the attribute value: hash name, space, upper-case hexadecimal pairs with colons.
func (f Fingerprint) String() string {
	name := hashName(f.Hash)
	if name == "" {
		return ""
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(name)+1+3*f.Hash.Size())
	b = append(append(b, name...), ' ')
	for i, c := range f.Sum[:f.Hash.Size()] {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[c>>4], digits[c&15])
	}
	return string(b)
}

// ParseFingerprint reads the value of an a=fingerprint line. It returns ErrWeakHash for hashes that are
// not SHA-256 or better and ErrFingerprint for anything that is not one hash name and its octets.
func ParseFingerprint(value string) (Fingerprint, error) {
	name, text, ok := strings.Cut(value, " ")
	if !ok {
		return Fingerprint{}, ErrFingerprint
	}
	var f Fingerprint
	switch strings.ToLower(name) {
	case "sha-256":
		f.Hash = crypto.SHA256
	case "sha-384":
		f.Hash = crypto.SHA384
	case "sha-512":
		f.Hash = crypto.SHA512
	default:
		return Fingerprint{}, ErrWeakHash
	}
	text = strings.TrimSpace(text)
	if len(text) != 3*f.Hash.Size()-1 {
		return Fingerprint{}, ErrFingerprint
	}
	for i := range f.Hash.Size() {
		if i > 0 && text[3*i-1] != ':' {
			return Fingerprint{}, ErrFingerprint
		}
		if _, err := hex.Decode(f.Sum[i:i+1], []byte(text[3*i:3*i+2])); err != nil {
			return Fingerprint{}, ErrFingerprint
		}
	}
	return f, nil
}
