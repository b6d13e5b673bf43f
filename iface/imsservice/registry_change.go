package imsservice

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"imsafe/refpoint/isc"
	"imsafe/store"
)

// The errors of the register.
var (
	ErrUnknownService = errors.New("imsservice: there is no such service")
	ErrToken          = errors.New("imsservice: the token is wrong, used or over")
	ErrTaken          = errors.New("imsservice: the name or the host belongs to another")
	ErrDomain         = errors.New("imsservice: the manifest is for another network")
	ErrRevokedKey     = errors.New("imsservice: the key was revoked; make a new one")
	ErrNoApprover     = errors.New("imsservice: no approval key is configured")
	ErrNotApproved    = errors.New("imsservice: nothing is approved")
	ErrStanding       = errors.New("imsservice: the certificate is nobody's now")
	ErrState          = errors.New("imsservice: the service is not in a state for that")
	ErrSerial         = errors.New("imsservice: the serial of the approval is not the next one: another was made meanwhile, or this one is old")
	ErrKey            = errors.New("imsservice: the approval is about another key than the one that waits or is in use")
	ErrFull           = errors.New("imsservice: there are too many services or invitations")
)

// maxServices and maxInvites bound the register. maxInvite is the longest life of an invitation.
const (
	maxServices = 1000
	maxInvites  = 1000
	maxInvite   = 7 * 24 * time.Hour
)

// Invite makes a one-use token with which one platform may send one request, of 128 bits. life is at most a week. It is not kept: the
// store has its hash.
func (r *Registry) Invite(life time.Duration) (string, error) {
	if life <= 0 || life > maxInvite {
		return "", fmt.Errorf("imsservice: an invitation holds between a moment and %s", maxInvite)
	}
	var b [16]byte
	if _, err := io.ReadFull(r.ports.Random, b[:]); err != nil {
		return "", fmt.Errorf("imsservice: randomness: %w", err)
	}
	token := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.forgetInvites(); err != nil {
		return "", err
	}
	hash := tokenKey(token)
	return token, r.ports.Store.Apply("isc", store.Op{Table: TableInvite, Key: hash[:], Value: r.inviteValue(), Cond: store.IfAbsent,
		Expires: r.ports.Clock.Wall().Add(life).UnixMilli()})
}

// inviteValue ties an invitation to the life of the store: one that comes back with a backup is void.
func (r *Registry) inviteValue() []byte { return fmt.Appendf(nil, "epoch %d", r.cfg.RestoreEpoch) }

// forgetInvites removes those that are over, and refuses more than there may be.
func (r *Registry) forgetInvites() error {
	now, count := r.ports.Clock.Wall().UnixMilli(), 0
	var ops []store.Op
	err := r.each(TableInvite, func(rec store.Record) error {
		if rec.Expires <= now {
			ops = append(ops, store.Op{Table: TableInvite, Key: rec.Key})
		} else {
			count++
		}
		return nil
	})
	if err == nil && len(ops) > 0 {
		err = r.ports.Store.Apply("isc", ops...)
	}
	if err == nil && count >= maxInvites {
		err = ErrFull
	}
	return err
}

// spend returns the change that uses an invitation up: ErrToken if it does not hold. Two that use it at once have the same condition, and
// one of them fails.
func (r *Registry) spend(token string) (store.Op, error) {
	hash := tokenKey(token)
	rec, err := r.ports.Store.Get(TableInvite, hash[:])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Op{}, ErrToken
	case err != nil:
		return store.Op{}, fmt.Errorf("imsservice: %w", err)
	case rec.Expires <= r.ports.Clock.Wall().UnixMilli() || string(rec.Value) != string(r.inviteValue()):
		return store.Op{}, ErrToken
	}
	return store.Op{Table: TableInvite, Key: hash[:], Cond: store.IfVersion, Version: rec.Version}, nil
}

