package siptxn

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"time"

	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// Errors of the layer. ErrTimeout and ErrTransport reach Responder.Failed too.
var (
	ErrTimeout   = errors.New("siptxn: timeout")                            // RFC 3261 8.1.3.1: treat as 408
	ErrTransport = errors.New("siptxn: transport failed")                   // RFC 3261 8.1.3.1: treat as 503
	ErrLimit     = errors.New("siptxn: too many transactions")              // treat as 503
	ErrState     = errors.New("siptxn: response does not fit the state")    // a second final response, or too late
	ErrMessage   = errors.New("siptxn: message cannot start a transaction") // no request, an ACK or CANCEL, no CSeq
)

// Handler is the transaction user of server transactions. All calls come on the shard.
type Handler interface {
	// Request brings a new request (neither ACK, CANCEL nor a retransmission). m stays with the transaction, which releases
	// it after the final response: read it, or Clone it to change or forward it. A transaction must get a final response; one
	// that gets none is ended by Timers.Abandon, a non-INVITE by timer J.
	Request(tx *Server, m *sip.Message)
	// Ack brings an ACK for a 2xx, which belongs to no transaction. The handler takes over m.
	Ack(f siptransport.Flow, m *sip.Message)
	// Cancelled says that a CANCEL matched tx, whose final response is not sent yet. The CANCEL is answered already; the
	// handler ends tx with 487 (RFC 3261 9.2).
	Cancelled(tx *Server)
	// Ended says that tx has left the table, for whatever reason; tx must not be used after it. It is never called from within
	// a method of Layer that the handler called.
	Ended(tx *Server)
}

// Screener is what a Handler may offer besides, so that strangers cost no memory (RFC 3261 8.2.7): Screen is asked about each new
// request before anything is kept for it. A status other than 0 is its answer, sent without a transaction and over datagrams within
// Limits.Stateless, with what more adds to it (nil: nothing); Silence is none; with 0 Request follows at once. m is lent. Whoever came by a
// connection is answered each time: he would wait for minutes, and his connection slows him down.
type Screener interface {
	Screen(f siptransport.Flow, m *sip.Message) (status int, more func(answer *sip.Message))
}

// Silence is the status of a request that gets no answer.
const Silence = -1

// Responder is the transaction user of client transactions. All calls come on the shard.
type Responder interface {
	// Response brings a response that is no retransmission and takes over m. The topmost Via is still ours: a proxy removes
	// it. There may be several: provisional ones, and for an INVITE further 2xx with other To tags (RFC 6026).
	Response(c *Client, m *sip.Message)
	// Failed ends the wait for a final response with ErrTimeout or ErrTransport. No final response comes after it.
	Failed(c *Client, err error)
}

// Retransmitter is what a Responder may offer besides, to answer a retransmitted 2xx of an INVITE without a second walk: a proxy
// calls Layer.Retransmit2xx for its server transaction, a UAC sends its ACK again. m is lent. False makes the layer call
// Response with the message.
type Retransmitter interface {
	Again(c *Client, m *sip.Message) bool
}

// Forgetter is what a Responder may offer besides: Gone says that c has left the table and must not be used after it.
type Forgetter interface{ Gone(c *Client) }

