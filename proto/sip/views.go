package sip

// The typed views read a field and allocate nothing. Those of the topmost Via, the tag of From, To, the first Contact and the first Authorization keep what
// they read (reading.go). They return ErrMissing if the field is not there.

// at returns the first field h and its value, nil if there is none.
func (m *Message) at(h HeaderID) (*field, []byte) {
	m.check()
	i := m.first(h)
	if i < 0 {
		return nil, nil
	}
	return &m.fields[i], m.value(i)
}

// TopVia parses the topmost Via.
func (m *Message) TopVia() (Via, error) {
	f, v := m.at(HdrVia)
	if f == nil {
		return Via{}, ErrMissing
	}
	if places, known := m.read.via.get(f); known {
		return places.in(v), nil
	}
	via, err := ParseVia(v)
	if err == nil {
		m.read.via.keep(f, via.places())
	}
	return via, err
}

// From parses the From field.
func (m *Message) From() (NameAddr, error) {
	v := m.Get(HdrFrom)
	if v == nil {
		return NameAddr{}, ErrMissing
	}
	return ParseNameAddr(v)
}

// To parses the To field.
func (m *Message) To() (NameAddr, error) {
	f, v := m.at(HdrTo)
	if f == nil {
		return NameAddr{}, ErrMissing
	}
	if places, known := m.read.to.get(f); known {
		return places.addr.in(v), nil
	}
	to, err := ParseNameAddr(v)
	if err == nil {
		m.read.to.keep(f, toPlaces{to.places(), placeOf(to.Tag())})
	}
	return to, err
}

// ToIdentity returns the public identity in To: whom a REGISTER is about (RFC 3261 10.2); see PublicIdentity.
func (m *Message) ToIdentity() (string, bool) {
	f, _ := m.at(HdrTo)
	if f == nil {
		return "", false
	}
	if identity, known := m.read.identity.get(f); known {
		return identity, true
	}
	to, err := m.To()
	if err != nil {
		return "", false
	}
	identity, ok := publicIdentity(to.URI)
	if ok {
		m.read.identity.keep(f, identity)
	}
	return identity, ok
}

// Credentials parses Authorization number i (from 0).
func (m *Message) Credentials(i int) (Credentials, error) {
	if i > 0 {
		return parseCredentials(m.Nth(HdrAuthorization, i))
	}
	f, v := m.at(HdrAuthorization)
	if f == nil {
		return Credentials{}, ErrMissing
	}
	if places, known := m.read.authorization.get(f); known {
		var c Credentials
		for i, part := range c.parts() {
			*part = places[i].in(v)
		}
		return c, nil
	}
	c, err := ParseCredentials(v)
	if err == nil {
		var places [credentialParts]place
		for i, part := range c.parts() {
			places[i] = placeOf(*part)
		}
		m.read.authorization.keep(f, places)
	}
	return c, err
}

// Username returns the username in the first Authorization, "" if that names none: the private identity that a REGISTER is sent for
// (TS 24.229 5.1.1.2).
func (m *Message) Username() (string, error) {
	f, _ := m.at(HdrAuthorization)
	if f == nil {
		return "", ErrMissing
	}
	if username, known := m.read.username.get(f); known {
		return username, nil
	}
	c, err := m.Credentials(0)
	if err != nil {
		return "", err
	}
	username := string(c.Username)
	m.read.username.keep(f, username)
	return username, nil
}

func parseCredentials(v []byte) (Credentials, error) {
	if v == nil {
		return Credentials{}, ErrMissing
	}
	return ParseCredentials(v)
}

// Contact parses Contact number i (from 0). Contact: * is none (ErrNameAddr).
func (m *Message) Contact(i int) (NameAddr, error) {
	places, v, err := m.contact(i)
	if err != nil {
		return NameAddr{}, err
	}
	return places.addr.in(v), nil
}

// contact reads Contact number i, and returns its value beside the places in it.
func (m *Message) contact(i int) (places contactPlaces, v []byte, err error) {
	if i > 0 {
		v = m.Nth(HdrContact, i)
		places, err = readContact(v)
		return places, v, err
	}
	f, v := m.at(HdrContact)
	if f == nil {
		return places, nil, ErrMissing
	}
	if places, known := m.read.contact.get(f); known {
		return places, v, nil
	}
	if places, err = readContact(v); err == nil {
		m.read.contact.keep(f, places)
	}
	return places, v, err
}

func readContact(v []byte) (places contactPlaces, err error) {
	if v == nil {
		return places, ErrMissing
	}
	addr, err := ParseNameAddr(v)
	if err != nil {
		return places, err
	}
	places.addr = addr.places()
	var uri URI
	if places.sound = uri.parse(addr.URI); places.sound {
		_, places.sos = uri.Param("sos")
	}
	expires, _ := addr.Param("expires")
	places.expires = placeOf(expires)
	return places, nil
}

// FromTag returns the tag of From, nil if there is none or From cannot be read.
func (m *Message) FromTag() []byte {
	f, v := m.at(HdrFrom)
	if f == nil {
		return nil
	}
	if tag, known := m.read.fromTag.get(f); known {
		return tag.in(v)
	}
	from, err := ParseNameAddr(v)
	if err != nil {
		return nil
	}
	m.read.fromTag.keep(f, placeOf(from.Tag()))
	return from.Tag()
}

// ToTag returns the tag of To, nil if there is none or To cannot be read.
func (m *Message) ToTag() []byte {
	if f, v := m.at(HdrTo); f != nil {
		if places, known := m.read.to.get(f); known {
			return places.tag.in(v)
		}
	}
	to, err := m.To()
	if err != nil {
		return nil
	}
	return to.Tag()
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
	if places, v, err := m.contact(i); err == nil {
		if expires := places.expires.in(v); expires != nil {
			return parseSeconds(expires)
		}
	}
	return m.Expires()
}

func parseSeconds(v []byte) (uint32, bool) {
	n, ok := parseUint(v, 1<<32-1)
	return uint32(n), ok
}
