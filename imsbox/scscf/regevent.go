package scscf

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// subscription is one watcher of a registration: the dialog that its SUBSCRIBE made (RFC 3680, RFC 6665). It is kept in the
// registration's record, so a watcher is told of what happens after a restart too.
type subscription struct {
	callID              string
	localTag, remoteTag string
	local, remote       string // From and To of our NOTIFYs, without tags
	target              string // where the watcher is reached
	route               []string
	until               time.Duration
	version, cseq       uint32 // of the next document and of the next NOTIFY
}

const (
	// reloadJump is what version and sequence number of a subscription rise by when it comes back from the store: as many may
	// have been used since it was written.
	reloadJump = 1 << 16
	// maxWatchers bounds the subscriptions of one registration: the user's devices, the P-CSCF, application servers.
	maxWatchers = 16
	// defaultWatch is the life of a subscription whose SUBSCRIBE asks for none (TS 24.229 5.4.2.1.1: 600,000 s).
	defaultWatch = 600_000 * time.Second
)

// watchesRegistration reports whether a request belongs to the registration event package (RFC 3680 4.1).
func watchesRegistration(m *sip.Message) bool {
	if m.Method() != sip.SUBSCRIBE {
		return false
	}
	event, _, _ := bytes.Cut(m.Get(sip.HdrEvent), []byte{';'})
	return string(bytes.TrimSpace(event)) == "reg"
}

// subscribe is the way of a SUBSCRIBE to the registration event package, which ends here (TS 24.229 5.4.2.1.1).
func (s *SCSCF) subscribe(x *hop.Exchange, in hop.Inbound) hop.Reply {
	r := x.Respond(200, "") // first of all, because its To tag is our half of the dialog's name
	var a *assignment
	var sub *subscription
	refusal := judgeRequire(in.Msg)
	if refusal == nil {
		// The user and the P-CSCF subscribe in the same moment, right after the REGISTER: who comes second looks again.
		insist(x.Task(), func() (done bool) {
			if a, sub, refusal = s.watch(x.Task(), in, string(r.Msg.ToTag())); refusal == nil {
				refusal = s.commit(x.Task(), a)
			}
			return refusal == nil || refusal.status != 503
		})
	}
	if refusal != nil {
		r.Msg.Release()
		return s.refuse(x, in, refusal)
	}
	r.Msg.SetString(sip.HdrExpires, strconv.Itoa(int(max(0, sub.until-x.Task().Now())/time.Second)))
	r.Msg.SetString(sip.HdrContact, s.notifier())
	for v := range in.Msg.Values(sip.HdrRecordRoute) {
		r.Msg.Append(sip.HdrRecordRoute, v)
	}
	in.Msg.Release()
	s.notifyLater(x, a.registration, change{}, sub.callID)
	return r
}

// notifier is the Contact of the S-CSCF as a notifier.
func (s *SCSCF) notifier() string { return "<sip:reg@" + string(s.cfg.Name) + ">" }

// watch judges a SUBSCRIBE and returns the registration with the subscription in it. The user himself may watch, by an identity of the
// registered set that is not barred, as the P-CSCF asserts it, and so may a P-CSCF of his Path (TS 24.229 5.4.2.1.1).
func (s *SCSCF) watch(t *shard.Task, in hop.Inbound, tag string) (*assignment, *subscription, *refusal) {
	watched, isSIP := sip.PublicIdentity(in.Msg.Get(sip.HdrTo))
	watcher, asserted := sip.PublicIdentity(in.Msg.Get(sip.HdrPAssertedIdentity))
	if !isSIP || !asserted {
		return nil, nil, &refusal{status: 403}
	}
	reg, found := s.findByIMPU(t, watched, in.Proof.IMPI())
	if !found || !reg.serves(watched) || reg.barred(watched) {
		return nil, nil, &refusal{status: 403}
	}
	if reg.barred(watcher) && !reg.through(in, watcher) && s.refusesWatcher(in) {
		return nil, nil, &refusal{status: 403}
	}
	a := renewed(reg)
	sub, refused := a.watcherOf(in.Msg, tag, t.Now())
	return a, sub, refused
}

