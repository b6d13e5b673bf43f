package simulation

import (
	"fmt"
	"slices"
	"time"

	"imsafe/proto/sip"
)

// call is a call of a phone, from either end. A phone has one at a time.
type call struct {
	p                     *phone
	id                    string
	local, remote, target string
	route                 []string
	cseq                  uint32
	invite                *exchange // of the caller
	served                *served   // of the callee
	answered, giveUp      bool
}

const description = "v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

// dial calls another phone, and sometimes changes its mind.
func (p *phone) dial(to *phone) {
	if p.call != nil {
		return
	}
	c := &call{p: p, id: p.nextCall(), cseq: 1}
	c.local, c.remote = fmt.Sprintf("<%s>;tag=%s", p.impu, c.id), "<"+to.impu+">"
	m := p.start(sip.INVITE, to.impu, c.local, c.remote, c.id, c.cseq, p.route)
	m.AppendString(sip.HdrContact, "<"+p.contact()+">")
	m.SetBody("application/sdp", []byte(description))
	p.call = c
	p.r.witness.calls[c.id] = &calling{caller: p}
	p.r.witness.counts.Calls++
	c.invite = p.ask(m, c.heard)
	patience := 40 * time.Second
	if p.r.phase == stormy && p.r.percent(25) {
		patience = 300*time.Millisecond + p.r.upTo(6*time.Second)
	}
	p.r.w.After(patience, c.cancel)
}

// heard is what the caller hears.
func (c *call) heard(m *sip.Message) {
	p := c.p
	switch {
	case m == nil:
		p.r.witness.ended(c.id, ofCaller, unheard)
		c.end()
	case m.Status() < 200:
		if c.giveUp {
			c.cancel()
		}
	case m.Status() >= 300:
		if m.Status() == 486 {
			p.r.witness.counts.Busy++
		}
		p.r.witness.ended(c.id, ofCaller, refused)
		p.r.witness.calls[c.id].status = m.Status()
		p.lost(m)
		c.end()
	default:
		p.r.witness.ended(c.id, ofCaller, answered)
		c.learn(m)
		c.invite.acknowledge(p.start(sip.ACK, c.target, c.local, c.remote, c.id, c.cseq, c.route))
		c.answered = true
		p.r.witness.counts.Answered++
		if p.r.phase == calming {
			p.calmCalls++
		}
		talk := p.r.about(5 * time.Second)
		if c.giveUp { // the answer was faster than the CANCEL
			talk = 0
		}
		p.r.w.After(talk, c.hangUp)
	}
}

// learn takes the dialog from the 2xx (RFC 3261 12.1.2).
func (c *call) learn(m *sip.Message) {
	c.remote = string(m.Get(sip.HdrTo))
	if contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact)); err == nil {
		c.target = string(contact.URI)
	}
	c.route = nil
	for v := range m.Values(sip.HdrRecordRoute) {
		c.route = append(c.route, string(v))
	}
	slices.Reverse(c.route)
}

// cancel gives up the INVITE, once it is known to have arrived (RFC 3261 9.1).
func (c *call) cancel() {
	x := c.invite
	if x.over || c.giveUp && !x.proceeding {
		return
	}
	first := !c.giveUp
	c.giveUp = true
	if !x.proceeding {
		return
	}
	if key := x.branch + "CANCEL"; first || c.p.exchanges[key] == nil {
		c.p.r.witness.counts.Cancelled++
		c.p.ask(x.follow(sip.CANCEL), func(*sip.Message) {})
		c.p.r.w.After(timerB, func() {
			if !x.over {
				x.end(nil)
			}
		})
	}
}

// ring is what the callee does with an INVITE.
func (p *phone) ring(v *served) {
	r := p.r
	r.witness.rings(p, v)
	if p.call != nil || r.phase == silent || r.Network && !p.wanted { // he is about to leave
		r.witness.ended(string(v.request.Get(sip.HdrCallID)), ofCallee, refused)
		v.answer(486, nil)
		return
	}
	m := v.request
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		r.witness.fail("%s: INVITE without Contact: %v", p.name, err)
		return
	}
	c := &call{p: p, id: string(m.Get(sip.HdrCallID)), remote: string(m.Get(sip.HdrFrom)), target: string(contact.URI), served: v}
	c.local = fmt.Sprintf("%s;tag=%s", m.Get(sip.HdrTo), v.tag())
	for rr := range m.Values(sip.HdrRecordRoute) {
		c.route = append(c.route, string(rr))
	}
	p.call = c
	r.w.After(r.upTo(400*time.Millisecond), func() { v.answer(180, c.describe) })
	code, wait := 200, 500*time.Millisecond+r.about(3*time.Second)
	if r.phase == stormy {
		switch k := r.random.IntN(100); {
		case k < 10:
			code = 486
		case k < 20:
			wait = 3 * time.Minute // nobody is there
		}
	}
	r.w.After(wait, func() { c.pickUp(code) })
}

func (c *call) describe(m *sip.Message) {
	m.AppendString(sip.HdrContact, "<"+c.p.contact()+">")
}

// pickUp answers, if the caller is still there.
func (c *call) pickUp(code int) {
	if c.p.call != c || c.served.status >= 200 {
		return
	}
	c.served.answer(code, c.describe)
	if code != 200 {
		c.p.r.witness.ended(c.id, ofCallee, refused)
		c.end()
		return
	}
	c.p.r.witness.ended(c.id, ofCallee, answered)
	c.answered = true
	talk := c.p.r.about(10 * time.Second)
	c.p.r.w.After(talk, c.hangUp)
}

// hangUp ends an answered call with BYE, whatever the answer to that will be.
func (c *call) hangUp() {
	p := c.p
	if p.call != c || !c.answered {
		return
	}
	if c.served != nil && !c.served.settled && c.served.interval <= timerB {
		p.r.w.After(time.Second, c.hangUp) // not before the ACK (RFC 3261 15)
		return
	}
	c.cseq++
	m := p.start(sip.BYE, c.target, c.local, c.remote, c.id, c.cseq, c.route)
	p.ask(m, func(m *sip.Message) {
		if m == nil || m.Status() >= 200 {
			c.end()
		}
	})
}

func (c *call) end() {
	if c.p.call == c {
		c.p.call = nil
	}
}

// hungUp ends the call that the other side has ended.
func (p *phone) hungUp(id string) {
	if p.call != nil && p.call.id == id {
		p.call = nil
	}
}
