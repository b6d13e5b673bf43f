package scscf

import (
	"slices"

	"imsafe/hop"
	"imsafe/imsbox/filter"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// serve takes an initial request to the platforms of its served user, one after the other, and then on (TS 24.229 5.4.3.2 step 4, 5.4.3.3
// step 4; TS 23.218 6.4, 6.5). Each sees the request as the one before has left it.
func (s *SCSCF) serve(x *hop.Exchange, in hop.Inbound, c chain, up hop.Up) hop.Reply {
	if c.filter == nil {
		return s.goOn(x, in, c)
	}
	e := c.filter.Resume(filter.Request{Message: in.Msg, Case: c.when, Unregistered: c.unregistered}, c.cursor)
	for criterion := e.Next(); criterion != nil; criterion = e.Next() {
		c.cursor = e.Cursor()
		r, asked := s.ask(x, in, c, criterion, up)
		if asked {
			in.Msg.Release()
			return r
		}
		if terminates(criterion) && s.failsClosed("unreachable") {
			in.Msg.Release()
			return r
		}
		if r.Msg != nil {
			r.Msg.Release()
		}
	}
	if e.Err() != nil && s.failsClosed("filter-work") {
		return x.Refuse(in, 500, "")
	}
	return s.goOn(x, in, c)
}

// terminates reports whether default handling ends the session (TS 29.228 B.2.4).
func terminates(c *filter.Criterion) bool { return c.Server.DefaultHandling == cx.SessionTerminated }

// ask sends a copy of the request to the platform of a criterion and returns its answer; asked is false if there was nobody: then default
// handling decides. A platform that gave the request back has been there, whatever came of it afterwards.
func (s *SCSCF) ask(x *hop.Exchange, in hop.Inbound, c chain, criterion *filter.Criterion, up hop.Up) (r hop.Reply, asked bool) {
	uri, err := sip.ParseURI([]byte(criterion.Server.ServerName))
	if err != nil || s.ports.ISC == nil || !s.ports.ISC.Hosts(uri.Host) {
		return x.Respond(503, ""), false
	}
	c.devices = nil
	stay := &passage{chain: c, host: string(uri.Host), uses: s.ports.ISC.Returns(uri.Host), offered: vouchedIn(in.Msg), taken: takenBy(in.Msg)}
	place, room := s.passages.open(stay, string(in.Msg.Get(sip.HdrCallID)))
	if !room {
		return x.Respond(503, ""), false
	}
	m := in.Msg.Clone()
	var b [192]byte
	v := s.ports.Sealer.Seal(append(b[:0], "<sip:"...), tokenPassage, place)
	s.passages.name(stay, v[len("<sip:"):])
	m.Prepend(sip.HdrRoute, append(append(append(v, '@'), s.cfg.Name...), ";lr>"...))
	m.PrependString(sip.HdrRoute, "<"+criterion.Server.ServerName+";lr>")
	m.SetString(sip.HdrPServedUser, "<"+c.user.served+">"+sessionCase(c.when))
	callID := string(m.Get(sip.HdrCallID))
	offer, before := s.hosted.Offer(in.Msg, 1), in.Msg.Count(sip.HdrRecordRoute)
	judged := s.judgesAnswer(in, stay)
	r = x.Forward(isc.Name, hop.Inbound{Msg: m, Proof: in.Proof}, func(r hop.Reply) hop.Reply {
		if judged(r) != "" { // nobody hears it: the final response says why
			r.Msg.Release()
			return hop.Reply{}
		}
		if r.Status()/100 == 2 {
			s.passages.answersToo(callID, string(r.Msg.ToTag()))
			s.hosts(offer, []byte(stay.host), before, r)
		}
		if up != nil {
			return up(r)
		}
		return r
	})
	if control := judged(r); control != "" {
		r.Msg.Release()
		r = warnsOf(x.Respond(403, ""), stay.host, control)
	}
	confirmed := r.Status()/100 == 2 && in.Msg.Method() == sip.INVITE
	s.hosts(offer, []byte(stay.host), before, r)
	returned := s.passages.settle(place, callID, tagOf(r), confirmed, x.Task().Now())
	return r, returned || !silent(r.Status())
}

// tagOf is the To tag of an answer, "" if there is none.
func tagOf(r hop.Reply) string {
	if r.Msg == nil {
		return ""
	}
	return string(r.Msg.ToTag())
}

// silent reports whether an answer stands for a platform that is not there (TS 24.229 5.4.3.2, 5.4.3.3: 408, 5xx or nothing).
func silent(status int) bool { return status == 408 || status/100 == 5 }

// sessionCase is what P-Served-User says of a case (RFC 5502 4.2).
func sessionCase(c cx.SessionCase) string {
	switch c {
	case cx.OriginatingRegistered:
		return ";sescase=orig;regstate=reg"
	case cx.OriginatingUnregistered:
		return ";sescase=orig;regstate=unreg"
	case cx.TerminatingRegistered:
		return ";sescase=term;regstate=reg"
	case cx.TerminatingUnregistered:
		return ";sescase=term;regstate=unreg"
	}
	return ";orig-cdiv" // RFC 8498
}

// fromPlatform reports whether a request comes from a service platform: by its proof, never by what it says.
func fromPlatform(in hop.Inbound) bool {
	return in.Proof.Kind() == secure.KindService || in.Proof.Kind() == secure.KindCompiledIn
}

// beginsAtPlatform reports whether a request is the first of a dialog, or one by itself, that a platform begins: the door has taken off what way it wrote. What it
// gives back has the original dialog identifier in Route.
func (s *SCSCF) beginsAtPlatform(in hop.Inbound) bool {
	return fromPlatform(in) && in.From == isc.Name && len(in.Msg.ToTag()) == 0 && !in.Msg.Has(sip.HdrRoute)
}

// begun is the way of a request that a platform begins as one of its public service identities (TS 24.229 5.7.3, TS 23.228 5.4.12.1). It is judged here, where its
// proof is, whoever serves the called user; and its dialogs lead back here, where the platform is.
func (s *SCSCF) begun(x *hop.Exchange, in hop.Inbound) hop.Reply {
	service, _ := sip.PublicIdentity(in.Msg.Get(sip.HdrPAssertedIdentity))
	if s.barsRoute(in, service) || s.intrudes(x.Task(), in) {
		return x.Refuse(in, 403, "")
	}
	if s.judgesOrigination(in) {
		return warnsOf(x.Refuse(in, 403, ""), in.Proof.Peer(), "cs.authentication.grant")
	}
	next, known := s.home(x, in)
	if !known {
		return x.Refuse(in, 404, "")
	}
	s.stay(in)
	answered := s.hostsCalls(in)
	return answered(x.Forward(next, in, answered))
}

// returned is the way of a request that a platform gives back (TS 24.229 5.4.3.2, 5.4.3.3): it goes on behind the criterion that sent it
// there, in the profile as it was then. The door has judged the identifier.
func (s *SCSCF) returned(x *hop.Exchange, in hop.Inbound) hop.Reply {
	place, carries := s.passageOf(in.Msg)
	in.Msg.RemoveFirst(sip.HdrRoute)
	c, known := chain{}, false
	if carries {
		c, known = s.passages.walk(place)
	}
	stay := s.passages.stayOf(place)
	if !known { // the door lets it through in a lab only: as where an identifier is whatever a platform says
		return s.goOn(x, in, chain{})
	}
	if s.barsReturned(in, &c) {
		return x.Refuse(in, 403, "")
	}
	s.stay(in)
	if stay != nil {
		if !slices.Equal(takenBy(in.Msg), stay.taken) && s.intrudes(x.Task(), in) {
			return x.Refuse(in, 403, "")
		}
		if control := s.judgesOffer(in, stay); control != "" {
			return warnsOf(x.Refuse(in, 403, ""), stay.host, control)
		}
	}
	goOn := s.divert
	if c.onward == toHome || string(in.Msg.RequestURI()) == c.target {
		goOn = func(x *hop.Exchange, in hop.Inbound, c chain, up hop.Up) hop.Reply { return s.serve(x, in, c, up) }
	}
	up := s.notes(stay)
	if callID := string(in.Msg.Get(sip.HdrCallID)); callID != c.callID { // it has answered, and calls on
		s.passages.also(place, callID)
		up = then(up, s.hostsCalls(in))
	}
	c.notes = up // of provisional responses too: early media have descriptions
	return up(goOn(x, in, c, up))
}

// divert goes on with a request whose target a platform of the called user has changed: as his originating request after a call diversion
// (TS 24.229 5.4.3.3, TS 23.218 6.5.2), once.
func (s *SCSCF) divert(x *hop.Exchange, in hop.Inbound, c chain, up hop.Up) hop.Reply {
	s.normalise(in.Msg)
	s.diverts(in.Msg, c.target, string(in.Msg.RequestURI()))
	c.unregistered = c.onward == toNobody
	c.when, c.onward, c.cursor = cx.OriginatingCDIV, toHome, filter.Cursor{Version: c.filter.Version()}
	return s.serve(x, in, c, up)
}

// notes returns what takes down the session descriptions that go to a platform from behind it.
func (s *SCSCF) notes(stay *passage) hop.Up {
	return func(r hop.Reply) hop.Reply {
		if stay != nil && describes(r) {
			s.passages.note(stay, vouchedIn(r.Msg))
		}
		return r
	}
}

// stay keeps the S-CSCF between a platform and what comes behind it in the dialog. Its entry says that the session is accounted for by
// another.
func (s *SCSCF) stay(in hop.Inbound) {
	if len(in.Msg.ToTag()) == 0 && in.Msg.Method().MakesDialog() {
		in.Msg.PrependString(sip.HdrRecordRoute, "<sip:"+roleBetween+"@"+string(s.cfg.Name)+";lr>")
	}
}

// roleBetween is the user part of our route entries between a platform and what is behind it.
const roleBetween = "between"

// takeBetween takes such an entry off the top of Route.
func (s *SCSCF) takeBetween(in hop.Inbound) bool {
	if !s.isBetween(in.Msg.Get(sip.HdrRoute)) {
		return false
	}
	in.Msg.RemoveFirst(sip.HdrRoute)
	return true
}

func (s *SCSCF) isBetween(route []byte) bool {
	addr, err := sip.ParseNameAddr(route)
	if err != nil {
		return false
	}
	uri, err := sip.ParseURI(addr.URI)
	return err == nil && string(uri.Host) == string(s.cfg.Name) && string(uri.User) == roleBetween
}

// dropOwnRoute takes the entry off by which a request came here (TS 24.229 5.4.3.3 step 2).
func (s *SCSCF) dropOwnRoute(in hop.Inbound) {
	addr, err := sip.ParseNameAddr(in.Msg.Get(sip.HdrRoute))
	if err != nil {
		return
	}
	if uri, err := sip.ParseURI(addr.URI); err == nil && string(uri.Host) == string(s.cfg.Name) {
		in.Msg.RemoveFirst(sip.HdrRoute)
	}
}

// next is where a request inside a dialog goes: a function of the core that its way names, or its other end. That is a platform, or we (TS 24.229 5.4.2.1), and no
// other function: what these say to each other nobody says for them within a dialog of his.
func (s *SCSCF) next(x *hop.Exchange, m *sip.Message) (hop.Name, bool) {
	if name, known := x.Next(m); known && (m.Has(sip.HdrRoute) || name == s.cfg.Name) {
		return name, true
	}
	target := m.RequestURI()
	if addr, err := sip.ParseNameAddr(m.Get(sip.HdrRoute)); err == nil {
		target = addr.URI
	}
	uri, err := sip.ParseURI(target)
	return isc.Name, err == nil && s.ports.ISC != nil && s.ports.ISC.Hosts(uri.Host)
}

// passThrough is the way of a request inside a dialog between a platform and what is behind it.
func (s *SCSCF) passThrough(x *hop.Exchange, in hop.Inbound) hop.Reply {
	next, known := s.next(x, in.Msg)
	if !known {
		return x.Refuse(in, 404, "")
	}
	note := s.noteHosted(in)
	r := s.forwardWithin(x, next, in)
	s.hosted.Answered(note, r)
	return r
}
