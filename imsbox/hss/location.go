package hss

import (
	"errors"
	"slices"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/secure"
)

// pair is a private and a public identity of a request, resolved.
type pair struct {
	owner *user // of the private identity and its keys
	card  int   // index of the private identity in owner

	// user has the public identity. It is owner, unless the lab switched the check off: then the private
	// identity counts as the first of that user.
	user    *user
	private int
	set     int
	id      *identity
}

// purpose is what a pair of identities is looked up for.
type purpose bool

const (
	toRegister purpose = true // by these very identities
	toServe    purpose = false
)

// resolve finds both identities and checks that they belong together (TS 29.228 6.1.1.1 steps 1 to 3,
// 6.1.2.1 steps 1 and 2, 6.3.1 steps 1 to 3): the one place where a user is kept from registering the
// identity of another. Nobody registers a service, and a range only together with the distinct identities of its set (TS 23.228 5.2.1a).
func (h *HSS) resolve(t *shard.Task, impi cx.IMPI, impu cx.IMPU, why purpose) (pair, error) {
	owner, i, err := h.byPrivate(t, impi)
	if err != nil {
		return pair{}, err
	}
	other := owner
	set, id := owner.findPublic(impu)
	if id == nil {
		if other, set, id, err = h.byPublic(t, impu); err != nil {
			return pair{}, err
		}
	}
	if why == toRegister && (id.wildcard() || other.service != nil) {
		return pair{}, cx.ErrUserUnknown
	}
	if other == owner {
		return pair{owner, i, owner, i, set, id}, nil
	}
	if h.ports.Gate.Refuse(secure.CIAuthorizationIMPUOwner, secure.Event{Reason: "identities-dont-match", Subject: string(impi)}) {
		return pair{}, cx.ErrIdentitiesDontMatch
	}
	return pair{owner, i, other, 0, set, id}, nil
}

// UserAuthorization answers UAR; see cx.Server. The steps are those of TS 29.228 6.1.1.1.
func (h *HSS) UserAuthorization(t *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	answer, err := h.authorizeUser(t, r)
	h.counts.note(opUserAuthorization, err)
	return answer, err
}

func (h *HSS) authorizeUser(t *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	p, err := h.resolve(t, r.IMPI, r.IMPU, toRegister) // 1, 2, 3
	if err != nil {
		return nil, err
	}
	if p.id.barred && !r.Emergency && !p.user.hasUnbarred(p.set) { // 4
		return nil, cx.ErrAuthorizationRejected
	}
	group, err := h.groupOf(t, p.user)
	if err != nil {
		return nil, err
	}
	if r.Type != cx.DeRegistration && !r.Emergency && !h.mayRoam(group, r.VisitedNetworkID) { // 5
		return nil, cx.ErrRoamingNotAllowed
	}
	if r.Type == cx.RegistrationAndCapabilities {
		p.user.setReassign()
		return &cx.UserAuthorizationAnswer{Result: cx.ResultSuccess, Capabilities: group.Capabilities}, nil
	}
	a, err := h.current(t, p.user)
	if err != nil {
		return nil, err
	}
	return h.whereToRegister(t, &p, a, group, r.Type) // 6
}

// whereToRegister is step 6 of TS 29.228 6.1.1.1.
func (h *HSS) whereToRegister(t *shard.Task, p *pair, a *assignment, group *Group,
	kind cx.UserAuthorizationType) (*cx.UserAuthorizationAnswer, error) {
	assigned := a.server
	authenticating, isPending := p.user.authenticating(p.set, p.private, t.Now())
	if authenticating != "" {
		assigned = authenticating
	}
	leaving := kind == cx.DeRegistration
	switch {
	case a.sets[p.set].state != notRegistered && leaving:
		return &cx.UserAuthorizationAnswer{Result: cx.ResultSuccess, ServerName: assigned}, nil
	case leaving && isPending:
		return &cx.UserAuthorizationAnswer{Result: cx.ResultSuccess, ServerName: assigned}, nil
	case leaving:
		return nil, cx.ErrIdentityNotRegistered
	case assigned != "":
		return &cx.UserAuthorizationAnswer{Result: cx.ResultSubsequentRegistration, ServerName: assigned}, nil
	}
	return &cx.UserAuthorizationAnswer{Result: cx.ResultFirstRegistration, Capabilities: group.Capabilities}, nil
}

