package rtpport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"time"

	"imsafe/proto/sdp"
)

// Certificate is the self-signed identity of one leg (RFC 5763 6: authenticated by its fingerprint alone). Make a new one for
// every call: one that is used twice links two calls of a user (RFC 8827 6.5) and outlives its keys. It prints as redacted.
type Certificate struct {
	pair        tls.Certificate
	fingerprint sdp.Fingerprint
}

// NewCertificate makes a P-256 key and a certificate with a random name, valid around now for a day. The private key comes
// from the operating system whatever random is (Go's ecdsa takes no other source); name and serial number come from random.
func NewCertificate(random io.Reader, now time.Time) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("rtpport: certificate key: %w", err)
	}
	var seed [24]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("rtpport: randomness: %w", err)
	}
	template := x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(seed[:12]),
		Subject:      pkix.Name{CommonName: hex.EncodeToString(seed[12:])},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(random, &template, &template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("rtpport: certificate: %w", err)
	}
	return &Certificate{
		pair:        tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		fingerprint: sdp.NewFingerprint(der),
	}, nil
}

// Fingerprint is what goes into the SDP: SHA-256 over the DER form.
func (c *Certificate) Fingerprint() sdp.Fingerprint { return c.fingerprint }

// String hides the key.
func (c *Certificate) String() string { return "[redacted]" }

// LogValue hides the key.
func (c *Certificate) LogValue() slog.Value { return slog.StringValue("[redacted]") }
