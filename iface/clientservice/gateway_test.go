package clientservice

import (
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"imsafe/proto/shard"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/secure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func listen(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

// start makes an anchor on loopback that ends with the test. edit may change it.
func start(t testing.TB, gate *secure.Gate, edit func(*Config)) *Gateway {
	t.Helper()
	c := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:13400")}, Ports: 400, PerUser: iqtest.PerUser, Audio: 256, Video: 4096}
	if edit != nil {
		edit(&c)
	}
	if gate == nil {
		gate = secure.NewGate(nil, nil)
	}
	g, err := New(c, Ports{Clock: shard.RealClock(), Random: rand.Reader, Gate: gate, Listen: listen, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func TestGateway(t *testing.T) {
	iqtest.Run(t, func(t *testing.T) iqtest.Harness {
		g := start(t, nil, nil)
		return iqtest.Harness{Gateway: g, Free: g.Free}
	})
}
