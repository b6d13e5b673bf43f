package hss

import (
	"context"
	"errors"
	"slices"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// everybody is the name under which the sets of all users are kept; no group can have it.
const everybody = "*"

// SharedSet is a set of initial filter criteria that a service platform shares with the users it serves (TS 29.228 B.2.1). The S-CSCF
// has the criteria; the profile carries the number.
type SharedSet struct {
	Number int
	Groups []string // whose members have it
	All    bool     // all users
	// Unregistered says that a criterion of it can match for a user who is not registered (TS 29.228 6.1.4.1).
	Unregistered bool
	// Consent is the service that each of these users must have agreed to; empty: nobody is asked.
	Consent string
}

// holders are the groups of a set, by the names of their records.
func (s *SharedSet) holders() []string {
	if s.All {
		return []string{everybody}
	}
	return s.Groups
}

// sharedEntry is a set in the record of a group.
type sharedEntry struct {
	number       int
	unregistered bool
	consent      string // service that a user must have agreed to
}

const sharedVersion = 2 // 1: nobody was asked

func encodeShared(list []sharedEntry) []byte {
	e := encoder{}
	e.byte(sharedVersion)
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.int(s.number)
		e.bool(s.unregistered)
		e.string(s.consent)
	}
	return e.b
}

func decodeShared(b []byte) ([]sharedEntry, error) {
	d := decoder{b: b}
	version := d.byte()
	if version == 0 || version > sharedVersion {
		return nil, errRecord
	}
	list := make([]sharedEntry, d.count())
	for i := range list {
		list[i] = sharedEntry{number: d.int(), unregistered: d.bool()}
		if version > 1 {
			list[i].consent = d.string()
		}
	}
	return list, d.done()
}

// Share gives a shared set to exactly these users; nobody else has it afterwards, nobody at all if it names none. Whoever is registered
// gets a new profile at once (PPR), also if only the criteria have changed. It returns Mistakes, *PushError or an error of the store.
func (h *HSS) Share(ctx context.Context, s SharedSet) error {
	v := &review{subject: "shared set"}
	for _, g := range s.Groups {
		if m := checkName(g); m != "" {
			v.add("groups", "%s", m)
		}
	}
	if len(v.found) > 0 {
		return v.found
	}
	return h.again(ctx, func() error { return h.share(ctx, s) })
}

func (h *HSS) share(ctx context.Context, s SharedSet) error {
	holders := s.holders()
	var ops []store.Op
	changed, seen := []string{}, map[string]bool{}
	err := h.eachName(ctx, TableShared, func(rec store.Record) error {
		name := string(rec.Key)
		seen[name] = true
		list, err := decodeShared(rec.Value)
		if err != nil {
			return err
		}
		had := len(list)
		list = slices.DeleteFunc(list, func(e sharedEntry) bool { return e.number == s.Number })
		if slices.Contains(holders, name) {
			list = append(list, sharedEntry{s.Number, s.Unregistered, s.Consent})
		} else if len(list) == had {
			return nil
		}
		changed = append(changed, name)
		ops = append(ops, store.Op{Table: TableShared, Key: rec.Key, Value: encodeShared(list), Cond: store.IfVersion, Version: rec.Version})
		return nil
	})
	for _, name := range holders {
		if !seen[name] {
			changed = append(changed, name)
			ops = append(ops, store.Op{Table: TableShared, Key: []byte(name), Value: encodeShared([]sharedEntry{{s.Number, s.Unregistered, s.Consent}}), Cond: store.IfAbsent})
		}
	}
	if err != nil || len(ops) == 0 {
		return err
	}
	var letters []*letter
	for _, name := range changed {
		l, op, err := h.owe(letterGroup, name, nil)
		if err != nil {
			return err
		}
		letters, ops = append(letters, l), append(ops, op)
	}
	if err := h.ports.Store.Apply("shared sets", ops...); err != nil {
		return err
	}
	var first error
	for _, l := range letters {
		if err := h.settle(ctx, l); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Sharing returns who has a shared set.
func (h *HSS) Sharing(ctx context.Context, number int) (SharedSet, error) {
	s := SharedSet{Number: number}
	err := h.eachName(ctx, TableShared, func(rec store.Record) error {
		list, err := decodeShared(rec.Value)
		for _, e := range list {
			switch {
			case e.number != number:
			case string(rec.Key) == everybody:
				s.All, s.Unregistered, s.Consent = true, e.unregistered, e.consent
			default:
				s.Groups, s.Unregistered, s.Consent = append(s.Groups, string(rec.Key)), e.unregistered, e.consent
			}
		}
		return err
	})
	return s, err
}

// addShared adds the shared sets of a group and of everybody to a composed profile. Services have none: nobody serves them but themselves.
func (h *HSS) addShared(t *shard.Task, u *user, c *composed) error {
	if u.service != nil {
		return nil
	}
	for _, name := range []string{u.groupName(), everybody} {
		list, p, err := h.readShared(t, name)
		if err != nil {
			return err
		}
		c.parts = append(c.parts, p)
		for _, s := range list {
			if s.consent != "" { // the subscription changes with what it agrees to: its version stands for both
				agreed, err := h.consentsOf(t, u)
				if err != nil {
					return h.unable("read", err)
				}
				if !agreed.to(s.consent) {
					continue
				}
			}
			for i := range c.ServiceProfiles {
				sets := &c.ServiceProfiles[i].SharedIFCSetIDs
				if !slices.Contains(*sets, s.number) {
					*sets = append(slices.Clip(*sets), s.number) // the profile's own list is shared with others
				}
			}
			c.servesUnregistered = c.servesUnregistered || s.unregistered
		}
	}
	return nil
}

// readShared reads the sets of a group; most have none.
func (h *HSS) readShared(t *shard.Task, name string) ([]sharedEntry, part, error) {
	p := part{table: TableShared, key: []byte(name)}
	rec, err := h.get(t, TableShared, p.key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, p, nil
	}
	if err != nil {
		return nil, p, h.unable("read", err)
	}
	p.version = rec.Version
	list, err := decodeShared(rec.Value)
	if err != nil {
		return nil, p, h.unable("decode", err)
	}
	return list, p, nil
}

// ServesUnregistered says whether one of the criteria can match a terminating request to a user who is not registered.
func ServesUnregistered(list []cx.InitialFilterCriteria) bool {
	return slices.ContainsFunc(list, servesUnregistered)
}
