package hss

import (
	"encoding/binary"
	"errors"
)

// The record codec: a version octet, then fields in a fixed order. Numbers are uvarints, strings and
// octets carry their length, lists their count. It is compact (a subscription of one user takes some
// 250 octets), decodes without reflection, and a changed or truncated record is an error, never a
// guess. New fields get a new version; old versions stay readable.

// errRecord is returned for octets that are not a record of the expected kind.
var errRecord = errors.New("hss: damaged record")

type encoder struct{ b []byte }

func (e *encoder) byte(v byte)     { e.b = append(e.b, v) }
func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int)       { e.b = binary.AppendVarint(e.b, int64(v)) }
func (e *encoder) string(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) bytes(s []byte)  { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (e *encoder) strings(list []string) {
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.string(s)
	}
}

// decoder reads what encoder wrote. The first mistake sticks; what is read after it is zero.
type decoder struct {
	b   []byte
	bad bool
}

// done returns errRecord after a mistake or if something is left over.
func (d *decoder) done() error {
	if d.bad || len(d.b) != 0 {
		return errRecord
	}
	return nil
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 { // only the shortest form: one value, one record
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// uintMax reads a number of at most most.
func (d *decoder) uintMax(most uint64) uint64 {
	v := d.uint()
	if v > most {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) int() int {
	v, n := binary.Varint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 || int64(int32(v)) != v {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) bool() bool { return d.uintMax(1) == 1 }

// bytes returns a view of the record.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

// count reads the length of a list whose elements take at least one octet each, so a short record cannot
// ask for much memory.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) strings() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}
