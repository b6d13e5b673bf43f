// Package oauth is the part of OAuth 2.0 that clients and services of an IMS need between them: access tokens that are signed, short-lived,
// for one service and bound to a key (RFC 6749, RFC 9068), and the proof of that key with each request (DPoP, RFC 9449).
//
// It offers Issuer (signs tokens), Prover (the client's key), Verifier and Resource (who may ask for what). Signatures are go-jose's, ES256 and
// nothing else. It does not do authorization endpoints, refresh tokens, client registration, nor tokens without a key: a token alone is
// worth nothing here. Where a client's first credential comes from, and whom a token is issued to, is for others to say.
//
// Everything is safe for concurrent use.
package oauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The limits of a token.
const (
	MinLife  = 5 * time.Minute
	MaxLife  = 10 * time.Minute
	MaxToken = 4096 // octets
	window   = 60 * time.Second
)

// The media types of the two kinds of JWT (RFC 9068 2.1, RFC 9449 4.2).
const (
	typToken = "at+jwt"
	typProof = "dpop+jwt"
)

// ScopeService is what a token reaches that is for a service platform: what it may then do there is the service's to say.
const ScopeService = "service.use"

// Errors of Verifier.Admit: the reasons of an event. Whoever asks is told no more than RFC 9449 7.1 and RFC 6750 3.1 have words for.
var (
	ErrMissing  = errors.New("oauth: no token, or none that is bound to a key")
	ErrToken    = errors.New("oauth: not a token of this issuer")
	ErrExpired  = errors.New("oauth: the token is over")
	ErrAudience = errors.New("oauth: the token is for another service")
	ErrScope    = errors.New("oauth: the token does not reach so far")
	ErrProof    = errors.New("oauth: the proof is not of this request")
	ErrKey      = errors.New("oauth: the proof is of another key than the token")
	ErrReplay   = errors.New("oauth: the proof was used before")
	ErrTooMany  = errors.New("oauth: more proofs than are remembered")
)

// Claims are what a token says (RFC 9068 2.2).
type Claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"` // public identity, as a URI
	Audience string `json:"aud"` // one service, as an https origin
	Expires  int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	ID       string `json:"jti"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"` // words with spaces between (RFC 6749 3.3)
	Key      struct {
		Thumbprint string `json:"jkt"`
	} `json:"cnf"` // RFC 9449 6.1
}

// May says whether the scope has a word.
func (c *Claims) May(word string) bool {
	for have := range strings.FieldsSeq(c.Scope) {
		if have == word {
			return true
		}
	}
	return false
}

// Keys are those of an issuer by their names, on P-256: the one that signs now, and all that may have signed a token which is not over. Several processes may be one
// issuer, with the same keys. They do not wait. Safe for concurrent use.
type Keys interface {
	Signing() (name string, key *ecdsa.PrivateKey, err error)
	Verifying() map[string]*ecdsa.PublicKey
}

// OneKey are the keys of an issuer who has one.
func OneKey(name string, key *ecdsa.PrivateKey) Keys { return oneKey{name, key} }

type oneKey struct {
	name string
	key  *ecdsa.PrivateKey
}

func (k oneKey) Signing() (string, *ecdsa.PrivateKey, error) { return k.name, k.key, nil }

func (k oneKey) Verifying() map[string]*ecdsa.PublicKey {
	return map[string]*ecdsa.PublicKey{k.name: &k.key.PublicKey}
}

// Issuer signs access tokens.
type Issuer struct {
	name   string
	keys   Keys
	random io.Reader
}

// NewIssuer returns an issuer. name is its https URL; random is for the numbers of tokens.
func NewIssuer(name string, keys Keys, random io.Reader) *Issuer {
	return &Issuer{name: name, keys: keys, random: random}
}

// Issue signs a token from now on for life, which is brought within MinLife and MaxLife.
func (i *Issuer) Issue(c Claims, now time.Time, life time.Duration) (token string, lives time.Duration, err error) {
	life = min(max(life, MinLife), MaxLife)
	if c.Subject == "" || c.Audience == "" || c.Key.Thumbprint == "" {
		return "", 0, errors.New("oauth: a token needs a subject, an audience and a key")
	}
	signer, err := i.signer()
	if err != nil {
		return "", 0, err
	}
	if c.ID, err = number(i.random); err != nil {
		return "", 0, err
	}
	c.Issuer, c.IssuedAt, c.Expires = i.name, now.Unix(), now.Add(life).Unix()
	token, err = sign(signer, c)
	return token, life, err
}

// signer signs with the key of now, and names it (RFC 7515 4.1.4).
func (i *Issuer) signer() (jose.Signer, error) {
	name, key, err := i.keys.Signing()
	if err != nil {
		return nil, fmt.Errorf("oauth: key: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: name}}, (&jose.SignerOptions{}).WithType(typToken))
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	return signer, nil
}

// Keys returns the public keys as a set (RFC 7517 5), for services elsewhere.
func (i *Issuer) Keys() ([]byte, error) {
	set, keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}, i.keys.Verifying()
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: keys[name], KeyID: name, Use: "sig", Algorithm: string(jose.ES256)})
	}
	return json.Marshal(set)
}

// Verifier returns the verifier of this issuer's tokens for one service.
func (i *Issuer) Verifier(audience string, now func() time.Time) *Verifier {
	return &Verifier{issuer: i.name, audience: audience, key: func(name string) *ecdsa.PublicKey { return i.keys.Verifying()[name] }, now: now}
}

// number is 128 random bits.
func number(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("oauth: randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

func sign(s jose.Signer, claims any) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	signed, err := s.Sign(text)
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	return signed.CompactSerialize()
}

// open parses a JWT with exactly one signature by ES256, of a type; it verifies with the key that the key function names.
func open(text, typ string, key func(h jose.Header) *ecdsa.PublicKey, claims any) error {
	if len(text) > MaxToken {
		return ErrToken
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(signed.Signatures) != 1 {
		return ErrToken
	}
	h := signed.Signatures[0].Protected
	if got, _ := h.ExtraHeaders[jose.HeaderType].(string); got != typ {
		return ErrToken
	}
	k := key(h)
	if k == nil || k.Curve != elliptic.P256() {
		return ErrToken
	}
	payload, err := signed.Verify(k)
	if err != nil {
		return ErrToken
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if d.Decode(claims) != nil || d.More() {
		return ErrToken
	}
	return nil
}

// thumbprint is the name of a key (RFC 7638).
func thumbprint(key *ecdsa.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
