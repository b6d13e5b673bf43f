package hss

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"imsafe/imsbox/filter"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// PutProfile makes or replaces the service profile name: filter criteria, media profile, allowed services. Its
// public identities are not used. Whoever is registered with it gets the new one (PPR). It returns Mistakes,
// *PushError or an error of the store.
func (h *HSS) PutProfile(ctx context.Context, name string, s *cx.ServiceProfile) error {
	v := &review{subject: "profile " + name}
	if m := checkName(name); m != "" {
		v.add("name", "%s", m)
	}
	checkCriteria(v, s.Criteria)
	if len(v.found) > 0 {
		return v.found
	}
	return h.putCatalogue(ctx, "profile "+name, letterProfile, store.Op{Table: TableProfile, Key: []byte(name), Value: encodeServiceProfile(s)})
}

// putCatalogue makes a change that concerns many, and tells their S-CSCFs.
func (h *HSS) putCatalogue(ctx context.Context, partition string, kind byte, op store.Op) error {
	owed, letter, err := h.owe(kind, string(op.Key), nil)
	if err == nil {
		err = h.ports.Store.Apply(partition, op, letter)
	}
	if err != nil {
		return err
	}
	return h.settle(ctx, owed)
}

// maxDSAI bounds the tags of one criterion.
const maxDSAI = 16

// checkCriteria examines filter criteria as an S-CSCF will: what it cannot compile is not provisioned (TS 29.228 Annex B, F). Of the
// DSAI it never hears.
func checkCriteria(v *review, list []cx.InitialFilterCriteria) {
	for _, p := range filter.Check(list) {
		v.add(p.Place, "%s; %s", p.What, p.Do)
	}
	servers := map[string]string{} // of each DSAI: it belongs to one application server (TS 29.328 7.6.11)
	for i, c := range list {
		field := fmt.Sprintf("criteria[%d].dsai", i)
		if len(c.DSAI) > maxDSAI {
			v.add(field, "%d tags, at most %d", len(c.DSAI), maxDSAI)
		}
		for _, tag := range c.DSAI {
			if m := checkText(tag); m != "" || len(tag) > maxIndication {
				v.add(field, "%q is no tag %s", tag, m)
			}
			if other, taken := servers[tag]; taken && other != c.Server.ServerName {
				v.add(field, "%s is switched by %s; one tag belongs to one server (TS 29.328 7.6.11)", tag, other)
			}
			servers[tag] = c.Server.ServerName
		}
	}
}

// Profile returns a service profile, or ErrUnknown.
func (h *HSS) Profile(name string) (*cx.ServiceProfile, error) {
	rec, err := h.ports.Store.Get(TableProfile, []byte(name))
	if err != nil {
		return nil, unknownName("profile", name, err)
	}
	s, err := decodeServiceProfile(rec.Value)
	return &s, err
}

// RemoveProfile removes a service profile that nobody uses: ErrInUse, ErrUnknown.
func (h *HSS) RemoveProfile(ctx context.Context, name string) error {
	rec, err := h.ports.Store.Get(TableProfile, []byte(name))
	if err != nil {
		return unknownName("profile", name, err)
	}
	groups, err := h.groupsWith(ctx, name)
	if err != nil {
		return err
	}
	if len(groups) > 0 {
		return fmt.Errorf("%w: profile %s by group %s", ErrInUse, name, groups[0])
	}
	if err := h.unused(ctx, func(s *subscription) bool { return s.uses(name, nil) }); err != nil {
		return fmt.Errorf("profile %s: %w", name, err)
	}
	return h.ports.Store.Apply("profile "+name,
		store.Op{Table: TableProfile, Key: []byte(name), Cond: store.IfVersion, Version: rec.Version})
}

// uses says whether a subscription has identities with the service profile, by name or through its group.
func (s *subscription) uses(profile string, groups []string) bool {
	inGroup := slices.Contains(groups, s.groupName())
	for _, set := range s.sets {
		for _, v := range set.services {
			if v.profile == profile || v.profile == "" && inGroup {
				return true
			}
		}
	}
	return false
}

