package scscf

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/filter"
	"imsafe/proto/passport"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
)

// chain is the walk of one initial request through the service platforms of its served user. It is a value: a platform that may fork
// gives back several, and each goes on by itself.
type chain struct {
	filter *filter.Filter
	cursor filter.Cursor
	when   cx.SessionCase
	user   user
	onward onward
	callID string
	target string // the Request-URI as it came: of a called user, a platform that changes it diverts the call
	refers string // Refer-To as it came

	devices      []device // of the called user; nil after a stay at a platform: they are looked up again
	unregistered bool     // OriginatingCDIV: of somebody who is not registered
	otherwise    int      // toNobody: the answer where no platform takes the request
	notes        hop.Up   // after a stay at a platform: takes down the descriptions that go back there
}

// begin is the chain of a request before its first criterion.
func begin(in hop.Inbound, u user, when cx.SessionCase, to onward) chain {
	c := chain{filter: u.filter, when: when, user: u, onward: to}
	if u.filter != nil { // the rest is for those who come back
		c.cursor, c.target = filter.Cursor{Version: u.filter.Version()}, string(in.Msg.RequestURI())
		c.callID, c.refers = string(in.Msg.Get(sip.HdrCallID)), string(in.Msg.Get(sip.HdrReferTo))
	}
	return c
}

// onward is what comes after the last criterion.
type onward uint8

const (
	toHome   onward = iota // an originating request: the I-CSCF of the called user
	toCallee               // a terminating one: the devices of the served user
	toNobody               // a terminating one for somebody who has none
)

// passage is one stay of a request at a platform: what its original dialog identifier stands for.
type passage struct {
	chain
	host     string // of the platform
	uses     int    // how often it may still come back
	returned bool

	odi     string    // the identifier as it goes out
	offered vouched   // the session description that went out; not changed
	answers []vouched // those that came from behind the platform
	later   []vouched // those that went to the platform within the dialog, the latest ones
	taken   []string  // the calls that the request named when it went out; not changed
	names   []string  // Call-IDs of the dialogs that it is in
}

// passages are the stays. The identifier is the sealed number of a slot (TS 24.229 5.4.3.2: the S-CSCF's own Route entry carries it): it says
// nothing, and nobody can make one. Safe for concurrent use.
type passages struct {
	mu    sync.Mutex
	slots []passageSlot
	free  []uint32
	calls map[string]*keptCall     // stays that live as long as a call, by Call-ID
	named map[string][]shard.Place // all stays, by the Call-IDs of their dialogs
	order []lasting
}

type passageSlot struct {
	generation uint16
	passage    *passage
}

// keptCall is what a call keeps: stays, until the last of its dialogs is over: one for each To tag that has answered (RFC 3261 13.2.2.4).
type keptCall struct {
	places []shard.Place
	tags   []string
}

// lasting is a call that keeps stays, in the order of confirmation.
type lasting struct {
	callID string
	until  time.Duration
}

// The bounds of what is kept.
const (
	maxPassages  = 1 << 18
	passageLife  = 12 * time.Hour // of a dialog whose end nobody told
	tokenPassage = 'o'            // kind of the sealed token
)

func newPassages() *passages {
	return &passages{calls: map[string]*keptCall{}, named: map[string][]shard.Place{}}
}

// open gives a stay its number, for a request with a Call-ID; false if there are too many.
func (p *passages) open(stay *passage, callID string) (place shard.Place, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var slot uint32
	switch n := len(p.free); {
	case n > 0:
		slot, p.free = p.free[n-1], p.free[:n-1]
	case len(p.slots) < maxPassages:
		slot = uint32(len(p.slots))
		p.slots = append(p.slots, passageSlot{})
	default:
		return place, false
	}
	p.slots[slot].passage = stay
	place = shard.Place{Slot: slot, Gen: p.slots[slot].generation}
	p.call(place, stay, callID)
	return place, true
}

// find returns the stay of a number; its fields are read and changed under the lock only.
func (p *passages) find(place shard.Place) *passage {
	if int(place.Slot) >= len(p.slots) || p.slots[place.Slot].generation != place.Gen {
		return nil
	}
	return p.slots[place.Slot].passage
}

