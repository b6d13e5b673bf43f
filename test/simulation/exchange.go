package simulation

import (
	"fmt"
	"net/netip"
	"time"

	"imsafe/proto/sip"
)

// The timers of a phone (RFC 3261 table 4).
const (
	timerT1 = 500 * time.Millisecond
	timerT2 = 4 * time.Second
	timerB  = 64 * timerT1
)

// exchange is a client transaction of a phone (RFC 3261 17.1).
type exchange struct {
	p          *phone
	invite     bool
	branch     string
	request    *sip.Message
	octets     []byte
	ack        []byte // of the final response to an INVITE, once there is one
	interval   time.Duration
	proceeding bool
	over       bool
	// heard takes every response once; nil means that nobody answered in time.
	heard func(*sip.Message)
}

// ask sends a request and repeats it until it is answered. The phone keeps m.
func (p *phone) ask(m *sip.Message, heard func(*sip.Message)) *exchange {
	via, _ := m.TopVia()
	x := &exchange{p: p, invite: m.Method() == sip.INVITE, branch: string(via.Branch), request: m, octets: m.AppendTo(nil),
		interval: timerT1, heard: heard}
	key := x.branch + m.Method().String()
	p.exchanges[key] = x
	p.transmit(x.octets)
	p.r.w.After(x.interval, x.again)
	p.r.w.After(timerB, func() {
		if !x.over && !(x.invite && x.proceeding) {
			x.end(nil)
		}
	})
	return x
}

// again is timers A and E.
func (x *exchange) again() {
	if x.over || x.invite && x.proceeding {
		return
	}
	x.p.transmit(x.octets)
	if x.interval *= 2; !x.invite {
		x.interval = min(x.interval, timerT2)
	}
	x.p.r.w.After(x.interval, x.again)
}

// end takes the final response, or nil. The exchange stays for a while to acknowledge repeated ones.
func (x *exchange) end(m *sip.Message) {
	x.over = true
	x.p.r.w.After(timerB, func() { delete(x.p.exchanges, x.branch+x.request.Method().String()) })
	if m != nil && x.invite && m.Status() >= 300 {
		ack := x.follow(sip.ACK) // RFC 3261 17.1.1.3
		ack.Set(sip.HdrTo, m.Get(sip.HdrTo))
		x.acknowledge(ack)
	}
	x.heard(m)
}

func (x *exchange) acknowledge(ack *sip.Message) {
	x.ack = ack.AppendTo(nil)
	x.p.transmit(x.ack)
}

// follow makes the ACK of a failure, or the CANCEL, of an INVITE (RFC 3261 9.1, 17.1.1.3).
func (x *exchange) follow(method sip.Method) *sip.Message {
	m := x.p.pool.NewRequest(method, string(x.request.RequestURI()))
	for _, h := range []sip.HeaderID{sip.HdrVia, sip.HdrMaxForwards, sip.HdrRoute, sip.HdrFrom, sip.HdrTo, sip.HdrCallID} {
		for v := range x.request.Values(h) {
			m.Append(h, v)
		}
	}
	seq, _, _ := x.request.CSeq()
	m.AppendString(sip.HdrCSeq, fmt.Sprintf("%d %s", seq, method))
	return m
}

// response finds the exchange of a response.
func (p *phone) response(m *sip.Message) {
	via, _ := m.TopVia()
	x := p.exchanges[string(via.Branch)+m.CSeqMethod().String()]
	switch {
	case x == nil:
	case x.over && m.Status() >= 200 && x.ack != nil:
		p.transmit(x.ack)
	case x.over:
	case m.Status() < 200:
		x.proceeding = true
		x.heard(m)
	default:
		x.end(m)
	}
}

// served is a server transaction of a phone (RFC 3261 17.2).
type served struct {
	p        *phone
	request  *sip.Message
	octets   []byte // last response
	status   int
	settled  bool // an INVITE whose final response was acknowledged
	interval time.Duration
}

// request finds the transaction of a request, or makes it.
func (p *phone) request(m *sip.Message) {
	via, err := m.TopVia()
	if err != nil {
		p.r.witness.fail("%s received a request without Via", p.name)
		return
	}
	branch := string(via.Branch)
	switch m.Method() {
	case sip.ACK:
		if v := p.serving[branch+"INVITE"]; v != nil {
			v.settled = true
		} else if c := p.call; c != nil && string(m.Get(sip.HdrCallID)) == c.id && c.served != nil {
			c.served.settled = true
		}
		return
	case sip.CANCEL:
		p.cancelled(m, p.serving[branch+"INVITE"])
		return
	}
	key := branch + m.Method().String()
	if v := p.serving[key]; v != nil {
		if v.octets != nil {
			p.transmit(v.octets)
		}
		return
	}
	v := &served{p: p, request: m, interval: timerT1}
	p.serving[key] = v
	p.r.w.After(2*timerB+time.Minute, func() { delete(p.serving, key) })
	p.serve(v)
}

// answer responds to a request; an INVITE is answered again and again until the ACK comes.
func (v *served) answer(code int, edit func(*sip.Message)) {
	if v.status >= 200 {
		return
	}
	m := v.p.pool.NewResponse(v.request, code, "")
	if code > 100 && len(m.ToTag()) == 0 {
		m.SetToTag(v.tag())
	}
	for rr := range v.request.Values(sip.HdrRecordRoute) {
		m.Append(sip.HdrRecordRoute, rr)
	}
	if edit != nil {
		edit(m)
	}
	v.octets, v.status = m.AppendTo(nil), code
	v.p.transmit(v.octets)
	if code >= 200 && v.request.Method() == sip.INVITE {
		v.p.r.w.After(v.interval, v.again)
	}
}

// again is timer G, and the repetition of a 2xx by its user (RFC 3261 13.3.1.4).
func (v *served) again() {
	if v.settled || v.interval > timerB {
		return
	}
	v.p.transmit(v.octets)
	v.interval *= 2
	v.p.r.w.After(min(v.interval, timerT2), v.again)
}

func (v *served) tag() string {
	via, _ := v.request.TopVia()
	return v.p.name + "-" + string(via.Branch[max(0, len(via.Branch)-8):])
}

// cancelled answers a CANCEL and ends the INVITE that it is about (RFC 3261 9.2).
func (p *phone) cancelled(m *sip.Message, invite *served) {
	code := 481
	if invite != nil {
		code = 200
	}
	response := p.pool.NewResponse(m, code, "")
	if invite != nil {
		response.SetToTag(invite.tag())
	}
	p.transmit(response.AppendTo(nil))
	if invite != nil && invite.status < 200 {
		invite.answer(487, nil)
		p.r.witness.ended(string(m.Get(sip.HdrCallID)), ofCallee, refused)
		p.hungUp(string(m.Get(sip.HdrCallID)))
	}
}

// transmit sends octets to the P-CSCF.
func (p *phone) transmit(octets []byte) { p.r.w.Send(p.address, p.node.Address, octets) }

// Receive implements lab.Endpoint.
func (p *phone) Receive(_ netip.AddrPort, data []byte) {
	m, err := p.pool.Parse(data)
	switch {
	case err != nil:
		p.r.witness.fail("%s received what does not parse: %v\n%s", p.name, err, data)
	case m.IsRequest():
		p.request(m)
	default:
		p.response(m)
	}
}
