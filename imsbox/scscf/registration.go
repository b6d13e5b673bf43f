package scscf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// registration is one registered private identity: the implicit registration set and its bindings. It holds
// from the start what restoration will need (TS 23.380): Path, contacts, epoch of the assignment.
type registration struct {
	impi       string
	epoch      uint64 // of the assignment at the HSS: a late write of an S-CSCF that lost the user fails there
	version    uint64 // of the stored record
	reauthAt   time.Duration
	identities []identity
	contacts   []contact
	watchers   []subscription // of the registration event package
}

type identity struct {
	impu   string
	barred bool
}

// contact is one binding. until is on the monotonic clock: a jump of the wall clock expires nobody.
type contact struct {
	uri, params string // params with the leading ';', without expires
	callID      string
	cseq        uint32
	until       time.Duration
	path        []string // Path, first hop first
}

// contactIndex returns where the binding of uri is, -1 if nowhere (RFC 3261 10.3 compares as URIs).
func (r *registration) contactIndex(uri []byte) int {
	asked, err := sip.ParseURI(uri)
	if err != nil {
		return -1
	}
	for i := range r.contacts {
		have, err := sip.ParseURI([]byte(r.contacts[i].uri))
		if err == nil && have.Equal(&asked) {
			return i
		}
	}
	return -1
}

// remaining counts the bindings that will be there after the REGISTER r.
func (r *registration) remaining(asked *register) int {
	if asked.leaveAll {
		return 0
	}
	n := len(r.contacts)
	for _, w := range asked.contacts {
		known := r.contactIndex(w.uri) >= 0
		if known && w.expires == 0 {
			n--
		} else if !known && w.expires > 0 {
			n++
		}
	}
	return n
}

// current drops the watchers whose time is over, after the NOTIFY that says so.
func (r *registration) current(now time.Duration) {
	r.watchers = slices.DeleteFunc(r.watchers, func(w subscription) bool { return w.until <= now })
}

// alive drops the bindings whose time is over.
func (r *registration) alive(now time.Duration) bool {
	kept := r.contacts[:0]
	for _, c := range r.contacts {
		if c.until > now {
			kept = append(kept, c)
		}
	}
	r.contacts = kept
	return len(kept) > 0
}

// withoutExpires returns the Contact parameters to be echoed: all but expires.
func withoutExpires(params []byte) string {
	var kept []byte
	for p := range bytes.SplitSeq(params, []byte{';'}) {
		name, _, _ := bytes.Cut(p, []byte{'='})
		name = bytes.TrimSpace(name)
		if len(name) > 0 && !bytes.EqualFold(name, []byte("expires")) {
			kept = append(append(kept, ';'), bytes.TrimSpace(p)...)
		}
	}
	return string(kept)
}

// find returns the registration of impi if one of its bindings lives.
func (s *SCSCF) find(t *shard.Task, impi string) (registration, bool) {
	reg, found := s.lookup(t, impi)
	return reg, found && reg.alive(t.Now())
}

// lookup returns the record of impi, expired or not: from memory, or after a restart from the store.
func (s *SCSCF) lookup(t *shard.Task, impi string) (registration, bool) {
	var buf [1024]byte
	if octets, found := s.users.Get([]byte(impi), buf[:0]); found {
		reg, err := decodeRegistration(octets, 0)
		return reg, err == nil
	}
	record, found := s.read(t, TableRegistration, []byte(impi))
	if !found {
		return registration{}, false
	}
	reg, err := decodeRegistration(record.Value, monotonic(t))
	if err != nil {
		return registration{}, false
	}
	reg.version = record.Version
	for i := range reg.watchers {
		reg.watchers[i].version += reloadJump
		reg.watchers[i].cseq += reloadJump
	}
	s.remember(&reg)
	return reg, true
}

// findByIMPU returns the registration that the public identity impu belongs to.
func (s *SCSCF) findByIMPU(t *shard.Task, impu string) (registration, bool) {
	var buf [256]byte
	if impi, found := s.owners.Get([]byte(impu), buf[:0]); found {
		return s.find(t, string(impi))
	}
	record, found := s.read(t, TableIdentity, []byte(impu))
	if !found {
		return registration{}, false
	}
	return s.find(t, string(record.Value))
}

// read waits for a record of the store.
func (s *SCSCF) read(t *shard.Task, table store.Table, key []byte) (record store.Record, found bool) {
	t.Await(func(w shard.Waker) {
		s.ports.Store.GetAsync(table, key, func(r store.Record, err error) {
			record, found = r, err == nil
			w.Wake()
		})
	})
	return record, found
}

