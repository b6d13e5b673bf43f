package clientims

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/gm"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// association is one path to a client and what is proven about it. It lies in its table; who asks for it gets a copy.
type association struct {
	ref       secure.Association
	emergency bool // the client has called for help; here, where it takes no room

	path   path
	flow   siptransport.Flow // where requests to the client go
	access *accessPorts
	proof  secure.Proof
	until  time.Duration // on the monotonic clock

	sa *security // with ipsec-3gpp, from the first offer on

	moving *move // lab profiles only; nil: it stays where it is
}

// move is where a client registers from now. It is reached there once that has succeeded.
type move struct {
	flow   siptransport.Flow
	access *accessPorts
}

// associations are those of one shard. The shard writes; any shard reads, because a call may come from
// anywhere.
type associations struct {
	shard *shard.Shard
	limit int

	mu    sync.RWMutex
	slots []slot
	free  []uint32
}

type slot struct {
	gen uint16
	a   *association // nil: free
}

func newAssociations(sh *shard.Shard, limit int) *associations {
	return &associations{shard: sh, limit: limit}
}

// now is read from the clock: the functions of a walk on another shard ask too, and Shard.Now is for its own.
func (t *associations) now() time.Duration { return t.shard.Clock().Now() }

// open makes an association for path that proves nothing yet but where it leads to. claimed is the private identity that a client of ipsec-3gpp says
// it is.
func (t *associations) open(p path, f siptransport.Flow, access *accessPorts, claimed string, life time.Duration) (association, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i uint32
	switch {
	case len(t.free) > 0:
		i = t.free[len(t.free)-1]
		t.free = t.free[:len(t.free)-1]
	case len(t.slots) < t.limit:
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{gen: 1})
	default:
		return association{}, false
	}
	s := &t.slots[i]
	s.a = &association{ref: secure.Association(t.shard.Place(i, s.gen)), path: p, flow: f, access: access,
		until: t.now() + life}
	s.a.mint("", nil, claimed)
	return *s.a, true
}

// mint makes the proof of a.
func (a *association) mint(impi string, impus []string, claimed string) {
	a.proof = mint.Access(mint.Client{Peer: a.peer(), Association: a.ref, Profile: a.access.Profile,
		Protected: a.access.Protected, Claimed: claimed, IMPI: impi, IMPUs: impus})
}

// peer is the client's address as a text: that of its proof, unless it has moved.
func (a *association) peer() string {
	var text [64]byte
	if had := a.proof.Peer(); had == string(a.flow.Peer.AppendTo(text[:0])) {
		return had
	}
	return a.flow.Peer.String()
}

func (t *associations) get(ref secure.Association) (association, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if a := t.find(ref); a != nil && a.until > t.now() {
		return *a, true
	}
	return association{}, false
}

func (t *associations) find(ref secure.Association) *association {
	if int(ref.Slot) >= len(t.slots) || t.slots[ref.Slot].gen != ref.Gen {
		return nil
	}
	return t.slots[ref.Slot].a
}

// moves notes that the client of ref registers over another flow. It is false if ref has ended meanwhile, with the flow before.
func (t *associations) moves(ref secure.Association, to siptransport.Flow, access *accessPorts) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.find(ref)
	if a == nil {
		return false
	}
	a.moving = &move{to, access}
	return true
}

// settle makes the flow that the client registers over the one it is reached by.
func (a *association) settle() {
	if a.moving != nil {
		a.flow, a.access, a.moving = a.moving.flow, a.moving.access, nil
	}
}

// endsWith reports whether ref ends with the stream f. A lab client that is on its way to another flow goes on there.
func (t *associations) endsWith(ref secure.Association, f siptransport.Flow) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.find(ref)
	if a == nil {
		return false
	}
	switch {
	case a.sa != nil && a.sa.standing(): // on more than the connection of its first REGISTER
	case a.moving != nil && a.moving.flow == f:
		a.moving = nil
	case a.flow == f && a.moving == nil:
		return true
	case a.flow == f:
		a.settle()
	} // else it has moved on already
	return false
}

// promote binds the registration r to ref. A life is never shortened (TS 33.203 7.4).
func (t *associations) promote(ref secure.Association, r gm.Registration, grace time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.find(ref)
	switch {
	case a == nil || a.until <= t.now():
		return gm.ErrGone
	case a.proof.Registered() && a.proof.IMPI() != r.IMPI:
		return gm.ErrOtherUser
	}
	if a.sa == nil && a.moving == nil && a.proof.IsOf(r.IMPI, r.IMPUs) {
		a.until = max(a.until, t.now()+r.Expires+grace) // a refresh proves nothing new
		return nil
	}
	if !a.proof.Registered() {
		a.until = 0 // the time to authenticate is over, the registration's begins
	}
	a.settle()
	a.until = max(a.until, t.now()+r.Expires+grace)
	if a.sa != nil {
		sa := *a.sa
		sa.promoted(t.now(), r.Expires+grace)
		a.sa, a.access = &sa, sa.gm.sealed
	}
	a.proves(r.IMPI, r.IMPUs)
	return nil
}

// proves makes the proof of a anew. Where a private identity is a public one without its scheme, as those that follow from an IMSI are (TS 23.003
// 13.3, 13.4B), one text is kept for both.
func (a *association) proves(impi string, impus []string) {
	for _, impu := range impus {
		if same, found := strings.CutPrefix(impu, "sip:"); found && same == impi {
			impi = same
		}
	}
	claimed := ""
	if a.sa != nil {
		claimed = a.sa.user.impi
	}
	a.mint(impi, impus, claimed)
}

// retire takes the registration off ref at once and ends it after the time after.
func (t *associations) retire(ref secure.Association, after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.find(ref); a != nil {
		a.until = t.now() + after
		a.proves("", nil)
	}
}

// remove forgets ref and returns what it was.
func (t *associations) remove(ref secure.Association) (association, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.find(ref)
	if a == nil {
		return association{}, false
	}
	s := &t.slots[ref.Slot]
	s.a = nil
	if s.gen++; s.gen == 0 {
		s.gen = 1 // the zero place names nothing
	}
	t.free = append(t.free, ref.Slot)
	return *a, true
}

// expired returns the associations among n slots from start whose time is over, and where to go on.
func (t *associations) expired(start, n int) (gone []association, next int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	now := t.now()
	for ; n > 0 && start < len(t.slots); n, start = n-1, start+1 {
		if a := t.slots[start].a; a != nil && a.until <= now {
			gone = append(gone, *a)
		}
	}
	if start >= len(t.slots) {
		start = 0
	}
	return gone, start
}

// of returns the associations of a peer address in one access profile.
func (t *associations) of(peer netip.Addr, access *accessPorts) (refs []secure.Association) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, s := range t.slots {
		if s.a != nil && s.a.access == access && s.a.flow.Peer.Addr() == peer {
			refs = append(refs, s.a.ref)
		}
	}
	return refs
}

// used is the number of associations.
func (t *associations) used() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.slots) - len(t.free)
}

// size is the number of slots, for the sweeper's pace.
func (t *associations) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.slots)
}
