package aka

import (
	"bytes"
	"crypto/md5" // #nosec: RFC 3310 and RFC 7616 ask for it; where it may be used is decided by policy
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
)

// DigestAlgorithm is the value of the algorithm parameter of a Digest challenge.
type DigestAlgorithm uint8

// The algorithms that imsafe speaks. The zero value is none of them and verifies nothing.
const (
	_           DigestAlgorithm = iota
	MD5                         // RFC 7616 with a password, only in the profiles digest-md5 and lab-udp
	SHA256                      // RFC 7616 with a password
	AKAv1MD5                    // RFC 3310: the password is RES
	AKAv2MD5                    // RFC 4169: the password is derived from RES, IK and CK
	AKAv2SHA256                 // RFC 4169 with SHA-256 (TS 33.203 Annex X)
)

var digestNames = [...]string{MD5: "MD5", SHA256: "SHA-256", AKAv1MD5: "AKAv1-MD5", AKAv2MD5: "AKAv2-MD5", AKAv2SHA256: "AKAv2-SHA-256"}

// String returns the token as it stands in a challenge, "" for the zero value.
func (a DigestAlgorithm) String() string {
	if int(a) < len(digestNames) {
		return digestNames[a]
	}
	return ""
}

// ParseDigestAlgorithm reads the token, in any case. An absent parameter means MD5 (RFC 7616 3.3);
// that rule is left to the caller, since in the IMS it is mostly a mistake.
func ParseDigestAlgorithm(token []byte) (DigestAlgorithm, bool) {
	for a := MD5; a <= AKAv2SHA256; a++ {
		if bytes.EqualFold(token, []byte(digestNames[a])) {
			return a, true
		}
	}
	return 0, false
}

// AKA says whether the password comes from a challenge of AKA.
func (a DigestAlgorithm) AKA() bool { return a >= AKAv1MD5 && a <= AKAv2SHA256 }

// sha256 says which hash the algorithm uses.
func (a DigestAlgorithm) sha256() bool { return a == SHA256 || a == AKAv2SHA256 }

// HexLen is the number of hexadecimal digits of a response: 32 for MD5, 64 for SHA-256.
func (a DigestAlgorithm) HexLen() int {
	if a.sha256() {
		return 2 * sha256.Size
	}
	return 2 * md5.Size
}

// appendSum appends the hash of data.
func (a DigestAlgorithm) appendSum(dst, data []byte) []byte {
	if a.sha256() {
		sum := sha256.Sum256(data)
		return append(dst, sum[:]...)
	}
	sum := md5.Sum(data) // #nosec: see the import
	return append(dst, sum[:]...)
}

// appendHash appends the hash of data in lower-case hexadecimal, the H of RFC 7616 3.3.
func (a DigestAlgorithm) appendHash(dst, data []byte) []byte {
	var sum [sha256.Size]byte
	return hex.AppendEncode(dst, a.appendSum(sum[:0], data))
}

// passwordLabel is the PRF's string of RFC 4169 2.1.
const passwordLabel = "http-digest-akav2-password"

// AppendPassword appends the Digest password that belongs to a challenge: RES itself for AKAv1
// (RFC 3310 3.3), base64 of HMAC(RES || IK || CK, label) for AKAv2 (RFC 4169 2.1). For algorithms
// without AKA it appends nothing. The password is as secret as RES.
func (a DigestAlgorithm) AppendPassword(dst []byte, res *RES, ck *CK, ik *IK) []byte {
	switch a {
	case AKAv1MD5:
		return res.Append(dst)
	case AKAv2MD5, AKAv2SHA256:
	default:
		return dst
	}
	var keyBuf [48]byte
	key := res.Append(keyBuf[:0])
	key = append(key, ik[:]...)
	key = append(key, ck[:]...)
	var sum [sha256.Size]byte
	return base64.StdEncoding.AppendEncode(dst, a.appendPRF(sum[:0], key))
}

// appendPRF appends HMAC (RFC 2104 2) of passwordLabel under a key not longer than the hash's block
// of 64 octets. The standard library's HMAC takes eight allocations and more time than the rest of
// the digest; this composes its hash functions on the stack, and a test compares the two.
func (a DigestAlgorithm) appendPRF(dst, key []byte) []byte {
	const block = 64
	var inner [block + len(passwordLabel)]byte
	var outer [block + sha256.Size]byte
	for i := range block {
		inner[i], outer[i] = 0x36, 0x5c
	}
	subtle.XORBytes(inner[:], inner[:], key)
	subtle.XORBytes(outer[:], outer[:], key)
	copy(inner[block:], passwordLabel)
	return a.appendSum(dst, a.appendSum(outer[:block], inner[:]))
}

