package pcscf

import (
	"errors"

	"imsafe/hop"
	"imsafe/proto/passport"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// negotiation is a request on its way and what its responses say about the media: offer and answer may stand in either (RFC 3264; RFC 6337 2
// lists the ways).
type negotiation struct {
	c       *call
	from    iq.Side   // where the request comes from
	x       *exchange // its offer; nil if it has none
	method  sip.Method
	initial bool
}

// negotiate rewrites the description of a request, if it has one, for the other side. status is that of the refusal, 0 if it goes on.
func (c *call) negotiate(in hop.Inbound, from iq.Side, initial bool) (n *negotiation, status int) {
	if c == nil {
		return nil, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exempt {
		return nil, 0
	}
	n = &negotiation{c: c, from: from, method: in.Msg.Method(), initial: initial}
	if hidesDescription(in.Msg) {
		return nil, c.refusal(initial, 488)
	}
	body, has := descriptionOf(in.Msg)
	if !has {
		return n, 0
	}
	if c.over {
		return n, 481
	}
	tag := c.calleeTag(in.Msg, from)
	if due := c.due[tag]; due != nil && due.from != from && (n.method == sip.ACK || n.method == sip.PRACK) {
		delete(c.due, tag)
		keys := passport.KeysOf(body)
		describe(in.Msg, c.answer(due, tag, body))
		if from == iq.Core {
			c.p.vouchAnew(in.Msg, keys)
		}
		return n, 0
	}
	if n.method == sip.ACK {
		describe(in.Msg, nil) // an answer to nothing
		return n, 0
	}
	offer, x, err := c.offer(from, body)
	if err != nil {
		return nil, c.refusal(initial, refusalOf(err))
	}
	n.x = x
	keys := passport.KeysOf(in.Msg.Body())
	describe(in.Msg, offer)
	switch {
	case from == iq.Core:
		c.p.vouchAnew(in.Msg, keys)
	case c.urgent && initial:
		c.p.vouchForEmergency(in.Msg)
	}
	return n, 0
}

// refusalOf answers an offer that cannot be anchored.
func refusalOf(err error) int {
	switch {
	case errors.Is(err, iq.ErrUser):
		return 480
	case errors.Is(err, iq.ErrFull), errors.Is(err, iq.ErrGone):
		return 503
	}
	return 488 // RFC 3261 21.4.26
}

// calleeTag is the tag of the called party in a message of an exchange whose request comes from a side.
func (c *call) calleeTag(m *sip.Message, from iq.Side) string {
	if c.key.caller == (from == iq.Access) {
		return string(m.ToTag())
	}
	return string(m.FromTag())
}

// response rewrites the description of a response for who sent the request. It is a hop.Up.
func (n *negotiation) response(r hop.Reply) hop.Reply {
	if r.Msg == nil {
		return r
	}
	c := n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.from == iq.Access {
		defer c.p.vouchAnew(r.Msg, passport.KeysOf(r.Msg.Body()))
	}
	tag := c.calleeTag(r.Msg, n.from)
	body, has := descriptionOf(r.Msg)
	answered := n.initial && r.Status()/100 == 2
	second := answered && c.confirmed != "" && c.confirmed != tag
	switch {
	case hidesDescription(r.Msg):
		r.Msg.SetBody("", nil)
	case !has:
	case r.Status() >= 300 || c.over:
		describe(r.Msg, nil) // what might have been (RFC 3261 21.4.26) is nobody's business here
	case n.x != nil && second:
		describe(r.Msg, c.refuse(n.x)) // two have answered; the caller ends one of the two, and that is the one without media
	case n.x != nil && n.x.epoch != c.epoch && n.x.done:
		describe(r.Msg, nil) // said again, and out of date: to be ignored (RFC 3261 13.2.1)
	case n.x != nil:
		describe(r.Msg, c.answer(n.x, tag, body))
	case n.method == sip.INVITE:
		n.offered(r, tag, body)
	default:
		describe(r.Msg, nil)
	}
	if answered && !second {
		c.confirm(tag)
	}
	return r
}

// offered rewrites an offer that stands in a response: the request had none. Its answer comes in PRACK or ACK.
func (n *negotiation) offered(r hop.Reply, tag string, body []byte) {
	offer, x, err := n.c.offer(n.from.Other(), body)
	if err != nil {
		describe(r.Msg, withoutMedia(body))
		return
	}
	n.c.due[tag] = x
	describe(r.Msg, offer)
}

// confirm takes down whose answer stands. c.mu is held.
func (c *call) confirm(tag string) {
	if c.confirmed != "" || c.over {
		return
	}
	c.confirmed = tag
	if c.session != 0 {
		c.p.ports.Iq.Confirm(c.session, c.branch(tag))
	}
	if c.lost {
		sh := c.p.ports.Shards[0]
		sh.Exec(afterwards(func() { c.end(tag) }))
	}
}

// withoutMedia is a description with all of its media refused.
func withoutMedia(body []byte) []byte {
	d, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return nil
	}
	for i := range d.Media {
		d.Media[i] = disabled(&d.Media[i])
	}
	b, err := d.Marshal()
	if err != nil {
		return nil
	}
	return b
}

// up is response, or nil where nothing is to be followed.
func (n *negotiation) up() hop.Up {
	if n == nil {
		return nil
	}
	return n.response
}

// both is what a response passes first, and then; either may be nil.
func both(first, then hop.Up) hop.Up {
	switch {
	case first == nil:
		return then
	case then == nil:
		return first
	}
	return func(r hop.Reply) hop.Reply { return then(first(r)) }
}

// anchorCall forwards an INVITE that comes from a side and begins a call of a client, and reserves its media until it has failed.
func (p *PCSCF) anchorCall(x *hop.Exchange, in hop.Inbound, client secure.Association, from iq.Side, urgent bool, forward func(up hop.Up) hop.Reply) hop.Reply {
	c := p.begin(in, client, from == iq.Access, urgent)
	if c == nil {
		return forward(nil)
	}
	answered := false
	defer func() {
		if c.walked() && !answered {
			c.release()
		}
	}()
	n, status := c.negotiate(in, from, true)
	if status != 0 {
		return x.Refuse(in, status, "")
	}
	r := forward(n.up())
	answered = r.Status()/100 == 2
	return r
}

// anchor forwards a request inside a dialog of a client, which comes from a side, and follows its media.
func (p *PCSCF) anchor(x *hop.Exchange, in hop.Inbound, client secure.Association, from iq.Side, forward func(up hop.Up) hop.Reply) hop.Reply {
	method := in.Msg.Method()
	if p.ports.Iq == nil || !carriesMedia(method) {
		return forward(nil)
	}
	c := p.within(in, client, from)
	if c == nil {
		if _, has := descriptionOf(in.Msg); has && method != sip.BYE {
			return x.Refuse(in, 481, "") // no call of ours: its media would go past the anchor
		}
		return forward(nil)
	}
	if method == sip.BYE {
		callee := c.calleeTag(in.Msg, from)
		r := forward(nil)
		c.hungUp(callee, r)
		return r
	}
	n, status := c.negotiate(in, from, false)
	if status != 0 {
		return x.Refuse(in, status, "")
	}
	return forward(n.up())
}

// carriesMedia reports whether requests of a method inside a dialog say something about its media, or end them.
func carriesMedia(m sip.Method) bool {
	return m == sip.INVITE || m == sip.UPDATE || m == sip.PRACK || m == sip.ACK || m == sip.BYE
}
