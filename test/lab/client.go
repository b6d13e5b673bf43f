package lab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Client is a scripted client: it does what it is told and judges nothing.
type Client struct {
	Name    string
	IMPI    string
	IMPU    string
	Address netip.AddrPort
	Card    aka.Algorithm
	// Password is that of a client without a card.
	Password string
	// Inbox holds what arrived and was not taken yet, oldest first.
	Inbox        []*sip.Message
	ServiceRoute []string  // of the last registration
	Siblings     []*Client // of the same subscription, with cards of their own

	w        *World
	node     *Node
	pool     *sip.Pool
	cseq     uint32
	invited  uint32 // CSeq of the last INVITE, which its ACK repeats
	last     []byte // what was transmitted last
	calls    int
	register dialog
	counts   map[string]int          // by nonce of SIP Digest
	said     map[sip.HeaderID]string // credentials of the last request that had some
	rspauth  string                  // what the network must show after the last answer
	dialog   dialog                  // of the current call
	sent     *sip.Message            // last request sent outside REGISTER
	request  *sip.Message            // last request received
	received map[string]*sip.Message // and the last of each method
}

// dialog is what a client remembers to build the next request of one (RFC 3261 12).
type dialog struct {
	callID, localTag, remoteTag string
	local, remote, target       string
	route                       []string
}

// take removes and returns the first arrived message that fits; nil if none does.
func (c *Client) take(fits func(*sip.Message) bool) *sip.Message {
	c.w.Settle()
	i := slices.IndexFunc(c.Inbox, fits)
	if i < 0 {
		return nil
	}
	m := c.Inbox[i]
	c.Inbox = slices.Delete(c.Inbox, i, i+1)
	return m
}

// Response takes the first waiting response with the code, nil if there is none.
func (c *Client) Response(code int) *sip.Message {
	m := c.take(func(m *sip.Message) bool { return !m.IsRequest() && m.Status() == code })
	if m == nil || c.sent == nil || code == 100 {
		return m
	}
	c.learn(m)
	if _, method, err := m.CSeq(); err == nil && string(method) == "INVITE" && code >= 300 {
		c.acknowledge(m)
	}
	return m
}

// acknowledge sends the ACK of a failed INVITE, which belongs to its transaction (RFC 3261 17.1.1.3).
func (c *Client) acknowledge(failure *sip.Message) {
	m := c.pool.NewRequest(sip.ACK, string(c.sent.RequestURI()))
	for _, h := range []sip.HeaderID{sip.HdrVia, sip.HdrMaxForwards, sip.HdrFrom, sip.HdrCallID} {
		m.Append(h, c.sent.Get(h))
	}
	m.Append(sip.HdrTo, failure.Get(sip.HdrTo))
	seq, _, _ := c.sent.CSeq()
	m.AppendString(sip.HdrCSeq, fmt.Sprintf("%d ACK", seq))
	c.Transmit(m)
}

// learn keeps the dialog that a response to our INVITE makes. The answer to a CANCEL is hop by hop, and so is its tag (RFC 3261 9.2).
func (c *Client) learn(m *sip.Message) {
	if _, method, err := m.CSeq(); err != nil || string(method) == "CANCEL" {
		return
	}
	if tag := m.ToTag(); len(tag) > 0 && string(m.Get(sip.HdrCallID)) == c.dialog.callID {
		c.dialog.remoteTag = string(tag)
		if contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact)); err == nil {
			c.dialog.target = string(contact.URI)
		}
		if m.Has(sip.HdrRecordRoute) {
			c.dialog.route = nil
			for v := range m.Values(sip.HdrRecordRoute) {
				c.dialog.route = append([]string{string(v)}, c.dialog.route...)
			}
		}
	}
}

