package clientservice

import (
	"hash/maphash"
	"sync/atomic"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// refusals asks the gate what becomes of the bad packets of one leg. A flood must not make the gate as busy as the attacker likes: of each
// reason it hears of the first packet, the second, the fourth and so on, and what it said last holds in between.
type refusals struct {
	g     *Gateway
	count [32]atomic.Uint64 // by reason
	pass  [32]atomic.Bool   // in a laboratory; false until the gate has said so
}

// refuse is Config.Refuse of a leg.
func (r *refusals) refuse(d rtpport.Drop) bool {
	r.g.counters.Refused.Add(1)
	n := r.count[d].Add(1)
	if n&(n-1) == 0 {
		r.pass[d].Store(!r.g.refuses(d))
	}
	return !r.pass[d].Load()
}

// refuses is the enforcement point of what the engine checks of each packet.
func (g *Gateway) refuses(d rtpport.Drop) bool {
	e := secure.Event{Reason: d.String()}
	switch d {
	case rtpport.DropSource:
		return g.ports.Gate.Refuse(secure.CSConfidentialityNoLearn, e)
	case rtpport.DropTag:
		return g.ports.Gate.Refuse(secure.CSIntegritySRTPVerify, e)
	case rtpport.DropReplay:
		return g.ports.Gate.Refuse(secure.CSIntegritySRTPReplay, e)
	case rtpport.DropRace:
		return g.ports.Gate.Refuse(secure.CSAvailabilityDTLSConsent, e)
	case rtpport.DropFingerprint:
		return g.ports.Gate.Refuse(secure.CSAuthenticationDTLS, e)
	case rtpport.DropReused:
		return g.usedBefore(d.String())
	case rtpport.DropRate:
		return g.overBudget(d.String(), "")
	case rtpport.DropExtension, rtpport.DropContributors, rtpport.DropPadding, rtpport.DropControl, rtpport.DropBundle:
		return g.besideMedia(d.String())
	}
	return true
}

// overBudget is the enforcement point of "so many packets of a port, so many ports of a user".
func (g *Gateway) overBudget(reason, user string) bool {
	return g.ports.Gate.Refuse(secure.CSAvailabilityPortBudget, secure.Event{Reason: reason, Subject: user})
}

// besideMedia is the enforcement point of "of a packet what was agreed on passes".
func (g *Gateway) besideMedia(reason string) bool {
	return g.ports.Gate.Refuse(secure.CSAvailabilityMediaShape, secure.Event{Reason: reason})
}

// usedBefore is the enforcement point of "no key for two legs, and no index twice under one" (RFC 3711 9.1).
func (g *Gateway) usedBefore(reason string) bool {
	return g.ports.Gate.Refuse(secure.CSConfidentialityKeyFresh, secure.Event{Reason: reason})
}

// mayKey reports whether a far end may be keyed as its description says. The P-CSCF has judged that before; the anchor does not take its word
// for what it must not do: keys of descriptions belong to confidential signalling, RTP in clear to a waiver. g.mu is held.
func (g *Gateway) mayKey(side iq.Side, r *iq.Remote) error {
	switch {
	case r.Keying == sdp.DTLSSRTP && len(r.Fingerprints) > 0 && r.Role != sdp.NoRole:
		return nil
	case r.Keying == sdp.SDES && side == iq.Access && r.Confidential:
		key, _ := r.Peer.Key()
		if g.keys.again(maphash.Bytes(g.seed, key)) && g.usedBefore("sdes-key") {
			return iq.ErrKeying
		}
		return nil
	case r.Keying == sdp.PlainRTP && side == iq.Access && r.Waived:
		return nil
	}
	return iq.ErrKeying
}

// recent remembers the keys of descriptions that were used of late, by a hash that only this process can make.
type recent struct {
	seen map[uint64]struct{}
	line []uint64
	next int
}

// maxRecent is how many: some hours of calls.
const maxRecent = 1 << 14

// again takes a key down and reports whether it was there.
func (r *recent) again(key uint64) bool {
	if _, known := r.seen[key]; known {
		return true
	}
	if r.seen == nil {
		r.seen = map[uint64]struct{}{}
	}
	if len(r.line) < maxRecent {
		r.line = append(r.line, key)
	} else {
		delete(r.seen, r.line[r.next])
		r.line[r.next] = key
		r.next = (r.next + 1) % maxRecent
	}
	r.seen[key] = struct{}{}
	return false
}

// Counters of the anchor. All but the first three only grow. Safe for concurrent use.
type Counters struct {
	Sessions atomic.Int64  // under way
	Ports    atomic.Int64  // pairs in use
	Orphans  atomic.Int64  // of the sessions: those whose P-CSCF has died
	Begun    atomic.Uint64 // sessions
	Lost     atomic.Uint64 // sessions whose media failed or fell silent
	Relayed  atomic.Uint64 // packets, RTP and RTCP
	Gated    atomic.Uint64 // authenticated packets that no gate was open for
	Refused  atomic.Uint64 // packets that a check found bad
	Unsent   atomic.Uint64 // packets that the system did not send
}

// Counters returns those of the anchor, live.
func (g *Gateway) Counters() *Counters { return &g.counters }
