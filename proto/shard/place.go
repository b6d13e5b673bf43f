package shard

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Place names an object of a shard: a slot and the generation of its use (see Slots).
type Place struct {
	Node  uint16
	Shard uint8
	Slot  uint32
	Gen   uint16
}

// Place is the name of a slot of this shard. Any goroutine.
func (s *Shard) Place(slot uint32, gen uint16) Place {
	return Place{Node: s.cfg.Node, Shard: s.cfg.ID, Slot: slot, Gen: gen}
}

// TokenSize is the length of a sealed token in octets (characters of base64url).
const TokenSize = 22

// SealingKey is an AES-128 key. It prints as [redacted].
type SealingKey [16]byte

// String hides the key.
func (SealingKey) String() string { return "[redacted]" }

// GoString hides the key from %#v.
func (SealingKey) GoString() string { return "[redacted]" }

// LogValue hides the key.
func (SealingKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText hides the key.
func (SealingKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Sealer seals places into tokens that strangers may carry but neither read, change nor make. It holds the
// present key and the one before. Safe for concurrent use.
//
// A token is one AES-128 block: kind, node, shard, slot, generation, and six octets that must come out as
// zero. AES is a permutation under a key that the stranger does not have, so any other block opens as noise:
// a guess passes for a given kind with 2^-56 per key. There is nothing to choose and no nonce to repeat.
type Sealer struct {
	keys   atomic.Pointer[keyPair]
	blocks sync.Pool // of *scratch: room that would else move to the heap at each call of cipher.Block
}

type keyPair struct{ present, before cipher.Block } // before may be nil

// NewSealer makes a Sealer with one key.
func NewSealer(key SealingKey) *Sealer {
	x := &Sealer{blocks: sync.Pool{New: func() any { return new(scratch) }}}
	x.keys.Store(&keyPair{present: newBlock(key)})
	return x
}

// Rotate makes next the key that seals; tokens of the key before stay valid until the next rotation.
// One goroutine at a time.
func (x *Sealer) Rotate(next SealingKey) {
	x.keys.Store(&keyPair{present: newBlock(next), before: x.keys.Load().present})
}

func newBlock(key SealingKey) cipher.Block {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	return b
}

// Offsets in the block.
const (
	offKind  = 0
	offNode  = 1
	offShard = 3
	offSlot  = 4
	offGen   = 8
	offZero  = 10
)

func (p Place) encode(b *[16]byte, kind byte) {
	*b = [16]byte{offKind: kind, offShard: p.Shard}
	binary.BigEndian.PutUint16(b[offNode:], p.Node)
	binary.BigEndian.PutUint32(b[offSlot:], p.Slot)
	binary.BigEndian.PutUint16(b[offGen:], p.Gen)
}

func decode(b *[16]byte) Place {
	return Place{
		Node:  binary.BigEndian.Uint16(b[offNode:]),
		Shard: b[offShard],
		Slot:  binary.BigEndian.Uint32(b[offSlot:]),
		Gen:   binary.BigEndian.Uint16(b[offGen:]),
	}
}

type scratch struct{ sealed, clear [16]byte }

// spelling is strict: the unused bits of the last character must be zero, so a token has one spelling.
var spelling = base64.RawURLEncoding.Strict()

// Seal appends the token of p (TokenSize octets, base64url, so also a SIP token) to dst. kind keeps apart
// what tokens are for (Via branch, Path, nonce): one of a kind does not open as another. The same kind and
// place give the same token under one key. No allocation if dst has room.
func (x *Sealer) Seal(dst []byte, kind byte, p Place) []byte {
	b := x.blocks.Get().(*scratch)
	p.encode(&b.clear, kind)
	x.keys.Load().present.Encrypt(b.sealed[:], b.clear[:])
	dst = spelling.AppendEncode(dst, b.sealed[:])
	x.blocks.Put(b)
	return dst
}

// Open returns the place in token if this Sealer sealed it for kind. token is whole: exactly TokenSize
// octets in the one spelling that Seal writes. Whether it fits is decided in constant time. No allocation.
func (x *Sealer) Open(kind byte, token []byte) (Place, bool) {
	if len(token) != TokenSize {
		return Place{}, false
	}
	b := x.blocks.Get().(*scratch)
	defer x.blocks.Put(b)
	// The decoder skips CR and LF; then it yields fewer than 16 octets, which fails here.
	if n, err := spelling.Decode(b.sealed[:], token); err != nil || n != len(b.sealed) {
		return Place{}, false
	}
	keys := x.keys.Load()
	keys.present.Decrypt(b.clear[:], b.sealed[:])
	if b.fits(kind) {
		return decode(&b.clear), true
	}
	if keys.before != nil {
		keys.before.Decrypt(b.clear[:], b.sealed[:])
		if b.fits(kind) {
			return decode(&b.clear), true
		}
	}
	return Place{}, false
}

// fits compares kind and redundancy in one step, so that a refusal does not tell how near a guess was.
func (b *scratch) fits(kind byte) bool {
	miss := b.clear[offKind] ^ kind
	for _, c := range b.clear[offZero:] {
		miss |= c
	}
	return subtle.ConstantTimeByteEq(miss, 0) == 1
}
