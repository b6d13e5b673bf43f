package diameter

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/test/peer"
	"imsafe/test/port"
)

const (
	realm  = "ims.example"
	ours   = "imsafe.ims.example"
	theirs = "free.ims.example"
	// Tw of the side that shall ask first, and of the other.
	soon, late = 6, 30
)

// authority is a CA that signs for both.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	a.cert, a.key = a.sign(template, template, nil, 1)
	a.pool.AddCert(a.cert)
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) sign(c, parent *x509.Certificate, by *ecdsa.PrivateKey, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	if by == nil {
		by = key
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(serial), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	a.must(err)
	made, err := x509.ParseCertificate(der)
	a.must(err)
	return made, key
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) write(name, kind string, der []byte) string {
	file := filepath.Join(a.dir, name)
	a.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// leaf makes a certificate for a host, in files too.
func (a *authority) leaf(host string, serial int64) *tls.Config {
	c, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, a.key, serial)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	a.write(host+".pem", "CERTIFICATE", c.Raw)
	a.write(host+".key.pem", "PRIVATE KEY", der)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}}, RootCAs: a.pool, ClientCAs: a.pool,
		ClientAuth: tls.RequireAndVerifyClientCert}
}

// daemon is freeDiameter with a configuration.
type daemon struct {
	t   *testing.T
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer.
func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(p)
}

func (d *daemon) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// start runs freeDiameter; connect is its way to us.
func start(t *testing.T, ca *authority, port, securePort, tw int, connect string) *daemon {
	t.Helper()
	program := peer.Need(t, "freeDiameterd")
	acl := filepath.Join(ca.dir, "acl.conf")
	ca.must(os.WriteFile(acl, []byte("ALLOW_IPSEC "+ours+"\n"), 0o600))
	conf := filepath.Join(ca.dir, "fd.conf")
	ca.must(os.WriteFile(conf, []byte(fmt.Sprintf(`
Identity = "%[1]s";
Realm = "%[2]s";
Port = %[3]d;
SecPort = %[4]d;
No_IPv6;
No_SCTP;
ListenOn = "127.0.0.1";
TwTimer = %[5]d;
TcTimer = 1;
TLS_Cred = "%[6]s/%[1]s.pem", "%[6]s/%[1]s.key.pem";
TLS_CA = "%[6]s/ca.pem";
LoadExtension = "acl_wl.fdx" : %[7]q;
%[8]s
`, theirs, realm, port, securePort, tw, ca.dir, acl, connect)), 0o600))
	d := &daemon{t: t, cmd: exec.Command(program, "-c", conf)}
	d.cmd.Stdout, d.cmd.Stderr = d, d
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		if t.Failed() {
			t.Log(d.log())
		}
	})
	return d
}

// side is our node.
type side struct {
	*diameter.Node
	counts *diameter.Counters
	sent   *recorder
	stop   func()
}

func newSide(t *testing.T, p diameter.PeerConfig, tw int, conf *tls.Config) *side {
	t.Helper()
	s := &side{counts: new(diameter.Counters), sent: new(recorder)}
	sh := shard.New(shard.Config{Clock: shard.RealClock()})
	p.Host, p.Realm = theirs, realm
	if dial := p.Dial; dial != nil {
		p.Dial = func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			if err == nil && p.Cleartext {
				c = recorded{c, s.sent}
			}
			return c, err
		}
	}
	n, err := diameter.New(diameter.Config{Identities: diameter.Identities{Host: ours, Realm: realm}, Product: "imsafe", TLS: conf,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Shard: sh, Random: rand.Reader, Sleep: time.Sleep,
		OriginState: uint32(time.Now().Unix()), Watchdog: time.Duration(tw) * time.Second, Counters: s.counts,
		Applications: []diameter.ApplicationConfig{{ID: 4}}, Peers: []diameter.PeerConfig{p}})
	if err != nil {
		t.Fatal(err)
	}
	s.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	var running, shards sync.WaitGroup
	shards.Go(func() { _ = sh.Run(context.Background()) })
	running.Go(func() { _ = n.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		sh.Close()
		shards.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

// serve accepts on a port of our own.
func (s *side) serve(t *testing.T, encrypted bool) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if !encrypted {
		ln = recordedListener{ln, s.sent}
	}
	running.Go(func() { _ = s.Serve(ctx, ln, encrypted) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return ln.Addr().(*net.TCPAddr).Port
}

// eventually waits for a condition in real time: a foreign process does not live in ours.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("%s: not in time", what)
}

// open says whether the peer is in service.
func (s *side) open() bool {
	all, err := s.Peers(context.Background())
	return err == nil && len(all) == 1 && all[0].Up
}

// freePort is a port on loopback that is the test's own until it ends.
func freePort(t *testing.T) int { return int(port.Free(t, "127.0.0.1").Port()) }

func dialPort(port int) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
}

// watchdogs waits for what counts watchdogs, and wants the connection to have stayed.
func (s *side) watchdogs(t *testing.T, what string, count *atomic.Uint64) {
	t.Helper()
	eventually(t, what, func() bool { return count.Load() > 0 })
	if !s.open() || s.counts.Suspected.Load() != 0 {
		t.Errorf("open %v, suspected %d times", s.open(), s.counts.Suspected.Load())
	}
}

func TestFreeDiameter_we_dial_in_clear_and_leave(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.leaf(theirs, 2)
	port := freePort(t)
	d := start(t, ca, port, freePort(t), late, "")
	s := newSide(t, diameter.PeerConfig{Dial: dialPort(port), Cleartext: true}, soon, nil)
	eventually(t, "capabilities exchange", s.open)
	s.watchdogs(t, "our DWR is answered", &s.counts.AnswersIn)
	s.stop() // DPR
	eventually(t, "freeDiameter heard our goodbye", func() bool {
		return strings.Contains(d.log(), "Disconnect-Peer-Request") || strings.Contains(d.log(), "STATE_CLOSING")
	})
	s.sent.read(t, 3)
}

func TestFreeDiameter_it_dials_in_clear_and_leaves(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.leaf(theirs, 2)
	s := newSide(t, diameter.PeerConfig{Cleartext: true}, late, nil)
	port := s.serve(t, false)
	d := start(t, ca, freePort(t), freePort(t), soon, fmt.Sprintf("ConnectPeer = %q { ConnectTo = \"127.0.0.1\"; Port = %d; No_TLS; };", ours, port))
	eventually(t, "capabilities exchange", s.open)
	s.watchdogs(t, "its DWR", &s.counts.WatchdogsIn)
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its DPR", func() bool { return s.counts.Disconnects.Load() == 1 })
	eventually(t, "the end", func() bool { return s.counts.Conns.Load() == 0 })
	s.sent.read(t, 3)
}

func TestFreeDiameter_mutual_TLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.leaf(theirs, 2)
	port := freePort(t)
	start(t, ca, freePort(t), port, late, "")
	s := newSide(t, diameter.PeerConfig{Dial: dialPort(port)}, soon, ca.leaf(ours, 3))
	eventually(t, "capabilities exchange", s.open)
	all, _ := s.Peers(context.Background())
	if !all[0].Secure {
		t.Errorf("%+v", all)
	}
	s.watchdogs(t, "our DWR is answered", &s.counts.AnswersIn)
}