// refusesWatcher is the enforcement point of "a registration is watched by its user and by the P-CSCFs of his Path" (RFC 3680 4.5, TS 24.229
// 5.4.2.1.1). Who asks for somebody else's hears the same whether there is such a user or not.
func (s *SCSCF) refusesWatcher(in hop.Inbound) bool {
	return s.ports.Gate.Refuse(secure.CIAuthorizationSubscribe, secure.Event{Reason: "other-user", Subject: in.Proof.IMPI()})
}

// through reports whether the sender is a P-CSCF that bindings of r came through: another node that names itself so.
func (r *registration) through(in hop.Inbound, watcher string) bool {
	return in.Proof.Kind() == secure.KindNode && slices.ContainsFunc(r.contacts, func(c contact) bool {
		return slices.ContainsFunc(c.path, func(p string) bool {
			entry, ok := sip.PublicIdentity([]byte(p))
			_, host, _ := strings.Cut(entry, "@")
			return ok && watcher == "sip:"+host
		})
	})
}

// watcherOf finds the subscription of a SUBSCRIBE inside its dialog, or makes one, and gives it the life it asks for.
func (a *assignment) watcherOf(m *sip.Message, tag string, now time.Duration) (*subscription, *refusal) {
	life := defaultWatch
	if seconds, given := m.Expires(); given {
		life = min(life, time.Duration(seconds)*time.Second)
	}
	callID := string(m.Get(sip.HdrCallID))
	i := slices.IndexFunc(a.watchers, func(w subscription) bool { return w.callID == callID && w.localTag == tag })
	switch {
	case i < 0 && len(m.ToTag()) > 0:
		return nil, &refusal{status: 481}
	case i < 0 && len(a.watchers) >= maxWatchers:
		return nil, &refusal{status: 480, retryAfter: 60}
	case i < 0:
		w, refused := newSubscription(m, tag)
		if refused != nil {
			return nil, refused
		}
		a.watchers = append(slices.Clone(a.watchers), w)
		i = len(a.watchers) - 1
	}
	a.watchers[i].until = now + life
	return &a.watchers[i], nil
}

// newSubscription makes the dialog of a SUBSCRIBE (RFC 6665 4.2.1, RFC 3261 12.1.1).
func newSubscription(m *sip.Message, tag string) (subscription, *refusal) {
	from, err1 := m.From()
	to, err2 := m.To()
	contact, err3 := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err1 != nil || err2 != nil || err3 != nil || len(m.FromTag()) == 0 {
		return subscription{}, &refusal{status: 400}
	}
	w := subscription{callID: string(m.Get(sip.HdrCallID)), localTag: tag, remoteTag: string(m.FromTag()), local: "<" + string(to.URI) + ">", remote: "<" + string(from.URI) + ">",
		target: string(contact.URI), cseq: 1}
	for v := range m.Values(sip.HdrRecordRoute) {
		w.route = append(w.route, string(v))
	}
	return w, nil
}

// notifyLater tells the watchers of reg after the response of x has left, in a procedure of its own. only names one of them
// by its Call-ID; "" means all.
func (s *SCSCF) notifyLater(x *hop.Exchange, reg registration, c change, only string) {
	if len(reg.watchers) == 0 {
		return
	}
	// A shard without room for another procedure loses the NOTIFY; the next change brings the whole state again.
	x.Task().Shard().Start(func(t *shard.Task) { s.notify(t, reg, c, only) })
}

