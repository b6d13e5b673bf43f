package hop

import (
	"slices"
	"strconv"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// maxDepth bounds how many functions one request may visit in this process, whatever its Max-Forwards; endOfStack is
// where even a lab that looks for loops must stop.
const (
	maxDepth   = 40
	endOfStack = 10_000
)

// defaultMaxForwards is what a request without Max-Forwards gets (RFC 3261 16.6).
const defaultMaxForwards = 70

// Up sees a provisional response on its way back through the function that gave it to Forward, and returns
// what goes on; a Reply without message goes no further.
type Up func(Reply) Reply

// Exchange is one request on its walk through this process. It belongs to the shard its task runs on.
type Exchange struct {
	table *Table
	task  *shard.Task
	root  *Exchange // itself; in a fork, the exchange the request came in by
	self  Name      // the function that is being served
	ups   []step    // through the functions above, outermost first
	room  [4]step   // for them: as many functions as a request within one home passes, without a fork

	open      []canceller // what a CANCEL must reach: client transactions and forks
	cancelled bool
	why       string // reason of the CANCELs that this sends

	// What our own responses are made from: the request as it came in, the edge's; in a fork a copy, since a branch may outlive the
	// answer. nil for an ACK.
	request *sip.Message

	// Root only.
	edge     Edge
	to       Name // where its walk begins, and with what
	in       Inbound
	answered bool // the final response has left
}

// canceller is whatever of an exchange still waits for a final response.
type canceller interface {
	cancel(reason string)
	lose(reason string)
}

// Task returns the procedure's coroutine, for Await.
func (x *Exchange) Task() *shard.Task { return x.task }

// Pool returns the pool for messages of one's own.
func (x *Exchange) Pool() *sip.Pool { return x.table.pool }

// Knows reports whether host is a name of this core.
func (x *Exchange) Knows(host []byte) bool { return x.table.Knows(host) }

// Next returns the name that m goes to; see Table.Next.
func (x *Exchange) Next(m *sip.Message) (Name, bool) { return x.table.Next(m) }

// Cancelled reports whether the sender gave up waiting (RFC 3261 9).
func (x *Exchange) Cancelled() bool { return x.cancelled }

// Forward hands in to the function called to and returns its final response. up, if not nil, sees each
// provisional response on its way back. in.Msg is given away.
//
// It answers 483 for a request that came too far (RFC 3261 16.3), 487 if the sender has cancelled, and 404
// for a name that nobody has.
func (x *Exchange) Forward(to Name, in Inbound, up Up) Reply {
	e, known := x.table.functions[to]
	if !known {
		return x.Refuse(in, 404, "")
	}
	if refusal, refused := x.manners(in); refused {
		return refusal
	}
	in.From = x.self
	in.Msg = x.cross(in.Msg)

	outer, seen := x.self, x.sent(to, in)
	x.self = to
	x.ups = append(x.ups, step{up, seen})
	r := e.function.Serve(x, in)
	x.ups = x.ups[:len(x.ups)-1]
	x.self = outer
	x.answers(seen, r.Msg)
	r.mute = max(r.mute-1, 0)

	if r.Msg != nil {
		r.Msg = x.cross(r.Msg)
	}
	return r
}

// manners keeps what a hop over a wire would do to a request (RFC 3261 16.3, 16.6 step 3).
func (x *Exchange) manners(in Inbound) (Reply, bool) {
	if x.cancelled && in.Msg.Method() != sip.ACK {
		return x.Refuse(in, 487, ""), true
	}
	if len(x.ups) == 0 {
		return Reply{}, false // the edge is no hop: it received the request for its first function
	}
	n, present := in.Msg.MaxForwards()
	if !present {
		n = defaultMaxForwards + 1
	}
	if n == 0 || len(x.ups) >= maxDepth {
		if len(x.ups) >= endOfStack || x.circles(in, "too-many-hops") {
			return x.Refuse(in, 483, ""), true
		}
		n = 1
	}
	var digits [3]byte
	in.Msg.Set(sip.HdrMaxForwards, strconv.AppendInt(digits[:0], int64(n-1), 10))
	return Reply{}, false
}

// cross carries m over a hop: as it is, or in Strict mode through its wire form.
func (x *Exchange) cross(m *sip.Message) *sip.Message {
	if x.table.mode != Strict {
		return m
	}
	wire := m.AppendTo(make([]byte, 0, m.Size()))
	parsed, err := x.table.pool.Parse(wire)
	if err != nil {
		panic("hop: a function made a message that does not parse: " + err.Error())
	}
	m.Release()
	return parsed
}

// Respond makes a response of the function itself to the request of the exchange, with a To tag
// (RFC 3261 8.2.6.2). reason "" is the code's own.
func (x *Exchange) Respond(code int, reason string) Reply {
	m := x.table.pool.NewResponse(x.request, code, reason)
	if code > 100 && len(m.ToTag()) == 0 {
		x.table.tagTo(m, x.request)
	}
	return Reply{Msg: m}
}

// Refuse releases the request and answers it by the function itself. An ACK gets no answer.
func (x *Exchange) Refuse(in Inbound, code int, reason string) Reply {
	ack := in.Msg.Method() == sip.ACK
	in.Msg.Release()
	if ack {
		return Reply{}
	}
	return x.Respond(code, reason)
}

// Provisional sends a provisional response of the function itself back towards the sender.
func (x *Exchange) Provisional(r Reply) { x.climb(x.ups, r) }

// climb takes a response through the functions above, innermost first, and out of the edge: a provisional
// one, or a further 2xx of a fork after the first has been answered (RFC 3261 16.7 step 5).
func (x *Exchange) climb(ups []step, r Reply) {
	for i := len(ups) - 1; i >= 0; i-- {
		x.answers(ups[i].seen, r.Msg)
		if up := ups[i].up; up != nil {
			r = up(r)
		}
		if r.Msg == nil {
			return
		}
	}
	late := x.root.answered && !r.Final()
	if late || x.root.edge == nil {
		r.Msg.Release()
		return
	}
	x.root.edge.Reply(x.root, r)
}

// Cancel is the edge's word that the sender gave up. Each open client transaction is cancelled; their
// final responses (487) then end the walk in the usual way. reason is what the CANCELs shall say (RFC 3326), "" for nothing. Call it on the
// shard of the exchange.
func (x *Exchange) Cancel(reason string) {
	if !x.root.answered {
		x.cancel(reason)
	}
}

// Abort cancels what this function has begun for the request and not finished, as if its sender had given up; the final responses
// (487) then come in the usual way. In a branch of a fork it ends that branch alone. reason is that of Cancel.
func (x *Exchange) Abort(reason string) { x.cancel(reason) }

func (x *Exchange) cancel(reason string) {
	if x.cancelled {
		return
	}
	x.cancelled, x.why = true, reason
	for _, c := range x.open {
		c.cancel(reason)
	}
}

// Lose gives up what this function has begun for the request and not finished: whom it went to is gone. The final response is 503, made here and at
// once. What can still be told is cancelled for a reason, as by Cancel.
func (x *Exchange) Lose(reason string) {
	for _, c := range x.open {
		c.lose(reason)
	}
}

// wait adds c to what a CANCEL must reach; the returned function takes it off.
func (x *Exchange) wait(c canceller) (done func()) {
	x.open = append(x.open, c)
	if x.cancelled {
		c.cancel(x.why)
	}
	return func() {
		if i := slices.Index(x.open, c); i >= 0 {
			x.open = slices.Delete(x.open, i, i+1)
		}
	}
}
