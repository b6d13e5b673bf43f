package live

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/servicebox/as"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/test/port"
)

// Part is a running node that has some of the functions; others have the rest. Its store is in memory, or shared.
type Part struct {
	*node.Node
	Store store.Engine
	Stop  func() // ends it before the test does; twice is harmless

	log syncBuffer
}

// FreeAddress is an address with a port that is the test's own until it ends.
func FreeAddress(t testing.TB, host string) config.Address {
	t.Helper()
	return config.Address{AddrPort: port.Free(t, host)}
}

// StartPart runs a node as c says until the test ends: in a lab, in Domain, quick to stop. authority signs its certificate towards other
// nodes, which has the names.
func StartPart(t testing.TB, authority *ca.CA, c *config.Config, names ...string) *Part {
	t.Helper()
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return StartSharing(t, authority, keyring, c, nil, names...)
}

// StartSharing is StartPart for a node whose store, which c names, others may share: they have the same keys. services are compiled into it.
func StartSharing(t testing.TB, authority *ca.CA, keyring *seal.Keyring, c *config.Config, services []*as.Service, names ...string) *Part {
	t.Helper()
	c.Node.Lab, c.Node.DataDir, c.Node.Shards, c.IMS.Domain, c.Metrics.Listen = true, t.TempDir(), 2, Domain, config.Address{}
	c.Timers.Drain = config.Of(time.Second)
	p, clock := &Part{}, shard.RealClock()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	st, err := openPart(c, clock, log)
	must(err)
	p.Store = st
	identity := &node.Identity{Authority: authority.Pool()}
	identity.Certificate, err = authority.Node(time.Hour, names)
	must(err)
	server, err := authority.Server(time.Hour, []string{"pcscf." + Domain}, nil)
	must(err)
	sockets, err := node.Listen(c, node.Shards(c), nil)
	must(err)
	p.Node, err = node.New(node.Options{Config: c, Clock: clock, Random: rand.Reader, Log: log, Store: st, Keyring: keyring,
		Certificate: &server, Identity: identity, Sockets: sockets, Policy: policy.Default(), Services: services, Overload: Overload})
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.Stop = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, sh := range p.Shards {
			if panics := sh.Stats().Panics; panics > 0 {
				t.Errorf("%d procedures panicked", panics)
			}
		}
		_ = st.Close()
	})
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%v:\n%s", c.Node.Roles, p.log.bytes())
		}
	})
	return p
}

// openPart opens the store of a part: one in memory, or the shared one.
func openPart(c *config.Config, clock shard.Clock, log *slog.Logger) (store.Engine, error) {
	if c.Store.Shared() {
		return node.OpenStore(c, clock, log, "")
	}
	return store.InMemory(clock)
}

// Log returns what the node has logged.
func (p *Part) Log() []byte { return p.log.bytes() }
