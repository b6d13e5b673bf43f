package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	"imsafe/store"
	"imsafe/store/seal"
)

// TableIssuer keeps the intermediates: the key of a record is "pending", or the serial number of the certificate.
const TableIssuer store.Table = 160

// Tables names the tables for the store.
func Tables() []store.TableSpec {
	return []store.TableSpec{{Table: TableIssuer, Name: "ca_issuer"}, {Table: TableSigner, Name: "ca_signer", Quiet: true}}
}

// The errors of an Authority.
var (
	ErrNone    = errors.New("ca: there is no intermediate authority, or none that is valid now")
	ErrPending = errors.New("ca: the certificate is not about the key that was made for it here")
	ErrTwo     = errors.New("ca: two intermediates are trusted already")
	ErrClock   = errors.New("ca: the clock has gone back")
	ErrUnknown = errors.New("ca: there is no such intermediate")
	ErrLife    = errors.New("ca: the life is not positive or too long")
)

// maxIssuers is how many intermediates are trusted at once: the one that issues, and the one before it.
const maxIssuers = 2

// back is how far the clock may go back under a running process before it issues nothing more.
const back = skew

// Ports are what an Authority is plugged into.
type Ports struct {
	Store  store.Store
	Keys   func() *seal.Keyring // seals the keys of intermediates
	Random io.Reader            // safe for concurrent use
	Now    func() time.Time
}

// Authority is the online half: intermediates whose keys are sealed in the store. Whatever does not say that it waits for the store does not, whoever else
// does meanwhile: shards ask for keys. Safe for concurrent use.
type Authority struct {
	domain string
	ports  Ports

	changing sync.Mutex // held by what waits for the store
	pending  []byte     // sealed key that waits for its certificate, nil for none

	mu      sync.Mutex // for a moment only. Who changes the issuers holds the other one too
	issuers []*issuer  // newest first; it issues. The list itself does not change: another takes its place
	latest  time.Time  // the latest time at which a certificate was issued by this process
}

// issuer is one intermediate.
type issuer struct {
	cert, root *x509.Certificate
	sealed     []byte
}