// Request takes the first waiting request of the method, nil if there is none, and keeps its dialog.
func (c *Client) Request(method string) *sip.Message {
	m := c.take(func(m *sip.Message) bool { return m.IsRequest() && string(m.MethodName()) == method })
	if m == nil {
		return nil
	}
	switch method {
	case "ACK":
	case "CANCEL": // answered at once; what remains to be answered is the request it cancels (RFC 3261 9.2)
		c.Transmit(c.pool.NewResponse(m, 200, ""))
	default:
		c.request = m
		if c.received == nil {
			c.received = map[string]*sip.Message{}
		}
		c.received[method] = m
	}
	if len(m.ToTag()) == 0 && method == "INVITE" {
		contact, _ := sip.ParseNameAddr(m.Get(sip.HdrContact))
		c.calls++
		c.dialog = dialog{callID: string(m.Get(sip.HdrCallID)), localTag: fmt.Sprintf("%s-in-%d", c.Name, c.calls),
			remoteTag: string(m.FromTag()), local: string(m.Get(sip.HdrTo)), remote: plain(m.Get(sip.HdrFrom)),
			target: string(contact.URI)}
		for v := range m.Values(sip.HdrRecordRoute) {
			c.dialog.route = append(c.dialog.route, string(v))
		}
	}
	return m
}

// plain returns a From or To value without its tag.
func plain(v []byte) string {
	addr, err := sip.ParseNameAddr(v)
	if err != nil {
		return string(v)
	}
	return "<" + string(addr.URI) + ">"
}

func (c *Client) contact() string {
	return fmt.Sprintf("sip:%s@%s", c.Name, c.Address)
}

// start makes a request with what every one has.
func (c *Client) start(method sip.Method, uri string, d *dialog) *sip.Message {
	c.cseq++
	seq := c.cseq
	switch method {
	case sip.INVITE:
		c.invited = seq
	case sip.ACK:
		seq = c.invited
	}
	m := c.pool.NewRequest(method, uri)
	m.AppendString(sip.HdrVia, fmt.Sprintf("SIP/2.0/UDP %s;rport;branch=z9hG4bK-%s-%d", c.Address, c.Name, c.cseq))
	m.AppendString(sip.HdrMaxForwards, "70")
	from := fmt.Sprintf("%s;tag=%s", d.local, d.localTag)
	to := d.remote
	if d.remoteTag != "" {
		to += ";tag=" + d.remoteTag
	}
	m.AppendString(sip.HdrFrom, from)
	m.AppendString(sip.HdrTo, to)
	m.AppendString(sip.HdrCallID, d.callID)
	m.AppendString(sip.HdrCSeq, fmt.Sprintf("%d %s", seq, method))
	for _, r := range d.route {
		m.AppendString(sip.HdrRoute, r)
	}
	return m
}

// Transmit sends m to the node as it is.
func (c *Client) Transmit(m *sip.Message) {
	c.last = m.AppendTo(nil)
	c.Retransmit()
}

// Retransmit sends again what was sent last.
func (c *Client) Retransmit() { c.w.Send(c.Address, c.node.Address, c.last) }

// Receive takes a datagram. One that does not parse is a defect of the node and ends the test.
func (c *Client) Receive(_ netip.AddrPort, data []byte) {
	m, err := c.pool.Parse(data)
	if err != nil {
		panic(fmt.Sprintf("lab: the node sent what does not parse: %v\n%s", err, data))
	}
	c.Inbox = append(c.Inbox, m)
}

// Edit changes a message before it leaves.
type Edit func(*sip.Message)

// Header returns an Edit that sets a header by its name.
func Header(name, value string) Edit {
	return func(m *sip.Message) {
		if h := sip.LookupHeader([]byte(name)); value == "" {
			m.Remove(h)
		} else if h != sip.HdrOther {
			m.SetString(h, value)
		} else {
			m.SetName(name, []byte(value))
		}
	}
}

// Body returns an Edit that gives a message a body.
func Body(contentType string, body []byte) Edit {
	return func(m *sip.Message) { m.SetBody(contentType, body) }
}

// Spoil is an Edit that makes the answer to a challenge a wrong one.
func Spoil(m *sip.Message) {
	h := sip.HdrAuthorization
	if m.Method() != sip.REGISTER {
		h = sip.HdrProxyAuthorization
	}
	c, err := sip.ParseCredentials(m.Get(h))
	if err != nil || len(c.Response) == 0 {
		return
	}
	c.Response = bytes.Clone(c.Response)
	if c.Response[0]++; c.Response[0] == '9'+1 || c.Response[0] == 'f'+1 {
		c.Response[0] = '0'
	}
	m.Set(h, c.AppendTo(nil))
}

