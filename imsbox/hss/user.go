package hss

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// user is a subscription in memory: the parsed record, and what was made from it. The record and its version
// never change; a new version is a new user. What must outlive the version is in volatile.
type user struct {
	id      string
	key     []byte // the octets of id
	version uint64
	*subscription

	algorithms []atomic.Pointer[aka.Algorithm] // by private identity; made when first needed
	profiles   []atomic.Pointer[composed]      // by set and private identity
	assigned   atomic.Pointer[assignment]      // newest decoded; its version says whether it still holds
	activation atomic.Pointer[activation]      // the same of what is switched off
	used       atomic.Int64                    // seconds of the shard's clock, for eviction
	confirmed  atomic.Uint64                   // store.Changed of subscriptions, at which version was the newest
	*volatile
}

// volatile is what the HSS knows about a subscription and may forget at a crash: authentications that are
// pending, the S-CSCF that is authenticating, and sequence numbers that are reserved but not used.
type volatile struct {
	mu       sync.Mutex // guards what follows; never held over a wait
	server   string     // S-CSCF of the pending authentication
	reassign bool       // S-CSCF reassignment pending flag (TS 29.228 3.1)
	pending  []pending
	draws    []*draw // one for each private identity that drew: a few, so they are looked through

	writing bool          // an application server changes data of the subscription
	writers []shard.Waker // those that wait for it, in the order in which they came
}

// maxWriters bounds who waits to change data of one subscription.
const maxWriters = 64

// takePen waits until nobody else in this process changes data of the subscription for application servers: changes at the same time would
// only undo each other. It is false if too many wait already. What other processes do the store sees.
func (v *volatile) takePen(t *shard.Task) bool {
	full := false
	t.Await(func(w shard.Waker) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case !v.writing:
			v.writing = true
			w.Wake()
		case len(v.writers) >= maxWriters:
			full = true
			w.Wake()
		default:
			v.writers = append(v.writers, w)
		}
	})
	return !full
}

// passPen lets the next one write.
func (v *volatile) passPen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.writers) == 0 {
		v.writing = false
		return
	}
	next := v.writers[0]
	v.writers = v.writers[1:]
	next.Wake()
}

// pending is the authentication pending flag of a set for a private identity (TS 29.228 3.1).
type pending struct {
	set, private int
	until        time.Duration // of the shard's clock
}

// setPending notes that server authenticates a set for a private identity.
func (v *volatile) setPending(server string, set, private int, now, until time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.server = server
	v.dropPending(func(p pending) bool { return p.set == set && p.private == private || p.until <= now })
	v.pending = append(v.pending, pending{set, private, until})
}

// clearPending takes the flag away; with the last one the name of the authenticating S-CSCF goes too.
func (v *volatile) clearPending(set, private int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropPending(func(p pending) bool { return p.set == set && p.private == private })
	if len(v.pending) == 0 {
		v.server = ""
	}
}

func (v *volatile) dropPending(drop func(pending) bool) {
	kept := v.pending[:0]
	for _, p := range v.pending {
		if !drop(p) {
			kept = append(kept, p)
		}
	}
	v.pending = kept
}

// authenticating returns the S-CSCF of an authentication that is pending for any set, and whether one is
// pending for this set and private identity.
func (v *volatile) authenticating(set, private int, now time.Duration) (server string, isPending bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.pending {
		if p.until <= now {
			continue
		}
		server = v.server
		isPending = isPending || p.set == set && p.private == private
	}
	return server, isPending
}

// takeReassign reads the reassignment pending flag, and resets it if asked to.
func (v *volatile) takeReassign(reset bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.reassign
	if reset {
		v.reassign = false
	}
	return was
}

func (v *volatile) setReassign() {
	v.mu.Lock()
	v.reassign = true
	v.mu.Unlock()
}

// newUser parses a record. old, if any, is the same subscription in an earlier version: its volatile part goes
// on, so that sequence numbers in memory are not reserved twice.
func newUser(id string, rec store.Record, old *user) (*user, error) {
	s, err := decodeSubscription(rec.Value)
	if err != nil {
		return nil, err
	}
	u := &user{id: id, key: []byte(id), version: rec.Version, subscription: s}
	u.algorithms = make([]atomic.Pointer[aka.Algorithm], len(s.privates))
	u.profiles = make([]atomic.Pointer[composed], len(s.privates)*len(s.sets))
	if old != nil {
		u.volatile = old.volatile
	} else {
		u.volatile = &volatile{}
	}
	return u, nil
}

// getters are reads of the store that cost nothing when the record is in memory: the callback is bound once
// and pooled.
type getters struct{ pool sync.Pool }

type getter struct {
	rec  store.Record
	err  error
	wake shard.Waker
	fn   func(store.Record, error)
}

func (g *getters) init() {
	g.pool.New = func() any {
		x := &getter{}
		x.fn = func(rec store.Record, err error) {
			x.rec, x.err = rec, err
			x.wake.Wake()
		}
		return x
	}
}