// Digest holds the parameters that enter a response (RFC 7616 3.4.1), as octets without quotes. The
// slices are read during a call and never kept. QOP is empty, "auth" or "auth-int"; Body is the
// entity body and used for "auth-int" only; NC and Cnonce are used when QOP is not empty.
type Digest struct {
	Algorithm       DigestAlgorithm
	Username, Realm []byte
	Nonce           []byte
	Method, URI     []byte
	QOP, NC, Cnonce []byte
	Body            []byte
}

// AppendHA1 appends H(A1) in hexadecimal (RFC 7616 3.4.2): what a server stores in place of a
// password, and as secret.
func (a DigestAlgorithm) AppendHA1(dst, username, realm, password []byte) []byte {
	var buf [256]byte
	b := append(buf[:0], username...)
	b = append(b, ':')
	b = append(b, realm...)
	b = append(b, ':')
	b = append(b, password...)
	return a.appendHash(dst, b)
}

// AppendResponse appends the request-digest for password (RFC 7616 3.4.1), lower-case hexadecimal.
func (d *Digest) AppendResponse(dst, password []byte) []byte {
	var ha1 [64]byte
	return d.appendKD(dst, d.Algorithm.AppendHA1(ha1[:0], d.Username, d.Realm, password), d.Method)
}

// AppendResponseHA1 is AppendResponse for a stored H(A1) in hexadecimal.
func (d *Digest) AppendResponseHA1(dst, ha1 []byte) []byte { return d.appendKD(dst, ha1, d.Method) }

// AppendRspauth appends the rspauth of Authentication-Info, by which the server shows that it knows
// the password: the same with an empty method (RFC 7616 3.5). Body is that of the response.
func (d *Digest) AppendRspauth(dst, password []byte) []byte {
	var ha1 [64]byte
	return d.appendKD(dst, d.Algorithm.AppendHA1(ha1[:0], d.Username, d.Realm, password), nil)
}

// AppendRspauthHA1 is AppendRspauth for a stored H(A1) in hexadecimal.
func (d *Digest) AppendRspauthHA1(dst, ha1 []byte) []byte { return d.appendKD(dst, ha1, nil) }

// appendKD computes KD(H(A1), nonce [":" nc ":" cnonce ":" qop] ":" H(A2)) (RFC 7616 3.4.1).
func (d *Digest) appendKD(dst, ha1, method []byte) []byte {
	var buf [512]byte
	var sum [64]byte
	a2 := append(buf[:0], method...)
	a2 = append(a2, ':')
	a2 = append(a2, d.URI...)
	if string(d.QOP) == "auth-int" { // RFC 7616 3.4.3
		a2 = append(a2, ':')
		a2 = d.Algorithm.appendHash(a2, d.Body)
	}
	ha2 := d.Algorithm.appendHash(sum[:0], a2)
	b := append(buf[:0], ha1...)
	b = append(b, ':')
	b = append(b, d.Nonce...)
	if len(d.QOP) > 0 { // without qop: the form of RFC 2069, which the IMS still uses (RFC 3310 4)
		b = append(b, ':')
		b = append(b, d.NC...)
		b = append(b, ':')
		b = append(b, d.Cnonce...)
		b = append(b, ':')
		b = append(b, d.QOP...)
	}
	b = append(b, ':')
	b = append(b, ha2...)
	return d.Algorithm.appendHash(dst, b)
}

// Verify says whether response is the right one for password, in time that does not depend on where
// it differs. With an auts parameter the password is empty (RFC 3310 3.4): pass nil. An unknown qop
// or algorithm verifies nothing.
func (d *Digest) Verify(response, password []byte) bool {
	var want [64]byte
	return d.acceptable() && equalHex(response, d.AppendResponse(want[:0], password))
}

// VerifyHA1 is Verify for a stored H(A1) in hexadecimal.
func (d *Digest) VerifyHA1(response, ha1 []byte) bool {
	var want [64]byte
	return d.acceptable() && len(ha1) == d.Algorithm.HexLen() &&
		equalHex(response, d.AppendResponseHA1(want[:0], ha1))
}

// VerifyAKA is Verify with the password of a vector; false if the algorithm is not one of AKA or
// the vector has no XRES.
func (d *Digest) VerifyAKA(response []byte, v *Vector) bool {
	if !d.Algorithm.AKA() || v.XRES.Len() == 0 {
		return false
	}
	var buf [64]byte
	return d.Verify(response, d.Algorithm.AppendPassword(buf[:0], &v.XRES, &v.CK, &v.IK))
}

func (d *Digest) acceptable() bool {
	switch string(d.QOP) {
	case "", "auth", "auth-int":
		return d.Algorithm.String() != ""
	}
	return false
}

// equalHex compares hexadecimal digits in constant time; got may be in upper case, want is not.
func equalHex(got, want []byte) bool {
	var low [64]byte
	if len(got) != len(want) || len(got) > len(low) {
		return false
	}
	for i, c := range got {
		if 'A' <= c && c <= 'F' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return subtle.ConstantTimeCompare(low[:len(got)], want) == 1
}
