// Package node is hop's wire: how requests go to and come from functions in other processes (Mw, TS 24.229), by SIP over
// mutual TLS, or in a lab in clear to CSCFs of other makes.
//
// A Wire is a door inside the core. Towards the network it is a hop.Function under the names of its peer; from the network it
// finds out which peer speaks, by certificate or, in a lab, by address, mints a proof of that, and lets the request walk to
// the function it names. What travels beside a message in one process is written into it here, and read off here, and nowhere
// else: the protection of a REGISTER (TS 24.229 7.2A.2.2) and, inside mutual TLS or the lab only, the session keys of a
// challenge.
//
// It is imported by the assembler. A Port belongs to its shard; the rest is fixed before the node runs.
package node

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// Peer is another node, or a CSCF of another make.
type Peer struct {
	Name    string         // in its certificate; in a lab only a label
	Names   []hop.Name     // host names of its functions
	Address netip.AddrPort // where it is reached
	Keys    bool           // session keys of challenges may be written for it and are read from it
}

// Config is what the wire must know.
type Config struct {
	Peers  []Peer
	SentBy string // host:port of our Via
	// Clear means that peers are known by their address, without TLS: a lab with CSCFs of other makes.
	Clear  bool
	Timers siptxn.Timers
	Limits siptxn.Limits
	Share  budget.Rate // new requests of one user while there is too much to do; default 1 a second, 5 at once
}

// Ports is what is plugged into the wire.
type Ports struct {
	Table  *hop.Table
	Shards []*shard.Shard
	Pool   *sip.Pool
	Sealer *shard.Sealer
	// Stranger judges what comes from nobody that is known, KeepKeys session keys on their way to a peer that may not have them:
	// true if the refusal stands. They are the enforcement points of core.authentication.mtls and core.confidentiality.mtls,
	// which Diameter shares.
	Stranger, KeepKeys func(secure.Event) bool
	// Load says what each shard turns away, Overloaded is the enforcement point of that. nil: nothing is.
	Load       []*overload.Controller
	Overloaded func(secure.Event) bool
}

// Name is the wire's own name: whom functions see as the sender of what came over it. It is no host.
const Name hop.Name = "Mw wire"

// kind keeps the branches of the wire apart from those of the doors on the same shard.
const kind = 'w'

// Wire is the door to other nodes.
type Wire struct {
	cfg   Config
	ports Ports
	port  []*Port // by shard

	keys   budget.Keys
	shares *budget.Table // by asserted identity
}

// sharePlaces is of how many users at once it is known that they have spent their share.
const sharePlaces = 1 << 14

