package load

import (
	"bytes"
	"time"

	"imsafe/proto/sip"
)

// begin lets somebody begin a scenario whose time has come; false if nobody is free who could.
func (w *worker) beginPlay(kind Scenario, at time.Duration) bool {
	from := &w.registered
	if kind == Registration {
		from = &w.unregistered
	}
	a, ok := from.take(w.ues, w.arrivals.random)
	if !ok {
		return false
	}
	b := int32(-1)
	if kind == Call || kind == Message {
		if b, ok = w.registered.take(w.ues, w.arrivals.random); !ok {
			w.registered.put(w.ues, a)
			return false
		}
	}
	_, id := w.start(kind, a, b, at)
	switch kind {
	case Call:
		w.invite(id, sip.INVITE, nil)
	case Message:
		w.invite(id, sip.MESSAGE, nil)
	default:
		w.sendRegister(id, w.unanswered(&w.ues[a]))
	}
	return true
}

// sendRegister sends a REGISTER with credentials, or without.
func (w *worker) sendRegister(id int32, credentials *sip.Credentials) {
	p := &w.plays[id]
	expires := w.target.Expires
	if p.kind == Deregistration {
		expires = 0
	}
	u, branch := &w.ues[p.a], w.newBranch()
	p.side[0].out = w.register(w.buffer(), u, branch, expires, credentials)
	if p.challenges > 0 && w.thinks > 0 {
		sd := &p.side[0]
		sd.waits, sd.cseq, sd.branch = thinking, u.cseq, branch
		w.wheel.arm(2*id, w.now+w.thinks)
		return
	}
	w.request(id, 0, sip.REGISTER, u.cseq, branch)
}

// unanswered are the credentials of a REGISTER that answers nothing yet (TS 24.229 5.1.1.2.2); none with a password at a plain registrar.
func (w *worker) unanswered(u *ue) *sip.Credentials {
	if w.target.Lenient && !u.sub.Scheme.AKA() {
		return nil
	}
	k := &w.scratch
	k.impi = append(k.impi[:0], u.sub.IMPI...)
	k.out = sip.Credentials{Username: k.impi, Realm: w.domain, Nonce: []byte{}, URI: w.registrar, Response: []byte{}}
	return &k.out
}

// invite sends an INVITE, or a MESSAGE, from a to b.
func (w *worker) invite(id int32, method sip.Method, authorization []byte) {
	p := &w.plays[id]
	sd, u, branch := &p.side[0], &w.ues[p.a], w.newBranch()
	sd.dialog.invite++
	if authorization == nil {
		sd.dialog.invite = 1
	}
	if method == sip.INVITE && !w.offers(sd) {
		w.finish(id, &Failure{Step: "media", Cause: "no key"})
		return
	}
	sd.out = w.initial(w.buffer(), u, p, method.String(), &w.ues[p.b], sd.dialog.invite, branch, authorization)
	w.request(id, 0, method, sd.dialog.invite, branch)
}

// answered is a final response to the request of a side.
func (w *worker) answered(id int32, of int, m *sip.Message) {
	p := &w.plays[id]
	sd := &p.side[of]
	method, code := sd.method, m.Status()
	took := w.now - sd.sent
	w.settle(sd, id, of)
	sd.waits = nothing
	if method == sip.INVITE && code >= 300 {
		u := &w.ues[p.a]
		w.say(u, p.a, w.refused(w.line[:0], u, m))
	}
	if code == 401 && method == sip.REGISTER || code == 407 && (method == sip.INVITE || method == sip.MESSAGE) {
		w.challenged(id, m)
		return
	}
	if code >= 300 {
		w.finish(id, &Failure{Step: method.String(), Code: code, Cause: "refused"})
		return
	}
	var wrong string
	switch method {
	case sip.REGISTER:
		if wrong = w.checkRegistered(p, m); wrong == "" {
			w.took(p, int(p.kind), w.now-p.began)
		}
	case sip.MESSAGE:
		if code == 200 && !p.delivered {
			wrong = "answered and not delivered"
		}
		w.took(p, stepMessage, took)
	case sip.INVITE:
		if wrong = w.established(id, m); wrong == "" {
			w.took(p, stepAnswer, took)
			return
		}
	case sip.BYE:
		w.took(p, stepRelease, took)
	}
	if wrong != "" {
		w.finish(id, &Failure{Step: method.String(), Code: code, Cause: wrong})
		return
	}
	w.finish(id, nil)
}

func (w *worker) took(p *play, step int, d time.Duration) {
	if p.recorded {
		w.stats.latency[step].add(d)
	}
}