// change makes a new state of the service of a deed, commits it with further changes and publishes it; then it tells the watchers. r.mu is held.
func (r *Registry) change(deed Deed, next *record, revoked []string, ops ...store.Op) error {
	old, name := r.state.Load(), deed.Service
	was := old.services[name]
	value, err := next.encode()
	if err != nil {
		return err
	}
	op := store.Op{Table: TableService, Key: []byte(name), Value: value, Cond: store.IfAbsent}
	if was != nil {
		op.Cond, op.Version = store.IfVersion, was.version
	}
	all := append([]store.Op{op}, ops...)
	for _, k := range revoked {
		all = append(all, store.Op{Table: TableRevoked, Key: []byte(k), Value: []byte(name)})
	}
	if err := r.record(deed); err != nil {
		return err
	}
	if err := r.ports.Store.Apply("isc", all...); err != nil {
		deed.What = DeedUndone
		return errors.Join(fmt.Errorf("imsservice: %w", err), r.record(deed))
	}
	state := &registered{services: maps.Clone(old.services), revoked: old.revoked}
	if len(revoked) > 0 {
		state.revoked = maps.Clone(old.revoked)
		for _, k := range revoked {
			state.revoked[k] = true
		}
	}
	e := r.entry(name, next, all[0].Version)
	state.services[name] = e
	r.publish(state)
	r.tell(hostsOf(was, e)...)
	return nil
}

// hostsOf returns the hosts of a service before and after a change.
func hostsOf(entries ...*entry) (hosts []string) {
	for _, e := range entries {
		if e != nil && e.service != nil && !slices.Contains(hosts, e.service.Manifest.Host()) {
			hosts = append(hosts, e.service.Manifest.Host())
		}
	}
	return hosts
}

// find returns a service and a copy of its record to change. r.mu is held.
func (r *Registry) find(name string) (*entry, *record, error) {
	e := r.state.Load().services[name]
	if e == nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknownService, name)
	}
	next := *e.record
	next.Keys = slices.Clone(e.Keys)
	return e, &next, nil
}

// Approve takes an operator's decision about the request that waits, or about the manifest in use if none waits. The signature, the exact
// octets of the manifest, the key, the scopes and the serial are checked. ErrUnknownService, ErrNoApprover, isc.ErrApprovalSignature,
// isc.ErrApprovalManifest, isc.ErrApprovalScopes, ErrKey, ErrSerial, ErrTaken.
func (r *Registry) Approve(approval *isc.Approval) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, next, err := r.find(approval.Service)
	switch {
	case err != nil:
		return err
	case len(r.cfg.Approvers) == 0:
		return ErrNoApprover
	}
	text, approved, instance := e.Manifest, e.Approved, ""
	if e.Pending != nil {
		text, approved, instance = e.Pending.Manifest, e.Pending.Key, e.Pending.Instance
	}
	if e.State == StateRevoked && e.Pending == nil {
		return ErrState
	}
	manifest, err := r.parse(text)
	if err != nil {
		return err
	}
	switch err := errors.Join(r.signed(approval), approval.Covers(text, manifest)); {
	case err != nil:
		return err
	case string(approval.Key[:]) != string(approved):
		return ErrKey
	case approval.Serial != e.Serial+1:
		return ErrSerial
	case r.state.Load().revoked[revokedKey(approval.Key)]:
		return ErrRevokedKey
	}
	if err := r.free(manifest); err != nil {
		return err
	}
	return r.admitted(e, next, approval, text, instance)
}

// admitted makes the service active under its new approval.
func (r *Registry) admitted(e *entry, next *record, approval *isc.Approval, text []byte, instance string) error {
	if next.Set == 0 {
		next.Set = FirstSet
		for _, e := range r.state.Load().services { // none is forgotten, so no number is given twice
			next.Set = max(next.Set, e.Set+1)
		}
	}
	if e.State == StateRevoked {
		next.Keys = nil
	}
	if e.Pending != nil {
		next.admit(key{Instance: instance, Key: approval.Key[:], Since: r.ports.Clock.Wall().UTC()})
	}
	next.State, next.Pending, next.Epoch = StateActive, nil, r.cfg.RestoreEpoch
	next.Manifest, next.Approval, next.Approved, next.Serial = text, approval.Marshal(), approval.Key[:], approval.Serial
	return r.change(Deed{DeedApproved, approval.Service, approval.Approver, fmt.Sprintf("manifest %x serial %d", approval.Manifest, approval.Serial)}, next, nil)
}

