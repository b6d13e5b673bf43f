package hss

import (
	"slices"
	"testing"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// setsOf are the shared sets that the last profile told carries, in each of its service profiles.
func setsOf(t *testing.T, told []cx.PushProfileRequest) []int {
	t.Helper()
	if len(told) == 0 {
		t.Fatal("the S-CSCF was not told")
	}
	sets := told[len(told)-1].Profile.ServiceProfiles[0].SharedIFCSetIDs
	for _, p := range told[len(told)-1].Profile.ServiceProfiles {
		if !slices.Equal(p.SharedIFCSetIDs, sets) {
			t.Errorf("not all of the same: %v, %v", p.SharedIFCSetIDs, sets)
		}
	}
	return sets
}

func TestShare(t *testing.T) {
	h := owing(t)
	h.scscf.name = scscfName
	share := func(s SharedSet) []cx.PushProfileRequest {
		t.Helper()
		if err := h.Share(background, s); err != nil {
			t.Fatal(err)
		}
		_, told := h.scscf.take()
		return told
	}
	if got := setsOf(t, share(SharedSet{Number: 1000, Groups: []string{"staff", "guests"}})); !slices.Equal(got, []int{1000}) {
		t.Errorf("the group has %v", got)
	}
	if got := setsOf(t, share(SharedSet{Number: 1001, All: true})); !slices.Equal(got, []int{1000, 1001}) {
		t.Errorf("with that of everybody: %v", got)
	}
	if told := share(SharedSet{Number: 1002, Groups: []string{"guests"}}); len(told) > 0 {
		t.Errorf("told of another group's: %+v", told)
	}
	first := share(SharedSet{Number: 1000, Groups: []string{"staff"}})
	second := share(SharedSet{Number: 1000, Groups: []string{"staff"}})
	if len(first) == 0 || len(second) == 0 || first[0].ProfileVersion == second[0].ProfileVersion {
		t.Error("the same set again, with other criteria perhaps, is no new profile")
	}
	h.crash()
	h.register()
	if got := setsOf(t, share(SharedSet{Number: 1001})); !slices.Equal(got, []int{1000}) {
		t.Errorf("after it was taken from everybody: %v", got)
	}
	if got := setsOf(t, share(SharedSet{Number: 1000})); len(got) > 0 {
		t.Errorf("after all were taken: %v", got)
	}
	if profile, err := h.Profile("gold"); err != nil || len(profile.SharedIFCSetIDs) > 0 {
		t.Errorf("the operator's profile was touched: %+v, %v", profile, err)
	}
	h.wantMistake("no name of a group", h.Share(background, SharedSet{Number: 1, Groups: []string{"*"}}), "groups")
}

// TestShare_unregistered lets a service answer for a user who is not registered.
func TestShare_unregistered(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	locate := func() cx.Result {
		var result cx.Result
		h.run(func(task *shard.Task) {
			a, err := h.LocationInfo(task, &cx.LocationInfoRequest{IMPU: aliceIMPU})
			if result = cx.ResultOf(err); err == nil {
				result = a.Result
			}
		})
		return result
	}
	if got := locate(); got != cx.ResultIdentityNotRegistered {
		t.Fatalf("before: %v", got)
	}
	for _, unregistered := range []bool{true, false} {
		if err := h.Share(background, SharedSet{Number: 1000, Groups: []string{defaultGroup}, Unregistered: unregistered}); err != nil {
			t.Fatal(err)
		}
		if got := locate(); (got == cx.ResultUnregisteredService) != unregistered {
			t.Errorf("set for unregistered users %v: %v", unregistered, got)
		}
	}
}
