package scscf

import (
	"encoding/binary"
	"errors"
	"time"
)

// The first octet of an encoded registration. The private identity is its key, and stands in records of the earlier format alone.
const (
	registrationFormat = 6
	namedFormat        = 5
)

var errRecord = errors.New("scscf: registration record is damaged")

// encodedRoom is what the record of a user with one device takes, and a little more: encoded there, it is not moved while it grows.
const encodedRoom = 1024

// encode appends r in the form that memory and store share: times are moved by shift, which is 0 in memory and
// leads to unix time in the store.
func (r *registration) encode(b []byte, shift time.Duration) []byte {
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	b = append(b, registrationFormat)
	text(r.partition)
	number(uint64(len(r.siblings)))
	for _, impi := range r.siblings {
		text(impi)
	}
	number(r.epoch)
	number(r.version)
	number(uint64((r.reauthAt + shift) / time.Millisecond))
	number(uint64(len(r.identities)))
	for _, id := range r.identities {
		text(id.impu)
		number(uint64(id.set)<<2 | flag(id.wildcard)<<1 | flag(id.barred))
		text(string(id.profile))
	}
	number(uint64(len(r.contacts)))
	for _, c := range r.contacts {
		text(c.uri)
		text(c.params)
		text(c.callID)
		number(uint64(c.cseq))
		text(c.instance)
		number(uint64(c.regID)<<1 | flag(c.failed))
		number(uint64(c.set)<<1 | flag(c.gruu))
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

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

// decodeRegistration is the inverse of encode, for the private identity impi. It copies what it needs.
func decodeRegistration(impi string, octets []byte, shift time.Duration) (registration, error) {
	d := decoder{rest: string(octets)}
	switch d.octet() {
	case registrationFormat:
	case namedFormat:
		_ = d.text() // impi
	default:
		return registration{}, errRecord
	}
	r := registration{impi: impi, partition: d.text()}
	for range d.count() {
		r.siblings = append(r.siblings, d.text())
	}
	r.epoch, r.version, r.reauthAt = d.number(), d.number(), d.time(shift)
	count := d.count()
	if count > 0 {
		r.identities = make([]identity, 0, count)
	}
	for range count {
		id := identity{impu: d.text()}
		marks := d.number()
		id.set, id.wildcard, id.barred = uint8(marks>>2), marks>>1&1 == 1, marks&1 == 1
		id.profile = profileKey(d.text())
		r.identities = append(r.identities, id)
	}
	for range d.count() {
		c := contact{uri: d.text(), params: d.text(), callID: d.text(), cseq: uint32(d.number()), instance: d.text()}
		key := d.number()
		bound := d.number()
		c.regID, c.failed, c.set, c.gruu, c.until = uint32(key>>1), key&1 == 1, uint8(bound>>1), bound&1 == 1, d.time(shift)
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