// recordOps returns the changes of the S-CSCF's own records. The registration comes last.
func (s *SCSCF) recordOps(t *shard.Task, a *assignment) []cx.Change {
	cond, version := cx.IfAbsent, uint64(0)
	if a.previous != 0 {
		cond, version = cx.IfVersion, a.previous
	}
	var value []byte
	var expires int64
	if len(a.contacts) > 0 {
		value = a.encode(nil, monotonic(t))
		expires = a.lastExpiry(t).UnixMilli()
	}
	ops := make([]cx.Change, 0, len(a.identities)+1)
	for _, id := range a.identities {
		op := cx.Change{Table: uint8(TableIdentity), Key: []byte(id.impu), Expires: expires}
		if value != nil {
			op.Value = []byte(a.impi)
		}
		ops = append(ops, op)
	}
	for _, id := range a.former {
		if !slices.Contains(a.identities, id) {
			ops = append(ops, cx.Change{Table: uint8(TableIdentity), Key: []byte(id.impu)})
		}
	}
	return append(ops, cx.Change{Table: uint8(TableRegistration), Key: []byte(a.impi), Value: value,
		Expires: expires, Cond: cond, Version: version})
}

func (r *registration) lastExpiry(t *shard.Task) time.Time {
	var last time.Duration
	for _, c := range r.contacts {
		last = max(last, c.until)
	}
	return t.Wall().Add(last - t.Now())
}

// publish lets readers see the committed registration, or its end.
func (s *SCSCF) publish(a *assignment) {
	if len(a.contacts) > 0 {
		s.remember(&a.registration)
		return
	}
	s.users.Delete([]byte(a.impi))
	for _, id := range a.identities {
		s.owners.Delete([]byte(id.impu))
	}
}

func (s *SCSCF) remember(r *registration) {
	// The tables have no limit; ErrTooLarge cannot come, since a REGISTER is smaller than a record may be.
	_ = s.users.Put([]byte(r.impi), r.encode(nil, 0))
	for _, id := range r.identities {
		_ = s.owners.Put([]byte(id.impu), []byte(r.impi))
	}
}

// monotonic is what must be added to a time on the monotonic clock to have unix time.
func monotonic(t *shard.Task) time.Duration {
	return time.Duration(t.Wall().UnixNano()) - t.Now()
}

// registrationFormat is the first octet of an encoded registration.
const registrationFormat = 1

var errRecord = errors.New("scscf: registration record is damaged")

// encode appends r in the form that memory and store share: times are moved by shift, which is 0 in memory and
// leads to unix time in the store.
func (r *registration) encode(b []byte, shift time.Duration) []byte {
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	b = append(b, registrationFormat)
	text(r.impi)
	number(r.epoch)
	number(r.version)
	number(uint64((r.reauthAt + shift) / time.Millisecond))
	number(uint64(len(r.identities)))
	for _, id := range r.identities {
		text(id.impu)
		if id.barred {
			number(1)
		} else {
			number(0)
		}
	}
	number(uint64(len(r.contacts)))
	for _, c := range r.contacts {
		text(c.uri)
		text(c.params)
		text(c.callID)
		number(uint64(c.cseq))
		number(uint64((c.until + shift) / time.Millisecond))
		number(uint64(len(c.path)))
		for _, p := range c.path {
			text(p)
		}
	}
	number(uint64(len(r.watchers)))
	for _, w := range r.watchers {
		for _, s := range [...]string{w.callID, w.localTag, w.remoteTag, w.local, w.remote, w.target} {
			text(s)
		}
		number(uint64((w.until + shift) / time.Millisecond))
		number(uint64(w.version))
		number(uint64(w.cseq))
		number(uint64(len(w.route)))
		for _, s := range w.route {
			text(s)
		}
	}
	return b
}

// decodeRegistration is the inverse of encode. It copies what it needs.
func decodeRegistration(octets []byte, shift time.Duration) (registration, error) {
	d := decoder{rest: string(octets)}
	if d.octet() != registrationFormat {
		return registration{}, errRecord
	}
	r := registration{impi: d.text(), epoch: d.number(), version: d.number(), reauthAt: d.time(shift)}
	for range d.count() {
		r.identities = append(r.identities, identity{impu: d.text(), barred: d.number() == 1})
	}
	for range d.count() {
		c := contact{uri: d.text(), params: d.text(), callID: d.text(), cseq: uint32(d.number()), until: d.time(shift)}
		for range d.count() {
			c.path = append(c.path, d.text())
		}
		r.contacts = append(r.contacts, c)
	}
	for range d.count() {
		w := subscription{callID: d.text(), localTag: d.text(), remoteTag: d.text(), local: d.text(), remote: d.text(), target: d.text(),
			until: d.time(shift), version: uint32(d.number()), cseq: uint32(d.number())}
		for range d.count() {
			w.route = append(w.route, d.text())
		}
		r.watchers = append(r.watchers, w)
	}
	if d.bad || d.rest != "" {
		return registration{}, errRecord
	}
	return r, nil
}

// decoder reads the fields of a record; after a mistake it yields zeros and bad stays set.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) octet() byte {
	if d.rest == "" {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) number() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		b := d.octet()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	d.bad = true
	return 0
}

// count reads the length of a list, which cannot be longer than what is left.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.count()
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) time(shift time.Duration) time.Duration {
	return time.Duration(d.number())*time.Millisecond - shift
}
