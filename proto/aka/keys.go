package aka

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// redacted is what every key says of itself, to fmt, to slog and to text encoders.
const redacted = "[redacted]"

var (
	// ErrKeyLength is returned when hexadecimal key material of 128 bits has not exactly 32 digits.
	ErrKeyLength = errors.New("aka: a key is 32 hexadecimal digits (128 bits)")
	// ErrKey256Length is returned when hexadecimal key material of 256 bits has not exactly 64 digits.
	ErrKey256Length = errors.New("aka: a key is 64 hexadecimal digits (256 bits)")
)

// K is the long-term secret of a subscriber, known to its card and to the HSS only (TS 33.102 6.3).
type K [16]byte

// OP is the operator variant algorithm configuration field (TS 35.206 5.1). It is a secret of the
// operator, not of one subscriber: convert it to OPc once, at provisioning, and forget it.
type OP [16]byte

// OPc is OP bound to one K (TS 35.206 8.1); it is what a card holds and what the HSS stores.
type OPc [16]byte

// K256 is a K of 256 bits, which TUAK can use (TS 35.231 5.1).
type K256 [32]byte

// TOP is the operator variant algorithm configuration field of TUAK (TS 35.231 5.1). As with OP: derive TOPc once, at
// provisioning, and forget it.
type TOP [32]byte

// TOPc is TOP bound to one K (TS 35.231 6.1).
type TOPc [32]byte

// CK is the confidentiality key of one challenge (f3). It never leaves in a SIP message.
type CK [16]byte

// IK is the integrity key of one challenge (f4). It never leaves in a SIP message.
type IK [16]byte

// AK is the anonymity key that hides SQN in AUTN (f5) or SQN_MS in AUTS (f5*).
type AK [6]byte

// RES is the response of one challenge (f2), XRES on the home side. Milenage makes 8 octets, TUAK 4
// to 16 (TS 33.105 5.1.7.1), so it carries its length. The zero value is empty and equals nothing.
type RES struct {
	n uint8
	b [16]byte
}

// NewRES makes a RES of 4 to 16 octets; b is copied. Any other length gives the empty RES.
func NewRES(b []byte) RES {
	var r RES
	if len(b) < 4 || len(b) > len(r.b) {
		return RES{}
	}
	r.n = uint8(copy(r.b[:], b))
	return r
}

// Append appends the octets of r to dst. It is meant for the digest password and for Cx inside
// mutual TLS; anything else is a leak.
func (r *RES) Append(dst []byte) []byte { return append(dst, r.b[:r.n]...) }

// Len returns the number of octets, 0 for the zero value.
func (r *RES) Len() int { return int(r.n) }

// Equal compares in time that depends on the lengths only. An empty RES equals nothing.
func (r *RES) Equal(o *RES) bool {
	return r.n != 0 && r.n == o.n && subtle.ConstantTimeCompare(r.b[:r.n], o.b[:o.n]) == 1
}

// ParseK reads 32 hexadecimal digits, in either case. The error never quotes the input.
func ParseK(s string) (K, error) { b, err := parseKey(s); return K(b), err }

// ParseOP reads 32 hexadecimal digits, in either case. The error never quotes the input.
func ParseOP(s string) (OP, error) { b, err := parseKey(s); return OP(b), err }

// ParseOPc reads 32 hexadecimal digits, in either case. The error never quotes the input.
func ParseOPc(s string) (OPc, error) { b, err := parseKey(s); return OPc(b), err }

// ParseK256 reads 64 hexadecimal digits, in either case. The error never quotes the input.
func ParseK256(s string) (K256, error) { b, err := parseKey256(s); return K256(b), err }

// ParseTOP reads 64 hexadecimal digits, in either case. The error never quotes the input.
func ParseTOP(s string) (TOP, error) { b, err := parseKey256(s); return TOP(b), err }

// ParseTOPc reads 64 hexadecimal digits, in either case. The error never quotes the input.
func ParseTOPc(s string) (TOPc, error) { b, err := parseKey256(s); return TOPc(b), err }

func parseKey256(s string) (b [32]byte, err error) {
	half := len(b) / 2
	if len(s) != 2*len(b) {
		return b, ErrKey256Length
	}
	front, err1 := parseKey(s[:2*half])
	back, err2 := parseKey(s[2*half:])
	if err1 != nil || err2 != nil {
		return b, ErrKey256Length
	}
	copy(b[:half], front[:])
	copy(b[half:], back[:])
	return b, nil
}

func parseKey(s string) (b [16]byte, err error) {
	if len(s) != 2*len(b) || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		return b, ErrKeyLength
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return [16]byte{}, ErrKeyLength
	}
	return b, nil
}

// The printing of keys. Format catches every verb of fmt (%x and %v of an array would print the
// octets otherwise); LogValue and MarshalText catch slog and the text encoders.

func redact(f fmt.State) { _, _ = f.Write([]byte(redacted)) } // fmt reports its own write errors

// String returns a placeholder, never the key.
func (K) String() string { return redacted }

// Format writes a placeholder for every verb.
func (K) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (K) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (K) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (OP) String() string { return redacted }

// Format writes a placeholder for every verb.
func (OP) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (OP) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (OP) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (OPc) String() string { return redacted }

// Format writes a placeholder for every verb.
func (OPc) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (OPc) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (OPc) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (K256) String() string { return redacted }

// Format writes a placeholder for every verb.
func (K256) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (K256) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (K256) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (TOP) String() string { return redacted }

// Format writes a placeholder for every verb.
func (TOP) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (TOP) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (TOP) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (TOPc) String() string { return redacted }

// Format writes a placeholder for every verb.
func (TOPc) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (TOPc) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (TOPc) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (CK) String() string { return redacted }

// Format writes a placeholder for every verb.
func (CK) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (CK) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (CK) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (IK) String() string { return redacted }

// Format writes a placeholder for every verb.
func (IK) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (IK) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (IK) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the key.
func (AK) String() string { return redacted }

// Format writes a placeholder for every verb.
func (AK) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (AK) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (AK) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns a placeholder, never the response.
func (RES) String() string { return redacted }

// Format writes a placeholder for every verb.
func (RES) Format(f fmt.State, _ rune) { redact(f) }

// LogValue logs a placeholder.
func (RES) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes a placeholder: there is no encoder for keys.
func (RES) MarshalText() ([]byte, error) { return []byte(redacted), nil }
