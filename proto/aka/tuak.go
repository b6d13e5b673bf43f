package aka

import (
	"cmp"
	"crypto/sha3"
	"fmt"
	"log/slog"
)

// tuakName is ALGONAME of TS 35.231 5.1 in the order in which it enters Keccak: back to front.
const tuakName = "0.1KAUT"

// The INSTANCE octet (TS 35.231 6.1 to 6.4): which function, which lengths. Its bit 0 of the standard is the highest here.
const (
	tuakF1     = 0x00
	tuakF1Star = 0x80
	tuakF2345  = 0x40
	tuakF5Star = 0xc0
	tuakCK256  = 0x04
	tuakIK256  = 0x02
	tuakK256   = 0x01
)

// Where the fields stand in the block IN, and what f2..f5 have of OUT, in octets (TS 35.231 6.1, 6.4).
const (
	tuakInInstance, tuakInName, tuakInRAND, tuakInAMF, tuakInSQN, tuakInK = 32, 33, 40, 56, 58, 64
	tuakInLen                                                             = 96
	tuakOutCK, tuakOutIK, tuakOutAK, tuakOutLen                           = 32, 64, 96, 102
)

// tuakRate is the rate of SHAKE256 in octets: what one call of the permutation gives.
const tuakRate = 136

// TUAKOptions are what an operator chooses about TUAK besides the keys (TS 35.231 5.2). MAC, CK and IK have no choice
// in the IMS: AUTN has room for 64 bits of MAC, and CK and IK are 128 bits long (TS 33.102 6.3.7).
type TUAKOptions struct {
	// RESLength is the length of RES in octets: 4, 8 or 16; 0 is 8.
	RESLength int
	// Iterations is how often Keccak's permutation runs, KeccakIterations; 0 is 1, the default of the standard. TOPc
	// must have been derived with the same number.
	Iterations int
}

// maxIterations bounds TUAKOptions.Iterations: the standard has no limit, but time has.
const maxIterations = 255

// TUAK is the algorithm set of TS 35.231 for one subscriber, with K of 128 or 256 bits. It is built on Keccak, so that
// an operator has something to change to should AES fall. It holds no expanded key and is cheap to make.
//
// The permutation is the standard library's. A block of TUAK is 96 octets of fields, the octet 1F, zeros up to the octet
// 80 at the end of 136, and 64 octets of zeros (TS 35.231 6.1): exactly what SHAKE256 makes of a message of 96 octets
// before its only permutation (FIPS 202 6.2, B.2). A further iteration of the permutation over the same block is what
// SHAKE256 does to squeeze its next 136 octets, so several iterations are a matter of reading further.
type TUAK struct {
	k          [32]byte
	kLen       int // octets: 16 or 32
	topc       TOPc
	resLen     int
	iterations int
}

// NewTUAK makes TUAK with K of 128 bits. It returns an error for options that the standard does not have.
func NewTUAK(k K, topc TOPc, o TUAKOptions) (*TUAK, error) { return newTUAK(k[:], topc, o) }

// NewTUAK256 is NewTUAK with K of 256 bits.
func NewTUAK256(k K256, topc TOPc, o TUAKOptions) (*TUAK, error) { return newTUAK(k[:], topc, o) }

func newTUAK(k []byte, topc TOPc, o TUAKOptions) (*TUAK, error) {
	t := &TUAK{kLen: len(k), topc: topc, resLen: cmp.Or(o.RESLength, 8), iterations: cmp.Or(o.Iterations, 1)}
	copy(t.k[:], k)
	if t.resLen != 4 && t.resLen != 8 && t.resLen != 16 {
		return nil, fmt.Errorf("aka: TUAK with a RES of %d octets; 4, 8 and 16 are possible", t.resLen)
	}
	if t.iterations < 1 || t.iterations > maxIterations {
		return nil, fmt.Errorf("aka: TUAK with %d iterations; 1 to %d are possible", t.iterations, maxIterations)
	}
	return t, nil
}

// DeriveTOPc binds top to k (TS 35.231 6.1), with one iteration.
func DeriveTOPc(k K, top TOP) TOPc { return deriveTOPc(k[:], top, 1) }

// DeriveTOPc256 is DeriveTOPc for K of 256 bits.
func DeriveTOPc256(k K256, top TOP) TOPc { return deriveTOPc(k[:], top, 1) }

func deriveTOPc(k []byte, top TOP, iterations int) (topc TOPc) {
	t := TUAK{kLen: len(k), topc: TOPc(top), iterations: iterations}
	copy(t.k[:], k)
	var in tuakBlock
	var out [tuakOutLen]byte
	t.open(&in, 0)
	t.keccak(&in, &out)
	reverse(topc[:], out[:])
	return topc
}

