package sip

import "iter"

// Limits bounds what the parser and the framer accept. The zero value means the defaults of DefaultLimits.
type Limits struct {
	MaxMessage int  // octets of a whole message; default and ceiling 65535
	MaxBody    int  // octets of a body; default MaxMessage
	MaxLine    int  // octets of one header line after unfolding; default 16384
	MaxFields  int  // fields after splitting lists; default and ceiling 256
	MaxList    int  // values on one line; default 64
	Poison     bool // test switch: released messages are overwritten, never reused, and panic on use
}

// ParseError says why octets are no SIP message. Values are predeclared, so refusing costs no allocation.
type ParseError struct{ Reason string }

// Error implements error.
func (e *ParseError) Error() string { return "sip: " + e.Reason }

// StatusError is the one error that crosses the wire: a SIP status code, its reason phrase ("" = the default of the
// code) and, if not 0, the Retry-After in seconds (RFC 3261 20.33).
type StatusError struct {
	Code       int
	Reason     string
	RetryAfter uint32
}

// Error implements error.
func (e *StatusError) Error() string { return "sip: status" }

// Pool gives out messages and takes them back. Safe for concurrent use.
type Pool struct{}

// Message is one SIP request or response. See the package comment for ownership.
type Message struct{}

// HeaderSet is a set of header ids; fields without an id are the one bit HdrOther.
type HeaderSet [4]uint64

func NewPool(l Limits) *Pool                                               { panic("todo") }
func (p *Pool) Parse(data []byte) (*Message, error)                        { panic("todo") }
func (p *Pool) NewRequest(m Method, requestURI string) *Message            { panic("todo") }
func (p *Pool) NewResponse(req *Message, code int, reason string) *Message { panic("todo") }
func (p *Pool) NewFramer() *Framer                                         { panic("todo") }
func NewHeaderSet(ids ...HeaderID) *HeaderSet                              { panic("todo") }
func (s *HeaderSet) Add(h HeaderID)                                        { panic("todo") }
func (s *HeaderSet) Has(h HeaderID) bool                                   { panic("todo") }
func (m *Message) Clone() *Message                                         { panic("todo") }
func (m *Message) Retain() *Message                                        { panic("todo") }
func (m *Message) Release()                                                { panic("todo") }
func (m *Message) IsRequest() bool                                         { panic("todo") }
func (m *Message) Method() Method                                          { panic("todo") }
func (m *Message) MethodName() []byte                                      { panic("todo") }
func (m *Message) RequestURI() []byte                                      { panic("todo") }
func (m *Message) Status() int                                             { panic("todo") }
func (m *Message) Reason() []byte                                          { panic("todo") }
func (m *Message) Body() []byte                                            { panic("todo") }
func (m *Message) Get(h HeaderID) []byte                                   { panic("todo") }
func (m *Message) Last(h HeaderID) []byte                                  { panic("todo") }
func (m *Message) Nth(h HeaderID, i int) []byte                            { panic("todo") }
func (m *Message) Count(h HeaderID) int                                    { panic("todo") }
func (m *Message) Has(h HeaderID) bool                                     { panic("todo") }
func (m *Message) Values(h HeaderID) iter.Seq[[]byte]                      { panic("todo") }
func (m *Message) GetName(name string) []byte                              { panic("todo") }
func (m *Message) Fields() iter.Seq2[[]byte, []byte]                       { panic("todo") }
func (m *Message) HasToken(h HeaderID, token string) bool                  { panic("todo") }
func (m *Message) SetRequestURI(v []byte)                                  { panic("todo") }
func (m *Message) SetStatus(code int, reason string)                       { panic("todo") }
func (m *Message) Set(h HeaderID, v []byte)                                { panic("todo") }
func (m *Message) SetString(h HeaderID, v string)                          { panic("todo") }
func (m *Message) SetName(name string, v []byte)                           { panic("todo") }
func (m *Message) Prepend(h HeaderID, v []byte)                            { panic("todo") }
func (m *Message) PrependString(h HeaderID, v string)                      { panic("todo") }
func (m *Message) Append(h HeaderID, v []byte)                             { panic("todo") }
func (m *Message) AppendString(h HeaderID, v string)                       { panic("todo") }
func (m *Message) RemoveFirst(h HeaderID) bool                             { panic("todo") }
func (m *Message) RemoveLast(h HeaderID) bool                              { panic("todo") }
func (m *Message) ReplaceFirst(h HeaderID, v []byte)                       { panic("todo") }
func (m *Message) Remove(h HeaderID) int                                   { panic("todo") }
func (m *Message) RemoveName(name string) int                              { panic("todo") }
func (m *Message) SetBody(contentType string, body []byte)                 { panic("todo") }
func (m *Message) AppendTo(dst []byte) []byte                              { panic("todo") }
func (m *Message) AppendFiltered(dst []byte, allow *HeaderSet) []byte      { panic("todo") }
func (m *Message) Size() int                                               { panic("todo") }
func (m *Message) TopVia() (Via, error)                                    { panic("todo") }
func (m *Message) From() (NameAddr, error)                                 { panic("todo") }
func (m *Message) To() (NameAddr, error)                                   { panic("todo") }
func (m *Message) CSeq() (seq uint32, method []byte, err error)            { panic("todo") }
func (m *Message) ToTag() []byte                                           { panic("todo") }
func (m *Message) FromTag() []byte                                         { panic("todo") }
func (m *Message) MaxForwards() (n int, ok bool)                           { panic("todo") }
func (m *Message) Expires() (seconds uint32, ok bool)                      { panic("todo") }
func (m *Message) ContactExpires(i int) (seconds uint32, ok bool)          { panic("todo") }
func Param(params []byte, name string) (value []byte, ok bool)             { panic("todo") }
func Validate(m *Message) *Reject                                          { panic("todo") }

