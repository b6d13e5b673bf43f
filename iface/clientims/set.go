package clientims

import (
	"net/netip"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// set is one set of four security associations, and the sender of what goes through it. It never changes.
type set struct {
	ref     esp.Ref
	owner   secure.Association
	carrier Carrier
	local   netip.AddrPort    // our protected server port
	client  netip.AddrPort    // the client's
	here    secagree.Endpoint // what our Security-Server says
	there   secagree.Endpoint // what the client's Security-Client said
	profile *secagree.Profile
	choice  secagree.Choice
}

var _ siptransport.Sender = (*set)(nil)

// SendTo implements siptransport.Sender. Over UDP everything leaves from the protected client port towards the client's protected server
// port, responses too (TS 33.203 7.1).
func (s *set) SendTo(_ netip.AddrPort, b []byte) error { return s.carrier.Send(s.ref, esp.Client, b) }

// Reliable implements siptransport.Sender.
func (s *set) Reliable() bool { return false }

// Proto implements siptransport.Sender.
func (s *set) Proto() string { return "UDP" }

// Local implements siptransport.Sender.
func (s *set) Local() netip.AddrPort { return s.local }

// strangerSet is the set of a connection whose associations are forgotten. No association has it.
var strangerSet = &set{}

// flow is how a request reaches the client.
func (s *set) flow() siptransport.Flow { return siptransport.Flow{Via: s, Peer: s.client} }

// securityServer appends the list that the 401 announced.
func (s *set) securityServer(dst []secagree.Entry) []secagree.Entry {
	return secagree.AppendOffer(dst, *s.profile, s.here, s.choice.Mode)
}

// agreement is what requests over the set are held to. The list of the 401 takes the place of space.
func (s *set) agreement(space []secagree.Entry) secagree.Agreement {
	return secagree.Agreement{Server: s.securityServer(space), Last: s.there}
}

// The generations of the sets of one association, in the order in which one becomes the next (TS 33.203 7.4).
const (
	fresh   = iota // of the authentication under way
	current        // of the latest successful one
	former         // of the one before
	generations
)

// installed is a set and what is known of it.
type installed struct {
	set   *set
	until time.Duration // on the monotonic clock
	spent bool          // it vouches for no REGISTER
	dead  bool          // it is given up, and there until its last answer has arrived: nothing that comes over it is heard
}

// security is what an association of ipsec-3gpp has beside one of TLS: at most three sets, so at most six associations in each direction
// (TS 33.203 7.1). It changes only as a whole.
type security struct {
	gm        *Gm
	user      user // whose it claims to be, and after Promote is
	offer     *offer
	said      secagree.Said // the Security-Client that the unfinished set answers
	sets      [generations]installed
	byStream  bool          // its last REGISTER came over TCP
	deafUntil time.Duration // it took no connection, and is not asked before
	// switchAt is when requests to the client leave the former set; 0: they have.
	switchAt time.Duration
}

// standing reports whether there is a set that has not ended.
func (s *security) standing() bool {
	return s.sets[fresh].set != nil || s.sets[current].set != nil
}

// find returns the generation of the set with ref, -1 if there is none.
func (s *security) find(ref esp.Ref) int {
	for g := range s.sets {
		if s.sets[g].set != nil && s.sets[g].set.ref == ref && !s.sets[g].dead {
			return g
		}
	}
	return -1
}

// generation says what the set at a place vouches for.
func (s *security) generation(at int) secure.Generation {
	switch {
	case s.sets[at].spent || at == former:
		return secure.GenerationOld
	case at == fresh:
		return secure.GenerationNew
	}
	return secure.GenerationCurrent
}

// route returns the set by which a request reaches the client at now, nil if it has never proven itself: after a re-authentication the
// former one, until the client has used the new one or enough time has passed (TS 33.203 7.4).
func (s *security) route(now time.Duration) *set {
	if old := s.sets[former]; old.set != nil && now < s.switchAt && now < old.until {
		return old.set
	}
	return s.sets[current].set
}

// flowBy is how a datagram reaches the client by a set that route has given.
func (s *security) flowBy(by *set) siptransport.Flow {
	if now := s.sets[current].set; by != now && now != nil {
		return siptransport.Flow{Via: &turning{set: by, current: now}, Peer: by.client}
	}
	return by.flow()
}

// turning is the sender of one request to a client that has not used its current set since the 200 that made it so. The request goes by the former;
// what is sent again goes by the current one, for some clients give the former up at the challenge and hear nothing by it (TS 33.203 7.4).
// A client that has both takes it for the retransmission that it is.
type turning struct {
	*set    // the former
	current *set
	sent    bool
}

// SendTo implements siptransport.Sender.
func (t *turning) SendTo(to netip.AddrPort, b []byte) error {
	if t.sent {
		return t.current.SendTo(to, b)
	}
	t.sent = true
	return t.set.SendTo(to, b)
}

// drop takes the set of a generation away and gives its associations up.
func (s *security) drop(g int) {
	if old := s.sets[g].set; old != nil {
		if g == fresh && !s.sets[g].spent && !s.sets[g].dead {
			s.tellSilence(old)
		}
		s.gm.Engine.Remove(old.ref)
		s.sets[g] = installed{}
		if g == fresh {
			s.said = ""
		}
	}
}

// dropAll does it for all.
func (s *security) dropAll() {
	for g := range s.sets {
		s.drop(g)
	}
}
