package link

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files are what lies beside a manifest: the key of an instance, its certificates, and the core's root.
type Files struct{ Key, Chain, Root string }

// FilesOf names them after manifest and instance.
func FilesOf(manifest, instance string) Files {
	base := strings.TrimSuffix(strings.TrimSuffix(manifest, ".toml"), ".service") + "." + instance
	return Files{Key: base + ".key", Chain: base + ".crt", Root: filepath.Join(filepath.Dir(manifest), "core-ca.crt")}
}

// Roots is what the platform trusts: the core's root.
func (d *Dialer) Roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(d.files.Root)
	if err != nil {
		return nil, fmt.Errorf("link: the core's root: %w; `imsafe service request` fetches it", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("link: %s holds no certificate", d.files.Root)
	}
	return pool, nil
}

// tls is TLS 1.3 alone, with the certificate as it is at that moment.
func (d *Dialer) tls(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: d.coreName(), SessionTicketsDisabled: true, Time: d.o.Clock.Wall,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.certificate() }}
}

// Certificate is the platform's, as it lies beside the manifest at that moment: it proves the platform to clients, too.
func (d *Dialer) Certificate() (*tls.Certificate, error) { return d.certificate() }

// certificate reads key and certificate and sees to it that they are what the core will ask for.
func (d *Dialer) certificate() (*tls.Certificate, error) {
	if err := d.private(); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(d.files.Chain, d.files.Key)
	if err != nil {
		return nil, fmt.Errorf("link: %w; `imsafe service request` without --token fetches the certificate", err)
	}
	if err := d.ours(pair.Leaf); err != nil {
		return nil, err
	}
	if _, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		return nil, fmt.Errorf("link: %s is no ECDSA key", d.files.Key)
	}
	return &pair, nil
}

// ours refuses a certificate of somebody else, and one that has ended.
func (d *Dialer) ours(leaf *x509.Certificate) error {
	named := false
	for _, u := range leaf.URIs {
		instance, ok := d.manifest.Instance(u.String())
		named = named || ok && instance == d.o.Instance
	}
	switch now := d.o.Clock.Wall(); {
	case !named || leaf.VerifyHostname(d.manifest.Host()) != nil:
		return fmt.Errorf("link: %s is not the certificate of %s", d.files.Chain, d.manifest.Identity(d.o.Instance))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("link: %s ended at %s; `imsafe service renew` fetches another", d.files.Chain, leaf.NotAfter)
	}
	return nil
}

// private refuses a key that others may read.
func (d *Dialer) private() error {
	info, err := os.Stat(d.files.Key)
	if err != nil {
		return fmt.Errorf("link: no key: %w; `imsafe service request` makes one", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("link: %s may be read by others (%v): chmod 600", d.files.Key, info.Mode().Perm())
	}
	return nil
}
