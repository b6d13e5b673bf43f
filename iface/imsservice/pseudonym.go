package imsservice

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"imsafe/store"
	"imsafe/store/seal"
)

// A service that was not granted identity.private knows users by pseudonyms: each has one for each service, the same for as long as the core
// has its secret, and no two services can find out that they know the same user. A pseudonym is the identity itself, sealed for the service, so
// nothing is remembered for it and nobody can make one up.

// TablePseudonym is the table of the secret that pseudonyms are made with. It has one record, pseudonymRecord.
const TablePseudonym store.Table = 131

const pseudonymRecord = "secret"

// PseudonymPorts are what Pseudonyms are plugged into.
type PseudonymPorts struct {
	Store  store.Store
	Keys   func() *seal.Keyring
	Random io.Reader
}

// Pseudonyms makes and opens the pseudonyms of a network's users. Safe for concurrent use.
type Pseudonyms struct {
	domain string
	ports  PseudonymPorts

	mu       sync.Mutex
	secret   []byte
	services map[string]*pseudonym
}

// NewPseudonyms returns the pseudonyms of a home network. Until Load they are made with a secret of this process alone.
func NewPseudonyms(domain string, ports PseudonymPorts) (*Pseudonyms, error) {
	p := &Pseudonyms{domain: domain, ports: ports, secret: make([]byte, 32), services: map[string]*pseudonym{}}
	_, err := io.ReadFull(ports.Random, p.secret)
	return p, wrap(err)
}

// host is that of every pseudonym. No user and no platform has it.
func (p *Pseudonyms) host() string { return "pseudonym." + p.domain }

// Load reads the secret from the store, or makes it. It waits for the disk; before the door opens.
func (p *Pseudonyms) Load() error {
	for {
		rec, err := p.ports.Store.Get(TablePseudonym, []byte(pseudonymRecord))
		if err == nil {
			secret, err := p.ports.Keys().Open(nil, uint8(TablePseudonym), []byte(pseudonymRecord), rec.Value)
			if err == nil {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.secret = secret
				clear(p.services)
			}
			return wrap(err)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return wrap(err)
		}
		if err := p.make(); err != nil && !errors.Is(err, store.ErrConflict) { // another node was faster: take its
			return wrap(err)
		}
	}
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("imsservice: the secret of pseudonyms: %w", err)
	}
	return nil
}

// make makes a secret.
func (p *Pseudonyms) make() error {
	var secret [32]byte
	if _, err := io.ReadFull(p.ports.Random, secret[:]); err != nil {
		return err
	}
	sealed, err := p.ports.Keys().Seal(nil, p.ports.Random, uint8(TablePseudonym), []byte(pseudonymRecord), secret[:])
	if err != nil {
		return err
	}
	return p.ports.Store.Apply(pseudonymRecord, store.Op{Table: TablePseudonym, Key: []byte(pseudonymRecord), Value: sealed, Cond: store.IfAbsent})
}

// Reseal seals the secret anew if it is under an older sealing key, and says how many records that were. It waits for the disk.
func (p *Pseudonyms) Reseal() (int, error) {
	keys := p.ports.Keys()
	rec, err := p.ports.Store.Get(TablePseudonym, []byte(pseudonymRecord))
	if errors.Is(err, store.ErrNotFound) || err == nil && keys.Current(rec.Value) {
		return 0, nil
	}
	if err != nil {
		return 0, wrap(err)
	}
	sealed, err := keys.Reseal(nil, p.ports.Random, uint8(TablePseudonym), []byte(pseudonymRecord), rec.Value)
	if err == nil {
		err = p.ports.Store.Apply(pseudonymRecord, store.Op{Table: TablePseudonym, Key: []byte(pseudonymRecord), Value: sealed, Cond: store.IfVersion, Version: rec.Version})
	}
	return 1, wrap(err)
}

// pseudonym is what makes the pseudonyms of one service.
type pseudonym struct {
	host, domain string
	mac          []byte
	aead         cipher.AEAD
}

// of returns what makes the pseudonyms of a service.
func (p *Pseudonyms) of(service string) *pseudonym {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.services[service]; known != nil {
		return known
	}
	made := newPseudonym(p.secret, service, p.host(), p.domain)
	p.services[service] = made
	return made
}

func newPseudonym(secret []byte, service, host, domain string) *pseudonym {
	keys, err := hkdf.Key(sha256.New, secret, nil, "pseudonyms of service "+service, 64)
	must(err)
	block, err := aes.NewCipher(keys[:32])
	must(err)
	aead, err := cipher.NewGCM(block)
	must(err)
	return &pseudonym{host: host, domain: domain, mac: keys[32:], aead: aead}
}

// must is for what fails with a key of a wrong length only.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// The forms of what is sealed: the user part of a SIP URI of the home network, or a whole URI.
const (
	sealedUser = '0'
	sealedURI  = '1'
)

// cover returns the pseudonym of an identity, a URI. The nonce is made of what is sealed, so that an identity has one pseudonym; two that are
// different have the same nonce no more often than random ones.
func (p *pseudonym) cover(uri string) string {
	plain := append(make([]byte, 0, 96), sealedURI)
	if user, local := strings.CutSuffix(uri, "@"+p.domain); local && strings.HasPrefix(user, "sip:") {
		plain = append(append(plain[:0], sealedUser), user[len("sip:"):]...)
	} else {
		plain = append(plain, uri...)
	}
	h := hmac.New(sha256.New, p.mac)
	_, _ = h.Write(plain) // a hash does not fail
	nonce := h.Sum(nil)[:p.aead.NonceSize()]
	return "sip:" + base64.RawURLEncoding.EncodeToString(p.aead.Seal(nonce, nonce, plain, nil)) + "@" + p.host
}

// uncover returns the identity of a pseudonym, with the parameters and headers that stand behind it; false if uri is none of this service.
func (p *pseudonym) uncover(uri string) (string, bool) {
	rest, sip := strings.CutPrefix(uri, "sip:")
	user, rest, there := strings.Cut(rest, "@")
	if !sip || !there || len(rest) < len(p.host) || !strings.EqualFold(rest[:len(p.host)], p.host) {
		return "", false
	}
	if rest = rest[len(p.host):]; rest != "" && rest[0] != ';' && rest[0] != '?' {
		return "", false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(user)
	n := p.aead.NonceSize()
	if err != nil || len(sealed) < n {
		return "", false
	}
	plain, err := p.aead.Open(nil, sealed[:n], sealed[n:], nil)
	if err != nil || len(plain) == 0 {
		return "", false
	}
	if plain[0] == sealedUser {
		return "sip:" + string(plain[1:]) + "@" + p.domain + rest, true
	}
	return string(plain[1:]) + rest, true
}

// Uncover returns the identity that a service means by a URI: that of its pseudonym, else the URI itself.
func (p *Pseudonyms) Uncover(service, uri string) string {
	if identity, is := p.of(service).uncover(uri); is {
		return identity
	}
	return uri
}
