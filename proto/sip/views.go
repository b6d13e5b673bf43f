package sip

// The typed views read a field each time they are called and allocate nothing. They return ErrMissing if the field is
// not there.

// TopVia parses the topmost Via.
func (m *Message) TopVia() (Via, error) {
	v := m.Get(HdrVia)
	if v == nil {
		return Via{}, ErrMissing
	}
	return ParseVia(v)
}

// From parses the From field.
func (m *Message) From() (NameAddr, error) { return m.nameAddr(HdrFrom) }

// To parses the To field.
func (m *Message) To() (NameAddr, error) { return m.nameAddr(HdrTo) }

func (m *Message) nameAddr(h HeaderID) (NameAddr, error) {
	v := m.Get(h)
	if v == nil {
		return NameAddr{}, ErrMissing
	}
	return ParseNameAddr(v)
}

// FromTag returns the tag of From, nil if there is none or From cannot be read.
func (m *Message) FromTag() []byte { return m.tag(HdrFrom) }

// ToTag returns the tag of To, nil if there is none or To cannot be read.
func (m *Message) ToTag() []byte { return m.tag(HdrTo) }

func (m *Message) tag(h HeaderID) []byte {
	n, err := ParseNameAddr(m.Get(h))
	if err != nil {
		return nil
	}
	return n.Tag()
}

// CSeq parses the CSeq field: the sequence number and the method as it stands (RFC 3261 20.16).
func (m *Message) CSeq() (seq uint32, method []byte, err error) {
	v := m.Get(HdrCSeq)
	if v == nil {
		return 0, nil, ErrMissing
	}
	i := 0
	for i < len(v) && !isLWS(v[i]) {
		i++
	}
	// RFC 3261 8.1.1.5: below 2^31.
	n, ok := parseUint(v[:i], 1<<31-1)
	method = trim(v[i:])
	if !ok || !isToken(method) {
		return 0, nil, ErrCSeq
	}
	return uint32(n), method, nil
}

// CSeqMethod returns the method of the CSeq field, MethodOther if it is unknown or the field cannot be read: what a
// response answers to.
func (m *Message) CSeqMethod() Method {
	_, name, err := m.CSeq()
	if err != nil {
		return MethodOther
	}
	return ParseMethod(name)
}

// MaxForwards returns the Max-Forwards of a request; ok is false if it is absent or not 0 to 255 (RFC 3261 20.22).
func (m *Message) MaxForwards() (n int, ok bool) {
	v, ok := parseUint(m.Get(HdrMaxForwards), 255)
	return int(v), ok
}

// Expires returns the Expires field in seconds; ok is false if it is absent or no number of 32 bits, which a caller
// treats alike (RFC 3261 20.19, RFC 4475 3.1.2.4).
func (m *Message) Expires() (seconds uint32, ok bool) {
	return parseSeconds(m.Get(HdrExpires))
}

// ContactExpires returns the lifetime that Contact number i (from 0) asks for or was granted: its expires parameter,
// else the Expires field (RFC 3261 10.2.1.1). ok is false if neither is there and sound.
func (m *Message) ContactExpires(i int) (seconds uint32, ok bool) {
	n, err := ParseNameAddr(m.Nth(HdrContact, i))
	if err == nil {
		if v, found := n.Param("expires"); found {
			return parseSeconds(v)
		}
	}
	return m.Expires()
}

func parseSeconds(v []byte) (uint32, bool) {
	n, ok := parseUint(v, 1<<32-1)
	return uint32(n), ok
}
