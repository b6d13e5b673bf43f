package sip

import "bytes"

// Reject is the answer of layer two to a message that must not be processed. Values are shared: do not change them.
type Reject struct {
	Status int    // the status code to answer with, 0 if Silent
	Reason string // what is wrong: a reason phrase for the peer, a cause for the log
	Silent bool   // no answer: a response, an ACK, or a request without a Via
}

// silent holds the silent twin of each rejection, so that neither is allocated.
type rejection struct{ loud, silent Reject }

func reject(status int, reason string) *rejection {
	return &rejection{Reject{status, reason, false}, Reject{0, reason, true}}
}

// The answers. Silence replaces them where RFC 3261 allows no answer.
var (
	badVersion     = reject(505, "Version Not Supported")
	badStartLine   = reject(400, "Bad Start Line")
	badStatus      = reject(400, "Bad Status Code")
	badLine        = reject(400, "Bad Header Line")
	badList        = reject(400, "Bad Header List")
	badLength      = reject(400, "Bad Content-Length")
	badControl     = reject(400, "Control Character In Header")
	noVia          = reject(400, "Missing Via")
	badVia         = reject(400, "Bad Via")
	badBranch      = reject(400, "Bad Branch")
	noFrom         = reject(400, "Missing From")
	badFrom        = reject(400, "Bad From")
	noTo           = reject(400, "Missing To")
	badTo          = reject(400, "Bad To")
	noCallID       = reject(400, "Missing Call-ID")
	badCallID      = reject(400, "Bad Call-ID")
	noCSeq         = reject(400, "Missing CSeq")
	badCSeq        = reject(400, "Bad CSeq")
	badMethod      = reject(400, "CSeq Method Does Not Match")
	unknownMethod  = reject(501, "Not Implemented")
	repeated       = reject(400, "Repeated Header Field")
	badScheme      = reject(416, "Unsupported URI Scheme")
	badRequestURI  = reject(400, "Bad Request-URI")
	badMaxForwards = reject(400, "Bad Max-Forwards")
	badContact     = reject(400, "Bad Contact")
	badRoute       = reject(400, "Bad Route")
	noContentType  = reject(400, "Missing Content-Type")
	badSource      = reject(400, "Via Names No Host")
)

// Validate is layer two: it reads a message that was received and returns the answer that RFC 3261 and RFC 4475 ask
// for, nil if the message may be processed. It judges what any element needs to route and match the message: start
// line, Via, From, To, Call-ID, CSeq, Max-Forwards, Contact and the route fields, Content-Length, what may stand once
// only. Other fields are judged by those who act on them (RFC 3261 8.2: malformed fields that are not necessary are
// ignored). Whether Max-Forwards is used up, a method or extension is supported or a user exists is the caller's.
// It allocates nothing and needs no lock.
func Validate(m *Message) *Reject {
	m.check()
	r := m.validate()
	if r == nil {
		return nil
	}
	// RFC 3261 18.3, 18.1.2: a bad response is discarded. RFC 3261 17.1.1.3: an ACK has no response. Without a Via
	// there is nowhere to send one.
	if !m.request || m.method == ACK || r == noVia {
		return &r.silent
	}
	return &r.loud
}

func (m *Message) validate() *rejection {
	switch d := m.defects; {
	case !m.Has(HdrVia):
		return noVia
	case d&DefectVersion != 0:
		return badVersion // RFC 3261 21.5.6, RFC 4475 3.1.2.16
	case d&DefectStartLine != 0:
		return badStartLine // RFC 4475 3.1.2.8 to 10
	case d&DefectStatus != 0:
		return badStatus // RFC 4475 3.1.2.19
	case d&(DefectLine|DefectNoEnd) != 0:
		return badLine // RFC 4475 3.1.2.15 as its archive has it
	case d&(DefectLength|DefectTruncated) != 0:
		return badLength // RFC 3261 18.3, RFC 4475 3.1.2.2, 3.1.2.3, 3.3.9
	case d&DefectControl != 0:
		return badControl
	case d&DefectList != 0:
		return badList // RFC 4475 3.1.2.1
	}
	if r := m.validateOnce(); r != nil {
		return r
	}
	if r := m.validateIdentity(); r != nil {
		return r
	}
	if r := m.validateVias(); r != nil {
		return r
	}
	if r := m.validateRoutes(); r != nil {
		return r
	}
	if m.request {
		return m.validateRequest()
	}
	return nil
}

// validateOnce: no field stands twice that is no list (RFC 3261 7.3.1, RFC 4475 3.3.8).
func (m *Message) validateOnce() *rejection {
	var seen HeaderSet
	for _, id := range m.ids {
		if h := HeaderID(id); headerDefs[h].trait == one {
			if seen.Has(h) {
				return repeated
			}
			seen.Add(h)
		}
	}
	return nil
}

