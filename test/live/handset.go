package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Patience is how long a test waits for what must come. It measures nothing: where others have the processors of the machine, that takes its time.
const Patience = time.Minute

// Handset is a phone with what its registration told it.
type Handset struct {
	*Phone
	Ahead bool // its card has seen sequence numbers that the HSS has not given
	Lies  bool // it answers challenges without having the card: RES and AUTS are made up

	proxy        string   // Route to its P-CSCF
	serviceRoute []string // RFC 3608
	associated   []string // RFC 7315 4.1
	callID       string   // of its registration
	cseq         int
	came         map[string]bool // what next has returned
}

// NewHandset makes a handset of u that talks over conn, whose network is "udp", "tcp" or "tls", to the P-CSCF at its end. It ends with the
// test.
func NewHandset(t testing.TB, conn net.Conn, network string, u *User) *Handset {
	p := NewPhone(conn, network, u)
	t.Cleanup(p.Close)
	return &Handset{Phone: p, proxy: fmt.Sprintf("Route: <sip:%s;transport=%s;lr>", conn.RemoteAddr(), network), callID: u.Name + "-registration",
		came: map[string]bool{}}
}

// Register registers for some seconds, or takes the registration back with 0, and returns how many challenges that took.
func (h *Handset) Register(ctx context.Context, expires int) (challenges int, err error) {
	const realm = Domain
	authorization := fmt.Sprintf(`Digest username="%s",realm="%s",nonce="",uri="sip:%s",response=""`, h.IMPI, realm, realm)
	for {
		h.cseq++
		request := h.within(h.Request("REGISTER", "sip:"+realm, h.IMPU, "", fmt.Sprintf("Contact: %s;expires=%d", h.Contact(), expires),
			fmt.Sprintf("Expires: %d", expires), "Supported: path", "Authorization: "+authorization), h.callID, h.cseq)
		answer, err := h.Ask(ctx, request)
		if err != nil {
			return challenges, err
		}
		switch {
		case answer.Status() == 200:
			return challenges, h.registered(answer, expires)
		case answer.Status() != 401 || challenges > 3:
			return challenges, fmt.Errorf("REGISTER of %s: %d %s after %d challenges", h.Name, answer.Status(), answer.Reason(), challenges)
		}
		challenges++
		if k := answer.Get(sip.HdrWWWAuthenticate); sip.AuthParam(k, "ck") != nil || sip.AuthParam(k, "ik") != nil {
			return challenges, errors.New("session keys came to the client (ZB-01)")
		}
		respond := h.Authorize
		if h.Ahead {
			respond = h.resynchronise
		}
		if authorization, err = respond(answer); err != nil {
			return challenges, err
		}
		if h.Lies {
			authorization = lie(authorization)
		}
	}
}

// lie changes the proof in an Authorization.
func lie(authorization string) string {
	changed := []byte(authorization)
	for _, proof := range []string{`response="`, `auts="`} {
		if at := strings.Index(authorization, proof); at >= 0 {
			digit := &changed[at+len(proof)]
			if *digit++; *digit > '9' {
				*digit = '0'
			}
		}
	}
	return string(changed)
}

