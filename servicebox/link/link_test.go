package link_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/link"
)

const manifest = `manifest = 1
service  = "hello"
provider = "example"
domain   = "ims.example"
endpoint = "sips:hello.as.ims.example:5061"
psi      = ["sip:hello@ims.example"]
scopes   = ["session.answer"]
limits   = { cps = 20, sessions = 200 }
expires  = 2030-01-01
`

// core is a core's authority and doors as far as a connection meets them, and the directory of a platform.
type core struct {
	t        *testing.T
	dir      string
	manifest *isc.Manifest
	root     *x509.Certificate
	key      *ecdsa.PrivateKey // of the root
	own      *ecdsa.PrivateKey // of the platform
	serial   int64
}

func newCore(t *testing.T) *core {
	t.Helper()
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	c := &core{t: t, dir: t.TempDir(), manifest: m}
	c.key, c.own = newKey(t), newKey(t)
	c.root = &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c.root, c.root, c.key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	c.root, _ = x509.ParseCertificate(der)
	private, err := x509.MarshalPKCS8PrivateKey(c.own)
	if err != nil {
		t.Fatal(err)
	}
	c.write("core-ca.crt", 0o644, "CERTIFICATE", der)
	c.write("hello.a.key", 0o600, "PRIVATE KEY", private)
	c.write("hello.a.crt", 0o644, "CERTIFICATE", c.issue(&c.own.PublicKey, m.Identity("a"), m.Host(), 24*time.Hour))
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *core) write(name string, mode os.FileMode, kind string, der []byte) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	_ = os.Remove(path)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		c.t.Fatal(err)
	}
}

func (c *core) issue(public any, identity, host string, life time.Duration) []byte {
	c.t.Helper()
	c.serial++
	template := &x509.Certificate{SerialNumber: big.NewInt(100 + c.serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), DNSNames: []string{host}}
	if identity != "" {
		u, err := url.Parse(identity)
		if err != nil {
			c.t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.root, public, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

// listen opens a door of the core with a name.
func (c *core) listen(host string) net.Listener {
	c.t.Helper()
	key := newKey(c.t)
	own := tls.Certificate{Certificate: [][]byte{c.issue(key.Public(), "", host, 100*time.Hour)}, PrivateKey: key}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = l.Close() })
	return l
}

// open opens the platform's end.
func (c *core) open(o link.Options) (*link.Dialer, error) {
	o.Log = slog.New(slog.DiscardHandler)
	return link.Open(filepath.Join(c.dir, "hello.service.toml"), c.manifest, o)
}

// TestOpenRefuses: what cannot be proven does not start.
func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(c *core)
		says  string
	}{
		"no key":                 {func(c *core) { _ = os.Remove(filepath.Join(c.dir, "hello.a.key")) }, "no key"},
		"no certificate":         {func(c *core) { _ = os.Remove(filepath.Join(c.dir, "hello.a.crt")) }, "fetches the certificate"},
		"no root":                {func(c *core) { _ = os.Remove(filepath.Join(c.dir, "core-ca.crt")) }, "the core's root"},
		"key that others read":   {func(c *core) { _ = os.Chmod(filepath.Join(c.dir, "hello.a.key"), 0o644) }, "may be read by others"},
		"certificate that ended": {func(c *core) { c.leaf(c.manifest.Identity("a"), c.manifest.Host(), -time.Minute) }, "ended at"},
		"another instance":       {func(c *core) { c.leaf(c.manifest.Identity("b"), c.manifest.Host(), time.Hour) }, "is not the certificate of"},
		"another service":        {func(c *core) { c.leaf("spiffe://ims.example/as/example/other/a", c.manifest.Host(), time.Hour) }, "is not the certificate of"},
		"another host":           {func(c *core) { c.leaf(c.manifest.Identity("a"), "other.as.ims.example", time.Hour) }, "is not the certificate of"},
		"another key":            {func(c *core) { c.own = newKey(c.t); c.leaf(c.manifest.Identity("a"), c.manifest.Host(), time.Hour) }, "private key does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCore(t)
			if _, err := k.open(link.Options{}); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.spoil(k)
			if _, err := k.open(link.Options{}); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
		})
	}
}

