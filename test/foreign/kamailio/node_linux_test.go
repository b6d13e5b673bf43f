package kamailio

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/test/live"
)

// at is an address of the configuration.
func at(address string) config.Address {
	return config.Address{AddrPort: netip.MustParseAddrPort(address)}
}

// start runs a node of imsafe with some functions until the test ends; its wire is in clear, as Kamailio's is.
func start(t *testing.T, number uint16, roles []string, configure func(*config.Config)) *live.Node {
	t.Helper()
	c := config.Default()
	c.Node.Lab, c.Node.DataDir, c.Node.Shards, c.Node.Number, c.Node.Roles = true, t.TempDir(), 2, number, roles
	c.IMS.Domain, c.Metrics.Listen = live.Domain, config.Address{}
	c.Mw.Clear, c.Mw.Listen = true, at(addresses[roles[0]]+":5060")
	configure(&c)
	clock := shard.RealClock()
	st, err := store.InMemory(clock)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := node.Listen(&c, node.Shards(&c), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	n, err := node.New(node.Options{Config: &c, Clock: clock, Random: rand.Reader, Log: slog.New(slog.NewTextHandler(log, nil)), Store: st,
		Keyring: keyring, Sockets: sockets, Policy: policy.Default(), Overload: live.Overload})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		sockets.Close()
		st.Close()
		if text := log.String(); t.Failed() && text != "" {
			t.Logf("imsafe as %v:\n%s", roles, text)
		}
	})
	return &live.Node{Node: n}
}

// meets waits until both CSCFs are in service at our HSS.
func meets(t *testing.T, home *live.Node) {
	t.Helper()
	for end := time.Now().Add(live.Patience); ; {
		peers, err := home.CxPeers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(peers, func(p diameter.PeerStatus) bool { return !p.Up }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not in service: %+v", peers)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// logBuffer is a buffer that several goroutines write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