// Config is what a Layer is made of.
type Config struct {
	Shard   *shard.Shard
	Pool    *sip.Pool
	Sealer  *shard.Sealer // seals branches and tags. Its key must be new at every start, or branches of the run before repeat
	Kind    byte          // a letter that keeps the branches of the layers of one shard apart; default 'v'
	Timers  Timers
	Handler Handler
	Limits  Limits
	// TimersFor chooses other timers for a flow (a Gm flow on a layer that serves the core as well); nil, or a nil result, means
	// Timers.
	TimersFor func(f siptransport.Flow) *Timers
	// Foreign takes a response whose branch names another shard or node; data is valid during the call, and the one who gets it
	// calls Input there. nil drops and counts it.
	Foreign func(p shard.Place, f siptransport.Flow, data []byte)
	// AnyPort matches retransmissions, ACK and CANCEL by the address they come from. By default the port counts too: whoever shares an
	// address (NAT) and saw a branch cannot cancel another's call. It is for peers that send over many connections at once.
	AnyPort bool
	// MayAnswer is asked about each answer that would leave over an unreliable transport, repetitions included: where it goes, how many
	// octets the request had as it came (0: nothing came, a 2xx is repeated), how often the failure of an INVITE has left already without that anything came
	// (timer G), and the answer. False keeps it back, and counts it; the transaction goes on as if it had left. nil lets all leave. b is lent.
	MayAnswer func(to siptransport.Flow, request, copies int, b []byte) bool
	// Unsound is told of each request that is refused for its form (sip.Validate), before the answer leaves; it may be nil.
	Unsound func(from siptransport.Flow, r *sip.Reject)
	// Report is asked about each response to a client that understands overload control (RFC 7339 5.2): what it is told in its Via, if
	// anything. nil, or false, is a server that does not. From other Vias it is taken off.
	Report func(to siptransport.Flow, offered overload.Algorithms) (overload.Report, bool)
	// Heard takes what a server tells us; nil means that we do not ask it to, since we would not act by it (RFC 7339 5.1).
	Heard func(from siptransport.Flow, r overload.Report)
	// Patience is how long a 503 of the Screener may wait for others that go the same way, over transports where its reader does not ask again
	// meanwhile (siptransport.Patient). nil lets each leave at once.
	Patience func() time.Duration
	// MayReply is asked about each response to a request of ours that came by another flow than this left by: false drops it, and counts it. nil admits
	// the address that was asked, whatever the port (RFC 3581 4).
	MayReply func(asked, by siptransport.Flow) bool
	// Instead is asked for the way of an answer whose connection has closed (RFC 3261 18.2.2): closed is what the request came by. False, or nil, is that there
	// is none.
	Instead func(closed siptransport.Flow) (siptransport.Flow, bool)
	// NoRPort leaves rport out of the Via that Send and SendAck write. It stands there over unreliable transports only
	// (RFC 3581).
	NoRPort bool
}

// Limits bound a layer. The zero value means the defaults.
type Limits struct {
	Servers   int // server transactions: at work, or INVITEs that absorb retransmissions; default 200000
	PerSource int // those per IPv4 address or IPv6 /64 that wait for a final response or for its ACK; default 20000
	Kept      int // octets of answers kept to absorb retransmissions of non-INVITE requests; default 256 MiB. The oldest go first
	Clients   int // client transactions; default 500000
	// RetryAfter, in seconds, goes into the 503 that a request over the limit gets; default 5. Below 0: silence instead.
	RetryAfter int
	// Stateless is how many answers without a transaction (to what is malformed, over the limit or no transaction of ours) may be
	// sent per second; default 2000, below 0 none. Beyond it there is silence.
	Stateless int
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.Servers, 200000}, {&l.PerSource, 20000}, {&l.Kept, 256 << 20}, {&l.Clients, 500000}, {&l.RetryAfter, 5}, {&l.Stateless, 2000}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// Layer holds the transactions of one interface on one shard.
type Layer struct {
	cfg Config
	sh  *shard.Shard
	n   Counters

	screener Screener // nil if the handler is none

	seed    maphash.Seed
	servers shard.Slots[Server]
	index   map[uint64]*Server // by hash of branch, sent-by and source; chained by Server.next
	pending map[netip.Addr]int // pending server transactions by source
	kept    kept
	sweep   shard.Timer // drops kept answers also when no new ones come

	clients shard.Slots[Client]
	flows   map[siptransport.Sender]*Client // client transactions of each stream; chained by Client.next
	acks    uint64                          // branches given to ACKs

	ended   []*Server // wait for reap
	gone    []*Client // wait for reap
	budget  budget
	bufs    buffers
	scratch []byte // a message on its way out
	via     []byte // a Via or a key being built
	word    []byte // a Via that says something of overload
}

// New makes an empty Layer. It panics if Shard, Pool, Sealer, Handler or Timers are missing: a defect of assembly.
func New(c Config) *Layer {
	if c.Shard == nil || c.Pool == nil || c.Sealer == nil || c.Handler == nil || !c.Timers.sound() {
		panic("siptxn: incomplete Config")
	}
	if c.Kind == 0 {
		c.Kind = 'v'
	}
	c.Limits = c.Limits.withDefaults()
	l := &Layer{cfg: c, sh: c.Shard, seed: maphash.MakeSeed(), index: make(map[uint64]*Server), pending: make(map[netip.Addr]int),
		flows: make(map[siptransport.Sender]*Client)}
	l.screener, _ = c.Handler.(Screener)
	l.clients.Limit = c.Limits.Clients
	l.kept = newKept(c.Limits.Kept)
	rate := float64(max(c.Limits.Stateless, 0))
	l.budget = budget{rate: rate, left: rate, last: l.sh.Now()}
	return l
}

