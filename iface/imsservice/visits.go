package imsservice

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"imsafe/proto/sip"
)

// visit is one stay of a request at a platform: what went out, so that what comes back is measured against it and not believed.
type visit struct {
	host     string
	original *sip.Message // as the S-CSCF handed it over: with all that the platform is not shown; see visits.of
	method   sip.Method

	mu        sync.Mutex
	tags      []string // To tags of responses that came from behind the platform: whoever has another answers himself
	contacts  []string // their Contact values, "" for none: of the tag at the same place
	connected []string // P-Asserted-Identity of these responses, and who speaks within the call

	calls []string // Call-IDs of the dialogs that it made the platform part of; of visits
	given given    // as in dialog; of visits
}

// behind notes a response from behind the platform on its way to it.
func (v *visit) behind(m *sip.Message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if tag := string(m.ToTag()); tag != "" {
		i := slices.Index(v.tags, tag)
		if i < 0 && len(v.tags) < maxTags {
			i = len(v.tags)
			v.tags, v.contacts = append(v.tags, tag), append(v.contacts, "")
		}
		if i >= 0 && m.Has(sip.HdrContact) {
			v.contacts[i] = string(m.Get(sip.HdrContact))
		}
	}
	for id := range m.Values(sip.HdrPAssertedIdentity) {
		v.connectLocked(id)
	}
}

// connect takes down one more who takes part.
func (v *visit) connect(who []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.connectLocked(who)
}

func (v *visit) connectLocked(who []byte) {
	if !slices.Contains(v.connected, string(who)) && len(v.connected) < maxTags {
		v.connected = append(v.connected, string(who))
	}
}

// names reports whether one of those who take part in the call is the one sought: those of the request that went out, and of what came from behind.
func (v *visit) names(is func(name string) bool) bool {
	for _, h := range [...]sip.HeaderID{sip.HdrPAssertedIdentity, sip.HdrFrom, sip.HdrTo, sip.HdrPServedUser} {
		for name := range v.original.Values(h) {
			if is(string(name)) {
				return true
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.connected, is)
}

// maxTags bounds the answers to one request that are told apart: a fork has no more branches.
const maxTags = 60

// passesOn reports whether a response of the platform is one from behind it.
func (v *visit) passesOn(m *sip.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	tag := m.ToTag()
	return slices.ContainsFunc(v.tags, func(t string) bool { return t == string(tag) })
}

// contactBehind returns the Contact of the response from behind the platform that m passes on, nil if it had none.
func (v *visit) contactBehind(m *sip.Message) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := slices.Index(v.tags, string(m.ToTag())); i >= 0 && v.contacts[i] != "" {
		return []byte(v.contacts[i])
	}
	return nil
}

// connects reports whether identity was asserted by a response from behind the platform.
func (v *visit) connects(identity []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.connected, func(c string) bool { return c == string(identity) })
}

// reconnect returns an asserted identity as the response from behind the platform had it, with its display name.
func (v *visit) reconnect(identity []byte) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.connected {
		if sameUser(identity, []byte(c)) {
			return []byte(c)
		}
	}
	return identity
}

// The bounds of what is remembered for platforms.
const (
	maxVisits  = 1 << 18
	dialogLife = 12 * time.Hour // of a dialog whose end nobody told: sessions are refreshed or ended long before
)

// visits are the stays under way, by original dialog identifier, and the dialogs that platforms are part of. Safe for concurrent use.
type visits struct {
	mu      sync.Mutex
	stays   map[string]*visit
	dialogs map[dialogName]*dialog
	counts  map[string]int // of dialogs, by host
	order   []dialogName   // the oldest first
}

// dialogName names a dialog of a platform. Tags are left out: the platform is in all of a call's dialogs or in none.
type dialogName struct{ host, callID string }

type dialog struct {
	until time.Duration
	own   bool     // the platform began it itself
	stays []string // identifiers that live as long
	// answered are the To tags of answers from behind the platform, for each of which a BYE will come (RFC 3261 13.2.2.4: all but one of a
	// fork's at once).
	answered []string
	// named are the users that requests within it have named to a platform that began it itself; else its stays know them.
	named []string
	given given
}

func newVisits() *visits {
	return &visits{stays: map[string]*visit{}, dialogs: map[dialogName]*dialog{}, counts: map[string]int{}}
}

// begin takes down that a request goes to a platform; false if there is no room.
func (v *visits) begin(identifier string, stay *visit) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.stays) >= maxVisits {
		return false
	}
	v.stays[identifier] = stay
	return true
}

// of returns the stay that an identifier stands for, nil if there is none at that platform, and a lease of what went out: the session may end
// on another shard in the same moment.
func (v *visits) of(identifier []byte, host string) (*visit, *sip.Message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.stays[string(identifier)]; s != nil && s.host == host {
		return s, s.original.Retain()
	}
	return nil, nil
}

// end forgets a stay of which nothing has come, and the dialogs that the platform was part of for its sake alone: those of the other branches of
// a fork, which have stays of their own, go on.
func (v *visits) end(identifier string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.stays[identifier]
	if s == nil {
		return
	}
	for _, callID := range s.calls {
		name := dialogName{s.host, callID}
		d := v.dialogs[name]
		if d == nil {
			continue
		}
		d.stays = slices.DeleteFunc(d.stays, func(have string) bool { return have == identifier })
		if len(d.stays) == 0 && !d.own {
			v.forget(name)
		}
	}
	v.drop(identifier)
}

