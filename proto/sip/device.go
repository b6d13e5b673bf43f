package sip

import "bytes"

// ofDevice are the parameters of Contact that are for the registrar (RFC 5626 4.1, 4.2): the number of the device, and of its flow. A
// GRUU stays: it is made so that it gives nothing away (RFC 5627, TS 24.229 5.4.7A).
var ofDevice = []string{"+sip.instance", "reg-id", "pub-gruu", "temp-gruu"}

// NamesDevice reports whether a Contact says which device its sender has, in what only the registrar needs.
func (m *Message) NamesDevice() bool {
	for v := range m.Values(HdrContact) {
		addr, err := ParseNameAddr(v)
		if err != nil {
			return !bytes.Equal(v, []byte{'*'}) // what can't be read is for nobody
		}
		for _, name := range ofDevice {
			if _, has := Param(addr.Params, name); has {
				return true
			}
		}
	}
	return false
}

// DropDevice writes each Contact again without what is for the registrar, and without its display name. One that can't be read is dropped.
func (m *Message) DropDevice() {
	n := m.Count(HdrContact)
	for range n { // the first goes, and comes back as the last
		var b [512]byte
		addr, err := ParseNameAddr(m.Get(HdrContact))
		clean := appendWithoutDevice(b[:0], addr)
		switch {
		case err != nil:
			m.RemoveFirst(HdrContact)
		case n == 1:
			m.Set(HdrContact, clean)
		default:
			m.RemoveFirst(HdrContact)
			m.Append(HdrContact, clean)
		}
	}
}

func appendWithoutDevice(b []byte, addr NameAddr) []byte {
	b = append(append(append(b, '<'), addr.URI...), '>')
	for param := range splitParams(addr.Params) {
		name, _, _ := bytes.Cut(param, []byte{'='})
		if !isOfDevice(bytes.TrimSpace(name)) {
			b = append(append(b, ';'), param...)
		}
	}
	return b
}

func isOfDevice(name []byte) bool {
	for _, n := range ofDevice {
		if bytes.EqualFold(name, []byte(n)) {
			return true
		}
	}
	return false
}

// splitParams yields what stands between the semicolons of parameters, those inside quotes apart.
func splitParams(params []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		start, quoted := 0, false
		for i := 0; i < len(params); i++ {
			switch c := params[i]; {
			case c == '"':
				quoted = !quoted
			case c == '\\' && quoted:
				i++
			case c == ';' && !quoted:
				if param := bytes.TrimSpace(params[start:i]); len(param) > 0 && !yield(param) {
					return
				}
				start = i + 1
			}
		}
		if param := bytes.TrimSpace(params[start:]); len(param) > 0 {
			yield(param)
		}
	}
}
