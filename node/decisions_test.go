package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"

	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
)

// rivals is a store of two nodes: before the first change of this one the other makes its own.
type rivals struct {
	store.Store
	first func()
}

func (r *rivals) Apply(partition string, ops ...store.Op) error {
	if first := r.first; first != nil {
		r.first = nil
		first()
	}
	return r.Store.Apply(partition, ops...)
}

// TestTwoNodesMakeOneDecisionKey: two nodes that start for the first time at once both find no key; both go on with the one that was made.
func TestTwoNodesMakeOneDecisionKey(t *testing.T) {
	db, err := store.InMemory(shard.RealClock())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := decisionsWorld{store: db, keys: NewKeys(keyring, nil), random: rand.Reader, number: 2}
	one := other
	one.number = 1
	var theirs ed25519.PrivateKey
	one.store = &rivals{Store: db, first: func() {
		if theirs, err = other.key(); err != nil {
			t.Error(err)
		}
	}}
	ours, err := one.key()
	if err != nil || !ours.Equal(theirs) {
		t.Fatalf("the node that was second has a key of its own, or none: %v", err)
	}
	if public, err := one.public(); err != nil || !public.Equal(ours.Public()) {
		t.Errorf("its records verify with another key: %v", err)
	}

	// A key that cannot be opened is an error, not a reason to make another.
	foreign, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one.keys = NewKeys(foreign, nil)
	if _, err := one.key(); err == nil || errors.Is(err, store.ErrConflict) {
		t.Errorf("under another sealing key: %v", err)
	}
}
