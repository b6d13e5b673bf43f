package clientims

import (
	"net/netip"

	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// mayReply reports whether what came by one flow may answer a request that left by another (siptxn.Config). Whoever has seen a branch could answer in the place of
// the client that was asked, from outside its associations or as another user: a response belongs to the association that its request went to, as a
// request does to the one that it came by (TS 33.203 7.1).
func (p *Port) mayReply(asked, by siptransport.Flow) bool {
	if p.access.Shared || p.forgeable(asked) {
		return asked.Peer.Addr() == by.Peer.Addr() // in clear there is nothing but the address
	}
	if asked.Via == by.Via {
		return true
	}
	answers, known := p.carriedBy(by)
	if !known || !answers.proof.Registered() {
		if p.access.gm == nil { // telephones answer by a connection that they make for it (RFC 3261 18.2.2): who has the branch has read it inside TLS
			return asked.Peer.Addr() == by.Peer.Addr()
		}
		if p.door.refusesOutside("response", by.Peer.Addr()) {
			return false
		}
	}
	whom, standing := p.carriedBy(asked)
	switch {
	case !standing:
		return false // nobody waits for it
	case known && answers.ref == whom.ref:
		return true // its associations were renewed meanwhile
	}
	return !p.door.ports.Push.Impersonates(whom.proof, answers.proof)
}

// carriedBy returns the association that a flow belongs to, whichever shard that is on.
func (p *Port) carriedBy(f siptransport.Flow) (association, bool) {
	if s := p.setOf(f); s != nil {
		return p.recogniseSealed(s)
	}
	for _, other := range p.access.ports {
		if ref, known := other.paths.get(other.paths.of(whence{flow: f})); known {
			return p.door.lookup(ref)
		}
	}
	return association{}, false
}

// repliesInClear reports whether octets that came by the unprotected port of ipsec-3gpp answer a request that went into security associations. It
// takes them to where that waits.
func (p *Port) repliesInClear(f siptransport.Flow, data []byte) bool {
	if p.access.gm == nil || p.access.Protected {
		return false
	}
	sealed := p.access.gm.sealed.ports[p.shard.ID()].layer
	if _, names := sealed.PlaceOfResponse(data); !names {
		return false
	}
	sealed.Input(f, data)
	return true
}

// refusesOutside is the enforcement point of "what is not for everybody comes inside an association of somebody who has registered" (TS 33.203 7.1).
func (d *Door) refusesOutside(reason string, from netip.Addr) bool {
	return d.ports.Gate.Refuse(secure.CIAuthorizationProtectedPort, secure.Event{Reason: reason, Source: from})
}
