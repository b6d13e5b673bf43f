package scscf

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/budget"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// Anybody may begin to register in anybody's name, and what he begins waits until it is answered or its time is over. So there is an end of what waits
// in one name; and what is beyond it must not be at the cost of the owner, who is about to answer hers.

// origins tell where attempts in a name come from, and remember from where the name was proven. Safe for concurrent use.
type origins struct {
	nodes  []netip.AddrPort // Config.Nodes
	keys   budget.Keys
	proven *budget.Recent // private identities at addresses
}

const (
	originPlaces   = 1 << 16
	originRemember = 24 * time.Hour
)

func newOrigins(nodes []netip.AddrPort) *origins {
	return &origins{nodes: nodes, keys: budget.NewKeys(), proven: budget.NewRecent(originPlaces)}
}

// of says where a REGISTER in the name of impi comes from.
func (o *origins) of(in hop.Inbound, impi string, now time.Duration) budget.Waiting {
	from := o.client(in)
	return budget.Waiting{Network: o.keys.Network(from), Address: o.keys.Source(from), Known: from.IsValid() && o.proven.Has(o.at(impi, from), now)}
}

// prove notes that a REGISTER has proven the name.
func (o *origins) prove(in hop.Inbound, impi string, now time.Duration) {
	o.proven.Add(o.at(impi, o.client(in)), now+originRemember)
}

func (o *origins) at(impi string, from netip.Addr) budget.Key {
	return o.keys.AndText(o.keys.Source(from), impi)
}

// client is the address of a client: as the door has it, or where the P-CSCF is in another process as that has noted it in the client's Via (RFC 3261 18.2.1).
// That is the first below those of our nodes; what a client writes himself stands below it. Zero where nobody has said.
func (o *origins) client(in hop.Inbound) netip.Addr {
	if in.Proof.Kind() != secure.KindNode {
		return source(in)
	}
	for i := 1; ; i++ { // the first is that of the node which sends to us
		via, err := sip.ParseVia(in.Msg.Nth(sip.HdrVia, i))
		if err != nil {
			return netip.Addr{}
		}
		addr, err := netip.ParseAddr(string(via.Received))
		if err != nil {
			return netip.Addr{}
		}
		if addr = addr.Unmap(); !o.ours(addr, &via) {
			return addr
		}
	}
}

// ours reports whether a Via is one of our nodes': it came from there, and says so.
func (o *origins) ours(from netip.Addr, via *sip.Via) bool {
	return slices.ContainsFunc(o.nodes, func(n netip.AddrPort) bool {
		host, err := netip.ParseAddr(string(via.Host))
		return err == nil && n.Addr() == from && host.Unmap() == from && via.Port == n.Port()
	})
}

// refusesCrowd is the enforcement point of "attempts in a name make room for others of the same crowd, and not those of somebody else".
func (s *SCSCF) refusesCrowd(impi string) bool {
	return s.ports.Gate.Refuse(secure.CIAvailabilityAttempts, secure.Event{Reason: "crowd", Subject: impi})
}

// pendingChallenge is one challenge that waits for its answer. It holds the vector's secrets and so lives in
// memory only; after a crash the client is challenged afresh.
type pendingChallenge struct {
	nonce     []byte
	algorithm aka.DigestAlgorithm
	vector    aka.Vector
	of        tie            // whom it went to
	from      budget.Waiting // and where that is
	impi      string
	until     time.Duration

	before, behind *pendingChallenge // in the order in which they came
}

// challenges keeps the pending challenges of each private identity: one for each path, where a new one kills the older
// (TS 33.203 6.1.2.3). Anybody can ask for a challenge in another's name: that must not kill the one that he is about to
// answer. Safe for concurrent use.
type challenges struct {
	life    time.Duration
	crowded func(impi string) bool // SCSCF.refusesCrowd

	mu      sync.Mutex
	pending map[string][]*pendingChallenge // oldest first
	// The first and the last of all: in this order their time is over. One that is answered leaves at once, so a network that is busy keeps no more
	// than those who think.
	first, last *pendingChallenge
}

// maxPending bounds the challenges that wait in one name: beyond it a crowd makes room for itself (budget.Yields). The door has as many
// associations for them.
const maxPending = 64

func newChallenges(life time.Duration, crowded func(impi string) bool) *challenges {
	return &challenges{life: life, crowded: crowded, pending: map[string][]*pendingChallenge{}}
}

// put makes c a pending challenge of impi and forgets what has waited too long.
func (cs *challenges) put(impi string, c *pendingChallenge, now time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for cs.first != nil && cs.first.until <= now {
		cs.remove(cs.first)
	}
	c.impi, c.until = impi, now+cs.life
	all := cs.pending[impi]
	if i := slices.IndexFunc(all, func(old *pendingChallenge) bool { return old.of == c.of }); i >= 0 {
		cs.remove(all[i])
	} else if len(all) == maxPending {
		cs.remove(all[cs.yields(impi, all, c)])
	}
	cs.pending[impi] = append(cs.pending[impi], c)
	c.before, cs.last = cs.last, c
	if c.before != nil {
		c.before.behind = c
	} else {
		cs.first = c
	}
}

// remove forgets c, which is pending.
func (cs *challenges) remove(c *pendingChallenge) {
	all := cs.pending[c.impi]
	at := slices.Index(all, c)
	if all = slices.Delete(all, at, at+1); len(all) > 0 {
		cs.pending[c.impi] = all
	} else {
		delete(cs.pending, c.impi)
	}
	if c.before != nil {
		c.before.behind = c.behind
	} else {
		cs.first = c.behind
	}
	if c.behind != nil {
		c.behind.before = c.before
	} else {
		cs.last = c.before
	}
	c.before, c.behind = nil, nil
}

// yields returns which challenge makes room for next.
func (cs *challenges) yields(impi string, all []*pendingChallenge, next *pendingChallenge) int {
	var waiting [maxPending]budget.Waiting
	for i, c := range all {
		waiting[i] = c.from
	}
	i := budget.Yields(waiting[:len(all)], next.from)
	if i > 0 && !cs.crowded(impi) {
		return 0
	}
	return i
}

// take removes and returns the challenge of impi with this nonce if it has not expired: no answer is judged twice, and a
// wrong nonce costs the true client nothing.
func (cs *challenges) take(impi string, nonce []byte, now time.Duration) (*pendingChallenge, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := cs.pending[impi]
	i := slices.IndexFunc(all, func(c *pendingChallenge) bool { return c.until > now && string(c.nonce) == string(nonce) })
	if i < 0 {
		return nil, false
	}
	c := all[i]
	cs.remove(c)
	return c, true
}
