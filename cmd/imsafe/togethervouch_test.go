package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/iface/clientweb"
	server "imsafe/test/postgres"
)

// TestTwoNodes_the_signer_is_killed: clients that believe nobody but the network are at two nodes, which anchor media. The node that has made the key by which both sign is killed as kill -9 does,
// while calls go on at the other: each is vouched for, also those of the user who moves there. What is signed is verified with certificates of the other node all the while, and with those of the
// killed one when it is back.
func TestTwoNodes_the_signer_is_killed(t *testing.T) {
	database := server.Start(t)
	https := [2]string{freePort(t), freePort(t)}
	g := newCouple(t, database.URL(), func(c *config.Config, node int) {
		c.HTTPS.Listen, c.HTTPS.Origin = config.Address{AddrPort: netip.MustParseAddrPort(https[node])}, "https://"+clientweb.Host(testDomain)
		c.CS.Listen, c.CS.Ports = []config.Address{{AddrPort: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(21000+1000*node))}}, 1000
		c.CS.Process = "shared"
	})
	const a, b = 0, 1
	g.start(a)
	g.must(a, "ca", "new", g.path("root.pem"))
	keys := func() string {
		return database.SQL("select key from imsafe.ca_signer_view order by key")
	}
	g.until("node a has made the keys that sign", func() bool {
		return strings.Contains(keys(), "/core/identity#") && strings.Contains(keys(), "/core/tokens#")
	})
	made := keys()
	g.start(b)
	g.write("both.crt", readAll(t, g.path("ca.crt"))+readAll(t, g.path("root.pem")))
	pick := func(name string, web int, nodes ...int) *togetherClient {
		g.must(a, "user", "add", name, "--random", "--card-out", g.path(name))
		return g.pickUp(&line{CA: g.path("both.crt"), Web: https[web], Vouched: true}, name, nodes...)
	}
	alice, carol, dave := pick("alice", b, a, b), pick("carol", b, b), pick("dave", b, b)
	for _, calls := range [][2]*togetherClient{{alice, carol}, {carol, alice}, {carol, dave}} {
		if code, err := g.talks(calls[0], calls[1].name); err != nil {
			t.Fatalf("before anything happened, %s calls %s: %d, %v", calls[0].name, calls[1].name, code, err)
		}
	}
	load, done := g.traffic(), 0
	load.every(func(int) {
		code, err := g.talks(carol, "dave")
		load.mu.Lock()
		defer load.mu.Unlock()
		if done++; err != nil {
			t.Errorf("carol calls dave: %d, %v", code, err)
		}
	})
	calls := func() int {
		load.mu.Lock()
		defer load.mu.Unlock()
		return done
	}
	more := func(what string) {
		before := calls()
		g.until(what, func() bool { return calls() >= before+3 })
	}
	more("calls before the kill")
	g.kill("a")
	killed := time.Now()
	more("calls after the kill")
	g.until("Alice is called at the other node, and each hears whom the network vouches for", func() bool {
		_, err := g.talks(carol, "alice")
		return err == nil
	})
	t.Logf("who was at the killed node is called at the other, vouched for, %v after the kill", since(killed))
	if code, err := g.talks(alice, "dave"); err != nil {
		t.Errorf("she calls: %d, %v", code, err)
	}
	g.start(a)
	if now := keys(); now != made {
		t.Errorf("the node that comes back has made keys of its own: %s, before %s", now, made)
	}
	bob, erin := pick("bob", a, a), pick("erin", a, b)
	for _, calls := range [][2]*togetherClient{{bob, carol}, {carol, bob}, {erin, bob}, {erin, dave}} {
		if code, err := g.talks(calls[0], calls[1].name); err != nil {
			t.Errorf("with the certificates of the node that came back, %s calls %s: %d, %v", calls[0].name, calls[1].name, code, err)
		}
	}
	more("calls when it is back")
	load.end()
	t.Logf("%d calls of two users of the node that went on, each vouched for", calls())
}
