package ue

import (
	"errors"

	"imsafe/proto/sdp"
	"imsafe/proto/sip"
)

// A call without an offer of ours (RFC 3261 13.2.1): the called party offers in the 2xx or in a reliable provisional response, and is answered in the ACK or
// the PRACK. The network signs that offer like an answer, since it stands in a response; the INVITE was signed without media keys, and the S-CSCF signs those
// of the ACK and the PRACK. Nothing is sent or heard before the offer was checked.

// errLate says that a call without an offer was answered without one too.
var errLate = errors.New("ue: nobody has offered media")

// answerLate answers the offer and starts the media. What was answered in a PRACK already is acknowledged by now.
func (c *Call) answerLate() error {
	if c.late == nil {
		for i := range c.early {
			if e := &c.early[i]; e.tag == c.dialog.remoteTag && e.agreed != nil {
				c.voice.pending = *e.agreed
				return c.voice.start()
			}
		}
		return errLate
	}
	answer, err := c.voice.answerTo(c.late, true)
	if err != nil {
		return err
	}
	c.late = nil
	c.ack = c.u.acknowledgeWith(&c.dialog, c.inviteSeq, answer)
	return c.voice.start()
}

// answerEarly answers an offer that came in a reliable provisional response (RFC 3262 5). Its media wait for the 2xx of that branch.
func (c *Call) answerEarly(branch *early) []byte {
	answer, err := c.voice.answerTo(branch.answer, true)
	if err != nil {
		c.u.log.Info("offer refused", "error", err)
		return refusing(branch.answer)
	}
	agreed := c.voice.pending
	branch.agreed = &agreed
	return answer
}

// declineLate acknowledges a 2xx whose offer was not answered, before the BYE (RFC 3261 13.2.2.4).
func (c *Call) declineLate() {
	if c.late != nil {
		c.ack = c.u.acknowledgeWith(&c.dialog, c.inviteSeq, refusing(c.late))
		c.late = nil
	}
}

// declines acknowledges the 2xx of a branch that nobody wants, and hangs it up.
func (c *Call) declines(d *dialog, m *sip.Message) {
	var answer []byte
	if c.voice.want.NoOffer && isSDP(m) {
		answer = refusing(m.Body())
	}
	c.u.acknowledgeWith(d, d.localSeq, answer).Release()
	d.localSeq = max(d.localSeq, c.dialog.localSeq) + 1
	_, _ = c.u.send(c.u.inDialog(d, sip.BYE, d.localSeq), ignore{}) // if it cannot be sent, the branch times out by itself
}

// refusing is an answer that refuses every medium of an offer (RFC 3264 6); nil if it cannot be read.
func refusing(offer []byte) []byte {
	d, err := sdp.Parse(offer, sdp.Limits{})
	if err != nil {
		return nil
	}
	for i := range d.Media {
		o := &d.Media[i]
		d.Media[i] = sdp.Media{Kind: o.Kind, Proto: o.Proto, Formats: o.Formats, MID: o.MID}
	}
	body, err := d.Marshal()
	if err != nil {
		return nil
	}
	return body
}