// OpenAuthority reads the intermediates of a home network. There may be none yet.
func OpenAuthority(domain string, ports Ports) (*Authority, error) {
	a := &Authority{domain: domain, ports: ports}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the intermediates anew: another node with the same store may have installed or retired one. It waits for the store.
func (a *Authority) Reload() error {
	a.changing.Lock()
	defer a.changing.Unlock()
	page, _, err := a.ports.Store.Scan(TableIssuer, nil, nil, 2*maxIssuers+1)
	if err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	var issuers []*issuer
	var pending []byte
	for _, rec := range page {
		if string(rec.Key) == pendingKey {
			pending = rec.Value
			continue
		}
		i, err := decodeIssuer(rec.Value)
		if err != nil {
			return fmt.Errorf("ca: intermediate %x: %w", rec.Key, err)
		}
		issuers = with(issuers, i)
	}
	a.pending = pending
	a.put(issuers)
	return nil
}

// with is a list with one more, the newest first.
func with(list []*issuer, i *issuer) []*issuer {
	at := 0
	for at < len(list) && list[at].cert.NotBefore.After(i.cert.NotBefore) {
		at++
	}
	return slices.Insert(slices.Clone(list), at, i)
}

// put makes a list that of the issuers. a.changing is held.
func (a *Authority) put(list []*issuer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issuers = list
}

const pendingKey = "pending"

// Request makes a key for a new intermediate and returns its request in PEM, for Root.Sign. A request before it that got no
// certificate is forgotten. It waits for the disk.
func (a *Authority) Request() ([]byte, error) {
	key, err := NewKey(a.ports.Random)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(a.ports.Random, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "imsafe authority of " + a.domain}}, key)
	if err != nil {
		return nil, fmt.Errorf("ca: request: %w", err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("ca: key: %w", err)
	}
	defer clear(plain)
	sealed, err := a.ports.Keys().Seal(nil, a.ports.Random, uint8(TableIssuer), []byte(pendingKey), plain)
	if err != nil {
		return nil, fmt.Errorf("ca: key: %w", err)
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	if err := a.ports.Store.Apply("ca", store.Op{Table: TableIssuer, Key: []byte(pendingKey), Value: sealed}); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	a.pending = sealed
	return pem.EncodeToMemory(&pem.Block{Type: blockRequest, Bytes: der}), nil
}

// Install takes what Root.Sign returned: from now on the new intermediate issues, and the one before it is trusted until it ends
// or is retired. ErrForm, ErrPending, ErrConstraints, ErrTwo. It waits for the disk.
func (a *Authority) Install(text []byte) error {
	list, err := ParseCertificates(text)
	if err != nil {
		return err
	}
	if len(list) != 2 {
		return ErrForm
	}
	i := &issuer{cert: list[0], root: list[1]}
	if err := a.sound(i); err != nil {
		return err
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	key, err := a.open(pendingKey, a.pending)
	if err != nil || !key.PublicKey.Equal(i.cert.PublicKey) {
		return ErrPending
	}
	ops, kept := a.expired()
	if len(kept) >= maxIssuers {
		return ErrTwo
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("ca: key: %w", err)
	}
	defer clear(plain)
	if i.sealed, err = a.ports.Keys().Seal(nil, a.ports.Random, uint8(TableIssuer), i.key(), plain); err != nil {
		return fmt.Errorf("ca: key: %w", err)
	}
	ops = append(ops, store.Op{Table: TableIssuer, Key: i.key(), Value: i.encode(), Cond: store.IfAbsent}, store.Op{Table: TableIssuer, Key: []byte(pendingKey)})
	if err := a.ports.Store.Apply("ca", ops...); err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	a.pending = nil
	a.put(with(kept, i))
	return nil
}

// sound checks an intermediate against its root and our network.
func (a *Authority) sound(i *issuer) error {
	roots := x509.NewCertPool()
	roots.AddCert(i.root)
	_, err := i.cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: a.ports.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil || !i.cert.IsCA || !i.cert.MaxPathLenZero || i.cert.MaxPathLen != 0 || domainOf(i.cert) != a.domain || domainOf(i.root) != a.domain {
		return ErrConstraints
	}
	return nil
}

// expired returns the intermediates that are still good, and the changes that forget the others. a.changing is held.
func (a *Authority) expired() (ops []store.Op, kept []*issuer) {
	now := a.ports.Now()
	for _, i := range a.issuers {
		if now.After(i.cert.NotAfter) {
			ops = append(ops, store.Op{Table: TableIssuer, Key: i.key()})
		} else {
			kept = append(kept, i)
		}
	}
	return ops, kept
}

// Retire ends the trust in an intermediate, by its serial number in hexadecimal: what it issued proves nothing any more. ErrUnknown. It waits for
// the disk.
func (a *Authority) Retire(serial string) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	for n, i := range a.issuers {
		if i.cert.SerialNumber.Text(16) != serial {
			continue
		}
		if err := a.ports.Store.Apply("ca", store.Op{Table: TableIssuer, Key: i.key()}); err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		a.put(slices.Delete(slices.Clone(a.issuers), n, n+1))
		return nil
	}
	return ErrUnknown
}

// Issuers returns the certificates of the trusted intermediates, the one that issues first. They are shared and not to be changed.
func (a *Authority) Issuers() []*x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*x509.Certificate
	for _, i := range a.issuers {
		list = append(list, i.cert)
	}
	return list
}

// Pool is what the core trusts of services: the intermediates themselves, so that one that is retired is trusted no more although its
// root is (two at once while they rotate). A new pool each time.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range a.Issuers() {
		pool.AddCert(cert)
	}
	return pool
}

// Root returns the root's certificate in PEM: what a service trusts of the core. ErrNone.
func (a *Authority) Root() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.issuers) == 0 {
		return nil, ErrNone
	}
	return encodeCertificates(a.issuers[0].root), nil
}

// Service issues the certificate of a service from its request in DER: exactly one URI, identity, exactly one DNS name, host, good for
// both ends of mutual TLS, for at most MaxServiceLife. Nothing else of the request goes in. The answer is the chain, the leaf first,
// without the root. ErrRequest, ErrNames, ErrLife, ErrNone, ErrClock.
func (a *Authority) Service(request []byte, identity, host string, life time.Duration) ([]*x509.Certificate, error) {
	csr, err := ParseRequest(request)
	if err != nil {
		return nil, err
	}
	if err := CheckNames(csr, identity, host); err != nil {
		return nil, err
	}
	return a.issue(csr.PublicKey, csr.URIs, host, life)
}

// leaf makes a key and its certificate, signed by the newest intermediate.
func (a *Authority) leaf(host string, uris []*url.URL, life time.Duration) ([]*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := NewKey(a.ports.Random)
	if err != nil {
		return nil, nil, err
	}
	chain, err := a.issue(key.Public(), uris, host, life)
	return chain, key, err
}

// issuesWith reports whether the intermediate with this certificate, in DER, is the one that issues.
func (a *Authority) issuesWith(der []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.issuers) > 0 && bytes.Equal(a.issuers[0].cert.Raw, der)
}

// superseded reports whether an intermediate is trusted no more, or a newer one issues. Two of the same second, whose order nodes may see differently, do not supersede each other.
func (a *Authority) superseded(c *x509.Certificate) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !slices.ContainsFunc(a.issuers, func(i *issuer) bool { return i.cert.Equal(c) }) || a.issuers[0].cert.NotBefore.After(c.NotBefore)
}

