package hop

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// Mode says how messages cross from function to function in this process.
type Mode uint8

// The modes. Scenario tests run in each.
const (
	Direct Mode = iota // the message itself
	Strict             // each hop encodes and parses, as a wire would
)

// Table resolves names. Plug everything before the node runs; after that it is read only.
type Table struct {
	mode      Mode
	pool      *sip.Pool
	gate      *secure.Gate
	functions map[Name]entry
	tagKey    [16]byte
	forks     *forks
	witness   Witness // nil for none
}

// entry keeps the name beside its function, so that a look-up by octets hands out a Name without making one.
type entry struct {
	name     Name
	function Function
}

// NewTable returns an empty table. pool makes the messages of the hop itself; gate
// judges loops; tagKey is random and makes
// its To tags.
func NewTable(mode Mode, pool *sip.Pool, gate *secure.Gate, tagKey [16]byte) *Table {
	return &Table{mode: mode, pool: pool, gate: gate, functions: map[Name]entry{}, tagKey: tagKey, forks: newForks()}
}

// Plug gives name to f. A name given twice is a mistake of assembly and an error.
func (t *Table) Plug(name Name, f Function) error {
	if _, taken := t.functions[name]; taken {
		return fmt.Errorf("hop: name %s is given twice", name)
	}
	t.functions[name] = entry{name, f}
	return nil
}

// Next returns the name that m goes to: the host of its topmost Route, or of its Request-URI if there is none
// (RFC 3261 16.6 step 6; every function of the core is a loose router). False if no name of this core.
func (t *Table) Next(m *sip.Message) (Name, bool) {
	target := m.RequestURI()
	if route := m.Get(sip.HdrRoute); route != nil {
		addr, err := sip.ParseNameAddr(route)
		if err != nil {
			return "", false
		}
		target = addr.URI
	}
	uri, err := sip.ParseURI(target)
	if err != nil {
		return "", false
	}
	e, known := t.functions[Name(uri.Host)]
	return e.name, known
}

// Knows reports whether host is a name of this core. It does not allocate.
func (t *Table) Knows(host []byte) bool {
	_, known := t.functions[Name(host)]
	return known
}

// Pool returns the pool that functions make their messages from.
func (t *Table) Pool() *sip.Pool { return t.pool }

// Edge is where a request entered the process: responses leave through it.
type Edge interface {
	// Reply sends r, provisional or final, and takes over r.Msg. It is called on the exchange's shard.
	Reply(x *Exchange, r Reply)
}

// Retransmitter is what an Edge may offer besides: it sends the 2xx of this To tag again, as it sent it before.
type Retransmitter interface{ Again(toTag []byte) bool }

// Begin walks in, which the door from admitted, to the function called to, on a coroutine of sh. It must be
// called on sh. request is the request as it was received: it stays with the edge, must not change until the final
// reply, and is what our own responses are made from; nil for an ACK. in.Msg is given away. The Exchange is
// returned so that the edge can cancel it; it is valid until the final reply. A shard that has no room for
// another procedure answers 503. A transaction that gives up waiting (RFC 4320 4.2) ends before its walk does: the walk has a lease
// of its own of the request.
func (t *Table) Begin(sh *shard.Shard, edge Edge, from, to Name, in Inbound, request *sip.Message) *Exchange {
	x := &Exchange{}
	t.begin(sh, x, edge, from, to, in, request)
	return x
}

// begin is Begin with the empty exchange x.
func (t *Table) begin(sh *shard.Shard, x *Exchange, edge Edge, from, to Name, in Inbound, request *sip.Message) {
	x.table, x.edge, x.self, x.request = t, edge, from, request
	x.root, x.ups = x, x.room[:0]
	if request != nil {
		request.Retain()
	}
	x.to, x.in = to, in
	if !sh.Begin((*walk)(x)) {
		in.Msg.Release()
		x.end(503)
		request.Release()
	}
}

// Originate walks a request that the function from starts itself (NOTIFY, third-party REGISTER) to the name
// to, and returns its final response. It runs on the caller's coroutine.
func (t *Table) Originate(task *shard.Task, from, to Name, in Inbound) Reply {
	x := &Exchange{table: t, task: task, self: from, request: in.Msg.Clone()}
	x.root = x
	defer x.request.Release()
	return x.Forward(to, in, nil)
}

// walk is an exchange that came in through an edge, as a procedure.
type walk Exchange

// Proceed implements shard.Procedure: it is the whole life of the exchange. A walk that breaks off (a defect in a
// function, or the shard closing) still owes its sender an answer: 500.
func (w *walk) Proceed(task *shard.Task) {
	x := (*Exchange)(w)
	x.task = task
	defer x.request.Release()
	defer x.end(500)
	in := x.in
	x.in = Inbound{} // whoever is asked owns the message now
	if r := x.Forward(x.to, in, nil); r.Msg != nil {
		x.answer(r)
	}
}

// end answers with code if nothing has.
func (x *Exchange) end(code int) {
	if x.request != nil && !x.answered {
		x.answer(x.Respond(code, ""))
	}
}

func (x *Exchange) answer(r Reply) {
	x.answered = true
	x.edge.Reply(x, r)
}

// tagTo gives m, a response to request, a To tag (RFC 3261 19.3). It is a function of the transaction and of a secret key, so a
// request that is answered twice gets one tag, and a stranger can predict none.
func (t *Table) tagTo(m, request *sip.Message) {
	var b [512]byte
	via, _ := request.TopVia() // the same as in m, and read already
	seed := append(b[:0], t.tagKey[:]...)
	seed = append(append(seed, via.Branch...), m.Get(sip.HdrCallID)...)
	sum := sha256.Sum256(seed)
	to := append(append(b[:0], m.Get(sip.HdrTo)...), ";tag="...)
	m.ReplaceFirst(sip.HdrTo, strconv.AppendUint(to, binary.BigEndian.Uint64(sum[:]), 36))
}
