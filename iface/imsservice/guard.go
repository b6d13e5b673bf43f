package imsservice

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// maxDiversions is how often a call may be diverted (TS 24.604 4.5.2.6.1 leaves the number to the operator).
const maxDiversions = 5

// noSource is the source of what the core itself sends to a platform.
var noSource netip.Addr

// guard judges one message of a platform. It lives as long as the transaction.
type guard struct {
	door    *Door
	service *isc.Service
	source  netip.Addr
	now     time.Duration

	visit   *visit // what the request is a return of; nil for what the platform begins itself
	began   bool   // a dialog of the platform's own may come of it
	hangsUp bool   // it ends a dialog: once it is answered, for it may pass the platform again further on
	starts  bool   // the request took from the platform's budget
	callID  string
	veil    *veil     // between the platform and users; nil if it may know them
	tags    [2][]byte // From and To, of what ends a dialog
}

// refusal is why a message of a platform goes no further.
type refusal struct {
	status  int
	control string // its dotted id, for the platform
	reason  string
	retry   string // Retry-After, in seconds
}

// warning words a refusal for people (RFC 3261 20.43). Its agent is the platform that was refused: a platform before it in the chain, which
// sees the answer too, must not take it for its own.
func (r *refusal) warning(s *isc.Service) string {
	return "399 " + s.Manifest.Host() + ` "` + r.control + " " + r.reason + `"`
}

// event is what a refusal tells.
func (g *guard) event(reason string) secure.Event { return event(g.service, reason, g.source) }

// lacks is the enforcement point of the manifest: default deny. Like those below it returns nil where its control is off.
func (g *guard) lacks(reason string) *refusal {
	if !g.door.ports.Gate.Refuse(secure.ISAuthorizationManifest, g.event(reason)) {
		return nil
	}
	return &refusal{status: 403, control: "is.authorization.manifest", reason: reason}
}

// keepSpoken takes off a message of the platform the fields that no platform may write.
func (g *guard) keepSpoken(m *sip.Message) {
	if !m.Within(spoken) && g.lacks("field") != nil {
		m.Keep(spoken)
	}
}

// needs refuses what needs a scope that was not granted.
func (g *guard) needs(scope isc.Scope) *refusal {
	if g.service.May(scope) {
		return nil
	}
	return g.lacks("scope=" + scope.String())
}

// forges is the enforcement point of who may assert whom.
func (g *guard) forges(what string) *refusal {
	if !g.door.ports.Gate.Refuse(secure.ISAuthorizationAssert, g.event(what)) {
		return nil
	}
	return &refusal{status: 403, control: "is.authorization.assert", reason: what}
}

// admit judges a request of a platform and says to which function it goes. It changes in.Msg into what the core may believe.
func (g *guard) admit(in *hop.Inbound) (hop.Name, *refusal) {
	m := in.Msg
	g.keepSpoken(m)
	g.veil = g.door.veil(g.service)
	g.veil.uncover(m)
	g.callID = string(m.Get(sip.HdrCallID))
	switch {
	case len(m.ToTag()) > 0:
		return g.withinDialog(m)
	case m.Method() == sip.ACK: // of an answer that was no 2xx: for the transaction alone
		return "", &refusal{}
	}
	if r := g.spend(); r != nil {
		return "", r
	}
	to, r := g.begins(m)
	if r != nil {
		g.done()
	}
	return to, r
}

// spend takes an initial request out of the platform's budget.
func (g *guard) spend() *refusal {
	if g.door.overdraws(g.service, false, g.source, g.now) {
		return overBudget()
	}
	g.starts = true
	return nil
}

func overBudget() *refusal {
	return &refusal{status: 503, control: "is.availability.quota", reason: "budget", retry: retrySoon}
}

// overdraws takes an initial request, of a platform or with asked for it, out of its budget.
func (d *Door) overdraws(s *isc.Service, asked bool, source netip.Addr, now time.Duration) bool {
	host := s.Manifest.Host()
	return d.refusesQuota(s, d.quotas.enter(s, d.visits.dialogsOf(host), asked, now), source)
}

// refusesQuota is the enforcement point of quotas; "" is no reason.
func (d *Door) refusesQuota(s *isc.Service, reason string, source netip.Addr) bool {
	return reason != "" && d.ports.Gate.Refuse(secure.ISAvailabilityQuota, event(s, reason, source))
}

// done gives back what the request took.
func (g *guard) done() {
	if g.starts {
		g.starts = false
		g.door.quotas.leave(g.service.Manifest.Host(), false)
	}
}

