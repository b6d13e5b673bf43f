package siptxn

import (
	"errors"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// Errors of the layer. ErrTimeout and ErrTransport reach Responder.Failed.
var (
	ErrTimeout   = errors.New("siptxn: timeout")                            // RFC 3261 8.1.3.1: treat as 408
	ErrTransport = errors.New("siptxn: transport failed")                   // RFC 3261 8.1.3.1: treat as 503
	ErrLimit     = errors.New("siptxn: too many transactions")              // treat as 503
	ErrState     = errors.New("siptxn: response does not fit the state")    // a second final response, or too late
	ErrMessage   = errors.New("siptxn: message cannot start a transaction") // no request, an ACK or CANCEL, no CSeq
)

// Handler is the transaction user of server transactions. All calls come on the shard.
type Handler interface {
	// Request brings a new request (neither ACK, CANCEL nor a retransmission). m stays with the transaction, which releases it
	// after the final response: read it, or Clone it to change or forward it. A transaction must get a final response; one
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

// Responder is the transaction user of client transactions. All calls come on the shard.
type Responder interface {
	// Response brings a response that is no retransmission and takes over m. The topmost Via is still ours: a proxy removes
	// it. There may be several: provisional ones, and for an INVITE further 2xx with other To tags (RFC 6026).
	Response(c *Client, m *sip.Message)
	// Failed ends the wait for a final response with ErrTimeout or ErrTransport. No final response comes after it.
	Failed(c *Client, err error)
}

// Retransmitter is what a Responder may offer besides, to answer a retransmitted 2xx of an INVITE without a second walk: a
// proxy calls Layer.Retransmit2xx for its server transaction, a UAC sends its ACK again. False makes the layer call
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
	Kind    byte          // keeps the branches of the layers of one shard apart; default 'v'
	Timers  Timers
	Handler Handler
	Limits  Limits
	// TimersFor chooses other timers for a flow (a Gm flow on a layer that serves the core as well); nil, or a nil result,
	// means Timers.
	TimersFor func(f siptransport.Flow) *Timers
	// Foreign takes a response whose branch names another shard or node, before it is parsed; data is valid during the call.
	// nil drops and counts it.
	Foreign func(p shard.Place, f siptransport.Flow, data []byte)
}

// Limits bound a layer. The zero value means the defaults.
type Limits struct {
	Pending   int // server transactions without a final response; default 100000
	PerSource int // the same per IPv4 address or IPv6 /64; default 20000
	Kept      int // server transactions kept after their final response to absorb retransmissions; default 400000
	Clients   int // client transactions; default 500000
	// RetryAfter, in seconds, goes into the 503 that a request over the limit gets; default 5. Below 0: silence.
	RetryAfter int
	// Stateless is how many answers without a transaction (to malformed messages, over the limit) may be sent per second;
	// default 500, below 0 none. Beyond it there is silence.
	Stateless int
}

// Layer holds the transactions of one interface on one shard.
type Layer struct{}

// New makes an empty Layer. It panics if Shard, Pool, Sealer, Handler or Timers are missing: a defect of assembly.
func New(c Config) *Layer { panic("todo") }

// Input takes one received message as octets: it hands a response of another shard to Config.Foreign, drops what is no SIP,
// parses the rest and calls Receive. data is not kept. A door whose Receiver has checked its budgets calls this.
func (l *Layer) Input(f siptransport.Flow, data []byte) { panic("todo") }

// Receive takes one received message and takes it over.
func (l *Layer) Receive(f siptransport.Flow, m *sip.Message) { panic("todo") }

// Respond sends a provisional or final response through tx and takes over m, also if it fails. It returns ErrState if tx has
// had its final response (2xx to an INVITE may repeat: RFC 6026), ErrTransport if the flow is closed; the state advances also then.
func (l *Layer) Respond(tx *Server, m *sip.Message) error { panic("todo") }

// Retransmit2xx sends the last 2xx of an INVITE server transaction again, if its To tag is toTag (nil = whatever it is). It reports
// whether it did.
func (l *Layer) Retransmit2xx(tx *Server, toTag []byte) bool { panic("todo") }

// Send starts a client transaction: it puts our Via on top of m (transport of f, sentBy as host or host:port, branch, rport)
// and sends it over f. It takes over m, also if it fails. After an error no call-back comes.
func (l *Layer) Send(f siptransport.Flow, m *sip.Message, sentBy []byte, r Responder) (*Client, error) {
	panic("todo")
}

// SendAck sends the ACK of a 2xx, which is a transaction of its own without an answer: own Via with a fresh branch. It takes over m.
func (l *Layer) SendAck(f siptransport.Flow, m *sip.Message, sentBy []byte) error { panic("todo") }

// Cancel ends an INVITE that has no final response (RFC 3261 9.1): CANCEL leaves now if a provisional response came, else
// after the first one. Without a final response within 64*T1 of the CANCEL the transaction fails with ErrTimeout. Otherwise it
// does nothing.
func (l *Layer) Cancel(c *Client) { panic("todo") }

// FlowClosed ends the client transactions that wait on f, a stream, with ErrTransport. A door calls it from Receiver.Closed.
func (l *Layer) FlowClosed(f siptransport.Flow) { panic("todo") }

// Branch returns the place that the topmost branch of a response names; false if it is not ours.
func (l *Layer) Branch(m *sip.Message) (shard.Place, bool) { panic("todo") }

// PlaceOfResponse is Branch for octets that are not parsed yet; false too if data is no response.
func (l *Layer) PlaceOfResponse(data []byte) (shard.Place, bool) { panic("todo") }

// Len is the number of server and client transactions in the table.
func (l *Layer) Len() (servers, clients int) { panic("todo") }

// MustStream reports whether a request of size octets has to leave over TCP or TLS (RFC 3261 18.1.1). mtu is the path MTU
// if it is known, else 0. size counts our Via: add ViaRoom to the Size of the message.
func MustStream(size, mtu int) bool { panic("todo") }

// ViaRoom is at least what the Via that Send adds takes, for a sentBy of up to 64 octets.
const ViaRoom = 160

// Server is a server transaction. It belongs to its layer and lives until Handler.Ended.
type Server struct {
	// User is the transaction user's own; the layer clears it at the end.
	User any
}

// Request is the request, nil after the final response.
func (tx *Server) Request() *sip.Message { panic("todo") }

// Flow is where the request came from and where responses go.
func (tx *Server) Flow() siptransport.Flow { panic("todo") }

// Ref is a name of tx that may outlive it.
func (tx *Server) Ref() ServerRef { panic("todo") }

// ServerRef names a server transaction; its zero value names none.
type ServerRef struct{}

// Server returns the transaction named by r, nil if it has ended.
func (l *Layer) Server(r ServerRef) *Server { panic("todo") }

// Client is a client transaction. It belongs to its layer. A user that holds one past its final response keeps a Ref.
type Client struct {
	// User is the transaction user's own; the layer clears it at the end.
	User any
}

// Flow is where the request went and responses come from.
func (c *Client) Flow() siptransport.Flow { panic("todo") }

// Ref is a name of c that may outlive it.
func (c *Client) Ref() ClientRef { panic("todo") }

// ClientRef names a client transaction; its zero value names none.
type ClientRef struct{}

// Client returns the transaction named by r, nil if it has ended.
func (l *Layer) Client(r ClientRef) *Client { panic("todo") }
