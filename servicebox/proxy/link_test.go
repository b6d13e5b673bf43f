package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/servicebox/link"
)

// fakeCore is a core: what it is sent comes out of got; say makes it speak.
type fakeCore struct {
	got  chan string
	say  chan string
	down bool // never connected
}

func (c *fakeCore) Reliable() bool        { return true }
func (c *fakeCore) Proto() string         { return "TLS" }
func (c *fakeCore) Local() netip.AddrPort { return netip.AddrPort{} }
func (c *fakeCore) SendTo(_ netip.AddrPort, b []byte) error {
	c.got <- string(b)
	return nil
}

// Run implements Core.
func (c *fakeCore) Run(ctx context.Context, sh *shard.Shard, r link.Pipe) {
	flow := siptransport.Flow{Via: c}
	if !c.down {
		sh.Exec(shard.EventFunc(func(*shard.Shard) { r.Opened(flow) }))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-c.say:
			sh.Exec(shard.EventFunc(func(*shard.Shard) { r.Packet(flow, []byte(text)) }))
		}
	}
}

// bench is a proxy between a core and the socket of a server.
type bench struct {
	t      *testing.T
	core   *fakeCore
	p      *Proxy
	server *net.UDPConn
	at     net.Addr // of the proxy
}

func start(t *testing.T, down bool) *bench {
	t.Helper()
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	b := &bench{t: t, core: &fakeCore{got: make(chan string, 8), say: make(chan string), down: down}, server: listen()}
	t.Cleanup(func() { _ = b.server.Close() })
	own := listen()
	b.at = own.LocalAddr()
	b.p = NewProxy(Config{Host: "old.as.ims.example", Local: netip.MustParseAddrPort(b.at.String()), Server: netip.MustParseAddrPort(b.server.LocalAddr().String())},
		shard.RealClock(), own)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.p.Run(ctx, b.core) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// hear is the next datagram at the server.
func (b *bench) hear() string {
	b.t.Helper()
	_ = b.server.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 65535)
	n, _, err := b.server.ReadFrom(buf)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(buf[:n])
}

func (b *bench) send(from *net.UDPConn, text string) {
	b.t.Helper()
	if _, err := from.WriteTo([]byte(text), b.at); err != nil {
		b.t.Fatal(err)
	}
}

func lines(l ...string) string {
	return strings.Join(append(l, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
}

func options(via string) string {
	return lines("OPTIONS sip:bob@ims.example SIP/2.0", "Via: SIP/2.0/"+via+";branch=z9hG4bKa", "Max-Forwards: 60", "From: <sip:a@ims.example>;tag=a",
		"To: <sip:b@ims.example>", "Call-ID: c", "CSeq: 1 OPTIONS")
}

// What the core says reaches the server, and its answer the core.
func TestProxy_carries(t *testing.T) {
	b := start(t, false)
	b.core.say <- options("TLS scscf.ims.example")
	heard := b.hear()
	if !strings.Contains(heard, "Max-Forwards: 59\r\n") || !strings.Contains(heard, "Via: SIP/2.0/UDP "+b.at.String()+";branch=z9hG4bK") {
		t.Fatalf("the server hears\n%s", heard)
	}
	answer := []string{"SIP/2.0 200 OK"}
	for _, line := range strings.Split(heard, "\r\n") {
		for _, name := range []string{"Via:", "From:", "Call-ID:", "CSeq:"} {
			if strings.HasPrefix(line, name) {
				answer = append(answer, line)
			}
		}
	}
	b.send(b.server, lines(append(answer, "To: <sip:b@ims.example>;tag=b")...))
	if got := <-b.core.got; !strings.HasPrefix(got, "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKa\r\n") {
		t.Errorf("the core hears\n%s", got)
	}
}

// Nobody but the server is heard, and what cannot be read or has gone too far goes nowhere.
func TestProxy_refuses(t *testing.T) {
	b := start(t, false)
	stranger, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	b.send(stranger, options("UDP 127.0.0.1:1"))
	b.send(b.server, "nonsense")
	b.send(b.server, strings.Replace(options("UDP 127.0.0.1:1"), "Max-Forwards: 60", "Max-Forwards: 0", 1))
	if got := b.hear(); !strings.HasPrefix(got, "SIP/2.0 483 ") {
		t.Errorf("the server hears\n%s", got)
	}
	c := &b.p.Counters
	if c.Strangers.Load() != 1 || c.NotSIP.Load() != 1 || c.Refused.Load() != 1 || c.ToCore.Load() != 0 {
		t.Errorf("counters %d %d %d %d", c.Strangers.Load(), c.NotSIP.Load(), c.Refused.Load(), c.ToCore.Load())
	}
}

// A server that asks while there is no core hears 503.
func TestProxy_without_core(t *testing.T) {
	b := start(t, true)
	b.send(b.server, options("UDP 127.0.0.1:1"))
	if got := b.hear(); !strings.HasPrefix(got, "SIP/2.0 503 ") {
		t.Errorf("the server hears\n%s", got)
	}
}
