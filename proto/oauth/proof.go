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

// check is the server's half (RFC 9449 4.3): it returns the thumbprint of the key that is proven. token is "" at the token endpoint.
func check(value, method, at, token string, now time.Time) (thumb, id string, err error) {
	var key *ecdsa.PublicKey
	var c proof
	err = open(value, typProof, func(h jose.Header) *ecdsa.PublicKey {
		if h.JSONWebKey != nil && h.JSONWebKey.IsPublic() && h.JSONWebKey.Valid() {
			key, _ = h.JSONWebKey.Key.(*ecdsa.PublicKey)
		}
		return key
	}, &c)
	if err != nil {
		return "", "", ErrProof
	}
	here, err := bare(at)
	if err != nil {
		return "", "", err
	}
	there, err := bare(c.URL)
	age := now.Sub(time.Unix(c.IssuedAt, 0))
	switch {
	case err != nil || there != here || c.Method != method || c.ID == "" || len(c.ID) > 128:
		return "", "", ErrProof
	case age > window || age < -window:
		return "", "", ErrProof
	case token != "" && c.Token != hash(token):
		return "", "", ErrProof
	}
	thumb, err = thumbprint(key)
	return thumb, thumb + "\x00" + c.ID, err
}

// Proofs remembers the proofs of the last minutes, so that each is good for one request (RFC 9449 11.1). The zero value is ready.
type Proofs struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]time.Time
}

// maxProofs bounds what is remembered. Beyond it nobody is admitted until some have ended: to forget one would be to let it in twice.
const maxProofs = 1 << 16

func (p *Proofs) first(id string, now time.Time) bool {
	key := sha256.Sum256([]byte(id))
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, used := p.seen[key]; used {
		return false
	}
	if len(p.seen) >= maxProofs {
		for k, until := range p.seen {
			if now.After(until) {
				delete(p.seen, k)
			}
		}
	}
	if len(p.seen) >= maxProofs {
		return false
	}
	if p.seen == nil {
		p.seen = map[[sha256.Size]byte]time.Time{}
	}
	p.seen[key] = now.Add(2 * window)
	return true
}

// Prove checks a proof at the token endpoint, once, and returns the thumbprint of its key. ErrProof, ErrReplay.
func (p *Proofs) Prove(value, method, at string, now time.Time) (thumb string, err error) {
	thumb, id, err := check(value, method, at, "", now)
	if err == nil && !p.first(id, now) {
		err = ErrReplay
	}
	return thumb, err
}
