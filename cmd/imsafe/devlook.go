package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"path/filepath"

	"imsafe/config"
	"imsafe/doctor/host"
)

// A dev system is looked at from another terminal: its directory has a configuration, as any node's, with which the commands find it. Nothing reads it
// in the system itself.

// devPrefix is what the temporary directories of dev systems begin with.
const devPrefix = "imsafe-dev-"

// keep writes the configuration, with the ports that the system has indeed, and the certificate that it names.
func (d *dev) keep(cert *tls.Certificate) error {
	private, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := d.actual().Write(&text); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(d.dir, configName), text.Bytes(), 0o600),
		os.WriteFile(d.config.CI.TLS.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(string(d.config.CI.TLS.KeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// actual is the configuration with others in the place of ports that were taken.
func (d *dev) actual() *config.Config {
	c, s := *d.config, d.sockets
	address := func(at string) config.Address { return config.Address{AddrPort: netip.MustParseAddrPort(at)} }
	overTLS, lab := s.Addresses()
	c.CI.TLS.Listen, c.CI.LabUDP.Listen = []config.Address{{AddrPort: overTLS[0]}}, []config.Address{{AddrPort: lab[0]}}
	gm := s.IPsec[0]
	c.CI.IPsec.Listen, c.CI.IPsec.NATPort = []config.Address{address(gm.Clear[0].LocalAddr().String())}, address(gm.NAT.LocalAddr().String()).Port()
	c.Metrics.Listen = address(s.Metrics.Addr().String())
	c.IS.Enrol.Listen, c.IS.Listen, c.HTTPS.Listen = address(s.Enrol.Addr().String()), address(s.ISC.Addr().String()), address(s.HTTPS.Addr().String())
	return &c
}

// devSystems finds the configurations of the dev systems in temporary directories that this user runs now. What others have there is passed over.
func devSystems(ctx context.Context) (configs []string) {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), devPrefix+"*", configName))
	if err != nil { // the directory's name is a bad pattern
		return nil
	}
	for _, path := range found {
		info, err := os.Lstat(filepath.Dir(path))
		if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
			continue
		}
		if owner, us := (host.Host{}).Owner(info); owner != us {
			continue
		}
		if c, err := readConfig(path); err == nil && knock(ctx, c.ManagementSocket()) == nil {
			configs = append(configs, path)
		}
	}
	return configs
}
