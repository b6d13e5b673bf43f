package siptxn

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strconv"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// receiveRequest finds out what a request is and acts. It takes over m.
func (l *Layer) receiveRequest(f siptransport.Flow, m *sip.Message) {
	via, err := m.TopVia()
	legacy := err != nil || !via.HasCookie()
	var hash uint64
	var key []byte
	var prefix int
	if !legacy {
		key, prefix = l.key(f, m, &via)
		hash = maphash.Bytes(l.seed, key[:prefix])
		// A retransmission is found before anything is looked at twice.
		if l.absorb(f, m, hash, key, prefix) {
			return
		}
	}
	reply := replyFlow(f, &via)
	if reject := sip.Validate(m); reject != nil {
		l.n.Malformed.Add(1)
		if l.cfg.Unsound != nil {
			l.cfg.Unsound(f, reject)
		}
		l.refuse(reply, f, m, key[:prefix], stateless{status: reject.Status, reason: reject.Reason})
		return
	}
	switch {
	case legacy:
		// RFC 3261 17.2.3 would match by many fields instead, for clients of RFC 2543. Those are gone; what still leaves the
		// cookie out is a mistake or an attack, and an ACK that matches so loosely could end another's transaction.
		l.n.Legacy.Add(1)
		l.refuse(reply, f, m, key[:prefix], stateless{status: 400, reason: "Branch Without Magic Cookie"})
	case m.Method() == sip.ACK:
		l.strayAck(f, m, key[:prefix])
	case m.Method() == sip.CANCEL:
		l.cancel(f, reply, m, hash, key, prefix)
	default:
		l.begin(f, reply, m, hash, key, prefix)
	}
}

// key builds what identifies the server transaction of a request: branch, sent-by (RFC 3261 17.2.3), and the flow it came by, so that who
// merely saw a Via cannot cancel, acknowledge or read the answer of another's transaction; then the method, after prefix octets. It is
// valid until the next use of l.via.
func (l *Layer) key(f siptransport.Flow, m *sip.Message, via *sip.Via) (key []byte, prefix int) {
	b := append(l.via[:0], via.Branch...)
	b = append(b, 0)
	for _, c := range via.Host {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, via.Port)
	addr := f.Peer.Addr().As16() // the zero address of a peer without IP is as good as any
	b = append(b, addr[:]...)
	if !l.cfg.AnyPort {
		b = binary.BigEndian.AppendUint16(b, f.Peer.Port())
	}
	prefix = len(b)
	l.via = append(b, m.MethodName()...)
	return l.via, prefix
}

// absorb deals with what belongs to a transaction that exists: retransmissions, and the ACK for a failure. It reports whether it took
// over m.
func (l *Layer) absorb(f siptransport.Flow, m *sip.Message, hash uint64, key []byte, prefix int) bool {
	ack := m.Method() == sip.ACK
	tx := l.lookup(hash, key[:prefix], func(tx *Server) bool {
		return ack && tx.method == sip.INVITE || bytes.Equal(tx.key[tx.prefix:], key[prefix:])
	})
	switch {
	case tx == nil && ack:
		return false
	case tx == nil:
		if !f.Via.Reliable() && l.absorbKept(key, m.Received()) {
			m.Release()
			return true
		}
		return false
	case ack && tx.state == stateAccepted:
		return false // RFC 6026 7.1: to the user, after validation
	case ack:
		l.n.AcksAbsorbed.Add(1)
		if tx.state == stateCompleted {
			tx.acknowledge()
		}
	default:
		l.n.Retransmissions.Add(1)
		tx.again(m.Received())
	}
	m.Release()
	return true
}

// again answers a request of so many octets that has come again.
func (tx *Server) again(received int) {
	switch tx.state {
	case stateProceeding, stateCompleted:
		tx.repeat(received)
	case stateTrying:
		if tx.method == sip.INVITE {
			_ = tx.l.Reply(tx, 100, "") // the sender waits already; a closed flow shows again with the final response
		}
	}
}

// absorbKept answers the retransmission of a request whose transaction is over.
func (l *Layer) absorbKept(key []byte, received int) bool {
	answer, to, ok := l.kept.find(l.sh.Now(), maphash.Bytes(l.seed, key), key)
	if ok {
		l.n.Retransmissions.Add(1)
		l.n.AnswersRepeated.Add(1)
		l.answer(to, received, answer)
	}
	return ok
}

// begin starts the transaction of a new request, if the handler wants it and there is room for it.
func (l *Layer) begin(f, reply siptransport.Flow, m *sip.Message, hash uint64, key []byte, prefix int) {
	if l.screener != nil {
		if status, more := l.screener.Screen(f, m); status != 0 {
			l.n.Screened.Add(1)
			l.refuse(reply, f, m, key[:prefix], stateless{status: status, more: more, owed: f.Via.Reliable(), late: status == 503 && l.cfg.Patience != nil})
			return
		}
	}
	source := sourceOf(f.Peer.Addr())
	over := &l.n.OverServers
	switch {
	case l.servers.Len() >= l.cfg.Limits.Servers:
	case l.pending[source] >= l.cfg.Limits.PerSource:
		over = &l.n.OverSource
	default:
		tx := l.newServer(f, reply, m, hash, key, prefix)
		l.setReceived(f, m)
		l.n.Requests.Add(1)
		l.cfg.Handler.Request(tx, m)
		return
	}
	over.Add(1)
	if l.cfg.Limits.RetryAfter < 0 {
		m.Release()
		return
	}
	l.refuse(reply, f, m, key[:prefix], stateless{status: 503, retryAfter: l.cfg.Limits.RetryAfter})
}

