package hop

import (
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Leave is a door's last look at a response before it leaves: it may change it, or replace it. It keeps ownership rules:
// what it returns is sent, what it drops it releases.
type Leave func(x *Exchange, r Reply) Reply

// Entry is the edge of a request that came in a server transaction: what every door needs between its transaction layer and
// a walk. It belongs to the shard.
type Entry struct {
	layer    *siptxn.Layer
	tx       siptxn.ServerRef
	exchange Exchange
	leave    Leave
	answered func() // called once, with the first final response
}

var (
	_ Edge          = (*Entry)(nil)
	_ Retransmitter = (*Entry)(nil)
)

// Enter lets a request of the server transaction tx of l walk from the door from to the function to. m is the request as the
// transaction holds it; in.Msg is the door's clone of it, given away. Responses leave through leave; answered is called
// once, with the first final one.
func (t *Table) Enter(sh *shard.Shard, l *siptxn.Layer, tx *siptxn.Server, m *sip.Message, from, to Name, in Inbound, leave Leave, answered func()) {
	e := &Entry{layer: l, tx: tx.Ref(), leave: leave, answered: answered}
	tx.User = e
	t.begin(sh, &e.exchange, e, from, to, in, m)
}

// Pass lets an ACK walk, to which nobody answers.
func (t *Table) Pass(sh *shard.Shard, from, to Name, in Inbound) { t.Begin(sh, nil, from, to, in, nil) }

// Cancelled ends the walk of a transaction whose sender has given up (RFC 3261 9.2), for the reason that the door believes him, "" for none. A
// door calls it from its siptxn.Handler.
func Cancelled(tx *siptxn.Server, reason string) {
	if e, walks := tx.User.(*Entry); walks {
		e.exchange.Cancel(reason)
	}
}

// Reply implements Edge.
func (e *Entry) Reply(x *Exchange, r Reply) {
	if r.Final() && e.answered != nil {
		e.answered()
		e.answered = nil
	}
	if r = e.leave(x, r); r.Msg == nil {
		return
	}
	tx := e.layer.Server(e.tx)
	if tx == nil {
		r.Msg.Release() // the transaction is over: the sender has given up
		return
	}
	_ = e.layer.Respond(tx, r.Msg) // who has closed his connection needs no answer
}

// Again implements Retransmitter.
func (e *Entry) Again(toTag []byte) bool {
	tx := e.layer.Server(e.tx)
	return tx != nil && e.layer.Retransmit2xx(tx, toTag)
}
