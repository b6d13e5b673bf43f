package hss

import (
	"errors"
	"maps"
	"slices"

	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/store"
)

// shOwed is what a change of provisioning means for application servers.
type shOwed struct {
	letters []*letter
	gone    []*watch
}

// planSh adds to the change from old to sub, nil if it is removed, what follows from it on Sh. An identity that goes takes all that it has
// with it, so that whoever gets it next inherits nothing; who subscribed to its data is told that it is gone (TS 29.328 6.1.4.1). Who
// subscribed to data of one that stays is told if they have changed.
func (h *HSS) planSh(id string, old, sub *subscription, before *assignment, leaves bool, ops []store.Op) ([]store.Op, shOwed, error) {
	var owed shOwed
	stay := map[string]bool{}
	if sub != nil {
		stay = sub.publicNames()
	}
	var gone []string
	for _, name := range slices.Sorted(maps.Keys(old.publicNames())) {
		if !stay[name] {
			gone = append(gone, name)
		}
	}
	for _, name := range gone {
		more, err := h.planGone(name)
		if err != nil {
			return nil, owed, err
		}
		ops = append(ops, more...)
	}
	if sub == nil {
		ops = append(ops, store.Op{Table: TableConsent, Key: []byte(id)})
	}
	rec, err := h.ports.Store.Get(TableActivation, []byte(id))
	if err == nil {
		a, err := decodeActivation(rec)
		if err != nil {
			return nil, owed, err
		}
		op := a.without(gone).op(id)
		if sub == nil {
			op.Value = nil
		}
		ops = append(ops, op)
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, owed, err
	}
	for _, w := range h.watches.of(id, func(*watch) bool { return true }) {
		switch {
		case !stay[w.impu]:
			owed.letters = append(owed.letters, h.oweLast(w, old.groupName(), &sh.Data{Deleted: []sh.IMPU{cx.IMPU(w.impu)}}))
			owed.gone = append(owed.gone, w)
		case w.concerns(leaves && before.server != ""):
			owed.letters = append(owed.letters, h.oweNews([]*watch{w})...)
		}
	}
	for _, l := range owed.letters {
		ops = append(ops, l.op())
	}
	if len(ops) > store.MaxOps {
		return nil, owed, errors.New("hss: too much to be changed at once")
	}
	return ops, owed, nil
}

// planGone makes the change by which a public identity goes, with its data and the subscriptions to them.
func (h *HSS) planGone(impu string) ([]store.Op, error) {
	owner, err := h.ports.Store.Get(TablePublic, []byte(impu))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Who gives the identity its first data in this moment changes it too: one of the two conflicts.
	ops := []store.Op{{Table: TablePublic, Key: []byte(impu), Cond: store.IfVersion, Version: owner.Version}}
	rec, err := h.ports.Store.Get(TableShIndex, []byte(impu))
	if errors.Is(err, store.ErrNotFound) {
		return ops, nil
	}
	if err != nil {
		return nil, err
	}
	x, err := decodeShIndex(rec)
	if err != nil {
		return nil, err
	}
	ops = append(ops, store.Op{Table: TableShIndex, Key: []byte(impu), Cond: store.IfVersion, Version: rec.Version})
	for _, indication := range x.indications {
		ops = append(ops, store.Op{Table: TableRepository, Key: repositoryKey(impu, indication)})
	}
	for _, name := range x.watches {
		ops = append(ops, store.Op{Table: TableWatch, Key: []byte(name)})
	}
	return ops, nil
}

// concerns says whether data may change by provisioning; leaves: the S-CSCF loses the user.
func (w *watch) concerns(leaves bool) bool {
	switch w.key.Reference {
	case sh.RefIMSPublicIdentity, sh.RefInitialFilterCriteria:
		return true
	case sh.RefSCSCFName, sh.RefIMSUserState:
		return leaves
	}
	return false
}

// tellSh is called when the change stands.
func (h *HSS) tellSh(owed shOwed) {
	for _, w := range owed.gone {
		h.watches.drop(w)
	}
	h.kick(owed.letters)
}
