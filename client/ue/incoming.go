package ue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

var _ siptxn.Handler = (*UE)(nil)

// allow is what this UE takes as a UAS (RFC 3261 20.5).
const allow = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, OPTIONS, MESSAGE"

// Request implements siptxn.Handler: the door of the UAS (RFC 3261 8.2). What came this far came over the path to the P-CSCF.
func (u *UE) Request(tx *siptxn.Server, m *sip.Message) {
	unknown := unsupported(m)
	switch {
	case len(unknown) > 0:
		u.respond(tx, 420, func(r *sip.Message) {
			for _, v := range unknown {
				r.Append(sip.HdrUnsupported, v)
			}
		})
	case len(m.ToTag()) > 0:
		u.inCall(tx, m)
	case m.Method() == sip.INVITE:
		u.incoming(tx, m)
	case m.Method() == sip.MESSAGE && u.cfg.OnMessage != nil:
		u.message(tx, m)
	case m.Method() == sip.OPTIONS:
		u.respond(tx, 200, capabilitiesOf)
	case m.Method() == sip.BYE || m.Method() == sip.NOTIFY || m.Method() == sip.PRACK || m.Method() == sip.UPDATE:
		u.respond(tx, 481, nil)
	default:
		u.respond(tx, 405, capabilitiesOf)
	}
}

func capabilitiesOf(r *sip.Message) {
	r.SetString(sip.HdrAllow, allow)
	r.SetString(sip.HdrAccept, "application/sdp")
	r.AppendString(sip.HdrAccept, "text/plain")
}

// respond sends a response; edit may add to it.
func (u *UE) respond(tx *siptxn.Server, code int, edit func(*sip.Message)) {
	r := u.pool.NewResponse(tx.Request(), code, "")
	if edit != nil {
		edit(r)
	}
	if code > 100 {
		r.SetToTag(u.token(16)) // where edit has not set that of a dialog
	}
	if err := u.layer.Respond(tx, r); err != nil {
		u.log.Debug("response not sent", "code", code, "error", err)
	}
}

// message takes an instant message (RFC 3428 7): accepted first, then shown.
func (u *UE) message(tx *siptxn.Server, m *sip.Message) {
	msg := Message{ContentType: string(m.Get(sip.HdrContentType)), Body: append([]byte(nil), m.Body()...)}
	msg.From, msg.Asserted = peerOf(m)
	if to, err := m.To(); err == nil {
		msg.To = string(to.URI)
	}
	u.respond(tx, 200, nil)
	u.cfg.OnMessage(msg)
}

// peerOf returns who sent a request: the asserted identity, else the claim in From (RFC 3325 8).
func peerOf(m *sip.Message) (uri string, asserted bool) {
	if id, ok := sip.PublicIdentity(m.Get(sip.HdrPAssertedIdentity)); ok {
		return id, true
	}
	from, err := m.From()
	if err != nil {
		return "", false
	}
	return string(from.URI), false
}

// incoming takes an INVITE outside dialogs (RFC 3261 13.3.1). The offer is judged before anybody is alerted: a call that could
// not be heard or not be protected does not ring.
func (u *UE) incoming(tx *siptxn.Server, m *sip.Message) {
	switch {
	case u.merged(m):
		u.respond(tx, 482, nil)
		return
	case u.cfg.OnCall == nil:
		u.respond(tx, 480, nil)
		return
	case len(u.calls) >= u.cfg.MaxCalls:
		u.respond(tx, 486, nil)
		return
	case len(m.Body()) > 0 && !isSDP(m):
		u.respond(tx, 415, capabilitiesOf)
		return
	}
	d, err := dialogOfRequest(m, u.token(16))
	if err != nil {
		u.respond(tx, 400, nil)
		return
	}
	c := u.newCall(false)
	c.dialog, c.server, c.ackSeq = d, tx, d.remoteSeq
	c.peer, c.asserted = peerOf(m)
	if err := c.voice.prepare(Voice{}); err != nil {
		u.log.Warn("no media for an incoming call", "error", err)
		u.respond(tx, 500, nil)
		return
	}
	if isSDP(m) { // else the offer is ours, and who answers it in the ACK is checked then
		if c.answer, err = c.voice.answerTo(m.Body(), true); err != nil {
			c.voice.close()
			u.log.Info("offer refused", "error", err)
			u.respond(tx, 488, nil)
			return
		}
	}
	c.mayBeReliable(m)
	tx.User = c
	u.calls[callKey(d.callID, d.localTag)] = c
	u.vouch(u.claimOf(m), c.checked)
}

