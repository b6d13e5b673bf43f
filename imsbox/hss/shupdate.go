package hss

import (
	"errors"
	"slices"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/store"
)

// ProfileUpdate answers Sh-Update; see sh.Server. The steps are those of TS 29.328 6.1.2.1.
func (h *HSS) ProfileUpdate(t *shard.Task, r *sh.ProfileUpdateRequest) (*sh.ProfileUpdateAnswer, error) {
	answer, err := h.change(t, r)
	h.counts.note(opProfileUpdate, err)
	return answer, err
}

func (h *HSS) change(t *shard.Task, r *sh.ProfileUpdateRequest) (*sh.ProfileUpdateAnswer, error) {
	x := &shRequest{h: h, t: t, as: r.AS, op: sh.Update, asks: r.User, Key: sh.Key{Reference: r.Reference}}
	if r.Data == nil {
		return nil, sh.ErrMissingAVP
	}
	if len(r.Data.Repository) == 1 {
		x.ServiceIndication = r.Data.Repository[0].ServiceIndication
	}
	if err := x.admit(r.IMPI); err != nil { // 1, 2, 3
		return nil, err
	}
	pen := x.user.volatile
	if !pen.takePen(t) {
		return nil, sh.ErrPriorUpdateInProgress
	}
	defer pen.passPen()
	for attempt := range attempts {
		pause(t, attempt)
		c := &shChange{shRequest: x}
		err := c.plan(r.Data) // 4, 5, 6
		if err == nil {
			err = c.commit()
		}
		if errors.Is(err, store.ErrConflict) { // another entity was faster: look at what it left
			if err := x.findAgain(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		a := &sh.ProfileUpdateAnswer{}
		a.WildcardedPSI, a.WildcardedIMPU = x.ranges()
		return a, nil
	}
	return nil, sh.ErrPriorUpdateInProgress
}

// shChange is the change that a request makes, and who is to be told.
type shChange struct {
	*shRequest
	ops  []store.Op
	owed []*letter
	gone []*watch // subscriptions that end with it
}

// plan makes the change by the reference.
func (c *shChange) plan(data *sh.Data) error {
	switch c.Reference {
	case sh.RefRepositoryData:
		if len(data.Repository) != 1 || data.Repository[0].ServiceIndication == "" {
			return sh.ErrUserDataNotRecognized // one at a time: Update-Eff is not a feature of ours
		}
		return c.planRepository(&data.Repository[0])
	case sh.RefPSIActivation:
		if data.IMS == nil || data.IMS.PSIActivation == nil {
			return sh.ErrUserDataNotRecognized
		}
		return c.planPSIActivation(*data.IMS.PSIActivation) // 4
	case sh.RefDSAI:
		if data.IMS == nil || len(data.IMS.DSAI) != 1 {
			return sh.ErrUserDataNotRecognized
		}
		return c.planDSAI(data.IMS.DSAI[0]) // 4a
	}
	return sh.ErrOperationNotAllowed // what other domains keep (SMSRegistrationInfo, STN-SR) is not here to be changed
}

// commit makes the change durable, and tells.
func (c *shChange) commit() error {
	if len(c.ops) == 0 {
		return nil
	}
	for _, l := range c.owed {
		c.ops = append(c.ops, l.op())
	}
	if err := c.h.apply(c.t, c.user.id, c.ops...); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return err
		}
		return c.h.unableSh("update", err)
	}
	for _, w := range c.gone {
		c.h.watches.drop(w)
	}
	c.h.kick(c.owed)
	return nil
}