// withinDialog judges a request inside a dialog: the platform must be part of it, and it goes the way of the dialog, which leads through
// the S-CSCF.
func (g *guard) withinDialog(m *sip.Message) (hop.Name, *refusal) {
	if g.door.refusesQuota(g.service, g.door.quotas.inside(g.service, g.now), g.source) {
		return "", overBudget()
	}
	host := g.service.Manifest.Host()
	if !g.door.visits.takesPart(host, m) {
		if r := g.lacks("dialog"); r != nil {
			return "", r
		}
	}
	if r := g.speaksWithin(m); r != nil {
		return "", r
	}
	if scope, asks := asking[m.Method()]; asks && !g.door.visits.returns(host, m) { // one of its own
		if r := g.needs(scope); r != nil {
			return "", r
		}
	}
	to, known := g.door.ports.Table.Next(m)
	if !known {
		return "", &refusal{status: 481}
	}
	if to != g.door.cfg.SCSCF { // past whoever judges what is said there
		if r := g.lacks("way"); r != nil {
			return "", r
		}
	}
	if g.hangsUp = m.Method() == sip.BYE; g.hangsUp {
		g.tags = [2][]byte{clone(m.FromTag()), clone(m.ToTag())}
	}
	return to, nil
}

// speaksWithin judges who a request inside a dialog says it is from: the platform itself, or somebody whom the core has named to it there. What it asserts beyond
// that is taken off. From is judged where a telephone shows it (RFC 4916 4.4).
func (g *guard) speaksWithin(m *sip.Message) *refusal {
	host := g.service.Manifest.Host()
	may := func(who []byte) bool { return g.speaksFor(who) || g.door.visits.named(host, m, who) }
	for id := range m.Values(sip.HdrPAssertedIdentity) {
		if !may(id) && g.forges("asserted-identity") != nil {
			m.Remove(sip.HdrPAssertedIdentity)
			break
		}
	}
	from := m.Get(sip.HdrFrom)
	if m.Method() != sip.INVITE && m.Method() != sip.UPDATE || may(from) || bytes.EqualFold(uriOf(from), []byte("sip:anonymous@anonymous.invalid")) {
		return nil
	}
	return g.forges("from")
}

// begins judges an initial request: the return of one that went out, or a new one.
func (g *guard) begins(m *sip.Message) (hop.Name, *refusal) {
	identifier := identifierOf(m.Get(sip.HdrRoute), string(g.door.cfg.SCSCF))
	if identifier == nil {
		return g.originates(m)
	}
	if r := g.resumes(m, identifier); r != nil {
		return "", r
	}
	for m.Count(sip.HdrRoute) > 1 { // the identifier says where it goes from here, not the platform
		m.RemoveLast(sip.HdrRoute)
	}
	if m.Method().MakesDialog() {
		g.door.visits.join(g.service.Manifest.Host(), m.Get(sip.HdrCallID), string(identifier), g.now)
	}
	return g.door.cfg.SCSCF, nil
}

// resumes judges the return of a request: the original dialog identifier first, then every change.
func (g *guard) resumes(m *sip.Message, identifier []byte) *refusal {
	host := g.service.Manifest.Host()
	var original *sip.Message
	if g.visit, original = g.door.visits.of(identifier, host); original != nil {
		defer original.Release()
	}
	fault := g.door.ports.Chains.Resume(identifier, host)
	if fault == isc.FaultNone && g.visit == nil {
		fault = isc.FaultEnded
	}
	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil {
			return r
		}
	}
	if g.visit == nil {
		return nil // a lab without the identifier's control: there is nothing to measure it against
	}
	g.veil.reunite(m, original)
	recontact(m, original)
	for _, judge := range []func(m, original *sip.Message) *refusal{
		g.method, g.assertions, g.sender, g.target, g.referral, g.path, g.body, g.history,
	} {
		if r := judge(m, original); r != nil {
			return r
		}
	}
	set := view(g.service)
	set.Add(sip.HdrIdentity)     // what vouches for whom the S-CSCF puts back, and judges what the platform brings
	set.Drop(sip.HdrFeatureCaps) // what others can do is not the platform's to say, whatever it was shown
	restore(m, original, &set)
	bound(m, original, sip.HdrMaxForwards)
	bound(m, original, sip.HdrMaxBreadth)
	return nil
}

// misplaced is the enforcement point of the original dialog identifier.
func (g *guard) misplaced(fault isc.Fault) *refusal {
	if !g.door.ports.Gate.Refuse(secure.ISIntegrityODI, g.event(string(fault))) {
		return nil
	}
	return &refusal{status: 403, control: "is.integrity.odi", reason: string(fault)}
}

// method: a request comes back as what it went out.
func (g *guard) method(m, original *sip.Message) *refusal {
	if !bytes.Equal(m.MethodName(), original.MethodName()) {
		return g.lacks("method")
	}
	return nil
}