// checked lets an incoming call ring, or refuses it, when it is known whom the network vouches for.
func (c *Call) checked(v Vouched, err error) {
	if !c.waits() {
		return
	}
	if err != nil {
		code := codeOf(err)
		c.u.log.Warn("caller refused", "code", code, "error", err)
		c.u.respond(c.server, code, c.dialogFields)
		c.end(Event{Code: code, Reason: "refused here", Err: err})
		return
	}
	c.setVouched(v)
	c.u.cfg.OnCall(c)
}

func (c *Call) setVouched(v Vouched) {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	c.vouched = v
}

// merged reports whether this INVITE came by another branch already (RFC 3261 8.2.2.2).
func (u *UE) merged(m *sip.Message) bool {
	for _, c := range u.calls {
		if !c.outgoing && c.phase == calling && c.dialog.callID == string(m.Get(sip.HdrCallID)) && c.dialog.remoteTag == string(m.FromTag()) {
			return true
		}
	}
	return false
}

// Ring alerts the caller: 180, and before it a reliable 183 with the answer where the caller requires that, or Config.Reliable says so. It does nothing to
// a call that is not an unanswered incoming one.
func (c *Call) Ring() { c.u.post(c.rings) }

// Answer accepts an incoming call. Answered follows when the caller has acknowledged.
func (c *Call) Answer(v Voice) { c.u.post(func() { c.accept(v) }) }

// Reject refuses an incoming call with a final status code of 400 or above; others count as 486.
func (c *Call) Reject(code int) { c.u.post(func() { c.refuse(code) }) }

func (c *Call) waits() bool { return !c.outgoing && c.phase == calling && c.server != nil }

func (c *Call) refuse(code int) {
	if !c.waits() {
		return
	}
	if code < 400 || code > 699 {
		code = 486
	}
	c.u.respond(c.server, code, c.dialogFields)
	c.end(Event{Code: code, Reason: "rejected here"})
}

// dialogFields are what a response that makes a dialog carries (RFC 3261 12.1.1).
func (c *Call) dialogFields(r *sip.Message) {
	r.SetToTag(c.dialog.localTag)
	for _, v := range c.dialog.routes {
		r.AppendString(sip.HdrRecordRoute, v)
	}
	r.SetString(sip.HdrContact, c.u.contact())
	r.SetString(sip.HdrAllow, allow)
}

func (c *Call) accept(v Voice) {
	if !c.waits() || c.holdsBack(v) {
		return
	}
	c.voice.want = v
	body, err := c.answer, error(nil)
	if c.reliable.described {
		body = nil // it was said, and acknowledged (RFC 3262 5)
	} else if body == nil {
		body, err = c.voice.offer(c.voice.end) // RFC 3261 13.3.1: the offer is ours then, and the answer comes in the ACK
	}
	if err != nil {
		c.u.log.Warn("no offer", "error", err)
		c.refuse(500)
		return
	}
	c.phase = standing
	c.sendOK(c.server, body)
	c.server = nil
	if c.answer != nil {
		c.mediaFailed(c.voice.start())
	}
}

// sendOK sends a 2xx to INVITE and sees to it that it is acknowledged (RFC 3261 13.3.1.4).
func (c *Call) sendOK(tx *siptxn.Server, body []byte) {
	t := c.u.cfg.Timers
	c.accepted, c.answering = tx.Ref(), true
	c.resendIn, c.giveUpAt = t.T1, c.u.shard.Now()+64*t.T1
	c.u.respond(tx, 200, func(r *sip.Message) { c.describes(r, body) })
	c.u.shard.Arm(&c.resend, c.resendIn, (*resend)(c))
}

