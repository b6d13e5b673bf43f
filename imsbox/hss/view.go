package hss

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"imsafe/refpoint/cx"
	"imsafe/store"
)

// View is a subscriber as it is shown: everything but the keys, which nobody can read.
type View struct {
	ID         string     `json:"id"` // the first private identity
	Group      string     `json:"group"`
	Created    time.Time  `json:"created"`
	Cards      []CardView `json:"cards"`
	Sets       []SetView  `json:"sets"`
	ServerName string     `json:"s_cscf,omitempty"`
	Epoch      uint64     `json:"epoch,omitempty"`   // number of the assignment to an S-CSCF
	Service    *Service   `json:"service,omitempty"` // of a public service: who hosts it
	Agreed     []string   `json:"agreed,omitempty"`  // services that the subscriber has agreed to
}

// CardView is a private identity as it is shown.
type CardView struct {
	IMPI      string `json:"impi"`
	IMSI      string `json:"imsi,omitempty"`
	Algorithm string `json:"algorithm"`
	Scheme    string `json:"scheme"`
	AMF       string `json:"amf"`
	// ReservedSEQ is the mark below which sequence numbers may have been used.
	ReservedSEQ uint64 `json:"reserved_seq"`
	// Resynced is the last time that the card asked for resynchronisation, since the HSS started; nil if it has not, or it is forgotten.
	Resynced *Resynced `json:"resynced,omitempty"`
	// KeyCurrent is false if the keys wait for Reseal after a rotation.
	KeyCurrent bool `json:"key_current"`
}

// SetView is an implicit registration set as it is shown.
type SetView struct {
	State        string   `json:"state"`
	RegisteredBy []string `json:"registered_by,omitempty"`
	Default      string   `json:"default"`
	Public       []Public `json:"public"`
}

// Show returns a subscriber by any of its identities, or ErrUnknown. It waits for the disk.
func (h *HSS) Show(name string) (*View, error) {
	id, sub, _, err := h.load(name)
	if err != nil {
		return nil, err
	}
	return h.view(id, sub)
}

// List returns at most limit subscribers whose id comes after the given one, in order, and the id to go on
// with, "" at the end. It waits for the disk.
func (h *HSS) List(ctx context.Context, after string, limit int) ([]*View, string, error) {
	var cursor []byte
	if after != "" {
		cursor = []byte(after)
	}
	page, next, err := h.ports.Store.Scan(TableSubscription, nil, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	views := make([]*View, 0, len(page))
	for _, rec := range page {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		sub, err := decodeSubscription(rec.Value)
		if err != nil {
			return nil, "", fmt.Errorf("hss: subscriber %s: %w", rec.Key, err)
		}
		v, err := h.view(string(rec.Key), sub)
		if err != nil {
			return nil, "", err
		}
		views = append(views, v)
	}
	if next == nil || len(views) == 0 {
		return views, "", nil
	}
	return views, views[len(views)-1].ID, nil
}

func (h *HSS) view(id string, sub *subscription) (*View, error) {
	a, err := h.assignmentOf(id)
	if err != nil {
		return nil, err
	}
	v := &View{ID: id, Group: sub.groupName(), Created: time.Unix(sub.created, 0).UTC(), ServerName: a.server, Epoch: a.epoch, Service: sub.service}
	agreed, err := h.readConsents(id)
	if err != nil {
		return nil, err
	}
	v.Agreed = agreed.services
	for i := range sub.privates {
		p := &sub.privates[i]
		c := CardView{IMPI: p.impi, IMSI: p.imsi, Algorithm: p.algorithmName(), Scheme: p.scheme.String(),
			AMF: hex.EncodeToString(p.amf[:]), Resynced: h.lastResync(p.impi), KeyCurrent: p.algorithm == algorithmNone || h.ports.Keys().Current(p.sealed)}
		rec, err := h.ports.Store.Get(TableSQN, []byte(p.impi))
		if err == nil {
			s, err := decodeSequence(rec.Value)
			if err != nil {
				return nil, err
			}
			c.ReservedSEQ = s.mark
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		v.Cards = append(v.Cards, c)
	}
	for i, set := range sub.sets {
		s := SetView{State: notRegistered.String(), Default: sub.defaultOf(i)}
		if i < len(a.sets) {
			s.State = a.sets[i].state.String()
			for j := range sub.privates {
				if a.sets[i].by&(1<<j) != 0 {
					s.RegisteredBy = append(s.RegisteredBy, sub.privates[j].impi)
				}
			}
		}
		for _, g := range set.services {
			for _, id := range g.identities {
				s.Public = append(s.Public, Public{id.impu, id.barred, id.display, g.profile})
			}
		}
		v.Sets = append(v.Sets, s)
	}
	return v, nil
}

// ServiceProfileOf returns the service profile that counts for a subscriber's identity, of a private one for its default public one: the
// public identity, the name of the profile, "" if it has none, and the profile, with the numbers of the shared sets that count for its group and
// for everybody. It returns ErrUnknown. It waits for the disk.
func (h *HSS) ServiceProfileOf(name string) (impu, profile string, s *cx.ServiceProfile, err error) {
	id, sub, _, err := h.load(name)
	if err != nil {
		return "", "", nil, err
	}
	set, _ := sub.findPublic(cx.IMPU(name))
	if impu = name; set < 0 {
		set, impu = 0, sub.defaultOf(0)
	}
	// A subscription has a set at least.
	for _, v := range sub.sets[set].services {
		if slices.ContainsFunc(v.identities, func(id identity) bool { return id.impu == impu }) {
			profile = v.profile
		}
	}
	if profile == "" {
		g, err := h.GroupByName(sub.groupName())
		if err != nil && !errors.Is(err, ErrUnknown) { // a group that nobody has made is empty
			return "", "", nil, err
		}
		if g != nil {
			profile = g.Profile
		}
	}
	s = &cx.ServiceProfile{SubscribedMediaProfile: -1}
	if profile != "" {
		if s, err = h.Profile(profile); err != nil {
			return "", "", nil, err
		}
	}
	if sub.service == nil {
		err = h.joinShared(id, sub.groupName(), s)
	}
	return impu, profile, s, err
}

// joinShared adds the shared sets of a group and of everybody to a profile that is nobody else's, as a subscription has agreed to them.
func (h *HSS) joinShared(id, group string, s *cx.ServiceProfile) error {
	agreed, err := h.readConsents(id)
	if err != nil {
		return err
	}
	for _, name := range []string{group, everybody} {
		rec, err := h.ports.Store.Get(TableShared, []byte(name))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		list, err := decodeShared(rec.Value)
		if err != nil {
			return err
		}
		for _, e := range list {
			if (e.consent == "" || agreed.to(e.consent)) && !slices.Contains(s.SharedIFCSetIDs, e.number) {
				s.SharedIFCSetIDs = append(s.SharedIFCSetIDs, e.number)
			}
		}
	}
	return nil
}