// Counters returns the counters of the layer. They may be read from anywhere.
func (l *Layer) Counters() *Counters { return &l.n }

// Len is the number of server and client transactions in the table. Answers kept for retransmissions are not counted.
func (l *Layer) Len() (servers, clients int) { return l.servers.Len(), l.clients.Len() }

// Input takes one received message as octets: it gives a response of another shard to Config.Foreign, drops what is no SIP, parses
// the rest and calls Receive. data is not kept. A door calls this when its budgets said yes. A stream that brought what is no SIP is
// closed: its ends may read it differently.
func (l *Layer) Input(f siptransport.Flow, data []byte) {
	if p, ok := l.PlaceOfResponse(data); ok && !l.ours(p) {
		l.foreign(p, f, data)
		return
	}
	m, err := l.cfg.Pool.Parse(data)
	if err != nil {
		l.n.NotSIP.Add(1)
		if c, stream := f.Via.(*siptransport.Conn); stream {
			c.Close()
		}
		return
	}
	l.Receive(f, m)
}

// Receive takes one received message and takes it over.
func (l *Layer) Receive(f siptransport.Flow, m *sip.Message) {
	if m.IsRequest() {
		l.receiveRequest(f, m)
	} else {
		l.receiveResponse(f, m)
	}
}

// timers are the timers for f.
func (l *Layer) timers(f siptransport.Flow) *Timers {
	if l.cfg.TimersFor != nil {
		if t := l.cfg.TimersFor(f); t != nil {
			return t
		}
	}
	return &l.cfg.Timers
}

// emit writes m into the scratch buffer, which is valid until the next emit.
func (l *Layer) emit(m *sip.Message) []byte {
	l.scratch = m.AppendTo(l.scratch[:0])
	return l.scratch
}

// send sends b over f and counts a failure.
func (l *Layer) send(f siptransport.Flow, b []byte) bool {
	err := f.Send(b)
	if err != nil {
		l.n.SendErrors.Add(1)
	}
	return err == nil
}

// answer sends b, the answer to a request of so many octets, if it may be sent.
func (l *Layer) answer(to siptransport.Flow, request int, b []byte) bool {
	return l.answerAgain(to, request, 0, b)
}

// answerAgain is answer for what has left so often already.
func (l *Layer) answerAgain(to siptransport.Flow, request, copies int, b []byte) bool {
	if l.cfg.MayAnswer != nil && !to.Via.Reliable() && !l.cfg.MayAnswer(to, request, copies, b) {
		l.n.Withheld.Add(1)
		return true
	}
	return l.send(to, b)
}

// reaper is the event that ends the transactions that have nothing to wait for. It runs before the shard goes idle, so never
// within a call of the user.
type reaper Layer

// Run implements shard.Event.
func (r *reaper) Run(*shard.Shard) {
	l := (*Layer)(r)
	for i := 0; i < len(l.ended); i++ { // Ended may add more
		l.ended[i].end()
		l.ended[i] = nil
	}
	for i := 0; i < len(l.gone); i++ {
		l.gone[i].end()
		l.gone[i] = nil
	}
	l.ended, l.gone = l.ended[:0], l.gone[:0]
}

// sweeper is the event that drops kept answers when they have expired.
type sweeper Layer

// Run implements shard.Event.
func (w *sweeper) Run(sh *shard.Shard) {
	l := (*Layer)(w)
	l.kept.expire(sh.Now())
	if len(l.kept.pages) > 0 {
		sh.Arm(&l.sweep, l.kept.pages[0].until-sh.Now(), w)
	}
}

// schedule asks for the reaper.
func (l *Layer) schedule() { l.sh.OnIdle((*reaper)(l)) }

// sourceOf is the source by which transactions are counted: an IPv4 address, or an IPv6 /64, since a host has a whole one.
func sourceOf(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
