package hss

import (
	"errors"
	"hash/fnv"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/store"
)

// Notifications (TS 29.328 6.1.4). A change owes a letter to each who has subscribed, in the commit of the change. The letter names the
// subscription and not the data: what is told is what the data are when it is told, so one letter stands for many changes, and it
// is told only if the subscription still stands and the application server still may.

// newsKey is the key of a letter: one for each subscription.
func newsKey(w *watch) []byte { return append([]byte("sh\x00"), w.name()...) }

// oweNews makes the letters that say: look again.
func (h *HSS) oweNews(all []*watch) (owed []*letter) {
	for _, w := range all {
		owed = append(owed, &letter{kind: letterNews, key: newsKey(w), written: unixSeconds(h.ports.Clock.Wall()), watch: w})
	}
	return owed
}

// oweLast makes the letter that says what is gone. It stands by itself: the subscription ends with the data.
func (h *HSS) oweLast(w *watch, group string, data *sh.Data) *letter {
	return &letter{kind: letterLast, key: newsKey(w), written: unixSeconds(h.ports.Clock.Wall()), watch: w, group: group, data: data.AppendXML(nil)}
}

// maxUnderWay bounds the notifications that are on their way to one application server: one that hangs holds no more.
const maxUnderWay = 16

// beginTo is begin, within the bound of an application server. Whoever is delivering the letter looks at it again then.
func (o *outbox) beginTo(host string, key []byte) bool {
	if !o.begin(key) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !o.busy[string(key)] { // it has ended meanwhile
			return o.takeTo(host, key)
		}
		if o.again == nil {
			o.again = map[string]bool{}
		}
		o.again[string(key)] = true
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takeTo(host, key)
}

// takeTo takes a place among what is under way; without one the letter is nobody's. Under mu.
func (o *outbox) takeTo(host string, key []byte) bool {
	if o.to == nil {
		o.to = map[string]int{}
	}
	if o.to[host] >= maxUnderWay {
		delete(o.busy, string(key))
		return false
	}
	o.busy[string(key)] = true
	o.to[host]++
	return true
}

// endTo ends a delivery, unless somebody has written the letter anew and left it to this one.
func (o *outbox) endTo(host string, key []byte) (again bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.again[string(key)] {
		delete(o.again, string(key))
		return true
	}
	o.drop(host, key)
	return false
}

// giveUp ends a delivery, whatever has happened meanwhile.
func (o *outbox) giveUp(host string, key []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(host, key)
}

// drop gives the place back. Under mu.
func (o *outbox) drop(host string, key []byte) {
	delete(o.busy, string(key))
	delete(o.again, string(key))
	if o.to[host]--; o.to[host] <= 0 {
		delete(o.to, host)
	}
}

// kick starts the delivery of letters that are durable, and returns at once. What cannot be delivered now stays for Deliver. Any goroutine.
func (h *HSS) kick(owed []*letter) {
	for _, l := range owed {
		switch {
		case l.watch == nil:
			if h.ports.Owed != nil {
				h.ports.Owed()
			}
		case h.ports.Notify != nil && h.outbox.beginTo(l.watch.as.Host, l.key):
			n := &notification{h: h, host: l.watch.as.Host, key: l.key}
			if !h.ports.Shard.Exec(n) {
				h.outbox.giveUp(n.host, n.key)
			}
		}
	}
}

// notification is the delivery of one letter as a procedure.
type notification struct {
	h    *HSS
	host string
	key  []byte
}

// Run implements shard.Event.
func (n *notification) Run(s *shard.Shard) {
	if !s.Begin(n) {
		n.h.outbox.giveUp(n.host, n.key)
	}
}

// Proceed implements shard.Procedure.
func (n *notification) Proceed(t *shard.Task) {
	ended := false
	defer func() {
		if !ended { // a panic, which the shard reports, or its end
			n.h.outbox.giveUp(n.host, n.key)
		}
	}()
	for again := true; again; again = n.h.outbox.endTo(n.host, n.key) {
		for n.h.notify(t, n.key) { // what has changed meanwhile is told at once
			continue
		}
	}
	ended = true
}