// planRepository is step 6.
func (c *shChange) planRepository(r *sh.RepositoryData) error {
	if len(r.ServiceIndication) > maxIndication || sh.CheckServiceData(r.ServiceData) != nil {
		return sh.ErrUserDataNotRecognized
	}
	key := repositoryKey(c.id.impu, r.ServiceIndication)
	rec, err := c.h.getOr(c.t, TableRepository, key)
	if err != nil {
		return c.h.unableSh("read", err)
	}
	op := store.Op{Table: TableRepository, Key: key, Cond: store.IfAbsent}
	if rec.Version != 0 {
		stored, err := decodeRepository(rec.Value)
		if err != nil {
			return c.h.unableSh("decode", err)
		}
		if r.SequenceNumber != sh.NextSequenceNumber(stored.sequence) { // never 0
			return sh.ErrTransparentDataOutOfSync
		}
		op.Cond, op.Version = store.IfVersion, rec.Version
	} else if r.SequenceNumber != 0 {
		return sh.ErrTransparentDataOutOfSync
	}
	switch {
	case r.ServiceData == nil && rec.Version == 0:
		return sh.ErrOperationNotAllowed
	case len(r.ServiceData) > c.h.cfg.MaxServiceData:
		return sh.ErrTooMuchData
	case r.ServiceData != nil:
		op.Value = (&repositoryData{r.SequenceNumber, r.ServiceData}).encode()
	}
	c.ops = append(c.ops, op)
	return c.planIndex(r, rec.Version == 0)
}

// planIndex notes in the index of the identity what comes or goes, and who is to be told.
func (c *shChange) planIndex(r *sh.RepositoryData, comes bool) error {
	watchers := c.h.watches.of(c.user.id, func(w *watch) bool {
		return w.impu == c.id.impu && w.key.Reference == sh.RefRepositoryData && w.key.ServiceIndication == r.ServiceIndication
	})
	others := slices.DeleteFunc(slices.Clone(watchers), func(w *watch) bool { return w.as == c.as }) // who changed it knows
	switch {
	case comes:
		if err := c.editIndex(func(x *shIndex) error {
			if len(x.indications) >= maxIndications {
				return sh.ErrTooMuchData
			}
			x.indications = append(x.indications, r.ServiceIndication)
			return nil
		}); err != nil {
			return err
		}
	case r.ServiceData == nil: // the last notification, and then there is nothing to subscribe to
		for _, w := range others {
			c.owed = append(c.owed, c.h.oweLast(w, c.user.groupName(), &sh.Data{Repository: []sh.RepositoryData{{
				ServiceIndication: r.ServiceIndication, SequenceNumber: r.SequenceNumber}}}))
		}
		return c.editIndex(func(x *shIndex) error {
			x.indications = slices.DeleteFunc(x.indications, func(s string) bool { return s == r.ServiceIndication })
			c.end(x, watchers)
			return nil
		})
	}
	c.owed = append(c.owed, c.h.oweNews(others)...)
	return nil
}

// end takes subscriptions out.
func (c *shChange) end(x *shIndex, watchers []*watch) {
	for _, w := range watchers {
		x.forget(w)
		c.ops = append(c.ops, store.Op{Table: TableWatch, Key: w.name()})
	}
	c.gone = append(c.gone, watchers...)
}

// editIndex changes the index of the identity. The first entry also touches the identity itself, so that it conflicts with its removal.
func (c *shChange) editIndex(change func(*shIndex) error) error {
	rec, err := c.h.getOr(c.t, TableShIndex, []byte(c.id.impu))
	if err != nil {
		return c.h.unableSh("read", err)
	}
	x, err := decodeShIndex(rec)
	if err != nil {
		return c.h.unableSh("decode", err)
	}
	if err := change(x); err != nil {
		return err
	}
	op := store.Op{Table: TableShIndex, Key: []byte(c.id.impu), Value: x.encode(), Cond: store.IfVersion, Version: x.version}
	if x.version == 0 {
		op.Cond, op.Version = store.IfAbsent, 0
		if err := c.hold(); err != nil {
			return err
		}
	}
	c.ops = append(c.ops, op)
	return nil
}

// hold touches the identity in the same commit: a removal of it in this moment then conflicts with the change, and nothing is left behind
// that the next owner of the identity would inherit.
func (c *shChange) hold() error {
	owner, err := c.h.getOr(c.t, TablePublic, []byte(c.id.impu))
	if err != nil {
		return c.h.unableSh("read", err)
	}
	if owner.Version == 0 || string(owner.Value) != c.user.id {
		return store.ErrConflict // it has gone
	}
	c.ops = append(c.ops, store.Op{Table: TablePublic, Key: []byte(c.id.impu), Value: owner.Value, Cond: store.IfVersion, Version: owner.Version})
	return nil
}

