package siptxn

import (
	"bytes"
	"hash/maphash"
	"math"
	"net/netip"
	"time"

	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// state is where a transaction is. The names are those of RFC 3261 17 and RFC 6026; a server transaction starts in stateTrying also for
// an INVITE (nothing was sent yet), where the RFC has Proceeding from the start.
type state uint8

const (
	stateFree state = iota
	stateTrying
	stateCalling
	stateProceeding
	stateCompleted
	stateConfirmed
	stateAccepted
	stateEnded
)

// Server is a server transaction. It belongs to its layer and lives until Handler.Ended.
type Server struct {
	// User is the transaction user's own; the layer clears it at the end.
	User any

	l    *Layer
	slot uint32
	gen  uint16

	state     state
	method    sip.Method
	reliable  bool
	cancelled bool
	why       string // what the CANCEL said
	counted   bool   // in Layer.pending
	offered   overload.Algorithms
	copies    uint8  // of the failure that have left
	received  uint16 // octets of the request

	hash   uint64
	next   *Server // in the chain of hash
	key    []byte  // branch, sent-by, source; then the method
	prefix int     // octets of key without the method
	source netip.Addr
	flow   siptransport.Flow // where the request came from
	reply  siptransport.Flow // where answers go
	req    *sip.Message      // nil after the final response
	last   []byte            // the last response as it was sent
	tag    uint64            // hash of the To tag of a 2xx in last

	timers   *Timers
	timer    shard.Timer
	deadline time.Duration // when the state ends by itself
	resend   time.Duration // when the response is sent again, or 100 is due; 0 = never
	interval time.Duration // until the resend after the next
}

// Request is the request, nil after the final response. It is lent: Clone it to keep it.
func (tx *Server) Request() *sip.Message { return tx.req }

// Flow is where the request came from: what its sender may be recognised by. Responses go there as well, except that over datagrams
// without rport the port is that of the Via, which is only the sender's word.
func (tx *Server) Flow() siptransport.Flow { return tx.flow }

// Method is the method of the request.
func (tx *Server) Method() sip.Method { return tx.method }

// Cancelled reports whether a CANCEL has matched.
func (tx *Server) Cancelled() bool { return tx.cancelled }

// CancelReason is why a CANCEL was sent, as its sender says: its first Reason (RFC 3326), "" if there was none or a long one.
func (tx *Server) CancelReason() string { return tx.why }

// Final reports whether the final response was sent.
func (tx *Server) Final() bool { return tx.state != stateTrying && tx.state != stateProceeding }

// AppendTag appends the tag that the layer uses for this transaction, in Reply and in the answer to a CANCEL (RFC 3261 9.2: the two
// should be the same).
func (tx *Server) AppendTag(dst []byte) []byte { return tx.l.appendTag(dst, tx.key[:tx.prefix]) }

// Ref is a name of tx that may outlive it.
func (tx *Server) Ref() ServerRef { return ServerRef{tx.slot, tx.gen} }

// ServerRef names a server transaction of one layer; its zero value names none.
type ServerRef struct {
	slot uint32
	gen  uint16
}

// Server returns the transaction named by r, nil if it has ended.
func (l *Layer) Server(r ServerRef) *Server {
	tx, ok := l.servers.Get(r.slot, r.gen)
	if !ok || tx.state == stateEnded {
		return nil
	}
	return tx
}

// newServer makes the transaction of a request that was found to be new and good. m is the request, key its key.
func (l *Layer) newServer(f, reply siptransport.Flow, m *sip.Message, hash uint64, key []byte, prefix int) *Server {
	tx, slot, gen, ok := l.servers.Take()
	if !ok {
		return nil
	}
	timers := l.timers(f)
	*tx = Server{l: l, slot: slot, gen: gen, state: stateTrying, method: m.Method(), reliable: f.Via.Reliable(), counted: true,
		received: uint16(min(m.Received(), math.MaxUint16)), offered: l.offered(m),
		hash: hash, next: l.index[hash], key: append(l.bufs.get(len(key)), key...), prefix: prefix,
		source: sourceOf(f.Peer.Addr()), flow: f, reply: reply, req: m, timers: timers}
	l.index[hash] = tx
	l.pending[tx.source]++
	l.n.Servers.Add(1)
	now := l.sh.Now()
	if tx.method == sip.INVITE {
		tx.deadline, tx.resend = now+timers.Abandon, now+timers.Trying
	} else {
		// RFC 4320 4.2: after timer F nobody waits for the answer any more.
		tx.deadline = now + timers.J
	}
	tx.arm(now)
	return tx
}

// lookup finds the transaction that a key prefix belongs to and that want accepts.
func (l *Layer) lookup(hash uint64, prefix []byte, want func(*Server) bool) *Server {
	for tx := l.index[hash]; tx != nil; tx = tx.next {
		if bytes.Equal(tx.key[:tx.prefix], prefix) && want(tx) {
			return tx
		}
	}
	return nil
}

// unlink takes tx out of the index: no message finds it any more.
func (tx *Server) unlink() {
	l := tx.l
	head := l.index[tx.hash]
	if head == tx {
		if tx.next == nil {
			delete(l.index, tx.hash)
		} else {
			l.index[tx.hash] = tx.next
		}
	} else {
		for head != nil && head.next != tx {
			head = head.next
		}
		if head != nil {
			head.next = tx.next
		}
	}
	tx.next = nil
}

// Respond sends a provisional or final response through tx and takes over m, also if it fails. It returns ErrState if tx has had its
// final response (a 2xx to an INVITE may repeat: RFC 6026 7.1), and ErrTransport if the flow is closed; the state advances also
// then, so that retransmissions are not taken for new requests.
func (l *Layer) Respond(tx *Server, m *sip.Message) error {
	defer m.Release()
	code := m.Status()
	l.report(tx.flow, tx.offered, m)
	switch {
	case tx.state == stateTrying || tx.state == stateProceeding:
	case tx.state == stateAccepted && code/100 == 2:
	default:
		return ErrState
	}
	var err error
	switch {
	case code < 200:
		err = tx.provisional(m)
	case tx.method != sip.INVITE:
		err = tx.finish(m)
	case code < 300:
		err = tx.accept(m)
	default:
		err = tx.complete(m)
	}
	l.n.Answers.Add(1)
	return err
}

// Reply makes a response to the request of tx, with a tag of the layer if the request has none and code is not 100, and sends it.
// reason "" is the usual phrase.
func (l *Layer) Reply(tx *Server, code int, reason string) error {
	if tx.req == nil {
		return ErrState
	}
	m := l.cfg.Pool.NewResponse(tx.req, code, reason)
	if code > 100 {
		var tag [shard.TokenSize]byte
		m.SetToTag(string(tx.AppendTag(tag[:0])))
	}
	return l.Respond(tx, m)
}

// provisional: RFC 3261 17.2.1, 17.2.2.
func (tx *Server) provisional(m *sip.Message) error {
	tx.state = stateProceeding
	tx.remember(m)
	if tx.method == sip.INVITE {
		now := tx.l.sh.Now()
		tx.deadline, tx.resend = now+tx.timers.Abandon, 0
		tx.arm(now)
	}
	return tx.transmit()
}

// finish sends the final response to a request other than INVITE. Over datagrams only key and answer are kept for timer J; over streams
// nothing is (RFC 3261 17.2.2).
func (tx *Server) finish(m *sip.Message) error {
	l := tx.l
	tx.settle()
	tx.unlink()
	var b []byte
	if tx.reliable {
		b = l.emit(m)
	} else {
		b = l.keep(tx.key, tx.reply, tx.timers.J, m)
	}
	tx.over()
	if !tx.answer(int(tx.received), 0, b) {
		return ErrTransport
	}
	return nil
}

// keep stores a final response for timer J where retransmissions of the request with that key find it, and returns its octets.
func (l *Layer) keep(key []byte, reply siptransport.Flow, j time.Duration, m *sip.Message) []byte {
	now := l.sh.Now()
	hash := maphash.Bytes(l.seed, key)
	room, evicted := l.kept.add(now, j, hash, key, reply, m.Size())
	l.n.KeptEvicted.Add(uint64(evicted))
	if room == nil {
		return l.emit(m)
	}
	b := m.AppendTo(room)
	l.kept.done(hash, b)
	if !l.sweep.Armed() {
		l.sh.Arm(&l.sweep, j, (*sweeper)(l))
	}
	return b
}

// accept sends a 2xx to an INVITE (RFC 6026 7.1). The layer does not repeat it by itself.
func (tx *Server) accept(m *sip.Message) error {
	tx.remember(m)
	tx.tag = tx.l.hashTag(m.ToTag())
	if tx.state != stateAccepted {
		tx.settle()
		tx.uncount()
		now := tx.l.sh.Now()
		tx.state, tx.deadline, tx.resend = stateAccepted, now+tx.timers.L, 0
		tx.arm(now)
	}
	return tx.transmit()
}

// complete sends a failure to an INVITE, again and again over datagrams until the ACK comes (RFC 3261 17.2.1).
func (tx *Server) complete(m *sip.Message) error {
	tx.remember(m)
	tx.settle()
	now := tx.l.sh.Now()
	tx.state, tx.deadline, tx.resend = stateCompleted, now+tx.timers.H, 0
	if !tx.reliable {
		tx.resend, tx.interval = now+tx.timers.T1, min(2*tx.timers.T1, tx.timers.T2)
	}
	tx.arm(now)
	return tx.transmit()
}

// acknowledge: the ACK for a failure has come.
func (tx *Server) acknowledge() {
	now := tx.l.sh.Now()
	tx.uncount()
	tx.state, tx.resend = stateConfirmed, 0
	if tx.reliable {
		tx.over()
		return
	}
	tx.deadline = now + tx.timers.I
	tx.arm(now)
}

// Retransmit2xx sends the last 2xx of an INVITE server transaction again, if its To tag is toTag (nil = whatever it is). It reports
// whether it did.
func (l *Layer) Retransmit2xx(tx *Server, toTag []byte) bool {
	if tx.state != stateAccepted || toTag != nil && l.hashTag(toTag) != tx.tag {
		return false
	}
	return tx.repeat(0)
}

// repeat sends the last response again, for a request of so many octets that has come again.
func (tx *Server) repeat(request int) bool {
	if len(tx.last) == 0 {
		return false
	}
	tx.l.n.AnswersRepeated.Add(1)
	return tx.answer(request, 0, tx.last)
}

// transmit sends the last response for the first time.
func (tx *Server) transmit() error {
	if !tx.answer(int(tx.received), 0, tx.last) {
		return ErrTransport
	}
	return nil
}

// answer sends b, the answer to a request of so many octets, which has left so often already: over the connection that the request came by, or, where that has closed, by
// another way if there is one (RFC 3261 18.2.2).
func (tx *Server) answer(request, copies int, b []byte) bool {
	l := tx.l
	if l.answerAgain(tx.reply, request, copies, b) {
		return true
	}
	if !tx.reliable || l.cfg.Instead == nil {
		return false
	}
	to, open := l.cfg.Instead(tx.flow)
	if open {
		tx.reply = to
	}
	return open && l.send(to, b)
}

// remember serialises m into last.
func (tx *Server) remember(m *sip.Message) {
	n := m.Size()
	if cap(tx.last) < n {
		tx.l.bufs.put(tx.last)
		tx.last = tx.l.bufs.get(n)
	}
	tx.last = m.AppendTo(tx.last[:0])
}

// settle gives up the request, which has its final response.
func (tx *Server) settle() {
	tx.req.Release()
	tx.req = nil
}

// uncount takes tx out of the budget of its source.
func (tx *Server) uncount() {
	if !tx.counted {
		return
	}
	tx.counted = false
	l := tx.l
	if n := l.pending[tx.source] - 1; n > 0 {
		l.pending[tx.source] = n
	} else {
		delete(l.pending, tx.source)
	}
}

// arm sets the timer to the next thing that is due.
func (tx *Server) arm(now time.Duration) {
	next := tx.deadline
	if tx.resend > 0 {
		next = min(next, tx.resend)
	}
	tx.l.sh.Arm(&tx.timer, next-now, tx)
}

// Run implements shard.Event: the timer has fired.
func (tx *Server) Run(sh *shard.Shard) {
	now := sh.Now()
	switch {
	case now >= tx.deadline:
		tx.expire()
	case tx.resend == 0 || now < tx.resend:
		tx.arm(now)
	case tx.state == stateTrying:
		_ = tx.l.Reply(tx, 100, "") // arms; a closed flow shows again with the final response
	default: // timer G
		tx.copies++ // timer H ends it long before there are too many
		tx.l.n.AnswersRepeated.Add(1)
		tx.answer(int(tx.received), int(tx.copies), tx.last)
		tx.resend = max(tx.resend+tx.interval, now)
		tx.interval = min(2*tx.interval, tx.timers.T2)
		tx.arm(now)
	}
}

// expire: the state has lasted for its time.
func (tx *Server) expire() {
	switch tx.state {
	case stateTrying, stateProceeding:
		tx.l.n.Abandoned.Add(1)
		if tx.method == sip.INVITE {
			_ = tx.l.Reply(tx, 500, "") // in Completed now, also if the flow is closed
			return
		}
	case stateCompleted:
		tx.l.n.NoAck.Add(1)
	}
	tx.over()
}

// over gives tx to the reaper.
func (tx *Server) over() {
	if tx.state == stateEnded {
		return
	}
	tx.state = stateEnded
	tx.l.sh.Disarm(&tx.timer)
	tx.l.ended = append(tx.l.ended, tx)
	tx.l.schedule()
}

// end takes tx out of the table. It is called by the reaper only.
func (tx *Server) end() {
	l := tx.l
	tx.unlink()
	tx.uncount()
	l.cfg.Handler.Ended(tx)
	tx.req.Release()
	l.bufs.put(tx.key)
	l.bufs.put(tx.last)
	l.n.Servers.Add(-1)
	l.servers.Release(tx.slot, tx.gen)
}

// hashTag is a tag as a number; 0 for none.
func (l *Layer) hashTag(tag []byte) uint64 {
	if len(tag) == 0 {
		return 0
	}
	return maphash.Bytes(l.seed, tag) | 1
}
