package diameter

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"time"
)

// The AVP flags (RFC 6733 4.1).
const (
	avpVendor    = 0x80 // V: a Vendor-Id follows
	avpMandatory = 0x40 // M: who does not understand it must refuse
	avpReserved  = 0x1f // the P bit (0x20) is ignored, as RFC 6733 says of what is reserved for it
)

// AVP is a view of one AVP. Data has no padding and is a part of the message.
type AVP struct {
	Code   uint32
	Vendor uint32 // 0 without the V bit
	flags  uint8
	Data   []byte
	raw    []byte // header and data, without padding
}

// ID returns the name of the AVP, Unknown if the dictionary has none.
func (a AVP) ID() ID { return Lookup(a.Code, a.Vendor) }

// Mandatory says that the M bit is set.
func (a AVP) Mandatory() bool { return a.flags&avpMandatory != 0 }

// The typed accessors below read Data as its type says. ok is false where Data has another length or form; after Check
// it never is for an AVP of that type.

// Unsigned32 reads four octets (RFC 6733 4.2).
func (a AVP) Unsigned32() (v uint32, ok bool) {
	if len(a.Data) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(a.Data), true
}

// Unsigned64 reads eight octets (RFC 6733 4.2).
func (a AVP) Unsigned64() (v uint64, ok bool) {
	if len(a.Data) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(a.Data), true
}

// Enumerated reads an Integer32 (RFC 6733 4.3.1).
func (a AVP) Enumerated() (v int32, ok bool) {
	u, ok := a.Unsigned32()
	return int32(u), ok
}

// Address reads an IPv4 or IPv6 address (RFC 6733 4.3.1). Other families are not ok.
func (a AVP) Address() (netip.Addr, bool) {
	if len(a.Data) < 2 {
		return netip.Addr{}, false
	}
	switch family, b := binary.BigEndian.Uint16(a.Data), a.Data[2:]; {
	case family == familyIPv4 && len(b) == 4, family == familyIPv6 && len(b) == 16:
		return netip.AddrFromSlice(b)
	}
	return netip.Addr{}, false
}

// Address families (IANA address family numbers).
const (
	familyIPv4 = 1
	familyIPv6 = 2
)

// ntpEra is 1900-01-01 in Unix seconds, negated; after 2036-02-07 06:28:16 UTC the counter starts again (RFC 6733 4.3.1, Time).
const (
	ntpEra  = 2208988800
	ntpWrap = 1 << 32
)

// Time reads NTP seconds (RFC 6733 4.3.1): values with the high bit are before 2036, others after.
func (a AVP) Time() (time.Time, bool) {
	v, ok := a.Unsigned32()
	s := int64(v) - ntpEra
	if v&(1<<31) == 0 {
		s += ntpWrap
	}
	return time.Unix(s, 0).UTC(), ok
}

// Group reads Data as AVPs (RFC 6733 4.4).
func (a AVP) Group() AVPs { return AVPs{a.Data} }

// AVPs is a sequence of AVPs, in a message or in a Grouped AVP.
type AVPs struct{ b []byte }

// All yields the AVPs in order. It ends at the first that is malformed: Check first.
func (v AVPs) All() iter.Seq[AVP] {
	return func(yield func(AVP) bool) {
		var a AVP
		for b := v.b; len(b) > 0; {
			n := a.read(b)
			if n == 0 || !yield(a) {
				return
			}
			b = b[n:]
		}
	}
}

// Find returns the first AVP with that name.
func (v AVPs) Find(id ID) (a AVP, ok bool) {
	d := &dictionary[id]
	for b := v.b; len(b) >= 8; {
		if binary.BigEndian.Uint32(b) == d.Code {
			if n := a.read(b); n != 0 && a.Vendor == d.Vendor {
				return a, true
			}
		}
		length := int(binary.BigEndian.Uint32(b[4:]) & 0xffffff)
		if length < 8 || length > len(b) {
			break
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return AVP{}, false
}

// read makes a a view of the first AVP of b and returns how many octets that takes with its padding; 0 if it is malformed.
func (a *AVP) read(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	word := binary.BigEndian.Uint32(b[4:])
	length, head := int(word&0xffffff), 8
	a.Code, a.Vendor, a.flags = binary.BigEndian.Uint32(b), 0, uint8(word>>24)
	if a.flags&avpVendor != 0 {
		head = 12
	}
	if length < head || length > len(b) {
		return 0
	}
	if head == 12 {
		a.Vendor = binary.BigEndian.Uint32(b[8:])
	}
	a.raw = b[:length:length]
	a.Data = a.raw[head:]
	// Messages are multiples of four, so padding is always there; a group's last AVP may lack its own, which Check refuses.
	return min((length+3)&^3, len(b))
}