type tuakBlock [tuakInLen]byte

// open fills what all functions have in common; K256 is part of every INSTANCE.
func (t *TUAK) open(in *tuakBlock, instance byte) {
	if t.kLen == len(K256{}) {
		instance |= tuakK256
	}
	reverse(in[:tuakInInstance], t.topc[:])
	in[tuakInInstance] = instance
	copy(in[tuakInName:], tuakName)
	reverse(in[tuakInK:tuakInK+t.kLen], t.k[:t.kLen])
}

// keccak computes OUT of IN and wipes both IN and what it does not return.
func (t *TUAK) keccak(in *tuakBlock, out *[tuakOutLen]byte) {
	var shake sha3.SHAKE // the zero value is SHAKE256
	_, _ = shake.Write(in[:])
	clear(in[:])
	var skipped [tuakRate]byte
	for range t.iterations - 1 {
		_, _ = shake.Read(skipped[:])
	}
	clear(skipped[:])
	_, _ = shake.Read(out[:])
	shake.Reset()
}

// reverse copies src back to front, as long as dst: TUAK numbers the bits of its values from the end, Keccak those of
// its state from the front.
func reverse(dst, src []byte) {
	for i := range dst {
		dst[i] = src[len(dst)-1-i]
	}
}

// mac computes f1 and f1* of a length of 8, 16 or 32 octets, which is that of dst (TS 35.231 6.2, 6.3).
func (t *TUAK) mac(dst []byte, function byte, rand RAND, sqn SQN, amf AMF) {
	var in tuakBlock
	var out [tuakOutLen]byte
	t.open(&in, function|byte(len(dst)))
	q := sqn.Bytes()
	reverse(in[tuakInRAND:tuakInAMF], rand[:])
	reverse(in[tuakInAMF:tuakInSQN], amf[:])
	reverse(in[tuakInSQN:tuakInK], q[:])
	t.keccak(&in, &out)
	reverse(dst, out[:])
}

// tuakOut is the result of f2 to f5 in the lengths of its slices: RES 4, 8, 16 or 32 octets, CK and IK 16 or 32.
type tuakOut struct{ res, ck, ik, ak []byte }

// f2345 computes f2 to f5 (TS 35.231 6.4).
func (t *TUAK) f2345(o tuakOut, rand RAND) {
	instance := byte(tuakF2345)
	if len(o.res) > 4 { // 4 octets are no bit, the others are their own number
		instance |= byte(len(o.res))
	}
	if len(o.ck) == 32 {
		instance |= tuakCK256
	}
	if len(o.ik) == 32 {
		instance |= tuakIK256
	}
	var in tuakBlock
	var out [tuakOutLen]byte
	t.open(&in, instance)
	reverse(in[tuakInRAND:tuakInAMF], rand[:])
	t.keccak(&in, &out)
	reverse(o.res, out[:tuakOutCK])
	reverse(o.ck, out[tuakOutCK:tuakOutIK])
	reverse(o.ik, out[tuakOutIK:tuakOutAK])
	reverse(o.ak, out[tuakOutAK:])
	clear(out[:])
}

// Format writes a placeholder for every verb: fmt reaches fields that are not exported without asking their types.
func (*TUAK) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (*TUAK) LogValue() slog.Value { return slog.StringValue(redacted) }

// Name returns "tuak".
func (t *TUAK) Name() string { return "tuak" }

// F1 returns MAC-A of 64 bits (TS 35.231 6.2).
func (t *TUAK) F1(rand RAND, sqn SQN, amf AMF) (mac MAC) {
	t.mac(mac[:], tuakF1, rand, sqn, amf)
	return mac
}

// F1Star returns MAC-S of 64 bits (TS 35.231 6.3).
func (t *TUAK) F1Star(rand RAND, sqn SQN, amf AMF) (mac MAC) {
	t.mac(mac[:], tuakF1Star, rand, sqn, amf)
	return mac
}

// F2345 returns RES of the chosen length, CK and IK of 128 bits, and AK (TS 35.231 6.4).
func (t *TUAK) F2345(rand RAND) (res RES, ck CK, ik IK, ak AK) {
	res.n = uint8(t.resLen)
	t.f2345(tuakOut{res.b[:t.resLen], ck[:], ik[:], ak[:]}, rand)
	return res, ck, ik, ak
}

// F5Star returns the AK of a resynchronisation (TS 35.231 6.5).
func (t *TUAK) F5Star(rand RAND) (ak AK) {
	var in tuakBlock
	var out [tuakOutLen]byte
	t.open(&in, tuakF5Star)
	reverse(in[tuakInRAND:tuakInAMF], rand[:])
	t.keccak(&in, &out)
	reverse(ak[:], out[tuakOutAK:])
	clear(out[:])
	return ak
}
