package scscf

import (
	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/refpoint/rf"
)

// Serve is the way of a request through the S-CSCF.
func (s *SCSCF) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	switch {
	case in.Msg.Method() == sip.REGISTER:
		return s.register(x, in)
	case s.beginsAtPlatform(in):
		return s.begun(x, in)
	case watchesRegistration(in.Msg) && s.addressed(in):
		return s.subscribe(x, in)
	case len(in.Msg.ToTag()) > 0:
		return s.withinDialog(x, in)
	case fromPlatform(in) && in.From == isc.Name:
		return s.returned(x, in)
	case s.routed(in, rf.Originating):
		return s.originating(x, in)
	default:
		return s.terminating(x, in)
	}
}

// register is the way of a REGISTER (TS 24.229 5.4.1).
func (s *SCSCF) register(x *hop.Exchange, in hop.Inbound) hop.Reply {
	asked, refusal := s.readRegister(in)
	if refusal != nil {
		return s.refuse(x, in, refusal)
	}
	r := &asked
	if reply, judged := s.registerByDigest(x, in, r); judged {
		return reply
	}
	switch {
	case r.resynchronises():
		return s.resynchronise(x, in, r)
	case r.answers():
		pending, found := s.challenges.take(r.impi, r.credentials.Nonce, x.Task().Now())
		if !found && s.fails(r, x.Task().Now()) {
			return x.Refuse(in, 403, "")
		}
		if !found {
			return s.challenge(x, in, r) // an answer to nothing, or too late
		}
		if refusal := s.authenticate(x.Task(), in, r, pending); refusal != nil {
			return s.refuse(x, in, refusal)
		}
		r.authenticated = true
		s.origins.prove(in, r.impi, x.Task().Now())
		return s.accept(x, in, r)
	case s.protectedRefresh(x, in, r):
		return s.accept(x, in, r)
	default:
		return s.challenge(x, in, r)
	}
}

// accept stores what an authenticated REGISTER asks for and answers it (TS 24.229 5.4.1.2.2, 5.4.1.4).
func (s *SCSCF) accept(x *hop.Exchange, in hop.Inbound, r *register) hop.Reply {
	if r.queries() {
		return s.bindings(x, in, r)
	}
	if s.leavesNothing(x.Task(), r) {
		return x.Refuse(in, 403, "")
	}
	reg, refusal := s.enter(x.Task(), r)
	if refusal != nil && refusal.conflict && s.cfg.Shared { // what is remembered of the user is older than what another S-CSCF wrote
		s.users.Delete([]byte(r.impi))
		r.have = nil
		reg, refusal = s.enter(x.Task(), r)
	}
	if refusal != nil {
		return s.refuse(x, in, refusal)
	}
	s.tellLater(x.Task(), reg, r.path)
	if !r.emergency {
		s.tellPlatforms(x.Task(), reg, []uint8{r.set}, reg.kind, in.Msg)
	}
	return s.registered(x, in, r, reg)
}

// enter tells the HSS, binds the contacts and makes both durable.
func (s *SCSCF) enter(t *shard.Task, r *register) (*assignment, *refusal) {
	a, refusal := s.assign(t, r)
	if refusal == nil {
		refusal = s.bind(t, a, r)
	}
	if refusal == nil {
		refusal = s.commit(t, a)
	}
	return a, refusal
}

// originating is the way of an initial request that a served user sends (TS 24.229 5.4.3.2).
func (s *SCSCF) originating(x *hop.Exchange, in hop.Inbound) hop.Reply {
	user, refusal := s.servedOriginator(x.Task(), in)
	if refusal != 0 {
		return x.Refuse(in, refusal, "")
	}
	if challenge, asked := s.challengesOriginator(x, in); asked {
		return challenge
	}
	in.Msg.RemoveFirst(sip.HdrRoute)
	s.normalise(in.Msg)
	if s.barsRoute(in, user.served) || s.intrudes(x.Task(), in) {
		return x.Refuse(in, 403, "")
	}
	s.vouches(in)
	s.recordRoute(in, rf.Originating)
	s.addIOI(in, rf.Originating)
	answered := s.account(in, rf.Originating, user)
	if account, offer := answered, s.dialogs.Offer(in.Msg, 1); offer != nil {
		answered = func(r hop.Reply) hop.Reply { // each of them, where several telephones answer (RFC 3261 13.2.2.4)
			s.dialogs.Confirmed(offer, half(rf.Originating), []byte(user.impi), user.binding, r)
			return account(r)
		}
	}
	c := begin(in, user, cx.OriginatingRegistered, toHome)
	c.notes = answered
	i := s.settingUp(x, in, user.impi, user.binding, user.asOf, callerGone)
	defer s.invites.Done(user.impi, i)
	r := s.serve(x, in, c, answered)
	if s.late(x, i, user.impi, user.binding, r) {
		r.Msg.Release()
		r = x.Respond(480, "")
	}
	if answered == nil {
		return r
	}
	return answered(r)
}

