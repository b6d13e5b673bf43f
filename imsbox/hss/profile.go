package hss

import (
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// composed is the user profile of a set as an S-CSCF gets it, with what it was made from.
type composed struct {
	*cx.UserProfile
	version            uint64 // a hash of all versions: it changes whenever the profile may have
	servesUnregistered bool   // has terminating services for the unregistered state (TS 29.228 6.1.4.1)
	group              *Group
	parts              []part
	confirmed          atomic.Uint64 // changes of the tables of parts, at which all of them held
}

// part is a record that a composed profile stands on; version 0: there was none.
type part struct {
	table   store.Table
	key     []byte
	version uint64
}

// holds says whether the record still is what it was.
func (h *HSS) holds(t *shard.Task, p *part) (bool, error) {
	rec, err := h.get(t, p.table, p.key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, h.unable("read", err)
	}
	return rec.Version == p.version, nil
}

// allHold says whether all records that c was made from still are what they were. While nobody changes such records at all it looks none up.
func (h *HSS) allHold(t *shard.Task, c *composed) (bool, error) {
	changes := uint64(0) // before the records; each number only grows, so the sum tells
	for i := range c.parts {
		changes += h.ports.Store.Changed(c.parts[i].table)
	}
	if c.confirmed.Load() == changes {
		return true, nil
	}
	for i := range c.parts {
		if ok, err := h.holds(t, &c.parts[i]); err != nil || !ok {
			return false, err
		}
	}
	c.confirmed.Store(changes)
	return true, nil
}

// profileOf returns the profile of a set for one of the private identities. It is composed when a record
// that it stands on has changed, and shared until then.
func (h *HSS) profileOf(t *shard.Task, u *user, set, private int) (*composed, error) {
	slot := &u.profiles[set*len(u.privates)+private]
	if c := slot.Load(); c != nil {
		if fresh, err := h.allHold(t, c); err != nil || fresh {
			return c, err
		}
	}
	c, err := h.compose(t, u, set, private)
	if err == nil {
		slot.Store(c)
	}
	return c, err
}

// compose builds the profile: the identities of the set, each group of them with its service profile
// (TS 29.228 6.5.1.4, 6.6).
func (h *HSS) compose(t *shard.Task, u *user, set, private int) (*composed, error) {
	group, err := h.readGroup(t, u.group)
	if err != nil {
		return nil, err
	}
	c := &composed{group: group.Group, parts: []part{group.part}}
	c.UserProfile = &cx.UserProfile{IMPI: cx.IMPI(u.privates[private].impi), IMSI: u.privates[private].imsi}
	for _, v := range u.sets[set].services {
		name := v.profile
		if name == "" {
			name = group.Profile
		}
		s := cx.ServiceProfile{SubscribedMediaProfile: -1}
		if name != "" {
			stored, p, err := h.readProfile(t, name)
			if err != nil {
				return nil, err
			}
			c.parts = append(c.parts, p)
			s = stored
		}
		all, err := h.unmasked(t, u, c, &v, s)
		if err != nil {
			return nil, err
		}
		c.ServiceProfiles = append(c.ServiceProfiles, all...)
	}
	for _, s := range c.ServiceProfiles {
		c.servesUnregistered = c.servesUnregistered || slices.ContainsFunc(s.Criteria, servesUnregistered)
	}
	if err := h.addShared(t, u, c); err != nil {
		return nil, err
	}
	sum := fnv.New64a()
	e := encoder{}
	e.uint(u.version)
	for _, p := range c.parts {
		e.uint(p.version)
	}
	_, _ = sum.Write(e.b) // a hash does not fail
	c.version = sum.Sum64()
	return c, nil
}

// unmasked gives the identities of a service their service profile, without the criteria that a DSAI masks for them (TS 29.328 7.6.11).
// Neighbours for whom the same are masked share one, so where nothing is bound to a DSAI all of them do.
func (h *HSS) unmasked(t *shard.Task, u *user, c *composed, v *service, whole cx.ServiceProfile) ([]cx.ServiceProfile, error) {
	off := &activation{}
	if slices.ContainsFunc(whole.Criteria, func(c cx.InitialFilterCriteria) bool { return len(c.DSAI) > 0 }) {
		var err error
		if off, err = h.activationOf(t, u); err != nil {
			return nil, cx.ErrUnableToComply
		}
		c.parts = append(c.parts, part{TableActivation, u.key, off.version})
	}
	var all []cx.ServiceProfile
	for _, id := range v.identities {
		s := whole
		s.Criteria = slices.Clone(whole.Criteria)
		s.Criteria = slices.DeleteFunc(s.Criteria, func(c cx.InitialFilterCriteria) bool { return off.masks(&c, id.impu) })
		if n := len(all); n == 0 || !slices.EqualFunc(all[n-1].Criteria, s.Criteria,
			func(a, b cx.InitialFilterCriteria) bool { return a.Priority == b.Priority }) { // it is unique (TS 29.228 B.2.2)
			all = append(all, s)
		}
		last := &all[len(all)-1]
		last.PublicIdentities = append(last.PublicIdentities, u.profileIdentity(&id))
	}
	return all, nil
}

// profileIdentity is an identity as a profile has it. A range stands there twice: as what the S-CSCF finds it by, and, since the
// schema wants one, as the identity, which nobody looks at then (TS 29.228 B.2.1).
func (s *subscription) profileIdentity(id *identity) cx.PublicIdentity {
	p := cx.PublicIdentity{Identity: cx.IMPU(id.impu), Barred: id.barred, Type: s.kind(id), DisplayName: id.display, ServicePriorityLevel: -1}
	switch p.Type {
	case cx.WildcardedPSI:
		p.WildcardedPSI = p.Identity
	case cx.WildcardedIMPU:
		p.WildcardedIMPU = p.Identity
	}
	return p
}

// servesUnregistered says whether a criterion can match a terminating request to an unregistered user.
func servesUnregistered(c cx.InitialFilterCriteria) bool {
	if c.Part == cx.PartRegistered {
		return false
	}
	if c.Trigger == nil {
		return true
	}
	restricted := false
	for _, s := range c.Trigger.SPTs {
		if s.Kind != cx.SPTSessionCase {
			continue
		}
		if (s.Case == cx.TerminatingUnregistered) != s.Negated {
			return true
		}
		restricted = true
	}
	return !restricted
}

// groupOf returns the group of a user; the group of nobody in particular is empty.
func (h *HSS) groupOf(t *shard.Task, u *user) (*Group, error) {
	g, err := h.readGroup(t, u.group)
	if err != nil {
		return nil, err
	}
	return g.Group, nil
}

// groups are those that were read lately, by name. There are few, and each REGISTER asks for that of its user. Safe for concurrent use.
type groups struct {
	mu    sync.RWMutex
	known map[string]*readGroup
}

// maxGroups bounds them; beyond it they are read anew.
const maxGroups = 1024

// readGroup is a group as it was read, and stands while no group changes.
type readGroup struct {
	*Group
	part
	confirmed uint64 // changes of the table, before it was read
}

// readGroup reads a group, if one has changed since it was read last. One that is not there is empty, so that its members are not locked out of what
// needs no group.
func (h *HSS) readGroup(t *shard.Task, name string) (*readGroup, error) {
	if name == "" {
		name = defaultGroup
	}
	changed := h.ports.Store.Changed(TableGroup)
	h.groups.mu.RLock()
	g := h.groups.known[name]
	h.groups.mu.RUnlock()
	if g != nil && g.confirmed == changed {
		return g, nil
	}
	g = &readGroup{Group: &Group{Name: name}, part: part{table: TableGroup, key: []byte(name)}, confirmed: changed}
	rec, err := h.get(t, TableGroup, g.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, h.unable("read", err)
	default:
		g.version = rec.Version
		if g.Group, err = decodeGroup(name, rec.Value); err != nil {
			return nil, h.unable("decode", err)
		}
	}
	h.groups.keep(g)
	return g, nil
}

func (g *groups) keep(r *readGroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil || len(g.known) >= maxGroups {
		g.known = map[string]*readGroup{}
	}
	g.known[r.Name] = r
}

// defaultGroup is the group of a subscriber that names none.
const defaultGroup = "default"

// readProfile reads a service profile. Provisioning keeps one that is in use from being removed; should one
// be missing all the same, the user gets no services rather than those of somebody else.
func (h *HSS) readProfile(t *shard.Task, name string) (cx.ServiceProfile, part, error) {
	p := part{table: TableProfile, key: []byte(name)}
	none := cx.ServiceProfile{SubscribedMediaProfile: -1}
	rec, err := h.get(t, TableProfile, p.key)
	if errors.Is(err, store.ErrNotFound) {
		return none, p, nil
	}
	if err != nil {
		return none, p, h.unable("read", err)
	}
	p.version = rec.Version
	s, err := decodeServiceProfile(rec.Value)
	if err != nil {
		return none, p, h.unable("decode", err)
	}
	return s, p, nil
}
