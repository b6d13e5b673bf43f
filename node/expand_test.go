package node

import (
	"reflect"
	"testing"

	"imsafe/refpoint/cx"
)

// TestExpanded writes our sets out and leaves the operator's; the profile that others share stays as it was.
func TestExpanded(t *testing.T) {
	one, two := cx.InitialFilterCriteria{Priority: 50}, cx.InitialFilterCriteria{Priority: 50}
	after := cx.InitialFilterCriteria{Priority: 51}
	known := sharedSetsOf(func() map[int][]cx.InitialFilterCriteria {
		return map[int][]cx.InitialFilterCriteria{1000: {two}, 1001: nil}
	})
	own := make([]cx.InitialFilterCriteria, 1, 4)
	own[0] = one
	p := &cx.UserProfile{IMPI: "a@ims.example", ServiceProfiles: []cx.ServiceProfile{
		{Criteria: own, SharedIFCSetIDs: []int{7, 1000, 1001}}, {SharedIFCSetIDs: []int{1000}}, {Criteria: own},
	}}
	want := []cx.ServiceProfile{
		{Criteria: []cx.InitialFilterCriteria{one, after}, SharedIFCSetIDs: []int{7}}, {Criteria: []cx.InitialFilterCriteria{two}}, {Criteria: []cx.InitialFilterCriteria{one}},
	}
	if got := known.expanded(p); !reflect.DeepEqual(got.ServiceProfiles, want) {
		t.Errorf("%+v, want %+v", got.ServiceProfiles, want)
	}
	if !reflect.DeepEqual(p.ServiceProfiles[0].SharedIFCSetIDs, []int{7, 1000, 1001}) || own[:2][1].Priority != 0 {
		t.Error("the shared profile was changed")
	}
	plain := &cx.UserProfile{ServiceProfiles: []cx.ServiceProfile{{Criteria: own}}}
	if known.expanded(plain) != plain || known.expanded(nil) != nil {
		t.Error("a profile without sets is copied")
	}
}
