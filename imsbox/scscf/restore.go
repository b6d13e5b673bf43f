package scscf

import (
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// confirmed reports whether the HSS still has this S-CSCF, in the same assignment, for a registration that was read from
// the store (TS 29.228 6.1.2: NO_ASSIGNMENT; TS 23.380 4.3). A process may die after the HSS has given a user up and before
// the S-CSCF was told (RTR): what is read then is left over from a registration that has ended, and must not come back with
// the next subscriber of that name. Where the HSS cannot tell, the answer is no for this time.
func (s *SCSCF) confirmed(t *shard.Task, r *registration) bool {
	for _, id := range r.identities { // one may have gone since: the next is asked for
		if id.wildcard {
			continue
		}
		answer, err := s.ports.Cx.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: cx.IMPI(r.impi),
			IMPUs: []cx.IMPU{cx.IMPU(id.impu)}, ServerName: s.ServerName(), Type: cx.NoAssignment, UserDataAvailable: true})
		if err == nil {
			return answer.Epoch == r.epoch
		}
	}
	return false
}
