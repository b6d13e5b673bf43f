package sip

import "strconv"

const (
	versionSP        = "SIP/2.0 "
	spVersion        = " SIP/2.0"
	contentLengthTag = "\r\nContent-Length: "
)

// AppendTo appends the message in its one canonical form to dst and returns the longer slice: start line, one line
// per field with canonical names in the order of the index, Content-Length, body. Option tags, methods and event
// names that came on one line leave on one line; all other values have a line each, so that no reader can take two
// for one. It does not allocate if dst has room for Size octets.
func (m *Message) AppendTo(dst []byte) []byte {
	return m.AppendFiltered(dst, nil)
}

// AppendFiltered is AppendTo without the fields that are not in allow: what is not meant for a direction does not
// leave in it. Content-Length always leaves. A nil set allows everything.
func (m *Message) AppendFiltered(dst []byte, allow *HeaderSet) []byte {
	m.check()
	dst = m.appendStartLine(dst)
	dst = m.appendFields(dst, allow)
	dst = append(dst, contentLengthTag...)
	dst = strconv.AppendUint(dst, uint64(m.body.n), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, m.bytes(m.body.off, m.body.n)...)
}

func (m *Message) appendStartLine(dst []byte) []byte {
	if m.request {
		dst = append(dst, m.MethodName()...)
		dst = append(dst, ' ')
		dst = append(dst, m.bytes(m.uri.off, m.uri.n)...)
		return append(dst, spVersion...)
	}
	dst = append(dst, versionSP...)
	dst = strconv.AppendUint(dst, uint64(m.status), 10)
	dst = append(dst, ' ')
	return append(dst, m.bytes(m.reason.off, m.reason.n)...)
}

// appendFields writes CR LF, name, colon, SP and value for each field. Where the slab already holds exactly these
// octets it collects fields into a run and copies the run.
func (m *Message) appendFields(dst []byte, allow *HeaderSet) []byte {
	var runStart, runEnd uint32 // in the slab; empty if equal
	prev := -1                  // the last field written
	for i, id := range m.ids {
		if allow != nil && !allow.Has(HeaderID(id)) {
			continue
		}
		f := &m.fields[i]
		join := f.flags&flagJoin != 0 && prev >= 0 && prev == i-1 && m.ids[prev] == id
		prev = i
		if f.flags&flagVerbatim != 0 && (join || f.flags&flagJoin == 0) {
			lead := uint32(2) // comma, SP
			if id == byte(HdrOther) {
				lead = uint32(f.back) + 2 // CR, LF, name, colon, SP
			} else if !join {
				lead = uint32(len(headerDefs[id].name)) + 4
			}
			if start := f.off - lead; start != runEnd || runStart == runEnd {
				dst = append(dst, m.buf[runStart:runEnd]...)
				runStart = start
			}
			runEnd = f.off + uint32(f.n)
			continue
		}
		dst = append(dst, m.buf[runStart:runEnd]...)
		runStart, runEnd = 0, 0
		if join {
			dst = append(dst, ", "...)
		} else {
			dst = append(dst, "\r\n"...)
			dst = append(dst, m.fieldName(i)...)
			dst = append(dst, ": "...)
		}
		dst = append(dst, m.bytes(f.off, uint32(f.n))...)
	}
	return append(dst, m.buf[runStart:runEnd]...)
}

// Size returns the number of octets that AppendTo would write.
func (m *Message) Size() int {
	m.check()
	n := 0
	if m.request {
		n = len(m.MethodName()) + 1 + int(m.uri.n) + len(spVersion)
	} else {
		n = len(versionSP) + digits(uint32(m.status)) + 1 + int(m.reason.n)
	}
	for i, id := range m.ids {
		f := &m.fields[i]
		if f.flags&flagJoin != 0 && i > 0 && m.ids[i-1] == id {
			n += 2 + int(f.n)
			continue
		}
		n += 4 + int(f.n)
		if id == byte(HdrOther) {
			n += int(f.name)
		} else {
			n += len(headerDefs[id].name)
		}
	}
	return n + len(contentLengthTag) + digits(m.body.n) + 4 + int(m.body.n)
}

// digits is the number of decimal digits of n.
func digits(n uint32) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}
