package ue

import (
	"errors"
	"fmt"
	"strings"

	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// early is an answer that came in a reliable provisional response, or an offer that was answered in its PRACK: one per branch of a forked call.
type early struct {
	tag    string
	seq    uint32 // RSeq
	answer []byte
	agreed *sdp.Agreed // of an offer
	claim  claim       // of the message with the answer
}

// maxEarly bounds the branches of a forked call that we listen to.
const maxEarly = 8

// sendInvite sends the INVITE (RFC 3261 13.2.1), with credentials if a proxy of the home network asked for them.
func (c *Call) sendInvite(credentials string) error {
	u := c.u
	c.dialog.localSeq++
	m := u.request(sip.INVITE, c.target, c.dialog.callID, c.dialog.localTag, c.dialog.localSeq)
	m.SetString(sip.HdrContact, u.contact())
	m.SetString(sip.HdrAllow, allow)
	m.SetString(sip.HdrSupported, "100rel")
	m.SetString(sip.HdrAccept, "application/sdp")
	if !u.plain() {
		m.SetString(sip.HdrPPreferredService, "urn:urn-7:3gpp-service.ims.icsi.mmtel")
	}
	if credentials != "" {
		m.SetString(sip.HdrProxyAuthorization, credentials)
	}
	if !c.voice.want.NoOffer {
		body, err := c.voice.offer(c.voice.end)
		if err != nil {
			m.Release()
			return err
		}
		m.SetBody("application/sdp", body)
	}
	client, err := u.send(m, c)
	if err != nil {
		return err
	}
	c.invite, c.inviteSeq = client.Ref(), c.dialog.localSeq
	return nil
}

// cancel takes back an INVITE without a final response (RFC 3261 9.1).
func (c *Call) cancel() {
	if cl := c.u.layer.Client(c.invite); cl != nil {
		c.u.layer.Cancel(cl)
	}
}

// Response implements siptxn.Responder: everything that comes back to the INVITE (RFC 3261 13.2.2).
func (c *Call) Response(_ *siptxn.Client, m *sip.Message) {
	defer m.Release()
	c.heard = true
	switch code := m.Status(); {
	case code < 200:
		c.provisional(m)
	case code < 300:
		c.answered(m)
	case c.phase != calling:
		// the other branches of a forked call, or what a re-INVITE of ours would get
	case c.hangup:
		c.end(Event{Code: code, Reason: "cancelled here", Err: ErrCancelled})
	case code < 400:
		c.end(Event{Code: code, Reason: string(m.Reason()), Err: ErrRedirect})
	default:
		credentials, err := c.u.verdict(&c.auth, m, "INVITE", c.target)
		if err == nil {
			err = c.sendInvite(credentials)
		}
		if err != nil {
			c.end(Event{Code: code, Reason: string(m.Reason()), Notes: notesOf(m), Err: err})
		}
	}
}

// notesOf are the texts of Warning (RFC 3261 20.43: code, agent, quoted text).
func notesOf(m *sip.Message) (notes []string) {
	for v := range m.Values(sip.HdrWarning) {
		_, text, quoted := strings.Cut(string(v), `"`)
		text = strings.TrimSuffix(strings.TrimSpace(text), `"`)
		if quoted && len(notes) < maxNotes {
			notes = append(notes, strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(text))
		}
	}
	return notes
}

// maxNotes is more than anybody has to say.
const maxNotes = 8

// Failed implements siptxn.Responder.
func (c *Call) Failed(_ *siptxn.Client, err error) {
	if c.phase != calling {
		return
	}
	if c.hangup {
		c.end(Event{Reason: "cancelled here", Err: ErrCancelled})
		return
	}
	c.end(Event{Reason: "no answer", Err: fmt.Errorf("ue: %w", err)})
	if errors.Is(err, siptxn.ErrTimeout) && !c.heard {
		c.u.reg.deserted(err)
	}
}

// provisional tells about ringing, and acknowledges a reliable response (RFC 3262 4).
func (c *Call) provisional(m *sip.Message) {
	if m.Status() == 180 && c.phase == calling && !c.hangup {
		c.tell(Event{Kind: Ringing, Code: 180, Reason: string(m.Reason())})
	}
	if m.Status() > 100 && m.HasToken(sip.HdrRequire, "100rel") {
		c.prack(m)
	}
}

// prack sends PRACK once for each reliable response and keeps an answer that came in it.
func (c *Call) prack(m *sip.Message) {
	rseq := parseUint(m.Get(sip.HdrRSeq))
	d, err := dialogOfResponse(m, c.dialog.localTag, c.inviteSeq)
	if err != nil || rseq == 0 {
		return
	}
	branch := c.branch(d.remoteTag)
	if branch == nil || rseq <= branch.seq {
		return // a repetition, or more branches than anybody needs
	}
	if branch.seq != 0 && rseq != branch.seq+1 {
		return // RFC 3262 4: one that came out of order is repeated by its sender
	}
	branch.seq = rseq
	var answer []byte
	if branch.answer == nil && isSDP(m) {
		branch.answer, branch.claim = append([]byte(nil), m.Body()...), c.u.claimOf(m)
		if c.voice.want.NoOffer {
			answer = c.answerEarly(branch)
		}
	}
	c.dialog.localSeq++ // one counter for all branches keeps each of them rising
	p := c.u.inDialog(&d, sip.PRACK, c.dialog.localSeq)
	p.SetString(sip.HdrRAck, fmt.Sprintf("%d %d INVITE", rseq, c.inviteSeq))
	if answer != nil {
		p.SetBody("application/sdp", answer)
	}
	if _, err := c.u.send(p, ignore{}); err != nil {
		c.u.log.Debug("PRACK not sent", "error", err)
	}
}

func (c *Call) branch(tag string) *early {
	for i := range c.early {
		if c.early[i].tag == tag {
			return &c.early[i]
		}
	}
	if len(c.early) == maxEarly {
		return nil
	}
	c.early = append(c.early, early{tag: tag})
	return &c.early[len(c.early)-1]
}

// ignore is for requests whose answer changes nothing.
type ignore struct{}

// Response implements siptxn.Responder.
func (ignore) Response(_ *siptxn.Client, m *sip.Message) { m.Release() }

// Failed implements siptxn.Responder.
func (ignore) Failed(*siptxn.Client, error) {}

// answered takes a 2xx (RFC 3261 13.2.2.4): it is acknowledged in any case; the first one makes the call, unless
// we have hung up meanwhile; further ones are branches of a fork and are hung up at once.
func (c *Call) answered(m *sip.Message) {
	u := c.u
	d, err := dialogOfResponse(m, c.dialog.localTag, c.inviteSeq)
	if err != nil {
		if c.phase == calling {
			c.end(Event{Code: m.Status(), Reason: "answer without a dialog", Err: err})
		}
		return
	}
	if c.phase != calling {
		if d.remoteTag != c.dialog.remoteTag {
			c.declines(&d, m)
		}
		return
	}
	d.localSeq = c.dialog.localSeq
	c.dialog, c.phase = d, standing
	if c.voice.want.NoOffer && isSDP(m) {
		c.late = append([]byte(nil), m.Body()...) // acknowledged when it is known what to answer
	} else {
		c.ack = u.acknowledge(&d, c.inviteSeq)
	}
	if identity, ok := sip.PublicIdentity(m.Get(sip.HdrPAssertedIdentity)); ok {
		c.u.log.Debug("connected to", "identity", identity)
	}
	if c.hangup {
		c.bye()
		return
	}
	answer, said := c.answerOf(m)
	told := Event{Kind: Answered, Code: m.Status(), Reason: string(m.Reason()), Notes: notesOf(m)}
	u.vouch(said, func(v Vouched, err error) { c.stands(told, answer, v, err) })
}

// stands begins the media of a call that was answered, when it is known whom the network vouches for: nothing is heard of who is refused.
func (c *Call) stands(told Event, answer []byte, v Vouched, err error) {
	switch {
	case c.phase != standing:
		return // hung up meanwhile
	case err != nil && isEmergency(c.target):
		c.u.log.Warn("who answers an emergency call is not vouched for", "error", err)
	case err != nil:
		c.u.log.Warn("answer refused", "error", err)
		c.voice.failure = err
		c.bye()
		return
	}
	c.setVouched(v)
	c.confirmed = true
	c.tell(told)
	if c.voice.want.NoOffer {
		err = c.answerLate()
	} else {
		err = c.voice.answered(c.voice.end, answer, true)
	}
	if err != nil {
		c.voice.failure = fmt.Errorf("%w: %w", ErrMedia, err)
		c.bye()
	}
}

// answerOf returns the SDP of the call, in the 2xx, or before in a reliable provisional response of the same branch, and what the message with
// it says of its sender.
func (c *Call) answerOf(m *sip.Message) ([]byte, claim) {
	if isSDP(m) {
		return append([]byte(nil), m.Body()...), c.u.claimOf(m)
	}
	for _, e := range c.early {
		if e.tag == c.dialog.remoteTag {
			return e.answer, e.claim
		}
	}
	return nil, claim{answer: true}
}

// acknowledge sends the ACK of a 2xx and returns a copy for the next time the 2xx comes.
func (u *UE) acknowledge(d *dialog, seq uint32) *sip.Message { return u.acknowledgeWith(d, seq, nil) }

// acknowledgeWith is acknowledge with an answer in the ACK; nil is none.
func (u *UE) acknowledgeWith(d *dialog, seq uint32, answer []byte) *sip.Message {
	m := u.inDialog(d, sip.ACK, seq)
	if answer != nil {
		m.SetBody("application/sdp", answer)
	}
	again := m.Clone()
	if !u.path.open {
		m.Release()
	} else if err := u.layer.SendAck(u.path.flow, m, sentBy(u.path.flow)); err != nil {
		u.log.Debug("ACK not sent", "error", err)
	}
	return again
}

// Again implements siptxn.Retransmitter: the 2xx came again, so the ACK was lost (RFC 3261 13.2.2.4).
func (c *Call) Again(_ *siptxn.Client, m *sip.Message) bool {
	if c.ack == nil || string(m.ToTag()) != c.dialog.remoteTag || !c.u.path.open {
		return false
	}
	if err := c.u.layer.SendAck(c.u.path.flow, c.ack.Clone(), sentBy(c.u.path.flow)); err != nil {
		c.u.log.Debug("ACK not sent", "error", err)
	}
	return true
}

// Gone implements siptxn.Forgetter: no 2xx will come again.
func (c *Call) Gone(cl *siptxn.Client) {
	if cl.Ref() == c.invite && c.ack != nil {
		c.ack.Release()
		c.ack = nil
	}
}

func parseUint(b []byte) uint32 {
	n := uint64(0)
	for _, d := range b {
		if d < '0' || d > '9' || n > 1<<32 {
			return 0
		}
		n = n*10 + uint64(d-'0')
	}
	if n >= 1<<32 {
		return 0
	}
	return uint32(n)
}

// capabilities of media of this UE.
func (u *UE) capabilities() sdp.Capabilities {
	c := sdp.Capabilities{Audio: u.cfg.Codecs, DTMF: true, PTime: 20}
	if u.cfg.PlainRTP {
		c.Floor = sdp.PlainRTP
	}
	return c
}
