package hss

import (
	"errors"
	"slices"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// ServerAssignment answers SAR; see cx.Server. The steps are those of TS 29.228 6.1.2.1.
//
// With a Batch the change is added to it and nothing is durable yet: the answer then holds if the
// S-CSCF's commit does. Without one the change is durable before the answer.
func (h *HSS) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	answer, err := h.assign(t, r)
	h.counts.note(opServerAssignment, err)
	return answer, err
}

func (h *HSS) assign(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	if r.ServerName == "" {
		return nil, cx.ErrMissingAVP
	}
	for attempt := range attempts {
		pause(t, attempt)
		x := exchange{h: h, t: t, r: r}
		err := x.resolve()
		if err == nil {
			err = x.decide()
		}
		if err == nil {
			err = x.commit()
		}
		if errors.Is(err, store.ErrConflict) {
			continue // somebody else changed the assignment since we read it: look again
		}
		return x.answer, err
	}
	return nil, h.unable("assign", store.ErrConflict)
}

// exchange is one SAR in the making.
type exchange struct {
	h *HSS
	t *shard.Task
	r *cx.ServerAssignmentRequest

	user    *user
	private int       // index in user, -1 if the request names none
	by      uint64    // its bit in the state of a set
	set     int       // of the only public identity, -1 if there is none
	found   *identity // that one; nil if there is none
	sets    []int     // of all public identities in the request
	one     [1]int    // room for them

	old     *assignment
	now     *assignment // what it becomes; nil: no change
	answer  *cx.ServerAssignmentAnswer
	settled bool      // pending flags are to be cleared
	owed    []*letter // to application servers that want to know
}

// resolve finds the identities: steps 1 to 4. What the request says of a wildcard (Wildcarded-Public-Identity) only saves a search,
// and is not needed here.
func (x *exchange) resolve() error {
	r := x.r
	x.private, x.set, x.sets = -1, -1, x.one[:0]
	switch {
	case len(r.IMPUs) == 0 && r.IMPI == "":
		return cx.ErrMissingAVP
	case len(r.IMPUs) == 0 && !r.Type.Deregisters():
		return cx.ErrMissingAVP
	case len(r.IMPUs) > 1 && !r.Type.Deregisters():
		return cx.ErrAVPOccursTooManyTimes
	case r.IMPI == "" && r.Type != cx.UnregisteredUser && r.Type != cx.NoAssignment && !r.Type.Deregisters():
		return cx.ErrMissingAVP
	}
	for i, impu := range r.IMPUs {
		p, err := x.pair(impu)
		if err != nil {
			return err
		}
		if i > 0 && p.user != x.user {
			return cx.ErrIdentitiesDontMatch
		}
		x.user, x.set, x.found = p.user, p.set, p.id
		if r.IMPI != "" {
			x.private, x.by = p.private, 1<<p.private
		}
		if !slices.Contains(x.sets, p.set) {
			x.sets = append(x.sets, p.set)
		}
	}
	if x.user == nil { // a de-registration of all that the private identity has
		u, i, err := x.h.byPrivate(x.t, r.IMPI)
		if err != nil {
			return err
		}
		x.user, x.private, x.by = u, i, 1<<i
		for set := range u.sets {
			x.sets = append(x.sets, set)
		}
	}
	var err error
	if x.old, err = x.h.current(x.t, x.user); err != nil {
		return err
	}
	// The subscription was read before the assignment, and reading may have waited: one that was removed meanwhile has left an assignment
	// that nothing would conflict with.
	return x.h.stands(x.t, x.user)
}

// pair resolves one public identity, with the private one if the request has it.
func (x *exchange) pair(impu cx.IMPU) (pair, error) {
	if x.r.IMPI != "" {
		registers := x.r.Type == cx.AssignRegistration || x.r.Type == cx.AssignReRegistration
		return x.h.resolve(x.t, x.r.IMPI, impu, purpose(registers))
	}
	u, set, id, err := x.h.byActive(x.t, impu)
	return pair{user: u, set: set, id: id}, err
}

// decide is step 5.
func (x *exchange) decide() error {
	switch t := x.r.Type; {
	case t == cx.AssignRegistration || t == cx.AssignReRegistration:
		return x.register()
	case t == cx.UnregisteredUser:
		return x.serveUnregistered()
	case t.Deregisters():
		return x.deregister()
	case t == cx.NoAssignment:
		return x.fetch()
	case t == cx.AuthenticationFailure || t == cx.AuthenticationTimeout:
		return x.authenticationFailed()
	}
	return cx.ErrInvalidAVPValue // SWx only
}

