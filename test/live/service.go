package live

import (
	"crypto/rand"
	"net"
	"net/netip"
	"testing"

	"imsafe/proto/shard"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/servicebox/media"
)

// Echo is the service echo, compiled in, with a media server on loopback: for Options.Services. It has a part in calls when the operator has
// approved its manifest (Operator.Enrol).
func Echo(t testing.TB) (*as.Service, *media.Server) {
	t.Helper()
	clock := shard.RealClock()
	svc, err := as.InProcess(as.Parts{Manifest: []byte(echo.Manifest(Domain)), Clock: clock, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	server, err := media.New(media.Config{Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Clock: clock, Rand: rand.Reader,
		Listen: func(at netip.AddrPort) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		}})
	if err != nil {
		t.Fatal(err)
	}
	svc.UseMedia(server)
	echo.Setup(svc)
	return svc, server
}
