package ca

import (
	"crypto/tls"
	"sync"
	"time"
)

// Own is a certificate of the core's own towards services, renewed by itself when two thirds of its life are over or another
// intermediate issues. Safe for concurrent use.
type Own struct {
	authority *Authority
	host      string
	life      time.Duration

	mu      sync.Mutex
	current *tls.Certificate
}

// Own returns the holder of a certificate for one DNS name, good for both ends of mutual TLS. It is issued when it is asked for.
func (a *Authority) Own(host string, life time.Duration) *Own {
	return &Own{authority: a, host: host, life: life}
}

// Certificate returns the certificate to show now, with its chain. What cannot be renewed is shown until it ends: the errors are
// those of Service.
func (o *Own) Certificate() (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.authority.ports.Now()
	if o.current != nil && now.Before(RenewAt(o.current.Leaf)) && o.authority.issuesWith(o.current.Certificate[1]) {
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

func (o *Own) issue() (*tls.Certificate, error) {
	chain, key, err := o.authority.leaf(o.host, nil, o.life)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{chain[0].Raw, chain[1].Raw}, PrivateKey: key, Leaf: chain[0]}, nil
}
