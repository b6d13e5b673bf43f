package clientims

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
)

// Where budgets are asked, in the order of a datagram's way: before it is parsed (hears), before a transaction is made for what turned out to
// be a new request (affords), and for a REGISTER before anybody draws a vector for it (affordsVector). Retransmissions cost a datagram only.
// Refusals count, and nothing else: no memory, no answer over UDP.

// Admits is asked about each connection before anything is made for it (siptransport.Options.Admit): it is the budget of connections of an
// address. Safe for concurrent use.
func (d *Door) Admits(peer netip.AddrPort) bool {
	b, now := d.budgets, d.ports.Shards[0].Clock().Now()
	s := b.sourceOf(peer.Addr())
	if b.conns.take(&s, now).Granted() {
		return true
	}
	b.n.OverConnections.Add(1)
	refused := d.refusesSource("connections", peer.Addr())
	if refused {
		d.casts(peer.Addr(), s.address, byProof, now)
	}
	return !refused
}

// casts counts a refusal, and has the kernel drop an address that does not heed thousands of them. What may be forged costs an address no
// connections, and one that has proven itself lately nothing: somebody else may write it into his datagrams.
func (d *Door) casts(address netip.Addr, key budget.Key, by origin, now time.Duration) {
	b := d.budgets
	if d.ports.Drop == nil || b.patience[by].Take(key, now).Granted() || b.outcast[by].Has(key, now) {
		return
	}
	b.outcast[by].Add(key, now+b.outFor)
	b.n.Outcasts.Add(1)
	d.ports.Drop(address, by == byProof)
}

// forgeable reports whether what comes by f may have been written by anybody: a datagram outside security associations.
func (p *Port) forgeable(f siptransport.Flow) bool {
	return !f.Via.Reliable() && !(p.access.gm != nil && p.access.Protected)
}

// hears reports whether a datagram is parsed at all. Whoever asks for help is heard, as far as its own budget goes (affords).
func (p *Port) hears(f siptransport.Flow, data []byte) bool {
	b, now, from := p.door.budgets, p.shard.Now(), f.Peer.Addr()
	s := b.sourceOf(from)
	proven := b.proven.Has(s.address, now)
	if !proven {
		b.n.UnprovenPackets.Add(1)
		b.n.UnprovenOctets.Add(uint64(len(data)))
	}
	switch {
	case !b.datagrams.take(&s, now).Granted():
		if p.door.callsForHelp(data) {
			return true
		}
		b.n.OverDatagrams.Add(1)
		refused := p.door.refusesSource("datagrams", from)
		if refused && !proven {
			p.door.casts(from, s.address, byDatagram, now)
		}
		return !refused
	case !proven && !b.strangers.Take(now).Granted():
		if p.door.callsForHelp(data) || b.calling.Has(s.address, now) {
			return true
		}
		b.n.OverStrangers.Add(1)
		return !p.door.refusesUnproven("datagrams", from)
	}
	return true
}

// callsForHelp reports whether octets begin as an emergency call does. It looks at the first line alone.
func (d *Door) callsForHelp(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 256)], []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	uri, version, _ := bytes.Cut(rest, []byte(" "))
	return string(version) == "SIP/2.0" && string(method) != "REGISTER" && d.cfg.Emergency.Is(uri)
}

// affords reports whether a new request is within the budgets that it costs; else its answer, 0 if there is none to refuse it with.
func (p *Port) affords(f siptransport.Flow, m *sip.Message, a *association) (status int, more func(*sip.Message)) {
	b, now, from := p.door.budgets, p.shard.Now(), f.Peer.Addr()
	s := b.sourceOf(from)
	by := byProof
	if p.forgeable(f) {
		by = byDatagram
	}
	ok, over, reason := true, &b.n.OverRequests, "requests"
	switch {
	case p.door.isEmergency(m):
		ok = p.door.hasRoomToHelp() && b.help.take(&s, now).Granted() || a.proof.Registered() && b.clients.Take(b.client(a.ref), now).Granted()
		if over, reason = &b.n.OverEmergency, "emergency"; ok {
			b.calls(&s, a, now)
		}
	case a.proof.Registered() || a.emergency:
		ok, over, reason = b.clients.Take(b.client(a.ref), now).Granted(), &b.n.OverClient, "client"
	default:
		ok = b.requests[by].take(&s, now).Granted()
	}
	if !ok {
		over.Add(1)
		if p.door.refusesSource(reason, from) {
			return busy(f)
		}
	}
	if status, more = p.shapes(f, m, a); status != 0 {
		return status, more
	}
	if status, more = p.sheds(f, m, a); status != 0 || m.Method() != sip.REGISTER {
		return status, more
	}
	return p.affordsVector(f, m, a, &s, by)
}

