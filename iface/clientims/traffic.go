package clientims

import (
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
)

// What a user may carry in his signalling. A call and each message have a record; what stands in their headers, in requests within a dialog and in
// answers has none. Without a bound two clients would have a free channel there. Who calls for help is not counted for a while, and REGISTERs carry
// nothing to anybody.

// shapes reports how a request of a registered client is refused that carries too much: 0 if it is not. Who has spent his octets may still hang up
// (lighten).
func (p *Port) shapes(f siptransport.Flow, m *sip.Message, a *association) (status int, more func(*sip.Message)) {
	if !a.proof.Registered() || m.Method() == sip.REGISTER || m.Method() == sip.BYE || p.door.isEmergency(m) {
		return 0, nil
	}
	switch reason := p.carries(m, p.door.budgets.userOf(a)); {
	case reason == "" || !p.refusesTraffic(reason):
		return 0, nil
	case reason != tooLarge:
		return busy(f)
	case p.forgeable(f):
		return siptxn.Silence, nil
	}
	return 513, nil
}

// lighten takes off what cannot be refused, an answer, a BYE or an ACK, the headers that nobody needs, if there is too much of it.
func (p *Port) lighten(m *sip.Message, user budget.Key) {
	if reason := p.carries(m, user); reason != "" && p.refusesTraffic(reason) {
		m.Remove(sip.HdrOther)
	}
}

// helpLife is for how long the octets of a user are not counted after an emergency call has begun.
const helpLife = 30 * time.Minute

// tooLarge is the reason for a message whose headers alone are too many.
const tooLarge = "headers"

// carries counts a message, and says why it is too much; "" if it is not.
func (p *Port) carries(m *sip.Message, user budget.Key) (reason string) {
	b, size := p.door.budgets, m.Size()
	if b.calling.Has(user, p.shard.Now()) {
		return ""
	}
	if size-len(m.Body()) > b.headers {
		reason = tooLarge
	}
	if m.Method() == sip.MESSAGE {
		size -= len(m.Body())
	}
	if !b.octets.TakeN(user, size, p.shard.Now()).Granted() && reason == "" {
		reason = "octets"
	}
	if reason != "" {
		b.n.OverTraffic.Add(1)
	}
	return reason
}

// userOf is the key of whose client an association is.
func (b *budgets) userOf(a *association) budget.Key { return b.keys.OfText(a.proof.IMPI()) }

// refusesTraffic is the enforcement point of "signalling carries signalling".
func (p *Port) refusesTraffic(reason string) bool {
	return p.door.ports.Gate.Refuse(secure.CIAvailabilityTrafficShape, secure.Event{Reason: reason})
}