// validateIdentity: the fields that name the dialog and the transaction (RFC 3261 8.1.1).
func (m *Message) validateIdentity() *rejection {
	from, id := m.Get(HdrFrom), m.Get(HdrCallID)
	to, err := m.To()
	switch {
	case from == nil:
		return noFrom
	case err == ErrMissing:
		return noTo
	case id == nil:
		return noCallID
	case !m.Has(HdrCSeq):
		return noCSeq
	case !isNameAddr(from, false):
		return badFrom
	case err != nil || !checkParams(to.Params) || !isURI(to.URI):
		return badTo
	case !isCallID(id):
		return badCallID
	}
	_, method, err := m.CSeq()
	if err != nil {
		return badCSeq // RFC 4475 3.1.2.4, 3.1.2.5
	}
	if m.request && !bytes.Equal(method, m.MethodName()) {
		if m.method == MethodOther {
			return unknownMethod // RFC 4475 3.1.2.18 prefers 501 here
		}
		return badMethod // RFC 4475 3.1.2.17
	}
	return nil
}

// isCallID: RFC 3261 25.1 has word ["@" word]. Any visible octets are taken, since peers put '=' of base64 into it
// and it is only ever compared octet by octet.
func isCallID(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(b) > 0
}

// isNameAddr reports whether b is a name-addr (or, unless bracket, an addr-spec) with sound URI and parameters.
func isNameAddr(b []byte, bracket bool) bool {
	n, err := ParseNameAddr(b)
	return err == nil && (n.Bracket || !bracket) && checkParams(n.Params) && isURI(n.URI)
}

func isURI(b []byte) bool {
	var u URI
	return u.parse(b)
}

func (m *Message) validateVias() *rejection {
	n := 0
	for i, id := range m.ids {
		if id != byte(HdrVia) {
			continue
		}
		v, err := Via{}, error(nil)
		if n == 0 {
			v, err = m.TopVia()
		} else {
			v, err = ParseVia(m.value(i))
		}
		switch {
		case err != nil:
			return badVia
		case n == 0 && string(v.Branch) == MagicCookie:
			return badBranch // RFC 4475 3.2.1
		case n == 1 && !m.request && (isNowhere(v.Host) || isNowhere(v.Received) || isNowhere(v.MAddr)):
			return badSource // RFC 4475 3.3.10: a proxy would send the response there
		}
		n++
	}
	return nil
}

// isNowhere reports whether b is an IPv4 address that no single host has: this network, multicast, broadcast.
func isNowhere(b []byte) bool {
	dot := bytes.IndexByte(b, '.')
	if dot < 0 || !isIPv4(b) {
		return false
	}
	n, _ := parseUint(b[:dot], 255)
	return n == 0 || n >= 224
}

// validateRoutes: the fields that decide where this and later requests go.
func (m *Message) validateRoutes() *rejection {
	contacts := 0
	for i, id := range m.ids {
		switch HeaderID(id) {
		case HdrRoute, HdrRecordRoute, HdrPath, HdrServiceRoute:
			// RFC 3261 20.30, 20.34: always in brackets.
			if !isNameAddr(m.value(i), true) {
				return badRoute
			}
		case HdrContact:
			if string(m.value(i)) != "*" && !m.isContact(contacts) {
				return badContact // RFC 4475 3.1.2.13
			}
			contacts++
		}
	}
	return nil
}

func (m *Message) isContact(i int) bool {
	contact, v, err := m.contact(i)
	return err == nil && contact.sound && checkParams(contact.addr.params.in(v))
}

func (m *Message) validateRequest() *rejection {
	uri := m.RequestURI()
	u, err := ParseURI(uri)
	switch {
	case err != nil:
		return badRequestURI // RFC 4475 3.1.2.7, RFC 5118 4.2
	case u.Headers != nil:
		return badRequestURI // RFC 3261 19.1.1, RFC 4475 3.1.2.11
	case u.Opaque != nil && !foldEqual(u.Scheme, "urn"):
		// RFC 3261 8.2.2.1, RFC 4475 3.3.2 and 3. A urn names a service, such as an emergency call (RFC 5031).
		return badScheme
	}
	if v := m.Get(HdrMaxForwards); v != nil {
		if _, ok := parseUint(v, 255); !ok {
			return badMaxForwards
		}
	}
	if m.body.n > 0 && !m.Has(HdrContentType) {
		return noContentType // RFC 3261 20.15
	}
	return nil
}