// mediaFailed ends a call whose media could not be started.
func (c *Call) mediaFailed(err error) {
	if err != nil && c.phase != over {
		c.voice.failure = fmt.Errorf("%w: %w", ErrMedia, err)
		c.leave()
	}
}

// Ack implements siptxn.Handler.
func (u *UE) Ack(_ siptransport.Flow, m *sip.Message) {
	defer m.Release()
	c := u.calls[callKey(string(m.Get(sip.HdrCallID)), string(m.ToTag()))]
	seq, _, err := m.CSeq()
	if c == nil || !c.dialog.owns(m) || !c.answering || err != nil || seq != c.ackSeq {
		return
	}
	c.answering = false
	u.shard.Disarm(&c.resend)
	if !c.confirmed && !c.hangup {
		c.confirmed = true
		c.tell(Event{Kind: Answered, Code: 200})
	}
	if c.hangup {
		c.bye()
		return
	}
	if c.voice.offered != nil {
		c.answeredLate(m)
	}
}

// answeredLate takes the answer to our offer, which comes in the ACK (RFC 3261 13.2.1). An ACK cannot be refused: what is not vouched for ends the call,
// and nothing is sent or heard before that is known.
func (c *Call) answeredLate(m *sip.Message) {
	body := append([]byte(nil), m.Body()...)
	c.checking = true
	then := func(sound bool, err error) {
		c.checking = false
		if c.phase != standing {
			return
		}
		before := c.voice.onHold()
		if err == nil {
			if err = c.voice.answered(c.voice.end, body, sound); err != nil {
				err = fmt.Errorf("%w: %w", ErrMedia, err)
			}
		}
		if err != nil {
			c.u.log.Warn("answer refused", "error", err)
			c.voice.failure = err
			c.leave()
			return
		}
		c.tellHeld(before)
	}
	if c.voice.started {
		c.vouchWithin(m, then)
		return
	}
	said := c.u.claimOf(m)
	said.within, said.with = true, c.Vouched().Identity
	c.u.vouch(said, func(_ Vouched, err error) { then(true, err) })
}

// Cancelled implements siptxn.Handler (RFC 3261 9.2).
func (u *UE) Cancelled(tx *siptxn.Server) {
	c, ok := tx.User.(*Call)
	if !ok || !c.waits() {
		u.respond(tx, 487, nil)
		return
	}
	u.respond(tx, 487, c.dialogFields)
	reason := "cancelled by the caller"
	if r := tx.CancelReason(); r != "" {
		reason = "cancelled: " + r
	}
	c.end(Event{Code: 487, Reason: reason, Err: ErrCancelled})
}

// Ended implements siptxn.Handler.
func (u *UE) Ended(tx *siptxn.Server) {
	if c, ok := tx.User.(*Call); ok && c.server == tx {
		c.server = nil
		if c.phase == calling {
			c.end(Event{Reason: "nobody answered here"})
		}
	}
}

// inCall takes a request inside a dialog (RFC 3261 12.2.2). Without the call's identifiers there is no call to end.
func (u *UE) inCall(tx *siptxn.Server, m *sip.Message) {
	c := u.calls[callKey(string(m.Get(sip.HdrCallID)), string(m.ToTag()))]
	switch {
	case c == nil || !c.dialog.owns(m):
		u.refusals.NoDialog++
		u.respond(tx, 481, nil)
	case !c.dialog.inOrder(m):
		u.respond(tx, 500, nil)
	case m.Method() == sip.BYE:
		c.ended(tx, m)
	case m.Method() == sip.PRACK:
		c.acknowledged(tx, m)
	case m.Method() == sip.INVITE || m.Method() == sip.UPDATE:
		c.offered(tx, m)
	case m.Method() == sip.OPTIONS:
		u.respond(tx, 200, capabilitiesOf)
	default:
		u.respond(tx, 405, capabilitiesOf)
	}
}

