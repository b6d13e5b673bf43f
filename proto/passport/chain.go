package passport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"time"
)

// ErrChain says that certificates do not make anybody a signer: they lead to no anchor, or are those of somebody else.
var ErrChain = errors.New("passport: no certificate of a signer")

// signerPath is the path of a signer's SPIFFE id. A platform's begins with /as/, so no platform's certificate makes it a signer, nor does
// that of a TLS server, which has none.
const signerPath = "/core/identity"

// SignerURI is the one URI in the certificate of the signer of a home network.
func SignerURI(domain string) string { return "spiffe://" + domain + signerPath }

// maxChain bounds the certificates that are read.
const maxChain = 4

// Chain reads certificates in PEM, the signer's first (RFC 8555 9.1), and returns his key and the network he signs for, if they lead to one
// of roots at that time. ErrChain.
func Chain(text []byte, roots *x509.CertPool, now time.Time) (key *ecdsa.PublicKey, domain string, until time.Time, err error) {
	var leaf *x509.Certificate
	between := x509.NewCertPool()
	for n := 0; ; n++ {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || n == maxChain {
			return nil, "", until, ErrChain
		}
		if leaf == nil {
			leaf = c
		} else {
			between.AddCert(c)
		}
	}
	if leaf == nil || roots == nil {
		return nil, "", until, ErrChain
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, "", until, errors.Join(ErrChain, err)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || len(leaf.URIs) != 1 {
		return nil, "", until, ErrChain
	}
	domain, ok = strings.CutSuffix(leaf.URIs[0].String(), signerPath)
	if !ok || SignerURI(strings.TrimPrefix(domain, "spiffe://")) != leaf.URIs[0].String() {
		return nil, "", until, ErrChain
	}
	return key, strings.TrimPrefix(domain, "spiffe://"), leaf.NotAfter, nil
}
