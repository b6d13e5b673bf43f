package clientims

import (
	"crypto/tls"
	"net/netip"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// Port is one access profile on one shard: where its sockets deliver to. It belongs to the shard.
type Port struct {
	door   *Door
	access *accessPorts
	shard  *shard.Shard
	table  *associations
	layer  *siptxn.Layer
	paths  map[path]secure.Association
	own    siptransport.Sender // this shard's packet socket of the profile, nil for streams

	timer shard.Timer
	swept int // the slot the sweeper goes on from
}

var (
	_ siptransport.Receiver = (*Port)(nil)
	_ siptxn.Handler        = (*Port)(nil)
)

// Packet implements siptransport.Receiver.
func (p *Port) Packet(f siptransport.Flow, data []byte) { p.layer.Input(f, data) }

// Opened implements siptransport.Receiver. A connection alone proves nothing and gets no association.
func (p *Port) Opened(siptransport.Flow, *tls.ConnectionState) {}

// Closed implements siptransport.Receiver: what was proven about a connection ends with it.
func (p *Port) Closed(f siptransport.Flow, _ error) {
	p.layer.FlowClosed(f)
	if ref, known := p.paths[path{flow: f}]; known {
		p.forget(ref, gm.ReasonClosed)
	}
}

func (p *Port) forget(ref secure.Association, why gm.Reason) {
	if a, known := p.table.remove(ref); known {
		delete(p.paths, a.path)
		p.door.ports.Push.Gone(ref, why)
	}
}

// Request implements siptxn.Handler: the way of a client's request through the door.
func (p *Port) Request(tx *siptxn.Server, m *sip.Message) {
	a, known := p.recognise(tx.Flow(), m)
	if !known && m.Method() == sip.REGISTER {
		a, known = p.open(tx.Flow(), m)
	}
	if p.refusesUnregistered(a, m) || !known {
		_ = p.layer.Reply(tx, 403, "") // who has closed his connection needs no answer
		return
	}
	e := &edge{port: p, tx: tx.Ref()}
	tx.User = e
	in := hop.Inbound{Msg: m.Clone(), Proof: a.proof}
	p.admitRequest(in.Msg)
	e.exchange = p.door.ports.Table.Begin(p.shard, e, gm.Name, p.door.cfg.PCSCF, in, m)
}

// Ack implements siptxn.Handler.
func (p *Port) Ack(f siptransport.Flow, m *sip.Message) {
	a, known := p.recognise(f, m)
	if !known || p.refusesUnregistered(a, m) {
		m.Release()
		return
	}
	p.admitRequest(m)
	p.door.ports.Table.Begin(p.shard, &edge{port: p}, gm.Name, p.door.cfg.PCSCF,
		hop.Inbound{Msg: m, Proof: a.proof}, nil)
}

// Cancelled implements siptxn.Handler.
func (p *Port) Cancelled(tx *siptxn.Server) {
	if e, walking := tx.User.(*edge); walking && e.exchange != nil {
		e.exchange.Cancel()
	}
}

// Ended implements siptxn.Handler.
func (p *Port) Ended(*siptxn.Server) {}

// recognise returns the association a message came by. The time of a packet's association may be over while the
// sweeper has not come by yet: then it is unknown.
func (p *Port) recognise(f siptransport.Flow, m *sip.Message) (association, bool) {
	ref, known := p.paths[p.pathOf(f, m)]
	if !known {
		return association{}, false
	}
	return p.table.get(ref)
}

// open makes the association that a REGISTER asks for.
func (p *Port) open(f siptransport.Flow, m *sip.Message) (association, bool) {
	at := p.pathOf(f, m)
	if old, stale := p.paths[at]; stale {
		p.forget(old, gm.ReasonExpired)
	}
	a, opened := p.table.open(at, p.access, p.door.cfg.AwaitAuth)
	if opened {
		p.paths[at] = a.ref
	}
	return a, opened
}

// pathOf says what the association of a message is recognised by.
func (p *Port) pathOf(f siptransport.Flow, m *sip.Message) path {
	if !p.access.Shared {
		return path{flow: f}
	}
	claimed := m.Get(sip.HdrFrom)
	if m.Method() == sip.REGISTER {
		claimed = m.Get(sip.HdrTo)
	}
	user, _ := sip.PublicIdentity(claimed)
	return path{flow: f, user: user}
}

// refusesUnregistered is the enforcement point of "before registration only REGISTER" (TS 33.203 7.1,
// TS 24.229 5.2.6.3).
func (p *Port) refusesUnregistered(a association, m *sip.Message) bool {
	return m.Method() != sip.REGISTER && !a.proof.Registered() &&
		p.door.ports.Gate.Refuse(secure.CIAuthorizationProtectedPort, secure.Event{Reason: "not-registered",
			Source: sourceOf(a)})
}

func sourceOf(a association) netip.Addr { return a.path.flow.Peer.Addr() }

// edge is where a client's request entered: responses leave through it.
type edge struct {
	port     *Port
	tx       siptxn.ServerRef
	exchange *hop.Exchange
}

var _ hop.Retransmitter = (*edge)(nil)

// Reply implements hop.Edge: the way of a response through the door.
func (e *edge) Reply(x *hop.Exchange, r hop.Reply) {
	if e.port.leaksKeys(r) {
		r.Msg.Release()
		r = x.Respond(500, "")
	}
	tx := e.port.layer.Server(e.tx)
	if tx == nil {
		r.Msg.Release() // the client's transaction is over: it has given up
		return
	}
	e.port.dismiss(r.Msg)
	_ = e.port.layer.Respond(tx, r.Msg) // a closed connection ends the association by itself
}

// Again implements hop.Retransmitter.
func (e *edge) Again(toTag []byte) bool {
	tx := e.port.layer.Server(e.tx)
	return tx != nil && e.port.layer.Retransmit2xx(tx, toTag)
}

// leaksKeys is the last of the places that keep session keys in: a response with keys still beside it must not
// leave (TS 33.203 6.1.1). They could not be written into it anyway; something is wrong in the core.
func (p *Port) leaksKeys(r hop.Reply) bool {
	return r.HasKeys() && p.door.ports.Gate.Refuse(secure.CIConfidentialityKeyEgress,
		secure.Event{Reason: "keys-beside-response"})
}

// Serve implements hop.Function: the way of a request through the door to a client.
func (d *Door) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	a, alive := d.lookup(in.Client)
	if !alive {
		return x.Refuse(in, 430, "")
	}
	p := a.access.ports[x.Task().Shard().ID()]
	p.dismiss(in.Msg)
	flow := a.path.flow
	if p.own != nil {
		flow.Via = p.own // any socket of the profile reaches the client; ours is gathered with our own sends
	}
	return x.Transact(p.layer, flow, in, []byte(a.access.SentBy), p.admitResponse)
}