// terminating is the way of an initial request for a served user (TS 24.229 5.4.3.3). One who is not registered may be served by
// platforms alone.
func (s *SCSCF) terminating(x *hop.Exchange, in hop.Inbound) hop.Reply {
	user, devices, refusal := s.servedCallee(x.Task(), in)
	if refusal != 0 && user.filter == nil {
		return x.Refuse(in, refusal, "")
	}
	c := begin(in, user, cx.TerminatingRegistered, toCallee)
	if refusal != 0 {
		c.when, c.onward, c.otherwise = cx.TerminatingUnregistered, toNobody, refusal
	}
	c.devices = devices
	s.dropOwnRoute(in)
	urgent := user.served != "" && user.served == s.cfg.EmergencyIdentity // its call has passed no S-CSCF of its caller
	if urgent && s.intrudes(x.Task(), in) {
		return x.Refuse(in, 403, "")
	}
	s.recordRoute(in, rf.Terminating)
	answered := then(s.addIOI(in, rf.Terminating), s.account(in, rf.Terminating, user))
	if fromPlatform(in) {
		answered = then(answered, s.hostsCalls(in))
	}
	c.notes = answered
	return answered(s.bars3xx(x, in, user.served, s.serve(x, in, c, answered)))
}

// goOn is the way of an initial request when no further platform is to see it.
func (s *SCSCF) goOn(x *hop.Exchange, in hop.Inbound, c chain) hop.Reply {
	switch c.onward {
	case toCallee:
		return s.deliver(x, in, c)
	case toNobody:
		return x.Refuse(in, c.otherwise, "")
	}
	next, known := s.home(x, in)
	if !known {
		return x.Refuse(in, 404, "")
	}
	return x.Forward(next, in, c.notes)
}

// then is what a response passes first, and what it passes afterwards; either may be nil.
func then(first, last hop.Up) hop.Up {
	switch {
	case first == nil:
		return last
	case last == nil:
		return first
	}
	return func(r hop.Reply) hop.Reply { return last(first(r)) }
}

// deliver takes a request to the devices of the served user (TS 24.229 5.4.3.3 step 10).
func (s *SCSCF) deliver(x *hop.Exchange, in hop.Inbound, c chain) hop.Reply {
	user, devices, refusal := c.user, c.devices, 0
	if devices == nil { // it has been at a platform: who is there now
		if user, devices, refusal = s.servedCallee(x.Task(), in); refusal != 0 {
			return x.Refuse(in, refusal, "")
		}
	}
	offer := s.dialogs.Offer(in.Msg, 1)
	s.diverts(in.Msg, string(in.Msg.RequestURI()), user.served) // from a temporary GRUU to whose it is
	s.address(in, user)
	name, vouch := s.addIOI(in, rf.Terminating), s.answers(in, user)
	noted := then(func(r hop.Reply) hop.Reply { return vouch(name(r)) }, c.notes)
	return s.early(x, in, user, func(up hop.Up) hop.Reply {
		return vouch(name(x.Fork(in, s.branches(devices, in.Msg, offer, user.asOf), then(up, noted))))
	})
}

// withinDialog is the way of a request inside a dialog (TS 24.229 5.4.3.2, 5.4.3.3: subsequent requests).
func (s *SCSCF) withinDialog(x *hop.Exchange, in hop.Inbound) hop.Reply {
	if in.Msg.Method() == sip.BYE {
		s.passages.hangup(in.Msg.Get(sip.HdrCallID), in.Msg.FromTag(), in.Msg.ToTag())
	}
	if s.intrudes(x.Task(), in) {
		return x.Refuse(in, 403, "")
	}
	if s.takeBetween(in) {
		return s.passThrough(x, in)
	}
	role, ours := s.takeRoute(in)
	if !ours {
		return x.Refuse(in, 481, "")
	}
	s.resolveGRUU(x.Task(), in.Msg)
	s.dropProxyCredentials(in.Msg)
	if s.barsReferralInDialog(in) {
		return x.Refuse(in, 403, "")
	}
	s.transferred(x.Task(), in)
	next, known := s.next(x, in.Msg)
	if !known {
		return x.Refuse(in, 404, "")
	}
	if in.Msg.Method() == sip.BYE {
		s.ports.Charging.Stop(string(in.Msg.Get(sip.HdrCallID)), dialog.NameOf(in.Msg), role, s.ports.Clock.Wall())
	}
	note, hosted := s.dialogs.Note(half(role), in.Msg), s.noteHosted(in)
	r := s.forwardWithin(x, next, in)
	s.dialogs.Answered(note, r)
	s.hosted.Answered(hosted, r)
	return r
}