// Resynchronise is an Edit that answers a challenge as a card does whose counter stands at sqn: AUTS, and a response with an
// empty password (RFC 3310 3.4).
func (c *Client) Resynchronise(challenge *sip.Message, sqn uint64) Edit {
	return func(m *sip.Message) {
		asked, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
		if err != nil {
			return
		}
		nonce, err := aka.ParseNonce(asked.Nonce)
		credentials, wrong := sip.ParseCredentials(m.Get(sip.HdrAuthorization))
		if err != nil || wrong != nil {
			return
		}
		credentials.AUTS = aka.AppendAUTS(nil, aka.MakeAUTS(c.Card, nonce.RAND, aka.SQN(sqn)))
		digest := aka.Digest{Algorithm: aka.AKAv1MD5, Username: credentials.Username, Realm: credentials.Realm, Nonce: credentials.Nonce,
			URI: credentials.URI, Method: []byte("REGISTER"), QOP: credentials.QOP, NC: credentials.NC, Cnonce: credentials.Cnonce}
		credentials.Response = digest.AppendResponse(nil, nil)
		m.Set(sip.HdrAuthorization, credentials.AppendTo(nil))
	}
}

// SequenceNumber returns the SQN of a challenge, as the card sees it.
func (c *Client) SequenceNumber(challenge *sip.Message) (uint64, error) {
	asked, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return 0, err
	}
	nonce, err := aka.ParseNonce(asked.Nonce)
	if err != nil {
		return 0, err
	}
	opened, err := aka.Open(c.Card, nonce.RAND, nonce.AUTN)
	return uint64(opened.SQN), err
}

// SendRegister sends a REGISTER; answer is a challenge that it answers, or nil.
func (c *Client) SendRegister(answer *sip.Message, edits ...Edit) error {
	if c.register.callID == "" {
		c.register = dialog{callID: "reg-" + c.Name, localTag: "r" + c.Name, local: "<" + c.IMPU + ">", remote: "<" + c.IMPU + ">"}
	}
	m := c.start(sip.REGISTER, "sip:"+Domain, &c.register)
	m.AppendString(sip.HdrContact, fmt.Sprintf("<%s>;expires=600;+g.3gpp.smsip", c.contact()))
	m.AppendString(sip.HdrSupported, "path")
	credentials := sip.Credentials{Username: []byte(c.IMPI), Realm: []byte(Domain), URI: []byte("sip:" + Domain), Nonce: []byte{}, Response: []byte{}}
	if answer != nil {
		if err := c.answer(answer, &credentials); err != nil {
			return err
		}
	}
	m.Append(sip.HdrAuthorization, credentials.AppendTo(nil))
	for _, edit := range edits {
		edit(m)
	}
	c.note(m)
	c.Transmit(m)
	return nil
}

// answer computes the response to a challenge as a USIM would, without judging the sequence number.
func (c *Client) answer(m *sip.Message, credentials *sip.Credentials) error {
	challenge, err := sip.ParseChallenge(m.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return err
	}
	algorithm, known := aka.ParseDigestAlgorithm(challenge.Algorithm)
	if !known {
		return fmt.Errorf("algorithm %s", challenge.Algorithm)
	}
	if !algorithm.AKA() {
		return c.answerDigest(&challenge, algorithm, "REGISTER", "sip:"+Domain, credentials)
	}
	nonce, err := aka.ParseNonce(challenge.Nonce)
	if err != nil {
		return err
	}
	if _, err := aka.Open(c.Card, nonce.RAND, nonce.AUTN); err != nil {
		return fmt.Errorf("the network is not genuine: %w", err)
	}
	res, ck, ik, _ := c.Card.F2345(nonce.RAND)
	password := algorithm.AppendPassword(nil, &res, &ck, &ik)
	credentials.Realm, credentials.Nonce, credentials.Algorithm = challenge.Realm, challenge.Nonce, challenge.Algorithm
	credentials.QOP, credentials.NC, credentials.Cnonce = []byte("auth"), []byte("00000001"), []byte(hex.EncodeToString([]byte(c.Name)))
	digest := aka.Digest{Algorithm: algorithm, Username: credentials.Username, Realm: credentials.Realm, Nonce: credentials.Nonce,
		URI: credentials.URI, Method: []byte("REGISTER"), QOP: credentials.QOP, NC: credentials.NC, Cnonce: credentials.Cnonce}
	credentials.Response = digest.AppendResponse(nil, password)
	return nil
}