// setReceived notes the source in the topmost Via (RFC 3261 18.2.1, RFC 3581 4). A Via that cannot be read is left alone: the answer to
// it goes by the flow, not by the Via.
func (l *Layer) setReceived(f siptransport.Flow, m *sip.Message) {
	addr := f.Peer.Addr()
	if !addr.IsValid() {
		return
	}
	var text [48]byte
	_ = m.SetReceived(string(addr.WithZone("").AppendTo(text[:0])), f.Peer.Port())
}

// strayAck deals with an ACK that belongs to no transaction: it is for a 2xx, or for an answer that was sent without a transaction.
func (l *Layer) strayAck(f siptransport.Flow, m *sip.Message, prefix []byte) {
	var tag [shard.TokenSize]byte
	if to := m.ToTag(); len(to) == len(tag) && bytes.Equal(to, l.appendTag(tag[:0], prefix)) {
		l.n.AcksAbsorbed.Add(1)
		m.Release()
		return
	}
	l.n.Acks.Add(1)
	l.cfg.Handler.Ack(f, m)
}

// cancel deals with a CANCEL (RFC 3261 9.2). It needs no transaction of its own: what was answered is kept as it is for other requests, since
// the INVITE may be forgotten before the last copy of its CANCEL comes.
func (l *Layer) cancel(f, reply siptransport.Flow, m *sip.Message, hash uint64, key []byte, prefix int) {
	tx := l.lookup(hash, key[:prefix], func(tx *Server) bool { return tx.method == sip.INVITE })
	if tx == nil {
		l.n.CancelsUnmatched.Add(1)
		l.refuse(reply, f, m, key[:prefix], stateless{status: 481})
		return
	}
	l.n.Cancels.Add(1)
	tell := !tx.cancelled && !tx.Final()
	if tx.cancelled = tx.cancelled || tell; tell {
		tx.why = reasonOf(m)
	}
	ref := tx.Ref()
	r := l.response(f, m, key[:prefix], stateless{status: 200})
	if f.Via.Reliable() {
		l.send(reply, l.emit(r))
	} else {
		l.answer(reply, m.Received(), l.keep(key, reply, tx.timers.J, r))
	}
	r.Release()
	m.Release()
	if tx = l.Server(ref); tell && tx != nil {
		l.cfg.Handler.Cancelled(tx)
	}
}

// longestReason is more octets than a reason has that a network element gives.
const longestReason = 256

// reasonOf is the first Reason of a CANCEL, "" for one that is too long to be kept.
func reasonOf(m *sip.Message) string {
	if v := m.Get(sip.HdrReason); len(v) <= longestReason {
		return string(v)
	}
	return ""
}

// stateless is what is answered without a transaction.
type stateless struct {
	status     int    // 0 or Silence: nothing
	reason     string // "" is that of the status
	retryAfter int    // seconds
	more       func(*sip.Message)
	owed       bool // it is sent whatever the budget says
	late       bool // and may wait for others
}

// refuse answers a request without a transaction, within the budget, or drops it: an ACK has no answer (RFC 3261 17.1.1.3). It takes
// over m.
func (l *Layer) refuse(reply, f siptransport.Flow, m *sip.Message, prefix []byte, a stateless) {
	if m.Method() == sip.ACK || a.status <= 0 {
		m.Release()
		return
	}
	if !a.owed && !l.budget.take(l.sh.Now()) {
		l.n.OverBudget.Add(1)
		m.Release()
		return
	}
	l.n.Stateless.Add(1)
	l.reply(reply, f, m, prefix, a)
}

// reply answers m without a transaction. It takes over m.
func (l *Layer) reply(reply, f siptransport.Flow, m *sip.Message, prefix []byte, a stateless) {
	r := l.response(f, m, prefix, a)
	if a.late && f.Via.Reliable() {
		if err := reply.SendLater(l.emit(r), l.cfg.Patience()); err != nil {
			l.n.SendErrors.Add(1)
		}
	} else {
		l.answer(reply, m.Received(), l.emit(r))
	}
	r.Release()
	m.Release()
}

// response makes the answer to a request that has no transaction. The tag is the one that a transaction would have.
func (l *Layer) response(f siptransport.Flow, m *sip.Message, prefix []byte, a stateless) *sip.Message {
	l.setReceived(f, m)
	r := l.cfg.Pool.NewResponse(m, a.status, a.reason)
	l.report(f, l.offered(m), r)
	var tag [shard.TokenSize]byte
	r.SetToTag(string(l.appendTag(tag[:0], prefix)))
	if a.retryAfter > 0 {
		var digits [20]byte
		r.Set(sip.HdrRetryAfter, strconv.AppendInt(digits[:0], int64(a.retryAfter), 10))
	}
	if a.more != nil {
		a.more(r)
	}
	return r
}
