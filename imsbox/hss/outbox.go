package hss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// The outbox. What a change owes an S-CSCF (RTR, PPR) is written down in the commit of the change itself, as a letter, and taken out when
// the S-CSCF has answered. A process that dies between the two, or an S-CSCF that is not there, costs time and no word: what is owed
// goes out again until it is heard, at least once. Who hears it twice does nothing the second time.
//
// Where nodes share the store each has an S-CSCF of its own, and no way to those of the others: a letter to one of them is for its node to deliver. One about a
// group or a profile is to many: whoever has told those it can reach leaves, in the place of the letter, one for each S-CSCF that it cannot.

// letterLife is how long a letter is kept. Later there is nobody left to be told: an S-CSCF keeps no registration for so long.
const letterLife = 24 * time.Hour

// The kinds of letters. Their numbers are in records for ever.
const (
	letterTermination = 1 // RTR, as it was decided
	letterSubscriber  = 2 // PPR of a subscription, as it is by then
	letterProfile     = 3 // PPR of all who use a service profile
	letterGroup       = 4 // PPR of all members of a group, or of everybody
	letterNews        = 5 // PNR: what is subscribed to has changed; what it is by then is told
	letterLast        = 6 // PNR of what is gone, and the subscription with it
)

// letter is one thing owed.
type letter struct {
	key     []byte
	kind    byte
	written int64  // unix seconds
	name    string // subscription id, or name of the profile or group
	server  string // of one about a profile or group: the S-CSCF that is still to be told; "" is all
	request cx.RegistrationTerminationRequest

	watch   *watch // of PNR
	version uint64 // of its record when it was looked at
	group   string // with letterLast: the group of the user, who may be gone
	data    []byte // with letterLast: Sh-Data
}

// The versions of the record: the second is of a letter to one S-CSCF, about a profile or group.
const (
	letterVersion = 1
	letterToOne   = 2
)

// op is the change that writes a letter down. One to an application server replaces an earlier one for the same subscription, which is
// told by it.
func (l *letter) op() store.Op {
	op := store.Op{Table: TableOutbox, Key: l.key, Value: l.encode(), Cond: store.IfAbsent}
	if l.watch != nil {
		op.Cond = store.Always
	}
	return op
}

func (l *letter) encode() []byte {
	e := encoder{}
	if l.server == "" {
		e.byte(letterVersion)
	} else {
		e.byte(letterToOne)
	}
	e.byte(l.kind)
	e.uint(uint64(l.written))
	e.string(l.name)
	if l.server != "" {
		e.string(l.server)
	}
	if l.watch != nil {
		l.watch.append(&e)
		e.string(l.group)
		e.bytes(l.data)
	}
	if l.kind != letterTermination {
		return e.b
	}
	r := &l.request
	e.string(string(r.IMPI))
	e.string(r.ServerName)
	e.byte(byte(r.Reason))
	e.string(r.ReasonInfo)
	e.uint(r.Epoch)
	e.uint(uint64(len(r.AssociatedIdentities)))
	for _, impi := range r.AssociatedIdentities {
		e.string(string(impi))
	}
	e.uint(uint64(len(r.IMPUs)))
	for _, impu := range r.IMPUs {
		e.string(string(impu))
	}
	return e.b
}

func decodeLetter(key, b []byte) (*letter, error) {
	d := decoder{b: b}
	version := d.byte()
	if version != letterVersion && version != letterToOne {
		return nil, errRecord
	}
	l := &letter{key: key, kind: d.byte(), written: int64(d.uintMax(1 << 40)), name: d.string()}
	if version == letterToOne {
		if l.server = d.string(); l.server == "" || l.kind != letterProfile && l.kind != letterGroup {
			d.fail()
		}
	}
	if l.kind < letterTermination || l.kind > letterLast {
		d.fail()
	}
	if l.kind >= letterNews {
		l.watch, l.group, l.data = d.watch(), d.string(), d.bytes()
	}
	if l.kind == letterTermination {
		r := &l.request
		r.IMPI, r.ServerName = cx.IMPI(d.string()), d.string()
		r.Reason, r.ReasonInfo, r.Epoch = cx.DeregistrationReason(d.byte()), d.string(), d.uint()
		for range d.count() {
			r.AssociatedIdentities = append(r.AssociatedIdentities, cx.IMPI(d.string()))
		}
		for range d.count() {
			r.IMPUs = append(r.IMPUs, cx.IMPU(d.string()))
		}
	}
	return l, d.done()
}

// outbox is what is known of letters in memory. Safe for concurrent use.
type outbox struct {
	mu    sync.Mutex
	busy  map[string]bool // letters that somebody is delivering
	again map[string]bool // those of them that were written anew meanwhile, to application servers
	to    map[string]int  // how many are on their way to an application server
}

// begin reports whether the letter is the caller's to deliver.
func (o *outbox) begin(key []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy[string(key)] {
		return false
	}
	if o.busy == nil {
		o.busy = map[string]bool{}
	}
	o.busy[string(key)] = true
	return true
}

func (o *outbox) end(key []byte) {
	o.mu.Lock()
	delete(o.busy, string(key))
	o.mu.Unlock()
}

// owe makes a letter and the change that writes it down. Its writer delivers it: it counts as being delivered until then.
func (h *HSS) owe(kind byte, name string, r *cx.RegistrationTerminationRequest) (*letter, store.Op, error) {
	l := &letter{kind: kind, written: unixSeconds(h.ports.Clock.Wall()), name: name, key: make([]byte, 16)}
	if r != nil {
		l.request = *r
	}
	if _, err := io.ReadFull(h.ports.Random, l.key); err != nil {
		return nil, store.Op{}, fmt.Errorf("hss: outbox: %w", err)
	}
	return l, l.op(), nil
}