func (v *visits) drop(identifier string) {
	if s := v.stays[identifier]; s != nil {
		delete(v.stays, identifier)
		s.original.Release()
	}
}

// join takes down that the platform is part of a dialog, or may become so; identifier is the stay that lives as long, or "".
func (v *visits) join(host string, callID []byte, identifier string, now time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sweep(now)
	name := dialogName{host, string(callID)}
	d := v.dialogs[name]
	if d == nil {
		d = &dialog{}
		v.dialogs[name] = d
		v.counts[host]++
		v.order = append(v.order, name)
	}
	d.until = now + dialogLife
	if identifier == "" {
		d.own = true
		return
	}
	if !slices.Contains(d.stays, identifier) {
		d.stays = append(d.stays, identifier)
	}
	if s := v.stays[identifier]; s != nil && !slices.Contains(s.calls, name.callID) {
		s.calls = append(s.calls, name.callID)
	}
}

// answer takes down a 2xx from behind the platform.
func (v *visits) answer(host string, callID, tag []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.dialogs[dialogName{host, string(callID)}]
	if d != nil && !slices.Contains(d.answered, string(tag)) && len(d.answered) < maxTags {
		d.answered = append(d.answered, string(tag))
	}
}

// hangUp takes a BYE that has passed: the platform is part of the call until each dialog of it is over.
func (v *visits) hangUp(host string, callID, from, to []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := dialogName{host, string(callID)}
	d := v.dialogs[name]
	if d == nil {
		return
	}
	d.answered = slices.DeleteFunc(d.answered, func(tag string) bool { return tag == string(from) || tag == string(to) })
	if len(d.answered) == 0 {
		v.forget(name)
	}
}

// leave ends a dialog, and the stays that lived as long.
func (v *visits) leave(host string, callID []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(dialogName{host, string(callID)})
}

func (v *visits) forget(name dialogName) {
	d := v.dialogs[name]
	if d == nil {
		return
	}
	delete(v.dialogs, name)
	if v.counts[name.host]--; v.counts[name.host] == 0 {
		delete(v.counts, name.host)
	}
	for _, identifier := range d.stays {
		v.drop(identifier)
	}
}

// leaveAll ends all dialogs of a platform.
func (v *visits) leaveAll(host string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name := range v.dialogs {
		if name.host == host {
			v.forget(name)
		}
	}
}

// takesPart reports whether the platform is part of the dialog of m.
func (v *visits) takesPart(host string, m *sip.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dialogs[dialogName{host, string(m.Get(sip.HdrCallID))}] != nil
}

// names takes down whom a request inside a dialog, on its way to the platform, says that it is from: the platform may pass that on.
func (v *visits) names(host string, m *sip.Message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.dialogs[dialogName{host, string(m.Get(sip.HdrCallID))}]
	if d == nil {
		return
	}
	note := func(who []byte) {
		if len(d.stays) == 0 && len(d.named) < maxTags && !slices.Contains(d.named, string(who)) {
			d.named = append(d.named, string(who))
		}
		for _, identifier := range d.stays {
			if s := v.stays[identifier]; s != nil {
				s.connect(who)
			}
		}
	}
	if _, asks := asking[m.Method()]; asks {
		v.givenOf(d).add(m)
	}
	note(m.Get(sip.HdrFrom))
	for id := range m.Values(sip.HdrPAssertedIdentity) {
		note(id)
	}
}

// givenOf is where what was given within a dialog stands: of a call that goes on in another dialog of the platform, in its stay.
func (v *visits) givenOf(d *dialog) *given {
	for _, identifier := range d.stays {
		if s := v.stays[identifier]; s != nil {
			return &s.given
		}
	}
	return &d.given
}

// returns takes m from what the platform was given within the call, to be passed on; false if it was not: then it is the platform's own.
func (v *visits) returns(host string, m *sip.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.dialogs[dialogName{host, string(m.Get(sip.HdrCallID))}]
	return d != nil && v.givenOf(d).take(m)
}

// named reports whether somebody is one of those that the core has named to the platform in the dialog of m, or in the call that it belongs to.
func (v *visits) named(host string, m *sip.Message, who []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.dialogs[dialogName{host, string(m.Get(sip.HdrCallID))}]
	if d == nil {
		return false
	}
	is := func(name string) bool { return bytes.Equal(uriOf(who), uriOf([]byte(name))) }
	return slices.ContainsFunc(d.named, is) || slices.ContainsFunc(d.stays, func(identifier string) bool {
		s := v.stays[identifier]
		return s != nil && s.names(is)
	})
}

// dialogsOf returns how many dialogs a platform is part of.
func (v *visits) dialogsOf(host string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts[host]
}

// sweep forgets what is over. The order is that of joining; a dialog that was joined again waits for its turn.
func (v *visits) sweep(now time.Duration) {
	for len(v.order) > 0 {
		d := v.dialogs[v.order[0]]
		if d != nil && d.until > now {
			return
		}
		v.forget(v.order[0])
		v.order = v.order[1:]
	}
}

// identifierOf returns the original dialog identifier in a Route entry of the S-CSCF (TS 24.229 5.4.3.2: it stands in the user part), nil if
// there is none.
func identifierOf(route []byte, scscf string) []byte {
	addr, err := sip.ParseNameAddr(route)
	if err != nil {
		return nil
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil || !bytes.EqualFold(uri.Host, []byte(scscf)) || len(uri.User) == 0 {
		return nil
	}
	return uri.User
}
