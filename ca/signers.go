package ca

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"imsafe/store"
)

// TableSigner keeps the keys by which several nodes sign for their network: the key of a record is what they sign for, "#", and a number that grows.
const TableSigner store.Table = 161

// Signer is a key that signs for the network, and the certificate that says so. It does not change.
type Signer struct {
	Name  string              // the same at every node, of characters that may stand in a URL
	Chain []*x509.Certificate // its own and the intermediate's
	Key   *ecdsa.PrivateKey   // nil: it verifies here and signs elsewhere
	from  time.Time           // when one begins to sign with it
	row   string              // its record where nodes share it
}

// Public is what its signatures are verified with.
func (s *Signer) Public() *ecdsa.PublicKey {
	key, _ := s.Chain[0].PublicKey.(*ecdsa.PublicKey) // all that are made or believed have one
	return key
}

// PEM is the chain for others, its own certificate first.
func (s *Signer) PEM() (text []byte) {
	for _, c := range s.Chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

func (s *Signer) over(now time.Time) bool { return now.After(s.Chain[0].NotAfter) }

// Signers are the keys by which a network signs one kind of thing: the one that signs now, and those before it until their certificates end, so that what they have
// signed can be verified. Each is followed by another when two thirds of its life are over, or another intermediate issues.
//
// Where there is one node, a key is of its run, and is made when it is asked for. Nodes that share a store share their keys, sealed there as those of intermediates
// are: Keep makes and reads them, and none signs before all nodes know it. Safe for concurrent use.
type Signers struct {
	authority *Authority
	identity  *url.URL
	host      string
	life      time.Duration
	shared    bool

	keeping sync.Mutex // held by Keep

	mu    sync.Mutex
	known []*Signer // the one that signs last is the first
}

const (
	// settles is how long a key stands in the store before anybody signs with it: the nodes read what is new within seconds, and some more lie between their clocks.
	settles = time.Minute
	// kept is how long the record of a key outlives it, for clocks that are wrong.
	kept = 24 * time.Hour
	// maxSigners bounds what is read.
	maxSigners = 64
)

// Signers returns the keys whose certificates say by their one URI, identity, beside the DNS name host, what they sign for. shared says that other nodes, with the same
// store, sign with them as well.
func (a *Authority) Signers(identity, host string, life time.Duration, shared bool) (*Signers, error) {
	u, err := url.Parse(identity)
	if err != nil {
		return nil, fmt.Errorf("ca: identity: %w", err)
	}
	return &Signers{authority: a, identity: u, host: host, life: life, shared: shared}, nil
}

// Now returns the key that signs now. It does not wait. The errors are those of Service; ErrNone while nodes that share their keys have none.
func (s *Signers) Now() (*Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authority.ports.Now(), ErrNone
	if !s.shared && s.due(now) {
		var fresh *Signer
		if fresh, err = s.make(now); err == nil {
			s.add(fresh)
		}
	}
	if k := s.signs(now); k != nil {
		return k, nil // though the next may not be had yet
	}
	return nil, err
}

// Named returns a key by its name; nil where there is none, or its certificate has ended. It does not wait.
func (s *Signers) Named(name string) *Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		if k.Name == name && !k.over(s.authority.ports.Now()) {
			return k
		}
	}
	return nil
}

// Known returns all whose certificates have not ended. It does not wait.
func (s *Signers) Known() []*Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.authority.ports.Now()
	return slices.DeleteFunc(slices.Clone(s.known), func(k *Signer) bool { return k.over(now) })
}

// signs is the latest whose time has come; where that of none has, the first. s.mu is held.
func (s *Signers) signs(now time.Time) (first *Signer) {
	for _, k := range s.known {
		if k.Key == nil || k.over(now) {
			continue
		}
		if first = k; !now.Before(k.from) {
			break
		}
	}
	return first
}

// due reports whether the next one is to be made. s.mu is held.
func (s *Signers) due(now time.Time) bool {
	for _, k := range s.known {
		if k.Key != nil {
			return !now.Before(RenewAt(k.Chain[0])) || s.authority.superseded(k.Chain[1])
		}
	}
	return true
}

// make makes a key that signs from then on.
func (s *Signers) make(from time.Time) (*Signer, error) {
	chain, key, err := s.authority.leaf(s.host, []*url.URL{s.identity}, s.life)
	if err != nil {
		return nil, err
	}
	return &Signer{Name: nameOf(chain[0]), Chain: chain, Key: key, from: from}, nil
}

func nameOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// add adds a key, and forgets those that have ended. s.mu is held.
func (s *Signers) add(k *Signer) {
	now := s.authority.ports.Now()
	s.known = slices.DeleteFunc(s.known, func(k *Signer) bool { return k.over(now) })
	at, _ := slices.BinarySearchFunc(s.known, k, func(a, k *Signer) int { return k.from.Compare(a.from) })
	s.known = slices.Insert(s.known, at, k)
}

