package attack

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Hand is a client that judges nothing and writes what the driver says, octet by octet. It is the attacker's, or that of an honest
// witness who looks at every octet. Its methods are for one goroutine.
type Hand struct {
	*User // nil for a stranger

	f        *Field
	conn     net.Conn
	proto    string // of its Via
	sentBy   string // of its Via
	tag      string
	instance string
	number   uint32
	answers  atomic.Bool   // 200 to every request
	heard    *bytes.Buffer // all that comes, if not nil; to be read after Close
	// serves, if not nil, is asked for each message first; one that it takes does not wait in the inbox. It runs on the reader.
	serves func(*sip.Message) bool
	// hostile hands are the attacker's: what they are answered is counted.
	hostile bool
	bound   []Registering            // what it has registered, and may have to take back
	routes  atomic.Pointer[[]string] // Service-Route of the last registration, at a foreign target
	proxy   atomic.Pointer[asks]     // its challenge, at a foreign target with passwords
	pongs   chan struct{}            // if not nil, told of a pong (RFC 5626 4.4.1)

	lastAuthorization string // that answered a challenge: what a reader of the connection has

	pool    *sip.Pool
	inbox   chan *sip.Message
	backlog []*sip.Message
	gone    chan struct{} // closed when the reader has ended
	write   sync.Mutex
}

// Errors of a Hand.
var (
	ErrSilence = errors.New("attack: no answer")
	ErrClosed  = errors.New("attack: the target closed the connection")
)

// makeHand makes a hand whose reader has still to be started.
func makeHand(f *Field, conn net.Conn, proto string) *Hand {
	return &Hand{f: f, conn: conn, proto: proto, tag: f.token(), instance: f.token(), pool: sip.NewPool(sip.Limits{}),
		inbox: make(chan *sip.Message, heardAtMost), gone: make(chan struct{})}
}

