package diameter

// Type is the data format of an AVP (RFC 6733 4.2, 4.3, 4.4).
type Type uint8

// The formats.
const (
	OctetString Type = iota
	Unsigned32
	Unsigned64
	Grouped
	Address
	Time
	UTF8String
	DiameterIdentity
	DiameterURI
	Enumerated
)

// minimum is the least length of data in octets, and fixed says that there is no other: -1 where any will do.
func (t Type) minimum() (least int, fixed bool) {
	switch t {
	case Unsigned32, Enumerated, Time:
		return 4, true
	case Unsigned64:
		return 8, true
	case Address:
		return 6, false
	case DiameterIdentity, DiameterURI:
		return 1, false
	}
	return 0, false
}

// Definition is what the dictionary says of an AVP.
type Definition struct {
	Code   uint32
	Vendor uint32 // with it the V bit must be set, without it it must not
	Type   Type
	M      bool // the M bit: sent so, and must be set in what is received
	Name   string
}

// ID names an AVP of the dictionary. The zero value, Unknown, is none of them.
type ID uint16

// Definition returns what the dictionary says.
func (id ID) Definition() Definition { return dictionary[id] }

// String returns the standard's name.
func (id ID) String() string {
	if int(id) < len(dictionary) {
		return dictionary[id].Name
	}
	return dictionary[Unknown].Name
}

// denseCodes bounds the tables that lead from code to ID; every code we know is below.
const denseCodes = 768

// codes leads from a code to its ID, for the base protocol and for 3GPP.
type codes struct{ base, tgpp [denseCodes]ID }

var byCode = index()

func index() *codes {
	var c codes
	for i := range dictionary {
		d := &dictionary[i]
		switch {
		case ID(i) == Unknown:
		case d.Vendor == Vendor3GPP:
			c.tgpp[d.Code] = ID(i)
		default:
			c.base[d.Code] = ID(i)
		}
	}
	return &c
}

// Lookup finds the AVP with a code of a vendor (0 for the base protocol), or Unknown.
func Lookup(code, vendor uint32) ID {
	switch {
	case code >= denseCodes:
	case vendor == 0:
		return byCode.base[code]
	case vendor == Vendor3GPP:
		return byCode.tgpp[code]
	}
	return Unknown
}
