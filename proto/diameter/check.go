package diameter

import (
	"encoding/binary"
	"unicode/utf8"
)

// The bounds of a message that Check takes.
const (
	MaxAVPs   = 1024 // in one message, those in groups included
	maxFailed = 1024 // octets of an AVP that Failed-AVP gives back
)

// Rule says how often an AVP may stand in a command (RFC 6733 3.2). Max 0 is any number.
type Rule struct {
	ID       ID
	Min, Max uint8
}

// maxRules bounds a Grammar.
const maxRules = 40

// Grammar is the command code format of a request or an answer, at most 40 rules. AVPs that it does not name may stand in the
// message if their M bit is not set (RFC 6733 3.2, 4.1), and so may those of agents: Route-Record and Proxy-Info.
type Grammar []Rule

// Fault says what is wrong with a message, as the answer tells it.
type Fault struct {
	Result Result
	Failed []byte // the AVP for Failed-AVP, a copy; nil if there is none to show
}

// Error names the result.
func (f *Fault) Error() string { return "diameter: " + f.Result.String() }

// Check judges the AVPs of m by the dictionary and by g: lengths, padding, flags, types, depth and number, then what g wants.
// A nil g asks for the form only. It returns nil for a good message, and allocates only for a bad one. The first fault in
// the message counts (RFC 6733 7.5).
func (m Message) Check(g Grammar) *Fault {
	c := checker{grammar: g, left: MaxAVPs}
	if f := c.level(m.b[HeaderLen:], 0); f != nil {
		return f
	}
	for i, r := range g {
		if c.seen[i] < r.Min {
			return &Fault{ResultMissingAVP, example(r.ID)}
		}
	}
	return nil
}

type checker struct {
	grammar Grammar
	seen    [maxRules]uint8
	left    int
}

// level checks a sequence of AVPs; those at depth 0 are also counted.
func (c *checker) level(b []byte, depth int) *Fault {
	var avp AVP
	for a := &avp; len(b) > 0; {
		n := a.read(b)
		if n == 0 || n%4 != 0 {
			return &Fault{ResultInvalidAVPLength, malformed(b)}
		}
		if c.left--; c.left < 0 {
			return &Fault{ResultAVPOccursTooManyTimes, failed(a)}
		}
		id := a.ID()
		if f := checkFlags(a, id); f != nil {
			return f
		}
		if depth == 0 {
			if f := c.count(a, id); f != nil {
				return f
			}
		}
		if f := checkData(a, id); f != nil {
			return f
		}
		if id != Unknown && dictionary[id].Type == Grouped {
			if depth == MaxDepth {
				return &Fault{ResultInvalidAVPValue, failed(a)}
			}
			// What agents put into Proxy-Info and what failed before are theirs (RFC 6733 6.7.2, 7.5).
			if id != ProxyInfo && id != FailedAVP {
				if f := c.level(a.Data, depth+1); f != nil {
					return f
				}
			}
		}
		b = b[n:]
	}
	return nil
}

// checkFlags compares the flags with the dictionary (RFC 6733 4.1).
func checkFlags(a *AVP, id ID) *Fault {
	switch {
	case a.flags&avpReserved != 0, a.flags&avpVendor != 0 && a.Vendor == 0:
		return &Fault{ResultInvalidAVPBits, failed(a)}
	case id == Unknown && a.Mandatory():
		return &Fault{ResultAVPUnsupported, failed(a)}
	case id != Unknown && dictionary[id].M && !a.Mandatory():
		return &Fault{ResultInvalidAVPBits, failed(a)}
	}
	// An M bit too many does no harm: we know the AVP, and other stacks set it.
	return nil
}

// count holds the AVPs of a command against its grammar.
func (c *checker) count(a *AVP, id ID) *Fault {
	if c.grammar == nil || id == Unknown {
		return nil
	}
	for i := range c.grammar {
		r := &c.grammar[i]
		if r.ID != id {
			continue
		}
		if r.Max != 0 && c.seen[i] == r.Max {
			return &Fault{ResultAVPOccursTooManyTimes, failed(a)}
		}
		if c.seen[i] < 255 {
			c.seen[i]++
		}
		return nil
	}
	if a.Mandatory() && id != RouteRecord && id != ProxyInfo {
		return &Fault{ResultAVPUnsupported, failed(a)} // known, but not to this command
	}
	return nil
}

// checkData compares the data with the type (RFC 6733 4.2, 4.3).
func checkData(a *AVP, id ID) *Fault {
	if id == Unknown {
		return nil
	}
	t := dictionary[id].Type
	least, fixed := t.minimum()
	if n := len(a.Data); n < least || fixed && n != least {
		return &Fault{ResultInvalidAVPLength, example(id)}
	}
	good := true
	switch t {
	case UTF8String:
		good = utf8.Valid(a.Data)
	case DiameterIdentity:
		good = isIdentity(a.Data)
	case DiameterURI:
		good = isPrintable(a.Data)
	case Address:
		family := binary.BigEndian.Uint16(a.Data)
		switch n := len(a.Data) - 2; {
		case family == familyIPv4 && n != 4, family == familyIPv6 && n != 16:
			return &Fault{ResultInvalidAVPLength, failed(a)}
		}
	}
	if !good {
		return &Fault{ResultInvalidAVPValue, failed(a)}
	}
	return nil
}

// sound says whether an AVP may be copied into an answer.
func (a AVP) sound() bool {
	id := a.ID()
	if checkFlags(&a, id) != nil || checkData(&a, id) != nil {
		return false
	}
	c := checker{left: MaxAVPs}
	return id == Unknown || dictionary[id].Type != Grouped || c.level(a.Data, 1) == nil
}

// isIdentity says whether b can be a host or realm: letters, digits, hyphens, dots and, as seen in the field, underscores; no
// longer than a domain name (RFC 6733 4.3.1).
func isIdentity(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return len(b) > 0 && len(b) <= 255
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// failed copies an AVP for Failed-AVP. A large one is cut to its header and some data, with a length that says so.
func failed(a *AVP) []byte {
	raw := append([]byte(nil), a.raw[:min(len(a.raw), maxFailed)]...)
	return pad(setAVPLength(raw, len(raw)))
}

// malformed makes an AVP of the header that b begins with, with the least data of its type (RFC 6733 7.1.5).
func malformed(b []byte) []byte {
	var head [12]byte
	copy(head[:], b)
	n := 8
	if head[4]&avpVendor != 0 {
		n = 12
	}
	var vendor uint32
	if n == 12 {
		vendor = binary.BigEndian.Uint32(head[8:])
	}
	least := 0
	if id := Lookup(binary.BigEndian.Uint32(head[:]), vendor); id != Unknown {
		least, _ = dictionary[id].Type.minimum()
	}
	raw := append(append([]byte(nil), head[:n]...), make([]byte, least)...)
	return pad(setAVPLength(raw, len(raw)))
}

// example makes an AVP with the least data of its type, all zero: what was missing (RFC 6733 7.5).
func example(id ID) []byte {
	least, _ := dictionary[id].Type.minimum()
	var w Writer
	w.Octets(id, make([]byte, least))
	return w.b
}

func setAVPLength(raw []byte, n int) []byte {
	binary.BigEndian.PutUint32(raw[4:], uint32(raw[4])<<24|uint32(n))
	return raw
}

func pad(raw []byte) []byte {
	for len(raw)%4 != 0 {
		raw = append(raw, 0)
	}
	return raw
}

// Example makes an AVP with a value, for Fault.Failed.
func Example(id ID, value []byte) []byte {
	var w Writer
	w.Octets(id, value[:min(len(value), maxFailed)])
	return w.b
}
