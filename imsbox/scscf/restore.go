package scscf

import (
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// What the HSS says of a registration that was read from the store.
type standingAtHSS uint8

const (
	isOver      standingAtHSS = iota // there is none, or another one
	isHere                           // this S-CSCF has the user
	isElsewhere                      // another one has him, and does not answer; this one serves him meanwhile
)

// standingAt asks the HSS whether it still has this S-CSCF, in the same assignment, for a registration that was read from
// the store (TS 29.228 6.1.2: NO_ASSIGNMENT; TS 23.380 4.3). A process may die after the HSS has given a user up and before
// the S-CSCF was told (RTR): what is read then is left over from a registration that has ended, and must not come back with
// the next subscriber of that name. Where the HSS cannot tell, the answer is no for this time.
//
// Where S-CSCFs share a store, the one that is selected in the place of another reads what that has registered. It goes by it and does not keep it: the
// other one may be back in the next moment, and change it.
func (s *SCSCF) standingAt(t *shard.Task, r *registration) standingAtHSS {
	for _, id := range r.identities { // one may have gone since: the next is asked for
		if id.wildcard {
			continue
		}
		answer, err := s.ports.Cx.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: cx.IMPI(r.impi),
			IMPUs: []cx.IMPU{cx.IMPU(id.impu)}, ServerName: s.ServerName(), Type: cx.NoAssignment, UserDataAvailable: true})
		switch {
		case err != nil:
		case answer.Epoch != r.epoch:
			return isOver
		case s.cfg.Shared && answer.ServerName != "":
			return isElsewhere
		default:
			return isHere
		}
	}
	return isOver
}
