package hss

import (
	"fmt"
	"slices"
	"testing"

	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
)

// Where a service asks for it, only who has agreed has its criteria: at once, over a crash, until he does not agree any more or is removed.
func TestConsent(t *testing.T) {
	h := owing(t)
	h.scscf.name = scscfName
	told := func(err error) []int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		_, push := h.scscf.take()
		return setsOf(t, push)
	}
	agrees := func(yes bool) error { return h.Consent(background, string(aliceIMPU), "voicemail", yes) }
	if got := told(h.Share(background, SharedSet{Number: 1000, All: true, Consent: "voicemail"})); len(got) != 0 {
		t.Errorf("who has not agreed has %v", got)
	}
	if got := told(agrees(true)); !slices.Equal(got, []int{1000}) {
		t.Errorf("who agrees has %v", got)
	}
	if err := agrees(true); err != nil {
		t.Error(err)
	}
	if _, again := h.scscf.take(); len(again) > 0 {
		t.Error("the same again is told again")
	}
	if sharing, err := h.Sharing(background, 1000); err != nil || sharing.Consent != "voicemail" {
		t.Errorf("%+v, %v", sharing, err)
	}
	h.crash()
	h.register()
	if _, _, p, err := h.ServiceProfileOf(string(aliceIMPU)); err != nil || !slices.Equal(p.SharedIFCSetIDs, []int{1000}) {
		t.Errorf("after a crash: %+v, %v", p, err)
	}
	if got := told(agrees(false)); len(got) != 0 {
		t.Errorf("who does not agree any more has %v", got)
	}
	told(agrees(true))
	id := "alice@ims.example"
	if v, err := h.Show(string(aliceIMPU)); err != nil || !slices.Equal(v.Agreed, []string{"voicemail"}) {
		t.Fatalf("shown: %+v, %v", v, err)
	} else {
		id = v.ID
	}
	if err := h.Remove(background, id); err != nil {
		t.Fatal(err)
	}
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	if agreed, err := h.Consents(id); err != nil || len(agreed) > 0 {
		t.Errorf("the next of that name has agreed to %v, %v", agreed, err)
	}
	h.wantMistake("no name of a service", h.Consent(background, id, "Voice Mail", true), "service")
	for i := range maxConsents {
		if err := h.Consent(background, id, fmt.Sprintf("s%d", i), true); err != nil {
			t.Fatal(err)
		}
	}
	h.wantMistake("too many", h.Consent(background, id, "one-more", true), "service")
}

// A grant that asks for it is for those alone who have agreed to that service, also among everybody.
func TestConsent_sh(t *testing.T) {
	p := NewPermissions(newHouse(t).clock)
	grant := Grant{Data: []sh.DataReference{sh.RefMSISDN}, Ops: sh.Pull, Everybody: true, Consent: true, PerSecond: 100, Burst: 100}
	if err := p.Set("s", grant); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		agreed []string
		want   sh.Verdict
	}{{nil, sh.Outside}, {[]string{"other"}, sh.Outside}, {[]string{"other", "s"}, sh.Allowed}} {
		if got := p.Allow("s", sh.Key{Reference: sh.RefMSISDN}, sh.Pull, sh.User{IMPU: cx.IMPU(aliceIMPU), Group: "g", Agreed: c.agreed}); got != c.want {
			t.Errorf("agreed to %v: %v, want %v", c.agreed, got, c.want)
		}
	}
}