func (c *core) leaf(identity, host string, life time.Duration) {
	c.write("hello.a.crt", 0o644, "CERTIFICATE", c.issue(&c.own.PublicKey, identity, host, life))
}

// pipe tells a test what happens.
type pipe struct {
	opened chan siptransport.Flow
	closed chan struct{}
	came   chan string
}

func newPipe() *pipe {
	return &pipe{make(chan siptransport.Flow, 8), make(chan struct{}, 8), make(chan string, 8)}
}

func (p *pipe) Opened(f siptransport.Flow)           { p.opened <- f }
func (p *pipe) Closed(siptransport.Flow)             { p.closed <- struct{}{} }
func (p *pipe) Packet(_ siptransport.Flow, b []byte) { p.came <- string(b) }

// run runs a dialer until the test is over.
func run(t *testing.T, d *link.Dialer, p link.Pipe) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	sh := shard.New(shard.Config{Clock: shard.RealClock()})
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx, sh, p) }()
	t.Cleanup(func() { stop(); <-done; sh.Close() })
}

const message = "OPTIONS sip:core SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n"

// TestConnects: both ends are proven, messages go both ways, and a lost connection is made anew.
func TestConnects(t *testing.T) {
	k := newCore(t)
	door := k.listen("isc.ims.example")
	d, err := k.open(link.Options{Core: door.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Protections()[0]; got != "I-S: not connected" {
		t.Errorf("before: %s", got)
	}
	p := newPipe()
	run(t, d, p)
	for range 2 {
		conn, err := door.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.(*tls.Conn).Handshake(); err != nil {
			t.Fatal(err)
		}
		shown := conn.(*tls.Conn).ConnectionState().PeerCertificates
		if len(shown) == 0 || shown[0].URIs[0].String() != k.manifest.Identity("a") {
			t.Fatalf("it shows %v", shown)
		}
		flow := <-p.opened
		if got := d.Protections()[0]; !strings.Contains(got, "mutual TLS 1.3") || !strings.Contains(got, "isc.ims.example") {
			t.Errorf("it says %s", got)
		}
		if _, err := io.WriteString(conn, message); err != nil {
			t.Fatal(err)
		}
		if got := <-p.came; got != message {
			t.Errorf("%q came", got)
		}
		if err := flow.Send([]byte(message)); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(message))
		if _, err := io.ReadFull(conn, back); err != nil || string(back) != message {
			t.Errorf("%q, %v came at the core", back, err)
		}
		_ = conn.Close()
		<-p.closed
	}
}

// TestStranger: whoever is not the core of this domain hears nothing.
func TestStranger(t *testing.T) {
	k := newCore(t)
	door := k.listen("isc.elsewhere.example")
	d, err := k.open(link.Options{Core: door.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	p := newPipe()
	run(t, d, p)
	conn, err := door.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*tls.Conn).Handshake(); err == nil {
		t.Error("it talks to a stranger")
	}
	<-p.closed
	if len(p.opened) != 0 || d.Counters().Connected.Load() != 0 {
		t.Error("it says that it is connected")
	}
}

// later is a clock that is ahead.
type later struct {
	shard.Clock
	by time.Duration
}

func (l later) Wall() time.Time { return l.Clock.Wall().Add(l.by) }

// enrolment serves the core's door for enrolment. judge may replace the certificate.
func (k *core) enrolment(judge func(csr *x509.CertificateRequest, leaf []byte) (int, []byte)) (address string) {
	door := k.listen("enrol.ims.example")
	server := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Request []byte }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.URL.Path != "/v1/certificate" || r.Host != "enrol.ims.example" {
			k.t.Errorf("%s %s %v", r.Host, r.URL, err)
		}
		csr, err := x509.ParseCertificateRequest(in.Request)
		if err != nil || csr.CheckSignature() != nil {
			k.t.Errorf("the request: %v", err)
			return
		}
		status, der := judge(csr, k.issue(csr.PublicKey, csr.URIs[0].String(), csr.DNSNames[0], 30*time.Hour))
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"chain": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "code": "no", "message": "because"})
	})}
	go func() { _ = server.Serve(door) }()
	k.t.Cleanup(func() { _ = server.Close() })
	return door.Addr().String()
}

