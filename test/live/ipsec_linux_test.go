package live_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// TestIPsec_on_IP registers clients over raw sockets (transport mode), by every pair of algorithms that a profile has, over IPv4 and IPv6,
// and lets each write to itself, also more than a datagram of Ethernet holds. ESP in UDP is shut: nothing else can have carried it.
func TestIPsec_on_IP(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	for _, family := range []struct{ name, pcscf, client, network string }{
		{"IPv4", "127.0.0.1", "127.0.0.2", esp.Network4}, {"IPv6", "::1", "::1", esp.Network6},
	} {
		n := live.Start(t, live.Options{Configure: func(c *config.Config) {
			c.CI.IPsec.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(family.pcscf), 0)}}
			c.CI.IPsec.Profile, c.CI.IPsec.ESP, c.CI.IPsec.NATPort = "legacy", "on", 0
		}})
		ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
		defer cancel()
		suites := secagree.Legacy().Suites
		transports := []ue.Transport{ue.IPsecUDP, ue.IPsecTCP}
		users := live.NewUsers("raw", len(suites)*len(transports), live.AKAv1)
		if err := n.Provision(ctx, users...); err != nil {
			t.Fatal(err)
		}
		for i := range users {
			suite, transport := suites[i%len(suites)], transports[i/len(suites)]
			t.Run(family.name+"/"+transport.String()+"/"+suite.Alg+"+"+suite.EAlg, func(t *testing.T) {
				x, err := n.UE(users[i], transport, func(c *ue.Config) {
					c.Local = netip.MustParseAddr(family.client)
					c.IPsec.Profile = secagree.Profile{Suites: []secagree.Suite{suite}}
					c.IPsec.RawOnly, c.IPsec.Raw = true, func(local netip.Addr) (esp.Wire, error) {
						lc := net.ListenConfig{Control: esp.SocketOptions}
						conn, err := lc.ListenPacket(ctx, family.network, local.String())
						if err != nil {
							return nil, err
						}
						return esp.Raw(conn.(*net.IPConn)), nil
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				r, err := x.Register(ctx)
				if err != nil || !strings.HasPrefix(r.Protection, "IPsec ESP on IP, "+suite.Alg+"/"+suite.EAlg) {
					t.Fatalf("%q, %v\n%s", r.Protection, err, n.Log())
				}
				for _, size := range []int{10, 3000} {
					if err := x.SendMessage(ctx, users[i].IMPU, "text/plain", []byte(strings.Repeat("x", size))); err != nil {
						t.Fatal(err)
					}
					if m, err := x.Next(); err != nil || len(m.Body) != size {
						t.Fatalf("%d octets, %v", len(m.Body), err)
					}
				}
			})
		}
	}
}
