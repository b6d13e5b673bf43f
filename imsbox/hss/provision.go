package hss

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// Provisioning. These methods wait for the disk, so they are not for shards. Each is one atomic change; each
// mistake is named before anything is changed. A change to somebody who is registered is pushed to his S-CSCF
// after it is durable; if the S-CSCF cannot be reached the change stands, the error is *PushError, and Deliver tells it later.

var (
	// ErrUnknown: no such subscriber, profile or group.
	ErrUnknown = errors.New("hss: not found")
	// ErrInUse: a profile or group that subscribers or groups refer to.
	ErrInUse = errors.New("hss: still in use")
)

// Add makes a subscriber. It returns Mistakes, or an error of the store.
func (h *HSS) Add(ctx context.Context, s *Subscriber) error {
	return h.again(ctx, func() error { // if somebody is faster, the second look says who has what
		ops, id, err := h.planAdd(s)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := h.ports.Store.Apply(id, ops...); err != nil {
			return err
		}
		return h.wildcards.refresh(h.ports.Store, s.wildcards())
	})
}

// wildcards are the wildcarded identities of a subscriber.
func (s *Subscriber) wildcards() (names []string) {
	for _, set := range s.sets() {
		for _, p := range set {
			if sip.IsWildcard(p.IMPU) {
				names = append(names, p.IMPU)
			}
		}
	}
	return names
}

// Check says what Add would say, and changes nothing.
func (h *HSS) Check(s *Subscriber) error {
	_, _, err := h.planAdd(s)
	return err
}

// planAdd checks s against itself and the store and returns the change that makes it.
func (h *HSS) planAdd(s *Subscriber) ([]store.Op, string, error) {
	keys, mistakes := h.check(s, false)
	if len(mistakes) == 0 {
		found, err := h.checkAgainstStore(s, "")
		if err != nil {
			return nil, "", err
		}
		mistakes = found
	}
	if len(mistakes) > 0 {
		return nil, "", mistakes
	}
	return h.planChecked(s, keys)
}

// planChecked returns the change that makes s, which is without mistakes.
func (h *HSS) planChecked(s *Subscriber, keys []secrets) ([]store.Op, string, error) {
	sub, err := h.build(s, keys, nil)
	if err != nil {
		return nil, "", err
	}
	id := sub.privates[0].impi
	ops := []store.Op{{Table: TableSubscription, Key: []byte(id), Value: sub.encode(), Cond: store.IfAbsent}}
	for i := range sub.privates {
		impi := sub.privates[i].impi
		ops = append(ops, store.Op{Table: TablePrivate, Key: []byte(impi), Value: []byte(id), Cond: store.IfAbsent})
		if !sub.privates[i].scheme.AKA() {
			continue // no sequence numbers
		}
		op, err := h.firstSequence(impi, s.cards()[i].SEQ)
		if err != nil {
			return nil, "", err
		}
		ops = append(ops, op...)
	}
	sub.each(func(_ int, p *identity) {
		ops = append(ops, store.Op{Table: TablePublic, Key: []byte(p.impu), Value: []byte(id), Cond: store.IfAbsent})
		if p.wildcard() {
			ops = append(ops, store.Op{Table: TableWildcard, Key: []byte(p.impu), Value: []byte(id)})
		}
	})
	return ops, id, nil
}