// TestRenews: after two thirds of the life of a certificate there is another, for the same key and the same names.
func TestRenews(t *testing.T) {
	k := newCore(t)
	enrol := k.enrolment(func(_ *x509.CertificateRequest, leaf []byte) (int, []byte) { return 200, leaf })
	told := make(chan string, 64)
	// The certificate lives for 25 hours, from an hour ago.
	d, err := link.Open(filepath.Join(k.dir, "hello.service.toml"), k.manifest, link.Options{Core: "127.0.0.1:1", Enrol: enrol, Log: slog.New(saying{told}),
		Clock: later{shard.RealClock(), 16 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	before := k.serialOnDisk()
	run(t, d, newPipe())
	for said := ""; said != "certificate renewed"; said = <-told {
	}
	if after := k.serialOnDisk(); after == before || d.Counters().Renewed.Load() != 1 {
		t.Errorf("serial %v before, %v after", before, after)
	}
	if _, err := k.open(link.Options{}); err != nil {
		t.Errorf("what it wrote: %v", err)
	}
}

func (k *core) serialOnDisk() string {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join(k.dir, "hello.a.crt"))
	if err != nil {
		k.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		k.t.Fatal(err)
	}
	return leaf.SerialNumber.String()
}

// saying hands on what is logged.
type saying struct{ told chan<- string }

func (saying) Enabled(context.Context, slog.Level) bool        { return true }
func (s saying) Handle(_ context.Context, r slog.Record) error { s.told <- r.Message; return nil }
func (s saying) WithAttrs([]slog.Attr) slog.Handler            { return s }
func (s saying) WithGroup(string) slog.Handler                 { return s }

// TestFetches: what has ended, or was never fetched, is fetched at the start; what the core sends is not believed.
func TestFetches(t *testing.T) {
	for name, c := range map[string]struct {
		judge func(k *core, csr *x509.CertificateRequest, leaf []byte) (int, []byte)
		says  string // "": it starts
	}{
		"approved":       {func(_ *core, _ *x509.CertificateRequest, leaf []byte) (int, []byte) { return 200, leaf }, ""},
		"not approved":   {func(*core, *x509.CertificateRequest, []byte) (int, []byte) { return 202, nil }, "has not approved it yet"},
		"refused":        {func(*core, *x509.CertificateRequest, []byte) (int, []byte) { return 403, nil }, "refuses (403 no): because"},
		"no certificate": {func(*core, *x509.CertificateRequest, []byte) (int, []byte) { return 200, []byte("x") }, "what the core has sent"},
		"for another key": {func(k *core, csr *x509.CertificateRequest, _ []byte) (int, []byte) {
			return 200, k.issue(newKey(k.t).Public(), csr.URIs[0].String(), csr.DNSNames[0], time.Hour)
		}, "another key"},
		"for another service": {func(k *core, csr *x509.CertificateRequest, _ []byte) (int, []byte) {
			return 200, k.issue(csr.PublicKey, "spiffe://ims.example/as/example/other/a", csr.DNSNames[0], time.Hour)
		}, "is not the certificate of"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCore(t)
			k.leaf(k.manifest.Identity("a"), k.manifest.Host(), -time.Minute)
			enrol := k.enrolment(func(csr *x509.CertificateRequest, leaf []byte) (int, []byte) { return c.judge(k, csr, leaf) })
			switch _, err := k.open(link.Options{Enrol: enrol}); {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v; want it to say %q", err, c.says)
			}
		})
	}
}