// token returns 80 bits of randomness as 16 characters.
func (f *Field) token() string {
	var b [10]byte
	if _, err := io.ReadFull(f.Random, b[:]); err != nil {
		panic("attack: no randomness: " + err.Error())
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// Close ends the connection and waits for the reader.
func (h *Hand) Close() {
	_ = h.conn.Close() // it may have ended
	<-h.gone
}

// read takes messages off the connection until that ends. What nobody fetches in time is dropped.
func (h *Hand) read() {
	defer close(h.gone)
	framer := h.pool.NewFramer()
	defer framer.Close()
	buf := make([]byte, 65536)
	for {
		n, err := h.conn.Read(buf)
		if err != nil {
			return
		}
		if h.proto == "UDP" {
			h.take(buf[:n])
			continue
		}
		if _, err := framer.Write(buf[:n]); err != nil {
			return
		}
		for {
			raw, err := framer.Next()
			if err != nil && !errors.Is(err, sip.ErrPong) && !errors.Is(err, sip.ErrPing) {
				return
			}
			if raw == nil && err == nil {
				break
			}
			if err != nil {
				h.ponged()
			}
			if raw != nil {
				h.take(raw)
			}
		}
	}
}

func (h *Hand) ponged() {
	select {
	case h.pongs <- struct{}{}:
	default: // nobody waits
	}
}

func (h *Hand) take(raw []byte) {
	if h.heard != nil {
		h.heard.Write(raw)
	}
	m, err := h.pool.Parse(raw)
	if err != nil {
		return
	}
	h.learns(m)
	if h.serves != nil && h.serves(m) {
		m.Release()
		return
	}
	if h.answers.Load() && m.IsRequest() && m.Method() != sip.ACK {
		_ = h.Answer(m, 200) // who has closed needs no answer
	}
	select {
	case h.inbox <- m:
	default:
		m.Release()
	}
}

// learns takes from an answer what a telephone takes, and what the record wants to know.
func (h *Hand) learns(m *sip.Message) {
	if m.IsRequest() || m.Status() < 200 {
		return
	}
	if h.hostile {
		h.f.answers.add(m)
	}
	h.asked(m)
	if h.f.Foreign && m.Status() == 200 && bytes.HasSuffix(m.Get(sip.HdrCSeq), []byte("REGISTER")) {
		var routes []string
		for v := range m.Values(sip.HdrServiceRoute) {
			routes = append(routes, "Route: "+string(v))
		}
		h.routes.Store(&routes)
	}
}

// Write sends octets as they are.
func (h *Hand) Write(octets string) error {
	h.write.Lock()
	defer h.write.Unlock()
	if _, err := io.WriteString(h.conn, octets); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

// Await returns the first message that fits; others wait for a later call.
func (h *Hand) Await(ctx context.Context, fits func(*sip.Message) bool) (*sip.Message, error) {
	for i, m := range h.backlog {
		if fits(m) {
			h.backlog = append(h.backlog[:i], h.backlog[i+1:]...)
			return m, nil
		}
	}
	for {
		select {
		case m := <-h.inbox:
			if fits(m) {
				return m, nil
			}
			h.backlog = append(h.backlog, m)
			continue
		default:
		}
		select {
		case m := <-h.inbox:
			if fits(m) {
				return m, nil
			}
			h.backlog = append(h.backlog, m)
		case <-h.gone:
			if len(h.inbox) == 0 {
				return nil, ErrClosed
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrSilence, ctx.Err())
		}
	}
}

// Got waits for a request with this method and body.
func (h *Hand) Got(ctx context.Context, method sip.Method, body string) (*sip.Message, error) {
	return h.Await(ctx, func(m *sip.Message) bool {
		return m.IsRequest() && m.Method() == method && (body == "" || string(m.Body()) == body)
	})
}

// Ask sends a request and returns its final response. It finds Call-ID and CSeq as Text writes them: the rest may be no SIP. A user with a password
// answers a proxy that challenges him, once, as his telephone would.
func (h *Hand) Ask(ctx context.Context, request string) (*sip.Message, error) {
	m, err := h.ask(ctx, request)
	if err != nil || m.Status() != 407 {
		return m, err
	}
	if again, may := h.again(request); may {
		return h.ask(ctx, again)
	}
	return m, nil
}

func (h *Hand) ask(ctx context.Context, request string) (*sip.Message, error) {
	if err := h.Write(request); err != nil {
		return nil, err
	}
	callID, cseq := lineOf(request, "Call-ID: "), lineOf(request, "CSeq: ")
	return h.Await(ctx, func(m *sip.Message) bool {
		return !m.IsRequest() && m.Status() >= 200 && string(m.Get(sip.HdrCallID)) == callID && string(m.Get(sip.HdrCSeq)) == cseq
	})
}

// answered is Ask for the status alone, 0 for silence: that is the answer of an unprotected port beside protected ones.
func (h *Hand) answered(ctx context.Context, request string) (status int, err error) {
	var m *sip.Message
	return h.answeredBy(ctx, request, &m)
}

// lineOf returns the rest of the first line that begins with name.
func lineOf(text, name string) string {
	_, rest, _ := strings.Cut(text, "\r\n"+name)
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// Request is what a request says; zero fields take what an honest client would write.
type Request struct {
	Method, URI string
	From, To    string // URIs; the default is whom the hand belongs to, and URI
	Display     string // display name in From
	FromTag     string
	ToTag       string
	CallID      string
	CSeq        uint32
	Lines       []string // further header lines, without their end
	Body        string
}

// Text writes r.
func (h *Hand) Text(r Request) string {
	h.number++
	if r.CSeq == 0 {
		r.CSeq = h.number
	}
	if r.From == "" && h.User != nil {
		r.From = h.IMPU
	}
	if r.To == "" {
		r.To = r.URI
	}
	if r.FromTag == "" {
		r.FromTag = h.tag
	}
	if r.CallID == "" {
		r.CallID = h.f.token()
	}
	to, from := "To: <"+r.To+">", "From: <"+r.From+">"
	if r.Display != "" {
		from = `From: "` + r.Display + `" <` + r.From + ">"
	}
	if r.ToTag != "" {
		to += ";tag=" + r.ToTag
	}
	head := []string{r.Method + " " + r.URI + " SIP/2.0",
		"Via: " + h.via(), "Max-Forwards: 70",
		from + ";tag=" + r.FromTag, to, "Call-ID: " + r.CallID, fmt.Sprintf("CSeq: %d %s", r.CSeq, r.Method)}
	if r.Method != "REGISTER" {
		head = append(head, h.sealedLines()...)
		head = append(head, h.preloaded(&r)...)
		head = append(head, h.authorized(r.Method, r.URI)...)
	}
	head = append(head, r.Lines...)
	return strings.Join(head, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
}

// via is a value of Via with a branch of its own.
func (h *Hand) via() string {
	return fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK%s;rport", h.proto, cmp.Or(h.sentBy, h.conn.LocalAddr().String()), h.f.token())
}

// preloaded are what a telephone writes at a foreign target and a driver does not: Contact, by which some know it, and the Route of an initial request
// (TS 24.229 5.1.2A.1.1), if the driver names none.
func (h *Hand) preloaded(r *Request) (lines []string) {
	names := func(header string) bool {
		return slices.ContainsFunc(r.Lines, func(line string) bool { return strings.HasPrefix(line, header+": ") })
	}
	if h.f.Foreign && !names("Contact") {
		lines = append(lines, "Contact: "+h.Contact())
	}
	if routes := h.routes.Load(); routes != nil && r.ToTag == "" && !names("Route") {
		lines = append(lines, *routes...)
	}
	return lines
}

// Message writes an instant message with further header lines (RFC 3428).
func (h *Hand) Message(to, body string, lines ...string) string {
	return h.Text(Request{Method: "MESSAGE", URI: to, Body: body, Lines: append(lines, "Content-Type: text/plain")})
}

// Contact is where the hand is reached, as a value of Contact. All hands of a user are one device that connects again: a new binding
// takes the place of the former.
func (h *Hand) Contact() string {
	if h.User != nil && h.f.Foreign {
		return fmt.Sprintf("<sip:%s@%s;transport=%s>;+sip.instance=\"<urn:x-lab:%s>\"", h.Name, h.conn.LocalAddr(), strings.ToLower(h.proto), h.Name)
	}
	if h.User != nil {
		return fmt.Sprintf("<sip:%s@192.0.2.1;transport=%s>;+sip.instance=\"<urn:x-lab:%s>\"", h.Name, strings.ToLower(h.proto), h.Name)
	}
	return fmt.Sprintf("<sip:%s@%s;transport=%s>;+sip.instance=\"<urn:x-lab:%s>\"", h.tag, h.conn.LocalAddr(), strings.ToLower(h.proto),
		h.instance)
}

// Answer sends a response to m with further header lines.
func (h *Hand) Answer(m *sip.Message, status int, lines ...string) error {
	r := h.pool.NewResponse(m, status, "")
	if status > 100 {
		r.SetToTag(h.tag)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.AppendName(name, []byte(value))
	}
	text := string(r.AppendTo(nil))
	r.Release()
	return h.Write(text)
}

// Register registers the hand's own subscription.
func (h *Hand) Register(ctx context.Context) error {
	answer, err := h.RegisterAs(ctx, Registering{User: h.User, Expires: 600})
	if err != nil {
		return err
	}
	if answer.Status() != 200 {
		return fmt.Errorf("attack: %s is not registered: %d", h.Name, answer.Status())
	}
	h.meetsProxy(ctx)
	return nil
}

// Registering is a REGISTER with whose credentials, for whom.
type Registering struct {
	User    *User  // whose card answers the challenge
	IMPI    string // that is named; the default is the user's
	IMPU    string // that is registered; the default is the user's
	Contact string // value of Contact; the default is the hand's
	Expires int    // seconds
	Lines   []string

	Agreement Agreement // inside IPsec
	agreed    bool      // its lines are there already
}

// RegisterAs registers: an empty answer first, then one to the challenge. It returns what the target answered at last.
func (h *Hand) RegisterAs(ctx context.Context, r Registering) (*sip.Message, error) {
	if r.IMPI == "" {
		r.IMPI = r.User.IMPI
	}
	if r.IMPU == "" {
		r.IMPU = r.User.IMPU
	}
	if s, ok := h.conn.(*sealed); ok {
		return h.negotiate(ctx, s, r)
	}
	answer, err := h.Ask(ctx, h.Registers(r, h.firstAuthorization(r.IMPI)))
	if err != nil || answer.Status() != 401 || r.User == nil {
		return answer, err
	}
	// A foreign S-CSCF may challenge once more, if the answer was faster than its own store.
	for again := 0; ; again++ {
		authorization, err := h.Respond(r.User, r.IMPI, answer)
		if err != nil {
			return nil, err
		}
		h.lastAuthorization = authorization
		answer, err = h.Ask(ctx, h.Registers(r, authorization))
		if err == nil && answer.Status() == 200 && r.Expires > 0 {
			h.binds(r)
		}
		if err != nil || answer.Status() != 401 || !h.f.Foreign || r.User.Password != "" || again == 2 {
			return answer, err
		}
	}
}

// binds notes a registration that stands, each once.
func (h *Hand) binds(r Registering) {
	same := func(other Registering) bool { return other.IMPU == r.IMPU && other.Contact == r.Contact }
	if !slices.ContainsFunc(h.bound, same) {
		h.bound = append(h.bound, r)
	}
}

// Registers writes one REGISTER.
func (h *Hand) Registers(r Registering, authorization string) string {
	contact := r.Contact
	if contact == "" {
		contact = h.Contact()
	}
	if contact != "*" {
		contact += fmt.Sprintf(";expires=%d", r.Expires)
	}
	lines := []string{"Contact: " + contact, "Supported: path", fmt.Sprintf("Expires: %d", r.Expires)}
	if authorization != "" {
		lines = append(lines, "Authorization: "+authorization)
	}
	lines = append(lines, r.Lines...)
	if s, ok := h.conn.(*sealed); ok && !r.agreed {
		lines = append(lines, s.announces()...)
	}
	return h.Text(Request{Method: "REGISTER", URI: "sip:" + h.f.Domain, From: r.IMPU, To: r.IMPU, CallID: h.tag + h.instance, Lines: lines})
}

// NoResponse is the Authorization of a first REGISTER (TS 24.229 5.1.1.2.1).
func (h *Hand) NoResponse(impi string) string {
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="",uri="sip:%s",response=""`, impi, h.f.Domain, h.f.Domain)
}

// Respond computes the Authorization that answers a challenge with the card of u, as a card that accepts every sequence number, in the
// name of impi.
func (h *Hand) Respond(u *User, impi string, challenge *sip.Message) (string, error) {
	c, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return "", fmt.Errorf("attack: %w", err)
	}
	algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm)
	if !known {
		return "", fmt.Errorf("attack: a challenge for %q", c.Algorithm)
	}
	password := []byte(u.Password)
	if algorithm.AKA() {
		nonce, err := aka.ParseNonce(c.Nonce)
		if err != nil {
			return "", fmt.Errorf("attack: %w", err)
		}
		res, ck, ik, _ := aka.NewMilenage(u.K, u.OPc).F2345(nonce.RAND)
		password = algorithm.AppendPassword(nil, &res, &ck, &ik)
	}
	return h.credentials(&c, algorithm, impi, "REGISTER", "sip:"+h.f.Domain, password), nil
}

// credentials is the value of Authorization for a challenge and a password.
func (h *Hand) credentials(c *sip.Challenge, algorithm aka.DigestAlgorithm, username, method, uri string, password []byte) string {
	return h.credentialsNumbered(c, algorithm, username, method, uri, password, 1)
}

// credentialsNumbered is credentials for the n-th answer to the same nonce (RFC 7616 3.4.5).
func (h *Hand) credentialsNumbered(c *sip.Challenge, algorithm aka.DigestAlgorithm, username, method, uri string, password []byte, n int) string {
	d := aka.Digest{Algorithm: algorithm, Username: []byte(username), Realm: c.Realm, Nonce: c.Nonce, URI: []byte(uri), Method: []byte(method)}
	if c.HasQOP("auth") || algorithm.AKA() {
		d.QOP, d.NC, d.Cnonce = []byte("auth"), fmt.Appendf(nil, "%08x", n), []byte(h.tag)
	}
	out := sip.Credentials{Username: d.Username, Realm: d.Realm, Nonce: d.Nonce, URI: d.URI, Response: d.AppendResponse(nil, password),
		Algorithm: []byte(algorithm.String()), QOP: d.QOP, NC: d.NC, Cnonce: d.Cnonce, Opaque: c.Opaque}
	return string(out.AppendTo(nil))
}

// statusOf is the status code of an answer, 0 of none.
func statusOf(m *sip.Message) int {
	if m == nil {
		return 0
	}
	return m.Status()
}

// says returns the name of a header field of m that has word in its value.
func says(m *sip.Message, word string) (name string, found bool) {
	for n, v := range m.Fields() {
		if contains(v, word) {
			return string(n), true
		}
	}
	return "", false
}

func contains(v []byte, word string) bool { return bytes.Contains(v, []byte(word)) }
