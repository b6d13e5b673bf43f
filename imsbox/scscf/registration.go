package scscf

import (
	"bytes"
	"iter"
	"slices"
	"strings"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// registration is one registered private identity: the implicit registration set and its bindings. It holds
// from the start what restoration will need (TS 23.380): Path, contacts, epoch of the assignment.
type registration struct {
	impi       string
	partition  string   // of the store: where the HSS keeps the subscription; "" is the private identity
	siblings   []string // all private identities of the subscription, if there are several: they may share public ones
	epoch      uint64   // of the assignment at the HSS: a late write of an S-CSCF that lost the user fails there
	version    uint64   // of the stored record
	reauthAt   time.Duration
	identities []identity
	contacts   []contact
	watchers   []subscription // of the registration event package
}

type identity struct {
	impu     string // distinct, or the range as it is provisioned
	barred   bool
	wildcard bool       // it is a range (TS 23.003 13.4A)
	set      uint8      // number of its implicit registration set: a private identity may have several
	profile  profileKey // the filter criteria of its service profile
}

// contact is one binding. until is on the monotonic clock: a jump of the wall clock expires nobody.
type contact struct {
	uri, params string // params with the leading ';', without expires
	callID      string
	cseq        uint32
	until       time.Duration
	path        []string // Path, first hop first
	instance    string   // +sip.instance: the device; "" if it does not say
	regID       uint32   // reg-id of the flow (RFC 5626); 0 if the device has one flow only
	failed      bool     // a request found its flow gone
	set         uint8    // number of the implicit registration set that it is bound to
	gruu        bool     // the device asked for GRUUs
}

// emergency reports whether the binding is of an emergency registration: it stands beside the device's ordinary one (TS 24.229 5.1.6).
func (c *contact) emergency() bool {
	return strings.Contains(c.uri, ";") && sip.EmergencyURI([]byte(c.uri))
}

// indexOf returns where the binding is that c replaces or removes, -1 if nowhere: that of the same device and flow (RFC 5626 6), else
// that of the same URI (RFC 3261 10.3 compares as URIs). A device without reg-id has one binding: a handset that comes back with a
// new address takes the place of its former self.
func (r *registration) indexOf(c *contact) int {
	byURI := -1
	for i := range r.contacts {
		have := &r.contacts[i]
		if have.set != c.set || have.emergency() != c.emergency() {
			continue
		}
		if c.instance != "" && have.instance == c.instance && have.regID == c.regID {
			return i
		}
		if (c.regID == 0 || have.regID == 0) && sameURI(have.uri, c.uri) {
			byURI = i
		}
	}
	return byURI
}

// sameURI compares by the rules for URIs (RFC 3261 19.1.4).
func sameURI(a, b string) bool {
	x, errX := sip.ParseURI([]byte(a))
	if errX != nil || a == b {
		return errX == nil
	}
	y, errY := sip.ParseURI([]byte(b))
	return errY == nil && x.Equal(&y)
}

// setOf returns the number of the implicit registration set that impu belongs to.
func (r *registration) setOf(impu string) (set uint8, known bool) {
	for _, id := range r.identities {
		if id.impu == impu {
			return id.set, true
		}
	}
	return 0, false
}

// bound returns the bindings of a set.
func (r *registration) bound(set uint8) []contact {
	contacts := make([]contact, 0, len(r.contacts))
	for _, c := range r.contacts {
		if c.set == set {
			contacts = append(contacts, c)
		}
	}
	return contacts
}

// profileOf returns the filter criteria of a public identity.
func (r *registration) profileOf(impu string) profileKey {
	for _, id := range r.identities {
		if id.impu == impu {
			return id.profile
		}
	}
	return ""
}

// registers reports whether impu is registered: known, and its set has a binding.
func (r *registration) registers(impu string) bool {
	set, known := r.setOf(impu)
	return known && slices.ContainsFunc(r.contacts, func(c contact) bool { return c.set == set })
}

// serves reports whether impu is registered for more than emergency calls.
func (r *registration) serves(impu string) bool {
	set, known := r.setOf(impu)
	return known && slices.ContainsFunc(r.contacts, func(c contact) bool { return c.set == set && !c.emergency() })
}

// replaceSet puts identities, which it writes the set into, in the place of those of a set.
func (r *registration) replaceSet(set uint8, identities []identity) {
	for i := range identities {
		identities[i].set = set
	}
	if slices.Equal(r.identities, identities) {
		return // as mostly
	}
	kept := slices.DeleteFunc(slices.Clone(r.identities), func(id identity) bool { return id.set == set })
	r.identities = append(kept, identities...)
}

// freeSet returns a number that no set has.
func (r *registration) freeSet() (set uint8) {
	for slices.ContainsFunc(r.identities, func(id identity) bool { return id.set == set }) {
		set++
	}
	return set
}

// leavesSome reports whether bindings of its set will be there after the REGISTER asked.
func (r *registration) leavesSome(asked *register) bool {
	removes := func(w wish) bool { return w.expires == 0 }
	if len(asked.contacts) > 0 && !slices.ContainsFunc(asked.contacts, removes) {
		return true // nothing goes, and something comes or stays
	}
	left := registration{contacts: r.bound(asked.set)}
	if asked.leaveAll {
		left.contacts = slices.DeleteFunc(left.contacts, func(c contact) bool { return !c.emergency() })
	}
	for i := range asked.contacts {
		w := &asked.contacts[i]
		at := left.indexOf(&w.contact)
		switch {
		case at < 0 && w.expires > 0:
			left.contacts = append(left.contacts, w.contact)
		case at >= 0 && w.expires == 0:
			left.contacts = slices.Delete(left.contacts, at, at+1)
		}
	}
	return len(left.contacts) > 0
}

// current drops the watchers whose time is over, after the NOTIFY that says so.
func (r *registration) current(now time.Duration) {
	r.watchers = slices.DeleteFunc(r.watchers, func(w subscription) bool { return w.until <= now })
}

// lapsed returns the bindings whose time is over.
func (r *registration) lapsed(now time.Duration) (contacts []contact) {
	for _, c := range r.contacts {
		if c.until <= now {
			contacts = append(contacts, c)
		}
	}
	return contacts
}

// alive drops the bindings whose time is over.
func (r *registration) alive(now time.Duration) bool {
	kept := r.contacts[:0]
	for _, c := range r.contacts {
		if c.until > now {
			kept = append(kept, c)
		}
	}
	r.contacts = kept
	return len(kept) > 0
}

// appendEchoed appends the Contact parameters that are echoed: all but those that are the registrar's to write.
func appendEchoed(kept, params []byte) []byte {
	for name, p := range eachParam(params) {
		if !isRegistrars(string(name)) {
			kept = append(append(kept, ';'), p...)
		}
	}
	return kept
}

// isRegistrars reports whether a Contact parameter is for the registrar to write.
func isRegistrars(name string) bool {
	for _, own := range [...]string{"expires", "pub-gruu", "temp-gruu", "temp-gruu-cookie"} {
		if len(name) == len(own) && strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}

// eachParam yields the parameters of a list, each with its name. A semicolon inside quotes separates nothing.
func eachParam(params []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, param []byte) bool) {
		for start, i, quoted := 0, 0, false; i <= len(params); i++ {
			switch {
			case i < len(params) && quoted && params[i] == '\\':
				i++
			case i < len(params) && params[i] == '"':
				quoted = !quoted
			case !quoted && (i == len(params) || params[i] == ';'):
				p := bytes.TrimSpace(params[start:i])
				start = i + 1
				name, _, _ := bytes.Cut(p, []byte{'='})
				if name = bytes.TrimSpace(name); len(name) > 0 && !yield(name, p) {
					return
				}
			}
		}
	}
}

