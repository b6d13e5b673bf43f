package ca

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// Own is a certificate of the core's own towards services, renewed by itself when two thirds of its life are over or another
// intermediate issues. Safe for concurrent use.
type Own struct {
	authority *Authority
	host      string
	identity  *url.URL // beside the host; nil: none
	life      time.Duration

	mu      sync.Mutex
	current *tls.Certificate
}

// Own returns the holder of a certificate for one DNS name, good for both ends of mutual TLS. It is issued when it is asked for.
func (a *Authority) Own(host string, life time.Duration) *Own {
	return &Own{authority: a, host: host, life: life}
}

// Signer returns the holder of a certificate that says, by its one URI beside the DNS name, that its key signs for the network. Its key is
// in PrivateKey, on P-256.
func (a *Authority) Signer(identity, host string, life time.Duration) (*Own, error) {
	u, err := url.Parse(identity)
	if err != nil {
		return nil, fmt.Errorf("ca: identity: %w", err)
	}
	return &Own{authority: a, host: host, identity: u, life: life}, nil
}

// Certificate returns the certificate to show now, with its chain. What cannot be renewed is shown until it ends: the errors are
// those of Service.
func (o *Own) Certificate() (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.authority.ports.Now()
	if o.current != nil && now.Before(RenewAt(o.current.Leaf)) && o.stillIssues() {
		return o.current, nil
	}
	fresh, err := o.issue()
	if err != nil && o.current != nil && now.Before(o.current.Leaf.NotAfter) {
		return o.current, nil
	}
	if err == nil {
		o.current = fresh
	}
	return fresh, err
}

// stillIssues says whether the intermediate behind the certificate is the one that issues.
func (o *Own) stillIssues() bool {
	list := o.authority.Issuers()
	return len(list) > 0 && string(list[0].Raw) == string(o.current.Certificate[1])
}

func (o *Own) issue() (*tls.Certificate, error) {
	key, err := NewKey(o.authority.ports.Random)
	if err != nil {
		return nil, err
	}
	var uris []*url.URL
	if o.identity != nil {
		uris = []*url.URL{o.identity}
	}
	chain, err := o.authority.issue(key.Public(), uris, o.host, o.life)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{chain[0].Raw, chain[1].Raw}, PrivateKey: key, Leaf: chain[0]}, nil
}
