package passport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// errKey says that a signing key is not on P-256.
var errKey = errors.New("passport: ES256 needs a key on P-256")

// Signer signs tokens with one key. Safe for concurrent use.
type Signer struct {
	info string
	key  *ecdsa.PrivateKey
	jose map[Type]jose.Signer
}

// NewSigner returns a signer. info is the URL where the certificates of the key are found.
func NewSigner(key *ecdsa.PrivateKey, info string) (*Signer, error) {
	if key.Curve != elliptic.P256() {
		return nil, errKey
	}
	s := &Signer{info: info, key: key, jose: map[Type]jose.Signer{}}
	for _, t := range []Type{Plain, Div, Rsp, Grant} {
		o := (&jose.SignerOptions{}).WithType("passport").WithHeader("x5u", info)
		if t != Plain {
			o.WithHeader("ppt", string(t))
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, o)
		if err != nil {
			return nil, fmt.Errorf("passport: %w", err)
		}
		s.jose[t] = signer
	}
	return s, nil
}

// Sign makes the token of p (RFC 8225 6) and keeps it in p. Media keys are put in order; Info is the signer's. What Parse would refuse is
// not signed: ErrClaims, ErrType.
func (s *Signer) Sign(p *PASSporT) error {
	signer := s.jose[p.Type]
	if signer == nil {
		return ErrType
	}
	p.Info, p.Keys = s.info, Sorted(p.Keys)
	if p.Grants != nil {
		slices.Sort(p.Grants.Scope)
	}
	if err := p.check(); err != nil {
		return err
	}
	text, err := canonical(p.claims())
	if err != nil {
		return err
	}
	signed, err := signer.Sign(text)
	if err != nil {
		return fmt.Errorf("passport: %w", err)
	}
	p.token, err = signed.CompactSerialize()
	if err != nil {
		return fmt.Errorf("passport: %w", err)
	}
	return nil
}

func (p *PASSporT) claims() *payload {
	c := &payload{Iat: p.IssuedAt.Unix(), Orig: one(p.Orig), Mky: p.Keys}
	for _, d := range p.Dest {
		if d.TN != "" {
			c.Dest.TN = append(c.Dest.TN, d.TN)
		} else {
			c.Dest.URI = append(c.Dest.URI, d.URI)
		}
	}
	if p.Type == Div {
		c.Div = (*one)(&p.Div)
	}
	if g := p.Grants; g != nil {
		c.Svc, c.Scp, c.Ml, c.Exp, c.Jti, c.Odi = g.Service, g.Scope, g.Media, g.Expires.Unix(), g.ID, g.Session
	}
	return c
}
