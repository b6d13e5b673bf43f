package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"strings"
	"time"
)

// soon is when a certificate should have been renewed.
const soon = 21 * 24 * time.Hour

// certificates looks at that of the P-CSCF, at that towards other nodes, and at the authority that certifies what the node serves platforms and pages with.
func (x *examination) certificates() {
	c := x.Config
	if len(c.CI.TLS.Listen) > 0 {
		x.certificate("ci.tls", c.CI.TLS.CertificateFile, c.CI.TLS.KeyFile.Path, "pcscf."+c.HomeDomain())
	}
	if c.Mw.CertificateFile != "" {
		x.certificate("mw", c.Mw.CertificateFile, c.Mw.KeyFile.Path, "")
	}
	if c.HTTPS.Listen.IsValid() || c.IS.Listen.IsValid() || c.IS.Enrol.Listen.IsValid() {
		x.authority()
	}
}

// authority looks at the root and at the intermediate that issues.
func (x *examination) authority() {
	a := x.Authority
	switch {
	case x.NoStore || a != nil && (a.Root == nil || len(a.Issuers) == 0):
		x.hint(Authority, "the network has no authority yet")
	case a == nil:
		x.unchecked(Authority, asTheNode, "whether the network has an authority cannot be seen")
	default:
		x.lifetime(Authority, "the root of the network's authority", a.Root.NotBefore, a.Root.NotAfter)
		x.lifetime(Authority, "the intermediate that issues", a.Issuers[0].NotBefore, a.Issuers[0].NotAfter)
	}
}

// certificate looks at one. name is what must stand in it; "" leaves that open.
func (x *examination) certificate(section, file string, keyFile func(string) (string, error), name string) {
	chain, err := x.host.ReadFile(file)
	if err != nil {
		x.unreadable(section, err)
		return
	}
	path, err := keyFile(x.Credentials)
	if err != nil {
		x.unchecked(CertFile, credentials, "[%s] its key: %v", section, err)
		return
	}
	key, err := x.host.ReadFile(path)
	if err != nil {
		x.unreadable(section, err)
		return
	}
	pair, err := tls.X509KeyPair(chain, key)
	clear(key)
	if err != nil {
		x.breaks(CertFile, "[%s] %s: %s", section, file, strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	x.fine(CertFile, "[%s] certificate and key belong together", section)
	x.lifetime(CertExpiry, "["+section+"] the certificate", pair.Leaf.NotBefore, pair.Leaf.NotAfter)
	if name != "" {
		x.called(section, pair.Leaf, name)
	}
	x.chain(section, pair.Certificate)
}

// unreadable tells of a file that cannot be read. One of somebody else may be readable for the node.
func (x *examination) unreadable(section string, err error) {
	if x.Blind && errors.Is(err, fs.ErrPermission) {
		x.unchecked(CertFile, asTheNode, "[%s] %v", section, err)
		return
	}
	x.breaks(CertFile, "[%s] %v", section, err)
}

// lifetime looks at how long what is valid.
func (x *examination) lifetime(code Code, what string, from, until time.Time) {
	now, day := x.host.Wall(), until.Format(time.DateOnly)
	left := until.Sub(now)
	switch {
	case now.Before(from):
		x.breaks(code, "%s is valid only from %s on: either it is, or the clock is wrong", what, from.Format(time.RFC3339))
	case left <= 0:
		x.breaks(code, "%s is not valid any more since %s", what, day)
	case left < soon && left < until.Sub(from)/3: // one that lives for days only is renewed by a program
		x.hint(code, "%s is valid until %s, %d days from now", what, day, int(left.Hours()/24))
	default:
		x.fine(code, "%s is valid until %s", what, day)
	}
}

func (x *examination) called(section string, leaf *x509.Certificate, name string) {
	if err := leaf.VerifyHostname(name); err == nil {
		x.fine(CertName, "[%s] the certificate has the name %s", section, name)
		return
	}
	names := "none"
	if len(leaf.DNSNames) > 0 {
		names = strings.Join(leaf.DNSNames, ", ")
	}
	x.breaks(CertName, "[%s] the certificate does not have the name %s; its DNS names: %s", section, name, names)
}

// chain looks at the order of the file.
func (x *examination) chain(section string, der [][]byte) {
	certs := make([]*x509.Certificate, len(der))
	for i := range der {
		var err error
		if certs[i], err = x509.ParseCertificate(der[i]); err != nil {
			x.breaks(CertChain, "[%s] certificate %d of the file: %v", section, i+1, err)
			return
		}
	}
	for i := 1; i < len(certs); i++ {
		if err := certs[i-1].CheckSignatureFrom(certs[i]); err != nil {
			x.breaks(CertChain, "[%s] certificate %d of the file (%s) is not signed by the one behind it (%s)", section, i, certs[i-1].Subject.CommonName, certs[i].Subject.CommonName)
			return
		}
	}
	last := certs[len(certs)-1]
	if last.CheckSignatureFrom(last) == nil {
		x.fine(CertChain, "[%s] the chain ends with %s", section, last.Subject.CommonName)
		return
	}
	x.fine(CertChain, "[%s] the chain ends below the authority %q, which clients have to trust", section, last.Issuer.CommonName)
}
