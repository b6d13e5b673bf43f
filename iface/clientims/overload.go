package clientims

import (
	"strconv"
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/overload"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
)

// What is turned away when there is more to do than can be done (RFC 7339 5.10.2). Repetitions, answers, ACK and CANCEL never come here; what
// belongs to a dialog, and emergency calls, are served; then re-registrations, then first ones, then new calls and messages. Whoever
// sends more than his share while others wait comes last: a few who flood do not cost the others anything.

// sheds reports with which status a new request is turned away, 0 if it is not. It is asked before anybody draws a vector for it.
func (p *Port) sheds(f siptransport.Flow, m *sip.Message, a *association) (status int, more func(*sip.Message)) {
	now := p.shard.Now()
	k := p.classOf(m, a)
	if !p.load.Active() && now >= p.turned {
		p.load.Came(k, now)
		return 0, nil
	}
	name, again := p.repeats(f, m, a, now)
	if !again {
		k = p.weigh(k, m, a, now)
		again = p.load.Sheds(k, now)
	}
	if !again || !p.refusesLoad(k, f) {
		return 0, nil
	}
	p.door.budgets.n.OverLoad.Add(1)
	p.turns++
	if p.forgeable(f) {
		return siptxn.Silence, nil // as for every budget there (decision 019)
	}
	if !f.Via.Reliable() {
		p.turned = now + p.layer.Repeats()
		p.door.budgets.told.Add(name, p.turned)
	}
	return 503, p.comeLater
}

// repeats reports whether a datagram within security associations was refused before: then it is again, whatever has changed, since a request
// has one answer. Outside of them there is none at all.
func (p *Port) repeats(f siptransport.Flow, m *sip.Message, a *association, now time.Duration) (name budget.Key, again bool) {
	if f.Via.Reliable() || p.forgeable(f) {
		return 0, false
	}
	via, err := m.TopVia()
	if err != nil {
		return 0, false
	}
	b := p.door.budgets
	name = b.keys.And(b.client(a.ref), via.Branch)
	return name, b.told.Has(name, now)
}

// classOf is how important a request is by what it says itself.
func (p *Port) classOf(m *sip.Message, a *association) overload.Class {
	switch {
	case len(m.ToTag()) > 0 || a.emergency || p.door.isEmergency(m):
		return overload.Standing
	case m.Method() != sip.REGISTER && a.proof.Registered():
		return overload.Fresh
	case m.Method() != sip.REGISTER:
		return overload.Standing // a stranger's; it is refused at once
	case a.proof.Registered():
		return overload.Again
	}
	return overload.First
}

// weigh is the same in an overload, by what is known of its sender. A REGISTER that answers a challenge of ours finishes what was begun;
// who is registered and registers another has no claim.
func (p *Port) weigh(k overload.Class, m *sip.Message, a *association, now time.Duration) overload.Class {
	b := p.door.budgets
	table := b.shares
	switch k {
	case overload.Standing:
		if !a.proof.Registered() || p.door.isEmergency(m) {
			return k
		}
		table = b.talk
	case overload.First, overload.Again:
		c := b.readClaims(m)
		if c.answers && b.challenged.Has(b.keys.And(c.name, c.nonce), now) {
			return overload.Again
		}
		if k == overload.First || a.proof.IMPI() != string(c.impi) {
			return overload.First
		}
	}
	who := b.keys.And(b.keys.Of([]byte(a.proof.IMPI())), []byte{byte(k)})
	if !table.Take(who, now).Granted() {
		return overload.Greedy
	}
	return k
}

// refusesLoad asks whether a refusal stands.
func (p *Port) refusesLoad(k overload.Class, f siptransport.Flow) bool {
	return p.door.ports.Overloaded(secure.Event{Reason: k.String(), Source: f.Peer.Addr().Unmap()})
}

// How long a 503 may wait for others over the same connection. Who is turned away is to come back in seconds, so he loses nothing. Most of what a
// refusal costs is the system call that it leaves with; and a client that does not heed Retry-After, but waits for answers before it sends
// on, comes less often. It is shorter than what makes somebody take a connection for dead.
const (
	patience = 20 * time.Millisecond // for each percent that is turned away
	longest  = time.Second
)

// patience grows with what is turned away; without an overload there is none (siptxn.Config.Patience).
func (p *Port) patience() time.Duration {
	return min(time.Duration(p.load.Loss())*patience, longest)
}

// comeLater adds when to come again: the later the more is turned away, and not all at once (RFC 3261 21.5.4). RFC 7339 5.10.2 leaves it out, since a
// proxy that obeys stops for all its users; a client is one user's, and without it he would go to another P-CSCF (TS 24.229 5.1.2A.1.6).
func (p *Port) comeLater(r *sip.Message) {
	seconds := 2 + p.load.Loss()/20 + int(p.turns%5)
	var digits [4]byte
	r.Set(sip.HdrRetryAfter, strconv.AppendInt(digits[:0], int64(seconds), 10))
}

// report is what a client is told that understands overload control (siptxn.Config.Report): so many percent less, or if it knows of rates its
// share, which says more to a single user. Strangers are told nothing: it would show them how their flood fares.
func (p *Port) report(to siptransport.Flow, offered overload.Algorithms) (r overload.Report, ok bool) {
	if !p.registeredAt(to) {
		return r, false
	}
	r.Algorithm = overload.Loss
	if offered.Has(overload.Rate) {
		r.Algorithm = overload.Rate
	}
	if !p.load.Active() {
		r.Seq = overload.SeqOf(p.shard.Wall())
		return r, true
	}
	r.Seq = overload.SeqOf(p.shard.Wall().Add(p.load.Turned() - p.shard.Now()))
	r.Validity, r.Value = overload.DefaultValidity, uint32(p.load.Loss())
	if r.Algorithm == overload.Rate {
		r.Value = p.door.budgets.share
	}
	return r, true
}

// registeredAt reports whether a registered client is at the other end of a flow.
func (p *Port) registeredAt(f siptransport.Flow) bool {
	if s := p.setOf(f); s != nil {
		a, known := p.door.lookup(s.owner)
		return known && a.proof.Registered()
	}
	for _, ref := range p.flows[f] {
		if a, known := p.door.lookup(ref); known && a.proof.Registered() {
			return true
		}
	}
	return false
}
