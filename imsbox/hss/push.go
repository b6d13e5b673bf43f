package hss

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// PushError says that a change is durable but its S-CSCF does not know: it could not be reached or refused.
// One that could not be reached is told later (Deliver).
type PushError struct {
	ServerName string
	Err        error
}

// Error names the S-CSCF and the reason.
func (e *PushError) Error() string {
	return fmt.Sprintf("hss: changed, but %s was not told: %v", e.ServerName, e.Err)
}

// Unwrap returns the reason.
func (e *PushError) Unwrap() error { return e.Err }

var errNoRoute = errors.New("no way to this S-CSCF")

// push runs a procedure towards the S-CSCF that has a subscription; without a node there is nobody to tell.
func (h *HSS) push(ctx context.Context, server string, run func(*shard.Task, cx.Client) error) error {
	if h.ports.Push == nil || server == "" {
		return nil
	}
	client := h.ports.Push(server)
	if client == nil {
		return &PushError{server, errNoRoute}
	}
	var result error
	if err := h.ports.Shard.Call(ctx, func(t *shard.Task) { result = run(t, client) }); err != nil {
		return &PushError{server, err}
	}
	if result != nil {
		return &PushError{server, result}
	}
	return nil
}

// terminationOf is what tells the S-CSCF that it has the subscription no more (RTR, TS 29.228 6.1.3): all public
// identities of all private ones. It names them, though the standard would have it without: an S-CSCF may look at
// nothing else. was is the assignment before, of sub as it was then.
func terminationOf(sub *subscription, was *assignment, why cx.DeregistrationReason, text string) *cx.RegistrationTerminationRequest {
	r := &cx.RegistrationTerminationRequest{ServerName: was.server, Reason: why, ReasonInfo: text, Epoch: was.epoch}
	known := was.knownPrivate(0)
	r.IMPI = cx.IMPI(sub.privates[known].impi)
	for i := range sub.privates {
		if i != known {
			r.AssociatedIdentities = append(r.AssociatedIdentities, cx.IMPI(sub.privates[i].impi))
		}
	}
	sub.each(func(set int, id *identity) {
		if set < len(was.sets) && was.sets[set].state != notRegistered {
			r.IMPUs = append(r.IMPUs, cx.IMPU(id.impu))
		}
	})
	return r
}

// oweTermination makes the letter that ends what was; nil if nobody has the subscription.
func (h *HSS) oweTermination(id string, sub *subscription, was *assignment, text string, ops []store.Op) (*letter, []store.Op, error) {
	if was.server == "" {
		return nil, ops, nil
	}
	l, op, err := h.owe(letterTermination, id, terminationOf(sub, was, cx.PermanentTermination, text))
	return l, append(ops, op), err
}

// knownPrivate returns a private identity that the S-CSCF knows from a SAR: one that is registered, or the
// first (TS 29.228 6.2.2.1).
func (a *assignment) knownPrivate(set int) int {
	for _, s := range a.sets[min(set, len(a.sets)):] {
		for i := range maxCards {
			if s.by&(1<<i) != 0 {
				return i
			}
		}
	}
	return 0
}

// pushProfile sends the profile of every set that an S-CSCF has (PPR, TS 29.228 6.2.2, 6.6.1).
func (h *HSS) pushProfile(ctx context.Context, sub *subscription, was *assignment) error {
	return h.push(ctx, was.server, func(t *shard.Task, client cx.Client) error {
		u, _, err := h.byPrivate(t, cx.IMPI(sub.privates[0].impi))
		if err != nil {
			return err
		}
		for set := range min(len(was.sets), len(u.sets)) {
			if was.sets[set].state == notRegistered {
				continue
			}
			known := was.knownPrivate(set)
			c, err := h.profileOf(t, u, set, min(known, len(u.privates)-1))
			if err != nil {
				return err
			}
			_, err = client.PushProfile(t, &cx.PushProfileRequest{IMPI: c.IMPI, ServerName: was.server,
				Profile: c.UserProfile, ProfileVersion: c.version, Charging: c.group.Charging})
			switch cx.ResultOf(err) {
			case cx.ResultNotSupportedUserData, cx.ResultTooMuchData: // TS 29.228 6.2.2.1: find another S-CSCF
				return errors.Join(err, h.changeServer(t, u, client, was))
			}
			if errors.Is(err, cx.ErrUserUnknown) && was.sets[set].state == unregistered {
				continue // served and not kept: it asks anew for the next call, so there is nothing that could be old
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// changeServer takes a subscription from an S-CSCF that cannot serve it.
func (h *HSS) changeServer(t *shard.Task, u *user, client cx.Client, was *assignment) error {
	now, err := h.current(t, u)
	if err != nil {
		return err
	}
	l, op, err := h.owe(letterTermination, u.id, &cx.RegistrationTerminationRequest{ServerName: was.server, Reason: cx.ServerChange, Epoch: now.epoch,
		IMPI: cx.IMPI(u.privates[min(was.knownPrivate(0), len(u.privates)-1)].impi)})
	if err != nil {
		return err
	}
	if err := h.apply(t, u.id, h.clearAssignment(u.id, now), op); err != nil {
		return err
	}
	if _, err = client.RegistrationTermination(t, &l.request); err != nil {
		return err
	}
	return h.apply(t, "outbox", store.Op{Table: TableOutbox, Key: l.key})
}

// elsewhere are S-CSCFs of other nodes, to which this one has no way.
type elsewhere struct{ servers []string }

// Error says so.
func (e *elsewhere) Error() string { return errNoRoute.Error() }

// Is says that it is errNoRoute.
func (e *elsewhere) Is(target error) bool { return target == errNoRoute }

// tellAll tells the S-CSCFs and application servers of everybody who uses a changed profile or group, or of these one S-CSCF: then the others have been told.
func (h *HSS) tellAll(ctx context.Context, server string, affected func(*subscription) bool) error {
	if server == "" {
		if err := h.oweCriteria(affected); err != nil {
			return err
		}
	}
	return h.pushToAll(ctx, server, affected)
}

// pushToAll sends fresh profiles to the S-CSCFs of everybody who uses a changed profile or group, or to one of these. The first
// failure is returned after all have been tried, one that another try may mend before any other; *elsewhere where nothing failed but what other nodes must do.
func (h *HSS) pushToAll(ctx context.Context, server string, affected func(*subscription) bool) error {
	var first error
	var others elsewhere
	err := h.eachSubscription(ctx, func(rec store.Record, sub *subscription) error {
		if !affected(sub) {
			return nil
		}
		a, err := h.assignmentOf(string(rec.Key))
		if err != nil || server != "" && a.server != server {
			return err
		}
		switch err := h.pushProfile(ctx, sub, a); {
		case err == nil:
		case h.cfg.Shared && errors.Is(err, errNoRoute):
			if !slices.Contains(others.servers, a.server) {
				others.servers = append(others.servers, a.server)
			}
		case first == nil || refused(first):
			first = err
		}
		return nil
	})
	if err = errors.Join(err, first); err == nil && len(others.servers) > 0 {
		return &others
	}
	return err
}