// find returns the registration of impi if one of its bindings lives.
func (s *SCSCF) find(t *shard.Task, impi string) (registration, bool) {
	reg, found := s.lookup(t, impi)
	return reg, found && reg.alive(t.Now())
}

// lookup returns the record of impi, expired or not: from memory, or after a restart from the store, if the HSS confirms it.
func (s *SCSCF) lookup(t *shard.Task, impi string) (registration, bool) {
	var buf [1024]byte
	var key keyRoom
	if octets, found := s.users.Get(key.of(impi), buf[:0]); found {
		reg, err := decodeRegistration(impi, octets, 0)
		return reg, err == nil
	}
	record, found := s.read(t, TableRegistration, []byte(impi))
	if !found {
		return registration{}, false
	}
	reg, err := decodeRegistration(impi, record.Value, monotonic(t))
	if err != nil {
		return registration{}, false
	}
	reg.version = record.Version
	switch standing := s.standingAt(t, &reg); {
	case standing == isOver:
		reg.contacts = nil // not remembered, so the HSS is asked again next time
		return reg, true
	case standing == isElsewhere:
		return reg, true // neither: it is another's to change
	}
	for i := range reg.watchers {
		reg.watchers[i].version += reloadJump
		reg.watchers[i].cseq += reloadJump
	}
	s.remember(&reg, reg.identities, record.Key)
	return reg, true
}

