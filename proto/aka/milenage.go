package aka

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"log/slog"
	"sync"
)

// MAC is MAC-A of f1 or MAC-S of f1* (TS 33.102 6.3).
type MAC [8]byte

// AMF is the authentication management field. Bit 0 (the highest) separates: 0 for the IMS, 1 for
// EPS (TS 33.102 Annex H).
type AMF [2]byte

// RAND is a random challenge.
type RAND [16]byte

// Algorithm is the set of functions that an operator chose for a subscriber (TS 33.102 6.3): Milenage or
// TUAK. An implementation holds the subscriber's keys, is safe for concurrent use and prints none of them.
type Algorithm interface {
	// Name is the algorithm's name as provisioning writes it: "milenage", "tuak".
	Name() string
	// F1 returns MAC-A.
	F1(rand RAND, sqn SQN, amf AMF) MAC
	// F1Star returns MAC-S.
	F1Star(rand RAND, sqn SQN, amf AMF) MAC
	// F2345 returns RES, CK, IK and AK.
	F2345(rand RAND) (RES, CK, IK, AK)
	// F5Star returns the AK of a resynchronisation.
	F5Star(rand RAND) AK
}

// The constants of TS 35.206 4.1: the rotations are multiples of 8 bits, so they are kept in
// octets; the constants differ in the last octet only.
const (
	r1, r2, r3, r4, r5 = 64 / 8, 0, 32 / 8, 64 / 8, 96 / 8
	c1, c2, c3, c4, c5 = 0, 1, 2, 4, 8
)

// Milenage is the algorithm set of TS 35.206 for one subscriber. It keeps the expanded key of AES,
// about half a kilobyte, so whoever answers a subscriber again and again should keep the Milenage.
type Milenage struct {
	block cipher.Block
	opc   OPc
}

// NewMilenage expands k. It allocates; the methods do not.
func NewMilenage(k K, opc OPc) *Milenage {
	m := &Milenage{opc: opc}
	m.block = newAES(&k)
	return m
}

// DeriveOPc binds op to k: OPc = OP xor E[OP]K (TS 35.206 8.1).
func DeriveOPc(k K, op OP) OPc {
	var out OPc
	newAES(&k).Encrypt(out[:], op[:])
	for i := range out {
		out[i] ^= op[i]
	}
	return out
}

func newAES(k *K) cipher.Block {
	b, err := aes.NewCipher(k[:])
	if err != nil {
		panic("aka: AES-128 refused a 16-octet key: " + err.Error()) // cannot happen: the type fixes the length
	}
	return b
}

// scratch holds the blocks of one computation. cipher.Block is an interface, so what it is given
// escapes to the heap; a pool makes that free. It is wiped before it goes back.
type scratch struct{ temp, in, out [16]byte }

// A pool is shared memory, not state: no value survives in it.
var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

func (m *Milenage) open(rand RAND) *scratch {
	s := scratchPool.Get().(*scratch)
	for i := range s.in {
		s.in[i] = rand[i] ^ m.opc[i]
	}
	m.block.Encrypt(s.temp[:], s.in[:]) // TEMP, TS 35.206 4.1
	return s
}

func (s *scratch) close() {
	*s = scratch{}
	scratchPool.Put(s)
}

// round computes OUT2..OUT5: E[rot(TEMP xor OPc, r) xor c] xor OPc (TS 35.206 4.1). r is in octets.
func (m *Milenage) round(s *scratch, r int, c byte) {
	for i := range s.in {
		j := (i + r) & 15
		s.in[i] = s.temp[j] ^ m.opc[j]
	}
	s.in[15] ^= c
	m.block.Encrypt(s.out[:], s.in[:])
	for i := range s.out {
		s.out[i] ^= m.opc[i]
	}
}

// out1 computes OUT1, which holds MAC-A and MAC-S (TS 35.206 4.1).
func (m *Milenage) out1(s *scratch, sqn SQN, amf AMF) {
	q := sqn.Bytes()
	in1 := [16]byte{
		q[0], q[1], q[2], q[3], q[4], q[5], amf[0], amf[1],
		q[0], q[1], q[2], q[3], q[4], q[5], amf[0], amf[1],
	}
	for i := range s.in {
		j := (i + r1) & 15
		s.in[i] = s.temp[i] ^ in1[j] ^ m.opc[j]
	}
	s.in[15] ^= c1
	m.block.Encrypt(s.out[:], s.in[:])
	for i := range s.out {
		s.out[i] ^= m.opc[i]
	}
}

// Format writes a placeholder for every verb: fmt reaches fields that are not exported without asking their types.
func (*Milenage) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (*Milenage) LogValue() slog.Value { return slog.StringValue(redacted) }

// Name returns "milenage".
func (m *Milenage) Name() string { return "milenage" }

// F1 returns MAC-A (TS 35.206 4.1).
func (m *Milenage) F1(rand RAND, sqn SQN, amf AMF) MAC {
	s := m.open(rand)
	defer s.close()
	m.out1(s, sqn, amf)
	return MAC(s.out[:8])
}

// F1Star returns MAC-S (TS 35.206 4.1).
func (m *Milenage) F1Star(rand RAND, sqn SQN, amf AMF) MAC {
	s := m.open(rand)
	defer s.close()
	m.out1(s, sqn, amf)
	return MAC(s.out[8:])
}

// F2345 returns RES of 8 octets, CK, IK and AK (TS 35.206 4.1).
func (m *Milenage) F2345(rand RAND) (RES, CK, IK, AK) {
	s := m.open(rand)
	defer s.close()
	var (
		res RES
		ak  AK
	)
	m.round(s, r2, c2)
	res.n = uint8(copy(res.b[:8], s.out[8:]))
	copy(ak[:], s.out[:6])
	m.round(s, r3, c3)
	ck := CK(s.out)
	m.round(s, r4, c4)
	ik := IK(s.out)
	return res, ck, ik, ak
}

// F5Star returns the AK of a resynchronisation (TS 35.206 4.1).
func (m *Milenage) F5Star(rand RAND) AK {
	s := m.open(rand)
	defer s.close()
	m.round(s, r5, c5)
	return AK(s.out[:6])
}
