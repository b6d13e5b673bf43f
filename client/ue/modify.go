package ue

import (
	"context"
	"errors"
	"fmt"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Reasons why a standing call is not changed.
var (
	ErrNoCall  = errors.New("ue: the call does not stand")
	ErrPending = errors.New("ue: an offer of this call waits for its answer")
)

// Hold puts the other end on hold (RFC 3264 8.4, TS 24.610 4.5.2.1): it is asked to send nothing, and hears nothing, until Resume. It returns when
// the other end has agreed. Errors: ErrNoCall, ErrPending, ErrConnect, a *StatusError (491: both have offered at once, to be tried again after
// some seconds, RFC 3261 14.1); ErrVouched and ErrMedia end the call. The call otherwise goes on as it was.
func (c *Call) Hold(ctx context.Context) error { return c.modify(ctx, true, false) }

// Resume takes the other end off hold. Errors as of Hold.
func (c *Call) Resume(ctx context.Context) error { return c.modify(ctx, false, false) }

// Rekey agrees on new media keys: a port and a certificate of our own that were not used before, and a new DTLS association over them (RFC 8842
// 5.5). Media go on under the old keys until the new ones stand, which Secured tells. It returns when the other end has agreed. Keys
// of the other end that change as well, or its address, must be vouched for by the network (Config.Vouching); else the call is
// ended. Errors as of Hold.
func (c *Call) Rekey(ctx context.Context) error { return c.modify(ctx, false, true) }

// modify sends an offer within the dialog and waits for its answer. A confirmed dialog is changed by INVITE, since somebody may have to be
// asked (RFC 3311 5.1).
func (c *Call) modify(ctx context.Context, hold, anew bool) error {
	return c.u.do(ctx, func(t *shard.Task) error {
		v := &c.voice
		switch {
		case c.phase != standing || !c.confirmed || !v.started:
			return ErrNoCall
		case c.negotiating() || v.next != nil:
			return ErrPending
		}
		m := &modification{c: c, held: v.holding, end: v.end}
		var err error
		if anew {
			m.end, err = v.renew()
		} else {
			v.holding = hold
		}
		if err != nil {
			return err
		}
		c.modifying = m
		t.Await(func(w shard.Waker) {
			m.waker = w
			if err := m.send(); err != nil {
				m.over(err)
			}
		})
		return m.err
	})
}

// negotiating reports whether an offer waits for its answer: there may be one at a time (RFC 3264 4).
func (c *Call) negotiating() bool {
	return c.answering || c.checking || c.modifying != nil || c.voice.offered != nil
}

// modification is an offer of ours within the dialog (RFC 3261 14.1).
type modification struct {
	c     *Call
	end   *end // what it is about
	held  bool // before
	seq   uint32
	ack   *sip.Message // for the next time the 2xx comes
	done  bool
	err   error
	waker shard.Waker
}

func (m *modification) send() error {
	c := m.c
	body, err := c.voice.offer(m.end)
	if err != nil {
		return err
	}
	c.dialog.localSeq++
	m.seq = c.dialog.localSeq
	r := c.u.inDialog(&c.dialog, sip.INVITE, m.seq)
	r.SetString(sip.HdrContact, c.u.contact())
	r.SetString(sip.HdrAllow, allow)
	r.SetString(sip.HdrAccept, "application/sdp")
	r.SetBody("application/sdp", body)
	_, err = c.u.send(r, m)
	return err
}

// over ends the modification. If it did not come about, the call is as it was.
func (m *modification) over(err error) {
	if m.done {
		return
	}
	m.done, m.err = true, err
	c := m.c
	c.modifying = nil
	if err != nil {
		c.voice.offered, c.voice.holding = nil, m.held
		if m.end != c.voice.end && m.end != c.voice.next {
			m.end.leg.Close()
		}
	}
	m.waker.Wake()
}

// Response implements siptxn.Responder.
func (m *modification) Response(_ *siptxn.Client, r *sip.Message) {
	defer r.Release()
	c := m.c
	switch code := r.Status(); {
	case code < 200 || m.done:
	case code < 300:
		m.accepted(r)
	case code == 408 || code == 481:
		m.over(statusError(r))
		c.leave() // the other end knows no such call any more (RFC 3261 14.1)
	default:
		m.over(statusError(r))
	}
}

// Failed implements siptxn.Responder.
func (m *modification) Failed(_ *siptxn.Client, err error) {
	m.over(fmt.Errorf("ue: %w", err))
	m.c.leave()
}

// accepted takes the 2xx (RFC 3261 13.2.2.4): it is acknowledged in any case. Whether its answer counts is known when the signature has been checked.
func (m *modification) accepted(r *sip.Message) {
	c := m.c
	c.dialog.refresh(r)
	m.ack = c.u.acknowledge(&c.dialog, m.seq)
	body := append([]byte(nil), r.Body()...)
	c.vouchWithin(r, func(sound bool, err error) {
		if m.done || c.phase != standing {
			m.over(ErrNoCall)
			return
		}
		before := c.voice.onHold()
		if err == nil {
			if err = c.voice.answered(m.end, body, sound); err != nil {
				err = fmt.Errorf("%w: %w", ErrMedia, err)
			}
		}
		if err != nil { // it was acknowledged, so only BYE is left
			c.u.log.Warn("answer refused", "error", err)
			m.over(err)
			c.voice.failure = err
			c.bye()
			return
		}
		m.over(nil)
		c.tellHeld(before)
	})
}

// Again implements siptxn.Retransmitter: the ACK was lost.
func (m *modification) Again(_ *siptxn.Client, r *sip.Message) bool {
	u := m.c.u
	if m.ack == nil || !u.path.open || string(r.ToTag()) != m.c.dialog.remoteTag {
		return false
	}
	if err := u.layer.SendAck(u.path.flow, m.ack.Clone(), sentBy(u.path.flow)); err != nil {
		u.log.Debug("ACK not sent", "error", err)
	}
	return true
}

// Gone implements siptxn.Forgetter.
func (m *modification) Gone(*siptxn.Client) {
	if m.ack != nil {
		m.ack.Release()
		m.ack = nil
	}
}

// vouchWithin checks what vouches for the description of a message within the call. sound is whether the network vouches for its keys. No signature
// is needed where no key changes, so a message without one is no error; one that is false is.
func (c *Call) vouchWithin(m *sip.Message, then func(sound bool, err error)) {
	said := c.u.claimOf(m)
	if len(said.tokens) == 0 && said.broken == nil {
		then(false, nil)
		return
	}
	said.within, said.with = true, c.Vouched().Identity
	keyed := len(said.keys) > 0
	c.u.vouch(said, func(v Vouched, err error) { then(err == nil && keyed && v.Identity != "", err) })
}

// tellHeld tells that the other end has put us on hold, or off.
func (c *Call) tellHeld(before bool) {
	if now := c.voice.onHold(); now != before {
		reason := "resumed"
		if now {
			reason = "held"
		}
		c.tell(Event{Kind: Held, Reason: reason})
	}
}
