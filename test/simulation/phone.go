package simulation

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// phone is a client that does as it likes: it keeps itself registered, calls, answers, writes, leaves and comes back.
type phone struct {
	r       *run
	node    *lab.Node
	name    string
	impi    string
	impu    string
	address netip.AddrPort
	pool    *sip.Pool
	k, opc  [16]byte
	card    *aka.Milenage
	window  aka.Window // what the card has seen
	scheme  string

	provisioned bool // the HSS knows the subscriber

	exchanges map[string]*exchange
	serving   map[string]*served
	branches  int
	calls     int
	call      *call

	registration
	calmMessages, calmCalls int
}

func (r *run) addPhone(n *lab.Node) error {
	i := len(r.phones)
	p := &phone{r: r, node: n, name: fmt.Sprintf("user%02d", i), pool: sip.NewPool(sip.Limits{}),
		exchanges: map[string]*exchange{}, serving: map[string]*served{},
		scheme: []string{"AKAv1-MD5", "AKAv2-MD5", "AKAv2-SHA-256"}[i%3]}
	p.impi, p.impu = p.name+"@"+lab.Domain, "sip:"+p.name+"@"+lab.Domain
	p.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n.Number()), 1, byte(10 + i)}), 5060)
	for j := range p.k {
		p.k[j], p.opc[j] = byte(r.random.Uint32()), byte(r.random.Uint32())
	}
	p.card = aka.NewMilenage(p.k, p.opc)
	p.registration.wanted, p.registration.since = true, 0
	r.phones = append(r.phones, p)
	r.w.Plug(p.address, p)
	r.witness.meet(p)
	r.reprovision(p)
	return nil
}

// subscriber is what the operator enters.
func (p *phone) subscriber() *hss.Subscriber {
	return &hss.Subscriber{Card: hss.Card{IMPI: p.impi, K: hss.Secret(hex.EncodeToString(p.k[:])),
		OPc: hss.Secret(hex.EncodeToString(p.opc[:])), Scheme: p.scheme}, Public: []hss.Public{{IMPU: p.impu}}}
}

// live is the next thing that the phone does in the storm.
func (p *phone) live() {
	r := p.r
	if r.phase != stormy {
		return
	}
	r.w.After(200*time.Millisecond+r.about(8*time.Second), p.live)
	if !p.registered() {
		if r.percent(25) {
			p.query()
		} else {
			p.pursue()
		}
		return
	}
	switch k := r.random.IntN(100); {
	case k < 35:
		p.write(p.someone(), nil)
	case k < 70:
		p.dial(p.someone())
	case k < 80 && r.Network && p.call != nil: // who talks does not leave (TS 24.229 5.1.1.6)
	case k < 80:
		p.wanted, p.since = false, r.w.Clock.Now()
		p.pursue()
		r.w.After(r.about(8*time.Second), func() {
			p.wanted, p.since = true, r.w.Clock.Now()
			p.pursue()
		})
	case k < 88:
		p.refresh()
	case k < 94:
		p.query()
	case k < 97 && !r.Network:
		p.reboot()
	default:
		p.knock(1 + r.random.IntN(40))
	}
}

// knock asks for one challenge after the other and answers none, as a broken client does, or one that wants the sequence
// numbers of the card to run out.
func (p *phone) knock(times int) {
	if times == 0 || p.busy || p.r.phase != stormy {
		return
	}
	a := &attempt{p: p, seconds: 60, challenges: hopeless}
	a.send(nil)
	p.r.w.After(p.r.upTo(100*time.Millisecond), func() { p.knock(times - 1) })
}

// reboot is what falling batteries do: the phone forgets everything but its card, and registers anew.
func (p *phone) reboot() {
	for _, x := range p.exchanges {
		x.over, x.heard = true, func(*sip.Message) {}
	}
	for _, v := range p.serving {
		v.settled, v.status = true, 487
	}
	clear(p.exchanges)
	clear(p.serving)
	p.call = nil
	p.registration = registration{wanted: true, since: p.r.w.Clock.Now(), boots: p.boots + 1}
	p.pursue()
}

// enjoyCalm registers, and then writes and calls until it has succeeded.
func (p *phone) enjoyCalm() {
	r := p.r
	if r.phase != calming {
		return
	}
	r.w.After(5*time.Second+r.upTo(3*time.Second), p.enjoyCalm)
	switch other := p.someone(); {
	case !p.registered():
		p.wanted = true
		p.pursue()
	case p.calmMessages == 0:
		p.write(other, func(ok bool) {
			if ok && r.phase == calming {
				p.calmMessages++
			}
		})
	case p.calmCalls == 0:
		p.dial(other)
	}
}

// someone is another phone of the same node.
func (p *phone) someone() *phone {
	for {
		if other := p.r.phones[p.r.random.IntN(len(p.r.phones))]; other.node == p.node && other != p {
			return other
		}
	}
}

// start makes a request with what every one has.
func (p *phone) start(method sip.Method, uri, from, to, callID string, cseq uint32, route []string) *sip.Message {
	p.branches++
	m := p.pool.NewRequest(method, uri)
	m.AppendString(sip.HdrVia, fmt.Sprintf("SIP/2.0/UDP %s;rport;branch=z9hG4bK%s-%d", p.address, p.name, p.branches))
	m.AppendString(sip.HdrMaxForwards, "70")
	m.AppendString(sip.HdrFrom, from)
	m.AppendString(sip.HdrTo, to)
	m.AppendString(sip.HdrCallID, callID)
	m.AppendString(sip.HdrCSeq, fmt.Sprintf("%d %s", cseq, method))
	for _, v := range route {
		m.AppendString(sip.HdrRoute, v)
	}
	return m
}

func (p *phone) contact() string { return fmt.Sprintf("sip:%s@%s", p.name, p.address) }

// nextCall returns a new Call-ID.
func (p *phone) nextCall() string {
	p.calls++
	return fmt.Sprintf("%s-%d", p.name, p.calls)
}

// write sends a message; then hears whether it was delivered.
func (p *phone) write(to *phone, then func(delivered bool)) {
	m := p.start(sip.MESSAGE, to.impu, "<"+p.impu+">;tag=m", "<"+to.impu+">", p.nextCall(), 1, p.route)
	m.SetBody("text/plain", fmt.Appendf(nil, "hello %s", to.name))
	p.ask(m, func(m *sip.Message) {
		if m != nil && m.Status() < 200 {
			return
		}
		ok := m != nil && m.Status() == 200
		if ok {
			p.r.witness.counts.Messages++
		} else {
			p.r.witness.counts.Undelivered++
			p.lost(m)
		}
		if then != nil {
			then(ok)
		}
	})
}

// lost reacts to a refusal that says that the network does not know the phone (any more): it registers anew.
func (p *phone) lost(m *sip.Message) {
	if m != nil && m.Status() == 403 {
		p.until = 0
		p.pursue()
	}
}

// serve takes a new request.
func (p *phone) serve(v *served) {
	switch v.request.Method() {
	case sip.INVITE:
		p.ring(v)
	case sip.BYE:
		v.answer(200, nil)
		p.hungUp(string(v.request.Get(sip.HdrCallID)))
	case sip.MESSAGE:
		v.answer(200, nil)
	default:
		v.answer(405, nil)
	}
}
