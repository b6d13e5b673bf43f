package ca_test

import (
	"crypto/rand"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/store"
	"imsafe/store/seal"
)

// away is a store whose database does not answer while it is held: who waits for it says so, and goes on when it is let go.
type away struct {
	store.Store
	waiting chan struct{}
	release chan struct{}
}

func (a *away) wait() {
	if a.waiting != nil {
		a.waiting <- struct{}{}
		<-a.release
	}
}

func (a *away) Scan(t store.Table, prefix, cursor []byte, limit int) ([]store.Record, []byte, error) {
	a.wait()
	return a.Store.Scan(t, prefix, cursor, limit)
}

func (a *away) Apply(partition string, ops ...store.Op) error {
	a.wait()
	return a.Store.Apply(partition, ops...)
}

// TestSigners_nobody_waits: while whatever of the authority waits for its database, a shard gets a key to sign with, the first one and the next one too,
// and whoever asks hears what is trusted.
func TestSigners_nobody_waits(t *testing.T) {
	for name, does := range map[string]func(h *house, signed []byte) error{
		"Reload":  func(h *house, _ []byte) error { return h.Reload() },
		"Request": func(h *house, _ []byte) error { _, err := h.Request(); return err },
		"Install": func(h *house, signed []byte) error { return h.Install(signed) },
		"Retire":  func(h *house, _ []byte) error { return h.Retire(h.Issuers()[0].SerialNumber.Text(16)) },
		"Reseal":  func(h *house, _ []byte) error { _, err := h.Reseal(); return err },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			if err := h.rotate(); err != nil {
				t.Fatal(err)
			}
			db := &away{Store: h.store}
			var err error
			if h.Authority, err = ca.OpenAuthority(domain, ca.Ports{Store: db, Keys: func() *seal.Keyring { return h.keys }, Random: rand.Reader, Now: h.clock}); err != nil {
				t.Fatal(err)
			}
			request, err := h.Request()
			if err != nil {
				t.Fatal(err)
			}
			signed, err := h.root.Sign(request, 365*24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if h.keys, err = h.keys.Rotate(rand.Reader); err != nil { // there is something to be sealed anew
				t.Fatal(err)
			}
			keys, err := h.Signers(speaks, "cs."+domain, ca.MaxServiceLife, false)
			if err != nil {
				t.Fatal(err)
			}

			db.waiting, db.release = make(chan struct{}), make(chan struct{})
			done := make(chan error, 1)
			go func() { done <- does(h, signed) }()
			<-db.waiting
			first, err := keys.Now() // one that waited would wait for ever
			if err != nil {
				t.Fatal(err)
			}
			h.now = ca.RenewAt(first.Chain[0])
			next, err := keys.Now()
			if err != nil || next == first {
				t.Errorf("%v, %v", next, err)
			}
			if n := len(h.Issuers()); n != 1 {
				t.Errorf("%d intermediates", n)
			}
			if _, err := h.Root(); err != nil {
				t.Error(err)
			}
			go func() { // however often it asks
				for range db.waiting {
				}
			}()
			close(db.release)
			if err := <-done; err != nil {
				t.Errorf("the database is back: %v", err)
			}
			close(db.waiting)
		})
	}
}
