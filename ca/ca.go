// Package ca is imsafe's own small certificate authority, made of crypto/x509: for `imsafe dev`, for labs, and for
// the service platforms of I-S. Its certificates are short-lived and name what they may be used for; a chain from
// outside is as good.
//
// CA lives as long as its process. For a network that lasts there are a Root, which the operator takes away, and an
// Authority: name-constrained intermediates whose keys are sealed in the store.
//
// It writes no ASN.1 and no cipher of its own. Randomness and clock are handed in. Safe for concurrent use after New.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// skew is how far before the clock a certificate begins, for peers whose clocks are a little behind.
const skew = 5 * time.Minute

// CA issues certificates. Its key stays inside.
type CA struct {
	random io.Reader
	now    func() time.Time
	key    crypto.Signer
	cert   *x509.Certificate
}

// New makes an authority with a fresh P-256 key, valid for life, whose certificates may only be for names under domain
// or loopback addresses (RFC 5280 4.2.1.10).
func New(random io.Reader, now func() time.Time, domain string, life time.Duration) (*CA, error) {
	c := &CA{random: random, now: now}
	_, v4, _ := net.ParseCIDR("127.0.0.0/8")
	_, v6, _ := net.ParseCIDR("::1/128")
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "imsafe lab authority of " + domain}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, PermittedDNSDomainsCritical: true,
		PermittedDNSDomains: []string{domain, "localhost"}, PermittedIPRanges: []*net.IPNet{v4, v6},
	}
	cert, key, err := c.issue(template, nil, nil, life)
	if err != nil {
		return nil, err
	}
	c.cert, c.key = cert, key
	return c, nil
}

// Server issues the certificate of a TLS server with these DNS names and addresses.
func (c *CA) Server(life time.Duration, names []string, addresses []net.IP) (tls.Certificate, error) {
	return c.end(life, names, addresses, x509.ExtKeyUsageServerAuth)
}

// end issues the certificate of an end entity.
func (c *CA) end(life time.Duration, names []string, addresses []net.IP, usages ...x509.ExtKeyUsage) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, IPAddresses: addresses,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages,
	}
	cert, key, err := c.issue(template, c.cert, c.key, life)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// Node issues the certificate of a node that other nodes know by these DNS names: it is good for both ends of mutual TLS
// (TS 33.310 6.1.3).
func (c *CA) Node(life time.Duration, names []string) (tls.Certificate, error) {
	return c.end(life, names, nil, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

// Pool returns a pool with the authority alone in it: what a client of it trusts.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// PEM returns the authority's certificate for people and other programs.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// issue makes a key and its certificate, signed by parent or by itself.
func (c *CA) issue(template, parent *x509.Certificate, signer crypto.Signer, life time.Duration) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := NewKey(c.random)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	cert, err := c.sign(template, parent, key.Public(), signer, life)
	return cert, key, err
}

// sign makes the certificate of a key. It ends with its authority's at the latest.
func (c *CA) sign(template, parent *x509.Certificate, public any, signer crypto.Signer, life time.Duration) (*x509.Certificate, error) {
	var err error
	// 128 random bits: unique without a counter that must survive (CA/Browser Forum asks for 64).
	if template.SerialNumber, err = rand.Int(c.random, new(big.Int).Lsh(big.NewInt(1), 128)); err != nil {
		return nil, fmt.Errorf("ca: serial: %w", err)
	}
	template.NotBefore, template.NotAfter = c.now().Add(-skew), c.now().Add(life)
	if parent != template && template.NotAfter.After(parent.NotAfter) {
		template.NotAfter = parent.NotAfter
	}
	der, err := x509.CreateCertificate(c.random, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("ca: certificate of %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}