// findByIMPU returns a living registration that the public identity impu belongs to; where several private identities have it,
// that of preferred.
func (s *SCSCF) findByIMPU(t *shard.Task, impu, preferred string) (registration, bool) {
	all := s.findAll(t, impu)
	if len(all) == 0 {
		return registration{}, false
	}
	i := slices.IndexFunc(all, func(r registration) bool { return r.impi == preferred })
	return all[max(i, 0)], true
}

// findAll returns the living registrations that impu belongs to: one for each private identity that has registered it
// (TS 23.228 4.3.3.4).
func (s *SCSCF) findAll(t *shard.Task, impu string) (all []registration) {
	var buf [256]byte
	for impi := range bytes.SplitSeq(s.ownersOf(t, buf[:0], impu), []byte{'\n'}) {
		if len(impi) == 0 {
			continue
		}
		if reg, alive := s.find(t, string(impi)); alive && reg.registers(impu) {
			all = append(all, reg)
		}
	}
	return all
}

// ownersOf returns who may have registered impu, one private identity a line; nothing if nobody has.
func (s *SCSCF) ownersOf(t *shard.Task, buf []byte, impu string) []byte {
	var key keyRoom
	if owners, found := s.owners.Get(key.of(impu), buf); found {
		return owners
	}
	record, _ := s.read(t, TableIdentity, []byte(impu))
	return record.Value
}

// hasOwner reports whether a registration of impu is known, were it over.
func (s *SCSCF) hasOwner(t *shard.Task, impu string) bool {
	var buf [256]byte
	for impi := range bytes.SplitSeq(s.ownersOf(t, buf[:0], impu), []byte{'\n'}) {
		if len(impi) == 0 {
			continue
		}
		if reg, exists := s.lookup(t, string(impi)); exists && reg.has(cx.IMPU(impu)) {
			return true
		}
	}
	return false
}

// appendOwners appends the value of an identity's index: who may have registered it.
func (r *registration) appendOwners(b []byte) []byte {
	if len(r.siblings) < 2 {
		return append(b, r.impi...)
	}
	for i, impi := range r.siblings {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, impi...)
	}
	return b
}

// read waits for a record of the store.
func (s *SCSCF) read(t *shard.Task, table store.Table, key []byte) (record store.Record, found bool) {
	t.Await(func(w shard.Waker) {
		s.ports.Store.GetAsync(table, key, func(r store.Record, err error) {
			record, found = r, err == nil
			w.Wake()
		})
	})
	return record, found
}

// addRecords adds the changes of the S-CSCF's own records to the batch. The registration comes last.
func (s *SCSCF) addRecords(t *shard.Task, a *assignment) {
	cond, version := cx.IfAbsent, uint64(0)
	if a.previous != 0 {
		cond, version = cx.IfVersion, a.previous
	}
	var value []byte
	var expires int64
	if len(a.contacts) > 0 {
		var room [encodedRoom]byte
		value = bytes.Clone(a.encode(room[:0], monotonic(t)))
		expires = a.lastExpiry(t).UnixMilli()
	}
	for _, id := range a.identities {
		switch {
		case value != nil && !s.indexed(t, a, id.impu):
			a.indexed = append(a.indexed, id)
			a.batch.Add(cx.Change{Table: uint8(TableIdentity), Key: []byte(id.impu), Value: a.appendOwners(nil)})
		case value == nil && s.leads(t, a, id.impu):
			a.batch.Add(cx.Change{Table: uint8(TableIdentity), Key: []byte(id.impu)})
		}
	}
	for _, id := range a.former {
		if !a.has(cx.IMPU(id.impu)) && s.leads(t, a, id.impu) {
			a.batch.Add(cx.Change{Table: uint8(TableIdentity), Key: []byte(id.impu)})
		}
	}
	a.key = []byte(a.impi)
	a.batch.Add(cx.Change{Table: uint8(TableRegistration), Key: a.key, Value: value, Expires: expires, Cond: cond, Version: version})
}