// notify sends the state of the registration to its watchers (TS 24.229 5.4.2.1.2). A watcher that does not know the dialog
// any more learns nothing, and is forgotten when his time is over.
//
// Each is told in a procedure of its own: one that does not answer does not keep the others waiting.
func (s *SCSCF) notify(t *shard.Task, reg registration, c change, only string) {
	urgent := only != "" || c.byNetwork() // an answer to SUBSCRIBE, or what was owed; what a device has to act on
	due := s.due(&reg, only, func(w *subscription) bool { return !urgent && !reg.ending(w, t.Now()) && s.tooSoon(t, reg.impi, w) })
	if len(due) == 0 {
		return
	}
	for i := range due {
		s.pace.told(due[i].key(), t.Now())
	}
	others := s.others(t, &reg)
	for _, w := range due {
		m := s.notification(t, &reg, others, w, c)
		next, known := s.ports.Hop.Next(m)
		if !known || !t.Shard().Start(func(t *shard.Task) {
			if r := s.ports.Hop.Originate(t, s.cfg.Name, next, hop.Inbound{Msg: m, Proof: s.ports.Origin}); r.Msg != nil {
				r.Msg.Release()
			}
		}) {
			m.Release()
		}
	}
}

// others returns the living registrations of the other private identities of a subscription.
func (s *SCSCF) others(t *shard.Task, reg *registration) (others []registration) {
	for _, impi := range reg.siblings {
		if impi == reg.impi {
			continue
		}
		if other, alive := s.find(t, impi); alive {
			others = append(others, other)
		}
	}
	return others
}

// due returns the watchers to be told, but for those that later says will be, each with numbers of its own for this NOTIFY, and puts the newest
// state of the registration into reg if it still has one.
func (s *SCSCF) due(reg *registration, only string, later func(*subscription) bool) (list []subscription) {
	take := func(r *registration) {
		for i := range r.watchers {
			if w := &r.watchers[i]; (only == "" || w.callID == only) && !later(w) {
				list = append(list, *w)
				w.cseq++
				w.version++
			}
		}
	}
	alive := false
	// A record that does not fit leaves the old one: the numbers then repeat, and the watcher refuses the second.
	_ = s.users.Update([]byte(reg.impi), func(old, buf []byte) ([]byte, bool) {
		current, err := decodeRegistration(reg.impi, old, 0)
		if old == nil || err != nil {
			return old, old != nil
		}
		take(&current)
		*reg, alive = current, true
		return current.encode(buf, 0), true
	})
	if !alive {
		take(reg) // the registration has ended: what was known at its end
	}
	return list
}

// notification is one NOTIFY (RFC 6665 4.2.2; RFC 3680 4.7).
func (s *SCSCF) notification(t *shard.Task, reg *registration, others []registration, w subscription, c change) *sip.Message {
	m := s.ports.Hop.Pool().NewRequest(sip.NOTIFY, w.target)
	for _, r := range w.route {
		m.AppendString(sip.HdrRoute, r)
	}
	m.AppendString(sip.HdrMaxForwards, "70")
	m.AppendString(sip.HdrFrom, w.local+";tag="+w.localTag)
	m.AppendString(sip.HdrTo, w.remote+";tag="+w.remoteTag)
	m.AppendString(sip.HdrCallID, w.callID)
	m.AppendString(sip.HdrCSeq, strconv.FormatUint(uint64(w.cseq), 10)+" NOTIFY")
	m.AppendString(sip.HdrContact, s.notifier())
	m.AppendString(sip.HdrEvent, "reg")
	left := int((w.until - t.Now()) / time.Second)
	state := "active;expires=" + strconv.Itoa(left)
	if reg.ending(&w, t.Now()) {
		state = "terminated;reason=noresource" // RFC 6665 4.1.3: there is nothing left to watch
		if len(reg.contacts) > 0 {
			state = "terminated;reason=timeout"
		}
	}
	m.AppendString(sip.HdrSubscriptionState, state)
	m.SetBody("application/reginfo+xml", appendReginfo(nil, reg, others, w.version, c, t.Now()))
	return m
}

// ending reports whether a NOTIFY to w at the time now is the last one.
func (r *registration) ending(w *subscription, now time.Duration) bool {
	return w.until-now < time.Second || len(r.contacts) == 0
}