// firstSequence makes the record of sequence numbers. One that an earlier subscriber of this name left stays,
// unless the new one begins higher: numbers never go back.
func (h *HSS) firstSequence(impi string, seq uint64) ([]store.Op, error) {
	op := store.Op{Table: TableSQN, Key: []byte(impi), Cond: store.IfAbsent}
	rec, err := h.ports.Store.Get(TableSQN, op.Key)
	if err == nil {
		s, err := decodeSequence(rec.Value)
		if err != nil {
			return nil, err
		}
		if s.mark > seq {
			return nil, nil
		}
		op.Cond, op.Version = store.IfVersion, rec.Version
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	op.Value = sequence{seq + 1, unixSeconds(h.ports.Clock.Wall()), h.cfg.RestoreEpoch}.encode()
	return []store.Op{op}, nil
}

// build makes the record, with the keys sealed. stored are the cards whose keys may be kept.
func (h *HSS) build(s *Subscriber, keys []secrets, stored *subscription) (*subscription, error) {
	sub := &subscription{group: s.Group, created: unixSeconds(h.ports.Clock.Wall()), service: s.Service}
	for i, c := range s.cards() {
		p := private{impi: c.IMPI, imsi: c.IMSI}
		if s.Service != nil {
			p.algorithm = algorithmNone
			sub.privates = append(sub.privates, p)
			continue
		}
		p.algorithm, _ = c.algorithmNumber() // checked, as what follows
		p.scheme, _ = c.scheme()
		p.amf, _ = c.amf()
		var err error
		switch {
		case keys[i].kept:
			p.sealed = stored.privates[stored.findPrivate(cx.IMPI(c.IMPI))].sealed
		case p.digest():
			p.sealed, err = h.sealHA1(&p, keys[i].ha1)
		default:
			p.sealed, err = h.sealKeys(&p, &keys[i].card)
		}
		if err != nil {
			return nil, fmt.Errorf("hss: seal: %w", err)
		}
		sub.privates = append(sub.privates, p)
	}
	for _, set := range s.sets() {
		sub.sets = append(sub.sets, implicitSet{services: groupByProfile(set)})
	}
	return sub, nil
}

// groupByProfile keeps the order of the identities: neighbours with the same profile share a service profile.
func groupByProfile(set []Public) []service {
	var services []service
	for _, p := range set {
		if n := len(services); n == 0 || services[n-1].profile != p.Profile {
			services = append(services, service{profile: p.Profile})
		}
		last := &services[len(services)-1]
		last.identities = append(last.identities, identity{p.IMPU, p.Barred, p.DisplayName})
	}
	return services
}

// checkAgainstStore finds identities that others have, and profiles and groups that are not there. own is the
// subscription that may have them already.
func (h *HSS) checkAgainstStore(s *Subscriber, own string) (Mistakes, error) {
	v := &review{subject: s.IMPI}
	taken := func(table store.Table, field, name string) error {
		rec, err := h.ports.Store.Get(table, []byte(name))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil && string(rec.Value) != own {
			v.add(field, "%s belongs to subscriber %s", name, rec.Value)
		}
		return err
	}
	there := func(table store.Table, field, name string) error {
		if name == "" {
			return nil
		}
		_, err := h.ports.Store.Get(table, []byte(name))
		if err == nil {
			return nil
		}
		if errors.Is(err, store.ErrNotFound) {
			v.add(field, "there is no %q; make it first", name)
			return nil
		}
		return err
	}
	for _, c := range s.cards() {
		if err := taken(TablePrivate, "impi", c.IMPI); err != nil {
			return nil, err
		}
	}
	if s.Group != defaultGroup {
		if err := there(TableGroup, "group", s.Group); err != nil {
			return nil, err
		}
	}
	if h.wildcards.full() && len(s.wildcards()) > 0 {
		v.add("public", "there are %d wildcarded identities; no more are admitted", maxWildcards)
	}
	for _, set := range s.sets() {
		for _, p := range set {
			if err := errors.Join(taken(TablePublic, "public", p.IMPU), there(TableProfile, "profile", p.Profile)); err != nil {
				return nil, err
			}
		}
	}
	return v.found, nil
}

// load reads a subscription by private or public identity.
func (h *HSS) load(name string) (id string, sub *subscription, version uint64, err error) {
	owner, err := h.ports.Store.Get(TablePrivate, []byte(name))
	if errors.Is(err, store.ErrNotFound) {
		owner, err = h.ports.Store.Get(TablePublic, []byte(name))
	}
	if err == nil {
		var rec store.Record
		if rec, err = h.ports.Store.Get(TableSubscription, owner.Value); err == nil {
			sub, err = decodeSubscription(rec.Value)
			return string(owner.Value), sub, rec.Version, err
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: subscriber %s", ErrUnknown, name)
	}
	return "", nil, 0, err
}

// again repeats a change that another one overtook, a registration for example.
func (h *HSS) again(ctx context.Context, change func() error) error {
	for range attempts {
		err := change()
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		// Wait for one commit: what came first is visible then.
		if _, _, err := h.ports.Store.Reserve("hss.retry", 1); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return store.ErrConflict
}

// Update replaces a subscriber. A card whose keys are left out keeps those that are stored. It returns
// Mistakes, ErrUnknown, *PushError or an error of the store.
func (h *HSS) Update(ctx context.Context, s *Subscriber) error {
	return h.again(ctx, func() error { return h.update(ctx, s) })
}

func (h *HSS) update(ctx context.Context, s *Subscriber) error {
	id, old, version, err := h.load(s.IMPI)
	if err != nil {
		return err
	}
	keys, mistakes := h.check(s, true)
	mistakes = append(mistakes, checkChange(s, id, old, keys)...)
	if len(mistakes) == 0 {
		if mistakes, err = h.checkAgainstStore(s, id); err != nil {
			return err
		}
	}
	if len(mistakes) > 0 {
		return mistakes
	}
	sub, err := h.build(s, keys, old)
	if err != nil {
		return err
	}
	sub.created = old.created
	ops, err := h.planUpdate(id, s, old, sub, version)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := h.assignmentOf(id)
	if err != nil {
		return err
	}
	leaves := mustLeave(old, sub, keys)
	ops, told, err := h.planSh(id, old, sub, before, leaves, ops)
	if err != nil {
		return err
	}
	var owed *letter
	switch {
	case leaves: // whoever must register anew is not registered any more
		ops = append(ops, h.clearAssignment(id, before))
		owed, ops, err = h.oweTermination(id, old, before, "subscription changed", ops)
	case before.server != "":
		var op store.Op
		owed, op, err = h.owe(letterSubscriber, id, nil)
		ops = append(ops, op)
	}
	if err == nil {
		err = h.ports.Store.Apply(id, ops...)
	}
	if err == nil {
		h.tellSh(told)
		err = h.changedWildcards(old, sub)
	}
	if err != nil {
		return err
	}
	return h.settle(ctx, owed)
}

// checkChange finds what cannot be made of the subscription old, whose id is id.
func checkChange(s *Subscriber, id string, old *subscription, keys []secrets) (found Mistakes) {
	if (s.Service == nil) != (old.service == nil) {
		return Mistakes{{s.IMPI, "service", "a user does not become a service, nor the reverse: remove it first"}}
	}
	if s.IMPI != id {
		found = append(found, Mistake{s.IMPI, "impi", "the first private identity is " + id + " and stays so"})
	}
	if s.Service != nil {
		return found
	}
	for n, c := range s.cards() {
		i := old.findPrivate(cx.IMPI(c.IMPI))
		switch {
		case !keys[n].kept:
		case i < 0:
			found = append(found, Mistake{s.IMPI, "k", c.IMPI + " is new, so its keys must be given"})
		case !old.privates[i].keeps(c):
			found = append(found, Mistake{s.IMPI, "scheme", c.IMPI + " proves itself in another way now, so its secret must be given"})
		}
	}
	return found
}

// planUpdate returns the change from old to sub: the record, and the index of names that come or go.
func (h *HSS) planUpdate(id string, s *Subscriber, old, sub *subscription, version uint64) ([]store.Op, error) {
	ops := []store.Op{{Table: TableSubscription, Key: []byte(id), Value: sub.encode(), Cond: store.IfVersion, Version: version}}
	index := func(table store.Table, was, is map[string]bool) {
		for _, name := range slices.Sorted(maps.Keys(is)) {
			if !was[name] {
				ops = append(ops, store.Op{Table: table, Key: []byte(name), Value: []byte(id), Cond: store.IfAbsent})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(was)) {
			if !is[name] && table != TablePublic { // those go with what they have on Sh: planSh
				ops = append(ops, store.Op{Table: table, Key: []byte(name)})
			}
		}
	}
	index(TablePrivate, old.privateNames(), sub.privateNames())
	index(TablePublic, old.publicNames(), sub.publicNames())
	index(TableWildcard, old.wildcardNames(), sub.wildcardNames())
	for _, c := range s.cards() {
		if s.Service == nil && !c.digest() && (old.findPrivate(cx.IMPI(c.IMPI)) < 0 || c.SEQ > 0) {
			op, err := h.firstSequence(c.IMPI, c.SEQ)
			if err != nil {
				return nil, err
			}
			ops = append(ops, op...)
		}
	}
	return ops, nil
}

func (s *subscription) privateNames() map[string]bool {
	names := map[string]bool{}
	for i := range s.privates {
		names[s.privates[i].impi] = true
	}
	return names
}

func (s *subscription) publicNames() map[string]bool {
	names := map[string]bool{}
	s.each(func(_ int, id *identity) { names[id.impu] = true })
	return names
}

// mustLeave says whether a change cannot be pushed as a profile: other keys or another scheme, other private
// identities, other sets, or another default identity (TS 29.228 6.5.2.1).
func mustLeave(old, sub *subscription, keys []secrets) bool {
	if len(old.privates) != len(sub.privates) || len(old.sets) != len(sub.sets) {
		return true
	}
	for i := range old.privates {
		a, b := &old.privates[i], &sub.privates[i]
		if a.impi != b.impi || a.scheme != b.scheme || a.amf != b.amf || !keys[i].kept {
			return true
		}
	}
	for i := range old.sets {
		if old.defaultOf(i) != sub.defaultOf(i) {
			return true
		}
	}
	return false
}

// defaultOf returns the default identity of a set: the first distinct one that is not barred (TS 29.228 6.5.1.1).
func (s *subscription) defaultOf(set int) string {
	name := ""
	s.each(func(i int, id *identity) {
		if i == set && !id.barred && !id.wildcard() && name == "" {
			name = id.impu
		}
	})
	return name
}

// Remove takes a subscriber out, by any of its identities, and de-registers it. The sequence numbers stay, so
// that a card that comes back cannot be shown an old one. It returns ErrUnknown, *PushError or an error of the
// store.
func (h *HSS) Remove(ctx context.Context, name string) error {
	return h.again(ctx, func() error { return h.remove(ctx, name) })
}

func (h *HSS) remove(ctx context.Context, name string) error {
	id, sub, version, err := h.load(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := h.assignmentOf(id)
	if err != nil {
		return err
	}
	ops := []store.Op{{Table: TableSubscription, Key: []byte(id), Cond: store.IfVersion, Version: version}}
	for _, name := range slices.Sorted(maps.Keys(sub.privateNames())) {
		ops = append(ops, store.Op{Table: TablePrivate, Key: []byte(name)})
	}
	ops, told, err := h.planSh(id, sub, nil, before, true, ops)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(sub.wildcardNames())) {
		ops = append(ops, store.Op{Table: TableWildcard, Key: []byte(name)})
	}
	owed, ops, err := h.oweTermination(id, sub, before, "subscription ended", append(ops, h.clearAssignment(id, before)))
	if err == nil {
		err = h.ports.Store.Apply(id, ops...)
	}
	if err == nil {
		h.tellSh(told)
		err = h.changedWildcards(sub, nil)
	}
	if err != nil {
		return err
	}
	return h.settle(ctx, owed)
}

// assignmentOf reads the assignment of a subscription; never nil.
func (h *HSS) assignmentOf(id string) (*assignment, error) {
	rec, err := h.ports.Store.Get(TableAssignment, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return &assignment{}, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := decodeAssignment(rec.Value)
	if err == nil {
		a.version = rec.Version
	}
	return a, err
}

// clearAssignment makes the change by which nobody serves a subscription any more; the epoch stays. It writes
// also where there was nothing: a registration that is being committed at this moment then conflicts with it,
// and whoever comes second sees what the first has done.
func (h *HSS) clearAssignment(id string, a *assignment) store.Op {
	empty := &assignment{epoch: a.epoch, updated: unixSeconds(h.ports.Clock.Wall())}
	op := store.Op{Table: TableAssignment, Key: []byte(id), Value: empty.encode(), Cond: store.IfAbsent}
	if a.version != 0 {
		op.Cond, op.Version = store.IfVersion, a.version
	}
	return op
}

// Reseal seals the keys of all subscribers with the newest sealing key, after a rotation. It may be stopped
// and called again. It returns how many records it changed.
func (h *HSS) Reseal(ctx context.Context) (int, error) {
	changed := 0
	err := h.eachSubscription(ctx, func(rec store.Record, sub *subscription) error {
		n, err := h.resealOne(rec, sub)
		changed += n
		return err
	})
	return changed, err
}

// CheckKeys opens the keys of every subscriber and forgets them. It returns how many cards there are, and the first that does not
// open: the store belongs to another sealing key, or was changed.
func (h *HSS) CheckKeys(ctx context.Context) (int, error) {
	cards := 0
	err := h.eachSubscription(ctx, func(_ store.Record, sub *subscription) error {
		for i := range sub.privates {
			p := &sub.privates[i]
			if p.algorithm == algorithmNone {
				continue
			}
			if err := h.checkSealed(p); err != nil {
				return fmt.Errorf("hss: keys of %s: %w", p.impi, err)
			}
			cards++
		}
		return nil
	})
	return cards, err
}

func (h *HSS) resealOne(rec store.Record, sub *subscription) (int, error) {
	for range attempts {
		stale := false
		for i := range sub.privates {
			p := &sub.privates[i]
			if p.algorithm == algorithmNone || h.ports.Keys().Current(p.sealed) {
				continue
			}
			sealed, err := h.ports.Keys().Reseal(nil, h.ports.Random, uint8(TableSubscription), p.sealedFor(), p.sealed)
			if err != nil {
				return 0, fmt.Errorf("hss: reseal %s: %w", rec.Key, err)
			}
			p.sealed = sealed
			stale = true
		}
		if !stale {
			return 0, nil
		}
		err := h.ports.Store.Apply(string(rec.Key), store.Op{Table: TableSubscription, Key: rec.Key, Value: sub.encode(),
			Cond: store.IfVersion, Version: rec.Version})
		if !errors.Is(err, store.ErrConflict) {
			return 1, err
		}
		if rec, err = h.ports.Store.Get(TableSubscription, rec.Key); errors.Is(err, store.ErrNotFound) {
			return 0, nil // removed meanwhile
		} else if err != nil {
			return 0, err
		}
		if sub, err = decodeSubscription(rec.Value); err != nil {
			return 0, err
		}
	}
	return 0, store.ErrConflict
}

// eachSubscription visits all records, page by page.
func (h *HSS) eachSubscription(ctx context.Context, visit func(store.Record, *subscription) error) error {
	var cursor []byte
	for {
		page, next, err := h.ports.Store.Scan(TableSubscription, nil, cursor, 256)
		if err != nil {
			return err
		}
		for _, rec := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			sub, err := decodeSubscription(rec.Value)
			if err != nil {
				return fmt.Errorf("hss: subscriber %s: %w", rec.Key, err)
			}
			if err := visit(rec, sub); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		cursor = next
	}
}
