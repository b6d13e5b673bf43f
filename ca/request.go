package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"
)

// MaxServiceLife is the longest life of a service's certificate: what a revocation that got lost can cost.
const MaxServiceLife = 24 * time.Hour

// ErrNames is the error for a request whose names are not exactly those that may be certified.
var ErrNames = errors.New("ca: the request must have exactly one URI and one DNS name, those of the service, and no other name")

// NewKey makes a key on P-256, for whoever asks for a certificate. It stays where it was made.
func NewKey(random io.Reader) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("ca: key: %w", err)
	}
	return key, nil
}

// NewRequest returns a request, in DER, for the certificate of a service: identity is its one URI (TS 33.310 has none; the form is
// that of SPIFFE), host its one DNS name.
func NewRequest(random io.Reader, key crypto.Signer, identity, host string) ([]byte, error) {
	u, err := url.Parse(identity)
	if err != nil {
		return nil, fmt.Errorf("ca: identity: %w", err)
	}
	der, err := x509.CreateCertificateRequest(random, &x509.CertificateRequest{URIs: []*url.URL{u}, DNSNames: []string{host}}, key)
	if err != nil {
		return nil, fmt.Errorf("ca: request: %w", err)
	}
	return der, nil
}

// maxRequest bounds a request, in octets: one key and two names.
const maxRequest = 4 << 10

// ParseRequest reads a request in DER and checks that whoever made it has the key, which must be on P-256: ErrRequest.
func ParseRequest(der []byte) (*x509.CertificateRequest, error) {
	if len(der) > maxRequest {
		return nil, ErrRequest
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || csr.CheckSignature() != nil {
		return nil, ErrRequest
	}
	return csr, nil
}

// CheckNames says whether a request has exactly these two names and no others: ErrNames.
func CheckNames(csr *x509.CertificateRequest, identity, host string) error {
	if len(csr.URIs) != 1 || csr.URIs[0].String() != identity || !slices.Equal(csr.DNSNames, []string{host}) ||
		len(csr.IPAddresses)+len(csr.EmailAddresses) > 0 {
		return ErrNames
	}
	return nil
}

// RenewAt is when a certificate is to be renewed: when two thirds of its life are over. The time before it was issued, for clocks
// that are behind, does not count.
func RenewAt(leaf *x509.Certificate) time.Time {
	from := leaf.NotBefore.Add(skew)
	return from.Add(leaf.NotAfter.Sub(from) * 2 / 3)
}