// New makes a wire without sockets, and gives the table the names of its peers.
func New(cfg Config, ports Ports) (*Wire, error) {
	if cfg.Share == (budget.Rate{}) {
		cfg.Share = budget.Rate{Limit: 1, Per: time.Second, Burst: 5}
	}
	w := &Wire{cfg: cfg, ports: ports, keys: budget.NewKeys(), shares: budget.NewTable(cfg.Share, sharePlaces)}
	for _, sh := range ports.Shards {
		p := &Port{w: w, shard: sh, known: map[siptransport.Flow]*Peer{}, held: map[netip.AddrPort]*overload.Throttle{}}
		layer := siptxn.Config{Shard: sh, Pool: ports.Pool, Sealer: ports.Sealer, Kind: kind, Timers: cfg.Timers,
			Handler: p, Limits: cfg.Limits, Foreign: w.foreign}
		if ports.Load != nil {
			p.load, layer.Report, layer.Heard = ports.Load[sh.ID()], p.report, p.heard
		}
		p.layer = siptxn.New(layer)
		w.port = append(w.port, p)
	}
	for i := range cfg.Peers {
		peer := &cfg.Peers[i]
		if !peer.Address.IsValid() || len(peer.Names) == 0 {
			return nil, fmt.Errorf("hop/node: peer %q needs an address and names", peer.Name)
		}
		for _, name := range peer.Names {
			if err := ports.Table.Plug(name, &remote{w: w, peer: peer}); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// Port returns what sockets on the shard deliver to.
func (w *Wire) Port(sh *shard.Shard) *Port { return w.port[sh.ID()] }

// foreign hands a response to the shard that its branch names.
func (w *Wire) foreign(place shard.Place, f siptransport.Flow, data []byte) {
	if int(place.Shard) < len(w.port) {
		p, data := w.port[place.Shard], append([]byte(nil), data...)
		p.shard.Exec(shard.EventFunc(func(*shard.Shard) { p.layer.Input(f, data) }))
	}
}

// Port is the wire on one shard.
type Port struct {
	w     *Wire
	shard *shard.Shard
	layer *siptxn.Layer
	load  *overload.Controller                  // of the shard; nil: nothing is turned away
	held  map[netip.AddrPort]*overload.Throttle // what peers have told us to hold back
	known map[siptransport.Flow]*Peer           // streams that were accepted, by the certificate they showed
	send  func(to netip.AddrPort) siptransport.Flow
	dial  func(to netip.AddrPort) siptransport.Flow
	// dialled are the streams that we opened, by the peer's address, silent the peers that do not answer.
	dialled map[netip.AddrPort]*line
	silent  map[netip.AddrPort]*silent
}

var (
	_ siptransport.Receiver = (*Port)(nil)
	_ siptxn.Handler        = (*Port)(nil)
	_ siptxn.Screener       = (*Port)(nil)
)

// SendBy tells the port how to reach a peer over its packet socket. Before the node runs.
func (p *Port) SendBy(send func(to netip.AddrPort) siptransport.Flow) { p.send = send }

// DialBy tells the port how to open a stream to a peer; a stream is kept until it ends. Before the node runs.
func (p *Port) DialBy(dial func(to netip.AddrPort) siptransport.Flow) {
	p.dialled, p.silent = map[netip.AddrPort]*line{}, map[netip.AddrPort]*silent{}
	p.dial, p.send = dial, p.lineTo
}

// Packet implements siptransport.Receiver. What comes from nobody we know is not even parsed.
func (p *Port) Packet(f siptransport.Flow, data []byte) {
	if p.peerOf(f) == nil && p.w.ports.Stranger(secure.Event{Reason: "unknown-peer", Source: f.Peer.Addr()}) {
		return
	}
	p.layer.Input(f, data)
}

// Opened implements siptransport.Receiver: a stream belongs to the peer whose name stands in its certificate.
func (p *Port) Opened(f siptransport.Flow, state *tls.ConnectionState) {
	p.stands(f)
	if state == nil || len(state.VerifiedChains) == 0 {
		return
	}
	for i := range p.w.cfg.Peers {
		if peer := &p.w.cfg.Peers[i]; state.VerifiedChains[0][0].VerifyHostname(peer.Name) == nil {
			p.known[f] = peer
			if c, counted := f.Via.(interface{ Proven() }); counted { // several nodes may stand behind one address
				c.Proven()
			}
			return
		}
	}
}

// Counters returns what the port's transaction layer counts. Safe for concurrent use.
func (p *Port) Counters() *siptxn.Counters { return p.layer.Counters() }

// Closed implements siptransport.Receiver.
func (p *Port) Closed(f siptransport.Flow, err error) {
	delete(p.known, f)
	p.hungUp(f, err)
	p.layer.FlowClosed(f)
}

// peerOf returns whose flow it is, nil if nobody's.
func (p *Port) peerOf(f siptransport.Flow) *Peer {
	if peer := p.known[f]; peer != nil {
		return peer
	}
	if !p.w.cfg.Clear {
		return nil
	}
	for i := range p.w.cfg.Peers {
		if peer := &p.w.cfg.Peers[i]; peer.Address.Addr() == f.Peer.Addr() {
			return peer
		}
	}
	return nil
}

// nobody is who speaks on a flow of nobody's. Packet lets none through, but where the laboratory has switched that off.
var nobody = Peer{Name: "nobody.invalid"}

// Request implements siptxn.Handler: a request of another node walks to the function it names.
func (p *Port) Request(tx *siptxn.Server, m *sip.Message) {
	peer := p.peerOf(tx.Flow())
	if peer == nil {
		peer = &nobody
	}
	to, known := p.target(m)
	if !known {
		_ = p.layer.Reply(tx, 404, "")
		return
	}
	in := hop.Inbound{Msg: m.Clone(), Proof: mint.Node(peer.Name)}
	in.Protection = takeProtection(in.Msg)
	leave := func(x *hop.Exchange, r hop.Reply) hop.Reply { return p.leave(x, r, peer) }
	p.w.ports.Table.Enter(p.shard, p.layer, tx, m, Name, to, in, leave, nil)
}

// target returns the function a request is for: that of its topmost Route, or of its Request-URI.
func (p *Port) target(m *sip.Message) (hop.Name, bool) { return p.w.ports.Table.Next(m) }

// Ack implements siptxn.Handler.
func (p *Port) Ack(f siptransport.Flow, m *sip.Message) {
	peer := p.peerOf(f)
	if peer == nil {
		peer = &nobody
	}
	to, known := p.target(m)
	if !known {
		m.Release()
		return
	}
	p.w.ports.Table.Pass(p.shard, Name, to, hop.Inbound{Msg: m, Proof: mint.Node(peer.Name)})
}

// Cancelled implements siptxn.Handler.
func (p *Port) Cancelled(tx *siptxn.Server) { hop.Cancelled(tx, tx.CancelReason()) }

// Ended implements siptxn.Handler.
func (p *Port) Ended(*siptxn.Server) {}

// leave writes the session keys of a challenge for the peer that shall have them; to any other they do not go.
func (p *Port) leave(x *hop.Exchange, r hop.Reply, peer *Peer) hop.Reply {
	keys := r.TakeKeys()
	if keys == nil {
		return r
	}
	if !peer.Keys && p.w.ports.KeepKeys(secure.Event{Reason: "keys-for-peer-without"}) {
		r.Msg.Release()
		return x.Respond(500, "")
	}
	appendKeys(r.Msg, keys)
	return r
}

// remote is the peer as a function of the table.
type remote struct {
	w    *Wire
	peer *Peer
}

// Serve implements hop.Function: the way of a request to another node.
func (r *remote) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	p := r.w.port[x.Task().Shard().ID()]
	switch {
	case p.silent[r.peer.Address] != nil:
		return x.Unreachable(in)
	case !p.admits(r.peer, in.Msg):
		return x.Refuse(in, 503, "")
	}
	putProtection(in.Msg, in.Protection)
	var keys *hop.Keys
	reply := x.Transact(p.layer, p.send(r.peer.Address), in, []byte(r.w.cfg.SentBy), func(m *sip.Message) { keys = takeKeys(m) })
	if keys != nil && r.peer.Keys && reply.Status() == 401 {
		return reply.WithKeys(keys)
	}
	return reply
}
