package sip

import "sync/atomic"

// Several functions of a process ask the same field the same thing: a REGISTER passes the door, three functions and the registrar. The views
// in views.go therefore keep what they read, beside the octets that it was read from, and a Clone takes it along.

// readings are what the typed views have read of a message so far.
type readings struct {
	via           reading[viaPlaces]
	fromTag       reading[place]
	to            reading[toPlaces]
	identity      reading[string] // the public identity in To
	contact       reading[contactPlaces]
	authorization reading[[credentialParts]place]
	username      reading[string] // in Authorization
}

// reading is what was read of one field. Octets in slab and arena never move or change while a message lives, so it holds for as long as the
// index leads to the same octets, and no edit needs to know of it. Readers on several goroutines may fill it at the same time: one of them
// does, the others go without.
type reading[T any] struct {
	of   atomic.Uint64 // where the field is, by whereabouts; 0: nothing was read, beingRead: it is
	read T             // places in the value, so that they are as good in a clone
}

const beingRead = 1

// whereabouts tell the values of a message apart. The last bits keep them from being 0 or beingRead.
func (f *field) whereabouts() uint64 { return uint64(f.off)<<32 | uint64(f.n)<<16 | 2 }

// get returns what was read of f.
func (r *reading[T]) get(f *field) (read T, known bool) {
	if r.of.Load() != f.whereabouts() {
		return read, false
	}
	return r.read, true
}

// keep takes what was read of f.
func (r *reading[T]) keep(f *field, read T) {
	// Who finds another field's whereabouts may write: nobody reads what is of another field. Who comes second leaves it.
	if was := r.of.Load(); was != beingRead && was != f.whereabouts() && r.of.CompareAndSwap(was, beingRead) {
		r.read = read
		r.of.Store(f.whereabouts())
	}
}

// take copies what another message has read.
func (r *reading[T]) take(from *reading[T]) {
	if of := from.of.Load(); of > beingRead {
		r.read = from.read
		r.of.Store(of)
	}
}

func (r *readings) take(from *readings) {
	r.via.take(&from.via)
	r.fromTag.take(&from.fromTag)
	r.to.take(&from.to)
	r.identity.take(&from.identity)
	r.contact.take(&from.contact)
	r.authorization.take(&from.authorization)
	r.username.take(&from.username)
}

// forget is for a message that goes back to its pool.
func (r *readings) forget() {
	r.via.of.Store(0)
	r.fromTag.of.Store(0)
	r.to.of.Store(0)
	r.identity.of.Store(0)
	r.identity.read = ""
	r.contact.of.Store(0)
	r.authorization.of.Store(0)
	r.username.of.Store(0)
	r.username.read = ""
}

// place is a part of a value: where it begins, counted from the end of the value, and its length.
type place struct{ back, n uint16 }

// nowhere is the place of what is nil: no part of a value is longer than what is left of it.
func nowhere() place { return place{0, 1} }

// placeOf returns where part stands in the value that it was cut from by slicing. It is the capacities that tell.
func placeOf(part []byte) place {
	if part == nil {
		return nowhere()
	}
	return place{uint16(cap(part)), uint16(len(part))}
}

// in returns the part of v that stands at the place.
func (p place) in(v []byte) []byte {
	if p == nowhere() {
		return nil
	}
	return v[len(v)-int(p.back):][:p.n]
}

// nameAddrPlaces is a NameAddr.
type nameAddrPlaces struct {
	display, uri, params place
	bracket              bool
}

func (n *NameAddr) places() nameAddrPlaces {
	return nameAddrPlaces{placeOf(n.Display), placeOf(n.URI), placeOf(n.Params), n.Bracket}
}

func (p *nameAddrPlaces) in(v []byte) NameAddr {
	return NameAddr{Display: p.display.in(v), URI: p.uri.in(v), Params: p.params.in(v), Bracket: p.bracket}
}

// toPlaces is a To, and its tag.
type toPlaces struct {
	addr nameAddrPlaces
	tag  place
}

// viaPlaces is a Via.
type viaPlaces struct {
	transport, host, branch, received, mAddr, params place
	port, rPort                                      uint16
	hasRPort                                         bool
}

func (v *Via) places() viaPlaces {
	return viaPlaces{transport: placeOf(v.Transport), host: placeOf(v.Host), branch: placeOf(v.Branch), received: placeOf(v.Received),
		mAddr: placeOf(v.MAddr), params: placeOf(v.Params), port: v.Port, rPort: v.RPort, hasRPort: v.HasRPort}
}

func (p *viaPlaces) in(v []byte) Via {
	return Via{Transport: p.transport.in(v), Host: p.host.in(v), Port: p.port, Branch: p.branch.in(v), Received: p.received.in(v),
		MAddr: p.mAddr.in(v), HasRPort: p.hasRPort, RPort: p.rPort, Params: p.params.in(v)}
}

// contactPlaces is a Contact, and what a registrar asks it for.
type contactPlaces struct {
	addr    nameAddrPlaces
	sound   bool // the URI can be read
	sos     bool // and has the parameter sos
	expires place
}

// credentialParts is how many parameters Credentials have.
const credentialParts = 12

// parts are the parameters, always in the same order.
func (c *Credentials) parts() [credentialParts]*[]byte {
	return [...]*[]byte{&c.Username, &c.Realm, &c.Nonce, &c.URI, &c.Response, &c.Algorithm, &c.Cnonce, &c.QOP, &c.NC, &c.Opaque, &c.AUTS,
		&c.IntegrityProtected}
}
