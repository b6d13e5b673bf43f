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

// keys is what the service knows of the issuer, whose keys change: a token that none of them has signed may be by the next one.
type keys struct {
	cfg *Config

	fetching sync.Mutex // held while one asks; others wait for what he learns

	mu       sync.Mutex // guards what follows
	set      []byte
	edition  int             // of set; 0: there is none yet
	verifier *oauth.Verifier // by it; one and the same from the first on, since it remembers proofs
	next     time.Duration   // when the network may be asked again
}

// admit judges a request by the keys that are known, and once more by newer ones if it is of none.
func (k *keys) admit(r *http.Request) (*oauth.Claims, error) {
	v, edition := k.current()
	if v == nil {
		if v, edition = k.newer(r.Context(), 0); v == nil {
			return nil, errNoKey
		}
	}
	who, err := v.Admit(r)
	if errors.Is(err, oauth.ErrToken) {
		if _, newer := k.newer(r.Context(), edition); newer != edition {
			return v.Admit(r)
		}
	}
	return who, err
}

func (k *keys) current() (*oauth.Verifier, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.verifier, k.edition
}

// newer returns the verifier by a later edition of the keys than that one, or what there is: the network is asked if it may be.
func (k *keys) newer(ctx context.Context, than int) (*oauth.Verifier, int) {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	if v, edition := k.current(); edition != than || !k.mayAsk() {
		return v, edition
	}
	set, err := k.cfg.Keys(context.WithoutCancel(ctx)) // who shows a forged token and hangs up must not keep others from the answer
	if err == nil {
		err = k.learn(set)
	}
	if err != nil {
		k.cfg.Log.Warn("the issuer's keys were not to be had", "error", err)
	}
	return k.current()
}

// mayAsk takes down that the network is asked, if it is time.
func (k *keys) mayAsk() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.cfg.Clock.Now()
	if k.next > now {
		return false
	}
	k.next = now + between
	return true
}

// learn makes a set the one to verify by.
func (k *keys) learn(set []byte) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case bytes.Equal(set, k.set):
		return nil
	case k.verifier == nil:
		k.verifier, err = oauth.NewVerifier(k.cfg.Issuer, k.cfg.Origin, set, k.cfg.Clock.Wall)
	default:
		err = k.verifier.Learn(set)
	}
	if err == nil {
		k.set, k.edition = set, k.edition+1
	}
	return err
}
