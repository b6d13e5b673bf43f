package clientims

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// path is how the association of a message is recognised: by the flow it came over, or in a lab profile by the peer's address and the
// identity the message claims. It is a print of them, of 128 bits, so that a million of them are little memory; nobody outside
// knows the seeds, so nobody can make two paths fall together. The flow that it stands for is kept by its association, so that no other
// has the address of its connection meanwhile.
type path [2]uint64

// whence is what a path is a print of.
type whence struct {
	flow siptransport.Flow
	user string
}

// Paths finds associations by path. Safe for concurrent use: the lab profiles share one, so that a test client may send
// over UDP and TCP; each Port of another profile has its own.
type Paths struct {
	seeds [2]maphash.Seed
	mu    sync.Mutex
	known map[path]secure.Association
}

// NewPaths returns an empty one.
func NewPaths() *Paths {
	return &Paths{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, known: map[path]secure.Association{}}
}

func (p *Paths) of(w whence) path {
	return path{maphash.Comparable(p.seeds[0], w), maphash.Comparable(p.seeds[1], w)}
}

func (p *Paths) get(at path) (secure.Association, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, known := p.known[at]
	return a, known
}

func (p *Paths) put(at path, a secure.Association) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[at] = a
}

// drop forgets at if it still leads to a.
func (p *Paths) drop(at path, a secure.Association) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[at] == a {
		delete(p.known, at)
	}
}

// pathOf says what the association of a message is recognised by.
func (p *Port) pathOf(f siptransport.Flow, m *sip.Message) path {
	if !p.access.Shared {
		return p.paths.of(whence{flow: f})
	}
	var user string
	if m.Method() == sip.REGISTER {
		user, _ = m.ToIdentity()
	} else {
		user, _ = sip.PublicIdentity(m.Get(sip.HdrFrom))
	}
	return p.paths.of(whence{flow: siptransport.Flow{Peer: netip.AddrPortFrom(f.Peer.Addr(), 0)}, user: user})
}
