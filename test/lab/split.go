package lab

import (
	"net/netip"
	"time"

	"imsafe/config"
	"imsafe/hop"
	hopnode "imsafe/hop/node"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/store"
)

// edge is the process of a split node that has the P-CSCF; the node's own Core then has the rest.
type edge struct {
	core         *node.Core
	store        *store.DB
	mine, theirs *end // the ends of the wire between them
}

// end is one end of a wire in clear.
type end struct {
	core    *node.Core
	address netip.AddrPort
	wire    *hopnode.Wire
	sender  *sender
}

// Inner is the address of the core on the wire to its P-CSCF; not valid if the node is one process.
func (n *Node) Inner() netip.AddrPort {
	if n.edge == nil {
		return netip.AddrPort{}
	}
	return n.edge.theirs.address
}

// roles are those of a node's Core.
func (w *World) roles() node.Roles {
	r := node.Roles(0).With(node.RoleSCSCF).With(node.RoleICSCF)
	if !w.options.Split {
		r = r.With(node.RolePCSCF)
	}
	if !w.options.Apart {
		r = r.With(node.RoleHSS)
	}
	return r
}

// front is the process that clients meet.
func (n *Node) front() *node.Core {
	if n.edge != nil {
		return n.edge.core
	}
	return n.Core
}

// startEdge starts the process of the P-CSCF, if the world is split, and the wire between it and the rest.
func (n *Node) startEdge() error {
	w := n.w
	if !w.options.Split {
		return nil
	}
	st, err := store.InMemory(w.Clock)
	if err != nil {
		return err
	}
	core, err := node.Assemble(node.World{Clock: w.Clock, Random: w.chacha, Log: w.options.Log, Store: st, Policy: w.options.Policy, Budget: w.options.Budget, Numbering: w.options.Numbering, Sink: w,
		Mode: w.options.Mode, Node: uint16(2*n.number + 2), Shards: w.options.Shards, Domain: Domain, Lab: true, Digest: w.options.digest(), Emergency: w.options.emergency(),
		Roles: node.Roles(0).With(node.RolePCSCF), Poison: w.options.Poison, Budgets: w.options.budgets(),
		Iq: w.options.Anchor, CS: config.CS{LabPlain: w.options.MediaInClear}})
	if err != nil {
		return err
	}
	at := func(last byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n.number), 0, last}), 5070)
	}
	n.edge = &edge{core: core, store: st, mine: &end{core: core, address: at(1)}, theirs: &end{core: n.Core, address: at(2)}}
	if err := n.edge.mine.open(n, n.edge.theirs.address, Domain, "icscf."+Domain, "scscf."+Domain); err != nil {
		return err
	}
	return n.edge.theirs.open(n, n.edge.mine.address, "pcscf."+Domain)
}

// open opens an end whose peer has the functions names.
func (e *end) open(n *Node, peer netip.AddrPort, names ...hop.Name) (err error) {
	e.wire, err = e.core.Wire(hopnode.Config{Clear: true, SentBy: e.address.String(), Timers: siptxn.DefaultTimers(),
		Peers: []hopnode.Peer{{Name: "peer", Names: names, Address: peer, Keys: true}}})
	if err != nil {
		return err
	}
	e.sender = &sender{n: n, from: e.address}
	for _, sh := range e.core.Shards {
		e.wire.Port(sh).SendBy(func(to netip.AddrPort) siptransport.Flow { return siptransport.Flow{Via: e.sender, Peer: to} })
	}
	return nil
}

// overWire delivers a datagram between the processes of a split node.
func (n *Node) overWire(d datagram) {
	if n.edge == nil || !n.up {
		return
	}
	for _, e := range []*end{n.edge.mine, n.edge.theirs} {
		if e.address != d.to {
			continue
		}
		sh := e.core.Shards[0]
		sh.Exec(shard.EventFunc(func(*shard.Shard) {
			e.wire.Port(sh).Packet(siptransport.Flow{Via: e.sender, Peer: d.from}, d.data)
		}))
	}
}

func (n *Node) stopEdge() {
	if n.edge != nil {
		n.edge.core.Close()
		_ = n.edge.store.Close() // nothing of the P-CSCF is in it
		n.edge = nil
	}
}

func (n *Node) stepEdge(now time.Duration) time.Duration {
	next := time.Duration(store.Never)
	if n.edge != nil {
		for _, sh := range n.edge.core.Shards {
			next = min(next, sh.Step(now))
		}
	}
	return next
}