// ended takes the other end's BYE (RFC 3261 15.1.2).
func (c *Call) ended(tx *siptxn.Server, m *sip.Message) {
	reason := "hung up by the other end"
	if r := m.Get(sip.HdrReason); r != nil {
		reason += ": " + string(r)
	}
	c.u.respond(tx, 200, nil)
	if c.waits() {
		c.u.respond(c.server, 487, c.dialogFields) // the INVITE of this dialog still has no answer
	}
	c.end(Event{Code: 200, Reason: reason})
}

// offered takes a re-INVITE or an UPDATE (RFC 3261 14.2, RFC 3311 5.2), and a new offer when it is known whether what vouches for it is sound: a signature
// that is false is refused like one of a first INVITE. An offer that nobody has signed can change nothing that matters: see voice.mayFollow.
func (c *Call) offered(tx *siptxn.Server, m *sip.Message) {
	switch {
	case c.modifying != nil:
		c.u.respond(tx, 491, nil) // both have offered at once
		return
	case c.phase != standing || c.negotiating():
		c.u.respond(tx, 500, func(r *sip.Message) { r.SetString(sip.HdrRetryAfter, strconv.Itoa(5)) })
		return
	}
	c.checking = true
	c.vouchWithin(m, func(sound bool, err error) {
		c.checking = false
		switch {
		case c.phase != standing:
			c.u.respond(tx, 481, nil)
		case err != nil:
			c.u.log.Warn("new offer refused", "error", err)
			c.u.respond(tx, codeOf(err), warns("what vouches for the media keys is not sound"))
		default:
			c.renegotiate(tx, m, sound)
		}
	})
}

// warns says why a request is refused (RFC 3261 20.43).
func warns(why string) func(*sip.Message) {
	return func(r *sip.Message) { r.SetString(sip.HdrWarning, `399 ue "`+why+`"`) }
}

// renegotiate lets a standing call hold and resume, and go on elsewhere or under other keys where the network vouches for these. Otherwise they are
// refused with 488, and the call goes on as it was: that is how calls are taken over (CI-31 of the attack list).
func (c *Call) renegotiate(tx *siptxn.Server, m *sip.Message, sound bool) {
	var body []byte
	var err error
	before := c.voice.onHold()
	switch {
	case isSDP(m):
		body, err = c.voice.answerTo(m.Body(), sound)
	case m.Method() == sip.INVITE:
		body, err = c.voice.offer(c.voice.latest())
	}
	if err != nil {
		code := 488
		if errors.Is(err, errTwice) {
			code = 491
		}
		c.u.log.Info("new offer refused", "error", err)
		c.u.respond(tx, code, warns(strings.TrimPrefix(err.Error(), "ue: ")))
		return
	}
	c.dialog.refresh(m)
	if m.Method() == sip.UPDATE {
		c.u.respond(tx, 200, func(r *sip.Message) { c.describes(r, body) })
	} else {
		c.ackSeq = c.dialog.remoteSeq
		c.sendOK(tx, body)
	}
	c.tellHeld(before)
}

// describes writes the dialog's fields and a description into a 2xx; nil is none.
func (c *Call) describes(r *sip.Message, body []byte) {
	c.dialogFields(r)
	if body != nil {
		r.SetBody("application/sdp", body)
	}
}

// resend repeats a 2xx until it is acknowledged, at T1 doubling to T2, and gives up after 64*T1 with a BYE.
type resend Call

// Run implements shard.Event.
func (r *resend) Run(s *shard.Shard) {
	c := (*Call)(r)
	if s.Now() >= c.giveUpAt {
		c.answering = false
		c.voice.failure = ErrNoAck
		c.bye()
		return
	}
	if tx := c.u.layer.Server(c.accepted); tx != nil {
		c.u.layer.Retransmit2xx(tx, nil)
	}
	c.resendIn = min(2*c.resendIn, c.u.cfg.Timers.T2)
	s.Arm(&c.resend, c.resendIn, r)
}
