package ca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/store"
	"imsafe/store/seal"
)

const (
	speaks = "spiffe://" + domain + "/core/identity"
	issues = "spiffe://" + domain + "/core/tokens"
)

// signing is one node's end of the keys of a network.
type signing struct {
	*house
	*ca.Signers
}

// node opens the network's authority and keys as one more node does, over a store that may be another view of it.
func (h *house) node(of string, shared bool, over store.Store) *signing {
	h.t.Helper()
	if over == nil {
		over = h.store
	}
	authority, err := ca.OpenAuthority(domain, ca.Ports{Store: over, Keys: func() *seal.Keyring { return h.keys }, Random: rand.Reader, Now: h.clock})
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := authority.Signers(of, "cs."+domain, ca.MaxServiceLife, shared)
	if err != nil {
		h.t.Fatal(err)
	}
	return &signing{&house{t: h.t, Authority: authority}, s}
}

// keep is what a node does when something has changed, and now and then.
func (s *signing) keep() {
	s.t.Helper()
	if err := s.Keep(); err != nil {
		s.t.Fatal(err)
	}
}

// signs is the name of the key that signs now; it signs indeed.
func (s *signing) signs() string {
	s.t.Helper()
	k, err := s.Now()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("call"))
	signature, err := ecdsa.SignASN1(rand.Reader, k.Key, sum[:])
	if err != nil || !ecdsa.VerifyASN1(k.Public(), sum[:], signature) {
		s.t.Fatalf("%v, or it does not verify", err)
	}
	return k.Name
}

// knows says which keys are known, the latest first.
func (s *signing) knows() (names []string) {
	for _, k := range s.Known() {
		names = append(names, k.Name)
	}
	return names
}