// Reject is the answer of layer two to a message that must not be processed.
type Reject struct {
	Status int    // the status code to answer with
	Reason string // the reason phrase
	Silent bool   // no answer at all (ACK, responses, nothing to route an answer by)
}

// URI is a parsed SIP, SIPS or tel URI; the slices are views of the octets that were parsed.
type URI struct {
	Scheme, User, Password, Host []byte
	Port                         uint16 // 0 = none
	Params, Headers              []byte // without the leading ';' and '?'
}

func ParseURI(b []byte) (URI, error)            { panic("todo") }
func (u *URI) AppendTo(dst []byte) []byte       { panic("todo") }
func (u *URI) AppendAOR(dst []byte) []byte      { panic("todo") }
func (u *URI) Param(name string) ([]byte, bool) { panic("todo") }
func (u *URI) Equal(v *URI) bool                { panic("todo") }

// NameAddr is a parsed name-addr or addr-spec with its parameters.
type NameAddr struct{ Display, URI, Params []byte }

func ParseNameAddr(b []byte) (NameAddr, error)       { panic("todo") }
func (n *NameAddr) Tag() []byte                      { panic("todo") }
func (n *NameAddr) Param(name string) ([]byte, bool) { panic("todo") }

// Via is one parsed Via value.
type Via struct {
	Transport, Host  []byte
	Port             uint16
	Branch, Received []byte
	HasRPort         bool   // rport is present (RFC 3581)
	RPort            uint16 // its value, 0 = none
	Params           []byte
}

func ParseVia(b []byte) (Via, error) { panic("todo") }

// Credentials are the Digest credentials of an Authorization or Proxy-Authorization value, unquoted views.
type Credentials struct {
	Username, Realm, Nonce, URI, Response, Algorithm []byte
	Cnonce, QOP, NC, Opaque, AUTS                    []byte
	IntegrityProtected                               []byte
}

func ParseCredentials(b []byte) (Credentials, error) { panic("todo") }
func (c *Credentials) AppendTo(dst []byte) []byte    { panic("todo") }

// Challenge is a Digest challenge of a WWW-Authenticate or Proxy-Authenticate value.
type Challenge struct {
	Realm, Nonce, Algorithm, QOP, Opaque, Domain []byte
	Stale                                        bool
}

func ParseChallenge(b []byte) (Challenge, error) { panic("todo") }
func (c *Challenge) AppendTo(dst []byte) []byte  { panic("todo") }

// Framer cuts a stream into messages.
type Framer struct{}

// Keep-alives that Framer.Next reports (RFC 5626 4.4.1); they are no failures: call Next again.
var (
	ErrPong = &ParseError{"single CRLF between messages (pong)"}
	ErrPing = &ParseError{"double CRLF between messages (ping): answer CRLF"}
)

func NewFramer(l Limits) *Framer                { panic("todo") }
func (f *Framer) Write(p []byte) (int, error)   { panic("todo") }
func (f *Framer) Next() (msg []byte, err error) { panic("todo") }
