package hss

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/test/live"
)

// free finds a port on loopback that nobody has at the moment.
func free(t *testing.T) config.Address { return freeAt(t, "127.0.0.1") }

func freeAt(t *testing.T, address string) config.Address {
	t.Helper()
	ln, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return config.Address{AddrPort: netip.MustParseAddrPort(ln.Addr().String())}
}

func newAuthority(t *testing.T) *ca.CA {
	t.Helper()
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, live.Domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// pkcs8 is a private key in a form that others read.
func pkcs8(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// network is our CSCFs in two nodes: P-CSCF and I-CSCF, and the S-CSCF. The HSS is elsewhere.
type network struct {
	authority    *ca.CA
	front, heart *node.Node
	lab, tls     netip.AddrPort    // where clients come
	inner        [2]netip.AddrPort // where the two hear each other
}

const (
	frontAddress, heartAddress = "127.0.0.3", "127.0.0.4"

	icscf = "icscf." + live.Domain
	scscf = "scscf." + live.Domain
)

// start starts them with the HSSs, the first of which is asked before the others. configure may change the configuration of both.
func start(t *testing.T, authority *ca.CA, hss []*foreign, configure func(*config.Config)) *network {
	t.Helper()
	n := &network{authority: authority}
	front, heart := config.Default(), config.Default()
	front.Node.Number, front.Node.Roles, front.Cx.Name = 1, []string{"pcscf", "icscf"}, icscf
	heart.Node.Number, heart.Node.Roles, heart.Cx.Name = 2, []string{"scscf"}, scscf
	front.Mw.Listen, heart.Mw.Listen = freeAt(t, frontAddress), freeAt(t, heartAddress)
	n.inner = [2]netip.AddrPort{front.Mw.Listen.AddrPort, heart.Mw.Listen.AddrPort}
	front.Mw.SCSCF = config.MwPeer{Address: heart.Mw.Listen, Certificate: "heart." + live.Domain, Keys: true}
	heart.Mw.PCSCF = config.MwPeer{Address: front.Mw.Listen, Certificate: "front." + live.Domain, Keys: true}
	heart.Mw.ICSCF = heart.Mw.PCSCF
	front.CI.LabUDP.Listen, front.CI.TLS.Listen = []config.Address{freeAt(t, frontAddress)}, []config.Address{freeAt(t, frontAddress)}
	n.lab, n.tls = front.CI.LabUDP.Listen[0].AddrPort, front.CI.TLS.Listen[0].AddrPort
	for _, c := range []*config.Config{&front, &heart} {
		c.Cx.Server, c.Cx.ServerName = config.Address{AddrPort: hss[0].at}, hss[0].host
		configure(c)
	}
	n.heart = n.node(t, &heart, "heart."+live.Domain, scscf)
	n.front = n.node(t, &front, "front."+live.Domain, icscf)
	n.served(t, hss...)
	return n
}

// node runs one of them until the test ends.
func (n *network) node(t *testing.T, c *config.Config, names ...string) *node.Node {
	t.Helper()
	c.Node.Lab, c.Node.DataDir, c.Node.Shards, c.IMS.Domain, c.Metrics.Listen = true, t.TempDir(), 2, live.Domain, config.Address{}
	c.Timers.Drain = config.Of(time.Second)
	clock := shard.RealClock()
	st, err := store.InMemory(clock)
	if err != nil {
		t.Fatal(err)
	}
	identity := &node.Identity{Authority: n.authority.Pool()}
	if identity.Certificate, err = n.authority.Node(time.Hour, names); err != nil {
		t.Fatal(err)
	}
	var server tls.Certificate
	if server, err = n.authority.Server(time.Hour, []string{"pcscf." + live.Domain}, nil); err != nil {
		t.Fatal(err)
	}
	sockets, err := node.Listen(c, node.Shards(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := &words{}
	made, err := node.New(node.Options{Config: c, Clock: clock, Random: rand.Reader, Log: slog.New(slog.NewTextHandler(log, nil)), Store: st, Keyring: new(seal.Keyring),
		Certificate: &server, Identity: identity, Sockets: sockets, Policy: policy.Default()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- made.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, sh := range made.Shards {
			if panics := sh.Stats().Panics; panics > 0 {
				t.Errorf("%d procedures panicked", panics)
			}
		}
		_ = st.Close()
		if t.Failed() {
			t.Logf("%v:\n%s", c.Node.Roles, log)
		}
	})
	return made
}

// served waits until all of these HSSs are in service at both nodes, and no other is.
func (n *network) served(t *testing.T, hss ...*foreign) {
	t.Helper()
	var peers []diameter.PeerStatus
	for end := time.Now().Add(4 * patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		good := true
		for _, x := range []*node.Node{n.front, n.heart} {
			var err error
			if peers, err = x.CxPeers(t.Context()); err != nil {
				t.Fatal(err)
			}
			good = good && agrees(peers, hss)
		}
		if good {
			return
		}
	}
	t.Fatalf("the HSSs of the last node are %+v", peers)
}

func agrees(peers []diameter.PeerStatus, hss []*foreign) bool {
	for _, p := range peers {
		wanted := false
		for _, h := range hss {
			wanted = wanted || h.host == p.Host
		}
		if wanted != p.Up {
			return false
		}
	}
	return true
}

// handset is one of u over lab-udp.
func (n *network) handset(t *testing.T, u *live.User) *live.Handset {
	t.Helper()
	conn, err := net.Dial("udp", n.lab.String())
	if err != nil {
		t.Fatal(err)
	}
	return live.NewHandset(t, conn, "udp", u)
}

// words is a log that several goroutines write.
type words struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// String returns what was written.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.buf)
}
