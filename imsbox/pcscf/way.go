package pcscf

import (
	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/sip"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/iq"
)

// Serve is the way of a request through the P-CSCF: from the client's door into the core, or from the core to
// the client's door.
func (p *PCSCF) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	switch unknown := unknownExtensions(in.Msg); {
	case in.From == gm.Name && unknown != nil:
		return badExtension(x, in, unknown)
	case in.From != gm.Name && p.told(in):
		return p.ended(x, in)
	case in.From != gm.Name:
		return p.toClient(x, in)
	case in.Msg.Method() == sip.REGISTER:
		return p.register(x, in)
	case len(in.Msg.ToTag()) > 0:
		return p.withinDialog(x, in)
	case p.cfg.Emergency.Is(in.Msg.RequestURI()):
		return p.emergency(x, in)
	case asksNetwork(x, in.Msg):
		return capabilities(x, in)
	default:
		return p.fromClient(x, in)
	}
}

// register is the way of a REGISTER and of its answer (TS 24.229 5.2.2).
func (p *PCSCF) register(x *hop.Exchange, in hop.Inbound) hop.Reply {
	reg, refusal := p.registrationOf(x, in)
	if refusal != 0 {
		return x.Refuse(in, refusal, "")
	}
	begun, stranger := x.Task().Now(), !in.Proof.Registered()
	in.Protection = p.protection(in)
	p.addressHome(in)
	p.nameUser(in, reg.impi)
	p.addPath(in)
	p.addVisitedNetwork(in)
	p.addChargingVector(in)
	r := x.Forward(p.cfg.Home, in, nil)
	if stranger && r.Status() >= 300 {
		p.even(x.Task(), begun)
	}
	switch {
	case r.Status() == 401:
		return p.challenge(x, reg, r)
	case r.Status()/100 == 2 && reg.leaving:
		p.deregistered(reg)
	case r.Status()/100 == 2:
		return p.registered(x, reg, r)
	}
	return r
}

// ended is the way of the S-CSCF's word that a registration has ended (TS 24.229 5.2.3; docs/decisions/014).
func (p *PCSCF) ended(x *hop.Exchange, in hop.Inbound) hop.Reply {
	client, genuine := p.pathEntry(in.Msg.RequestURI())
	if !genuine {
		return x.Refuse(in, 481, "") // of a run before, whose associations are gone
	}
	if k, found := p.kept(client); found && terminated(in.Msg.Body(), k.contact) {
		p.registrations.Delete(associationKey(make([]byte, 0, associationSize), client))
		p.ports.Gm.Remove(client, p.cfg.RemoveAfter)
	}
	return x.Refuse(in, 200, "")
}

// fromClient is the way of an initial request of a registered client (TS 24.229 5.2.6.3).
func (p *PCSCF) fromClient(x *hop.Exchange, in hop.Inbound) hop.Reply {
	switch {
	case p.stranger(in):
		return x.Refuse(in, 403, "")
	case privacyOf(in.Msg).beyondUs():
		return x.Refuse(in, 500, "")
	}
	if refusal, refused := p.spends(x, in); refused {
		return refusal
	}
	p.assertIdentity(in)
	restore := p.checkFrom(in)
	if !p.useServiceRoute(x, in) {
		return x.Refuse(in, 403, "") // no Service-Route: registered for emergency calls, or the 200 never passed here
	}
	p.addChargingVector(in)
	before := in.Msg.Count(sip.HdrRecordRoute)
	d := p.disclosureOf(in.Msg, "")
	p.hideContact(in.Msg, d)
	if in.Msg.Method().MakesDialog() {
		p.recordRoute(in, in.Proof.Association(), towardsCore, d)
	}
	client := in.Proof.Association()
	tied := p.confirms(both(p.tiesCaller(in), restore), p.offer(in, before), client, dialog.Caller)
	defer p.setups.Done(client, p.settingUp(x, in, client, callerLost))
	r := p.anchorCall(x, in, client, iq.Access, false, func(up hop.Up) hop.Reply { return p.onward(x, in, both(up, tied)) })
	if r.Unreached() {
		return p.restoration(x, r, client)
	}
	return r
}