// overAcks reports whether a client sends more ACKs than it could send requests. They belong to no transaction, so nobody has screened them, and each walks as far
// as its call does. One that is dropped is sent again: the called party repeats its 2xx until it has one (RFC 3261 13.3.1.4).
func (p *Port) overAcks(f siptransport.Flow, a *association) bool {
	b := p.door.budgets
	if b.clients.Take(b.keys.And(b.client(a.ref), []byte("ACK")), p.shard.Now()).Granted() {
		return false
	}
	b.n.OverClient.Add(1)
	return p.door.refusesSource("client", f.Peer.Addr())
}

// calls notes who calls for help: what belongs to the call is heard for a while.
func (b *budgets) calls(s *source, a *association, now time.Duration) {
	if a.proof.Registered() {
		b.calling.Add(b.userOf(a), now+helpLife)
		return
	}
	b.calling.Add(s.address, now+emergencyLife)
}

// busy is the answer to what is over a budget: 503 with Retry-After over a connection (RFC 3261 21.5.4). Over UDP there is none: the address
// may be another's, and a retransmission, which may find the budget filled up, would get a second answer to the same request.
func busy(f siptransport.Flow) (status int, more func(*sip.Message)) {
	if !f.Via.Reliable() {
		return siptxn.Silence, nil
	}
	return 503, retryLater
}

// busyRetry is what those are told who are over a budget, in seconds.
const busyRetry = "10"

func retryLater(r *sip.Message) { r.SetString(sip.HdrRetryAfter, busyRetry) }

// client is the key of a registered client.
func (b *budgets) client(ref secure.Association) budget.Key {
	var name [9]byte
	binary.LittleEndian.PutUint32(name[:], ref.Slot)
	binary.LittleEndian.PutUint16(name[4:], ref.Gen)
	binary.LittleEndian.PutUint16(name[6:], ref.Node)
	name[8] = ref.Shard
	return b.keys.Of(name[:])
}

// claims is whom a REGISTER names, as views of it.
type claims struct {
	impi  []byte // private identity; without one the public identity as it is written
	name  budget.Key
	nonce []byte
	// answers: it has a response or AUTS to nonce.
	answers, resync bool
}

// readClaims reads them. Nothing is proven by them.
func (b *budgets) readClaims(m *sip.Message) (c claims) {
	if x, err := m.Credentials(0); err == nil {
		c.impi, c.nonce, c.resync = x.Username, x.Nonce, len(x.AUTS) > 0
		c.answers = len(x.Response) > 0 || c.resync
	}
	if len(c.impi) == 0 {
		c.impi = m.Get(sip.HdrTo)
	}
	c.name = b.keys.Of(c.impi)
	return c
}

// affordsVector reports whether a REGISTER may draw an authentication vector (TS 33.203 6.1.1, 6.1.3). An answer to a challenge that has
// left draws none, once; whoever knows its nonce has received it. What others spend in a name is not what its owner spends: he has
// a budget within his registration, one at each address that he has proven, and only where he has proven nothing one with all who have not: when that is spent he is
// asked to show that he receives there.
func (p *Port) affordsVector(f siptransport.Flow, m *sip.Message, a *association, s *source, by origin) (status int, more func(*sip.Message)) {
	b, now := p.door.budgets, p.shard.Now()
	c := b.readClaims(m)
	p.screened.name = c.name
	answered := c.answers && b.challenged.Take(b.keys.And(c.name, c.nonce), now)
	if answered && !c.resync {
		return 0, nil
	}
	own := a.proof.Registered() && a.proof.IMPI() == string(c.impi)
	proven := own || answered || by == byProof || b.proven.Has(s.address, now) || p.receives(f.Peer.Addr(), m)
	who := b.drawer(&c, a, s, by, own, proven)
	reason, over := "", &b.n.OverChallenges
	v := budget.Granted
	if c.resync && answered {
		if v = b.resyncs.Take(who, now); v.Granted() {
			v = b.resynced.take(s, now)
		}
		if reason, over = "resync", &b.n.OverResyncs; !v.Granted() {
			b.challenged.Add(b.keys.And(c.name, c.nonce), now+p.door.cfg.AwaitAuth) // nobody has judged it: it is still what it was
		}
	}
	if v.Granted() {
		if v = b.vectors.Take(who, now); v.Granted() {
			v = b.drawn[by].take(s, now)
		}
		if !v.Granted() {
			reason, over = "challenge", &b.n.OverChallenges
		}
	}
	if !v.Granted() {
		if status, more = p.overVector(f, m, a, &c, v, reason, over); status != 0 && !proven && p.door.refusesUnproven("name", f.Peer.Addr()) {
			return p.asksForProof(f.Peer.Addr(), m)
		}
		return status, more
	}
	if !proven && !b.unproven.Take(now).Granted() {
		b.n.OverUnproven.Add(1)
		if p.door.refusesUnproven("challenges", f.Peer.Addr()) {
			return siptxn.Silence, nil
		}
	}
	return 0, nil
}

