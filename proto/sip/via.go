package sip

import (
	"bytes"
	"strconv"
)

// Via is one parsed Via value (RFC 3261 20.42, RFC 3581). The slices are views of what was parsed.
type Via struct {
	Transport []byte // as it stands, for example UDP
	Host      []byte // of sent-by; an IPv6 address without its brackets
	Port      uint16 // of sent-by, 0 = none
	Branch    []byte // nil if there is none
	Received  []byte // nil if there is none; an IPv6 address without brackets, if it had them (RFC 5118 4.5)
	MAddr     []byte // nil if there is none
	HasRPort  bool   // rport stands there, with or without a value
	RPort     uint16 // its value, 0 = none
	Params    []byte // behind the first ';', nil if there are none
}

// MagicCookie begins every branch that RFC 3261 8.1.1.7 gave a meaning.
const MagicCookie = "z9hG4bK"

// HasCookie reports whether the branch begins with the magic cookie and more follows: then it identifies the
// transaction (RFC 3261 17.2.3). The comparison is exact.
func (v *Via) HasCookie() bool {
	return len(v.Branch) > len(MagicCookie) && string(v.Branch[:len(MagicCookie)]) == MagicCookie
}

// ParseVia reads one Via value. It returns ErrVia if the parts cannot be told apart or a known parameter has no sound
// value; the version is not compared. It keeps views of b.
func ParseVia(b []byte) (Via, error) {
	var v Via
	if !v.parse(b) {
		return Via{}, ErrVia
	}
	return v, nil
}

// parse fills an empty v.
func (v *Via) parse(b []byte) bool {
	head := b
	if end := bytes.IndexByte(b, ';'); end >= 0 {
		head, v.Params = b[:end], b[end+1:]
	}
	return v.parseHead(head) && v.parseParams()
}

// parseHead reads protocol "/" version "/" transport LWS sent-by, with white space around the slashes.
func (v *Via) parseHead(b []byte) bool {
	const usual = "SIP/2.0/"
	b = trim(b)
	if len(b) > len(usual) && string(b[:len(usual)]) == usual {
		b = b[len(usual):]
	} else {
		for range 2 {
			i := bytes.IndexByte(b, '/')
			if i < 0 || !isToken(trim(b[:i])) {
				return false
			}
			b = b[i+1:]
		}
	}
	for len(b) > 0 && isLWS(b[0]) {
		b = b[1:]
	}
	i := 0
	for i < len(b) && class[b[i]]&clsToken != 0 {
		i++
	}
	if i == 0 || i == len(b) || !isLWS(b[i]) {
		return false
	}
	v.Transport = b[:i]
	var rest []byte
	var ok bool
	v.Host, v.Port, rest, ok = parseHostPort(trimLeft(b[i:]), true)
	return ok && len(trimLeft(rest)) == 0
}

// parseParams takes the parameters that routing needs. A second one of the same name is refused: two readers could
// choose differently (RFC 3261 7.3.1).
func (v *Via) parseParams() bool {
	rest := v.Params
	for rest != nil {
		p, next, ok := nextParam(rest, ';')
		if !ok || !p.isSound() {
			return false
		}
		rest = next
		switch {
		case len(p.name) < 5 || len(p.name) > 8:
			continue
		case foldEqual(p.name, "branch"):
			ok = v.Branch == nil && len(p.value) > 0
			v.Branch = p.value
		case foldEqual(p.name, "received"):
			ok = v.Received == nil && len(p.value) > 0
			v.Received = unbracket(p.value)
			ok = ok && (isIPv4(v.Received) || isIPv6(v.Received))
		case foldEqual(p.name, "maddr"):
			ok = v.MAddr == nil && len(p.value) > 0
			v.MAddr = unbracket(p.value)
		case foldEqual(p.name, "rport"):
			ok = !v.HasRPort
			v.HasRPort = true
			if ok && p.value != nil {
				var n uint64
				n, ok = parseUint(p.value, 65535)
				v.RPort = uint16(n)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

func unbracket(b []byte) []byte {
	if len(b) > 2 && b[0] == '[' && b[len(b)-1] == ']' {
		return b[1 : len(b)-1]
	}
	return b
}

// SetReceived notes in the top Via where the request really came from: received always (RFC 3581 4 asks for it with
// rport, and RFC 3261 18.2.1 whenever sent-by differs), the value of rport if the sender asked for it. source is the
// text of an IP address without brackets. A received and an rport value that the sender wrote himself are replaced.
// It returns ErrVia if the Via cannot be read.
func (m *Message) SetReceived(source string, port uint16) error {
	top := m.Get(HdrVia)
	v, err := m.TopVia()
	if err != nil {
		return err
	}
	at := uint32(len(m.arena))
	head := len(top) - len(v.Params)
	if v.Params != nil {
		head-- // the ';'
	}
	m.arena = append(m.arena, top[:head]...)
	var branch, mAddr span // in the new value
	for rest := v.Params; rest != nil; {
		p, next, _ := nextParam(rest, ';')
		raw := rest
		if next != nil {
			raw = rest[:len(rest)-len(next)-1]
		}
		rest = next
		if foldEqual(p.name, "received") {
			continue
		}
		m.arena = append(m.arena, ';')
		begin := uint32(len(m.arena)) - at
		switch {
		case foldEqual(p.name, "branch"):
			branch = span{begin + uint32(cap(raw)-cap(v.Branch)), uint32(len(v.Branch))}
		case foldEqual(p.name, "maddr"):
			mAddr = span{begin + uint32(cap(raw)-cap(v.MAddr)), uint32(len(v.MAddr))}
		}
		if foldEqual(p.name, "rport") {
			m.arena = append(m.arena, "rport="...)
			m.arena = strconv.AppendUint(m.arena, uint64(port), 10)
			continue
		}
		m.arena = append(m.arena, raw...)
	}
	m.arena = append(m.arena, ";received="...)
	m.arena = append(m.arena, source...)
	if !isSafe(m.arena[at:]) {
		m.arena = m.arena[:at]
		m.drop("source address")
		return ErrVia
	}
	f := &m.fields[m.first(HdrVia)]
	*f = field{off: at | arenaBit, n: uint16(uint32(len(m.arena)) - at)}
	m.keepVia(f, top, &v, [...]span{branch, mAddr}, len(source), port)
	return nil
}

// keepVia keeps the reading of the Via that SetReceived has made of top and written into f, so that nobody need read it again. v is the reading
// of top, moved are its branch and maddr in the new value; received stands at its end.
func (m *Message) keepVia(f *field, top []byte, v *Via, moved [2]span, source int, port uint16) {
	value := m.bytes(f.off, uint32(f.n))
	inHead := func(part []byte) []byte { return value[cap(top)-cap(part):][:len(part)] }
	inParams := func(s span) []byte {
		if s.n == 0 {
			return nil
		}
		return value[s.off:][:s.n]
	}
	now := Via{Transport: inHead(v.Transport), Host: inHead(v.Host), Port: v.Port, Branch: inParams(moved[0]), MAddr: inParams(moved[1]),
		Received: value[len(value)-source:], HasRPort: v.HasRPort, Params: value[bytes.IndexByte(value, ';')+1:]}
	if v.HasRPort {
		now.RPort = port
	}
	if isIPv4(now.Received) || isIPv6(now.Received) {
		m.read.via.keep(f, now.places())
	}
}
