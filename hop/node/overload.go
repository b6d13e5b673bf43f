package node

import (
	"time"

	"imsafe/proto/overload"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// Overload control between nodes (RFC 7339): each tells the other in the Via of its responses what it cannot take, and holds back what it is told.
// Peers are proven by their certificate, so one that understands is believed; one that does not is turned away as far as needed (5.10.2). What a user
// sends beyond his share is turned away from both: a node that holds back by what it is told does so with everybody's.

// Screen implements siptxn.Screener.
func (p *Port) Screen(f siptransport.Flow, m *sip.Message) (status int, more func(*sip.Message)) {
	if p.load == nil {
		return 0, nil
	}
	k, now := p.weigh(m, p.shard.Now()), p.shard.Now()
	if k != overload.Greedy && overload.Offered(m.Get(sip.HdrVia)) != 0 {
		p.load.Came(k, now)
		return 0, nil
	}
	if p.load.Sheds(k, now) && p.w.ports.Overloaded(secure.Event{Reason: "node-" + k.String(), Source: f.Peer.Addr()}) {
		return 503, nil // without Retry-After: all users of that node would wait
	}
	return 0, nil
}

// weigh is how important a request is, in an overload by whose it is too: the peer has asserted it (RFC 3325 5), as the door of clients knows it.
func (p *Port) weigh(m *sip.Message, now time.Duration) overload.Class {
	k := classOf(m)
	if k != overload.Fresh || !p.load.Active() {
		return k
	}
	asserted := m.Get(sip.HdrPAssertedIdentity)
	if len(asserted) > 0 && !p.w.shares.Take(p.w.keys.Of(asserted), now).Granted() {
		return overload.Greedy
	}
	return k
}

// classOf is how important a request of another node is.
func classOf(m *sip.Message) overload.Class {
	switch {
	case len(m.ToTag()) > 0 || isSOS(m.RequestURI()):
		return overload.Standing
	case m.Method() != sip.REGISTER:
		return overload.Fresh
	case answers(m):
		return overload.Again
	}
	return overload.First
}

// answers reports whether a REGISTER goes on with what was begun: it answers a challenge, or comes by associations of a registered user.
func answers(m *sip.Message) bool {
	c, err := m.Credentials(0)
	return err == nil && (len(c.Response) > 0 || string(c.IntegrityProtected) == "yes" || string(c.IntegrityProtected) == "tls-yes")
}

// isSOS reports whether a Request-URI is that of an emergency service (RFC 5031).
func isSOS(uri []byte) bool {
	const sos = "urn:service:sos"
	return len(uri) >= len(sos) && string(uri[:len(sos)]) == sos
}

// report is what a peer is told (siptxn.Config.Report).
func (p *Port) report(_ siptransport.Flow, _ overload.Algorithms) (overload.Report, bool) {
	r := overload.Report{Algorithm: overload.Loss}
	loss := p.load.LossOf(overload.Fresh)
	if !p.load.Active() || loss == 0 {
		r.Seq = overload.SeqOf(p.shard.Wall())
		return r, true
	}
	r.Value, r.Validity = uint32(loss), overload.DefaultValidity
	r.Seq = overload.SeqOf(p.shard.Wall().Add(p.load.Turned() - p.shard.Now()))
	return r, true
}

// heard takes what a peer tells (siptxn.Config.Heard).
func (p *Port) heard(from siptransport.Flow, r overload.Report) {
	t := p.held[from.Peer]
	if t == nil {
		t = new(overload.Throttle)
		p.held[from.Peer] = t // responses come from peers that we have asked: there are few
	}
	t.Heard(r, p.shard.Now())
}

// admits reports whether a request may be sent to a peer (RFC 7339 5.5). What belongs to a dialog or a registration is held back last.
func (p *Port) admits(peer *Peer, m *sip.Message) bool {
	t := p.held[peer.Address]
	if t == nil || m.Method() == sip.ACK || isSOS(m.RequestURI()) {
		return true
	}
	return t.Admits(classOf(m) <= overload.Again, p.shard.Now())
}