// assertions judges who the platform says is calling, and for whom the session is served (RFC 3325 5, TS 24.229 5.7.1.3). What it left
// out is put back.
func (g *guard) assertions(m, original *sip.Message) *refusal {
	for id := range m.Values(sip.HdrPAssertedIdentity) {
		if !has(original, sip.HdrPAssertedIdentity, id) && !g.speaksFor(id) {
			if r := g.forges("asserted-identity"); r != nil {
				return r
			}
		}
	}
	if served := m.Get(sip.HdrPServedUser); served != nil && !bytes.Equal(served, original.Get(sip.HdrPServedUser)) {
		if r := g.forges("served-user"); r != nil {
			return r
		}
		return nil // a lab lets it stand
	}
	putBack(m, original, sip.HdrPServedUser)
	if !m.Has(sip.HdrPAssertedIdentity) && original.Has(sip.HdrPAssertedIdentity) && g.forges("left-out") != nil {
		putBack(m, original, sip.HdrPAssertedIdentity)
	}
	return nil
}

// speaksFor reports whether the platform may assert an identity: its own, or one of its patterns.
func (g *guard) speaksFor(identity []byte) bool {
	canonical, ok := sip.PublicIdentity(identity)
	return ok && (g.service.Is([]byte(canonical)) || g.service.AssertsAs([]byte(canonical)))
}

// sameValues reports whether two messages have the same values of a field, in the same order.
func sameValues(a, b *sip.Message, h sip.HeaderID) bool {
	for i := range max(a.Count(h), b.Count(h)) {
		if x, y := a.Nth(h, i), b.Nth(h, i); !bytes.Equal(x, y) || (x == nil) != (y == nil) {
			return false
		}
	}
	return true
}

// sender judges From and Privacy: what the called user is shown (TS 24.607 4.5.2.4 lets a platform withhold it, where it may).
func (g *guard) sender(m, original *sip.Message) *refusal {
	if !sameValues(m, original, sip.HdrPrivacy) && !g.service.May(isc.IdentityPrivacy) {
		if r := g.lacks("scope=" + isc.IdentityPrivacy.String()); r != nil {
			return r
		}
	}
	now, before := uriOf(m.Get(sip.HdrFrom)), uriOf(original.Get(sip.HdrFrom))
	if bytes.Equal(now, before) || g.speaksFor(m.Get(sip.HdrFrom)) {
		return nil
	}
	if g.service.May(isc.IdentityPrivacy) && bytes.EqualFold(now, []byte("sip:anonymous@anonymous.invalid")) {
		return nil
	}
	return g.forges("from")
}

// target judges a changed Request-URI.
func (g *guard) target(m, original *sip.Message) *refusal {
	if bytes.Equal(m.RequestURI(), original.RequestURI()) {
		return nil
	}
	if r := g.needs(isc.SessionRedirect); r != nil {
		return r
	}
	if m.Count(sip.HdrHistoryInfo) > maxDiversions+1 {
		return &refusal{status: 480}
	}
	return nil
}

// referral judges whom a REFER has its target call (RFC 3515 2.1).
func (g *guard) referral(m, original *sip.Message) *refusal {
	if m.Method() != sip.REFER || bytes.Equal(uriOf(m.Get(sip.HdrReferTo)), uriOf(original.Get(sip.HdrReferTo))) {
		return nil
	}
	return g.needs(isc.SessionRedirect)
}

// path judges how the platform stays in the session: by its own host, and only if it may.
func (g *guard) path(m, original *sip.Message) *refusal {
	own := m.Count(sip.HdrRecordRoute)
	if bytes.Equal(m.Get(sip.HdrCallID), original.Get(sip.HdrCallID)) { // a proxy: what was there before must still be there
		own -= original.Count(sip.HdrRecordRoute)
		for i := range original.Count(sip.HdrRecordRoute) {
			if own < 0 || !bytes.Equal(m.Nth(sip.HdrRecordRoute, own+i), original.Nth(sip.HdrRecordRoute, i)) {
				if r := g.lacks("record-route"); r != nil {
					return r
				}
				break
			}
		}
	}
	for i := range max(own, 0) {
		if r := g.needs(isc.SessionProxy); r != nil {
			return r
		}
		if !g.isHost(m.Nth(sip.HdrRecordRoute, i)) {
			if r := g.lacks("record-route"); r != nil {
				return r
			}
		}
	}
	if !bytes.Equal(m.Get(sip.HdrContact), original.Get(sip.HdrContact)) && !g.isHost(m.Get(sip.HdrContact)) {
		return g.lacks("contact")
	}
	return nil
}

// isHost reports whether a name-addr leads to the platform's own host.
func (g *guard) isHost(nameAddr []byte) bool {
	uri, err := sip.ParseURI(uriOf(nameAddr))
	return err == nil && bytes.EqualFold(uri.Host, []byte(g.service.Manifest.Host()))
}

