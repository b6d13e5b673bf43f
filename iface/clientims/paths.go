package clientims

import (
	"net/netip"
	"sync"

	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// path is how the association of a message is recognised: by the flow it came over, or in a lab profile by the peer's
// address and the identity the message claims.
type path struct {
	flow siptransport.Flow
	user string
}

// Paths finds associations by path. Safe for concurrent use: the lab profiles share one, so that a test client may send
// over UDP and TCP; each Port of another profile has its own.
type Paths struct {
	mu    sync.Mutex
	known map[path]secure.Association
}

// NewPaths returns an empty one.
func NewPaths() *Paths { return &Paths{known: map[path]secure.Association{}} }

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
		return path{flow: f}
	}
	claimed := m.Get(sip.HdrFrom)
	if m.Method() == sip.REGISTER {
		claimed = m.Get(sip.HdrTo)
	}
	user, _ := sip.PublicIdentity(claimed)
	return path{flow: siptransport.Flow{Peer: netip.AddrPortFrom(f.Peer.Addr(), 0)}, user: user}
}
