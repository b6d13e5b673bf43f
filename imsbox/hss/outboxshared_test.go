package hss

import (
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/store"
)

const (
	secondName = "sip:scscf.b." + cxtest.Home
	secondIMPI = cx.IMPI("001010000000002@" + cxtest.Home)
	secondIMPU = cx.IMPU("sip:bob@" + cxtest.Home)
)

// together are the HSSs of two nodes on one store, each with an S-CSCF of its own: alice is at that of the first, bob at that of the other.
func together(t *testing.T) (one, other *house) {
	one = newHouse(t)
	one.cfg.Shared = true
	one.scscf.name = scscfName
	other = &house{t: t, cfg: one.cfg, db: one.db, keys: one.keys, clock: one.clock, gate: one.gate, shard: one.shard, scscf: &fakeSCSCF{name: secondName}}
	other.ports = one.ports
	other.ports.Push = func(name string) cx.Client {
		if name == secondName {
			return other.scscf
		}
		return nil
	}
	for _, h := range []*house{one, other} {
		var err error
		if h.HSS, err = New(h.cfg, h.ports); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.PutProfile(background, "gold", voicemail()); err != nil {
		t.Fatal(err)
	}
	if err := one.PutGroup(background, &Group{Name: "staff", Profile: "gold"}); err != nil {
		t.Fatal(err)
	}
	alice, bob := subscriber(), subscriber()
	bob.IMPI, bob.Public = string(secondIMPI), []Public{{IMPU: string(secondIMPU)}}
	alice.Group, bob.Group = "staff", "staff"
	for _, s := range []*Subscriber{alice, bob} {
		if err := one.Add(background, s); err != nil {
			t.Fatal(err)
		}
	}
	one.register()
	other.run(func(task *shard.Task) {
		_, err := other.MultimediaAuth(task, &cx.MultimediaAuthRequest{IMPI: secondIMPI, IMPU: secondIMPU, ServerName: secondName, Scheme: cx.SchemeDigestAKA, Items: 1})
		if err == nil {
			_, err = other.ServerAssignment(task, &cx.ServerAssignmentRequest{IMPI: secondIMPI, IMPUs: []cx.IMPU{secondIMPU}, ServerName: secondName, Type: cx.AssignRegistration})
		}
		if err != nil {
			t.Error(err)
		}
	})
	return one, other
}

// letters is how many letters there are.
func (h *house) letters() int {
	h.t.Helper()
	page, _, err := h.db.Scan(TableOutbox, nil, nil, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(page)
}

// looks delivers what the node can, and wants it to say that nothing is left for it.
func (h *house) looks() {
	h.t.Helper()
	if left, err := h.Deliver(background); left != 0 || err != nil {
		h.t.Errorf("%d letters left, %v", left, err)
	}
}

// hears wants the S-CSCF to have been told of one user's profile, and no more.
func (h *house) hears(what string, of cx.IMPI) {
	h.t.Helper()
	ended, told := h.scscf.take()
	if of == "" && len(told)+len(ended) > 0 || of != "" && (len(told) != 1 || told[0].IMPI != of) {
		h.t.Errorf("%s: told %+v, ended %+v; want %q", what, told, ended, of)
	}
}

// A change for many reaches those of both nodes, each told by his own; then nothing is owed.
func TestOutbox_of_two_nodes(t *testing.T) {
	for what, change := range map[string]func(h *house) error{
		"a profile": func(h *house) error {
			return h.PutProfile(background, "gold", &cx.ServiceProfile{SubscribedMediaProfile: 3})
		},
		"a group":      func(h *house) error { return h.PutGroup(background, &Group{Name: "staff"}) },
		"a shared set": func(h *house) error { return h.Share(background, SharedSet{Number: 1, All: true}) },
	} {
		t.Run(what, func(t *testing.T) {
			one, other := together(t)
			if err := change(one); err != nil {
				t.Errorf("the operator hears %v", err)
			}
			one.hears("the S-CSCF of the node where it was changed", aliceIMPI)
			other.hears("the other, before its node looks", "")
			one.looks() // nothing that it could deliver, and nobody is told twice
			one.hears("again", "")
			other.looks()
			other.hears("the other", secondIMPI)
			one.hears("again", "")
			if n := one.letters(); n != 0 {
				t.Errorf("%d letters are left", n)
			}
		})
	}
}

// Both nodes may deliver the same letter at once: whatever the order, each user is told, and nothing stays.
func TestOutbox_of_two_nodes_at_once(t *testing.T) {
	one, other := together(t)
	late := one.ports
	late.Push = nil // it dies with the commit: nobody was told
	dead, err := New(one.cfg, late)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.PutGroup(background, &Group{Name: "staff"}); err != nil {
		t.Fatal(err)
	}
	page, _, err := one.db.Scan(TableOutbox, nil, nil, 2)
	if err != nil || len(page) != 1 {
		t.Fatalf("%d letters, %v", len(page), err)
	}
	for _, h := range []*house{one, other} { // both have read the letter before one has divided it
		if _, err := h.deliverLate(background, store.Record{Key: page[0].Key, Value: page[0].Value, Version: page[0].Version}); err != nil {
			t.Error(err)
		}
	}
	one.hears("the first", aliceIMPI)
	other.hears("the second", secondIMPI)
	one.looks()
	other.looks()
	if n := one.letters(); n != 0 {
		t.Errorf("%d letters are left", n)
	}
}

// What is owed to one user of the other node is for that node, and the letter to a node that does not come back ends.
func TestOutbox_of_another_node(t *testing.T) {
	one, other := together(t)
	bob := subscriber()
	bob.IMPI, bob.Public, bob.Group, bob.K, bob.OPc = string(secondIMPI), []Public{{IMPU: string(secondIMPU), DisplayName: "Bob"}}, "staff", "", ""
	if err := one.Update(background, bob); err != nil {
		t.Errorf("the operator hears %v", err)
	}
	one.looks()
	one.hears("who does not serve him", "")
	other.looks()
	other.hears("who serves him", secondIMPI)
	if err := one.PutGroup(background, &Group{Name: "staff"}); err != nil {
		t.Error(err)
	}
	one.clock.move(letterLife + time.Minute)
	one.looks()
	if n := one.letters(); n != 0 {
		t.Errorf("%d letters to a node that is gone", n)
	}
}
