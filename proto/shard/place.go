package shard

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

// Sealer seals places into tokens that strangers may carry but neither read, change nor make. It holds the
// present key and the one before. Safe for concurrent use.
type Sealer struct{}

// NewSealer makes a Sealer with one key.
func NewSealer(key SealingKey) *Sealer { panic("soon") }

// Rotate makes next the key that seals; tokens of the key before stay valid until the next rotation.
func (x *Sealer) Rotate(next SealingKey) { panic("soon") }

// Seal appends the token of p (TokenSize octets, base64url, so also a SIP token) to dst. kind keeps apart
// what tokens are for (Via branch, Path, nonce): one of a kind does not open as another. The same kind and
// place give the same token under one key. No allocation if dst has room.
func (x *Sealer) Seal(dst []byte, kind byte, p Place) []byte { panic("soon") }

// Open returns the place in token if this Sealer sealed it for kind. token is whole: exactly TokenSize
// octets in the one spelling that Seal writes. Whether it fits is decided in constant time. No allocation.
func (x *Sealer) Open(kind byte, token []byte) (Place, bool) { panic("soon") }
