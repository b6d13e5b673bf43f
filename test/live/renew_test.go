package live_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/servicebox/link"
	"imsafe/test/live"
)

// startServed is a node with a door for platforms.
func startServed(t *testing.T) *enrolling {
	return startEnrolling(t, func(c *config.Config) { c.IS.Listen = config.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")} })
}

// leafOf reads the certificate that lies beside a manifest.
func leafOf(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "echo.a.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// TestServiceRenews: a service whose certificate has ended, as after a week in which it was down, fetches another one from a real core, with its
// approved key and nothing else, connects with it and answers.
func TestServiceRenews(t *testing.T) {
	e := startServed(t)
	dir := t.TempDir()
	text := echo.Manifest(live.Domain)
	path := e.EnrolInto(dir, text)
	before := leafOf(t, dir)
	m, err := isc.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var invited node.Invited
	e.Call("service.invite", node.InviteService{Seconds: 60}, &invited)
	enrol := invited.Listen
	late := clockAt{shard.RealClock(), before.NotAfter.Add(time.Second)} // this service's clock; that of the core is right
	if _, err := link.Open(path, m, link.Options{Core: e.ISC.String(), Clock: late, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("it starts with a certificate that has ended")
	}
	if _, err := link.Open(path, m, link.Options{Core: e.ISC.String(), Enrol: enrol, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "echo.a.crt")); err != nil {
		t.Fatal(err)
	}
	svc, err := as.Open(path, as.At(e.ISC.String()), as.Renewing(enrol), as.Log(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if after := leafOf(t, dir); after.SerialNumber.Cmp(before.SerialNumber) == 0 {
		t.Error("it is the same certificate")
	}
	echo.Setup(svc)
	ctx, stop := context.WithCancel(e.Context)
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	for !svc.Connected() && e.Context.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	alice, err := e.UE(e.Users[0], ue.IPsecUDP, nil)
	if err == nil {
		_, err = alice.Register(e.Context)
	}
	if err == nil {
		err = alice.SendMessage(e.Context, "sip:echo@"+live.Domain, "text/plain", []byte("hello"))
	}
	if err != nil {
		t.Error(err)
	}
	if m, err := alice.Next(); err != nil || !m.Asserted {
		t.Errorf("echo says %+v, %v", m, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// clockAt is a clock that stands.
type clockAt struct {
	shard.Clock
	at time.Time
}

func (c clockAt) Wall() time.Time { return c.at }
