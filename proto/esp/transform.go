package esp

import "fmt"

// Integrity is an algorithm of the parameter alg (TS 33.203 Annex H).
type Integrity uint8

// Encryption is an algorithm of the parameter ealg (TS 33.203 Annex H).
type Encryption uint8

// The algorithms. NoIntegrity goes with AESGCM alone, which gives integrity itself (RFC 4106, ICV of 16 octets). AESGMAC is
// RFC 4543. HMACMD5 and DESEDE3CBC are withdrawn: only Agreement.AllowWithdrawn admits them.
const (
	NoIntegrity Integrity = iota // "null"
	HMACSHA1                     // "hmac-sha-1-96", RFC 2404
	AESGMAC                      // "aes-gmac"
	HMACMD5                      // "hmac-md5-96", RFC 2403
)

// See Integrity.
const (
	NoEncryption Encryption = iota // "null"
	AESCBC                         // "aes-cbc", RFC 3602
	AESGCM                         // "aes-gcm"
	DESEDE3CBC                     // "des-ede3-cbc", RFC 2451
)

// Transform is a pair of algorithms. The zero value protects nothing and is refused everywhere.
type Transform struct {
	Integrity  Integrity
	Encryption Encryption
}

// TransformOf finds the pair by the tokens of Annex H, in lower case. ok is false for unknown tokens and for pairs that
// do not belong together.
func TransformOf(alg, ealg string) (t Transform, ok bool) {
	switch alg {
	case "null":
		t.Integrity = NoIntegrity
	case "hmac-sha-1-96":
		t.Integrity = HMACSHA1
	case "aes-gmac":
		t.Integrity = AESGMAC
	case "hmac-md5-96":
		t.Integrity = HMACMD5
	default:
		return Transform{}, false
	}
	switch ealg {
	case "null":
		t.Encryption = NoEncryption
	case "aes-cbc":
		t.Encryption = AESCBC
	case "aes-gcm":
		t.Encryption = AESGCM
	case "des-ede3-cbc":
		t.Encryption = DESEDE3CBC
	default:
		return Transform{}, false
	}
	return t, t.sound()
}

// sound reports whether the pair gives integrity, once (TS 33.203 6.3: integrity is mandatory).
func (t Transform) sound() bool {
	switch t.Integrity {
	case NoIntegrity:
		return t.Encryption == AESGCM
	case AESGMAC:
		return t.Encryption == NoEncryption
	case HMACSHA1, HMACMD5:
		return t.Encryption == NoEncryption || t.Encryption == AESCBC || t.Encryption == DESEDE3CBC
	}
	return false
}

// Withdrawn reports whether the pair has MD5 or 3DES.
func (t Transform) Withdrawn() bool { return t.Integrity == HMACMD5 || t.Encryption == DESEDE3CBC }

// String is the pair in the words of Annex H, "alg/ealg".
func (t Transform) String() string {
	alg := [...]string{"null", "hmac-sha-1-96", "aes-gmac", "hmac-md5-96"}
	ealg := [...]string{"null", "aes-cbc", "aes-gcm", "des-ede3-cbc"}
	if int(t.Integrity) >= len(alg) || int(t.Encryption) >= len(ealg) {
		return fmt.Sprintf("transform(%d/%d)", uint8(t.Integrity), uint8(t.Encryption))
	}
	return alg[t.Integrity] + "/" + ealg[t.Encryption]
}

// combined reports whether IVs are nonces of GCM: prefix and sequence number in 8 octets (RFC 4106 3.1, RFC 4543 3.1).
func (t Transform) combined() bool { return t.Encryption == AESGCM || t.Integrity == AESGMAC }

// iv is the length of the IV in the packet.
func (t Transform) iv() int {
	switch {
	case t.combined(), t.Encryption == DESEDE3CBC:
		return 8
	case t.Encryption == AESCBC:
		return 16
	}
	return 0
}

// icv is the length of the ICV.
func (t Transform) icv() int {
	if t.combined() {
		return 16
	}
	return 12
}

// align is what the length of payload and trailer is a multiple of (RFC 4303 2.4).
func (t Transform) align() int {
	switch t.Encryption {
	case AESCBC:
		return 16
	case DESEDE3CBC:
		return 8
	}
	return 4
}

// The parts of a packet (RFC 4303 2).
const (
	headerSize  = 8 // SPI, sequence number
	trailerSize = 2 // pad length, next header
)

// size is the length of the packet around inner octets.
func (t Transform) size(inner int) int {
	a := t.align()
	return headerSize + t.iv() + (inner+trailerSize+a-1)/a*a + t.icv()
}

// Overhead is the most octets that sealing adds to the payload of a UDP datagram: ESP with AES-CBC, an inner IPv6 and a
// UDP header.
const Overhead = headerSize + 16 + 40 + 8 + 15 + trailerSize + 16