// checkRegistered judges the 200 to a REGISTER and learns from it.
func (w *worker) checkRegistered(p *play, m *sip.Message) string {
	u := &w.ues[p.a]
	bound := w.bound(u, m)
	if p.kind == Deregistration {
		u.route = u.route[:0]
		if bound {
			return "the binding is still there"
		}
		return ""
	}
	if !bound {
		return "the binding is not there"
	}
	u.route = u.route[:0]
	for v := range m.Values(sip.HdrServiceRoute) {
		if len(u.route) == 0 { // the P-CSCF comes first (TS 24.229 5.1.2A.1)
			u.route = build(u.route).s("Route: <sip:").at(w.routeTo(u)).s(";lr").s(w.contactParams).s(">\r\n")
		}
		u.route = append(append(append(u.route, "Route: "...), v...), "\r\n"...)
	}
	if !w.target.Lenient {
		if len(u.route) == 0 {
			return "no Service-Route"
		}
		if !names(m, sip.HdrPAssociatedURI, u.sub.IMPU) {
			return "P-Associated-URI without the identity"
		}
	}
	return ""
}

// bound reports whether the contact of u is among those of m, and lives.
func (w *worker) bound(u *ue, m *sip.Message) bool {
	w.key = append(build(w.key[:0]).s("sip:").s(u.sub.User).s("@").at(w.contactAt(u)), w.contactParams...)
	for i := range m.Count(sip.HdrContact) {
		c, err := sip.ParseNameAddr(m.Nth(sip.HdrContact, i))
		if err != nil || !bytes.HasPrefix(c.URI, w.key) || len(c.URI) > len(w.key) && c.URI[len(w.key)] != ';' {
			continue
		}
		seconds, ok := m.ContactExpires(i)
		return !ok || seconds > 0
	}
	return false
}

// names reports whether one of the values of h is identity.
func names(m *sip.Message, h sip.HeaderID, identity string) bool {
	for v := range m.Values(h) {
		if a, err := sip.ParseNameAddr(v); err == nil && string(a.URI) == identity {
			return true
		}
	}
	return false
}

// established is the 200 to an INVITE: the dialog is there, and is acknowledged (RFC 3261 13.2.2.4).
func (w *worker) established(id int32, m *sip.Message) string {
	p := &w.plays[id]
	u, d := &w.ues[p.a], &p.side[0].dialog
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil || len(m.ToTag()) == 0 {
		return "no tag, or no contact"
	}
	d.callID, d.local, d.remote = append(d.callID[:0], m.Get(sip.HdrCallID)...), append(d.local[:0], m.Get(sip.HdrFrom)...), append(d.remote[:0], m.Get(sip.HdrTo)...)
	d.target, d.route, d.seq = append(d.target[:0], contact.URI...), d.route[:0], d.invite+1
	for i := m.Count(sip.HdrRecordRoute) - 1; i >= 0; i-- { // in reverse order (RFC 3261 12.1.2)
		d.route = append(append(append(d.route, "Route: "...), m.Nth(sip.HdrRecordRoute, i)...), "\r\n"...)
	}
	w.say(u, p.a, w.inDialog(w.line[:0], u, d, "ACK", d.invite, w.newBranch()))
	if len(m.Body()) == 0 || !bytes.Contains(m.Get(sip.HdrContentType), []byte("application/sdp")) {
		return "no answer in SDP"
	}
	if wrong := w.hears(&p.side[0], m.Body()); wrong != "" {
		return wrong
	}
	w.speaks(id, 0)
	if p.ends == 0 {
		w.hold(id, 0)
	}
	return ""
}

// hold lets a side wait until the talk is over.
func (w *worker) hold(id int32, of int) {
	p := &w.plays[id]
	end := w.now + w.length()
	p.side[of].waits, p.hush = holding, end-hush
	w.wheel.arm(2*id+int32(of), end)
}

// length is how long a talk lasts: exponential, and when no more calls come, whatever remains within w.ending.
func (w *worker) length() time.Duration {
	if w.ending > w.now {
		return time.Duration(w.arrivals.random.Int64N(int64(w.ending-w.now) + 1))
	}
	return w.arrivals.exponential(w.holding)
}

// hangUp sends BYE.
func (w *worker) hangUp(id int32, of int) {
	p := &w.plays[id]
	u := &w.ues[p.a]
	if of == 1 {
		u = &w.ues[p.b]
	}
	sd, branch := &p.side[of], w.newBranch()
	sd.out = w.inDialog(w.buffer(), u, &sd.dialog, "BYE", sd.dialog.seq, branch)
	w.request(id, of, sip.BYE, sd.dialog.seq, branch)
}
