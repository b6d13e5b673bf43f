package simulation

import (
	"fmt"
	"strconv"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// registration is what a phone knows and wants of its registration.
type registration struct {
	wanted bool
	since  time.Duration // since when it wants what it wants
	until  time.Duration // when the registration ends, as far as the phone knows
	busy   bool          // an attempt is under way
	cseq   uint32
	route  []string // Service-Route
	number int      // of the attempt to change it
	boots  int      // each has a Call-ID of its own
}

// retryAfter is how long a phone waits after a refusal that names no time.
const retryAfter = 3 * time.Second

func (p *phone) registered() bool { return p.until > p.r.w.Clock.Now() }

// pursue makes an attempt to get what is wanted, unless one is under way.
func (p *phone) pursue() {
	if p.busy || p.wanted == p.registered() || p.r.phase == silent {
		return
	}
	if p.wanted {
		p.attempt(60 + p.r.random.IntN(500))
	} else {
		p.attempt(0)
	}
}

// refresh registers again though nothing has changed, when nothing else is under way.
func (p *phone) refresh() {
	switch {
	case !p.wanted || p.r.phase == silent:
	case p.busy:
		p.refreshIn(retryAfter)
	default:
		p.attempt(60 + p.r.random.IntN(500))
	}
}

// refreshIn refreshes after a while, unless the registration has changed by then.
func (p *phone) refreshIn(d time.Duration) {
	number, boots := p.number, p.boots
	p.r.w.After(d, func() {
		if p.number == number && p.boots == boots {
			p.refresh()
		}
	})
}

// query asks what is registered (RFC 3261 10.2.3).
func (p *phone) query() {
	if !p.busy {
		p.attempt(asking)
	}
}

// asking, in the place of seconds, is a REGISTER without Contact.
const asking = -1

// attempt is one registration, refresh, de-registration or query, with as many challenges as it takes.
func (p *phone) attempt(seconds int) {
	p.busy = true
	if seconds != asking {
		p.number++
	}
	a := &attempt{p: p, seconds: seconds, star: seconds == 0 && p.r.percent(30)}
	a.send(nil)
}

type attempt struct {
	p          *phone
	seconds    int
	star       bool // de-register with Contact: *
	challenges int
}

// knocking is an attempt that hears nothing.
func (a *attempt) knocking() bool { return a.challenges == hopeless }

// hopeless, in the place of challenges, is an attempt that only knocks.
const hopeless = 1 << 10

// send sends the REGISTER; edit adds the answer to a challenge.
func (a *attempt) send(edit func(*sip.Credentials)) {
	p := a.p
	p.cseq++
	m := p.start(sip.REGISTER, "sip:"+lab.Domain, "<"+p.impu+">;tag=r", "<"+p.impu+">", fmt.Sprintf("reg-%s-%d", p.name, p.boots), p.cseq, nil)
	switch {
	case a.seconds == asking:
		p.r.witness.asks(m)
	case a.star:
		m.AppendString(sip.HdrContact, "*")
		m.AppendString(sip.HdrExpires, "0")
	default:
		m.AppendString(sip.HdrContact, fmt.Sprintf("<%s>;expires=%d", p.contact(), a.seconds))
	}
	m.AppendString(sip.HdrSupported, "path")
	c := sip.Credentials{Username: []byte(p.impi), Realm: []byte(lab.Domain), URI: []byte("sip:" + lab.Domain), Nonce: []byte{}, Response: []byte{}}
	if edit != nil {
		edit(&c)
	}
	m.Append(sip.HdrAuthorization, c.AppendTo(nil))
	p.ask(m, a.heard)
}

func (a *attempt) heard(m *sip.Message) {
	p := a.p
	switch {
	case a.knocking():
	case m == nil:
		p.r.witness.counts.Unanswered++
		a.failed(0)
	case m.Status() < 200:
	case m.Status() == 401 && a.challenges < 4:
		a.challenges++
		a.answer(m)
	case m.Status() == 200:
		a.succeeded(m)
	default:
		p.r.witness.refused(p, m.Status())
		if a.seconds == 0 && m.Status() == 403 {
			p.until = 0 // gone already
		}
		wait, _ := strconv.Atoi(string(m.Get(sip.HdrRetryAfter)))
		a.failed(time.Duration(wait) * time.Second)
	}
}

// failed lets the phone try again later.
func (a *attempt) failed(wait time.Duration) {
	p := a.p
	if wait == 0 {
		wait = retryAfter/2 + p.r.upTo(retryAfter)
	}
	boots := p.boots
	p.r.w.After(wait, func() {
		if p.boots == boots {
			p.busy = false
			if p.wanted && p.registered() && a.seconds > 0 {
				p.refresh() // nobody else would, before it ends
			}
			p.pursue()
		}
	})
}

func (a *attempt) succeeded(m *sip.Message) {
	p := a.p
	p.busy = false
	if a.seconds != asking {
		p.until = 0
	}
	for i := range m.Count(sip.HdrContact) {
		seconds, _ := m.ContactExpires(i)
		granted := time.Duration(seconds) * time.Second
		if a.seconds == asking {
			break // the phone may have come back as another: what it hears of is not always its own
		}
		p.until = p.r.w.Clock.Now() + granted
		p.route = nil
		for v := range m.Values(sip.HdrServiceRoute) {
			p.route = append(p.route, string(v))
		}
		p.refreshIn(granted/3 + p.r.upTo(granted/3))
	}
	p.pursue()
}

// answer answers a challenge as a card does: it verifies the network, and the number's freshness (TS 33.203 6.1).
func (a *attempt) answer(m *sip.Message) {
	p := a.p
	challenge, err := sip.ParseChallenge(m.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		p.r.witness.fail("%s received a challenge that does not parse: %v", p.name, err)
		return
	}
	nonce, err := aka.ParseNonce(challenge.Nonce)
	if err != nil {
		p.r.witness.fail("%s: %v", p.name, err)
		return
	}
	opened, err := aka.Open(p.card, nonce.RAND, nonce.AUTN)
	if err != nil {
		p.r.witness.denied(p, err)
		if a.seconds == 0 {
			p.until = 0 // gone already
		}
		a.failed(0)
		return
	}
	fresh := p.window.Accept(opened.SQN) == nil
	if fresh && p.r.phase == stormy && p.r.percent(2) {
		fresh = false // as if another network had used the card meanwhile
	}
	algorithm, known := aka.ParseDigestAlgorithm(challenge.Algorithm)
	if !known || algorithm.String() != p.scheme {
		p.r.witness.fail("%s: challenged with %s", p.name, challenge.Algorithm)
		return
	}
	a.send(func(c *sip.Credentials) {
		c.Realm, c.Nonce, c.Algorithm = challenge.Realm, challenge.Nonce, challenge.Algorithm
		c.QOP, c.NC, c.Cnonce = []byte("auth"), []byte("00000001"), []byte("0a4f113b")
		var password []byte
		if fresh {
			p.r.witness.attempt(p, a.seconds)
			password = algorithm.AppendPassword(nil, &opened.RES, &opened.CK, &opened.IK)
		} else { // RFC 3310 3.4
			p.r.witness.counts.Resynchronised++
			c.AUTS = aka.AppendAUTS(nil, aka.MakeAUTS(p.card, nonce.RAND, p.window.Highest()))
		}
		digest := aka.Digest{Algorithm: algorithm, Username: c.Username, Realm: c.Realm, Nonce: c.Nonce, URI: c.URI,
			Method: []byte("REGISTER"), QOP: c.QOP, NC: c.NC, Cnonce: c.Cnonce}
		c.Response = digest.AppendResponse(nil, password)
	})
}