// drawer is who pays for a vector.
func (b *budgets) drawer(c *claims, a *association, s *source, by origin, own, proven bool) budget.Key {
	var where [9]byte
	switch {
	case own:
		binary.LittleEndian.PutUint64(where[:], uint64(b.client(a.ref)))
		where[8] = 'o'
	case proven:
		binary.LittleEndian.PutUint64(where[:], uint64(s.address))
		where[8] = byte(by)
	default:
		where[8] = 'u'
	}
	return b.keys.And(c.name, where[:])
}

// overVector refuses a REGISTER that may draw no vector. It is told of once until one is drawn again.
func (p *Port) overVector(f siptransport.Flow, m *sip.Message, a *association, c *claims, v budget.Verdict, reason string,
	over *atomic.Uint64) (status int, more func(*sip.Message)) {
	over.Add(1)
	subject := ""
	if v == budget.RefusedFirst {
		subject = string(c.impi)
		chapter := p.chapter(f, m, *a)
		p.tell(&chapter, nil, 0)
	}
	if !p.door.refusesVector(reason, subject, f.Peer.Addr()) {
		return 0, nil
	}
	return busy(f)
}

// noteChallenge notes the challenge that leaves for a REGISTER in a name, so that its answer is known.
func (p *Port) noteChallenge(name budget.Key, r hop.Reply) {
	if r.Status() != 401 {
		return
	}
	if c, err := sip.ParseChallenge(r.Msg.Get(sip.HdrWWWAuthenticate)); err == nil {
		b := p.door.budgets
		b.challenged.Add(b.keys.And(name, c.Nonce), p.table.now()+p.door.cfg.AwaitAuth)
	}
}

// mayAnswer is asked about each answer over UDP outside security associations: to an address that was never proven none is larger than its
// request, but a challenge and what belongs to an emergency call.
//
// The answer to a call for help may be larger, and is repeated until its caller says that he has it. One who never had called would get it eleven times: so
// together the copies are no more than three times what came.
func (p *Port) mayAnswer(to siptransport.Flow, request, copies int, answer []byte) bool {
	b, now, addr := p.door.budgets, p.shard.Now(), to.Peer.Addr()
	at := b.keys.Source(addr)
	if b.proven.Has(at, now) {
		return true
	}
	switch {
	case bytes.HasPrefix(answer, []byte("SIP/2.0 401 ")):
		b.n.UnprovenChallenge.Add(1)
	case copies > 0 && (copies+1)*len(answer) > 3*request, (copies > 0 || len(answer) > request) && !b.calling.Has(at, now):
		b.n.TooLarge.Add(1)
		if p.door.refusesUnproven("answer-too-large", addr) {
			return false
		}
	}
	b.n.UnprovenAnswers.Add(1)
	b.n.UnprovenAnswered.Add(uint64(len(answer)))
	return true
}

// Sheds is the enforcement point of deadlines and of connections per source (siptransport.Options.Shed). Safe for concurrent use.
func (d *Door) Sheds(peer netip.AddrPort, why error) bool {
	return d.ports.Gate.Refuse(secure.CIAvailabilityDeadline, secure.Event{Reason: siptransport.ShedReason(why), Source: peer.Addr().Unmap()})
}

// provenAt notes where the client of an association is.
func (d *Door) provenAt(a association, now time.Duration) { d.budgets.prove(a.flow.Peer.Addr(), now) }