// body judges a changed body: who changes a session description changes where media go, and so must be an end of them.
func (g *guard) body(m, original *sip.Message) *refusal {
	if bytes.Equal(m.Body(), original.Body()) {
		return nil
	}
	for _, scope := range []isc.Scope{isc.SessionAnswer, isc.MediaSend, isc.MediaReceive, isc.MediaMix} {
		if g.service.May(scope) {
			return nil
		}
	}
	return g.needs(isc.SessionAnswer)
}

// history puts back entries of History-Info that the platform left out or changed, before those that it added (RFC 7044 10.1: earlier ones
// are not to be touched).
func (g *guard) history(m, original *sip.Message) *refusal {
	had := original.Count(sip.HdrHistoryInfo)
	whole := m.Count(sip.HdrHistoryInfo) >= had
	for i := 0; whole && i < had; i++ {
		whole = bytes.Equal(m.Nth(sip.HdrHistoryInfo, i), original.Nth(sip.HdrHistoryInfo, i))
	}
	if !whole {
		putBack(m, original, sip.HdrHistoryInfo)
	}
	return nil
}

// bound keeps a counter below what it was when the request went out.
func bound(m, original *sip.Message, h sip.HeaderID) {
	most, err := strconv.Atoi(string(original.Get(h)))
	if err != nil {
		return
	}
	if n, err := strconv.Atoi(string(m.Get(h))); err != nil || n > most-1 {
		m.SetUint(h, uint64(max(most-1, 0)))
	}
}

// originates judges a request that the platform begins itself: as one of its public service identities.
func (g *guard) originates(m *sip.Message) (hop.Name, *refusal) {
	scope, known := originating[m.Method()]
	if !known {
		if r := g.lacks("method"); r != nil {
			return "", r
		}
	} else if r := g.needs(scope); r != nil {
		return "", r
	}
	asserted := m.Get(sip.HdrPAssertedIdentity)
	if asserted == nil {
		asserted = m.Get(sip.HdrFrom)
	}
	if !g.speaksFor(asserted) || !g.speaksFor(m.Get(sip.HdrFrom)) {
		if r := g.forges("originator"); r != nil {
			return "", r
		}
	}
	if !m.Has(sip.HdrPAssertedIdentity) {
		m.SetString(sip.HdrPAssertedIdentity, "<"+string(uriOf(asserted))+">")
	}
	m.Remove(sip.HdrRoute)
	m.Remove(sip.HdrRecordRoute)
	m.Remove(sip.HdrPServedUser)
	if !g.isHost(m.Get(sip.HdrContact)) && m.Method().MakesDialog() {
		if r := g.lacks("contact"); r != nil {
			return "", r
		}
	}
	if m.Method().MakesDialog() {
		g.began = true
		g.door.visits.join(g.service.Manifest.Host(), m.Get(sip.HdrCallID), "", g.now)
	}
	return g.door.cfg.SCSCF, nil
}

// originating is the scope that a platform needs to begin something.
var originating = map[sip.Method]isc.Scope{
	sip.INVITE: isc.SessionOriginate, sip.MESSAGE: isc.MessageSend, sip.SUBSCRIBE: isc.PresenceWatch, sip.PUBLISH: isc.PresenceCompose,
	sip.NOTIFY: isc.MWINotify,
}

// leave is the way of a response through the door to a platform (hop.Leave).
func (g *guard) leave() hop.Leave {
	return func(x *hop.Exchange, r hop.Reply) hop.Reply {
		if r.HasKeys() { // there are none on this side of the core
			r.Msg.Release()
			r = x.Respond(500, "")
		}
		host, succeeded := g.service.Manifest.Host(), r.Status()/100 == 2
		if g.visit != nil {
			g.visit.behind(r.Msg)
			if succeeded && g.visit.method.MakesDialog() {
				g.door.visits.answer(host, []byte(g.callID), r.Msg.ToTag())
			}
		}
		switch {
		case !r.Final():
		case g.hangsUp:
			g.door.visits.hangUp(host, []byte(g.callID), g.tags[0], g.tags[1])
		case g.began && !succeeded: // what it began came to nothing
			g.door.visits.leave(host, []byte(g.callID))
		}
		g.door.conceal(g.service, r.Msg)
		return r
	}
}

// uriOf returns the URI of a name-addr, the value itself where it can't be read as one.
func uriOf(nameAddr []byte) []byte {
	a, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		return nameAddr
	}
	return a.URI
}

// has reports whether a field of m has the value v.
func has(m *sip.Message, h sip.HeaderID, v []byte) bool {
	for have := range m.Values(h) {
		if bytes.Equal(have, v) {
			return true
		}
	}
	return false
}

// putBack gives m the values that original has of a field.
func putBack(m, original *sip.Message, h sip.HeaderID) {
	m.Remove(h)
	for v := range original.Values(h) {
		m.Append(h, v)
	}
}