// get reads a record for a procedure; the error is store.ErrNotFound or one that means 503. key must not
// change until it returns.
func (h *HSS) get(t *shard.Task, table store.Table, key []byte) (store.Record, error) {
	g := h.getters.pool.Get().(*getter)
	t.Await(func(w shard.Waker) {
		g.wake = w
		h.ports.Store.GetAsync(table, key, g.fn)
	})
	rec, err := g.rec, g.err
	g.rec, g.err, g.wake = store.Record{}, nil, shard.Waker{}
	h.getters.pool.Put(g)
	return rec, err
}

// apply makes changes durable for a procedure.
func (h *HSS) apply(t *shard.Task, partition string, ops ...store.Op) error {
	var result error
	t.Await(func(w shard.Waker) {
		h.ports.Store.ApplyAsync(partition, ops, func(err error) {
			result = err
			w.Wake()
		})
	})
	return result
}

// byPrivate finds the subscription of a private identity: cx.ErrUserUnknown, or cx.ErrUnableToComply if the
// store cannot tell.
func (h *HSS) byPrivate(t *shard.Task, impi cx.IMPI) (*user, int, error) {
	u, err := h.find(t, TablePrivate, string(impi))
	if err != nil {
		return nil, 0, err
	}
	i := u.findPrivate(impi)
	if i < 0 {
		return nil, 0, cx.ErrUserUnknown // removed while we looked
	}
	return u, i, nil
}

// byPublic finds the subscription of a public identity, and the identity there: the one that is asked for, or, where nobody has
// that, the most specific wildcarded one that it falls into.
func (h *HSS) byPublic(t *shard.Task, impu cx.IMPU) (*user, int, *identity, error) {
	u, err := h.find(t, TablePublic, string(impu))
	if errors.Is(err, cx.ErrUserUnknown) && len(impu) <= maxIdentity {
		if wildcard := h.wildcards.match(string(impu)); wildcard != "" {
			impu = wildcard
			u, err = h.find(t, TablePublic, string(wildcard))
		}
	}
	if err != nil {
		return nil, 0, nil, err
	}
	set, id := u.findPublic(impu)
	if id == nil {
		return nil, 0, nil, cx.ErrUserUnknown
	}
	return u, set, id, nil
}

// find returns the newest committed state of the subscription that owns name. The parsed one from the cache
// is used if its version still stands in the store: no parsing, no allocation, and while nobody is provisioned no look-up.
func (h *HSS) find(t *shard.Task, index store.Table, name string) (*user, error) {
	if name == "" || len(name) > maxIdentity { // nobody was provisioned so; no need to ask the store
		return nil, cx.ErrUserUnknown
	}
	cached := h.cache.get(index, name)
	if cached != nil {
		switch err := h.stands(t, cached); {
		case err == nil:
			if now := int64(t.Now() / time.Second); cached.used.Load() != now {
				cached.used.Store(now)
			}
			return cached, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, err
		}
		h.cache.drop(cached)
	}
	owner, err := h.get(t, index, []byte(name))
	if err != nil {
		return nil, h.unknownOr("read", err)
	}
	id := string(owner.Value)
	rec, err := h.get(t, TableSubscription, owner.Value)
	if err != nil {
		return nil, h.unknownOr("read", err)
	}
	u, err := h.cache.install(id, rec, cached, int64(t.Now()/time.Second))
	if err != nil {
		return nil, h.unable("decode", err)
	}
	return u, nil
}

// unknownOr maps store.ErrNotFound to cx.ErrUserUnknown and the rest to cx.ErrUnableToComply.
func (h *HSS) unknownOr(what string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return cx.ErrUserUnknown
	}
	return h.unable(what, err)
}

// unable notes an inner failure, which does not go to the peer.
func (h *HSS) unable(what string, err error) error {
	h.counts.failures.Add(1)
	h.log.Warn("request failed", "function", "hss", "step", what, "error", err)
	return cx.ErrUnableToComply
}

// current returns the assignment of a subscription; never nil, empty if there is no record.
func (h *HSS) current(t *shard.Task, u *user) (*assignment, error) {
	rec, err := h.get(t, TableAssignment, u.key)
	if errors.Is(err, store.ErrNotFound) {
		rec, err = store.Record{}, nil
	}
	if err != nil {
		return nil, h.unable("read", err)
	}
	if a := u.assigned.Load(); a != nil && a.version == rec.Version {
		return a, nil
	}
	a := &assignment{}
	if rec.Version != 0 {
		if a, err = decodeAssignment(rec.Value); err != nil {
			return nil, h.unable("decode", err)
		}
		a.version = rec.Version
	}
	for len(a.sets) < len(u.sets) { // provisioning added a set
		a.sets = append(a.sets, setState{})
	}
	u.assigned.Store(a)
	return a, nil
}

// stands is store.ErrConflict if the subscription has changed since u was read.
func (h *HSS) stands(t *shard.Task, u *user) error {
	changed := h.ports.Store.Changed(TableSubscription) // before the record
	if u.confirmed.Load() == changed {
		return nil
	}
	rec, err := h.get(t, TableSubscription, u.key)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && rec.Version != u.version:
		return store.ErrConflict
	case err != nil:
		return h.unable("read", err)
	}
	u.confirmed.Store(changed)
	return nil
}
