package diameter

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// authority is a CA of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template, template, nil)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

// config is mutual TLS for a host.
func (a *authority) config(host string) *tls.Config {
	leaf, key := a.sign(&x509.Certificate{DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}, RootCAs: a.pool,
		ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// secured is beta behind TLS, and alpha who dials it with a certificate of his own.
func secured(t *testing.T, w *network, alphas *tls.Config, lab bool) (a, b *house, asked *[]Refusal) {
	ca := newAuthority(t)
	if alphas == nil {
		alphas = ca.config(alpha)
	}
	alphas.RootCAs = ca.pool
	asked = new([]Refusal)
	cb := config(beta, PeerConfig{Host: alpha})
	cb.TLS, cb.Peers[0].Cleartext = ca.config(beta), false
	cb.Refuse = func(r Refusal) bool { *asked = append(*asked, r); return !lab }
	cb.Applications = nil
	b = w.start(cb)
	conf := config(alpha, PeerConfig{Host: beta, Dial: func(context.Context) (net.Conn, error) {
		x, y := net.Pipe()
		b.Accept(&counted{y, w}, true)
		return x, nil
	}})
	conf.TLS, conf.Peers[0].Cleartext = alphas, false
	a = w.start(conf)
	time.Sleep(time.Second / 2)
	synctest.Wait()
	return a, b, asked
}

// counted is a connection of a listener that shares its places among strangers.
type counted struct {
	net.Conn
	w *network
}

func (c *counted) Proven() { c.w.proven++ }

func TestTLS_mutual(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b, asked := secured(t, w, nil, false)
		a.wantAnswer("over TLS", Outgoing{Message: request(a.Node, "", nil), Secure: true}, ResultSuccess)
		if !a.status(beta).Secure || !b.status(alpha).Secure || len(*asked) != 0 {
			t.Errorf("%+v, %+v, asked about %+v", a.status(beta), b.status(alpha), *asked)
		}
		if w.proven != 1 {
			t.Errorf("the listener was told %d times that its peer is no stranger", w.proven)
		}
	})
}

// CX-01, both variants, with the control on and off: core.authentication.mtls and core.authentication.origin-host.
func TestTLS_spoofed_peer(t *testing.T) {
	for _, lab := range []bool{false, true} {
		for _, c := range []struct {
			name   string
			change func(*tls.Config)
			want   Reason
		}{
			{"no certificate", func(c *tls.Config) { c.Certificates = nil }, ReasonNoCertificate},
			{"the certificate of another", func(*tls.Config) {}, ReasonOriginHost},
		} {
			t.Run(c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *network) {
					// The CA of the house has signed it, but for somebody else.
					a, b, asked := secured(t, w, nil, lab)
					a.stop()
					*asked = nil
					mallory := b.cfg.TLS.Clone() // beta's own certificate: good, and not alpha's
					c.change(mallory)
					a2 := w.start(func() Config {
						conf := config(alpha, PeerConfig{Host: beta, Dial: func(context.Context) (net.Conn, error) {
							x, y := net.Pipe()
							b.Accept(&counted{y, w}, true)
							return x, nil
						}})
						conf.TLS, conf.Peers[0].Cleartext = mallory, false
						return conf
					}())
					time.Sleep(time.Second / 2)
					synctest.Wait()
					s := b.status(alpha)
					if s.Up != lab || s.Secure || len(*asked) == 0 || (*asked)[0].Reason != c.want {
						t.Errorf("lab %v: %+v, asked about %+v", lab, s, *asked)
					}
					if w.proven != 1 { // alpha's, before
						t.Errorf("lab %v: the listener was told that an impostor is no stranger", lab)
					}
					if a2.cfg.Counters.Opened.Load() > 0 != lab {
						t.Errorf("lab %v: the spoofer got a CEA", lab)
					}
				})
			})
		}
	}
}

func TestTLS_cleartext_where_TLS_is_wanted(t *testing.T) {
	for _, lab := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *network) {
			a, b, asked := secured(t, w, nil, lab)
			a.stop()
			*asked = nil
			r := newRaw(t, w, beta, alpha)
			r.write(r.cer(nil))
			got, _, _ := ResultOf(r.read(t))
			if want := map[bool]Result{true: ResultSuccess, false: ResultNoCommonSecurity}[lab]; got != want ||
				len(*asked) != 1 || (*asked)[0].Reason != ReasonCleartext || b.status(alpha).Secure {
				t.Errorf("lab %v: %v, asked about %+v", lab, got, *asked)
			}
			r.close()
		})
	}
}

func TestTLS_old_version_and_silent_handshake(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b, _ := secured(t, w, nil, false)
		a.stop()
		x, y := net.Pipe()
		b.Accept(y, true)
		c := newAuthority(t).config(alpha)
		c.MaxVersion, c.InsecureSkipVerify = tls.VersionTLS12, true
		if err := tls.Client(x, c).Handshake(); err == nil {
			t.Error("TLS 1.2 was accepted")
		}
		_, y = net.Pipe()
		b.Accept(y, true)
		time.Sleep(11 * time.Second)
		if n := b.cfg.Counters.Conns.Load(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestVerifyOriginHost(t *testing.T) {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "common.example"}, DNSNames: []string{"HSS.example", "*.wild.example"}}
	for host, want := range map[string]Reason{"hss.example": 0, "common.example": ReasonOriginHost, "a.wild.example": ReasonOriginHost,
		"": ReasonOriginHost, "hss.example.": ReasonOriginHost} {
		if got := VerifyOriginHost(c, host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
