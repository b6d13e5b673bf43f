package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/proto/diameter"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shwire"
)

// shServices are the application servers that this node knows, and how it reaches them. Safe for concurrent use.
type shServices struct {
	mu    sync.Mutex
	names map[string]string    // service by host of its instances, elsewhere
	here  map[string]sh.Client // push side by host, in this process
	wire  *shwire.Server       // nil without one; set before the node runs

	platforms map[string]string // those of the register, by host
	changed   []string          // hosts of them that the wire has to look at
	look      chan struct{}
}

// serviceOf returns whose instance a host is; "" if it is none.
func (s *shServices) serviceOf(host string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[strings.ToLower(host)]
}

// notify finds the push side of an application server for the HSS.
func (s *shServices) notify(as sh.AS) sh.Client {
	s.mu.Lock()
	client, wire := s.here[as.Host], s.wire
	s.mu.Unlock()
	switch {
	case client != nil:
		return client
	case wire != nil:
		return wire.Push(as)
	}
	return nil
}

// ListenSh gives the push side of a service of this process, which asks the HSS itself under the same name; nil takes it back. What it may do
// is in Permissions, as for any other.
func (c *Core) ListenSh(host string, client sh.Client) {
	c.services.mu.Lock()
	defer c.services.mu.Unlock()
	if client == nil {
		delete(c.services.here, host)
		return
	}
	c.services.here[host] = client
}

// shWire is this node's end of Sh.
type shWire struct {
	node     *diameter.Node
	counters diameter.Counters
}

// openSh opens the HSS's end of Sh, if the configuration has one, and reads what is granted.
func (n *Node) openSh() (err error) {
	c := n.o.Config
	if n.HSS == nil {
		return nil
	}
	if err := grantSh(n.Permissions, c); err != nil {
		return err
	}
	if n.o.Sockets.Sh == nil {
		return nil
	}
	w := &shWire{}
	server, err := shwire.NewServer(shwire.ServerConfig{HSS: n.HSS, Shards: n.Shards, Service: n.services.serviceOf})
	if err != nil {
		return err
	}
	d := diameter.Config{Identities: diameter.Identities{Host: c.ShName(), Realm: c.HomeDomain()}, Product: "imsafe",
		OriginState: uint32(n.o.Clock.Wall().Unix()), Shard: n.Shards[len(n.Shards)-1], Random: n.o.Random, Sleep: time.Sleep,
		Watchdog: c.Sh.Watchdog.Std(), MaxHandshakes: diameterEnding, Refuse: n.refuseDiameter, Changed: n.cxChanged, Unresponsive: n.cxUnresponsive, Counters: &w.counters,
		Addresses: []netip.Addr{c.Sh.Listen.Addr()}, Applications: []diameter.ApplicationConfig{server.Application()}}
	id := n.o.Identity
	d.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate}, RootCAs: id.services(),
		ClientCAs: id.services(), ClientAuth: tls.RequireAndVerifyClientCert, GetConfigForClient: n.shTLS}
	for _, s := range c.Sh.Services {
		for _, host := range s.Hosts {
			n.services.names[host] = s.Name
			d.Peers = append(d.Peers, n.shPeer(host))
		}
	}
	if w.node, err = diameter.New(d); err != nil {
		return err
	}
	server.Bind(w.node)
	n.services.wire, n.sh = server, w
	return nil
}

// shPeer is an instance of a service: it connects.
func (n *Node) shPeer(host string) diameter.PeerConfig {
	return diameter.PeerConfig{Host: host, Realm: n.o.Config.HomeDomain(), Role: shwire.RoleAS()}
}

// AdmitSh lets an instance of a service in, while the node runs: one that an operator has approved. Not on a shard.
func (n *Node) AdmitSh(service, host string) error {
	if n.sh == nil {
		return fmt.Errorf("node: this node has no wire to application servers: set listen in [sh]")
	}
	host = strings.ToLower(host)
	if err := n.sh.node.Admit(n.shPeer(host)); err != nil {
		return err
	}
	n.services.mu.Lock()
	defer n.services.mu.Unlock()
	n.services.names[host] = service
	return nil
}

// DismissSh shuts an instance of a service out and closes its connection, at once. What it is granted is another matter (Permissions). Not on
// a shard.
func (n *Node) DismissSh(host string) error {
	host = strings.ToLower(host)
	n.services.mu.Lock()
	delete(n.services.names, host)
	n.services.mu.Unlock()
	if n.sh == nil {
		return nil
	}
	return n.sh.node.Dismiss(host)
}

// serveSh runs the HSS's end of Sh.
func (n *Node) serveSh(ctx context.Context, group *errgroup.Group) {
	if n.Registry != nil {
		group.Go(func() error { return n.followPlatforms(ctx) })
	}
	if n.sh == nil {
		return
	}
	group.Go(func() error { return n.sh.node.Run(ctx) })
	group.Go(func() error { return n.sh.node.Serve(ctx, n.fair(n.o.Sockets.Sh), true) })
}

// grantSh reads the grants of the configuration into the permissions list.
func grantSh(list *hss.Permissions, c *config.Config) error {
	grants := map[string][]hss.Grant{}
	for i := range c.Sh.Grants {
		g, err := grantOf(&c.Sh.Grants[i])
		if err != nil {
			return err
		}
		grants[c.Sh.Grants[i].Service] = append(grants[c.Sh.Grants[i].Service], g)
	}
	for service, all := range grants {
		if err := list.Set(service, all...); err != nil {
			return err
		}
	}
	return nil
}

// grantOf reads one grant. "*" is all data but the sensitive.
func grantOf(c *config.ShGrant) (g hss.Grant, err error) {
	g = hss.Grant{Indications: c.Indications, Groups: c.Groups, Everybody: c.Everybody, PerSecond: float64(c.Rate)}
	for _, name := range c.Data {
		ref, known := sh.ParseDataReference(name)
		switch {
		case name == "*":
			g.AllData = true
		case !known:
			return g, fmt.Errorf("node: sh.grant.data: there is no %q in TS 29.328 table 7.6.1", name)
		default:
			g.Data = append(g.Data, ref)
		}
	}
	for _, op := range c.Operations {
		g.Ops |= map[string]sh.Operation{"pull": sh.Pull, "update": sh.Update, "subscribe": sh.Subscribe}[op]
	}
	return g, nil
}