// mayRoam says whether a visited network may be used. The P-CSCF of the same process says nothing about where
// it is: that is at home.
func (h *HSS) mayRoam(g *Group, visited string) bool {
	return visited == "" || slices.Contains(h.cfg.HomeDomains, visited) ||
		slices.Contains(h.cfg.VisitedNetworks, visited) || slices.Contains(g.VisitedNetworks, visited)
}

// hasUnbarred says whether a set has an identity that may have sessions.
func (u *user) hasUnbarred(set int) bool {
	found := false
	u.each(func(i int, id *identity) { found = found || i == set && !id.barred })
	return found
}

// LocationInfo answers LIR; see cx.Server. The steps are those of TS 29.228 6.1.4.1.
func (h *HSS) LocationInfo(t *shard.Task, r *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	answer, err := h.locate(t, r)
	h.counts.note(opLocationInfo, err)
	return answer, err
}

// byActive is byPublic, but for public service identities that were switched off: those nobody finds (TS 29.228 6.1.4.1, TS 29.328 7.6.10).
func (h *HSS) byActive(t *shard.Task, impu cx.IMPU) (*user, int, *identity, error) {
	u, set, id, err := h.byPublic(t, impu)
	if err != nil || u.service == nil {
		return u, set, id, err
	}
	a, err := h.activationOf(t, u)
	switch {
	case err != nil:
		return nil, 0, nil, cx.ErrUnableToComply
	case slices.Contains(a.inactive, id.impu):
		return nil, 0, nil, cx.ErrUserUnknown
	}
	return u, set, id, nil
}

func (h *HSS) locate(t *shard.Task, r *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	u, set, id, err := h.byActive(t, r.IMPU) // 1
	if err != nil {
		return nil, err
	}
	if s := u.service; s != nil && s.Server != "" { // 2: its application server is asked directly (TS 23.228 5.7.6)
		return &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: s.Server, PSIDirectRouting: true, WildcardedIMPU: rangeOf(id)}, nil
	}
	answer, err := h.whereServed(t, r, u, set)
	if err == nil {
		answer.WildcardedIMPU = rangeOf(id)
	}
	return answer, err
}

// whereServed is what follows for an identity that an S-CSCF serves.
func (h *HSS) whereServed(t *shard.Task, r *cx.LocationInfoRequest, u *user, set int) (*cx.LocationInfoAnswer, error) {
	if r.Type == cx.RegistrationAndCapabilities { // 2a
		group, err := h.groupOf(t, u)
		if err != nil {
			return nil, err
		}
		u.setReassign()
		return &cx.LocationInfoAnswer{Result: cx.ResultSuccess, Capabilities: group.Capabilities}, nil
	}
	a, err := h.current(t, u)
	if err != nil {
		return nil, err
	}
	if a.sets[set].state != notRegistered { // 3
		return &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: a.server}, nil
	}
	served := r.Originating
	if !served {
		c, err := h.profileOf(t, u, set, 0)
		if err != nil {
			return nil, err
		}
		served = c.servesUnregistered
	}
	switch {
	case !served:
		return nil, cx.ErrIdentityNotRegistered
	case a.server != "":
		return &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: a.server}, nil
	}
	group, err := h.groupOf(t, u)
	if err != nil {
		return nil, err
	}
	return &cx.LocationInfoAnswer{Result: cx.ResultUnregisteredService, Capabilities: group.Capabilities}, nil
}

// sameServer compares S-CSCF names by the rules for SIP URIs (TS 29.228 6, RFC 3261 19.1.4).
func sameServer(a, b string) bool {
	if a == b {
		return true
	}
	ua, errA := sip.ParseURI([]byte(a))
	ub, errB := sip.ParseURI([]byte(b))
	return errors.Join(errA, errB) == nil && ua.Equal(&ub)
}
