package hop

import (
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// Witness is told of every message that goes from function to function of this process, doors included. It is called on the shard of the exchange with
// the procedure under way: it must not wait, must not change a message and must not keep one. Without a witness a hop pays for one comparison.
type Witness interface {
	// Sent is told of a request. What it returns comes back with the responses; 0 for none wanted.
	Sent(t *shard.Task, from, to Name, in Inbound) uint64
	// Answered is told of a response to it, provisional or final; m is nil where a request gets none, an ACK.
	Answered(t *shard.Task, request uint64, m *sip.Message)
}

// Watch has w told. Before the node runs.
func (t *Table) Watch(w Witness) { t.witness = w }

// step is one function above that of an exchange: how provisional responses climb through it, and by what the witness knows the request.
type step struct {
	up   Up
	seen uint64
}

// sent tells the witness, if there is one.
func (x *Exchange) sent(to Name, in Inbound) uint64 {
	if x.table.witness == nil {
		return 0
	}
	return x.table.witness.Sent(x.task, x.self, to, in)
}

// answers tells the witness of a response on its way back over a hop.
func (x *Exchange) answers(seen uint64, m *sip.Message) {
	if seen != 0 {
		x.table.witness.Answered(x.task, seen, m)
	}
}
