package astest

import (
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// UE is a scripted client. Until it is told otherwise it rings and answers at once.
type UE struct {
	Name string
	// Invited are the INVITEs outside dialogs that came, oldest first; Messages what was said to it.
	Invited  []*sip.Message
	Messages []string
	// Reinvited is how many re-INVITEs came.
	Reinvited int
	// HungUp says that the other end has ended the last call.
	HungUp bool

	net     *Net
	client  *lab.Client
	manners func(u *UE)
	waiting bool // an INVITE rings
	call    *Call
}

// UE makes a client and its subscriber.
func (n *Net) UE(name string) *UE {
	n.t.Helper()
	c, err := n.node.AddUser(lab.User{Name: name})
	if err != nil {
		n.t.Fatal(err)
	}
	u := &UE{Name: name, net: n, client: c, manners: answers}
	n.ues = append(n.ues, u)
	return u
}

// Register registers it.
func (u *UE) Register() *UE {
	u.net.t.Helper()
	if _, err := u.client.Register(); err != nil {
		u.net.t.Fatal(err)
	}
	u.net.Settle()
	return u
}

// IMPU is its public identity.
func (u *UE) IMPU() string { return u.client.IMPU }

// Offer is the description that clients call with: one audio medium under DTLS-SRTP.
const Offer = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 40000 UDP/TLS/RTP/SAVP 8 0\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=setup:actpass\r\n" +
	"a=fingerprint:sha-256 11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00\r\n"

// answer is what they answer with.
const answer = "v=0\r\no=- 2 2 IN IP4 10.0.0.10\r\ns=-\r\nc=IN IP4 10.0.0.10\r\nt=0 0\r\nm=audio 40002 UDP/TLS/RTP/SAVP 8\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=setup:active\r\n" +
	"a=fingerprint:sha-256 21:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00\r\n"

func answers(u *UE) { u.rings(); u.PickUp() }

func (u *UE) rings() { u.reply(180) }

func (u *UE) reply(code int, edits ...lab.Edit) {
	if err := u.client.AnswerTo("INVITE", code, edits...); err != nil {
		u.net.t.Error(err)
	}
}

// Answers makes it ring and answer at once.
func (u *UE) Answers() *UE { u.manners = answers; return u }

// Busy makes it refuse calls with 486.
func (u *UE) Busy() *UE { return u.Declines(486) }

// Declines makes it refuse calls.
func (u *UE) Declines(code int) *UE {
	u.manners = func(u *UE) { u.waiting = false; u.reply(code) }
	return u
}

// NoAnswer makes it ring, until PickUp.
func (u *UE) NoAnswer() *UE { u.manners = (*UE).rings; return u }

// Silent makes it say nothing at all.
func (u *UE) Silent() *UE { u.manners = func(*UE) {}; return u }

// PickUp answers the call that rings.
func (u *UE) PickUp() {
	if u.waiting {
		u.waiting = false
		u.reply(200, lab.Body("application/sdp", []byte(answer)))
	}
}

// Deflect refuses the call that rings with a 302 to another (TS 24.604 4.5.2.6.5).
func (u *UE) Deflect(to string) {
	u.waiting = false
	u.reply(302, lab.Header("Contact", "<"+u.net.uri(to)+">"))
	u.net.Settle()
}

// Ringing says that a call rings which was neither answered nor given up.
func (u *UE) Ringing() bool { return u.waiting }

// Invite is the last INVITE that came, nil if none did.
func (u *UE) Invite() *sip.Message {
	if len(u.Invited) == 0 {
		return nil
	}
	return u.Invited[len(u.Invited)-1]
}

// Call is a call that a client made.
type Call struct {
	Rang   bool
	Status int // the final answer; 0 as long as there is none
	// Forwarded are the 181 that came: the call goes elsewhere.
	Forwarded []*sip.Message
	Answer    *sip.Message

	u    *UE
	late bool // it has made no offer: its description is in the ACK
}

// Header returns an edit of what a client sends: a header field by its name, "" takes it away.
func Header(name, value string) lab.Edit { return lab.Header(name, value) }

// uri makes a SIP URI of a name.
func (n *Net) uri(name string) string {
	if strings.ContainsAny(name, "@:") {
		return name
	}
	return "sip:" + name + "@" + Domain
}

// Call calls somebody: a name in the home domain, or a URI.
func (u *UE) Call(whom string, edits ...lab.Edit) *Call {
	u.call, u.HungUp = &Call{u: u}, false
	u.client.Send(sip.INVITE, u.net.uri(whom), append([]lab.Edit{lab.Body("application/sdp", []byte(Offer))}, edits...)...)
	u.net.Settle()
	return u.call
}

// CallLate calls without a description: the answer has to offer one, and what it is answered with is in the ACK (RFC 3261 13.2.1).
func (u *UE) CallLate(whom string, edits ...lab.Edit) *Call {
	u.call, u.HungUp = &Call{u: u, late: true}, false
	u.client.Send(sip.INVITE, u.net.uri(whom), edits...)
	u.net.Settle()
	return u.call
}

// Cancel gives up.
func (c *Call) Cancel() {
	c.u.client.SendCancel()
	c.u.net.Settle()
}

// CancelRace gives up in the same moment in which whom answers: both are on their way before one arrives.
func (c *Call) CancelRace(whom *UE) {
	c.u.client.SendCancel()
	whom.PickUp()
	c.u.net.Settle()
}

// Hangup ends the call.
func (c *Call) Hangup() {
	c.u.client.SendInDialog(sip.BYE)
	c.u.net.Settle()
}

// Hangup ends the call that it answered.
func (u *UE) Hangup() {
	u.client.SendInDialog(sip.BYE)
	u.net.Settle()
}

// Press sends a digit (INFO, application/dtmf-relay).
func (c *Call) Press(digit byte) {
	c.u.client.SendInDialog(sip.INFO, lab.Body("application/dtmf-relay", fmt.Appendf(nil, "Signal=%c\r\nDuration=160\r\n", digit)))
	c.u.net.Settle()
}

// Reoffer sends a re-INVITE; the call's Status becomes that of its answer.
func (c *Call) Reoffer() *Call { return c.reoffer("") }

// acknowledges puts the description into an ACK that has to bring one, once.
func (c *Call) acknowledges(m *sip.Message) {
	if c.late {
		c.late = false
		m.SetBody("application/sdp", []byte(answer))
	}
}

// Hold sends a re-INVITE that puts the other end on hold (RFC 3264 8.4); Resume takes it back. Status becomes that of the answer.
func (c *Call) Hold() *Call { return c.reoffer("a=sendonly\r\n") }

// Resume ends Hold.
func (c *Call) Resume() *Call { return c.reoffer("a=sendrecv\r\n") }

func (c *Call) reoffer(direction string) *Call {
	c.Status = 0
	c.u.client.SendInDialog(sip.INVITE, lab.Body("application/sdp", []byte(Offer+direction)))
	c.u.net.Settle()
	return c
}

// Answered fails the test unless the call was answered.
func (c *Call) Answered() *Call {
	c.u.net.t.Helper()
	return c.Ends(200)
}

// Fails fails the test unless the call was refused with code.
func (c *Call) Fails(code int) *Call {
	c.u.net.t.Helper()
	return c.Ends(code)
}

// Ends fails the test unless the final answer is code; 0 is none so far.
func (c *Call) Ends(code int) *Call {
	c.u.net.t.Helper()
	if c.Status != code {
		c.u.net.t.Fatalf("%s's call: answered %d, want %d; refusals of the core: %v", c.u.Name, c.Status, code, c.u.net.Refusals())
	}
	return c
}

// Notes are what the answer says to people (Warning).
func (c *Call) Notes() (list []string) {
	if c.Answer == nil {
		return nil
	}
	for v := range c.Answer.Values(sip.HdrWarning) {
		list = append(list, string(v))
	}
	return list
}

// Say sends a MESSAGE and returns the status of its answer.
func (u *UE) Say(whom, text string) int {
	u.call = &Call{u: u}
	u.client.Send(sip.MESSAGE, u.net.uri(whom), lab.Body("text/plain", []byte(text)))
	u.net.Settle()
	return u.call.Status
}

// react takes what has arrived, and reports whether there was something.
func (u *UE) react() bool {
	c := u.client
	if len(c.Inbox) == 0 {
		return false
	}
	m := c.Inbox[0]
	if !m.IsRequest() {
		u.hears(m)
		return true
	}
	first := len(m.ToTag()) == 0
	c.Request(string(m.MethodName()))
	switch m.Method() {
	case sip.INVITE:
		if !first {
			u.Reinvited++
			c.Answer(200, lab.Body("application/sdp", []byte(answer)))
			break
		}
		u.Invited, u.waiting, u.HungUp = append(u.Invited, m), true, false
		u.manners(u)
	case sip.CANCEL:
		if u.waiting {
			u.waiting = false
			u.reply(487)
		}
	case sip.BYE:
		u.HungUp = true
		c.Answer(200)
	case sip.MESSAGE:
		u.Messages = append(u.Messages, string(m.Body()))
		c.Answer(200)
	case sip.ACK:
	default:
		c.Answer(200)
	}
	return true
}

// hears takes a response.
func (u *UE) hears(m *sip.Message) {
	c := u.client
	code := m.Status()
	taken := c.Response(code)
	if taken != m || u.call == nil {
		return
	}
	_, method, _ := m.CSeq()
	if slices.Contains([]string{"CANCEL", "BYE", "INFO"}, string(method)) {
		return
	}
	switch {
	case code == 180:
		u.call.Rang = true
	case code == 181:
		u.call.Forwarded = append(u.call.Forwarded, m)
	case code >= 200:
		u.call.Status, u.call.Answer = code, m
		if code < 300 && string(method) == "INVITE" {
			c.SendInDialog(sip.ACK, u.call.acknowledges)
		}
	}
}
