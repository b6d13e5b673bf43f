package clientims

import (
	"crypto/tls"
	"net/netip"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/overload"
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
	load   *overload.Controller // of the shard
	queue  *overload.Queue      // what comes by security associations, before the shard
	turned time.Duration        // until when repetitions of refused datagrams may come
	turns  uint32               // refusals, for what they are told
	paths  *Paths
	flows  map[siptransport.Flow][]secure.Association // of stream connections: they end with them
	own    siptransport.Sender                        // this shard's packet socket of the profile, nil for streams
	large  *streams                                   // where requests go that are too large for a datagram, nil for streams

	leaves hop.Leave // leave, bound once

	timer shard.Timer
	swept int // the slot the sweeper goes on from

	screened screened // what Screen found, for the Request that follows at once
}

// screened is whom a request came from, and with ipsec-3gpp what a REGISTER offers.
type screened struct {
	association association
	known       bool
	offer       *offer
	chapter     Chapter
	name        budget.Key // that a REGISTER claims
}

var (
	_ siptransport.Receiver = (*Port)(nil)
	_ siptxn.Handler        = (*Port)(nil)
	_ siptxn.Screener       = (*Port)(nil)
)

// Packet implements siptransport.Receiver.
func (p *Port) Packet(f siptransport.Flow, data []byte) {
	if p.forgeable(f) && !p.hears(f, data) || p.repliesInClear(f, data) {
		return
	}
	p.layer.Input(f, data)
}

// Opened implements siptransport.Receiver. A connection alone proves nothing and gets no association.
func (p *Port) Opened(f siptransport.Flow, _ *tls.ConnectionState) {
	if p.access.gm != nil {
		p.access.gm.streams.opened(f)
	}
}

// Closed implements siptransport.Receiver: what was proven about a connection ends with it.
func (p *Port) Closed(f siptransport.Flow, _ error) {
	p.layer.FlowClosed(f)
	for _, other := range p.access.ports {
		if other != p { // requests from another shard wait on it as well
			other.shard.Post(shard.EventFunc(func(*shard.Shard) { other.layer.FlowClosed(f) }))
		}
	}
	p.large.closed(f)
	if p.access.gm != nil {
		if deaf, by := p.access.gm.streams.closed(f); !deaf.IsZero() {
			p.door.tableOf(deaf).deaf(deaf, by)
		}
	}
	for _, ref := range p.flows[f] {
		if p.door.tableOf(ref).endsWith(ref, f) {
			p.forget(ref, gm.ReasonClosed)
		}
	}
	delete(p.flows, f)
}

// forget ends an association. In a lab profile it may be one of another shard.
func (p *Port) forget(ref secure.Association, why gm.Reason) {
	if a, known := p.door.tableOf(ref).remove(ref); known {
		p.paths.drop(a.path, ref)
		if a.sa != nil {
			a.sa.dropAll()
			p.door.users.forget(a.sa.user, ref)
		}
		p.door.ports.Push.Gone(ref, why)
	}
}

// Screen implements siptxn.Screener: a stranger's request is answered, and nothing is kept of it.
func (p *Port) Screen(f siptransport.Flow, m *sip.Message) (status int, more func(*sip.Message)) {
	status, more = p.screen(f, m)
	if watch := p.door.ports.Watch; watch != nil && status != 0 {
		watch.Turned(p.access.Profile, p.sealed(), f.Peer.Addr().Unmap(), m, status)
	}
	return status, more
}

func (p *Port) screen(f siptransport.Flow, m *sip.Message) (status int, more func(*sip.Message)) {
	a, known := p.recognise(f, m)
	p.screened = screened{association: a, known: known}
	if !known && p.access.gm != nil && p.access.Protected {
		return siptxn.Silence, nil // its associations went while it was on its way
	}
	if status, more = p.affords(f, m, &a); status != 0 {
		return status, more
	}
	if p.refusesUnregistered(a, m) {
		return p.unwelcome(), nil
	}
	if p.access.gm != nil {
		return p.agrees(f, m, a)
	}
	if m.Method() == sip.REGISTER {
		p.screened.chapter = p.chapter(f, m, a)
		p.tell(&p.screened.chapter, nil, 0)
	}
	return 0, nil
}

// unwelcome is the answer to a request of a client that is not registered. On an unprotected port beside protected ones there is none
// (TS 33.203 7.1).
func (p *Port) unwelcome() int {
	if p.access.gm != nil && !p.access.Protected {
		return siptxn.Silence
	}
	return 403
}

