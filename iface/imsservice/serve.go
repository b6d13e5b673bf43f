package imsservice

import (
	"bytes"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// retrySoon is what stands in Retry-After, in seconds, where a budget is spent.
const retrySoon = "1"

// Serve implements hop.Function: the way of a request through the door to a platform. 408 and 503 mean that there was nobody: the S-CSCF
// goes on by the default handling of its criterion.
func (d *Door) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	s := d.addressed(in.Msg)
	if s == nil {
		return x.Refuse(in, 503, "")
	}
	now := x.Task().Shard().Now()
	if len(in.Msg.ToTag()) > 0 {
		return d.serveDialog(x, in, s)
	}
	host := s.Manifest.Host()
	if d.overdraws(s, true, noSource, now) {
		r := x.Refuse(in, 503, "")
		r.Msg.SetString(sip.HdrRetryAfter, retrySoon)
		return r
	}
	defer d.quotas.leave(host, true)
	return d.visitBy(x, in, s)
}

// addressed returns the platform of the topmost Route, nil if it is none that is active.
func (d *Door) addressed(m *sip.Message) *isc.Service {
	target := m.RequestURI()
	if route := m.Get(sip.HdrRoute); route != nil {
		target = uriOf(route)
	}
	uri, err := sip.ParseURI(target)
	if err != nil {
		return nil
	}
	return d.ports.Services.ByServer(uri.Host)
}

// visitBy sends an initial request to a platform and takes down what went out.
func (d *Door) visitBy(x *hop.Exchange, in hop.Inbound, s *isc.Service) hop.Reply {
	host := s.Manifest.Host()
	stay := &visit{host: host, original: in.Msg.Clone(), method: in.Msg.Method()}
	identifier := string(identifierOf(in.Msg.Nth(sip.HdrRoute, 1), string(d.cfg.SCSCF)))
	if identifier != "" && !d.visits.begin(identifier, stay) {
		stay.original.Release()
		return x.Refuse(in, 503, "")
	}
	if identifier == "" {
		defer stay.original.Release()
	}
	sh := x.Task().Shard()
	callID := string(in.Msg.Get(sip.HdrCallID))
	makesDialog := in.Msg.Method().MakesDialog()
	if makesDialog {
		d.visits.join(host, []byte(callID), identifier, sh.Now())
	}
	parties := partiesOf(in.Msg)
	d.conceal(s, in.Msg)
	tellMedia(s, in.Msg)
	l, reachable := d.lineTo(x, s)
	if !reachable {
		d.quotas.outcome(host, false, sh.Now())
		d.cameToNothing(host, callID, identifier)
		return x.Refuse(in, 503, "")
	}
	heard := false
	r, _ := x.TryTransactWithin(d.cfg.Answer, d.port[sh.ID()].layer, l.flow, in, []byte(d.cfg.SentBy), func(m *sip.Message) {
		heard = true
		d.admitResponse(s, stay, parties, m)
	})
	d.quotas.outcome(host, heard, sh.Now())
	r = d.judgeAnswer(x, s, stay, r) // before the stay ends, which it is measured against
	if r.Final() && r.Status()/100 != 2 || !makesDialog {
		d.cameToNothing(host, callID, identifier)
	}
	return r
}

// cameToNothing ends a visit.
func (d *Door) cameToNothing(host, callID, identifier string) {
	if identifier == "" {
		d.visits.leave(host, []byte(callID))
		return
	}
	d.visits.end(identifier)
}

// serveDialog sends a request inside a dialog to a platform that is part of it.
func (d *Door) serveDialog(x *hop.Exchange, in hop.Inbound, s *isc.Service) hop.Reply {
	host := s.Manifest.Host()
	if !d.visits.takesPart(host, in.Msg) {
		return x.Refuse(in, 481, "")
	}
	l, reachable := d.lineTo(x, s)
	if !reachable {
		return x.Refuse(in, 503, "")
	}
	if in.Msg.Method() == sip.BYE {
		bye := in.Msg
		defer d.visits.hangUp(host, clone(bye.Get(sip.HdrCallID)), clone(bye.FromTag()), clone(bye.ToTag()))
	}
	parties := partiesOf(in.Msg)
	d.visits.names(host, in.Msg)
	d.conceal(s, in.Msg)
	return x.Transact(d.port[x.Task().Shard().ID()].layer, l.flow, in, []byte(d.cfg.SentBy), func(m *sip.Message) { d.readResponse(s, parties, m) })
}