// resynchronise answers a challenge with where the card is: far ahead (TS 33.102 6.3.5, RFC 3310 3.4).
func (h *Handset) resynchronise(challenge *sip.Message) (string, error) {
	c, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return "", err
	}
	nonce, err := aka.ParseNonce(c.Nonce)
	if err != nil {
		return "", err
	}
	opened, err := aka.Open(h.Card, nonce.RAND, nonce.AUTN)
	if err != nil {
		return "", err
	}
	h.Ahead = false
	auts := aka.AppendAUTS(nil, aka.MakeAUTS(h.Card, nonce.RAND, opened.SQN+1000<<aka.INDBits))
	algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm)
	if !known {
		return "", fmt.Errorf("live: digest algorithm %q", c.Algorithm)
	}
	d := aka.Digest{Algorithm: algorithm, Username: []byte(h.IMPI), Realm: c.Realm, Nonce: c.Nonce, URI: []byte("sip:" + Domain),
		Method: []byte("REGISTER"), QOP: []byte("auth"), NC: []byte("00000001"), Cnonce: []byte("0a4f113b")}
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="%s",uri="%s",response="%s",algorithm=%s,qop=auth,nc=%s,cnonce="%s",auts="%s"`,
		h.IMPI, c.Realm, c.Nonce, d.URI, d.AppendResponse(nil, nil), c.Algorithm, d.NC, d.Cnonce, auts), nil
}

// within puts a request into a row of requests: Call-ID and CSeq are theirs.
func (h *Handset) within(request, callID string, cseq int) string {
	lines := strings.Split(request, "\r\n")
	for i, line := range lines {
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "Call-ID":
			lines[i] = "Call-ID: " + callID
		case "CSeq":
			_, method, _ := strings.Cut(value, " ")
			lines[i] = fmt.Sprintf("CSeq: %d %s", cseq, method)
		}
	}
	return strings.Join(lines, "\r\n")
}

// registered keeps what a 200 tells (TS 24.229 5.1.1.2).
func (h *Handset) registered(answer *sip.Message, expires int) error {
	defer answer.Release()
	if expires == 0 {
		return nil
	}
	h.serviceRoute, h.associated = values(answer, sip.HdrServiceRoute), values(answer, sip.HdrPAssociatedURI)
	if len(h.serviceRoute) == 0 || len(h.associated) == 0 {
		return fmt.Errorf("the 200 to %s has Service-Route %q and P-Associated-URI %q", h.Name, h.serviceRoute, h.associated)
	}
	return nil
}

func values(m *sip.Message, name sip.HeaderID) (all []string) {
	for v := range m.Values(name) {
		all = append(all, string(v))
	}
	return all
}

// Initial builds an initial request to another user, by the P-CSCF and the Service-Route.
func (h *Handset) Initial(method, to, body string, lines ...string) string {
	routes := []string{h.proxy}
	for _, r := range h.serviceRoute {
		routes = append(routes, "Route: "+r)
	}
	return h.Request(method, to, to, body, append(routes, append([]string{"Contact: " + h.Contact()}, lines...)...)...)
}

// Expect returns the next message that is what the test waits for: a request called method, or a final response to one. Provisional
// responses and repetitions are passed over.
func (h *Handset) Expect(t testing.TB, request bool, method string) *sip.Message {
	t.Helper()
	for {
		m := h.next(t, method)
		_, answered, _ := m.CSeq()
		if m.IsRequest() == request && string(answered) == method && (request || m.Status() >= 200) {
			return m
		}
		if m.IsRequest() && m.Method() == sip.NOTIFY { // of the subscription
			if err := h.Answer(m, 200); err != nil {
				t.Fatal(err)
			}
		}
		m.Release()
	}
}

// next returns the next message, which must come. What it has returned before was sent again since the test was slow, and may lie behind what came later.
func (h *Handset) next(t testing.TB, what string) *sip.Message {
	t.Helper()
	for {
		m, err := h.Read(Patience)
		if err != nil {
			t.Fatalf("%s waits for %s: %v", h.Name, what, err)
		}
		via, _ := m.TopVia()
		_, method, _ := m.CSeq()
		if of := fmt.Sprintf("%s %s %d", via.Branch, method, m.Status()); !h.came[of] { // RFC 3261 17.1.3, 17.2.3
			h.came[of] = true
			return m
		}
		m.Release()
	}
}

// rings waits for 180.
func (h *Handset) rings(t testing.TB) {
	t.Helper()
	for {
		m := h.next(t, "180")
		if !m.IsRequest() && m.Status() == 180 {
			return
		}
		m.Release()
	}
}

// cancel builds the CANCEL of an INVITE: its first Via, routes, From, To, Call-ID and number (RFC 3261 9.1).
func cancel(invite string) string { return ofTransaction(invite, "CANCEL") }

// acknowledge builds the ACK of an INVITE that was refused, which is the same with the To of the answer (RFC 3261 17.1.1.3). Without it the
// answer comes again and again.
func acknowledge(invite string, refused *sip.Message) string {
	ack := ofTransaction(invite, "ACK")
	before, rest, _ := strings.Cut(ack, "\r\nTo: ")
	_, after, _ := strings.Cut(rest, "\r\n")
	return before + "\r\nTo: " + string(refused.Get(sip.HdrTo)) + "\r\n" + after
}

// ofTransaction builds a request that belongs to the transaction of an INVITE.
func ofTransaction(invite, method string) string {
	head, _, _ := strings.Cut(invite, "\r\n\r\n")
	var lines []string
	for _, line := range strings.Split(strings.ReplaceAll(head, "INVITE", method), "\r\n") {
		if name, _, _ := strings.Cut(line, ": "); name != "Contact" && name != "Content-Type" && name != "Content-Length" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

// dialog is one side of a dialog (RFC 3261 12.1).
type dialog struct {
	h             *Handset
	callID        string
	local, remote string // values of From and To
	target        string
	route         []string
	cseq          int
}

// request builds a request inside the dialog (RFC 3261 12.2.1.1).
func (d *dialog) request(method string, lines ...string) string {
	if method != "ACK" {
		d.cseq++
	}
	for _, r := range d.route {
		lines = append(lines, "Route: "+r)
	}
	request := d.h.within(d.h.Request(method, d.target, "x", "", lines...), d.callID, d.cseq)
	head := strings.Split(request, "\r\n")
	for i, line := range head {
		switch name, _, _ := strings.Cut(line, ": "); name {
		case "From":
			head[i] = "From: " + d.local
		case "To":
			head[i] = "To: " + d.remote
		}
	}
	return strings.Join(head, "\r\n")
}

// caller is the dialog that a 2xx makes on the side that called.
func (h *Handset) caller(ok *sip.Message) *dialog {
	seq, _, _ := ok.CSeq()
	d := &dialog{h: h, callID: string(ok.Get(sip.HdrCallID)), local: string(ok.Get(sip.HdrFrom)), remote: string(ok.Get(sip.HdrTo)), target: target(ok), cseq: int(seq)}
	for _, r := range values(ok, sip.HdrRecordRoute) {
		d.route = append([]string{r}, d.route...)
	}
	return d
}

// called is the dialog on the side that was called: its tag is the phone's in whatever it sends.
func (h *Handset) called(invite *sip.Message) *dialog {
	_, tag, _ := strings.Cut(h.Request("OPTIONS", h.IMPU, h.IMPU, ""), ";tag=")
	tag, _, _ = strings.Cut(tag, "\r\n")
	return &dialog{h: h, callID: string(invite.Get(sip.HdrCallID)), local: string(invite.Get(sip.HdrTo)) + ";tag=" + tag, remote: string(invite.Get(sip.HdrFrom)),
		target: target(invite), route: values(invite, sip.HdrRecordRoute)}
}

func target(m *sip.Message) string {
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		return ""
	}
	return string(contact.URI)
}
