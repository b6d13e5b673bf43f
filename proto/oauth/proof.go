package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// proof is the claims of a DPoP proof (RFC 9449 4.2).
type proof struct {
	ID       string `json:"jti"`
	Method   string `json:"htm"`
	URL      string `json:"htu"`
	IssuedAt int64  `json:"iat"`
	Token    string `json:"ath,omitempty"` // hash of the access token
}

// Prover is the key of a client, and proves it.
type Prover struct {
	thumb  string
	signer jose.Signer
	random io.Reader
}

// NewProver makes a key. It never leaves.
func NewProver(random io.Reader) (*Prover, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("oauth: key: %w", err)
	}
	thumb, err := thumbprint(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(typProof))
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	return &Prover{thumb: thumb, signer: signer, random: random}, nil
}

// Thumbprint names the key (RFC 7638).
func (p *Prover) Thumbprint() string { return p.thumb }

// Prove returns the value of a DPoP header field for one request (RFC 9449 4.1). token is the access token that goes with it, "" at the token
// endpoint.
func (p *Prover) Prove(method, at, token string, now time.Time) (string, error) {
	id, err := number(p.random)
	if err != nil {
		return "", err
	}
	where, err := bare(at)
	if err != nil {
		return "", err
	}
	c := proof{ID: id, Method: method, URL: where, IssuedAt: now.Unix()}
	if token != "" {
		c.Token = hash(token)
	}
	return sign(p.signer, c)
}

// hash is the ath claim (RFC 9449 4.2).
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// bare is a URL without query and fragment (RFC 9449 4.2).
func bare(at string) (string, error) {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return "", ErrProof
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath(), nil
}

// Proven is a proof that holds: Thumbprint names its key. It may have been used before: Proofs knows.
type Proven struct{ Thumbprint, id string }

// Check is the server's half (RFC 9449 4.3). token is "" at the token endpoint. ErrProof.
func Check(value, method, at, token string, now time.Time) (Proven, error) {
	var key *ecdsa.PublicKey
	var c proof
	err := open(value, typProof, func(h jose.Header) *ecdsa.PublicKey {
		if h.JSONWebKey != nil && h.JSONWebKey.IsPublic() && h.JSONWebKey.Valid() {
			key, _ = h.JSONWebKey.Key.(*ecdsa.PublicKey)
		}
		return key
	}, &c)
	if err != nil {
		return Proven{}, ErrProof
	}
	here, err := bare(at)
	if err != nil {
		return Proven{}, err
	}
	there, err := bare(c.URL)
	since := now.Sub(time.Unix(c.IssuedAt, 0))
	switch {
	case err != nil || there != here || c.Method != method || c.ID == "" || len(c.ID) > 128:
		return Proven{}, ErrProof
	case since > window || since < -window:
		return Proven{}, ErrProof
	case token != "" && c.Token != hash(token):
		return Proven{}, ErrProof
	}
	thumb, err := thumbprint(key)
	return Proven{thumb, c.ID}, err
}

// Proofs remembers the proofs of the last minutes, so that each is good for one request (RFC 9449 11.1). What it remembers costs memory that all
// share, so ask it last, about keys that a token or a code names: whoever has neither must not fill it. The zero value is ready.
type Proofs struct {
	mu   sync.Mutex
	ages [2]age // the younger one first: what was learnt in it is in one of the two for at least its life
	next time.Time
}

// age is what was learnt in one span of time.
type age struct {
	seen map[[sha256.Size]byte]struct{}
	of   map[string]int // how many of each key
}

// The bounds of what is remembered. Beyond them a key, or nobody, is admitted until some have ended: to forget one would be to let it in twice.
const (
	proofLife      = 2 * window // of a proof that is as far ahead as it may be
	maxProofs      = 1 << 16    // in one age
	maxProofsOfOne = 1 << 10    // of one key: eight requests a second
)

// Use takes a proof down; ErrReplay if it was there, ErrTooMany if it cannot be.
func (p *Proofs) Use(q Proven, now time.Time) error {
	key := sha256.Sum256([]byte(q.Thumbprint + "\x00" + q.id))
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.next) {
		p.grow(now)
	}
	young := &p.ages[0]
	for i := range p.ages {
		if _, used := p.ages[i].seen[key]; used {
			return ErrReplay
		}
	}
	if len(young.seen) >= maxProofs || young.of[q.Thumbprint] >= maxProofsOfOne {
		return ErrTooMany
	}
	young.seen[key] = struct{}{}
	young.of[q.Thumbprint]++
	return nil
}

// grow begins an age. p.mu is held.
func (p *Proofs) grow(now time.Time) {
	p.ages[1] = p.ages[0]
	if now.Sub(p.next) >= proofLife {
		p.ages[1] = age{} // nothing of it can be valid any more
	}
	p.ages[0] = age{seen: map[[sha256.Size]byte]struct{}{}, of: map[string]int{}}
	p.next = now.Add(proofLife)
}