// issue signs a leaf with the newest intermediate.
func (a *Authority) issue(public any, uris []*url.URL, host string, life time.Duration) ([]*x509.Certificate, error) {
	if life <= 0 || life > MaxServiceLife {
		return nil, ErrLife
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.ports.Now()
	if len(a.issuers) == 0 || now.After(a.issuers[0].cert.NotAfter) {
		return nil, ErrNone
	}
	i := a.issuers[0]
	// A clock that went back would issue what ends before its holder expects it, and would call good again what had ended.
	if now.Before(i.cert.NotBefore) || now.Before(a.latest.Add(-back)) {
		return nil, ErrClock
	}
	key, err := a.open(string(i.key()), i.sealed)
	if err != nil {
		return nil, err
	}
	c := &CA{random: a.ports.Random, now: func() time.Time { return now }}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, URIs: uris,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: bothEnds, BasicConstraintsValid: true,
	}
	if len(host) > 64 { // the upper bound of a common name (RFC 5280 A.1); the names that count are the others
		template.Subject = pkix.Name{}
	}
	leaf, err := c.sign(template, i.cert, public, key, life)
	if err != nil {
		return nil, err
	}
	a.latest = now
	return []*x509.Certificate{leaf, i.cert}, nil
}

// open opens the sealed key of a record.
func (a *Authority) open(record string, sealed []byte) (*ecdsa.PrivateKey, error) {
	plain, err := a.ports.Keys().Open(nil, uint8(TableIssuer), []byte(record), sealed)
	if err != nil {
		return nil, fmt.Errorf("ca: key of the intermediate: %w", err)
	}
	defer clear(plain)
	return parseKey(plain)
}

// Reseal seals every key anew that is under an older sealing key, and says how many. It waits for the disk.
func (a *Authority) Reseal() (int, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	keys, changed := a.ports.Keys(), 0
	again := func(record, sealed []byte, value func([]byte) []byte) ([]byte, error) {
		if keys.Current(sealed) {
			return sealed, nil
		}
		fresh, err := keys.Reseal(nil, a.ports.Random, uint8(TableIssuer), record, sealed)
		if err == nil {
			err = a.ports.Store.Apply("ca", store.Op{Table: TableIssuer, Key: record, Value: value(fresh)})
		}
		if err != nil {
			return sealed, fmt.Errorf("ca: %w", err)
		}
		changed++
		return fresh, nil
	}
	var err error
	if a.pending != nil {
		a.pending, err = again([]byte(pendingKey), a.pending, func(b []byte) []byte { return b })
	}
	issuers := slices.Clone(a.issuers)
	for n, i := range issuers {
		if err != nil {
			break
		}
		next := *i
		next.sealed, err = again(i.key(), i.sealed, func(b []byte) []byte { return (&issuer{i.cert, i.root, b}).encode() })
		issuers[n] = &next
	}
	a.put(issuers)
	if err == nil {
		var more int
		more, err = a.resealSigners()
		changed += more
	}
	return changed, err
}

func (i *issuer) key() []byte { return i.cert.SerialNumber.FillBytes(make([]byte, 20)) }

func (i *issuer) encode() []byte { return encodeRecord(i.cert.Raw, i.root.Raw, i.sealed) }

func decodeIssuer(b []byte) (*issuer, error) {
	cert, root, sealed, err := decodeRecord(b)
	if err != nil {
		return nil, err
	}
	return &issuer{cert, root, sealed}, nil
}

// A record: version:1, then three fields, each with its length in front (2 octets, big-endian): a certificate, the one that it leads to, a sealed key.
const recordVersion = 1

func encodeRecord(fields ...[]byte) []byte {
	b := []byte{recordVersion}
	for _, field := range fields {
		b = append(append(b, byte(len(field)>>8), byte(len(field))), field...)
	}
	return b
}

var errRecord = errors.New("the record cannot be read")

func decodeRecord(b []byte) (cert, above *x509.Certificate, sealed []byte, err error) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil, nil, nil, errRecord
	}
	b = b[1:]
	var fields [3][]byte
	for n := range fields {
		if len(b) < 2 || len(b)-2 < int(b[0])<<8|int(b[1]) {
			return nil, nil, nil, errRecord
		}
		size := int(b[0])<<8 | int(b[1])
		fields[n], b = b[2:2+size], b[2+size:]
	}
	cert, err = x509.ParseCertificate(fields[0])
	above, err2 := x509.ParseCertificate(fields[1])
	if err := errors.Join(err, err2); err != nil || len(b) > 0 {
		return nil, nil, nil, errors.Join(errRecord, err)
	}
	return cert, above, bytes.Clone(fields[2]), nil
}
