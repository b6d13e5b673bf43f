package node

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"imsafe/iface/management"
	"imsafe/store/seal"
)

// Keys is the keyring in use. It can be exchanged while the house runs: whoever seals or opens asks for it each time.
// Safe for concurrent use.
type Keys struct {
	current atomic.Pointer[seal.Keyring]
	load    func() (*seal.Keyring, error)
}

// NewKeys begins with a keyring. load reads it anew for a rotation; nil: it cannot be rotated.
func NewKeys(k *seal.Keyring, load func() (*seal.Keyring, error)) *Keys {
	keys := &Keys{load: load}
	keys.current.Store(k)
	return keys
}

// Keyring returns the keyring to use now.
func (k *Keys) Keyring() *seal.Keyring { return k.current.Load() }

// The place that a probe of a keyring is sealed for. No record has it.
const probeTable, probeKey = 0, "probe"

// Probe seals nothing under the current key of k, to show another process that it has the same keyring.
func Probe(k *seal.Keyring, random io.Reader) ([]byte, error) {
	return k.Seal(nil, random, probeTable, []byte(probeKey), nil)
}

// opens says whether k holds the key of a probe.
func opens(k *seal.Keyring, probe []byte) bool {
	_, err := k.Open(nil, probeTable, []byte(probeKey), probe)
	return err == nil
}

// RotateKeys is the input of key.rotate.
type RotateKeys struct {
	// Probe was sealed with the key that is to be the current one after it: it shows that the command and the node read the
	// same file.
	Probe []byte `json:"probe"`
}

// Rotated is its answer.
type Rotated struct {
	Resealed int `json:"resealed"` // records that were sealed with an older key
}

// rotateKeys reads the keyring anew and reseals everything under its current key. A keyring that cannot open what the present
// one sealed is refused: with it every K would be lost.
func (o *Operations) rotateKeys(ctx context.Context, in RotateKeys) (out Rotated, err error) {
	if o.Keys.load == nil {
		return out, &management.Error{Code: "key.fixed", Message: "this node cannot read its sealing key again", Hint: "stop it first"}
	}
	next, err := o.Keys.load()
	if err != nil {
		return out, &management.Error{Code: "key.unreadable", Message: "the node cannot read its sealing key: " + err.Error(),
			Hint: "the user that the node runs as must own the file; nothing was changed"}
	}
	own, err := Probe(o.Keys.Keyring(), o.Random)
	if err != nil {
		return out, err
	}
	switch {
	case !opens(next, own):
		return out, &management.Error{Code: "key.foreign", Message: "the sealing key file does not hold the key that is in use",
			Hint: "put the old file back; `imsafe key rotate` adds a key to it and keeps the old one until it is not needed"}
	case !opens(next, in.Probe) || !next.Current(in.Probe):
		return out, &management.Error{Code: "key.elsewhere", Message: "the node reads its sealing key from another file than this command",
			Hint: "give the command the configuration that the node runs with"}
	}
	o.Keys.current.Store(next)
	// A change that began before the exchange may commit after its record was visited: once more, until nothing is left.
	for {
		n, err := o.HSS.Reseal(ctx)
		if err == nil {
			var more int
			more, err = o.Authority.Reseal()
			n += more
		}
		if err == nil && o.Pseudonyms != nil {
			var more int
			more, err = o.Pseudonyms.Reseal()
			n += more
		}
		if err == nil {
			var more int
			more, err = o.resealDecisions()
			n += more
		}
		out.Resealed += n
		if err != nil {
			return out, fmt.Errorf("node: after %d records: %w", out.Resealed, err)
		}
		if n == 0 {
			return out, nil
		}
	}
}

// CheckedKeys is the answer of key.check.
type CheckedKeys struct {
	Cards int `json:"cards"`
}

// checkKeys opens every sealed key once: after a restore, or before old keys are thrown away.
func (o *Operations) checkKeys(ctx context.Context, _ None) (out CheckedKeys, err error) {
	out.Cards, err = o.HSS.CheckKeys(ctx)
	return out, err
}
