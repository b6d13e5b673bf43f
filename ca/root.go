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
	"net"
	"time"
)

// The errors of roots and intermediates.
var (
	ErrForm        = errors.New("ca: not in PEM, or not the blocks that belong there")
	ErrRequest     = errors.New("ca: the request is not signed by its key, or its key is not on P-256")
	ErrConstraints = errors.New("ca: the certificate is not that of an intermediate authority constrained to the home network")
)

// Root is the authority that stays offline: it signs intermediates, and nobody else. The operator takes it away in a file; the core
// never needs it again. Not safe for concurrent use.
type Root struct {
	random io.Reader
	now    func() time.Time
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// NewRoot makes a root for a home network, valid for life, that can vouch for nothing else (RFC 5280 4.2.1.10).
func NewRoot(random io.Reader, now func() time.Time, domain string, life time.Duration) (*Root, error) {
	c := &CA{random: random, now: now}
	template := constrained("imsafe root authority of "+domain, domain)
	template.MaxPathLen = 1
	cert, key, err := c.issue(template, nil, nil, life)
	if err != nil {
		return nil, err
	}
	return &Root{random: random, now: now, cert: cert, key: key}, nil
}

// constrained is the template of an authority: names below the domain, URIs whose host it is, no addresses and no mail.
func constrained(name, domain string) *x509.Certificate {
	_, v4, _ := net.ParseCIDR("0.0.0.0/0")
	_, v6, _ := net.ParseCIDR("::/0")
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: bothEnds, PermittedDNSDomainsCritical: true,
		PermittedDNSDomains: []string{domain}, PermittedURIDomains: []string{domain}, PermittedEmailAddresses: []string{domain},
		ExcludedIPRanges: []*net.IPNet{v4, v6},
	}
}

// bothEnds is for both ends of mutual TLS (TS 33.310 6.1.3).
var bothEnds = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// The kinds of PEM blocks.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
	blockRequest     = "CERTIFICATE REQUEST"
)

// Marshal returns certificate and private key in PEM: a secret, for a file of the operator's. There is no other way out for the key.
func (r *Root) Marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		return nil, fmt.Errorf("ca: root key: %w", err)
	}
	defer clear(der)
	return append(encodeCertificates(r.cert), pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der})...), nil
}

// ParseRoot reads what Marshal writes: ErrForm.
func ParseRoot(random io.Reader, now func() time.Time, text []byte) (*Root, error) {
	block, rest := pem.Decode(text)
	second, rest := pem.Decode(rest)
	if block == nil || second == nil || block.Type != blockCertificate || second.Type != blockKey || len(bytes.TrimSpace(rest)) > 0 {
		return nil, ErrForm
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, ErrForm
	}
	key, err := parseKey(second.Bytes)
	if err != nil || !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA {
		return nil, ErrForm
	}
	return &Root{random: random, now: now, cert: cert, key: key}, nil
}

// Certificate returns the root's certificate in PEM: what everybody trusts.
func (r *Root) Certificate() []byte { return encodeCertificates(r.cert) }

// Domain returns the home network that the root is constrained to.
func (r *Root) Domain() string { return domainOf(r.cert) }

// Sign issues the certificate of an intermediate from its request in PEM, for the root's own network and not longer than the root.
// It returns the certificate and the root's, in PEM. ErrForm, ErrRequest.
func (r *Root) Sign(request []byte, life time.Duration) ([]byte, error) {
	csr, err := parseRequest(request)
	if err != nil {
		return nil, err
	}
	c := &CA{random: r.random, now: r.now}
	template := constrained("imsafe authority of "+r.Domain(), r.Domain())
	template.MaxPathLenZero = true
	cert, err := c.sign(template, r.cert, csr.PublicKey, r.key, life)
	if err != nil {
		return nil, err
	}
	return encodeCertificates(cert, r.cert), nil
}

// domainOf is the network that an authority is constrained to, "" if it is not constrained as ours are.
func domainOf(cert *x509.Certificate) string {
	if len(cert.PermittedDNSDomains) != 1 || len(cert.PermittedURIDomains) != 1 || cert.PermittedDNSDomains[0] != cert.PermittedURIDomains[0] ||
		!cert.PermittedDNSDomainsCritical || len(cert.ExcludedIPRanges) != 2 {
		return ""
	}
	return cert.PermittedDNSDomains[0]
}

func encodeCertificates(list ...*x509.Certificate) (text []byte) {
	for _, cert := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: cert.Raw})...)
	}
	return text
}

// ParseCertificates reads certificates in PEM, and nothing else: ErrForm.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for len(bytes.TrimSpace(text)) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil || block.Type != blockCertificate || len(list) == 4 {
			return nil, ErrForm
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForm, err)
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, ErrForm
	}
	return list, nil
}

// parseRequest reads a request in PEM and checks that whoever made it has the key (RFC 2986 4.2).
func parseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != blockRequest || len(bytes.TrimSpace(rest)) > 0 {
		return nil, ErrForm
	}
	return ParseRequest(block.Bytes)
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return nil, ErrForm
	}
	return key, nil
}