// rows are the records of all keys.
func (h *house) rows() []store.Record {
	h.t.Helper()
	page, _, err := h.store.Scan(ca.TableSigner, nil, nil, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return page
}

// found gives the network its authority.
func (h *house) found() {
	h.t.Helper()
	if err := h.rotate(); err != nil {
		h.t.Fatal(err)
	}
}

// TestSigners_of_one_node: a node that is alone makes its key when it is asked, forgets nothing before its end, and writes nothing down.
func TestSigners_of_one_node(t *testing.T) {
	h := newHouse(t)
	s, err := h.Authority.Signers(speaks, "cs."+domain, ca.MaxServiceLife, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Now(); !errors.Is(err, ca.ErrNone) {
		t.Errorf("without an intermediate: %v", err)
	}
	h.found()
	only := &signing{h, s}
	first := only.signs()
	if again := only.signs(); again != first {
		t.Error("each signature has a key of its own")
	}
	h.now = h.now.Add(17 * time.Hour)
	second := only.signs()
	h.found()
	third := only.signs()
	if second == first || third == second || !slices.Equal(only.knows(), []string{third, second, first}) {
		t.Errorf("%s, %s, %s; known: %s", first, second, third, only.knows())
	}
	h.now = h.now.Add(8 * time.Hour)
	if s.Named(first) != nil || s.Named(second) == nil {
		t.Error("the first is over, and the second is not")
	}
	if err := s.Keep(); err != nil || len(h.rows()) != 0 {
		t.Errorf("%d keys are written down, %v", len(h.rows()), err)
	}
}

// TestSigners_of_nodes: nodes with one store sign with one key. The next one signs when all know it; the one before verifies until it ends; a node that starts
// finds what there is.
func TestSigners_of_nodes(t *testing.T) {
	h := newHouse(t)
	a, b := h.node(speaks, true, nil), h.node(speaks, true, nil)
	a.keep()
	if _, err := a.Now(); !errors.Is(err, ca.ErrNone) || len(h.rows()) != 0 {
		t.Errorf("without an authority: %v, %d keys", err, len(h.rows()))
	}
	h.found()
	a.keep()
	first := a.signs()
	if b.Named(first) != nil {
		t.Error("the other node knows what nobody has told it")
	}
	b.keep()
	if b.signs() != first {
		t.Error("two nodes sign with two keys")
	}
	for what, changes := range map[string]func(){
		"a third of its life is left": func() { h.now = h.now.Add(17 * time.Hour) },
		"another intermediate issues": func() { h.now = h.now.Add(time.Minute); h.found() },
	} {
		before := a.signs()
		changes()
		a.keep()
		if a.signs() != before || b.signs() != before {
			t.Errorf("%s: one signs with a key that the other does not know", what)
		}
		b.keep()
		if rows := len(h.rows()); !slices.Equal(a.knows(), b.knows()) || len(a.knows()) != rows {
			t.Errorf("%s: %s and %s, of %d", what, a.knows(), b.knows(), rows)
		}
		h.now = h.now.Add(time.Minute)
		next := b.signs()
		if next == before || a.signs() != next {
			t.Errorf("%s: a minute later they still sign with the one before", what)
		}
		c := h.node(speaks, true, nil) // who starts now, after kill -9 or anew
		c.keep()
		if c.signs() != next || c.Named(before) == nil || !bytes.Equal(c.Named(before).PEM(), a.Named(before).PEM()) {
			t.Errorf("%s: a node that starts does not know the keys", what)
		}
	}
	h.now = h.now.Add(8 * time.Hour)
	if a.Named(first) != nil || b.Named(first) != nil {
		t.Error("the first has ended")
	}
	h.now = h.now.Add(48 * time.Hour) // all have, and nobody was there
	before := len(h.rows())
	a.keep()
	b.keep()
	if a.signs() != b.signs() || before < 3 || len(h.rows()) != 1 {
		t.Errorf("%s and %s, %d records after %d", a.signs(), b.signs(), len(h.rows()), before)
	}
}

// meanwhile is a store in which somebody else is quicker.
type meanwhile struct {
	*store.DB
	first func()
}

func (m *meanwhile) Apply(partition string, ops ...store.Op) error {
	if first := m.first; first != nil {
		m.first = nil
		first()
	}
	return m.DB.Apply(partition, ops...)
}

// TestSigners_at_once: two nodes find at the same time that there is no key; one makes it, and the other takes it.
func TestSigners_at_once(t *testing.T) {
	h := newHouse(t)
	h.found()
	b := h.node(speaks, true, nil)
	a := h.node(speaks, true, &meanwhile{h.store, b.keep})
	a.keep()
	if a.signs() != b.signs() || len(h.rows()) != 1 {
		t.Errorf("%s, %s, %d records", a.knows(), b.knows(), len(h.rows()))
	}
}

// TestSigners_not_believed: what somebody writes who has the store and not the keys is nobody's key.
func TestSigners_not_believed(t *testing.T) {
	h := newHouse(t)
	h.found()
	h.node(speaks, true, nil).keep()
	h.node(issues, true, nil).keep()
	stranger := newHouse(t)
	stranger.found()
	stranger.node(speaks, true, nil).keep()
	of := func(h *house, what string) store.Record {
		for _, rec := range h.rows() {
			if bytes.HasPrefix(rec.Key, []byte(what)) {
				return rec
			}
		}
		t.Fatal("no record")
		return store.Record{}
	}
	good := of(h, speaks)
	put := func(number string, value []byte) {
		t.Helper()
		if err := h.store.Apply("ca", store.Op{Table: ca.TableSigner, Key: []byte(speaks + "#" + number), Value: value, Expires: good.Expires}); err != nil {
			t.Fatal(err)
		}
	}
	put("000000007", of(stranger, speaks).Value)
	put("000000008", of(h, issues).Value)
	put("000000009", good.Value[:len(good.Value)/2])
	put("nonsense", []byte("nonsense"))
	b := h.node(speaks, true, nil)
	b.keep()
	if len(b.knows()) != 1 {
		t.Errorf("known: %s", b.knows())
	}
	put("000000007", good.Value) // where it does not open, it verifies
	put(string(good.Key[len(speaks)+1:]), nil)
	b = h.node(speaks, true, nil)
	b.keep()
	if known := b.Known(); len(known) != 2 || b.signs() == b.knows()[1] || known[1].Key != nil {
		t.Errorf("a record that was moved: %s, %s signs", b.knows(), b.signs())
	}
}

// TestSigners_other_sealing_key: while one node has a newer sealing key than the other, each verifies what the other signs. What was resealed opens with the new one alone.
func TestSigners_other_sealing_key(t *testing.T) {
	h := newHouse(t)
	h.found()
	a := h.node(speaks, true, nil)
	a.keep()
	old := h.keys
	rotated, err := old.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.keys = rotated.Retire()
	b := h.node(speaks, true, nil)
	if k := b.Named(a.signs()); k != nil {
		t.Fatal("known before it is read")
	}
	if err := b.Keep(); err == nil {
		t.Fatal("an intermediate opens without its key")
	}
	if k := b.Named(a.signs()); k == nil || k.Key != nil {
		t.Errorf("%+v", k)
	}
	h.keys = rotated
	if changed, err := a.Reseal(); err != nil || changed != 2 {
		t.Errorf("%d resealed, %v", changed, err)
	}
	if changed, err := a.Reseal(); err != nil || changed != 0 {
		t.Errorf("once more, %d resealed, %v", changed, err)
	}
	h.keys = rotated.Retire()
	b.keep()
	if b.signs() != a.signs() {
		t.Error("it does not open under the new key")
	}
}
