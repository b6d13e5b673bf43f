package diameter

import (
	"bytes"
	"sync/atomic"
)

// Handler serves the requests of an application. Serve is called on the Node's shard, must not block, and may keep nothing of
// the request's octets; the answer may come later, from anywhere. A request that came this far is well-formed, fits its
// grammar, and its sender may send it.
type Handler interface{ Serve(r *Request) }

// Request is a request to be answered once.
type Request struct {
	Message
	Peer   string // the configured host of the peer that sent it, not of the one that made it
	Secure bool   // it came over mutual TLS with the peer's name in the certificate
	Reply  Reply
}

// Refused refuses a request in which an AVP has a value that is another peer's to give: with DIAMETER_INVALID_AVP_VALUE and the AVP (RFC 6733 7.1.5). It
// reports whether the request is answered; a laboratory may have switched the control off. On the Node's shard.
func (r *Request) Refused(id ID) bool {
	n := r.Reply.conn.n
	a, _ := r.Find(id)
	if !n.refuse(Refusal{Reason: ReasonValue, Peer: r.Peer, Command: r.Command(), AVP: id}) {
		return false
	}
	r.Reply.Send(AppendError(nil, r.Message, n.cfg.Identities, Fault{ResultInvalidAVPValue, failed(&a)}))
	return true
}

// Reply is the way back of a request. Free to copy; used once.
type Reply struct {
	conn      *conn
	hopByHop  uint32
	endToEnd  uint32
	duplicate int32
	dupKey    dupKey
	once      *atomic.Bool
}

// Send sends the answer: a whole message, whose identifiers are filled in. It keeps nothing of it. Any goroutine; a second call
// does nothing.
func (r Reply) Send(answer []byte) {
	if r.conn == nil {
		return
	}
	n := r.conn.n
	if r.once.Swap(true) {
		n.n.AnswersWithoutRequest.Add(1)
		return
	}
	r.conn.serving.Add(-1)
	setEndToEnd(answer, r.endToEnd)
	again, waits := n.dup.end(&r, answer)
	r.write(answer)
	if waits {
		again.write(answer)
	}
}

// write puts the answer on its connection, if that still stands.
func (r Reply) write(answer []byte) {
	n := r.conn.n
	setHopByHop(answer, r.hopByHop)
	n.n.AnswersOut.Add(1)
	if !r.conn.out.append(answer) {
		n.n.ClosedSlow.Add(1)
		r.conn.hangUp() // off the shard perhaps: the reader tells it
	}
}

// serve judges a request and gives it to its application (RFC 6733 6.1.4 and 7.1).
func (c *conn) serve(m Message) {
	f := c.judge(m)
	if f != nil {
		c.send(AppendError(nil, m, c.n.cfg.Identities, *f))
		return
	}
	if c.serving.Load() >= int64(c.n.cfg.MaxServing) {
		c.n.n.TooBusy.Add(1)
		c.send(AppendError(nil, m, c.n.cfg.Identities, Fault{Result: ResultTooBusy}))
		return
	}
	reply := Reply{conn: c, hopByHop: m.HopByHop(), endToEnd: m.EndToEnd(), once: new(atomic.Bool)}
	known, wait := c.n.dup.begin(c.n.sh.Now(), m.Identity(OriginHost), &reply, m.Flags()&FlagRetransmitted != 0)
	if known != nil || wait {
		c.n.n.Duplicates.Add(1)
		if known != nil {
			reply.write(known)
		}
		return
	}
	c.serving.Add(1)
	c.n.apps[m.Application()].Handler.Serve(&Request{Message: m, Peer: c.peer.cfg.Host, Secure: c.secure, Reply: reply})
}

// judge returns why a request is refused before its application sees it. Who may ask comes first: a stranger to a command does
// not learn whether it exists.
func (c *conn) judge(m Message) *Fault {
	count, role := c.n.n, &c.peer.cfg.Role
	if m.Flags()&FlagError != 0 {
		count.Malformed.Add(1)
		return &Fault{Result: ResultInvalidHdrBits}
	}
	if !role.may(m.Application(), m.Command()) &&
		c.n.refuse(Refusal{Reason: ReasonCommand, Peer: c.peer.cfg.Host, Command: m.Command()}) {
		return &Fault{Result: ResultCommandUnsupported}
	}
	app := c.n.apps[m.Application()]
	if app == nil || !c.relay && !c.apps[m.Application()] {
		count.Unsupported.Add(1)
		return &Fault{Result: ResultApplicationUnsupp}
	}
	grammar, ok := app.Accepts[m.Command()]
	if !ok {
		count.Unsupported.Add(1)
		return &Fault{Result: ResultCommandUnsupported}
	}
	if f := m.Check(grammar); f != nil {
		count.Malformed.Add(1)
		return f
	}
	if f := c.judgeRoute(m); f != nil {
		count.Unsupported.Add(1)
		return f
	}
	return c.judgeSender(m, role)
}

// judgeRoute says whether the request is for us: we relay nothing (RFC 6733 6.1.4, 6.1.3).
func (c *conn) judgeRoute(m Message) *Fault {
	for a := range m.AVPs().All() {
		switch a.ID() {
		case DestinationRealm:
			if !equalFold(a.Data, c.n.cfg.Realm) {
				return &Fault{Result: ResultRealmNotServed}
			}
		case DestinationHost:
			if !equalFold(a.Data, c.n.cfg.Host) {
				return &Fault{Result: ResultUnableToDeliver}
			}
		case RouteRecord:
			if equalFold(a.Data, c.n.cfg.Host) {
				return &Fault{Result: ResultLoopDetected}
			}
		}
	}
	return nil
}

// judgeSender holds the request against the peer's name and role.
func (c *conn) judgeSender(m Message, role *Role) *Fault {
	a, _ := m.Find(OriginHost)
	if !c.peer.cfg.Agent && !bytes.EqualFold(a.Data, []byte(c.peer.cfg.Host)) &&
		c.n.refuse(Refusal{Reason: ReasonOriginHost, Peer: c.peer.cfg.Host, Claimed: string(a.Data), Command: m.Command()}) {
		return &Fault{ResultInvalidAVPValue, failed(&a)}
	}
	if role.AVPs == nil {
		return nil
	}
	for a := range m.AVPs().All() {
		id := a.ID()
		if id != Unknown && !role.AVPs[id] &&
			c.n.refuse(Refusal{Reason: ReasonAVP, Peer: c.peer.cfg.Host, Command: m.Command(), AVP: id}) {
			return &Fault{ResultAVPNotAllowed, failed(&a)}
		}
	}
	return nil
}
