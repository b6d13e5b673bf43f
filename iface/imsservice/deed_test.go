package imsservice_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"imsafe/iface/imsservice"
)

// TestRegistry_record: each deed is written down before it takes effect, and what cannot be written down does not happen.
func TestRegistry_record(t *testing.T) {
	h := newHouse(t)
	var deeds []imsservice.Deed
	broken := errors.New("no disk")
	var fails error
	h.record = func(d imsservice.Deed) error {
		if fails == nil {
			deeds = append(deeds, d)
		}
		return fails
	}
	h.open()
	p := h.enrolled(manifest, "a")
	leaf := p.certificate()
	for _, do := range []func(string) error{h.Suspend, h.Resume} {
		if err := do("echo"); err != nil {
			t.Fatal(err)
		}
	}
	fails = broken
	if err := h.Suspend("echo"); !errors.Is(err, broken) || h.standing(leaf) != imsservice.StandingActive {
		t.Errorf("suspended without a record: %v, it stands %q", err, h.standing(leaf))
	}
	if chain, err := h.Certificate(p.csr); !errors.Is(err, broken) || chain != nil {
		t.Errorf("certified without a record: %v", err)
	}
	fails = nil
	h.store.err = broken
	if err := h.Revoke("echo"); err == nil || h.standing(leaf) != imsservice.StandingActive {
		t.Errorf("revoked without the disk: it stands %q", h.standing(leaf))
	}
	var what []string
	for _, d := range deeds {
		what = append(what, d.What)
		if d.Service != "echo" || d.By == "" {
			t.Errorf("%+v", d)
		}
	}
	if want := strings.Fields("requested approved granted suspended resumed revoked undone"); !slices.Equal(what, want) {
		t.Errorf("%v, wants %v", what, want)
	}
}