// Keep reads the keys that nodes share, and makes the next one if it is due; where there is one node it does nothing. It is for the start, for when one of the tables TableIssuer and
// TableSigner has changed, and for every now and then. It waits for the store.
func (s *Signers) Keep() error {
	if !s.shared {
		return nil
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if err := s.authority.Reload(); err != nil { // who does not know what issues now would take a key by it for one of before
		return err
	}
	next, gone, err := s.read()
	if err != nil {
		return err
	}
	now := s.authority.ports.Now()
	s.mu.Lock()
	due, from := s.due(now), now
	if s.signs(now) != nil {
		from = now.Add(settles)
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	fresh, err := s.make(from)
	if errors.Is(err, ErrNone) {
		return nil // nobody has founded the authority yet
	}
	if err == nil {
		fresh.row = s.row(next)
		err = s.share(fresh, gone)
	}
	if errors.Is(err, store.ErrConflict) { // another node was quicker
		_, _, err = s.read()
		return err
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(fresh)
	return nil
}

// row is where the key with a number stands.
func (s *Signers) row(number int) string { return fmt.Sprintf("%s#%09d", s.identity, number) }

// read reads what is in the store, and returns the number of the next key, and where those stand that have long ended. A record that leads to no root of the network, or says another thing
// than it should, is nobody's key.
func (s *Signers) read() (next int, gone []string, err error) {
	prefix := s.identity.String() + "#"
	page, _, err := s.authority.ports.Store.Scan(TableSigner, []byte(prefix), nil, maxSigners)
	if err != nil {
		return 0, nil, fmt.Errorf("ca: %w", err)
	}
	now, have := s.authority.ports.Now(), s.Known()
	var known []*Signer
	for _, rec := range page {
		if number, err := strconv.Atoi(string(rec.Key[len(prefix):])); err == nil {
			next = max(next, number+1)
		}
		at := slices.IndexFunc(have, func(k *Signer) bool { return k.row == string(rec.Key) && k.Key != nil })
		switch {
		case at >= 0:
			known = append(known, have[at])
		case rec.Expires < now.Add(-kept).UnixMilli():
			gone = append(gone, string(rec.Key))
		default:
			if k := s.believed(rec, now); k != nil {
				known = append(known, k)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
	for _, k := range known {
		s.add(k)
	}
	return next, gone, nil
}

// believed is the key of a record, if it is one of these: its certificate leads to a root of the network and says so. One that does not open here, since another node has
// a newer sealing key, verifies what that one signs.
func (s *Signers) believed(rec store.Record, now time.Time) *Signer {
	cert, above, sealed, err := decodeRecord(rec.Value)
	if err != nil || len(cert.URIs) != 1 || cert.URIs[0].String() != s.identity.String() {
		return nil
	}
	between := x509.NewCertPool()
	between.AddCert(above)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: s.authority.roots(), Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil
	}
	k := &Signer{Name: nameOf(cert), Chain: []*x509.Certificate{cert, above}, row: string(rec.Key)}
	if k.Public() == nil {
		return nil
	}
	k.Key, k.from = s.authority.openSigner(rec.Key, sealed)
	if k.Key != nil && !k.Key.PublicKey.Equal(cert.PublicKey) {
		k.Key = nil
	}
	return k
}

// roots are those that the intermediates lead to.
func (a *Authority) roots() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	pool := x509.NewCertPool()
	for _, i := range a.issuers {
		pool.AddCert(i.root)
	}
	return pool
}

// share writes a key for the other nodes, and takes away what is gone. It is durable, and can be read by all, when it returns. store.ErrConflict: there is another one with that number.
func (s *Signers) share(k *Signer, gone []string) error {
	sealed, err := s.authority.sealSigner(k)
	if err != nil {
		return err
	}
	ops := []store.Op{{Table: TableSigner, Key: []byte(k.row), Value: encodeRecord(k.Chain[0].Raw, k.Chain[1].Raw, sealed), Expires: k.Chain[0].NotAfter.UnixMilli(), Cond: store.IfAbsent}}
	for _, row := range gone {
		ops = append(ops, store.Op{Table: TableSigner, Key: []byte(row)})
	}
	if err := s.authority.ports.Store.Apply("ca", ops...); err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	return nil
}

// What is sealed of a signer: when it begins (8 octets, big-endian, in Unix milliseconds), and the key in PKCS #8.
const beginSize = 8

func (a *Authority) sealSigner(k *Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, fmt.Errorf("ca: key: %w", err)
	}
	plain := append(binary.BigEndian.AppendUint64(make([]byte, 0, beginSize+len(der)), uint64(k.from.UnixMilli())), der...)
	defer clear(der)
	defer clear(plain)
	sealed, err := a.ports.Keys().Seal(nil, a.ports.Random, uint8(TableSigner), []byte(k.row), plain)
	if err != nil {
		return nil, fmt.Errorf("ca: key: %w", err)
	}
	return sealed, nil
}

// openSigner returns no key where it does not open.
func (a *Authority) openSigner(row, sealed []byte) (*ecdsa.PrivateKey, time.Time) {
	plain, err := a.ports.Keys().Open(nil, uint8(TableSigner), row, sealed)
	if err != nil || len(plain) < beginSize {
		return nil, time.Time{}
	}
	defer clear(plain)
	key, err := parseKey(plain[beginSize:])
	if err != nil {
		return nil, time.Time{}
	}
	return key, time.UnixMilli(int64(binary.BigEndian.Uint64(plain)))
}

// resealSigners is Reseal for the keys that nodes share. What another node changes meanwhile is for the next time.
func (a *Authority) resealSigners() (changed int, err error) {
	page, _, err := a.ports.Store.Scan(TableSigner, nil, nil, maxSigners)
	if err != nil {
		return 0, fmt.Errorf("ca: %w", err)
	}
	for _, rec := range page {
		cert, above, sealed, err := decodeRecord(rec.Value)
		if err != nil || a.ports.Keys().Current(sealed) {
			continue
		}
		fresh, err := a.ports.Keys().Reseal(nil, a.ports.Random, uint8(TableSigner), rec.Key, sealed)
		if err != nil {
			continue // it ends within a day, and opens nowhere
		}
		err = a.ports.Store.Apply("ca", store.Op{Table: TableSigner, Key: rec.Key, Value: encodeRecord(cert.Raw, above.Raw, fresh), Expires: rec.Expires, Cond: store.IfVersion, Version: rec.Version})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return changed, fmt.Errorf("ca: %w", err)
		}
		changed++
	}
	return changed, nil
}