// notify delivers a letter. It reports whether another one has taken its place meanwhile.
func (h *HSS) notify(t *shard.Task, key []byte) (again bool) {
	rec, err := h.getOr(t, TableOutbox, key)
	if err != nil || rec.Version == 0 {
		return false
	}
	l, err := decodeLetter(key, rec.Value)
	if err != nil {
		_ = h.unable("decode", err)
		return false
	}
	x := &shRequest{h: h, t: t, as: l.watch.as, op: sh.Subscribe, asks: l.watch.asked, Key: l.watch.key}
	outcome := h.tell(x, l)
	switch outcome {
	case later:
		if unixSeconds(h.ports.Clock.Wall())-l.written <= int64(letterLife/time.Second) {
			return false
		}
	case told:
		h.counts.notifications.Add(1)
	}
	if l.kind == letterNews && l.version != 0 && (outcome == over || outcome == told && l.watch.oneTime) {
		return h.endWatch(x, l, outcome)
	}
	err = h.apply(t, l.watch.owner, store.Op{Table: TableOutbox, Key: key, Cond: store.IfVersion, Version: rec.Version})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		_ = h.unable("notify", err)
	}
	return errors.Is(err, store.ErrConflict)
}

// endWatch ends a subscription, and with it whatever is still owed to it: who wanted one notification gets no second one. It reports whether
// it was renewed meanwhile; then it goes on.
func (h *HSS) endWatch(x *shRequest, l *letter, outcome outcome) (renewed bool) {
	for attempt := range attempts {
		pause(x.t, attempt)
		rec, err := h.getOr(x.t, TableWatch, l.watch.name())
		if err == nil && rec.Version != l.version {
			return rec.Version != 0
		}
		var ops []store.Op
		if err == nil {
			ops, err = h.withoutWatch(x, l.watch, l.version, []store.Op{{Table: TableOutbox, Key: l.key}})
		}
		if err == nil {
			err = h.apply(x.t, l.watch.owner, ops...)
		}
		switch {
		case err == nil:
			h.watches.drop(l.watch)
			if outcome == over {
				h.counts.unsubscribed.Add(1)
			}
			return false
		case !errors.Is(err, store.ErrConflict): // the index of the identity has changed
			_ = h.unable("notify", err)
			return false
		}
	}
	return false
}

// withoutWatch adds the changes that end a subscription, if it still is what it was: one that was renewed meanwhile stays.
func (h *HSS) withoutWatch(x *shRequest, w *watch, version uint64, ops []store.Op) ([]store.Op, error) {
	ops = append(ops, store.Op{Table: TableWatch, Key: w.name(), Cond: store.IfVersion, Version: version})
	rec, err := h.getOr(x.t, TableShIndex, []byte(w.impu))
	if err != nil || rec.Version == 0 {
		return ops, err
	}
	i, err := decodeShIndex(rec)
	if err != nil {
		return ops, err
	}
	i.forget(w)
	return append(ops, store.Op{Table: TableShIndex, Key: []byte(w.impu), Value: i.encode(), Cond: store.IfVersion, Version: rec.Version}), nil
}

// outcome is what became of a notification.
type outcome uint8

const (
	later   outcome = iota // it could not be told
	nothing                // there is nothing to be told
	told
	over // and there never will be: the subscription ends
)

// tell gives a notification to its application server.
func (h *HSS) tell(x *shRequest, l *letter) outcome {
	w, who := l.watch, sh.User{IMPU: cx.IMPU(l.watch.impu), Group: l.group}
	data := (*sh.Data)(nil)
	if l.kind == letterLast {
		var err error
		if data, err = sh.DecodeData(l.data); err != nil {
			return over
		}
	} else {
		rec, err := h.getOr(x.t, TableWatch, w.name())
		l.version = rec.Version
		if err == nil && rec.Version != 0 {
			err = x.find()
		}
		switch {
		case err != nil:
			return later
		case rec.Version == 0 || x.user == nil || x.user.id != w.owner:
			return over
		case w.expires != 0 && unixSeconds(h.ports.Clock.Wall()) >= w.expires:
			return over
		}
		who.Group, who.Agreed = x.user.groupName(), x.agreed()
	}
	switch verdict := h.allowsSh(w.as, w.key, sh.Subscribe, who); {
	case verdict == sh.TooFast:
		return later
	case verdict != sh.Allowed && h.refusesSh(sh.Subscribe, verdict, w.as):
		return over
	}
	if l.kind == letterNews {
		var err error
		if data, _, err = x.read(); err != nil {
			return later
		}
	}
	return h.hand(x, w, data, l.kind == letterLast)
}

