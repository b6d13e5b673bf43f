package scscf

import (
	"slices"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

var _ cx.Client = (*SCSCF)(nil)

// RegistrationTermination implements cx.Client: the HSS ends registrations (TS 29.228 6.1.3, TS 24.229 5.4.1.5).
// The records of the HSS are its own business; ours go here. Naming any identity of an implicit registration set
// ends the set; the other private identities named lose theirs too.
func (s *SCSCF) RegistrationTermination(t *shard.Task, r *cx.RegistrationTerminationRequest) (*cx.RegistrationTerminationAnswer, error) {
	why := eventDeactivated
	if r.Reason == cx.PermanentTermination {
		why = eventRejected // TS 24.229 5.4.1.5: the user shall not come back
	}
	failed := false
	answer := &cx.RegistrationTerminationAnswer{Result: cx.ResultSuccess}
	for _, impi := range append([]cx.IMPI{r.IMPI}, r.AssociatedIdentities...) {
		var kept []cx.IdentityPair
		failed = !insist(t, func() (done bool) {
			kept, done = s.terminate(t, string(impi), r, why)
			return done
		}) || failed
		answer.Emergency = append(answer.Emergency, kept...)
	}
	switch {
	case failed:
		return nil, cx.ErrUnableToComply
	case len(answer.Emergency) > 0:
		answer.Result = cx.ResultLimitedSuccess
	}
	return answer, nil
}

// terminate ends the registration of impi, or the sets of it that the request names, but for what is kept of it for emergency calls, and
// reports whether nothing else of that is left. A registration of a later assignment is another one: the request comes late.
func (s *SCSCF) terminate(t *shard.Task, impi string, r *cx.RegistrationTerminationRequest, why contactEvent) (kept []cx.IdentityPair, done bool) {
	s.digests.forget(impi)
	reg, exists := s.lookup(t, impi)
	if r.Epoch != 0 && reg.epoch > r.Epoch {
		return nil, true
	}
	impus := r.IMPUs
	var sets []uint8
	for _, impu := range impus {
		if set, known := reg.setOf(string(impu)); known {
			sets = append(sets, set)
		}
	}
	if !exists || len(impus) > 0 && len(sets) == 0 {
		return nil, true
	}
	reg.alive(t.Now())
	a := leaving(reg, why, sets...)
	if kept = reg.emergencies(sets...); len(a.change.gone) == 0 && len(kept) > 0 {
		return kept, true
	}
	return kept, s.finish(t, a) == nil
}

// PushProfile implements cx.Client: the HSS replaces a profile (TS 29.228 6.2.2). What counts here is the
// implicit registration set and which of its identities are barred.
func (s *SCSCF) PushProfile(t *shard.Task, r *cx.PushProfileRequest) (*cx.PushProfileAnswer, error) {
	known := false
	done := insist(t, func() bool {
		var reg registration
		if reg, known = s.lookup(t, string(r.IMPI)); !known || r.Profile == nil {
			return true
		}
		a := renewed(reg)
		changed, kept := s.identitiesOf(t, nil, r.Profile, "")
		if !kept {
			return false
		}
		a.replaceSet(reg.setOfAny(changed), changed)
		return s.commit(t, a) == nil
	})
	switch {
	case !known:
		return nil, cx.ErrUserUnknown
	case !done:
		return nil, cx.ErrUnableToComply
	}
	return &cx.PushProfileAnswer{Result: cx.ResultSuccess}, nil
}

// insist makes a change that the HSS has decided, and that holds already there. A REGISTER of the user may be faster: then
// the change looks at the registration again, after a pause in which what was committed comes into memory.
func insist(t *shard.Task, change func() (done bool)) bool {
	const attempts = 6
	for attempt := range attempts {
		if change() {
			return true
		}
		t.AwaitFor(5*time.Millisecond<<attempt, func(shard.Waker) {})
	}
	return false
}

// Expire ends the registration of impi if its time is over, and tells the HSS (TS 24.229 5.4.1.4; TS 29.228
// 6.1.2: TIMEOUT_DEREGISTRATION). Whether it is over is judged on the monotonic clock: the store's sweeper, which
// names candidates by the wall clock, may be wrong.
func (s *SCSCF) Expire(t *shard.Task, impi string) error {
	reg, exists := s.lookup(t, impi)
	if exists && s.cfg.Shared && !s.remembers(impi) { // it was read, and the HSS has the user with another
		return nil
	}
	lapsed := slices.Clone(reg.contacts)
	if !exists || reg.alive(t.Now()) {
		return nil
	}
	a := leaving(reg, eventExpired)
	a.change.gone = lapsed
	var impus []cx.IMPU // one of each set is enough (TS 29.228 6.1.2.1)
	for i, id := range reg.identities {
		if !id.wildcard && !slices.ContainsFunc(reg.identities[:i], func(other identity) bool { return !other.wildcard && other.set == id.set }) {
			impus = append(impus, cx.IMPU(id.impu))
		}
	}
	_, err := s.ports.Cx.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: cx.IMPI(impi), IMPUs: impus,
		ServerName: s.ServerName(), Type: cx.TimeoutDeregistration, Batch: &a.batch})
	if err != nil {
		a.batch.Settle(err) // the HSS has given the user to another: only our own record goes
	}
	if refusal := s.finish(t, a); refusal != nil {
		return cx.ErrUnableToComply
	}
	return nil
}

// leaving is the assignment that removes the bindings of these sets of reg; of all, if none is named. Emergency bindings end by their time
// alone (TS 24.229 5.4.8.4).
func leaving(reg registration, why contactEvent, sets ...uint8) *assignment {
	a := renewed(reg)
	a.change.why, a.contacts = why, nil
	for _, c := range reg.contacts {
		if (len(sets) == 0 || slices.Contains(sets, c.set)) && (why == eventExpired || !c.emergency()) {
			a.change.gone = append(a.change.gone, c)
		} else {
			a.contacts = append(a.contacts, c)
		}
	}
	a.dropped = a.change.gone
	return a
}

// setOfAny returns the set that one of the identities belongs to; the first set if none is known.
func (r *registration) setOfAny(identities []identity) uint8 {
	for _, id := range identities {
		if set, known := r.setOf(id.impu); known {
			return set
		}
	}
	return 0
}

// finish commits the end of a registration and then tells its watchers and its edges. Nobody waits for them: one that does not
// answer must not hold up the HSS.
func (s *SCSCF) finish(t *shard.Task, a *assignment) *refusal {
	refusal := s.commit(t, a)
	if refusal == nil {
		s.tellLater(t, a, nil)
		s.tellPlatforms(t, a, a.emptied(), cx.Deregistration, nil)
	}
	return refusal
}

// emptied are the sets that have lost their last binding.
func (a *assignment) emptied() (sets []uint8) {
	for _, c := range a.change.gone {
		if len(a.bound(c.set)) == 0 && !slices.Contains(sets, c.set) {
			sets = append(sets, c.set)
		}
	}
	return sets
}

func (r *registration) has(impu cx.IMPU) bool {
	return slices.ContainsFunc(r.identities, func(id identity) bool { return id.impu == string(impu) })
}
