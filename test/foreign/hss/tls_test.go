package hss

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"strings"
	"testing"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/test/live"
)

// TestTLS: our client over TLS, behind an HSS that knows one AKA by name and no more. What the cards use the configuration says; where it
// says nothing it is AKAv1, whose answers no one takes over TLS (TS 33.203 X.2).
func TestTLS(t *testing.T) {
	authority := newAuthority(t)
	hss := run(t, authority, setting{name: "hss", at: free(t)})
	users := live.NewUsers("tls", 2, live.AKAv2)
	hss.add(t, users...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	t.Run("AKAv2", func(t *testing.T) {
		n := start(t, authority, []*foreign{hss}, func(c *config.Config) { c.Cx.AKA = live.AKAv2 })
		heard := make(chan string, 1)
		alice := n.client(ctx, t, users[0], nil)
		bob := n.client(ctx, t, users[1], func(m ue.Message) { heard <- string(m.Body) })
		for _, u := range []*ue.UE{alice, bob} {
			if _, err := u.Register(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := alice.SendMessage(ctx, users[1].IMPU, "text/plain", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if text := <-heard; text != "hello" {
			t.Errorf("bob heard %q", text)
		}
	})
	t.Run("AKAv1", func(t *testing.T) {
		n := start(t, authority, []*foreign{hss}, func(*config.Config) {})
		if _, err := n.client(ctx, t, users[0], nil).Register(ctx); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("AKAv1 over TLS: %v", err)
		}
	})
	hss.content(t)
}

// client runs our client of u over TLS until the test ends.
func (n *network) client(ctx context.Context, t *testing.T, u *live.User, onMessage func(ue.Message)) *ue.UE {
	t.Helper()
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: live.Domain, IMPUs: []string{u.IMPU}}, K: u.K, OPc: u.OPc,
		State: isim.Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := ue.New(ue.Config{Card: card, Proxy: n.tls, Transport: ue.TLS, RootCAs: n.authority.Pool(), ServerName: "pcscf." + live.Domain,
		Clock: shard.RealClock(), Rand: rand.Reader, OnMessage: onMessage,
		ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenPacket("udp", netip.AddrPortFrom(local, 0).String())
		}})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- client.Run(running) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return client
}
