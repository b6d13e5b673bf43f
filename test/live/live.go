// Package live runs a real node in the process of a test: sockets on loopback, a store on disk, goroutines, the clock.
//
// What test/lab is for procedures, this is for everything below them: transports under load, foreign peers, hostile
// octets, leaks. A node is a lab node with TLS and lab-udp (and its TCP) on free ports; its subscribers have random
// keys that the test knows. Stop, or the end of the test, ends it and fails the test if a procedure panicked.
//
// For tests only. Node's methods may be called from any goroutine; a Phone belongs to one.
package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/servicebox/as"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/trace"
)

// Domain is the home domain of every live node: test network 001/01 (TS 23.003 13.2).
const Domain = "ims.mnc001.mcc001.3gppnetwork.org"

// lifetime is that of a node's certificates: longer than any test.
const lifetime = 24 * time.Hour

// Overload is when too much is too much where the machine is shared with other tests: what they take away is no overload of the node.
var Overload = overload.Config{Target: 500 * time.Millisecond, Enter: 2 * time.Second}

// Options of a Node. The zero value is a node with two shards, the defaults of production and no subscribers.
type Options struct {
	Subscribers int // with AKAv1-MD5
	Shards      int
	// Transport are the bounds of every socket; zero fields mean the defaults.
	Transport siptransport.Options
	// Configure may change the configuration before the node is made.
	Configure func(*config.Config)
	// Services are compiled into the node.
	Services []*as.Service
	// Ladders is how many stories of calls and registrations the node keeps.
	Ladders int
	// LogLevel is that of the log which Log returns.
	LogLevel slog.Level
	// AnchorProcess lets the media anchor be a process of its own, as imsafe run has it. The TestMain of the test calls BeAnchor.
	AnchorProcess bool
}

// Node is a running IMS.
type Node struct {
	*node.Node
	TLS, Lab netip.AddrPort // Lab is UDP and TCP
	Gm       netip.AddrPort // where clients with security associations begin
	NAT      uint16         // where it takes ESP in UDP
	CA       *x509.CertPool
	CAPEM    []byte // the same authority, for foreign programs
	Users    []*User
	Store    store.Engine
	ISC      netip.AddrPort // where service platforms connect
	HTTPS    netip.AddrPort // where clients fetch
	Dir      string         // of the store
	Anchor   *node.Anchor   // with AnchorProcess

	t       testing.TB
	metrics netip.AddrPort
	log     syncBuffer
	stop    func()
}

// Start starts a node that ends with the test.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{t: t}
	if err := n.start(o); err != nil {
		t.Fatalf("live: %v", err)
	}
	t.Cleanup(n.Stop)
	return n
}

func (n *Node) start(o Options) error {
	dir := n.t.TempDir()
	c := configuration(dir, o)
	clock := shard.RealClock()
	var pseudonym [16]byte
	rand.Read(pseudonym[:]) // never fails
	log := trace.NewLogger(&n.log, o.LogLevel, false, pseudonym[:])
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		return err
	}
	authority, err := ca.New(rand.Reader, clock.Wall, Domain, lifetime)
	if err != nil {
		return err
	}
	certificate, err := authority.Server(lifetime, []string{"pcscf." + Domain}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	n.CA, n.CAPEM, n.Dir = authority.Pool(), authority.PEM(), c.Node.DataDir
	if n.Store, err = node.OpenStore(c, clock, log, ""); err != nil {
		return err
	}
	sockets, err := listen(c, dir, node.Shards(c))
	if err != nil {
		return errors.Join(err, n.Store.Close())
	}
	if sockets.ISC != nil {
		n.ISC = netip.MustParseAddrPort(sockets.ISC.Addr().String())
	}
	if sockets.HTTPS != nil {
		n.HTTPS = netip.MustParseAddrPort(sockets.HTTPS.Addr().String())
	}
	n.metrics = netip.MustParseAddrPort(sockets.Metrics.Addr().String())
	tls, lab := sockets.Addresses()
	n.TLS, n.Lab = tls[0], lab[0]
	gm := sockets.IPsec[0]
	n.Gm = netip.MustParseAddrPort(gm.Clear[0].LocalAddr().String())
	if gm.NAT != nil {
		n.NAT = netip.MustParseAddrPort(gm.NAT.LocalAddr().String()).Port()
	}
	kept, err := node.DecisionsDir(c)
	if err != nil {
		return errors.Join(err, n.giveUp(sockets))
	}
	if n.Anchor, err = openAnchor(o, c, clock, log); err != nil {
		return errors.Join(err, n.giveUp(sockets))
	}
	n.Node, err = node.New(node.Options{Config: c, Anchor: n.Anchor, Decisions: kept, Clock: clock, Random: rand.Reader, Log: log, Store: n.Store, Keyring: keyring,
		Certificate: &certificate, Sockets: sockets, Policy: policy.Default(), Transport: o.Transport, Services: o.Services, Overload: Overload, Ladders: o.Ladders})
	if err != nil {
		return errors.Join(err, n.giveUp(sockets))
	}
	n.run(sockets)
	n.Users = NewUsers("user", o.Subscribers, AKAv1)
	return n.Provision(context.Background(), n.Users...)
}

// run lets the node serve and prepares its end.
func (n *Node) run(sockets *node.Sockets) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("live: the node ended with: %v", err)
		}
		if err := n.giveUp(sockets); err != nil {
			n.t.Errorf("live: the store closed with: %v", err)
		}
		if panics := n.Panics(); panics > 0 {
			n.t.Errorf("live: %d procedures panicked:\n%s", panics, n.log.tail(8<<10))
		}
	})
}

// giveUp closes what a node stands on.
func (n *Node) giveUp(sockets *node.Sockets) error {
	sockets.Close()
	n.Anchor.Close()
	return n.Store.Close()
}

// Stop ends the node. Twice is harmless.
func (n *Node) Stop() {
	if n.stop != nil {
		n.stop()
	}
}

// configuration is that of a lab on loopback, quick to stop.
func configuration(dir string, o Options) *config.Config {
	c := config.Default()
	c.Node.Lab, c.Node.DataDir, c.Node.Shards = true, filepath.Join(dir, "store"), 2
	if o.Shards > 0 {
		c.Node.Shards = o.Shards
	}
	c.IMS.Domain = Domain
	c.Timers.Drain = config.Of(2 * time.Second)
	c.CI.Budget = config.Wide() // all clients share 127.0.0.1
	if o.Configure != nil {
		o.Configure(&c)
	}
	return &c
}

// Log returns what the node has logged.
func (n *Node) Log() []byte { return n.log.bytes() }

// syncBuffer is a buffer that several goroutines write. It keeps the last maxLog octets at least.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const maxLog = 32 << 20

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > maxLog {
		b.buf.Next(b.buf.Len() / 2)
	}
	return b.buf.Write(p)
}

func (b *syncBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

func (b *syncBuffer) tail(n int) []byte {
	all := b.bytes()
	return all[max(0, len(all)-n):]
}
