package sip

// NewRequest returns a request without fields. requestURI must be safe as for SetRequestURI. The caller owns and
// releases it. For a method without a number use NewRequestNamed.
func (p *Pool) NewRequest(m Method, requestURI string) *Message {
	return p.NewRequestNamed(m.String(), requestURI)
}

// NewRequestNamed is NewRequest for any method name, which must be a token.
func (p *Pool) NewRequestNamed(method, requestURI string) *Message {
	msg := p.get()
	msg.request = true
	if msg.method = ParseMethod([]byte(method)); msg.method == MethodOther {
		if s, ok := msg.putString(method); ok && isToken(msg.bytes(s.off, s.n)) {
			msg.methodName = s
		} else {
			msg.drop("method name")
		}
	}
	msg.SetRequestURI([]byte(requestURI))
	return msg
}

// NewResponse returns a response to req with its Via, From, To, Call-ID and CSeq fields in the order of the request
// (RFC 3261 8.2.6.2) and, for 100, its Timestamp (8.2.6.1). reason "" is the default phrase of code. The tag of To
// and everything else is the caller's; it owns and releases the response, which shares the slab of req.
func (p *Pool) NewResponse(req *Message, code int, reason string) *Message {
	req.check()
	m := p.get()
	if req.slab != nil {
		req.slab.refs.Add(1)
		m.slab, m.buf = req.slab, req.buf
	}
	m.SetStatus(code, reason)
	for i, id := range req.ids {
		switch HeaderID(id) {
		case HdrVia, HdrFrom, HdrTo, HdrCallID, HdrCSeq:
		case HdrTimestamp:
			if code != 100 {
				continue
			}
		default:
			continue
		}
		f := req.fields[i]
		if f.off&arenaBit != 0 {
			v := req.value(i)
			f = field{off: uint32(len(m.arena)) | arenaBit, n: f.n}
			m.arena = append(m.arena, v...)
		}
		m.insertOne(len(m.ids), HeaderID(id), f)
	}
	return m
}
