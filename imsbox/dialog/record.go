package dialog

import (
	"encoding/binary"

	"imsafe/proto/sip"
)

// dialog is a record of the ledger.
type dialog struct {
	half   string
	owner  string
	callID string
	caller end
	callee end
	part   uint32 // not in the record
}

// end is what leads to one end of a dialog.
type end struct {
	address string // From or To, with its tag
	target  string // where it is reached: its Contact
	route   []string
}

// name is that of NameOf.
func (d *dialog) name() string {
	var tags [2][]byte
	for i, address := range [...]string{d.caller.address, d.callee.address} {
		if addr, err := sip.ParseNameAddr([]byte(address)); err == nil {
			tags[i] = addr.Tag()
		}
	}
	return nameOf(tags[0], tags[1])
}

// isCaller reports whether the caller has this tag.
func (d *dialog) isCaller(tag string) bool {
	addr, err := sip.ParseNameAddr([]byte(d.caller.address))
	return err == nil && string(addr.Tag()) == tag
}

// encode appends the record: half and owner, the callee's end, Call-ID, the caller's end.
func (d *dialog) encode(b []byte) []byte {
	e := encoder{b}
	e.text([]byte(d.half))
	e.text([]byte(d.owner))
	e.end(&d.callee)
	e.text([]byte(d.callID))
	e.end(&d.caller)
	return e.b
}

// decode is the inverse of encode. Only this package writes records.
func decode(octets []byte) (x dialog) {
	d := decoder{octets}
	x.half, x.owner = string(d.text()), string(d.text())
	x.callee = d.end()
	x.callID = string(d.text())
	x.caller = d.end()
	return x
}

// encoder appends fields, each with its length.
type encoder struct{ b []byte }

func (e *encoder) text(s []byte) { e.b = append(binary.AppendUvarint(e.b, uint64(len(s))), s...) }

func (e *encoder) end(x *end) {
	e.text([]byte(x.address))
	e.text([]byte(x.target))
	e.b = binary.AppendUvarint(e.b, uint64(len(x.route)))
	for _, r := range x.route {
		e.text([]byte(r))
	}
}

// maxRoutes bounds the proxies of a call that we could end; of a longer one our BYE would not find its way.
const maxRoutes = 16

// routesOf returns the entries of Record-Route, from the top; false if there are too many.
func routesOf(m *sip.Message, b *[maxRoutes][]byte) (routes [][]byte, fits bool) {
	routes = b[:0]
	for v := range m.Values(sip.HdrRecordRoute) {
		if len(routes) == maxRoutes {
			return nil, false
		}
		routes = append(routes, v)
	}
	return routes, true
}

func (e *encoder) routes(list [][]byte) {
	e.b = binary.AppendUvarint(e.b, uint64(len(list)))
	for _, r := range list {
		e.text(r)
	}
}

type decoder struct{ rest []byte }

func (d *decoder) number() int {
	n, size := binary.Uvarint(d.rest)
	d.rest = d.rest[size:]
	return int(n)
}

func (d *decoder) text() []byte {
	n := d.number()
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) end() (x end) {
	x.address, x.target = string(d.text()), string(d.text())
	for range d.number() {
		x.route = append(x.route, string(d.text()))
	}
	return x
}
