package scscf

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// maxContacts bounds the bindings of one private identity.
const maxContacts = 10

// register is what a REGISTER asks for. Its octets are views of the request and live as long as that.
type register struct {
	request     *sip.Message
	impi        string
	impu        cx.IMPU
	credentials sip.Credentials
	callID      []byte
	cseq        uint32
	contacts    []wish
	leaveAll    bool // Contact: *
	emergency   bool // all contacts are for emergency calls (TS 24.229 5.4.8)
	outbound    bool // the client knows RFC 5626
	gruu        bool // and RFC 5627

	authenticated bool     // a challenge of ours was answered well
	path          []string // by copies
	set           uint8    // number of the implicit registration set that impu belongs to

	have *standing // what is registered, once somebody has asked
}

// standing is what is registered for a private identity when its REGISTER comes.
type standing struct {
	registration
	exists bool      // there is a record, were all its bindings over
	alive  bool      // one of its bindings lives
	lapsed []contact // those whose time is over; they are not in the registration
}

// standing looks up what is registered for the private identity of r, once for all that ask.
func (s *SCSCF) standing(t *shard.Task, r *register) *standing {
	if r.have == nil {
		reg, exists := s.lookup(t, r.impi)
		lapsed := reg.lapsed(t.Now())
		r.have = &standing{exists: exists, lapsed: lapsed, alive: reg.alive(t.Now())}
		r.have.registration = reg
	}
	return r.have
}

// wish is one Contact of a REGISTER: the binding it asks for. The contact is made when the binding is to stay: most of those who come first are
// only challenged.
type wish struct {
	asked   sip.NameAddr
	expires time.Duration // 0 = remove
	flow    uint32        // reg-id; 0 if its device has one flow only
	contact               // by copies
}

// refusal is how a REGISTER is turned down.
type refusal struct {
	status     int
	minExpires time.Duration
	retryAfter int  // seconds
	conflict   bool // somebody else changed the records meanwhile
	// unsupported are the option tags that a 420 names (RFC 3261 8.2.2.3).
	unsupported []string
}

func (s *SCSCF) refuse(x *hop.Exchange, in hop.Inbound, f *refusal) hop.Reply {
	r := x.Refuse(in, f.status, "")
	if f.minExpires > 0 {
		r.Msg.SetString(sip.HdrMinExpires, strconv.Itoa(int(f.minExpires/time.Second)))
	}
	for _, tag := range f.unsupported {
		r.Msg.AppendString(sip.HdrUnsupported, tag)
	}
	if f.retryAfter > 0 {
		r.Msg.SetString(sip.HdrRetryAfter, strconv.Itoa(f.retryAfter))
	}
	return r
}

// readRegister reads the request (TS 24.229 5.4.1.1, RFC 3261 10.3).
func (s *SCSCF) readRegister(in hop.Inbound) (r register, refused *refusal) {
	m := in.Msg
	impu, ok := m.ToIdentity()
	if !ok {
		return r, &refusal{status: 400}
	}
	if refused := judgeRequire(m, "path", "outbound", "gruu", "sec-agree"); refused != nil {
		return r, refused
	}
	r = register{request: m, impu: cx.IMPU(impu), callID: m.Get(sip.HdrCallID)}
	var err error
	if r.cseq, _, err = m.CSeq(); err != nil || !s.identify(m, &r) {
		return r, &refusal{status: 400}
	}
	r.outbound, r.gruu = m.HasToken(sip.HdrSupported, "outbound"), m.HasToken(sip.HdrSupported, "gruu")
	if refused := s.readContacts(m, &r); refused != nil {
		return r, refused
	}
	return r, r.judgeFlows(m)
}

// judgeFlows refuses a flow that could not be kept (RFC 5626 6): 439 if the first hop does not know outbound, 400 for several
// contacts that share one.
func (r *register) judgeFlows(m *sip.Message) *refusal {
	if !slices.ContainsFunc(r.contacts, func(w wish) bool { return w.flow != 0 }) {
		return nil
	}
	if len(r.contacts) > 1 {
		return &refusal{status: 400}
	}
	first, err := sip.ParseNameAddr(m.Last(sip.HdrPath))
	if err != nil {
		return &refusal{status: 439}
	}
	uri, err := sip.ParseURI(first.URI)
	if _, knows := uri.Param("ob"); err != nil || !knows {
		return &refusal{status: 439}
	}
	return nil
}

// judgeRequire refuses a request that requires an extension other than the known ones (RFC 3261 8.2.2.3).
func judgeRequire(m *sip.Message, known ...string) *refusal {
	var unsupported []string
	for i := range m.Count(sip.HdrRequire) {
		v := m.Nth(sip.HdrRequire, i)
		if !slices.ContainsFunc(known, func(tag string) bool { return strings.EqualFold(tag, string(v)) }) {
			unsupported = append(unsupported, strings.ToLower(string(v)))
		}
	}
	if unsupported == nil {
		return nil
	}
	return &refusal{status: 420, unsupported: unsupported}
}

