package node

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"time"

	"imsafe/ca"
	"imsafe/proto/passport"
)

// voucher signs PASSporTs for the home network with a key of this node (RFC 8224 5). The key lives as long as its certificate, a day at most,
// and is replaced after two thirds of that, or when another intermediate issues; a certificate can be fetched until it ends, so that what was
// signed with the key before can still be verified. Safe for concurrent use.
type voucher struct {
	own  *ca.Own
	base string // URL of the certificates
	now  func() time.Time

	mu        sync.Mutex
	current   *tls.Certificate
	signer    *passport.Signer
	published map[string]publication // by the last part of the URL
	recent    map[string]struct{}    // what was signed last: it needs no look at the signature
	order     []string               // of recent, a ring
	next      int
}

// maxRecent is how many tokens are remembered: those of the calls that are under way in this moment, for the P-CSCF of the same process.
const maxRecent = 4096

// publication is what is found at a URL.
type publication struct {
	chain []byte // PEM, the signer's first
	key   *ecdsa.PublicKey
	until time.Time
}

// errNoKey says that the authority has issued something else than a key that signs.
var errNoKey = errors.New("node: the signing key is not on P-256")

// newVoucher returns a voucher for domain whose certificates are found below base.
func newVoucher(authority *ca.Authority, domain, host, base string, now func() time.Time) (*voucher, error) {
	own, err := authority.Signer(passport.SignerURI(domain), host, ca.MaxServiceLife)
	if err != nil {
		return nil, err
	}
	return &voucher{own: own, base: base, now: now, published: map[string]publication{}, recent: map[string]struct{}{}}, nil
}

// Sign implements scscf.Voucher. It fails while the network has no intermediate that issues.
func (v *voucher) Sign(p *passport.PASSporT) error {
	s, err := v.key()
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

// key returns what signs now.
func (v *voucher) key() (*passport.Signer, error) {
	certificate, err := v.own.Certificate()
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if certificate == v.current {
		return v.signer, nil
	}
	key, ok := certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errNoKey
	}
	sum := sha256.Sum256(certificate.Leaf.Raw)
	name := base64.RawURLEncoding.EncodeToString(sum[:9])
	if v.signer, err = passport.NewSigner(key, v.base+name); err != nil {
		return nil, err
	}
	v.current = certificate
	v.publish(name, certificate, &key.PublicKey)
	return v.signer, nil
}

func (v *voucher) publish(name string, certificate *tls.Certificate, key *ecdsa.PublicKey) {
	for old, p := range v.published {
		if v.now().After(p.until) {
			delete(v.published, old)
		}
	}
	p := publication{key: key, until: certificate.Leaf.NotAfter}
	for _, der := range certificate.Certificate {
		p.chain = append(p.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	v.published[name] = p
}

// Genuine implements pcscf.Voucher: by a key of this node.
func (v *voucher) Genuine(p *passport.PASSporT) bool {
	name, ours := strings.CutPrefix(p.Info, v.base)
	if !ours {
		return false
	}
	v.mu.Lock()
	known, there := v.published[name]
	_, recent := v.recent[p.Token()]
	v.mu.Unlock()
	return there && !v.now().After(known.until) && (recent || p.Verify(known.key) == nil)
}

// Chain returns the certificates that are published under a name, in PEM, nil if there are none.
func (v *voucher) Chain(name string) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p, there := v.published[name]; there && !v.now().After(p.until) {
		return p.chain
	}
	return nil
}
