package hss

import (
	"slices"

	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/store"
)

// The records of Sh. What belongs to an identity goes with it: shIndex names all of it, so that a removal finds it, and whoever adds to an
// identity changes its index, so that an addition and a removal in the same moment conflict.

// repositoryData is a set of transparent data (TS 29.328 7.4), by identity and service indication.
type repositoryData struct {
	sequence uint16
	data     []byte
}

const repositoryVersion = 1

func (r *repositoryData) encode() []byte {
	e := encoder{b: make([]byte, 0, len(r.data)+8)}
	e.byte(repositoryVersion)
	e.uint(uint64(r.sequence))
	e.bytes(r.data)
	return e.b
}

func decodeRepository(b []byte) (*repositoryData, error) {
	d := decoder{b: b}
	if d.byte() != repositoryVersion {
		return nil, errRecord
	}
	r := &repositoryData{sequence: uint16(d.uintMax(1<<16 - 1)), data: d.bytes()}
	return r, d.done()
}

// joinKey makes a key of parts, none of which holds a zero octet.
func joinKey(parts ...string) []byte {
	n := len(parts)
	for _, p := range parts {
		n += len(p)
	}
	key := make([]byte, 0, n)
	for i, p := range parts {
		if i > 0 {
			key = append(key, 0)
		}
		key = append(key, p...)
	}
	return key
}

func repositoryKey(impu, indication string) []byte { return joinKey(impu, indication) }

// shIndex is what an identity has on Sh.
type shIndex struct {
	indications []string // service indications of its transparent data
	watches     []string // keys of subscriptions to its data
	version     uint64   // of the record, 0 if there is none; not in its value
}

const shIndexVersion = 1

func (x *shIndex) encode() []byte {
	e := encoder{}
	e.byte(shIndexVersion)
	e.strings(x.indications)
	e.strings(x.watches)
	return e.b
}

func decodeShIndex(rec store.Record) (*shIndex, error) {
	if rec.Version == 0 {
		return &shIndex{}, nil
	}
	d := decoder{b: rec.Value}
	if d.byte() != shIndexVersion {
		return nil, errRecord
	}
	x := &shIndex{indications: d.strings(), watches: d.strings(), version: rec.Version}
	return x, d.done()
}

// forget takes a subscription out.
func (x *shIndex) forget(w *watch) {
	name := string(w.name())
	x.watches = slices.DeleteFunc(x.watches, func(s string) bool { return s == name })
}

// activation is what application servers have switched off: of a subscription, by identity.
type activation struct {
	inactive []string // public service identities that are INACTIVE (TS 29.328 7.6.10)
	masked   []masked // DSAIs that are INACTIVE (TS 29.328 7.6.11)
	version  uint64   // of the record, 0 if there is none; not in its value
}

// masked is a DSAI by its identity and tag.
type masked struct{ impu, tag string }

const activationVersion = 1

func (a *activation) encode() []byte {
	e := encoder{}
	e.byte(activationVersion)
	e.strings(a.inactive)
	e.uint(uint64(len(a.masked)))
	for _, m := range a.masked {
		e.string(m.impu)
		e.string(m.tag)
	}
	return e.b
}

func decodeActivation(rec store.Record) (*activation, error) {
	if rec.Version == 0 {
		return &activation{}, nil
	}
	d := decoder{b: rec.Value}
	if d.byte() != activationVersion {
		return nil, errRecord
	}
	a := &activation{inactive: d.strings(), version: rec.Version}
	for range d.count() {
		a.masked = append(a.masked, masked{d.string(), d.string()})
	}
	return a, d.done()
}

// active says whether a DSAI is on.
func (a *activation) active(impu, tag string) bool {
	return !slices.Contains(a.masked, masked{impu, tag})
}

// masks says whether a criterion is masked for an identity: it has DSAIs, and all of them are off (TS 29.328 7.6.11).
func (a *activation) masks(c *cx.InitialFilterCriteria, impu string) bool {
	if len(c.DSAI) == 0 {
		return false
	}
	return !slices.ContainsFunc(c.DSAI, func(tag string) bool { return a.active(impu, tag) })
}

// with returns a copy in which one thing is on or off.
func (a *activation) with(change func(*activation)) *activation {
	b := &activation{inactive: slices.Clone(a.inactive), masked: slices.Clone(a.masked), version: a.version}
	change(b)
	return b
}

// without returns a copy that knows nothing of identities that are gone.
func (a *activation) without(gone []string) *activation {
	return a.with(func(b *activation) {
		b.inactive = slices.DeleteFunc(b.inactive, func(s string) bool { return slices.Contains(gone, s) })
		b.masked = slices.DeleteFunc(b.masked, func(m masked) bool { return slices.Contains(gone, m.impu) })
	})
}

// op is the change by which an activation becomes what it is now.
func (a *activation) op(id string) store.Op {
	op := store.Op{Table: TableActivation, Key: []byte(id), Value: a.encode(), Cond: store.IfAbsent}
	if a.version != 0 {
		op.Cond, op.Version = store.IfVersion, a.version
	}
	return op
}

// watch is a subscription to notifications (TS 29.328 6.1.3): who wants to know of which data of whom.
type watch struct {
	as      sh.AS
	owner   string // id of the IMS subscription
	impu    string // the identity, as it is stored
	asked   sh.UserIdentity
	key     sh.Key
	expires int64 // unix seconds, 0 never
	oneTime bool
}

// name is its key in the store: one application server has one for each access key.
func (w *watch) name() []byte {
	selector := ""
	switch w.key.Reference {
	case sh.RefRepositoryData:
		selector = w.key.ServiceIndication
	case sh.RefInitialFilterCriteria:
		selector = w.key.ServerName
	case sh.RefDSAI:
		selector = w.key.DSAITag
	case sh.RefIMSPublicIdentity:
		selector = string(rune('0' + w.key.IdentitySet))
	}
	return joinKey(w.impu, w.as.Service, w.as.Host, w.key.Reference.String(), selector)
}

const watchVersion = 1

func (w *watch) append(e *encoder) {
	e.byte(watchVersion)
	e.strings([]string{w.as.Service, w.as.Host, w.owner, w.impu, string(w.asked.Public), w.asked.MSISDN, w.key.ServiceIndication,
		w.key.ServerName, w.key.DSAITag})
	e.byte(byte(w.key.Reference))
	e.byte(byte(w.key.IdentitySet))
	e.uint(uint64(w.expires))
	e.bool(w.oneTime)
}

func (d *decoder) watch() *watch {
	if d.byte() != watchVersion {
		d.fail()
	}
	f := d.strings()
	if len(f) != 9 {
		d.fail()
		return &watch{}
	}
	w := &watch{as: sh.AS{Service: f[0], Host: f[1]}, owner: f[2], impu: f[3], asked: sh.UserIdentity{Public: sh.IMPU(f[4]), MSISDN: f[5]},
		key: sh.Key{ServiceIndication: f[6], ServerName: f[7], DSAITag: f[8]}}
	w.key.Reference = sh.DataReference(d.byte())
	w.key.IdentitySet = sh.IdentitySet(d.uintMax(uint64(sh.AliasIdentities)))
	w.expires, w.oneTime = int64(d.uintMax(1<<40)), d.bool()
	return w
}

func (w *watch) encode() []byte {
	e := encoder{}
	w.append(&e)
	return e.b
}

func decodeWatch(b []byte) (*watch, error) {
	d := decoder{b: b}
	w := d.watch()
	return w, d.done()
}