// Request implements siptxn.Handler: the way of a client's request through the door.
func (p *Port) Request(tx *siptxn.Server, m *sip.Message) {
	if p.door.turnsAway(m) {
		p.turnAway(tx, m)
		return
	}
	a, known, offered := p.screened.association, p.screened.known, p.screened.offer
	leave := p.leaves
	emergency := p.door.isEmergency(m)
	if known && m.Method() == sip.REGISTER && p.access.Shared && a.flow != tx.Flow() {
		known = p.move(a.ref, tx.Flow())
	}
	if !known { // a REGISTER or an emergency; Screen has answered everybody else, unless a lab let him pass
		if a, known = p.open(tx.Flow(), m, offered); known {
			leave = p.leaveOpened(a.ref)
		}
	}
	if !known {
		_ = p.layer.Reply(tx, 403, "") // who has closed his connection needs no answer
		return
	}
	if offered != nil {
		p.door.tableOf(a.ref).offered(a.ref, p.access.gm, offered)
	}
	if m.Method() == sip.REGISTER && a.sa != nil && a.proof.Generation() != secure.GenerationNone {
		p.door.tableOf(a.ref).cameBy(a.ref, tx.Flow().Via.Reliable())
	}
	if a.proof.Generation() == secure.GenerationNew {
		leave = p.leaveFresh(p.setOf(tx.Flow()))
	}
	if m.Method() == sip.REGISTER {
		leave = p.leaveRegister(leave, &p.screened.chapter, p.screened.name, a.ref)
	}
	answered := p.door.walked
	if emergency {
		p.door.tableOf(a.ref).answer(a.ref, m.Method())
	}
	if emergency && !a.proof.Registered() {
		answered = p.door.helps()
	}
	p.door.walking.Add(1)
	in := hop.Inbound{Msg: m.Clone(), Proof: a.proof}
	p.admitRequest(in.Msg)
	if m.Method() == sip.BYE {
		p.lighten(in.Msg, p.door.budgets.userOf(&a))
	}
	p.door.ports.Table.Enter(p.shard, p.layer, tx, m, gm.Name, p.door.cfg.PCSCF, in, leave, answered)
}

// turnAway answers 503 to a request that comes too late (RFC 3261 21.5.4).
func (p *Port) turnAway(tx *siptxn.Server, m *sip.Message) {
	r := p.door.ports.Pool.NewResponse(m, 503, "")
	r.SetString(sip.HdrRetryAfter, drainRetry)
	var tag [64]byte
	r.SetToTag(string(tx.AppendTag(tag[:0])))
	_ = p.layer.Respond(tx, r) // who has closed his connection needs no answer
}

// Ack implements siptxn.Handler.
func (p *Port) Ack(f siptransport.Flow, m *sip.Message) {
	a, known := p.recognise(f, m)
	if !known || p.refusesUnregistered(a, m) || p.overAcks(f, &a) {
		m.Release()
		return
	}
	p.admitRequest(m)
	p.lighten(m, p.door.budgets.userOf(&a))
	p.door.ports.Table.Pass(p.shard, gm.Name, p.door.cfg.PCSCF, hop.Inbound{Msg: m, Proof: a.proof})
}

// Cancelled implements siptxn.Handler. What a client says of its reasons goes no further: nobody acts on it.
func (p *Port) Cancelled(tx *siptxn.Server) { hop.Cancelled(tx, "") }

// Ended implements siptxn.Handler.
func (p *Port) Ended(*siptxn.Server) {}

// move notes that a lab client registers from another port, or over another transport, than before. It is false if ref has ended in this
// moment, with the flow before: then the client is new.
func (p *Port) move(ref secure.Association, to siptransport.Flow) bool {
	if !p.door.tableOf(ref).moves(ref, to, p.access) {
		return false
	}
	if to.Via.Reliable() {
		p.flows[to] = append(p.flows[to], ref)
	}
	return true
}

// recognise returns the association a message came by. The time of a packet's association may be over while the
// sweeper has not come by yet: then it is unknown.
func (p *Port) recognise(f siptransport.Flow, m *sip.Message) (association, bool) {
	if s := p.setOf(f); s != nil {
		return p.recogniseSealed(s)
	}
	ref, known := p.paths.get(p.pathOf(f, m))
	if !known {
		return association{}, false
	}
	return p.door.lookup(ref)
}

// open makes the association that a REGISTER asks for, in whose name it offers security associations.
func (p *Port) open(f siptransport.Flow, m *sip.Message, offered *offer) (association, bool) {
	at, claimed := p.pathOf(f, m), ""
	if offered != nil {
		claimed = offered.user.impi
	}
	if old, stale := p.paths.get(at); stale {
		p.forget(old, gm.ReasonExpired)
	}
	a, opened := p.table.open(at, f, p.access, claimed, p.door.cfg.AwaitAuth)
	if opened {
		p.paths.put(at, a.ref)
		if f.Via.Reliable() {
			p.flows[f] = append(p.flows[f], a.ref)
		}
	}
	return a, opened
}

// refusesUnregistered reports whether a request comes too early: before registration there are REGISTER and emergency (TS 33.203 7.1,
// TS 24.229 5.2.6.3, 5.2.10).
func (p *Port) refusesUnregistered(a association, m *sip.Message) bool {
	return m.Method() != sip.REGISTER && (!a.proof.Registered() || a.proof.Generation() == secure.GenerationNew) && !p.door.maySpeak(a, m) &&
		p.door.refusesOutside("not-registered", sourceOf(a))
}

func sourceOf(a association) netip.Addr { return a.flow.Peer.Addr() }

// SendBy tells the port its own packet socket. Before the node runs; streams have none.
func (p *Port) SendBy(s siptransport.Sender) { p.own = s }

// Shard is the port's shard.
func (p *Port) Shard() *shard.Shard { return p.shard }

// Counters returns what the port's transaction layer counts. Safe for concurrent use.
func (p *Port) Counters() *siptxn.Counters { return p.layer.Counters() }