// owned checks that the asking S-CSCF may have the user: nobody has it, it has it already, it is the one that
// is authenticating it, or the reassignment flag allows a new one. Otherwise the answer names the owner.
func (x *exchange) owned() error {
	assigned := x.old.server
	if assigned == "" || sameServer(assigned, x.r.ServerName) {
		return nil
	}
	if s, _ := x.user.authenticating(x.set, x.private, x.t.Now()); s != "" && sameServer(s, x.r.ServerName) {
		return nil
	}
	if x.user.takeReassign(false) {
		return nil
	}
	x.answer = &cx.ServerAssignmentAnswer{Result: cx.ResultIdentityAlreadyRegistered, ServerName: assigned}
	return cx.ErrIdentityAlreadyRegistered
}

// edit returns the assignment to change, and gives it to the asking S-CSCF if it had another or none.
func (x *exchange) edit(server string) *assignment {
	if x.now == nil {
		a := *x.old
		a.sets, a.restore = slices.Clone(a.sets), slices.Clone(a.restore)
		x.now = &a
	}
	if !sameServer(x.now.server, server) {
		x.now.epoch++
		x.now.server = server
	}
	return x.now
}

// register is REGISTRATION and RE_REGISTRATION.
func (x *exchange) register() error {
	if err := x.owned(); err != nil {
		return err
	}
	s := x.old.sets[x.set]
	if x.r.Type == cx.AssignRegistration && x.r.MultipleRegistration && s.state == registered {
		if kept := x.restorations(x.private); len(kept) > 0 {
			x.answer = &cx.ServerAssignmentAnswer{Result: cx.ResultInAssignmentType, Restoration: kept}
			return cx.ErrInAssignmentType
		}
	}
	if s.state != registered || s.by&x.by == 0 || !sameServer(x.old.server, x.r.ServerName) {
		a := x.edit(x.r.ServerName)
		a.sets[x.set] = setState{registered, s.by | x.by}
		if s.state != registered {
			a.sets[x.set].by = x.by
		}
	}
	if x.r.Restoration != nil {
		a := x.edit(x.r.ServerName)
		x.dropRestoration(a, x.private)
		a.restore = append(a.restore, restoration{x.set, *x.r.Restoration})
	}
	x.settled = true
	return x.download(cx.ResultSuccess)
}

// serveUnregistered is UNREGISTERED_USER: services for a user who is not there.
func (x *exchange) serveUnregistered() error {
	if err := x.owned(); err != nil {
		return err
	}
	switch s := x.old.sets[x.set]; {
	case s.state == registered && len(x.restorations(-1)) > 0:
		x.answer = &cx.ServerAssignmentAnswer{Result: cx.ResultInAssignmentType, Restoration: x.restorations(-1), WildcardedIMPU: rangeOf(x.found)}
		return cx.ErrInAssignmentType
	case s.state != unregistered || !sameServer(x.old.server, x.r.ServerName):
		x.edit(x.r.ServerName).sets[x.set] = setState{state: unregistered}
	}
	return x.download(cx.ResultSuccess)
}

// deregister is every way of giving a registration up.
func (x *exchange) deregister() error {
	if x.old.server != "" && !sameServer(x.old.server, x.r.ServerName) {
		return cx.ErrUnableToComply // TS 29.228 8.1.2: only the owner gives up
	}
	keep, result := false, cx.ResultSuccess
	if t := x.r.Type; t == cx.TimeoutDeregistrationStoreServerName || t == cx.UserDeregistrationStoreServerName {
		if keep = x.h.cfg.KeepServerName; !keep {
			result = cx.ResultSuccessServerNameNotStored
		}
	}
	for _, set := range x.sets {
		s := x.old.sets[set]
		if x.private < 0 && s.by&(s.by-1) != 0 {
			return cx.ErrMissingAVP // registered with several private identities: which?
		}
		if s.state == notRegistered || x.private >= 0 && s.state == registered && s.by&x.by == 0 {
			continue
		}
		a := x.edit(x.old.server)
		if rest := s.by &^ x.by; s.state == registered && x.private >= 0 && rest != 0 {
			a.sets[set].by = rest // others keep it registered
			continue
		}
		a.sets[set] = setState{}
		if keep {
			a.sets[set].state = unregistered
		}
	}
	if x.now != nil {
		x.dropRestoration(x.now, x.private)
		x.releaseServer()
	}
	x.settled = true
	return x.respond(result)
}

// releaseServer clears the S-CSCF's name when no set needs it any more.
func (x *exchange) releaseServer() {
	for _, s := range x.now.sets {
		if s.state != notRegistered {
			return
		}
	}
	x.now.server, x.now.restore = "", nil
}

