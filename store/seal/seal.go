// Package seal keeps values secret inside a store: AES-256-GCM (NIST SP 800-38D), the id of the sealing key in front, the record's
// place (table and key) as associated data, so that a sealed K cannot be moved to another subscriber. The sealing key lives in a file
// with strict rights or in the service manager's credential directory, never beside the database.
//
// Keys for other purposes can be derived from a keyring.
//
// It does not wipe memory (Go cannot promise that), does not hide the length of a value, and does not notice when an older sealed
// value of the same record is put back: versions and backups are the store's matter. Imported by imsbox/hss, ca, iface/management and
// node. A Keyring is immutable and safe for concurrent use.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Errors of Open.
var (
	ErrKey    = errors.New("seal: sealed with a key that is not in the keyring")
	ErrForged = errors.New("seal: value does not open: changed, moved or of another key")
)

// Layout of a sealed value: format:1 key id:4 nonce:12 ciphertext tag:16. Numbers are big-endian.
const (
	format     = 1
	nonceAt    = 1 + 4
	nonceSize  = 12
	headerSize = nonceAt + nonceSize
	tagSize    = 16

	// Overhead is how many octets Seal adds.
	Overhead = headerSize + tagSize
)

// maxKeys bounds a keyring: a rotation that never ends is a mistake.
const maxKeys = 16

const redacted = "[redacted]"

// secret is the octets of a sealing key. However it is printed, it says [redacted]; it has no encoder.
type secret [32]byte

func (secret) String() string               { return redacted }
func (secret) GoString() string             { return redacted }
func (secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// key is one sealing key. The octets are behind a pointer: fmt prints unexported fields without asking their methods, but follows no
// pointer inside a struct.
type key struct {
	id     uint32
	secret *secret
	aead   cipher.AEAD
}

func newKey(id uint32, s secret) (key, error) {
	b, err := aes.NewCipher(s[:])
	if err != nil {
		return key{}, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCM(b)
	if err != nil {
		return key{}, fmt.Errorf("seal: %w", err)
	}
	return key{id: id, secret: &s, aead: aead}, nil
}

// Keyring is the current sealing key and the older ones that still open. Its zero value seals and opens nothing; it comes from
// Generate, Load, LoadCredential or Rotate.
type Keyring struct {
	keys []key // the current one first; no two with the same id
}

// Generate makes a keyring with one new key.
func Generate(random io.Reader) (*Keyring, error) { return new(Keyring).Rotate(random) }

// Rotate returns a keyring with a new current key in front of the old ones. k is not changed. Save the new one before it seals.
func (k *Keyring) Rotate(random io.Reader) (*Keyring, error) {
	if len(k.keys) >= maxKeys {
		return nil, fmt.Errorf("seal: %d keys in the ring: reseal, then retire the old ones", len(k.keys))
	}
	var s secret
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return nil, fmt.Errorf("seal: new key: %w", err)
	}
	id := uint32(1)
	for _, old := range k.keys { // ids only grow, so one that was retired is not mistaken for a new one
		id = max(id, old.id+1)
	}
	if id == 0 {
		return nil, errors.New("seal: no key id left")
	}
	current, err := newKey(id, s)
	if err != nil {
		return nil, err
	}
	return &Keyring{keys: append([]key{current}, k.keys...)}, nil
}

// Retire returns a keyring with the current key only: what older keys sealed cannot be opened any more. First reseal everything.
func (k *Keyring) Retire() *Keyring { return &Keyring{keys: k.keys[:min(1, len(k.keys))]} }

// Seal appends the sealed plaintext to dst. table and recordKey name the record that the value belongs to. The nonce is read from
// random; 2^32 values per key keep the chance of a repeated one below 2^-32 (NIST SP 800-38D 8.3).
func (k *Keyring) Seal(dst []byte, random io.Reader, table uint8, recordKey, plaintext []byte) ([]byte, error) {
	if len(k.keys) == 0 {
		return dst, ErrKey
	}
	current := &k.keys[0]
	var header [headerSize]byte
	header[0] = format
	binary.BigEndian.PutUint32(header[1:], current.id)
	if _, err := io.ReadFull(random, header[nonceAt:]); err != nil {
		return dst, fmt.Errorf("seal: nonce: %w", err)
	}
	out := append(dst, header[:]...)
	return current.aead.Seal(out, header[nonceAt:], plaintext, place(header[:nonceAt], table, recordKey)), nil
}

// Open appends the plaintext to dst. ErrKey, ErrForged; then dst is returned as it was.
func (k *Keyring) Open(dst []byte, table uint8, recordKey, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != format {
		return dst, ErrForged
	}
	id := binary.BigEndian.Uint32(sealed[1:])
	for i := range k.keys {
		if k.keys[i].id != id {
			continue
		}
		out, err := k.keys[i].aead.Open(dst, sealed[nonceAt:headerSize], sealed[headerSize:], place(sealed[:nonceAt], table, recordKey))
		if err != nil {
			return dst, ErrForged
		}
		return out, nil
	}
	return dst, ErrKey
}

// place is the associated data: what stands in front of the nonce, then where the value belongs.
func place(front []byte, table uint8, recordKey []byte) []byte {
	aad := make([]byte, 0, 64)
	aad = append(aad, front...)
	aad = append(aad, table)
	return append(aad, recordKey...)
}

// Current reports whether sealed was made with the current key; if not, it wants to be resealed.
func (k *Keyring) Current(sealed []byte) bool {
	return len(k.keys) > 0 && len(sealed) >= Overhead && sealed[0] == format && binary.BigEndian.Uint32(sealed[1:]) == k.keys[0].id
}

// Reseal appends to dst the value of sealed under the current key.
func (k *Keyring) Reseal(dst []byte, random io.Reader, table uint8, recordKey, sealed []byte) ([]byte, error) {
	plaintext, err := k.Open(nil, table, recordKey, sealed)
	if err != nil {
		return dst, err
	}
	defer clear(plaintext)
	return k.Seal(dst, random, table, recordKey, plaintext)
}

// Derive returns keys of 32 octets for another purpose than sealing (RFC 5869), one from each key of the ring, that from the current one first: whoever has the ring
// has them too, and one that is known tells nothing of the ring nor of another purpose's.
func (k *Keyring) Derive(purpose string) [][]byte {
	all := make([][]byte, len(k.keys))
	for i := range k.keys {
		all[i], _ = hkdf.Key(sha256.New, k.keys[i].secret[:], nil, "imsafe: "+purpose, sha256.Size) // fails only for more than 8,160 octets
	}
	return all
}

// Keys returns how many keys are in the ring.
func (k *Keyring) Keys() int { return len(k.keys) }

// String, GoString, Format, LogValue and MarshalText keep a keyring out of logs and files by accident.
func (k Keyring) String() string               { return redacted }
func (k Keyring) GoString() string             { return redacted }
func (k Keyring) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (k Keyring) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (k Keyring) MarshalText() ([]byte, error) { return []byte(redacted), nil }
