package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Verifier judges requests to one service by their tokens.
type Verifier struct {
	issuer, audience string
	key              func(name string) *ecdsa.PublicKey // of the issuer; nil if it has none of that name
	now              func() time.Time
	proofs           Proofs

	learnt atomic.Pointer[map[string]*ecdsa.PublicKey] // of a service elsewhere
}

// maxKeys bounds a set.
const maxKeys = 64

// NewVerifier returns a verifier for a service elsewhere: keys is the issuer's set (RFC 7517), audience the https origin of the service.
func NewVerifier(issuer, audience string, keys []byte, now func() time.Time) (*Verifier, error) {
	v := &Verifier{issuer: issuer, audience: audience, now: now}
	v.key = func(name string) *ecdsa.PublicKey { return (*v.learnt.Load())[name] }
	if err := v.Learn(keys); err != nil {
		return nil, err
	}
	return v, nil
}

// Learn takes the set that the issuer has now in the place of the one before. What was used of proofs stays used.
func (v *Verifier) Learn(keys []byte) error {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(keys, &set); err != nil || len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return errors.New("oauth: not the keys of an issuer")
	}
	learnt := make(map[string]*ecdsa.PublicKey, len(set.Keys))
	for _, k := range set.Keys {
		key, ok := k.Key.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			return errors.New("oauth: a key of the issuer is not on P-256")
		}
		learnt[k.KeyID] = key
	}
	v.learnt.Store(&learnt)
	return nil
}

// Admit judges a request (RFC 9449 7): its token, of this issuer, for this service, not over; its proof, of this request, by the key of the token,
// never seen before. Beside ErrMissing and ErrToken an error comes with what the token says, which is then not to be believed. The URL that
// was asked for is the audience and the request's path.
func (v *Verifier) Admit(r *http.Request) (*Claims, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	proofs := r.Header.Values("DPoP")
	if !strings.EqualFold(scheme, "DPoP") || token == "" || len(r.Header.Values("Authorization")) != 1 {
		return nil, ErrMissing
	}
	var c Claims
	if err := open(token, typToken, func(h jose.Header) *ecdsa.PublicKey { return v.key(h.KeyID) }, &c); err != nil || c.Issuer != v.issuer {
		return nil, ErrToken
	}
	now := v.now()
	switch {
	case now.Unix() >= c.Expires || c.Expires-c.IssuedAt > int64(MaxLife/time.Second) || now.Add(window).Unix() < c.IssuedAt:
		return &c, ErrExpired
	case c.Audience != v.audience:
		return &c, ErrAudience
	case len(proofs) != 1:
		return &c, ErrProof
	}
	proof, err := Check(proofs[0], r.Method, v.audience+r.URL.EscapedPath(), token, now)
	switch {
	case err != nil:
		return &c, err
	case proof.Thumbprint != c.Key.Thumbprint:
		return &c, ErrKey
	}
	return &c, v.proofs.Use(proof, now)
}

// Refuse answers a request that was not admitted (RFC 9449 7.1, RFC 6750 3): why, as far as its sender may know.
func Refuse(w http.ResponseWriter, err error) {
	status, code := http.StatusUnauthorized, "invalid_token"
	switch {
	case errors.Is(err, ErrMissing):
		code = ""
	case errors.Is(err, ErrProof), errors.Is(err, ErrReplay):
		code = "invalid_dpop_proof"
	case errors.Is(err, ErrScope):
		status, code = http.StatusForbidden, "insufficient_scope"
	case errors.Is(err, ErrTooMany):
		w.Header().Set("Retry-After", strconv.Itoa(int(proofLife/time.Second)))
		http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests) // RFC 6585 4
		return
	}
	challenge := `DPoP algs="ES256"`
	if code != "" {
		challenge += `, error="` + code + `"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, http.StatusText(status), status)
}

// Protect lets requests through to a handler that have a token with a scope, and tells it whose they are.
func (v *Verifier) Protect(scope string, serve func(w http.ResponseWriter, r *http.Request, who *Claims)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := v.Admit(r)
		if err == nil && !who.May(scope) {
			err = ErrScope
		}
		if err != nil {
			Refuse(w, err)
			return
		}
		serve(w, r, who)
	})
}
