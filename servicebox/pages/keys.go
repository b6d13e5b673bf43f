package pages

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"imsafe/proto/oauth"
)

// errNoKey: the issuer's key was not to be had.
var errNoKey = errors.New("pages: no key of the issuer")

// between is how long the network is not asked again: whoever shows forged tokens does not make a service ask.
const between = 5 * time.Second

// keys is what the service knows of the issuer. The issuer's key is that of a run of the core: a token that it has not signed may be one of the next run.
type keys struct {
	cfg *Config

	fetching sync.Mutex // held while one asks; others wait for what he learns

	mu       sync.Mutex // guards what follows
	set      []byte
	verifier *oauth.Verifier
	next     time.Duration // when the network may be asked again
}

// admit judges a request by the key that is known, and once more by a newer one if it is of none.
func (k *keys) admit(r *http.Request) (*oauth.Claims, error) {
	v := k.current()
	if v == nil {
		if v = k.newer(r.Context(), nil); v == nil {
			return nil, errNoKey
		}
	}
	who, err := v.Admit(r)
	if errors.Is(err, oauth.ErrToken) {
		if n := k.newer(r.Context(), v); n != v && n != nil {
			return n.Admit(r)
		}
	}
	return who, err
}

func (k *keys) current() *oauth.Verifier {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.verifier
}

// newer returns a verifier by another key than that of old, or what there is: the network is asked if it may be. A verifier remembers proofs, so the one of a key that
// has not changed stays.
func (k *keys) newer(ctx context.Context, old *oauth.Verifier) *oauth.Verifier {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	if have := k.current(); have != old {
		return have
	}
	k.mu.Lock()
	now := k.cfg.Clock.Now()
	early := k.next > now
	if !early {
		k.next = now + between
	}
	k.mu.Unlock()
	if early {
		return old
	}
	set, err := k.cfg.Keys(context.WithoutCancel(ctx)) // who shows a forged token and hangs up must not keep others from the answer
	if err != nil {
		k.cfg.Log.Warn("the issuer's key was not to be had", "error", err)
		return old
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(set, k.set) {
		return k.verifier
	}
	v, err := oauth.NewVerifier(k.cfg.Issuer, k.cfg.Origin, set, k.cfg.Clock.Wall)
	if err != nil {
		k.cfg.Log.Warn("the issuer's key was not to be read", "error", err)
		return old
	}
	k.set, k.verifier = set, v
	return v
}