func (s *subscription) groupName() string {
	if s.group == "" {
		return defaultGroup
	}
	return s.group
}

// PutGroup makes or replaces a group. The group "default" is that of subscribers who name none. It returns
// Mistakes, *PushError or an error of the store.
func (h *HSS) PutGroup(ctx context.Context, g *Group) error {
	v := &review{subject: "group " + g.Name}
	if m := checkName(g.Name); m != "" {
		v.add("name", "%s", m)
	}
	if g.Profile != "" {
		if _, err := h.Profile(g.Profile); errors.Is(err, ErrUnknown) {
			v.add("profile", "there is no %q; make it first", g.Profile)
		} else if err != nil {
			return err
		}
	}
	for _, n := range g.VisitedNetworks {
		if m := checkText(n); m != "" {
			v.add("visited_networks", "%s", m)
		}
	}
	if c := g.Capabilities; c != nil {
		for _, n := range c.ServerNames {
			if !isSIPURI(n) {
				v.add("capabilities", "%q is not a SIP URI", n)
			}
		}
	}
	if len(v.found) > 0 {
		return v.found
	}
	return h.putCatalogue(ctx, "group "+g.Name, letterGroup, store.Op{Table: TableGroup, Key: []byte(g.Name), Value: g.encode()})
}

// GroupByName returns a group, or ErrUnknown.
func (h *HSS) GroupByName(name string) (*Group, error) {
	rec, err := h.ports.Store.Get(TableGroup, []byte(name))
	if err != nil {
		return nil, unknownName("group", name, err)
	}
	return decodeGroup(name, rec.Value)
}

// RemoveGroup removes a group without members: ErrInUse, ErrUnknown.
func (h *HSS) RemoveGroup(ctx context.Context, name string) error {
	rec, err := h.ports.Store.Get(TableGroup, []byte(name))
	if err != nil {
		return unknownName("group", name, err)
	}
	if err := h.unused(ctx, func(s *subscription) bool { return s.groupName() == name }); err != nil {
		return fmt.Errorf("group %s: %w", name, err)
	}
	return h.ports.Store.Apply("group "+name,
		store.Op{Table: TableGroup, Key: []byte(name), Cond: store.IfVersion, Version: rec.Version})
}

// unused returns ErrInUse with the first subscriber who uses something.
func (h *HSS) unused(ctx context.Context, uses func(*subscription) bool) error {
	return h.eachSubscription(ctx, func(rec store.Record, s *subscription) error {
		if uses(s) {
			return fmt.Errorf("%w by %s", ErrInUse, rec.Key)
		}
		return nil
	})
}

// groupsWith returns the groups whose profile is name.
func (h *HSS) groupsWith(ctx context.Context, name string) ([]string, error) {
	var found []string
	err := h.eachName(ctx, TableGroup, func(rec store.Record) error {
		g, err := decodeGroup(string(rec.Key), rec.Value)
		if err == nil && g.Profile == name {
			found = append(found, g.Name)
		}
		return err
	})
	return found, err
}

// Profiles returns the names of all service profiles, in order.
func (h *HSS) Profiles(ctx context.Context) ([]string, error) { return h.names(ctx, TableProfile) }

// Groups returns the names of all groups that were made, in order.
func (h *HSS) Groups(ctx context.Context) ([]string, error) { return h.names(ctx, TableGroup) }

func (h *HSS) names(ctx context.Context, table store.Table) ([]string, error) {
	var all []string
	err := h.eachName(ctx, table, func(rec store.Record) error {
		all = append(all, string(rec.Key))
		return nil
	})
	return all, err
}

func (h *HSS) eachName(ctx context.Context, table store.Table, visit func(store.Record) error) error {
	var cursor []byte
	for {
		page, next, err := h.ports.Store.Scan(table, nil, cursor, 256)
		if err != nil {
			return err
		}
		for _, rec := range page {
			if err := errors.Join(ctx.Err(), visit(rec)); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		cursor = next
	}
}

func unknownName(what, name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %s %s", ErrUnknown, what, name)
	}
	return err
}
