package diameter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shwire"
)

// freeDiameter as an agent between a service and the HSS: it reads our messages of Sh, adds what agents add, and carries them on, both
// ways. Mutual TLS on both lines. Its dictionary knows the elements of Sh, and it has no client of its own for it.
func TestFreeDiameter_carries_Sh(t *testing.T) {
	t.Parallel()
	const home = "hss.ims.example"
	ca := newAuthority(t)
	ca.leaf(theirs, 2)
	on := shard.New(shard.Config{Clock: shard.RealClock()})
	shards := []*shard.Shard{on}
	asked := make(chan string, 16)
	server, err := shwire.NewServer(shwire.ServerConfig{HSS: everySh{}, Shards: shards, Service: func(host string) string { asked <- host; return "service" }})
	ca.must(err)
	client, err := shwire.NewClient(shwire.ClientConfig{Realm: realm, Host: home, AS: everySh{}, Shards: shards})
	ca.must(err)
	node := func(host string, serial int64, app diameter.ApplicationConfig, p diameter.PeerConfig) *diameter.Node {
		p.Host, p.Realm, p.Agent = theirs, realm, true
		n, err := diameter.New(diameter.Config{Identities: diameter.Identities{Host: host, Realm: realm}, Product: "imsafe", Shard: on, TLS: ca.leaf(host, serial),
			Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Random: rand.Reader, Sleep: time.Sleep,
			Applications: []diameter.ApplicationConfig{app}, Peers: []diameter.PeerConfig{p}})
		ca.must(err)
		return n
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ca.must(err)
	secure := freePort(t)
	hss := node(home, 3, server.Application(), diameter.PeerConfig{Role: shwire.RoleAS()})
	as := node(ours, 4, client.Application(), diameter.PeerConfig{Role: shwire.RoleHSS(), Dial: dialPort(secure)})
	server.Bind(hss)
	client.Bind(as)
	ctx, cancel := context.WithCancel(context.Background())
	var running, shardRuns sync.WaitGroup
	shardRuns.Go(func() { _ = on.Run(context.Background()) })
	running.Go(func() { _ = hss.Run(ctx) })
	running.Go(func() { _ = hss.Serve(ctx, ln, true) })
	running.Go(func() { _ = as.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); on.Close(); shardRuns.Wait() })
	start(t, ca, freePort(t), secure, late, fmt.Sprintf("LoadExtension = \"dict_nasreq.fdx\";\nLoadExtension = \"dict_dcca.fdx\";\nLoadExtension = \"dict_dcca_3gpp.fdx\";\n"+
		"ConnectPeer = %q { ConnectTo = \"127.0.0.1\"; Port = %d; };", home, ln.Addr().(*net.TCPAddr).Port))
	for _, n := range []*diameter.Node{hss, as} {
		eventually(t, "both lines", 30*time.Second, func() bool {
			all, err := n.Peers(context.Background())
			return err == nil && all[0].Up && all[0].Secure
		})
	}
	askSh(t, server, client, on)
	if host := <-asked; host != theirs {
		t.Errorf("the HSS takes %s for who asks", host)
	}
	var refused error
	ca.must(on.Call(context.Background(), func(task *shard.Task) {
		_, refused = client.UserData(task, &sh.UserDataRequest{User: sh.UserIdentity{Public: "sip:a@ims.example"}, Key: sh.Key{Reference: sh.RefLocationInformation, Domain: sh.CSDomain}})
	}))
	if !errors.Is(refused, sh.ErrUserDataCannotBeRead) {
		t.Errorf("a refusal comes as %v", refused)
	}
}