// parties are From and To of a request as the core has them.
type parties struct{ from, to string }

func partiesOf(m *sip.Message) parties {
	return parties{string(m.Get(sip.HdrFrom)), string(m.Get(sip.HdrTo))}
}

// readResponse makes a response of a platform one of the core's: without fields that it has no business with, with users in the place of
// their pseudonyms.
func (d *Door) readResponse(s *isc.Service, of parties, m *sip.Message) {
	g := guard{door: d, service: s}
	g.keepSpoken(m)
	v := d.veil(s)
	if v == nil {
		return
	}
	v.uncover(m)
	reparty(m, sip.HdrFrom, []byte(of.from))
	reparty(m, sip.HdrTo, []byte(of.to))
}

// clone keeps what a message says for when it is gone.
func clone(v []byte) []byte { return append([]byte(nil), v...) }

// lineTo returns a connection to a platform: one that is open, or one that is opened now.
func (d *Door) lineTo(x *hop.Exchange, s *isc.Service) (line, bool) {
	if l, open := d.lines.next(s.Manifest.Host()); open {
		return l, true
	}
	if d.ports.Dial == nil {
		return line{}, false
	}
	p := d.port[x.Task().Shard().ID()]
	f := d.ports.Dial(s, p)
	return line{flow: f, port: p}, !f.IsZero()
}

// admitResponse takes off a response of a platform what it may not say: fields it has no business with, and identities that nobody behind
// it was asserted by (RFC 3325 5).
func (d *Door) admitResponse(s *isc.Service, stay *visit, of parties, m *sip.Message) {
	d.readResponse(s, of, m)
	g := guard{door: d, service: s}
	g.leadsBack(m, stay)
	m.Rewrite(sip.HdrPAssertedIdentity, stay.reconnect)
	for id := range m.Values(sip.HdrPAssertedIdentity) {
		if !stay.connects(id) && !g.speaksFor(id) && g.forges("connected-identity") != nil {
			m.Remove(sip.HdrPAssertedIdentity)
			break
		}
	}
}

// leadsBack puts the Contact back into a response that a platform passes on, if it leads neither to where that came from nor to the platform: the other end of
// the dialog is who has answered (RFC 3261 12.1.2).
func (g *guard) leadsBack(m *sip.Message, stay *visit) {
	now := m.Get(sip.HdrContact)
	if now == nil || m.Status() >= 300 || g.isHost(now) {
		return
	}
	if was := stay.contactBehind(m); was != nil && !bytes.Equal(uriOf(now), uriOf(was)) && g.lacks("contact") != nil {
		m.Set(sip.HdrContact, was)
	}
}

// judgeAnswer judges what a platform makes of a request. To pass on what comes from behind it, and to refuse, everybody may; to answer by
// itself, and to send elsewhere, needs a scope.
func (d *Door) judgeAnswer(x *hop.Exchange, s *isc.Service, stay *visit, r hop.Reply) hop.Reply {
	g := guard{door: d, service: s}
	var why *refusal
	switch {
	case r.Msg == nil:
	case r.Status()/100 == 3:
		why = g.needs(isc.SessionRedirect)
	case r.Status()/100 == 2 && !stay.passesOn(r.Msg):
		why = g.answers(stay.method)
	}
	if why == nil {
		return r
	}
	r.Msg.Release()
	refused := x.Respond(why.status, "")
	refused.Msg.SetString(sip.HdrWarning, why.warning(s))
	return refused
}

// answers judges who answers a request in the place of its target.
func (g *guard) answers(m sip.Method) *refusal {
	switch m {
	case sip.INVITE:
		return g.needs(isc.SessionAnswer)
	case sip.MESSAGE:
		return g.needs(isc.MessageReceive)
	}
	return nil
}
