package node

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/proto/aka"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxwire"
	"imsafe/secure"
)

// cxWire is this node's end of Cx: that of its HSS, or that of its CSCFs.
type cxWire struct {
	node   *diameter.Node
	server *cxwire.Server // of the HSS
	client *cxwire.Client // of the CSCFs

	counters diameter.Counters
}

// remoteHSS is the HSS of another node.
type remoteHSS struct{ *cxwire.Client }

// ServerAssignment sends the request without its batch: two nodes have no commit in common. The HSS commits first; what the
// S-CSCF cannot store then ends as a registration that expires (TS 29.228 6.1.2).
func (h *remoteHSS) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	alone := *r
	alone.Batch = nil
	return h.Client.ServerAssignment(t, &alone)
}

// openCx opens this node's end of Cx, if the configuration has one. hss gets the HSS at the other end.
func (n *Node) openCx(hss *remoteHSS) (err error) {
	c, w := n.o.Config, &cxWire{}
	d := diameter.Config{Identities: diameter.Identities{Host: c.CxName(), Realm: c.HomeDomain()}, Product: "imsafe",
		OriginState: uint32(n.o.Clock.Wall().Unix()), Shard: n.Shards[0], Random: n.o.Random, Sleep: time.Sleep,
		Watchdog: c.Cx.Watchdog.Std(), MaxHandshakes: diameterEnding, Refuse: n.refuseDiameter, Changed: n.cxChanged, Unresponsive: n.cxUnresponsive, Counters: &w.counters}
	switch {
	case n.o.Sockets.Cx != nil:
		err = n.openCxServer(w, &d)
	case c.Cx.Server.IsValid():
		err = n.openCxClient(w, &d)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if id := n.o.Identity; id != nil && !c.Cx.LabCleartextKeys {
		d.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate}, RootCAs: id.Authority,
			ClientCAs: id.Authority, ClientAuth: tls.RequireAndVerifyClientCert}
	}
	if w.node, err = diameter.New(d); err != nil {
		return err
	}
	if w.server != nil {
		w.server.Bind(w.node)
		n.Core.elsewhere = func(serverName string) cx.Client {
			client := w.server.Push(serverName)
			if client == nil {
				return nil
			}
			return &expandingClient{client, n.Registry.Sets}
		}
	}
	if w.client != nil {
		w.client.Bind(w.node)
		hss.Client = w.client
	}
	n.cx = w
	return nil
}

// openCxServer makes the HSS's end: the nodes with CSCFs are its peers, who connect.
func (n *Node) openCxServer(w *cxWire, d *diameter.Config) (err error) {
	c := n.o.Config
	w.server, err = cxwire.NewServer(cxwire.ServerConfig{HSS: &expandingServer{n.HSS, n.Registry.Sets}, Shards: n.Shards, Hosts: n.serversOnCx(), LabCleartextKeys: c.Cx.LabCleartextKeys,
		Refused: func(_, reason string) {
			n.keepKeys(secure.Event{Reason: reason})
		}})
	if err != nil {
		return err
	}
	d.Addresses = []netip.Addr{c.Cx.Listen.Addr()}
	d.Applications = []diameter.ApplicationConfig{w.server.Application()}
	peers := func(hosts []string, role diameter.Role) {
		for _, host := range hosts {
			d.Peers = append(d.Peers, diameter.PeerConfig{Host: host, Realm: c.HomeDomain(), Role: role, Cleartext: c.Cx.LabCleartextKeys})
		}
	}
	peers(c.Cx.Clients, cxwire.RoleCSCF())
	peers(c.Cx.Interrogating, cxwire.RoleICSCF())
	return nil
}

// serversOnCx lists the Diameter hosts of S-CSCFs by their SIP names. The home network's own is in this process, or at the only client; another that is not
// listed in the configuration is at the host of its SIP name.
func (n *Node) serversOnCx() map[string]string {
	c, hosts := n.o.Config, map[string]string{}
	switch ours := "sip:" + string(namesOf(c.HomeDomain(), "").scscf); {
	case n.SCSCF != nil:
		hosts[n.SCSCF.ServerName()] = c.CxName()
	case len(c.Cx.Clients) == 1:
		hosts[ours] = c.Cx.Clients[0]
	}
	for _, s := range c.Cx.SCSCFs {
		hosts[s.Name] = s.Client
	}
	return hosts
}

