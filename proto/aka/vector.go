package aka

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrMAC is returned when MAC-A of an AUTN or MAC-S of an AUTS is wrong: the other side does
	// not hold the same K, OPc, or the message was changed (TS 33.102 6.3.3, 6.3.5).
	ErrMAC = errors.New("aka: wrong MAC")
	// ErrNonce is returned for a nonce that is not base64 of RAND and AUTN (RFC 3310 3.2).
	ErrNonce = errors.New("aka: nonce is not RAND and AUTN")
	// ErrAUTS is returned for an auts parameter that is not base64 of 14 octets (RFC 3310 3.4).
	ErrAUTS = errors.New("aka: auts is not 14 octets")
)

// AUTN is the network's token: SQN xor AK (6) || AMF (2) || MAC-A (8) (TS 33.102 6.3.2).
type AUTN [16]byte

// AUTS is the card's token of a synchronisation failure: SQN_MS xor AK* (6) || MAC-S (8)
// (TS 33.102 6.3.3).
type AUTS [14]byte

// Vector is an authentication vector (TS 33.102 6.3.2). A vector is used for one challenge, once.
type Vector struct {
	RAND RAND
	AUTN AUTN
	XRES RES
	CK   CK
	IK   IK
}

// String never prints the keys.
func (v *Vector) String() string { return fmt.Sprintf("RAND %x AUTN %x", v.RAND, v.AUTN) }

// Generate makes a vector for sqn, which the caller has drawn and will never draw again. random is
// read for the 16 octets of RAND; its error is returned, and then v is not to be used. Generate
// allocates nothing itself, but v escapes to random.
func Generate(a Algorithm, random io.Reader, sqn SQN, amf AMF, v *Vector) error {
	if _, err := io.ReadFull(random, v.RAND[:]); err != nil {
		return fmt.Errorf("aka: random challenge: %w", err)
	}
	var ak AK
	v.XRES, v.CK, v.IK, ak = a.F2345(v.RAND)
	mac := a.F1(v.RAND, sqn, amf)
	q := sqn.Bytes()
	for i := range ak {
		v.AUTN[i] = q[i] ^ ak[i]
	}
	copy(v.AUTN[6:], amf[:])
	copy(v.AUTN[8:], mac[:])
	return nil
}

// Opened is what a card reads out of a challenge.
type Opened struct {
	SQN SQN
	AMF AMF
	RES RES
	CK  CK
	IK  IK
}

// Open verifies MAC-A and returns what the challenge carries (TS 33.102 6.3.3). It returns ErrMAC
// and nothing else if the network does not know K. Whether SQN is fresh is for the caller's Window:
// RES, CK and IK of a stale challenge must not be used.
func Open(a Algorithm, rand RAND, autn AUTN) (Opened, error) {
	res, ck, ik, ak := a.F2345(rand)
	var q [6]byte
	for i := range q {
		q[i] = autn[i] ^ ak[i]
	}
	sqn, amf := sqnOf(q), AMF(autn[6:8])
	mac := a.F1(rand, sqn, amf)
	if subtle.ConstantTimeCompare(mac[:], autn[8:]) != 1 {
		return Opened{}, ErrMAC
	}
	return Opened{SQN: sqn, AMF: amf, RES: res, CK: ck, IK: ik}, nil
}

// MakeAUTS builds the token by which a card says what sequence number it has seen (TS 33.102
// 6.3.3). AMF is all zero in MAC-S, so that it need not be transmitted.
func MakeAUTS(a Algorithm, rand RAND, sqnMS SQN) AUTS {
	var auts AUTS
	ak, q := a.F5Star(rand), sqnMS.Bytes()
	for i := range ak {
		auts[i] = q[i] ^ ak[i]
	}
	mac := a.F1Star(rand, sqnMS, AMF{})
	copy(auts[6:], mac[:])
	return auts
}

// OpenAUTS verifies MAC-S and returns SQN_MS (TS 33.102 6.3.5). rand must be the challenge that the
// home network itself issued, not one that came with the token. It returns ErrMAC and no number if
// the token was not made by the card.
func OpenAUTS(a Algorithm, rand RAND, auts AUTS) (SQN, error) {
	ak := a.F5Star(rand)
	var q [6]byte
	for i := range q {
		q[i] = auts[i] ^ ak[i]
	}
	sqn := sqnOf(q)
	mac := a.F1Star(rand, sqn, AMF{})
	if subtle.ConstantTimeCompare(mac[:], auts[6:]) != 1 {
		return 0, ErrMAC
	}
	return sqn, nil
}

// MaxServerData is the most octets of server data that a Nonce carries; a longer nonce is refused.
const MaxServerData = 64

// Nonce is the nonce of Digest AKA: RAND || AUTN, optionally followed by data of the server
// (RFC 3310 3.2).
type Nonce struct {
	RAND RAND
	AUTN AUTN
	n    uint8
	data [MaxServerData]byte
}

// ServerData returns the octets after AUTN, empty if there are none. The slice points into n.
func (n *Nonce) ServerData() []byte { return n.data[:n.n] }

// AppendNonce appends the base64 form to dst. Server data beyond MaxServerData is cut off.
func AppendNonce(dst []byte, rand RAND, autn AUTN, server []byte) []byte {
	var raw [32 + MaxServerData]byte
	copy(raw[:16], rand[:])
	copy(raw[16:32], autn[:])
	n := 32 + copy(raw[32:], server)
	return base64.StdEncoding.AppendEncode(dst, raw[:n])
}

// ParseNonce reads what AppendNonce wrote, and the same without padding, which some servers send.
// It returns ErrNonce for anything else.
func ParseNonce(nonce []byte) (Nonce, error) {
	var n Nonce
	var raw [32 + MaxServerData + 2]byte
	m, ok := decodeBase64(raw[:], nonce)
	if !ok || m < 32 || m > 32+MaxServerData {
		return Nonce{}, ErrNonce
	}
	copy(n.RAND[:], raw[:16])
	copy(n.AUTN[:], raw[16:32])
	n.n = uint8(copy(n.data[:], raw[32:m]))
	return n, nil
}

// AppendAUTS appends the base64 form of the auts parameter (RFC 3310 3.4), without quotes.
func AppendAUTS(dst []byte, auts AUTS) []byte {
	return base64.StdEncoding.AppendEncode(dst, auts[:])
}

// ParseAUTS reads the auts parameter, unquoted. It returns ErrAUTS for anything but 14 octets.
func ParseAUTS(s []byte) (AUTS, error) {
	var raw [18]byte
	n, ok := decodeBase64(raw[:], s)
	if !ok || n != len(AUTS{}) {
		return AUTS{}, ErrAUTS
	}
	return AUTS(raw[:14]), nil
}

// decodeBase64 decodes into dst without allocating and without the line breaks that the standard
// decoder would skip. Padding is optional.
func decodeBase64(dst, src []byte) (int, bool) {
	for len(src) > 0 && src[len(src)-1] == '=' {
		src = src[:len(src)-1]
	}
	for _, c := range src {
		if c == '\r' || c == '\n' {
			return 0, false
		}
	}
	if base64.RawStdEncoding.DecodedLen(len(src)) > len(dst) {
		return 0, false
	}
	n, err := base64.RawStdEncoding.Decode(dst, src)
	return n, err == nil
}