// FirstSet is where the numbers of our shared sets begin; those below are for sets that an operator writes.
const FirstSet = 1000

// free says whether a manifest's host and identities belong to nobody else: ErrTaken.
func (r *Registry) free(m *isc.Manifest) error {
	if slices.Contains(r.cfg.Reserved, m.Host()) {
		return fmt.Errorf("%w: %s is a host of the core", ErrTaken, m.Host())
	}
	for name, e := range r.state.Load().services {
		if e.service == nil || e.State == StateRevoked {
			continue
		}
		other := e.service.Manifest
		if name == m.Service {
			if other.Provider != m.Provider {
				return fmt.Errorf("%w: %s is of provider %s", ErrTaken, name, other.Provider)
			}
			continue
		}
		if other.Host() == m.Host() {
			return fmt.Errorf("%w: %s is the host of %s", ErrTaken, m.Host(), name)
		}
		for _, psi := range m.PSI {
			if slices.Contains(other.PSI, psi) {
				return fmt.Errorf("%w: %s is of %s", ErrTaken, psi, name)
			}
		}
	}
	return nil
}

// Suspend ends what a service may do until it is resumed. Suspending one that is suspended is no error. ErrUnknownService, ErrState.
func (r *Registry) Suspend(name string) error {
	return r.set(name, StateSuspended, func(e *entry) bool { return e.State == StateActive || e.State == StateSuspended })
}

// Resume lets a service go on that was suspended, or that is held because a backup was restored. ErrUnknownService, ErrState.
func (r *Registry) Resume(name string) error {
	return r.set(name, StateActive, func(e *entry) bool {
		return e.service != nil && (e.State == StateSuspended || e.State == StateActive)
	})
}

func (r *Registry) set(name string, state State, may func(*entry) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, next, err := r.find(name)
	switch {
	case err != nil:
		return err
	case !may(e):
		return fmt.Errorf("%w: it is %s", ErrState, e.State)
	}
	next.State, next.Epoch = state, r.cfg.RestoreEpoch
	what := DeedResumed
	if state == StateSuspended {
		what = DeedSuspended
	}
	return r.change(Deed{what, name, ByOperator, ""}, next, nil)
}

// Revoke ends a service for good: none of its keys is accepted again, for this or any other service. ErrUnknownService.
func (r *Registry) Revoke(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, next, err := r.find(name)
	if err != nil {
		return err
	}
	var revoked []string
	for _, k := range next.Keys {
		revoked = append(revoked, "key "+string(k.Key))
	}
	if next.Pending != nil {
		revoked = append(revoked, "key "+string(next.Pending.Key))
	}
	next.State, next.Pending, next.Epoch = StateRevoked, nil, r.cfg.RestoreEpoch
	return r.change(Deed{DeedRevoked, name, ByOperator, ""}, next, revoked)
}

// RevokeCertificate ends one certificate of a service by its serial number in hexadecimal, and the key of an instance if one is named, so
// that it is not renewed. ErrUnknownService.
func (r *Registry) RevokeCertificate(name, serial, instance string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, next, err := r.find(name)
	if err != nil {
		return err
	}
	revoked := []string{}
	if serial != "" {
		revoked = append(revoked, revokedSerial(strings.ToLower(serial)))
	}
	next.Keys = slices.DeleteFunc(next.Keys, func(k key) bool {
		if k.Instance == instance {
			revoked = append(revoked, "key "+string(k.Key))
		}
		return k.Instance == instance
	})
	return r.change(Deed{DeedRevoked, name, ByOperator, strings.TrimSpace("certificate " + serial + " " + instance)}, next, revoked)
}
