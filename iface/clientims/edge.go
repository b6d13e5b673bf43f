package clientims

import (
	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// leave is the way of a response through the door (hop.Leave).
func (p *Port) leave(x *hop.Exchange, r hop.Reply) hop.Reply {
	if p.leaksKeys(r) {
		r.Msg.Release()
		r = x.Respond(500, "")
	}
	p.dismiss(r.Msg)
	return r
}

// leaveOpened is leave for the answer to the REGISTER that opened an association. If that is neither a challenge nor a success
// nothing will come of it, and it ends: else a flood of REGISTERs from nobody would fill the door for minutes. If a later one has been challenged there
// meanwhile, it goes on for that.
func (p *Port) leaveOpened(ref secure.Association) hop.Leave {
	return func(x *hop.Exchange, r hop.Reply) hop.Reply {
		r = p.leave(x, r)
		if r.Final() && (r.Status() != 401 || r.IsVoid()) && r.Status()/100 != 2 && (r.IsVoid() || !p.door.goesOn(ref)) {
			p.forget(ref, gm.ReasonExpired)
		}
		return r
	}
}

// goesOn reports whether there are security associations that ref stands on.
func (d *Door) goesOn(ref secure.Association) bool {
	a, known := d.lookup(ref)
	return known && a.sa != nil && a.sa.standing()
}

// leaveFresh is leave for the answer to a REGISTER that came over the set s of the authentication under way. If that has failed both
// sides give the set up (TS 33.203 7.3.1.1), once the answer has been there.
func (p *Port) leaveFresh(s *set) hop.Leave {
	return func(x *hop.Exchange, r hop.Reply) hop.Reply {
		r = p.leave(x, r)
		if r.Final() && r.Status()/100 != 2 {
			p.door.tableOf(s.owner).failed(s.owner, s, p.access.gm.oldFor())
		}
		return r
	}
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
	if p.large != nil && siptxn.MustStream(in.Msg.Size()+siptxn.ViaRoom, 0) {
		return p.large.send(x, p, a, in)
	}
	return p.transact(x, a, in)
}

// transact sends a request over the flow of its association.
func (p *Port) transact(x *hop.Exchange, a association, in hop.Inbound) hop.Reply {
	flow := a.flow
	if a.sa != nil {
		return p.transactSealed(x, a, in)
	}
	if p.own != nil {
		flow.Via = p.own // any socket of the profile reaches the client; ours is gathered with our own sends
	}
	return x.Transact(p.layer, flow, in, []byte(a.access.SentBy), p.admitsResponse(&a))
}

// transactSealed sends a request over the associations of its client: as a datagram, or over a connection.
func (p *Port) transactSealed(x *hop.Exchange, a association, in hop.Inbound) hop.Reply {
	s := a.sa.route(p.table.now())
	if s == nil {
		return x.Refuse(in, 430, "")
	}
	if g := a.access.gm; g.streams.dial != nil && g.wantsStream(a.sa, in.Msg, p.table.now()) {
		return p.overStream(x, a, s, in)
	}
	return x.Transact(p.layer, a.sa.flowBy(s), in, []byte(a.access.SentBy), p.admitsResponse(&a))
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