// fetch is NO_ASSIGNMENT: the profile for the S-CSCF that has the user, or takes it over.
func (x *exchange) fetch() error {
	if x.old.server == "" || !sameServer(x.old.server, x.r.ServerName) {
		if !x.user.takeReassign(false) {
			return cx.ErrUnableToComply
		}
	}
	if err := x.download(cx.ResultSuccess); err != nil {
		return err
	}
	x.answer.Restoration = x.restorations(-1)
	if !sameServer(x.old.server, x.r.ServerName) {
		x.answer.ServerName = x.old.server
	}
	return nil
}

// authenticationFailed is AUTHENTICATION_FAILURE and _TIMEOUT: a registration that stands is kept
// (TS 33.203 6.1.1).
func (x *exchange) authenticationFailed() error {
	x.settled = true
	return x.respond(cx.ResultSuccess)
}

// restorations returns what is stored for the set, of one private identity or of all.
func (x *exchange) restorations(private int) []cx.RestorationInfo {
	var all []cx.RestorationInfo
	for _, r := range x.old.restore {
		if r.set == x.set && (private < 0 || string(r.info.IMPI) == x.user.privates[private].impi) {
			all = append(all, r.info)
		}
	}
	return all
}

// dropRestoration removes what is stored for the sets of the request.
func (x *exchange) dropRestoration(a *assignment, private int) {
	a.restore = slices.DeleteFunc(a.restore, func(r restoration) bool {
		return slices.Contains(x.sets, r.set) && (private < 0 || string(r.info.IMPI) == x.user.privates[private].impi)
	})
}

// respond makes an answer without a profile.
func (x *exchange) respond(result cx.Result) error {
	x.answer = &cx.ServerAssignmentAnswer{Result: result, IMPI: x.r.IMPI}
	if x.r.IMPI == "" {
		x.answer.IMPI = cx.IMPI(x.user.privates[0].impi) // any of them (TS 29.228 6.1.2.1)
	}
	if len(x.user.privates) > 1 {
		for i := range x.user.privates {
			x.answer.AssociatedIdentities = append(x.answer.AssociatedIdentities, cx.IMPI(x.user.privates[i].impi))
		}
	}
	x.answer.Epoch = x.old.epoch
	if x.now != nil {
		x.answer.Epoch = x.now.epoch
	}
	return nil
}

// download makes an answer with the profile of the set (TS 29.228 6.5.1.4, 6.6).
func (x *exchange) download(result cx.Result) error {
	c, err := x.h.profileOf(x.t, x.user, x.set, max(x.private, 0))
	if err != nil {
		return err
	}
	if err := x.respond(result); err != nil {
		return err
	}
	x.answer.ProfileVersion, x.answer.WildcardedIMPU = c.version, rangeOf(x.found)
	if !x.r.UserDataAvailable {
		x.answer.Profile, x.answer.Charging = c.UserProfile, c.group.Charging
	}
	if s := x.old.sets[x.set]; s.by&^x.by != 0 && s.state == registered {
		for i := range x.user.privates {
			if bit := uint64(1) << i; (s.by|x.by)&bit != 0 {
				x.answer.AssociatedRegistered = append(x.answer.AssociatedRegistered, cx.IMPI(x.user.privates[i].impi))
			}
		}
	}
	return nil
}

// commit makes the change durable, or leaves that to the batch of the S-CSCF.
func (x *exchange) commit() error {
	if b := x.r.Batch; b != nil {
		b.Partition = x.user.id
	}
	if x.now != nil {
		x.owed = x.h.oweChange(x.user, x.old, x.now)
		x.now.updated = unixSeconds(x.h.ports.Clock.Wall())
		op := store.Op{Table: TableAssignment, Key: x.user.key, Value: x.now.encode(), Cond: store.IfAbsent}
		if x.old.version != 0 {
			op.Cond, op.Version = store.IfVersion, x.old.version
		}
		if b := x.r.Batch; b != nil {
			b.Add(cx.Change{Table: uint8(op.Table), Key: op.Key, Value: op.Value, Cond: cx.ChangeCond(op.Cond), Version: op.Version})
			for _, l := range x.owed {
				b.Add(cx.Change{Table: uint8(TableOutbox), Key: l.key, Value: l.encode()})
			}
			b.OnSettle(x)
			return nil
		}
		ops := []store.Op{op}
		for _, l := range x.owed {
			ops = append(ops, l.op())
		}
		if err := x.h.apply(x.t, x.user.id, ops...); err != nil {
			x.answer = nil
			if errors.Is(err, store.ErrConflict) {
				return err
			}
			return x.h.unable("assign", err)
		}
	}
	x.Settle(nil)
	return nil
}

// Settle implements cx.Settler: once the assignment stands, nothing is pending any more.
func (x *exchange) Settle(err error) {
	if err != nil {
		return
	}
	x.h.kick(x.owed)
	if !x.settled {
		return
	}
	for _, set := range x.sets {
		x.user.clearPending(set, x.private)
	}
	x.user.takeReassign(x.now != nil)
}
