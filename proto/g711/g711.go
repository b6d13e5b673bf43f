// Package g711 is ITU-T G.711: A-law and mu-law, octets from linear samples and back, at 8 kHz.
//
// It is arithmetic on samples and nothing else: no frames, no RTP, no other rate. The client and the media server of services stand on it;
// it imports nothing of ours. All of it is safe for concurrent use.
package g711

import "math/bits"

// SampleRate is that of G.711, in Hz.
const SampleRate = 8000

// Codec turns linear samples into octets and back. The zero value is not usable; see ALaw and MuLaw.
// Safe for concurrent use.
type Codec struct {
	name   string
	encode func(int16) byte
	table  *[256]int16
}

// ALaw returns G.711 A-law, RTP name PCMA.
func ALaw() Codec { return Codec{"PCMA", encodeALaw, &aLawTable} }

// MuLaw returns G.711 mu-law, RTP name PCMU.
func MuLaw() Codec { return Codec{"PCMU", encodeMuLaw, &muLawTable} }

// ByName returns the codec for an RTP encoding name in upper case (RFC 3551 6); ok is false for others.
func ByName(name string) (c Codec, ok bool) {
	switch name {
	case "PCMA":
		return ALaw(), true
	case "PCMU":
		return MuLaw(), true
	}
	return Codec{}, false
}

// Name returns the RTP encoding name.
func (c Codec) Name() string { return c.name }

// Silence is the octet of a sample of zero.
func (c Codec) Silence() byte { return c.encode(0) }

// Encode appends one octet per sample.
func (c Codec) Encode(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		dst = append(dst, c.encode(s))
	}
	return dst
}

// Decode appends one sample per octet.
func (c Codec) Decode(dst []int16, octets []byte) []int16 {
	for _, o := range octets {
		dst = append(dst, c.table[o])
	}
	return dst
}

// The tables are constants in all but the language's word for it: filled once here, never written.
var (
	aLawTable  = table(decodeALaw)
	muLawTable = table(decodeMuLaw)
)

func table(f func(byte) int16) (t [256]int16) {
	for i := range t {
		t[i] = f(byte(i))
	}
	return t
}

// encodeALaw writes sign, segment and four bits of the 13-bit magnitude, even bits inverted (G.711 table 1).
func encodeALaw(s int16) byte {
	sign := byte(0x80)
	v := int(s) >> 3 // 13 bits
	if v < 0 {
		sign, v = 0, -v-1
	}
	segment := 0
	if n := bits.Len(uint(v)); n > 5 {
		segment = n - 5
	}
	shift := max(segment, 1)
	return (sign | byte(segment<<4) | byte(v>>shift&0xf)) ^ 0x55
}

func decodeALaw(o byte) int16 {
	o ^= 0x55
	segment := int(o >> 4 & 7)
	v := int(o&0xf)<<4 + 8 // the middle of the interval, on the 16-bit scale
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if o&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

// encodeMuLaw adds the bias of 33 (132 on this scale), clips, and inverts all bits (G.711 table 2).
func encodeMuLaw(s int16) byte {
	const bias, clip = 132, 32635
	v, sign := int(s), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	segment := bits.Len(uint(v)) - 8
	return ^(sign | byte(segment<<4) | byte(v>>(segment+3)&0xf))
}

func decodeMuLaw(o byte) int16 {
	o = ^o
	v := (int(o&0xf)<<3+132)<<(o>>4&7) - 132
	if o&0x80 != 0 {
		v = -v
	}
	return int16(v)
}
