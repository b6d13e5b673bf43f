package node

import (
	"cmp"
	"slices"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// An S-CSCF on another node knows no shared sets of ours, and may know none at all: it gets the criteria themselves in their place (TS 29.229
// 7.1.1, SiFC). Sets that an operator numbers, and that are not in the register, go as they are: he has given them to that S-CSCF.

// sharedSetsOf returns the criteria of the sets that we know.
type sharedSetsOf func() map[int][]cx.InitialFilterCriteria

// expanded returns a profile with the criteria in the place of our sets; the same one if it has none. Profiles are shared, so it is not changed.
func (known sharedSetsOf) expanded(p *cx.UserProfile) *cx.UserProfile {
	if p == nil {
		return nil
	}
	shared := false
	for i := range p.ServiceProfiles {
		shared = shared || len(p.ServiceProfiles[i].SharedIFCSetIDs) > 0
	}
	if !shared {
		return p
	}
	sets := known()
	out := *p
	out.ServiceProfiles = append([]cx.ServiceProfile(nil), p.ServiceProfiles...)
	for i := range out.ServiceProfiles {
		s := &out.ServiceProfiles[i]
		ids := slices.Sorted(slices.Values(s.SharedIFCSetIDs))
		s.SharedIFCSetIDs, s.Criteria = nil, append([]cx.InitialFilterCriteria(nil), s.Criteria...)
		for _, id := range ids {
			if criteria, ours := sets[id]; ours {
				s.Criteria = append(s.Criteria, criteria...)
			} else {
				s.SharedIFCSetIDs = append(s.SharedIFCSetIDs, id)
			}
		}
		apart(s.Criteria)
	}
	return &out
}

// apart orders criteria by priority, of equal ones those of the older set first, and makes the priorities unique, as they must be in one
// profile (TS 29.228 B.2.2).
func apart(list []cx.InitialFilterCriteria) {
	slices.SortStableFunc(list, func(a, b cx.InitialFilterCriteria) int { return cmp.Compare(a.Priority, b.Priority) })
	for i := 1; i < len(list); i++ {
		list[i].Priority = max(list[i].Priority, list[i-1].Priority+1)
	}
}

// expandingServer is our HSS as S-CSCFs on other nodes see it.
type expandingServer struct {
	cx.Server
	known sharedSetsOf
}

// ServerAssignment implements cx.Server.
func (e *expandingServer) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	a, err := e.Server.ServerAssignment(t, r)
	if a == nil || a.Profile == nil {
		return a, err
	}
	out := *a
	out.Profile = e.known.expanded(a.Profile)
	return &out, err
}

// expandingClient is an S-CSCF on another node as our HSS sees it.
type expandingClient struct {
	cx.Client
	known sharedSetsOf
}

// PushProfile implements cx.Client.
func (e *expandingClient) PushProfile(t *shard.Task, r *cx.PushProfileRequest) (*cx.PushProfileAnswer, error) {
	out := *r
	out.Profile = e.known.expanded(r.Profile)
	return e.Client.PushProfile(t, &out)
}