// resume takes one use of a number for the platform at host.
func (p *passages) resume(place shard.Place, host string) isc.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := p.find(place)
	switch {
	case stay == nil:
		return isc.FaultEnded
	case stay.host != host:
		return isc.FaultForeign
	case stay.uses == 0:
		return isc.FaultSpent
	}
	stay.uses--
	stay.returned = true
	return isc.FaultNone
}

// walk returns the chain that a number stands for.
func (p *passages) walk(place shard.Place) (chain, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := p.find(place)
	if stay == nil {
		return chain{}, false
	}
	return stay.chain, true
}

// name takes down the identifier of a stay.
func (p *passages) name(stay *passage, identifier []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay.odi = string(identifier)
}

// note takes down a session description that came from behind the platform.
func (p *passages) note(stay *passage, v vouched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(stay.answers) < maxVouched {
		stay.answers = append(stay.answers, v)
	}
}

// behind returns the session description from behind the platform that has these media keys, which may be none, whether there was such a one,
// and whether there was any.
func (p *passages) behind(stay *passage, keys []passport.Fingerprint, description []byte) (found vouched, same, others bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range stay.answers {
		if v.holds(keys, description) {
			return v, true, true
		}
	}
	return vouched{}, false, len(stay.answers) > 0
}

// stayOf returns the stay that a number stands for, nil if there is none any more. What does not change in it may be read.
func (p *passages) stayOf(place shard.Place) *passage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(place)
}

// settle ends a stay after the final answer, but for one that a call keeps, whose tag is that of the answer, and reports whether the request ever came back.
func (p *passages) settle(place shard.Place, callID, tag string, confirmed bool, now time.Duration) (returned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	stay := p.find(place)
	if stay == nil {
		return false
	}
	returned = stay.returned
	if !confirmed {
		p.close(place)
		return returned
	}
	call := p.calls[callID]
	if call == nil {
		call = &keptCall{}
		p.calls[callID] = call
		p.order = append(p.order, lasting{callID, now + passageLife})
	}
	call.places = append(call.places, place)
	call.answered(tag)
	return returned
}

// answersToo takes down a further 2xx of a call that has one (RFC 3261 13.2.2.4).
func (p *passages) answersToo(callID, tag string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if call := p.calls[callID]; call != nil {
		call.answered(tag)
	}
}

func (c *keptCall) answered(tag string) {
	if len(c.tags) < maxVouched && !slices.Contains(c.tags, tag) {
		c.tags = append(c.tags, tag)
	}
}

// hangup takes the dialog between two tags off a call, and ends what the call kept when that was the last.
func (p *passages) hangup(callID, tag, other []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := p.calls[string(callID)]
	if call == nil {
		return
	}
	call.tags = slices.DeleteFunc(call.tags, func(t string) bool { return t == string(tag) || t == string(other) })
	if len(call.tags) == 0 {
		p.forget(string(callID))
	}
}

// abandon ends what a call kept, with all of its dialogs.
func (p *passages) abandon(callID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(callID)
}

func (p *passages) forget(callID string) {
	call := p.calls[callID]
	if call == nil {
		return
	}
	for _, place := range call.places {
		p.close(place)
	}
	delete(p.calls, callID)
}

func (p *passages) close(place shard.Place) {
	if p.find(place) == nil {
		return
	}
	slot := &p.slots[place.Slot]
	p.uncall(place, slot.passage)
	slot.passage = nil
	slot.generation++
	p.free = append(p.free, place.Slot)
}

func (p *passages) sweep(now time.Duration) {
	for len(p.order) > 0 && p.order[0].until <= now {
		p.forget(p.order[0].callID)
		p.order = p.order[1:]
	}
}

// Resume implements isc.Chains.
func (s *SCSCF) Resume(identifier []byte, host string) isc.Fault {
	place, genuine := s.ports.Sealer.Open(tokenPassage, identifier)
	if !genuine {
		return isc.FaultForged
	}
	return s.passages.resume(place, host)
}

// passageOf returns the number in the topmost Route entry, if that is ours and carries one.
func (s *SCSCF) passageOf(m *sip.Message) (place shard.Place, carries bool) {
	addr, err := sip.ParseNameAddr(m.Get(sip.HdrRoute))
	if err != nil {
		return place, false
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil || !bytes.Equal(uri.Host, []byte(s.cfg.Name)) || len(uri.User) != shard.TokenSize {
		return place, false
	}
	return s.ports.Sealer.Open(tokenPassage, uri.User)
}