// openCxClient makes the CSCFs' end: it connects to the HSS, and to the second one if there is one.
func (n *Node) openCxClient(w *cxWire, d *diameter.Config) (err error) {
	c := n.o.Config
	client := cxwire.ClientConfig{Realm: c.HomeDomain(), Host: c.CxServerName(), LabCleartextKeys: c.Cx.LabCleartextKeys}
	client.Algorithm, _ = aka.ParseDigestAlgorithm([]byte(c.Cx.AKA))
	if n.SCSCF != nil {
		client.SCSCF, client.ServerName, client.Shards = n.SCSCF, n.SCSCF.ServerName(), n.Shards
	}
	d.Peers = []diameter.PeerConfig{n.cxPeer(c.CxServerName(), c.Cx.Server, 0)}
	if c.Cx.Alternate.IsValid() {
		client.Host = "" // whichever serves the realm (RFC 6733 6.1.4)
		d.Peers = append(d.Peers, n.cxPeer(c.Cx.AlternateName, c.Cx.Alternate, 1))
	}
	if w.client, err = cxwire.NewClient(client); err != nil {
		return err
	}
	d.Addresses = []netip.Addr{addressOf(c)}
	d.Applications = []diameter.ApplicationConfig{w.client.Application()}
	return nil
}

// cxPeer is an HSS at an address. That of the lowest priority in service is asked.
func (n *Node) cxPeer(host string, at config.Address, priority int) diameter.PeerConfig {
	c := n.o.Config
	return diameter.PeerConfig{Host: host, Realm: c.HomeDomain(), Priority: priority, Role: cxwire.RoleHSS(), Cleartext: c.Cx.LabCleartextKeys,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", at.String())
		}}
}

// addressOf returns an address that the node is known by: that of its SIP wire, else that of its door.
func addressOf(c *config.Config) netip.Addr {
	switch {
	case c.Mw.Listen.IsValid():
		return c.Mw.Listen.Addr()
	case len(c.CI.TLS.Listen) > 0:
		return c.CI.TLS.Listen[0].Addr()
	case len(c.CI.LabUDP.Listen) > 0:
		return c.CI.LabUDP.Listen[0].Addr()
	}
	return netip.IPv6Loopback()
}

// CxPeers returns the nodes at the other end of Cx, in the order of the configuration; none without a wire. Not on a shard.
func (n *Node) CxPeers(ctx context.Context) ([]diameter.PeerStatus, error) {
	if n.cx == nil {
		return nil, nil
	}
	return n.cx.node.Peers(ctx)
}

// refuseDiameter asks the gate whether a refusal stands; the reason says whose it is.
func (n *Node) refuseDiameter(r diameter.Refusal) bool {
	e := secure.Event{Reason: "diameter-" + r.Reason.String(), Subject: r.Peer}
	switch r.Reason {
	case diameter.ReasonOriginHost:
		return n.Gate.Refuse(secure.CoreAuthenticationOriginHost, e)
	case diameter.ReasonCommand, diameter.ReasonAVP, diameter.ReasonValue:
		return n.Gate.Refuse(secure.CoreAuthorizationRole, e)
	}
	return n.stranger(e)
}

// cxChanged tells the log of a peer that comes or goes.
func (n *Node) cxChanged(host string, up bool) {
	state := "out of service"
	if up {
		state = "in service"
	}
	n.o.Log.Info("diameter peer", "peer", host, "state", state)
}

// cxUnresponsive tells the log of a peer that answers watchdogs and not requests.
func (n *Node) cxUnresponsive(host string) {
	n.o.Log.Warn("diameter peer is alive and leaves requests unanswered: others are asked before it, if there are any", "peer", host)
}

// serveCx runs this node's end of Cx.
func (n *Node) serveCx(ctx context.Context, group *errgroup.Group) {
	if n.cx == nil {
		return
	}
	group.Go(func() error { return n.cx.node.Run(ctx) })
	if ln := n.o.Sockets.Cx; ln != nil {
		group.Go(func() error { return n.cx.node.Serve(ctx, n.fair(ln), !n.o.Config.Cx.LabCleartextKeys) })
	}
}
