package hss

import (
	"context"
	"errors"
	"slices"

	"imsafe/proto/shard"
	"imsafe/store"
)

// Subscribers agree to services one by one, where a manifest asks for that (users.consent): without it the service gets neither their
// sessions nor their data.

// maxConsents bounds the services that a subscriber has agreed to.
const maxConsents = 64

// consents are the services that a subscription has agreed to.
type consents struct {
	services []string // sorted
	version  uint64   // of the record, 0 if there is none; not in its value
}

const consentVersion = 1

func (c *consents) encode() []byte {
	e := encoder{}
	e.byte(consentVersion)
	e.strings(c.services)
	return e.b
}

func decodeConsents(rec store.Record) (*consents, error) {
	if rec.Version == 0 {
		return &consents{}, nil
	}
	d := decoder{b: rec.Value}
	if d.byte() != consentVersion {
		return nil, errRecord
	}
	c := &consents{services: d.strings(), version: rec.Version}
	return c, d.done()
}

// to reports whether the subscription has agreed to a service.
func (c *consents) to(service string) bool { return slices.Contains(c.services, service) }

// op is the change by which the record becomes what it is now; without a service it goes.
func (c *consents) op(id string) store.Op {
	op := store.Op{Table: TableConsent, Key: []byte(id), Cond: store.IfAbsent}
	if c.version != 0 {
		op.Cond, op.Version = store.IfVersion, c.version
	}
	if len(c.services) > 0 {
		op.Value = c.encode()
	}
	return op
}

// consentsOf returns what a user has agreed to; never nil without an error.
func (h *HSS) consentsOf(t *shard.Task, u *user) (*consents, error) {
	rec, err := h.getOr(t, TableConsent, u.key)
	if err != nil {
		return nil, err
	}
	return decodeConsents(rec)
}

// readConsents is consentsOf for those who provision. It waits for the disk.
func (h *HSS) readConsents(id string) (*consents, error) {
	rec, err := h.ports.Store.Get(TableConsent, []byte(id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return decodeConsents(rec)
}

// Consents returns the services that a subscriber, named by a private or public identity, has agreed to. It returns ErrUnknown.
func (h *HSS) Consents(name string) ([]string, error) {
	id, _, _, err := h.load(name)
	if err != nil {
		return nil, err
	}
	c, err := h.readConsents(id)
	if err != nil {
		return nil, err
	}
	return c.services, nil
}

// Consent takes down that a subscriber agrees to a service, or does not any more. Whoever is registered gets a new profile at once (PPR); on Sh
// it counts from the next request and notification on. It returns Mistakes, ErrUnknown, *PushError or an error of the store.
func (h *HSS) Consent(ctx context.Context, name, service string, agrees bool) error {
	v := &review{subject: name}
	if m := checkName(service); m != "" {
		v.add("service", "%s", m)
		return v.found
	}
	return h.again(ctx, func() error { return h.consent(ctx, v, name, service, agrees) })
}

func (h *HSS) consent(ctx context.Context, v *review, name, service string, agrees bool) error {
	id, sub, version, err := h.load(name)
	if err != nil {
		return err
	}
	c, err := h.readConsents(id)
	if err != nil || c.to(service) == agrees {
		return err
	}
	if !agrees {
		c.services = slices.DeleteFunc(c.services, func(s string) bool { return s == service })
	} else if c.services = append(c.services, service); len(c.services) > maxConsents {
		v.found = nil // of another attempt
		v.add("service", "%d services are agreed to; no more are taken down", maxConsents)
		return v.found
	}
	slices.Sort(c.services)
	before, err := h.assignmentOf(id)
	if err != nil {
		return err
	}
	// The subscription is touched: who removes it in this moment conflicts, and the next one of that name inherits nothing.
	ops := []store.Op{{Table: TableSubscription, Key: []byte(id), Value: sub.encode(), Cond: store.IfVersion, Version: version}, c.op(id)}
	var owed *letter
	if before.server != "" {
		var op store.Op
		if owed, op, err = h.owe(letterSubscriber, id, nil); err != nil {
			return err
		}
		ops = append(ops, op)
	}
	if err := h.ports.Store.Apply(id, ops...); err != nil {
		return err
	}
	return h.settle(ctx, owed)
}
