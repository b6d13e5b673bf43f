package diameter

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/proto/diameter"
	"imsafe/proto/shard"
)

// table is where two of our nodes of Diameter stand, on one shard, with certificates of one authority.
type table struct {
	*authority
	on     *shard.Shard
	up     chan struct{} // a line came up
	keylog io.Writer     // of TLS, for the reader of a capture; nil: kept by nobody
}

func newTable(t *testing.T, keylog io.Writer) *table {
	return &table{authority: newAuthority(t), on: shard.New(shard.Config{Clock: shard.RealClock()}), up: make(chan struct{}, 2), keylog: keylog}
}

// node makes one of the two, with the other, or an agent between, as its peer.
func (b *table) node(host string, serial int64, app diameter.ApplicationConfig, p diameter.PeerConfig) *diameter.Node {
	p.Realm = realm
	conf := b.leaf(host, serial)
	conf.KeyLogWriter = b.keylog
	n, err := diameter.New(diameter.Config{Identities: diameter.Identities{Host: host, Realm: realm}, Product: "imsafe", Shard: b.on, TLS: conf,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Random: rand.Reader, Sleep: time.Sleep,
		Applications: []diameter.ApplicationConfig{app}, Peers: []diameter.PeerConfig{p}, Changed: func(_ string, is bool) {
			if !is {
				return
			}
			select {
			case b.up <- struct{}{}:
			default: // nobody waits
			}
		}})
	b.must(err)
	return n
}

// listen listens where the HSS will, and says at which port.
func (b *table) listen() (net.Listener, int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	return ln, ln.Addr().(*net.TCPAddr).Port
}

// run runs the HSS, behind ln, and its client, until the test ends.
func (b *table) run(t *testing.T, ln net.Listener, hss, client *diameter.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	var running, shardRuns sync.WaitGroup
	shardRuns.Go(func() { _ = b.on.Run(context.Background()) })
	running.Go(func() { _ = hss.Run(ctx) })
	running.Go(func() { _ = hss.Serve(ctx, ln, true) })
	running.Go(func() { _ = client.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); b.on.Close(); shardRuns.Wait() })
}