// hand gives it to the application server, unless it is what the application server was told before.
func (h *HSS) hand(x *shRequest, w *watch, data *sh.Data, last bool) outcome {
	sum := sumOf(data)
	if !last && !h.watches.news(w, sum) {
		return nothing
	}
	client := h.ports.Notify(w.as)
	if client == nil {
		return later
	}
	r := &sh.PushNotificationRequest{AS: w.as, User: w.asked, Data: data}
	if x.user != nil {
		r.WildcardedPSI, r.WildcardedIMPU = x.ranges()
	}
	switch err := client.PushNotification(x.t, r); {
	case err == nil:
		h.watches.heard(w, sum)
		return told
	case errors.Is(err, sh.ErrNoSubscriptionToData), errors.Is(err, sh.ErrUserUnknown): // TS 29.328 table 6.1.4.1.1
		return over
	case sh.ResultOf(err).Experimental():
		return nothing // it has heard it and does not want it
	}
	return later
}

// sumOf is a hash of data as they are told; never 0.
func sumOf(data *sh.Data) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(data.AppendXML(nil)) // a hash does not fail
	return max(sum.Sum64(), 1)
}

// oweChange makes the letters for a change of who serves a user, and in which state (TS 29.328 6.1.4.1: what is pending is no state that is
// told).
func (h *HSS) oweChange(u *user, old, now *assignment) []*letter {
	if !h.watches.any(u.id) {
		return nil // the usual registration
	}
	return h.oweNews(h.watches.of(u.id, func(w *watch) bool {
		switch w.key.Reference {
		case sh.RefSCSCFName:
			return old.server != now.server
		case sh.RefIMSUserState:
			set, _ := u.findPublic(cx.IMPU(w.impu))
			return set >= 0 && old.sets[set].state != now.sets[set].state
		case sh.RefIMSPublicIdentity:
			return w.key.IdentitySet == sh.RegisteredIdentities
		}
		return false
	}))
}

// oweCriteria writes down, and starts to tell, that filter criteria have changed for some subscriptions.
func (h *HSS) oweCriteria(affected func(*subscription) bool) error {
	for _, w := range h.watches.everyone(func(w *watch) bool { return w.key.Reference == sh.RefInitialFilterCriteria }) {
		rec, err := h.ports.Store.Get(TableSubscription, []byte(w.owner))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		sub, err := decodeSubscription(rec.Value)
		if err != nil {
			return err
		}
		if !affected(sub) {
			continue
		}
		owed := h.oweNews([]*watch{w})
		if err := h.ports.Store.Apply(w.owner, owed[0].op()); err != nil {
			return err
		}
		h.kick(owed)
	}
	return nil
}

// expireWatches ends the subscriptions whose time is over. They are told nothing since then; this takes them out.
func (h *HSS) expireWatches() {
	now := unixSeconds(h.ports.Clock.Wall())
	old := h.watches.everyone(func(w *watch) bool { return w.expires != 0 && w.expires <= now })
	if len(old) == 0 || h.ports.Shard == nil {
		return
	}
	h.ports.Shard.Exec(shard.EventFunc(func(s *shard.Shard) {
		s.Start(func(t *shard.Task) {
			for _, w := range old {
				if err := h.expire(t, w); err != nil {
					return // the next round
				}
			}
		})
	}))
}

// expire ends one subscription whose time is over.
func (h *HSS) expire(t *shard.Task, w *watch) error {
	rec, err := h.getOr(t, TableWatch, w.name())
	if err != nil || rec.Version == 0 {
		return err
	}
	if now, err := decodeWatch(rec.Value); err != nil || now.expires != w.expires {
		return err // it was renewed
	}
	ops, err := h.withoutWatch(&shRequest{h: h, t: t}, w, rec.Version, nil)
	if err == nil {
		err = h.apply(t, w.owner, ops...)
	}
	if err == nil {
		h.watches.drop(w)
	}
	return err
}
