package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/hop"
	hopnode "imsafe/hop/node"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

// Identity is what this node shows to other nodes, and which authority it believes.
type Identity struct {
	Certificate tls.Certificate // good for server and client
	Authority   *x509.CertPool
	// Services is the authority that vouches for application servers; nil: Authority.
	Services *x509.CertPool
}

func (id *Identity) services() *x509.CertPool {
	if id.Services != nil {
		return id.Services
	}
	return id.Authority
}

// mw is the node's wire with its sockets.
type mw struct {
	wire     *hopnode.Wire
	packets  []*siptransport.Datagrams // in clear, by shard
	accepted *siptransport.Streams
	dialled  map[netip.AddrPort]*siptransport.Streams // by peer: each shows another name
	counters siptransport.Counters
}

// peersOf lists the nodes that have the functions this one has not, and those that have the same as it.
func peersOf(c *config.Config) (peers []hopnode.Peer) {
	for function, p := range map[string]config.MwPeer{"pcscf": c.Mw.PCSCF, "icscf": c.Mw.ICSCF, "scscf": c.Mw.SCSCF} {
		if !p.Address.IsValid() {
			continue
		}
		peer := hopnode.Peer{Name: p.Certificate, Address: p.Address.AddrPort, Keys: p.Keys}
		for _, name := range p.Names {
			peer.Names = append(peer.Names, hop.Name(name))
		}
		if len(p.Names) == 0 {
			peer.Names = append(peer.Names, hop.Name(function+"."+c.HomeDomain()))
		}
		if function == "icscf" {
			peer.Names = append(peer.Names, hop.Name(c.HomeDomain())) // the entry point of the home network
		}
		peers = append(peers, peer)
	}
	for _, node := range c.Mw.Nodes {
		named := namesOf(c.HomeDomain(), node.Name)
		peers = append(peers, hopnode.Peer{Name: node.Certificate, Address: node.Address.AddrPort, Keys: true, Names: []hop.Name{named.pcscf, named.icscf, named.scscf}})
	}
	return peers
}

// openMw opens the wire on the sockets that are there for it.
func (n *Node) openMw() (err error) {
	c, s := n.o.Config, n.o.Sockets
	if len(s.MwClear) == 0 && s.MwTLS == nil {
		return nil
	}
	w := &mw{dialled: map[netip.AddrPort]*siptransport.Streams{}}
	peers := peersOf(c)
	w.wire, err = n.Wire(hopnode.Config{Peers: peers, SentBy: c.Mw.Listen.String(), Clear: c.Mw.Clear, Timers: timers(c.Timers.Core), Share: Budgets(&c.CI).Share})
	if err != nil {
		return err
	}
	options := siptransport.Options{Clock: n.o.Clock, Counters: &w.counters}
	for i, conn := range s.MwClear {
		socket := n.datagrams(i, conn, options)
		w.wire.Port(n.Shards[i]).SendBy(socket.Flow)
		w.packets = append(w.packets, socket)
	}
	if s.MwTLS != nil {
		n.openMwTLS(w, peers, options)
	}
	n.mw = w
	return nil
}

// mwDialing is how long a connection to another node may take to stand: whoever is there accepts it at once, and a caller waits.
const mwDialing = 2 * time.Second

// openMwTLS makes the streams of the wire: TLS 1.3, both ends show a certificate of the network's authority (TS 33.310).
func (n *Node) openMwTLS(w *mw, peers []hopnode.Peer, options siptransport.Options) {
	id := n.o.Identity
	options.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate}, SessionTicketsDisabled: true,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: id.Authority, RootCAs: id.Authority}
	accepted := options
	n.boundMw(&accepted)
	w.accepted = siptransport.NewStreams(accepted)
	for _, p := range peers {
		dial := options
		dial.Dialing = mwDialing
		dial.TLS = options.TLS.Clone()
		dial.TLS.ServerName = p.Name
		w.dialled[p.Address] = siptransport.NewStreams(dial)
	}
	for _, sh := range n.Shards {
		port := w.wire.Port(sh)
		port.DialBy(func(to netip.AddrPort) siptransport.Flow {
			return w.dialled[to].Dial(context.Background(), sh, to, port)
		})
	}
}

// serveMw runs the sockets of the wire.
func (n *Node) serveMw(ctx context.Context, group *errgroup.Group) {
	if n.mw == nil {
		return
	}
	receiver := func(sh *shard.Shard) siptransport.Receiver { return n.mw.wire.Port(sh) }
	for i, socket := range n.mw.packets {
		group.Go(func() error { return socket.Serve(ctx, receiver(n.Shards[i])) })
	}
	if n.mw.accepted != nil {
		group.Go(func() error { return n.mw.accepted.Serve(ctx, n.Shards, n.o.Sockets.MwTLS, receiver) })
	}
}

// streams lists the connections of the wire, to be closed at the end.
func (w *mw) streams() (all []*siptransport.Streams) {
	if w == nil || w.accepted == nil {
		return nil
	}
	all = append(all, w.accepted)
	for _, s := range w.dialled {
		all = append(all, s)
	}
	return all
}

// nodesOnMw are the addresses at which other nodes of this network listen.
func nodesOnMw(c *config.Mw) (all []netip.AddrPort) {
	peers := []config.Address{c.PCSCF.Address, c.ICSCF.Address}
	for _, n := range c.Nodes {
		peers = append(peers, n.Address)
	}
	for _, a := range peers {
		if a.IsValid() {
			all = append(all, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	return all
}
