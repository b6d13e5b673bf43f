package kamailio

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/secure"
	"imsafe/servicebox/link"
	"imsafe/servicebox/proxy"
	"imsafe/test/live"
)

const screening = `manifest = 1
service  = "screening"
provider = "example"
domain   = "` + live.Domain + `"
endpoint = "sips:screening.as.` + live.Domain + `:5061"
scopes   = ["session.proxy"]
users    = { groups = ["default"] }
limits   = { cps = 20, sessions = 200 }
expires  = 2099-12-31
[[trigger]]
case       = "originating"
methods    = ["INVITE", "MESSAGE"]
priority   = 1
on_failure = "reject"
`

// TestApplicationServer: Kamailio is an application server without a certificate. What it may do it may through the proxy that has one;
// by itself it is not heard.
func TestApplicationServer(t *testing.T) {
	need(t)
	resolve(t, nil)
	e := live.StartOperated(t, 2, func(c *config.Config) {
		c.IS.Listen = config.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
	})
	server := netip.MustParseAddrPort(addresses["as"] + ":5060")
	p, at := standBefore(t, e, server)
	k := run(t, "as", func(s *Setting) { s.Proxy, s.ISC, s.Certificate = at.String(), e.ISC.String(), nobodys(t) })

	alice, bob := registered(t, e, 0), registered(t, e, 1)
	if err := alice.SendMessage(e.Context, bob.User.IMPU, "text/plain", []byte("good morning")); err != nil {
		t.Errorf("a message through the server: %v", err)
	}
	if got, err := bob.Next(); err != nil || string(got.Body) != "good morning" {
		t.Errorf("bob has %q, %v", got.Body, err)
	}
	if err := alice.SendMessage(e.Context, bob.User.IMPU, "text/plain", []byte("buy spam")); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a message that the server does not like ends with %v", err)
	}
	calls(t, e.Context, alice, bob)
	if log := words(t, k); !strings.Contains(log, "in a dialog: BYE") {
		t.Errorf("the server has not stayed in the call:\n%s", log)
	}
	if n := p.Counters.Strangers.Load() + p.Counters.NotSIP.Load() + p.Counters.Dropped.Load(); n != 0 {
		t.Errorf("%d messages were dropped", n)
	}

	before, _ := e.Gate.Counts(secure.ISAuthenticationMTLS)
	impostor(t, server)
	if after, _ := e.Gate.Counts(secure.ISAuthenticationMTLS); after == before {
		t.Error("nobody has refused the server without a certificate")
	}
}

// standBefore runs the proxy of the screening service in front of a server.
func standBefore(t *testing.T, e *live.Operator, server netip.AddrPort) (*proxy.Proxy, netip.AddrPort) {
	t.Helper()
	path := e.EnrolInto(t.TempDir(), screening)
	m, err := isc.Parse([]byte(screening))
	if err != nil {
		t.Fatal(err)
	}
	d, err := link.Open(path, m, link.Options{Core: e.ISC.String()})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(socket.LocalAddr().String())
	p := proxy.NewProxy(proxy.Config{Host: m.Host(), Local: at, Server: server, Key: [32]byte{1}}, shard.RealClock(), socket)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, d) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for d.Counters().Connected.Load() == 0 {
		select {
		case <-e.Context.Done():
			t.Fatal("the proxy has no connection to the core")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return p, at
}

func registered(t *testing.T, e *live.Operator, user int) *live.UE {
	t.Helper()
	x, err := e.UE(e.Users[user], ue.IPsecUDP, nil)
	if err == nil {
		_, err = x.Register(e.Context)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// calls has one call another, hear that he answers, and hang up.
func calls(t *testing.T, ctx context.Context, from, to *live.UE) {
	t.Helper()
	out, err := from.Call(ctx, to.User.IMPU, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatalf("a call through the server: %v", err)
	}
	var in *ue.Call
	select {
	case in = <-to.Calls:
	case <-ctx.Done():
		t.Fatal("the called client never rang")
	}
	in.Answer(ue.Voice{Play: media.NewTone(620, -10)})
	for _, c := range []*ue.Call{out, in} {
		if _, err := c.Until(ctx, ue.Secured); err != nil {
			t.Fatalf("a call through the server: %v", err)
		}
	}
	out.Hangup()
	for _, c := range []*ue.Call{out, in} {
		select {
		case <-c.Done():
		case <-ctx.Done():
			t.Fatal("the call did not end")
		}
	}
}

// impostor asks the server to speak to the core by itself, over TLS without a certificate.
func impostor(t *testing.T, server netip.AddrPort) {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(conn, "udp", live.NewUsers("probe", 1, live.AKAv1)[0])
	defer p.Close()
	ctx, stop := context.WithTimeout(t.Context(), live.Patience)
	defer stop()
	answer, err := p.Ask(ctx, p.Request("INFO", "sip:"+server.Addr().String(), "sip:"+server.Addr().String(), ""))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Release()
	if answer.Status()/100 == 2 {
		t.Errorf("the core answers an impostor with %d", answer.Status())
	}
}

// words are what the program has written.
func words(t *testing.T, k *Program) string {
	t.Helper()
	b, err := os.ReadFile(k.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// nobodys is a certificate that the core knows nothing of, and its key.
func nobodys(t *testing.T) string {
	t.Helper()
	other, err := ca.New(rand.Reader, time.Now, "ims.example", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := other.Server(time.Hour, []string{"as.ims.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}