// foreign hands a response to the shard that its branch names: the one hand-over a packet may need.
func (g *accessPorts) foreign(place shard.Place, f siptransport.Flow, data []byte) {
	if int(place.Shard) < len(g.ports) {
		p := g.ports[place.Shard]
		p.shard.Exec(&handover{port: p, flow: f, data: append([]byte(nil), data...)})
	}
}

type handover struct {
	port *Port
	flow siptransport.Flow
	data []byte
}

// Run implements shard.Event.
func (h *handover) Run(*shard.Shard) { h.port.layer.Input(h.flow, h.data) }

const (
	sweepEvery = time.Second
	sweepShare = 30 // a sweep looks at one slot in so many, so each is seen twice a minute
)

// Watch starts the sweeper of expired associations. On the shard, once.
func (p *Port) Watch() { p.shard.Arm(&p.timer, sweepEvery, (*sweep)(p)) }

type sweep Port

// Run implements shard.Event.
func (s *sweep) Run(sh *shard.Shard) {
	p := (*Port)(s)
	gone, next := p.table.expired(p.swept, p.table.size()/sweepShare+1)
	p.swept = next
	for _, a := range gone {
		if a.access == p.access {
			p.forget(a.ref, gm.ReasonExpired)
		}
	}
	sh.Arm(&p.timer, sweepEvery, s)
}

// SendBy tells the port its own packet socket. Before the node runs; streams have none.
func (p *Port) SendBy(s siptransport.Sender) { p.own = s }

// Counters returns what the port's transaction layer counts. Safe for concurrent use.
func (p *Port) Counters() *siptxn.Counters { return p.layer.Counters() }