// switchTo makes the activation of the subscription another one.
func (c *shChange) switchTo(now *activation) error {
	c.ops = append(c.ops, now.op(c.user.id))
	if now.version == 0 {
		return c.hold()
	}
	return nil
}

// planPSIActivation is step 4. A service that is switched off is found by nobody (TS 29.228 6.1.4.1), and the S-CSCF that has it is told
// to let it go.
func (c *shChange) planPSIActivation(active bool) error {
	a, err := c.h.activationOf(c.t, c.user)
	if err != nil {
		return err
	}
	if active == !slices.Contains(a.inactive, c.id.impu) {
		return nil
	}
	now := a.with(func(b *activation) {
		b.inactive = slices.DeleteFunc(b.inactive, func(s string) bool { return s == c.id.impu })
		if !active {
			b.inactive = append(b.inactive, c.id.impu)
		}
	})
	if err := c.switchTo(now); err != nil {
		return err
	}
	c.owed = append(c.owed, c.h.oweNews(c.watchers(sh.RefPSIActivation, ""))...)
	if active {
		return nil
	}
	was, err := c.h.current(c.t, c.user)
	if err != nil {
		return c.h.unableSh("read", err)
	}
	if was.server == "" || was.sets[c.set].state == notRegistered {
		return nil
	}
	l, _, err := c.h.owe(letterTermination, c.user.id, &cx.RegistrationTerminationRequest{ServerName: was.server, Epoch: was.epoch,
		IMPI: cx.IMPI(c.user.privates[0].impi), IMPUs: []cx.IMPU{cx.IMPU(c.id.impu)}, Reason: cx.PermanentTermination, ReasonInfo: "service switched off"})
	if err != nil {
		return c.h.unableSh("update", err)
	}
	c.owed = append(c.owed, l)
	return nil
}

// watchers are those who want to know of data of the identity, but for who changes it.
func (c *shChange) watchers(ref sh.DataReference, tag string) []*watch {
	return c.h.watches.of(c.user.id, func(w *watch) bool {
		return w.impu == c.id.impu && w.key.Reference == ref && w.key.DSAITag == tag && w.as != c.as
	})
}

// planDSAI is step 4a: filter criteria are masked or unmasked, as if they had been changed by an operator.
func (c *shChange) planDSAI(d sh.DSAI) error {
	bound, err := c.boundTo(d.Tag)
	if err != nil {
		return err
	}
	if !bound {
		return sh.ErrDSAINotAvailable
	}
	a, err := c.h.activationOf(c.t, c.user)
	if err != nil {
		return err
	}
	if a.active(c.id.impu, d.Tag) == d.Active {
		return nil
	}
	m := masked{c.id.impu, d.Tag}
	now := a.with(func(b *activation) {
		b.masked = slices.DeleteFunc(b.masked, func(x masked) bool { return x == m })
		if !d.Active {
			b.masked = append(b.masked, m)
		}
	})
	if err := c.switchTo(now); err != nil {
		return err
	}
	c.owed = append(c.owed, c.h.oweNews(c.watchers(sh.RefDSAI, d.Tag))...)
	c.owed = append(c.owed, c.h.oweNews(c.h.watches.of(c.user.id, func(w *watch) bool {
		return w.impu == c.id.impu && w.key.Reference == sh.RefInitialFilterCriteria
	}))...)
	was, err := c.h.current(c.t, c.user)
	if err != nil {
		return c.h.unableSh("read", err)
	}
	if was.server == "" {
		return nil
	}
	l, _, err := c.h.owe(letterSubscriber, c.user.id, nil)
	if err != nil {
		return c.h.unableSh("update", err)
	}
	c.owed = append(c.owed, l)
	return nil
}
