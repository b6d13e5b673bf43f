package diameter

import (
	"context"
	"errors"
	"fmt"
	"testing"

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
	b := newTable(t, nil)
	b.leaf(theirs, 2)
	shards := []*shard.Shard{b.on}
	asked := make(chan string, 16)
	server, err := shwire.NewServer(shwire.ServerConfig{HSS: everySh{}, Shards: shards, Service: func(host string) string { asked <- host; return "service" }})
	b.must(err)
	client, err := shwire.NewClient(shwire.ClientConfig{Realm: realm, Host: home, AS: everySh{}, Shards: shards})
	b.must(err)
	ln, port := b.listen()
	secure := freePort(t)
	hss := b.node(home, 3, server.Application(), diameter.PeerConfig{Host: theirs, Agent: true, Role: shwire.RoleAS()})
	as := b.node(ours, 4, client.Application(), diameter.PeerConfig{Host: theirs, Agent: true, Role: shwire.RoleHSS(), Dial: dialPort(secure)})
	server.Bind(hss)
	client.Bind(as)
	b.run(t, ln, hss, as)
	start(t, b.authority, freePort(t), secure, late, fmt.Sprintf("LoadExtension = \"dict_nasreq.fdx\";\nLoadExtension = \"dict_dcca.fdx\";\nLoadExtension = \"dict_dcca_3gpp.fdx\";\n"+
		"ConnectPeer = %q { ConnectTo = \"127.0.0.1\"; Port = %d; };", home, port))
	for _, n := range []*diameter.Node{hss, as} {
		eventually(t, "both lines", func() bool {
			all, err := n.Peers(context.Background())
			return err == nil && all[0].Up && all[0].Secure
		})
	}
	askSh(t, server, client, b.on)
	if host := <-asked; host != theirs {
		t.Errorf("the HSS takes %s for who asks", host)
	}
	var refused error
	b.must(b.on.Call(context.Background(), func(task *shard.Task) {
		_, refused = client.UserData(task, &sh.UserDataRequest{User: sh.UserIdentity{Public: "sip:a@ims.example"}, Key: sh.Key{Reference: sh.RefLocationInformation, Domain: sh.CSDomain}})
	}))
	if !errors.Is(refused, sh.ErrUserDataCannotBeRead) {
		t.Errorf("a refusal comes as %v", refused)
	}
}