// Register does a whole registration; the 200 is returned.
func (c *Client) Register(edits ...Edit) (*sip.Message, error) {
	if err := c.SendRegister(nil, edits...); err != nil {
		return nil, err
	}
	challenge := c.Response(401)
	if challenge == nil {
		return nil, fmt.Errorf("%s: no challenge, but %s", c.Name, c.Pending())
	}
	if err := c.SendRegister(challenge, edits...); err != nil {
		return nil, err
	}
	ok := c.Response(200)
	if ok == nil {
		return nil, fmt.Errorf("%s: not registered, but %s", c.Name, c.Pending())
	}
	c.ServiceRoute = nil
	for v := range ok.Values(sip.HdrServiceRoute) {
		c.ServiceRoute = append(c.ServiceRoute, string(v))
	}
	return ok, nil
}

// Send sends an initial request to a public identity.
func (c *Client) Send(method sip.Method, to string, edits ...Edit) *sip.Message {
	c.calls++
	c.dialog = dialog{callID: fmt.Sprintf("%s-%d", c.Name, c.calls), localTag: fmt.Sprintf("%s-out-%d", c.Name, c.calls),
		local: "<" + c.IMPU + ">", remote: "<" + to + ">", route: c.ServiceRoute}
	m := c.start(method, to, &c.dialog)
	if method.MakesDialog() {
		m.AppendString(sip.HdrContact, "<"+c.contact()+">")
	}
	for _, edit := range edits {
		edit(m)
	}
	c.sent = m
	c.note(m)
	c.Transmit(m)
	return m
}

// SendInDialog sends a request inside the current dialog; ACK repeats the number of the INVITE.
func (c *Client) SendInDialog(method sip.Method, edits ...Edit) {
	m := c.start(method, c.dialog.target, &c.dialog)
	if method.MakesDialog() || method == sip.UPDATE {
		m.AppendString(sip.HdrContact, "<"+c.contact()+">")
	}
	for _, edit := range edits {
		edit(m)
	}
	if method == sip.INVITE {
		c.sent = m
	}
	c.Transmit(m)
}

// Steal makes the current call of victim this client's own, as one who heard all of it could.
func (c *Client) Steal(victim *Client) {
	c.dialog = victim.dialog
	c.dialog.local = "<" + c.IMPU + ">"
	c.cseq = victim.cseq + 1
}

// SendCancel cancels the last request.
func (c *Client) SendCancel() {
	m := c.pool.NewRequest(sip.CANCEL, string(c.sent.RequestURI()))
	for _, h := range []sip.HeaderID{sip.HdrVia, sip.HdrMaxForwards, sip.HdrFrom, sip.HdrTo, sip.HdrCallID} {
		m.Append(h, c.sent.Get(h))
	}
	seq, _, _ := c.sent.CSeq()
	m.AppendString(sip.HdrCSeq, fmt.Sprintf("%d CANCEL", seq))
	c.Transmit(m)
}

// AnswerTo responds to the last request of the method that was received.
func (c *Client) AnswerTo(method string, code int, edits ...Edit) error {
	if c.received[method] == nil {
		return fmt.Errorf("%s received no %s", c.Name, method)
	}
	c.request = c.received[method]
	c.Answer(code, edits...)
	return nil
}

// Answer responds to the last request received.
func (c *Client) Answer(code int, edits ...Edit) {
	m := c.pool.NewResponse(c.request, code, "")
	if code > 100 && len(m.ToTag()) == 0 {
		tag := c.dialog.localTag
		if tag == "" {
			tag = c.Name
		}
		m.SetString(sip.HdrTo, string(m.Get(sip.HdrTo))+";tag="+tag)
	}
	for v := range c.request.Values(sip.HdrRecordRoute) {
		m.Append(sip.HdrRecordRoute, v)
	}
	if method := c.request.Method(); method.MakesDialog() || method == sip.UPDATE {
		m.AppendString(sip.HdrContact, "<"+c.contact()+">")
	}
	for _, edit := range edits {
		edit(m)
	}
	c.Transmit(m)
}

// Pending describes what waits in the inbox, for error messages.
func (c *Client) Pending() string {
	c.w.Settle()
	var all []string
	for _, m := range c.Inbox {
		if m.IsRequest() {
			all = append(all, string(m.MethodName()))
		} else {
			all = append(all, fmt.Sprintf("%d %s (%s)", m.Status(), m.Reason(), m.Get(sip.HdrCSeq)))
		}
	}
	if len(all) == 0 {
		return "nothing arrived"
	}
	return strings.Join(all, ", ")
}
