package live

import (
	"crypto/rand"
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
	svc, err := as.InProcess(as.Parts{Manifest: []byte(echo.Manifest(Domain)), Clock: shard.RealClock(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	server, err := media.At("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	svc.UseMedia(server)
	echo.Setup(svc)
	return svc, server
}
