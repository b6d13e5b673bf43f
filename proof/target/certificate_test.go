package target

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// shown is a certificate for itself, and its key, in PEM.
func shown(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"lab"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// TestRead_certificate: what clients show goes with its key, and neither an error nor the file has the key in it.
func TestRead_certificate(t *testing.T) {
	certificate, key := shown(t)
	_, other := shown(t)
	const over = "tls = \"192.168.7.5:5061\"\ntls_authority = \"ca.pem\"\n"
	for name, c := range map[string]struct {
		entry string
		key   []byte
		says  string
	}{
		"a pair":              {over + "tls_certificate = \"client.pem\"\ntls_key = \"file:client.key\"\n", key, ""},
		"none":                {over, nil, ""},
		"no key":              {over + "tls_certificate = \"client.pem\"\n", nil, "entry.tls_certificate: it goes with tls_key"},
		"no certificate":      {over + "tls_key = \"env:KEY\"\n", key, "entry.tls_certificate: it goes with tls_key"},
		"the key in the file": {over + "tls_certificate = \"client.pem\"\ntls_key = \"MIGH\"\n", key, "entry.tls_key: where they are: file:NAME"},
		"somebody else's key": {over + "tls_certificate = \"client.pem\"\ntls_key = \"env:KEY\"\n", other, "are none, or no pair"},
		"no TLS":              {"tls_certificate = \"client.pem\"\ntls_key = \"env:KEY\"\n", key, "there is no entry.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			m := means()
			m.Authority = func(string) ([]byte, error) { return certificate, nil }
			m.Keys = func(reference string) ([]byte, error) {
				if reference == "file:client.key" || reference == "env:KEY" {
					return c.key, nil
				}
				return []byte(goodKeys), nil
			}
			x, err := Read([]byte(strings.Replace(sound, "[entry]\n", "[entry]\n"+c.entry, 1)), m)
			switch {
			case c.says == "" && err != nil:
				t.Fatal(err)
			case c.says == "":
				if has := x.Site.Certificate != nil; has != (c.key != nil) {
					t.Errorf("clients show one: %v", has)
				}
			case err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "PRIVATE"):
				t.Errorf("%v", err)
			}
		})
	}
}