// settle delivers a letter and takes it out of the outbox. nil owes nothing. With *PushError it stays, and Deliver tries again, unless the
// S-CSCF itself has refused. Without a node nobody is told for now. What is another node's to deliver stays without an error.
func (h *HSS) settle(ctx context.Context, l *letter) error {
	_, err := h.settled(ctx, l)
	return err
}

// settled is settle, and reports whether the letter has gone.
func (h *HSS) settled(ctx context.Context, l *letter) (gone bool, err error) {
	if l == nil || h.ports.Push == nil || !h.outbox.begin(l.key) {
		return false, nil
	}
	defer h.outbox.end(l.key)
	err = h.deliver(ctx, l)
	var push *PushError
	if h.cfg.Shared && errors.Is(err, errNoRoute) {
		return false, h.divide(l, err)
	}
	if err != nil && (!errors.As(err, &push) || !refused(push.Err)) {
		return false, err
	}
	return true, errors.Join(err, h.ports.Store.Apply("outbox", store.Op{Table: TableOutbox, Key: l.key}))
}

// divide leaves, in the place of a letter to many, one for each S-CSCF of another node that is still to be told. Two nodes may do so at once: what the second has
// told it has told, and the letter of the first brings the rest.
func (h *HSS) divide(l *letter, why error) error {
	var others *elsewhere
	if !errors.As(why, &others) || l.server != "" {
		return nil // it is to one
	}
	rec, err := h.ports.Store.Get(TableOutbox, l.key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ops := []store.Op{{Table: TableOutbox, Key: l.key, Cond: store.IfVersion, Version: rec.Version}}
	for _, server := range others.servers {
		one, _, err := h.owe(l.kind, l.name, nil)
		if err != nil {
			return err
		}
		one.written, one.server = l.written, server
		ops = append(ops, one.op())
	}
	if err := h.ports.Store.Apply("outbox", ops...); !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}

// refused reports whether an S-CSCF has heard what it was told and does not want it: to say it again would change nothing.
func refused(err error) bool {
	var answer *cx.ResultError
	return errors.As(err, &answer) && answer.Result.Experimental()
}

// deliver tells whoever a letter is for.
func (h *HSS) deliver(ctx context.Context, l *letter) error {
	switch l.kind {
	case letterTermination:
		return h.push(ctx, l.request.ServerName, func(t *shard.Task, client cx.Client) error {
			if over, err := h.superseded(t, l); over || err != nil {
				return err
			}
			_, err := client.RegistrationTermination(t, &l.request)
			return err
		})
	case letterSubscriber:
		id, sub, _, err := h.load(l.name)
		if errors.Is(err, ErrUnknown) {
			return nil // removed since: another letter says so
		}
		if err != nil {
			return err
		}
		a, err := h.assignmentOf(id)
		if err != nil {
			return err
		}
		return h.pushProfile(ctx, sub, a)
	case letterProfile:
		groups, err := h.groupsWith(ctx, l.name)
		if err != nil {
			return err
		}
		return h.tellAll(ctx, l.server, func(sub *subscription) bool { return sub.uses(l.name, groups) })
	default:
		return h.tellAll(ctx, l.server, func(sub *subscription) bool {
			return sub.groupName() == l.name || l.name == everybody && sub.service == nil
		})
	}
}

// superseded reports whether the subscription has been assigned anew since: its registration is then another one, which has taken the place
// of the one that the letter ends.
func (h *HSS) superseded(t *shard.Task, l *letter) (bool, error) {
	rec, err := h.get(t, TableAssignment, []byte(l.name))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a, err := decodeAssignment(rec.Value)
	return err == nil && a.epoch > l.request.Epoch, err
}

// Deliver sends what is still owed to S-CSCFs, after a restart or because one could not be reached, and returns how much is left that no other node can deliver. It is
// called at intervals, waits for the disk, and returns the first error that is none of an S-CSCF.
func (h *HSS) Deliver(ctx context.Context) (left int, err error) {
	if h.ports.Push == nil && h.ports.Notify == nil {
		return 0, nil
	}
	h.expireWatches()
	for cursor := []byte(nil); ; {
		page, next, err := h.ports.Store.Scan(TableOutbox, nil, cursor, 256)
		if err != nil {
			return left, err
		}
		for _, rec := range page {
			stays, err := h.deliverLate(ctx, rec)
			if err != nil {
				return left, err
			}
			if stays {
				left++
			}
		}
		if next == nil {
			return left, nil
		}
		cursor = next
	}
}

// deliverLate delivers a letter that its writer did not, and reports whether it stays.
func (h *HSS) deliverLate(ctx context.Context, rec store.Record) (stays bool, err error) {
	if err := ctx.Err(); err != nil {
		return true, err
	}
	l, err := decodeLetter(rec.Key, rec.Value)
	if err != nil {
		return true, fmt.Errorf("hss: outbox: %w", err)
	}
	if l.watch != nil {
		h.kick([]*letter{l})
		return true, nil
	}
	if unixSeconds(h.ports.Clock.Wall())-l.written > int64(letterLife/time.Second) {
		return false, h.ports.Store.Apply("outbox", store.Op{Table: TableOutbox, Key: l.key})
	}
	var push *PushError
	if h.cfg.Shared && l.server != "" && h.ports.Push != nil && h.ports.Push(l.server) == nil {
		return false, nil // another node's: nobody is looked for here
	}
	gone, err := h.settled(ctx, l)
	if errors.As(err, &push) {
		return !refused(push.Err), nil
	}
	if gone && err == nil {
		h.counts.late.Add(1)
	}
	return err != nil, err
}