// emergency is the way of an emergency call, of a registered client or of any other (TS 24.229 5.2.10): past the caller's S-CSCF, to
// whoever answers such calls. A client that cannot be helped here is told to try another network.
func (p *PCSCF) emergency(x *hop.Exchange, in hop.Inbound) hop.Reply {
	client := in.Proof.Association()
	if p.cfg.Emergency.URI == "" {
		return p.alternative(x.Refuse(in, 380, ""), client)
	}
	p.assertIdentity(in)
	restore := p.checkFrom(in)
	in.Msg.Remove(sip.HdrRoute)
	in.Msg.Remove(sip.HdrIdentity) // who vouches for him is the network
	in.Msg.SetRequestURI([]byte(p.cfg.Emergency.URI))
	in.Msg.SetString(sip.HdrPriority, "emergency")
	p.addChargingVector(in)
	if in.Msg.Method().MakesDialog() {
		p.recordRoute(in, client, towardsCore, 0)
	}
	tied := both(p.tiesCaller(in), restore)
	r := p.anchorCall(x, in, client, iq.Access, true, func(up hop.Up) hop.Reply { return p.onward(x, in, both(up, tied)) })
	if unanswered(r.Status()) {
		r.Msg.Release()
		return p.alternative(x.Respond(380, ""), client)
	}
	return r
}

// withinDialog is the way of a request inside a dialog, from the client (TS 24.229 5.2.6.3.9).
func (p *PCSCF) withinDialog(x *hop.Exchange, in hop.Inbound) hop.Reply {
	e, ours := p.takeRoute(in)
	if !ours {
		return x.Refuse(in, 481, "") // a dialog that was not made here has no way through here
	}
	owner := e.association
	if refusal := p.foreignDialog(in, &e); refusal != 0 {
		return x.Refuse(in, refusal, "")
	}
	if in.Msg.Method() == sip.MESSAGE { // each is one more, wherever it comes
		if refusal, refused := p.spends(x, in); refused {
			return refusal
		}
	}
	p.assertIdentity(in)
	in.Msg.Remove(sip.HdrIdentity) // it is the S-CSCF that vouches
	restore := p.checkFromInDialog(in)
	p.hideContact(in.Msg, e.known)
	return p.noted(owner, in, func() hop.Reply {
		return p.anchor(x, in, owner, iq.Access, func(up hop.Up) hop.Reply { return p.onward(x, in, both(up, restore)) })
	})
}

// toClient is the way of any request to a client (TS 24.229 5.2.6.4).
func (p *PCSCF) toClient(x *hop.Exchange, in hop.Inbound) hop.Reply {
	e, ours := p.takeRoute(in)
	client, d := e.association, e.known
	if !ours || !p.ports.Gm.Alive(client) {
		// RFC 5626 11.2: flow failed. A token of the run before does not open: its flow is gone as well.
		return x.Refuse(in, 430, "")
	}
	before, callee := in.Msg.Count(sip.HdrRecordRoute), calledParty(in)
	initial := len(in.Msg.ToTag()) == 0
	if initial {
		d = p.disclosureOf(in.Msg, callee)
		if in.Msg.Method().MakesDialog() {
			p.recordRoute(in, client, towardsClient, d)
		}
	}
	offer := p.offer(in, before)
	p.showContact(in.Msg, client)
	restore := p.withholdRequest(in.Msg, d)
	in.Client = client
	assert := func(r hop.Reply) hop.Reply {
		if r.Msg != nil {
			r.Msg.Remove(sip.HdrIdentity)
		}
		if restore != nil {
			r = restore(r)
		}
		return assertCallee(r, callee)
	}
	forward := func(up hop.Up) hop.Reply {
		back := p.confirms(both(up, assert), offer, client, dialog.Callee)
		return back(x.Forward(gm.Name, in, back))
	}
	return p.noted(client, in, func() hop.Reply {
		if initial {
			defer p.setups.Done(client, p.settingUp(x, in, client, calleeLost))
			return p.anchorCall(x, in, client, iq.Core, callee != "" && callee == p.answersEmergencies, forward)
		}
		return p.anchor(x, in, client, iq.Core, forward)
	})
}

// onward forwards along the route that is left. Each response passes withholdResponse, and restore if that is not nil.
func (p *PCSCF) onward(x *hop.Exchange, in hop.Inbound, restore hop.Up) hop.Reply {
	next, known := x.Next(in.Msg)
	if !known {
		return x.Refuse(in, 404, "")
	}
	back := p.withheld
	if restore != nil {
		back = func(r hop.Reply) hop.Reply { return restore(p.withholdResponse(r)) }
	}
	return back(x.Forward(next, in, back))
}