func (s *SCSCF) readContacts(m *sip.Message, r *register) *refusal {
	standard := s.cfg.DefaultExpires
	if seconds, given := m.Expires(); given {
		standard = time.Duration(seconds) * time.Second
	}
	for i := range m.Count(sip.HdrContact) {
		if string(m.Nth(sip.HdrContact, i)) == "*" {
			if standard != 0 || m.Count(sip.HdrContact) != 1 {
				return &refusal{status: 400} // RFC 3261 10.3 step 6
			}
			r.leaveAll = true
			return nil
		}
		addr, err := m.Contact(i)
		if err != nil {
			return &refusal{status: 400}
		}
		w := wish{asked: addr, expires: standard, flow: r.flow(&addr)}
		if seconds, given := m.ContactExpires(i); given {
			w.expires = time.Duration(seconds) * time.Second
		}
		switch {
		case w.expires > s.cfg.MaxExpires:
			w.expires = s.cfg.MaxExpires
		case w.expires > 0 && w.expires < s.cfg.MinExpires:
			return &refusal{status: 423, minExpires: s.cfg.MinExpires}
		}
		r.contacts = append(r.contacts, w)
	}
	r.emergency = sip.EmergencyContact(m)
	return s.judgeEmergency(r)
}

// flow returns the reg-id of a Contact of r; 0 if its device has one flow only.
func (r *register) flow(addr *sip.NameAddr) uint32 {
	if !r.outbound || len(instanceOf(addr)) == 0 {
		return 0
	}
	id, _ := addr.Param("reg-id")
	n, err := strconv.ParseUint(string(id), 10, 31)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// instanceOf returns the device that a Contact names.
func instanceOf(addr *sip.NameAddr) []byte {
	instance, _ := addr.Param("+sip.instance")
	return bytes.Trim(instance, `"<>`)
}

// copies makes texts of the contacts and of the Path; have are the bindings that there are.
func (r *register) copies(have []contact) {
	r.path = make([]string, r.request.Count(sip.HdrPath))
	for i := range r.path {
		r.path[i] = textOf(r.request.Nth(sip.HdrPath, i), have)
	}
	var room [512]byte
	for i := range r.contacts {
		w := &r.contacts[i]
		w.contact = contact{uri: textOf(w.asked.URI, have), params: textOf(appendEchoed(room[:0], w.asked.Params), have), callID: textOf(r.callID, have),
			cseq: r.cseq, path: r.path, instance: textOf(instanceOf(&w.asked), have), regID: w.flow, set: r.set}
		w.gruu = r.gruu && w.instance != ""
	}
}

// textOf is octets as a text: that of a binding that says the same, as it mostly does when a client comes again.
func textOf(octets []byte, have []contact) string {
	for i := range have {
		c := &have[i]
		for _, text := range [...]string{c.uri, c.params, c.callID, c.instance} {
			if text == string(octets) {
				return text
			}
		}
		for _, text := range c.path {
			if text == string(octets) {
				return text
			}
		}
	}
	return string(octets)
}

// answers reports whether the REGISTER answers a challenge.
func (r *register) answers() bool {
	return len(r.credentials.Response) > 0 && len(r.credentials.Nonce) > 0
}

// resynchronises reports whether it answers one with AUTS (RFC 3310 3.4).
func (r *register) resynchronises() bool {
	return len(r.credentials.AUTS) > 0 && len(r.credentials.Nonce) > 0
}

// queries reports whether it only asks for the bindings (RFC 3261 10.2.3).
func (r *register) queries() bool { return len(r.contacts) == 0 && !r.leaveAll }

// bindings answers a query: what is bound, and nothing changed.
func (s *SCSCF) bindings(x *hop.Exchange, in hop.Inbound, r *register) hop.Reply {
	current := &assignment{}
	if reg, registered := s.find(x.Task(), r.impi); registered && reg.registers(string(r.impu)) {
		current.registration = reg
		r.set, _ = reg.setOf(string(r.impu))
	}
	return s.registered(x, in, r, current)
}

// assignment is a registration in the making: what is there, what the HSS said, and the batch that will hold
// the changes of both.
type assignment struct {
	registration
	previous uint64     // version of the stored record, 0 if there is none
	former   []identity // the sets that were registered before
	owned    []string   // and the siblings of then: what the index of those identities says
	batch    cx.Batch
	change   change               // what watchers are told
	kind     cx.RegistrationTypes // what a REGISTER is to service platforms
	dropped  []contact            // bindings that ended, or that their device made anew
	indexed  []identity           // whose index is written with it

	request cx.ServerAssignmentRequest // of a REGISTER
	asks    [1]cx.IMPU                 // and whom it is about
	key     []byte                     // of the record
	failed  error                      // of the commit
	changes [2]cx.Change               // room for the batch, in which there is mostly no more
	room    [2]store.Op                // and for what is committed
}

// renewed is the assignment that changes what is registered.
func renewed(reg registration) *assignment {
	return &assignment{registration: reg, previous: reg.version, former: reg.identities, owned: reg.siblings}
}

// assign tells the HSS (TS 24.229 5.4.1.2.2, TS 29.228 6.1.2) and starts the new registration from its answer.
func (s *SCSCF) assign(t *shard.Task, r *register) (*assignment, *refusal) {
	have := s.standing(t, r)
	a := renewed(have.registration)
	if !have.exists {
		a = &assignment{}
	}
	if a.dropped = have.lapsed; !have.alive {
		a.identities = nil
	}
	registered := have.alive && have.registers(string(r.impu))
	known := false
	if r.set, known = a.setOf(string(r.impu)); !known {
		r.set = a.freeSet()
	}
	r.copies(have.contacts)
	a.asks[0], a.batch.Changes = r.impu, a.changes[:0]
	a.request = cx.ServerAssignmentRequest{IMPI: cx.IMPI(r.impi), IMPUs: a.asks[:],
		ServerName: s.ServerName(), Type: assignmentType(registered, a.leavesSome(r)), Batch: &a.batch}
	a.kind = kinds[a.request.Type]
	answer, err := s.ports.Cx.ServerAssignment(t, &a.request)
	if err != nil {
		a.batch.Settle(err)
		switch cx.ResultOf(err) {
		case cx.ResultUserUnknown, cx.ResultIdentitiesDontMatch, cx.ResultIdentityAlreadyRegistered:
			return nil, &refusal{status: 403}
		}
		return nil, &refusal{status: 504}
	}
	a.impi, a.epoch, a.partition = r.impi, answer.Epoch, a.batch.Partition
	if a.partition == a.impi {
		a.partition = "" // which says the same, and mostly it is
	}
	a.siblings = nil
	for _, impi := range answer.AssociatedIdentities {
		a.siblings = append(a.siblings, string(impi))
	}
	switch {
	case answer.Profile != nil:
		var room [4]identity
		identities, kept := s.identitiesOf(t, room[:0], answer.Profile, r.impu)
		if !kept {
			a.batch.Settle(cx.ErrUnableToComply)
			return nil, &refusal{status: 503, retryAfter: 1}
		}
		a.replaceSet(r.set, identities)
	case !known && a.request.Type == cx.AssignRegistration: // who may be called by it, and by what names, the HSS has not said
		a.batch.Settle(cx.ErrUnableToComply)
		return nil, &refusal{status: 504}
	}
	return a, nil
}

// kinds are the registration types of service point triggers (TS 29.228 B.2.3).
var kinds = map[cx.ServerAssignmentType]cx.RegistrationTypes{cx.AssignRegistration: cx.InitialRegistration, cx.AssignReRegistration: cx.ReRegistration,
	cx.UserDeregistration: cx.Deregistration}

func assignmentType(registered, remains bool) cx.ServerAssignmentType {
	switch {
	case !remains:
		return cx.UserDeregistration
	case registered:
		return cx.AssignReRegistration
	}
	return cx.AssignRegistration
}

// identitiesOf appends the implicit registration set of the profile, in its order: the first that is not barred
// is the default identity (TS 23.228 4.3.3.4). used stays first if the HSS sent it as such only. It is false if the filter criteria could not
// be made durable.
func (s *SCSCF) identitiesOf(t *shard.Task, all []identity, p *cx.UserProfile, used cx.IMPU) (_ []identity, kept bool) {
	for i := range p.ServiceProfiles {
		service := &p.ServiceProfiles[i]
		key, kept := s.keep(t, service)
		if !kept {
			return nil, false
		}
		for _, id := range service.PublicIdentities {
			all = append(all, identity{impu: string(id.Identity), barred: id.Barred, wildcard: id.Type.Wildcarded(), profile: key})
		}
	}
	if len(all) == 0 {
		all = append(all, identity{impu: string(used)})
	}
	return all, true
}

// bind applies the contacts of the REGISTER to the registration (RFC 3261 10.3 step 7).
func (s *SCSCF) bind(t *shard.Task, a *assignment, r *register) *refusal {
	now := t.Now()
	if r.authenticated {
		a.reauthAt = now + s.cfg.ReauthInterval
	}
	a.current(now)
	a.change.why, a.change.silent = eventUnregistered, r.emergency
	if r.leaveAll {
		leaves := func(c contact) bool { return c.set == r.set && !c.emergency() }
		for _, c := range a.contacts {
			if leaves(c) {
				a.change.gone = append(a.change.gone, c)
			}
		}
		a.dropped = append(a.dropped, a.change.gone...)
		a.contacts = slices.DeleteFunc(slices.Clone(a.contacts), leaves)
		return nil
	}
	a.contacts = slices.Clone(a.contacts)
	for i := range r.contacts {
		w := &r.contacts[i]
		at := a.indexOf(&w.contact)
		if at >= 0 && a.contacts[at].callID == w.callID && w.cseq <= a.contacts[at].cseq {
			return &refusal{status: 500} // out of order (RFC 3261 10.3 step 7)
		}
		a.put(w, at, now)
	}
	if len(a.contacts) > maxContacts {
		return &refusal{status: 403} // todo TS 24.229 5.4.1.2.1: which answer too many registrations get is recalled
	}
	return nil
}

// put makes the binding that w asks for in the place of the one at, if there is one. The newest stand last.
func (a *assignment) put(w *wish, at int, now time.Duration) {
	how := eventRegistered
	if at >= 0 {
		former := a.contacts[at]
		a.contacts = slices.Delete(a.contacts, at, at+1)
		if w.callID != former.callID || w.expires == 0 {
			a.dropped = append(a.dropped, former)
		}
		if w.expires == 0 {
			a.change.gone = append(a.change.gone, former)
		} else if former.uri == w.uri {
			how = eventRefreshed
		}
	}
	if w.expires > 0 {
		c := w.contact
		c.until = now + w.expires
		a.change.touched, a.change.how = c.uri, how
		a.contacts = append(a.contacts, c)
	}
}

// commit makes the registration durable together with the change of the HSS, in one batch of the user's
// partition, and then lets others see it: readers see committed state only.
func (s *SCSCF) commit(t *shard.Task, a *assignment) *refusal {
	s.addRecords(t, a)
	ops := a.room[:0]
	for _, c := range a.batch.Changes {
		ops = append(ops, store.Op{Table: store.Table(c.Table), Key: c.Key, Value: c.Value, Expires: c.Expires,
			Cond: store.Cond(c.Cond), Version: c.Version})
	}
	t.Await(func(w shard.Waker) {
		s.ports.Store.ApplyAsync(cmp.Or(a.batch.Partition, a.partition, a.impi), ops, func(err error) {
			a.failed = err
			w.Wake()
		})
	})
	a.batch.Settle(a.failed)
	if a.failed != nil {
		return &refusal{status: 503, retryAfter: 1, conflict: errors.Is(a.failed, store.ErrConflict)}
	}
	a.version = ops[len(ops)-1].Version
	s.publish(a)
	return nil
}

// registered answers an accepted REGISTER (TS 24.229 5.4.1.2.2F, 5.4.1.4).
func (s *SCSCF) registered(x *hop.Exchange, in hop.Inbound, r *register, a *assignment) hop.Reply {
	reply := x.Respond(200, "")
	m := reply.Msg
	var b [512]byte
	now := x.Task().Now()
	some := false
	for i := range a.contacts {
		c := &a.contacts[i]
		if c.set != r.set {
			continue
		}
		some = true
		v := append(append(append(b[:0], '<'), c.uri...), '>')
		v = append(v, c.params...)
		if r.gruu {
			v = s.appendGRUUs(v, a, c, string(r.impu))
		}
		v = append(v, ";expires="...)
		m.Append(sip.HdrContact, strconv.AppendInt(v, int64((c.until-now+time.Second-1)/time.Second), 10))
	}
	if slices.ContainsFunc(r.contacts, func(w wish) bool { return w.flow != 0 }) {
		m.AppendString(sip.HdrRequire, "outbound") // RFC 5626 6
	}
	for i := range in.Msg.Count(sip.HdrPath) {
		m.Append(sip.HdrPath, in.Msg.Nth(sip.HdrPath, i)) // RFC 3327 5.3
	}
	in.Msg.Release()
	if !some {
		return reply
	}
	if !r.emergency { // emergency calls do not come here, and no others by this registration
		m.Append(sip.HdrServiceRoute, append(append(append(b[:0], "<sip:orig@"...), s.cfg.Name...), ";lr>"...))
	}
	for _, id := range a.identities {
		if !id.barred && !id.wildcard && id.set == r.set { // distinct ones only (TS 24.229 5.4.1.2.2F)
			m.Append(sip.HdrPAssociatedURI, append(append(append(b[:0], '<'), id.impu...), '>'))
		}
	}
	return reply
}
