package node

import (
	"strings"
	"sync"

	"imsafe/ca"
	"imsafe/proto/passport"
)

// voucher signs PASSporTs for the home network (RFC 8224 5) with a key that all its nodes share, or of this node where there is one. Certificates can be fetched until they
// end, so that what was signed before another key came can still be verified. Safe for concurrent use; it does not wait.
type voucher struct {
	keys *ca.Signers
	base string // URL of the certificates

	mu     sync.Mutex
	by     *ca.Signer // whose signer is
	signer *passport.Signer
	recent map[string]struct{} // what was signed here last: it needs no look at the signature
	order  []string            // of recent, a ring
	next   int
}

// maxRecent is how many tokens are remembered: those of the calls that are under way in this moment, for the P-CSCF of the same process.
const maxRecent = 4096

// newVoucher returns a voucher by keys whose certificates are found below base.
func newVoucher(keys *ca.Signers, base string) *voucher {
	return &voucher{keys: keys, base: base, recent: map[string]struct{}{}}
}

// Sign implements scscf.Voucher. It fails while the network has no intermediate that issues.
func (v *voucher) Sign(p *passport.PASSporT) error {
	s, err := v.now()
	if err != nil {
		return err
	}
	if err := s.Sign(p); err != nil {
		return err
	}
	v.remember(p.Token())
	return nil
}

func (v *voucher) remember(token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.order) < maxRecent {
		v.order = append(v.order, token)
	} else {
		delete(v.recent, v.order[v.next])
		v.order[v.next] = token
		v.next = (v.next + 1) % maxRecent
	}
	v.recent[token] = struct{}{}
}

// now returns what signs now.
func (v *voucher) now() (*passport.Signer, error) {
	key, err := v.keys.Now()
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if key != v.by {
		if v.signer, err = passport.NewSigner(key.Key, v.base+key.Name); err != nil {
			return nil, err
		}
		v.by = key
	}
	return v.signer, nil
}

// Genuine implements pcscf.Voucher: by a key of this network, whichever of its nodes has signed.
func (v *voucher) Genuine(p *passport.PASSporT) bool {
	name, ours := strings.CutPrefix(p.Info, v.base)
	if !ours {
		return false
	}
	key := v.keys.Named(name)
	if key == nil {
		return false
	}
	v.mu.Lock()
	_, recent := v.recent[p.Token()]
	v.mu.Unlock()
	return recent || p.Verify(key.Public()) == nil
}

// Chain returns the certificates that are published under a name, in PEM, nil if there are none.
func (v *voucher) Chain(name string) []byte {
	if key := v.keys.Named(name); key != nil {
		return key.PEM()
	}
	return nil
}