// indexed reports whether the index of impu stands already as it is to be: it is written and taken away together with the registration, and
// lives as long, so a registration that is only refreshed leaves it alone.
func (s *SCSCF) indexed(t *shard.Task, a *assignment, impu string) bool {
	had := slices.ContainsFunc(a.former, func(id identity) bool { return id.impu == impu })
	return a.previous != 0 && had && slices.Equal(a.owned, a.siblings) && s.owned(t, a, impu)
}

// leads reports whether the index of impu leads to nobody but a, so that it may go with a.
func (s *SCSCF) leads(t *shard.Task, a *assignment, impu string) bool {
	return !a.shared() && s.owned(t, a, impu)
}

// owned reports whether the index of impu says what a would say.
func (s *SCSCF) owned(t *shard.Task, a *assignment, impu string) bool {
	var is, be [256]byte
	return bytes.Equal(s.ownersOf(t, is[:0], impu), a.appendOwners(be[:0]))
}

func (r *registration) lastExpiry(t *shard.Task) time.Time {
	var last time.Duration
	for _, c := range r.contacts {
		last = max(last, c.until)
	}
	return t.Wall().Add(last - t.Now())
}

// publish lets readers see the committed registration, or its end.
func (s *SCSCF) publish(a *assignment) {
	s.forgetGRUUs(a.impi, a.dropped)
	if len(a.contacts) == 0 {
		s.users.Delete([]byte(a.impi))
		if !a.shared() {
			s.disown(a.former, a.appendOwners(nil))
			s.disown(a.identities, a.appendOwners(nil))
		}
		return
	}
	for _, id := range a.former {
		if !a.has(cx.IMPU(id.impu)) && !a.shared() {
			s.disown([]identity{id}, a.appendOwners(nil))
		}
	}
	s.remember(&a.registration, a.indexed, a.key)
}

// disown takes identities off the index, unless somebody else has them meanwhile.
func (s *SCSCF) disown(identities []identity, owners []byte) {
	for _, id := range identities {
		// To take a record off needs no room: it cannot fail.
		_ = s.owners.Update([]byte(id.impu), func(old, _ []byte) ([]byte, bool) { return old, old != nil && !bytes.Equal(old, owners) })
	}
}

// shared reports whether other private identities may have the public ones as well. Then the index of those stays when one leaves:
// it names who may have registered, and who has not is found out by looking.
func (r *registration) shared() bool { return len(r.siblings) > 1 }

// remember lets readers see r, and the index of those of its identities whose index may not stand as it is to be. key is that of its record.
func (s *SCSCF) remember(r *registration, indexed []identity, key []byte) {
	var room [encodedRoom]byte
	// The tables have no limit; ErrTooLarge cannot come, since a REGISTER is smaller than a record may be.
	_ = s.users.Put(key, r.encode(room[:0], 0))
	for _, id := range indexed {
		var impu keyRoom
		_ = s.owners.Put(impu.of(id.impu), r.appendOwners(room[:0]))
	}
	s.verify(key, r.version)
}

// keyRoom is where the key of a table in memory stands while it is looked for.
type keyRoom [128]byte

func (k *keyRoom) of(name string) []byte { return append(k[:0], name...) }

// remembers reports whether the registration is in memory: it is ours.
func (s *SCSCF) remembers(impi string) bool {
	var buf [1024]byte
	var key keyRoom
	_, found := s.users.Get(key.of(impi), buf[:0])
	return found
}

// verify takes a registration out of memory again if the store has another version of it by now: between the commit or the
// read of this one and its coming into memory, a procedure on another shard may have committed and published the next. Who
// comes after looks it up in the store. That order, first into memory and then the look, leaves no gap: a change that is
// committed after the look is published after it too.
func (s *SCSCF) verify(key []byte, version uint64) {
	s.ports.Store.GetAsync(TableRegistration, key, func(r store.Record, err error) {
		if err != nil || r.Version != version {
			s.users.Delete(key)
		}
	})
}

// monotonic is what must be added to a time on the monotonic clock to have unix time.
func monotonic(t *shard.Task) time.Duration {
	return time.Duration(t.Wall().UnixNano()) - t.Now()
}
