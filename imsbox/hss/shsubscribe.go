package hss

import (
	"errors"
	"slices"

	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
	"imsafe/store"
)

// SubscribeNotifications answers Sh-Subs-Notif; see sh.Server. The steps are those of TS 29.328 6.1.3.1.
func (h *HSS) SubscribeNotifications(t *shard.Task, r *sh.SubscribeNotificationsRequest) (*sh.SubscribeNotificationsAnswer, error) {
	answer, err := h.subscribe(t, r)
	h.counts.note(opSubscribeNotifications, err)
	return answer, err
}

func (h *HSS) subscribe(t *shard.Task, r *sh.SubscribeNotificationsRequest) (*sh.SubscribeNotificationsAnswer, error) {
	x := &shRequest{h: h, t: t, as: r.AS, op: sh.Subscribe, asks: r.User, Key: r.Key}
	if max(len(r.ServiceIndication), len(r.ServerName), len(r.DSAITag)) > maxIndication {
		return nil, sh.ErrInvalidAVPValue
	}
	if err := x.admit(r.IMPI); err != nil { // 1, 2, 3
		return nil, err
	}
	pen := x.user.volatile
	if !pen.takePen(t) {
		return nil, sh.ErrTooBusy
	}
	defer pen.passPen()
	for attempt := range attempts {
		pause(t, attempt)
		answer, err := x.subscribe(r)
		if !errors.Is(err, store.ErrConflict) {
			return answer, err
		}
		if err := x.findAgain(); err != nil {
			return nil, err
		}
	}
	return nil, h.unableSh("subscribe", store.ErrConflict)
}

// subscribe is what follows when the application server may.
func (x *shRequest) subscribe(r *sh.SubscribeNotificationsRequest) (*sh.SubscribeNotificationsAnswer, error) {
	data, there, err := x.read()
	switch {
	case err != nil:
		return nil, err
	case x.Reference == sh.RefDSAI && !there: // 3a
		return nil, sh.ErrDSAINotAvailable
	case x.Reference == sh.RefRepositoryData && !there: // 5
		return nil, sh.ErrSubsDataAbsent
	case data == nil: // what this HSS never has it never has news of
		return nil, sh.ErrUserDataCannotBeNotified
	}
	w := &watch{as: x.as, owner: x.user.id, impu: x.id.impu, asked: x.asks, key: x.Key, expires: max(r.ExpiryTime, 0), oneTime: r.OneTime}
	if err := x.settleWatch(w, !r.Unsubscribe); err != nil { // 6
		return nil, err
	}
	a := &sh.SubscribeNotificationsAnswer{}
	if !r.Unsubscribe {
		a.ExpiryTime = w.expires // 4
		x.h.watches.heard(w, sumOf(data))
	}
	if r.SendData { // 10
		a.Data = data
	}
	a.WildcardedPSI, a.WildcardedIMPU = x.ranges()
	return a, nil
}

// settleWatch puts a subscription in, or takes it out; it may have been there or not.
func (x *shRequest) settleWatch(w *watch, in bool) error {
	name := w.name()
	rec, err := x.h.getOr(x.t, TableWatch, name)
	if err != nil {
		return x.h.unableSh("read", err)
	}
	c := &shChange{shRequest: x}
	op := store.Op{Table: TableWatch, Key: name, Cond: store.IfVersion, Version: rec.Version}
	switch {
	case rec.Version == 0 && !in:
		return nil
	case rec.Version == 0:
		if x.h.watches.size() >= x.h.cfg.MaxWatches {
			return sh.ErrUnableToComply
		}
		op.Cond, op.Version = store.IfAbsent, 0
	}
	if in {
		op.Value = w.encode()
	}
	c.ops = append(c.ops, op)
	if (rec.Version == 0) == in {
		err := c.editIndex(func(i *shIndex) error {
			if !in {
				i.watches = slices.DeleteFunc(i.watches, func(s string) bool { return s == string(name) })
				return nil
			}
			if len(i.watches) >= maxWatchers {
				return sh.ErrUnableToComply
			}
			i.watches = append(i.watches, string(name))
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := c.commit(); err != nil {
		return err
	}
	if in {
		x.h.watches.put(w)
	} else {
		x.h.watches.drop(w)
	}
	return nil
}
