package sip

import (
	"bytes"
	"strconv"
)

// Edits change the index; the octets they bring are copied into the arena, so a caller may build values on its stack
// and may pass views of the same message. Every edit ends the validity of the views taken before.
//
// CR, LF and NUL never leave in a value: an edit with one of them panics under Limits.Poison and drops the field,
// counted in Pool.DroppedEdits, otherwise. The same holds for a name that is no token, a value of 64 KiB and a field
// too many. Content-Length is computed by the emission; editing it has no effect.
//
// A value of a list field with commas becomes as many fields as the parser would make of it.

// Set makes v the only value of h, at the place of the first if there is one.
func (m *Message) Set(h HeaderID, v []byte) {
	f, ok := m.store(h, v)
	m.setField(h, f, ok)
}

// SetString is Set for a string.
func (m *Message) SetString(h HeaderID, v string) {
	f, ok := m.storeString(h, v)
	m.setField(h, f, ok)
}

// SetUint is Set for a decimal number.
func (m *Message) SetUint(h HeaderID, n uint64) {
	var digits [20]byte
	m.Set(h, strconv.AppendUint(digits[:0], n, 10))
}

func (m *Message) setField(h HeaderID, f field, ok bool) {
	i := m.first(h)
	switch {
	case !ok:
		m.Remove(h)
	case i < 0:
		m.insert(m.placeOf(h), h, f)
	default:
		m.removeAfter(i, h)
		m.replace(i, h, f)
	}
}

// Prepend puts v before the first value of h. The first Via, Route, Record-Route, Path of a message goes where
// RFC 3261 7.3.1 recommends it: to the top.
func (m *Message) Prepend(h HeaderID, v []byte) {
	if f, ok := m.store(h, v); ok {
		m.prependField(h, f)
	}
}

// PrependString is Prepend for a string.
func (m *Message) PrependString(h HeaderID, v string) {
	if f, ok := m.storeString(h, v); ok {
		m.prependField(h, f)
	}
}

func (m *Message) prependField(h HeaderID, f field) {
	i := m.first(h)
	if i < 0 {
		i = m.placeOf(h)
	}
	m.insert(i, h, f)
}

// Append puts v behind the last value of h.
func (m *Message) Append(h HeaderID, v []byte) {
	if f, ok := m.store(h, v); ok {
		m.appendField(h, f)
	}
}

// AppendString is Append for a string.
func (m *Message) AppendString(h HeaderID, v string) {
	if f, ok := m.storeString(h, v); ok {
		m.appendField(h, f)
	}
}

func (m *Message) appendField(h HeaderID, f field) {
	i := m.last(h) + 1
	if i == 0 {
		i = m.placeOf(h)
	}
	m.insert(i, h, f)
}

// ReplaceFirst makes v the first value of h in the place of the one that is there; without one it is Prepend.
func (m *Message) ReplaceFirst(h HeaderID, v []byte) {
	f, ok := m.store(h, v)
	i := m.first(h)
	switch {
	case ok && i < 0:
		m.insert(m.placeOf(h), h, f)
	case ok:
		m.replace(i, h, f)
	case i >= 0:
		m.delete(i)
	}
}

// RemoveFirst takes the first value of h away and reports whether there was one.
func (m *Message) RemoveFirst(h HeaderID) bool {
	m.check()
	i := m.first(h)
	if i >= 0 {
		m.delete(i)
	}
	return i >= 0
}

// RemoveLast takes the last value of h away and reports whether there was one.
func (m *Message) RemoveLast(h HeaderID) bool {
	m.check()
	i := m.last(h)
	if i >= 0 {
		m.delete(i)
	}
	return i >= 0
}

// Remove takes all values of h away and returns how many there were. HdrOther means every field without an id.
func (m *Message) Remove(h HeaderID) int {
	m.check()
	return m.removeAfter(-1, h)
}

// RemoveToken takes the values of h that are token away, without regard to case, and returns how many there were: for Require, Supported, Allow and
// their like, whose values have no parameters.
func (m *Message) RemoveToken(h HeaderID, token string) int {
	m.check()
	n := 0
	for at := m.last(h); at >= 0; at = bytes.LastIndexByte(m.ids[:at], byte(h)) {
		if foldEqual(m.value(at), token) {
			m.delete(at)
			n++
		}
	}
	return n
}

// removeAfter removes the values of h behind index i.
func (m *Message) removeAfter(i int, h HeaderID) int {
	at := bytes.IndexByte(m.ids[i+1:], byte(h))
	if at < 0 {
		return 0
	}
	return m.removeIf(i+1+at, func(at int) bool { return m.ids[at] == byte(h) })
}

// removeIf removes the fields from index i on for which gone is true and returns their number.
func (m *Message) removeIf(i int, gone func(at int) bool) int {
	kept := i
	for at := i; at < len(m.ids); at++ {
		if gone(at) {
			continue
		}
		if kept != at {
			m.ids[kept], m.fields[kept] = m.ids[at], m.fields[at]
		}
		kept++
	}
	n := len(m.ids) - kept
	m.ids, m.fields = m.ids[:kept], m.fields[:kept]
	return n
}

// Rewrite puts what change makes of each value of h in its place. Where nothing changes the fields stay as they are. v is valid during the
// call of change only.
func (m *Message) Rewrite(h HeaderID, change func(v []byte) []byte) {
	var values [][]byte
	same := true
	for v := range m.Values(h) {
		now := change(v)
		same = same && bytes.Equal(now, v)
		values = append(values, bytes.Clone(now))
	}
	if same {
		return
	}
	m.Remove(h)
	for _, v := range values {
		m.Append(h, v)
	}
}

// Keep removes every field that is not in allow and returns how many those were. Content-Length is no field.
func (m *Message) Keep(allow *HeaderSet) int {
	m.check()
	return m.removeIf(0, func(at int) bool { return !allow.Has(HeaderID(m.ids[at])) })
}

// Within reports whether every field is in allow.
func (m *Message) Within(allow *HeaderSet) bool {
	m.check()
	for _, h := range m.ids {
		if !allow.Has(HeaderID(h)) {
			return false
		}
	}
	return true
}

// SetName is Set for a field named on the wire; names that have an id (compact forms too) become that id.
func (m *Message) SetName(name string, v []byte) {
	h := LookupHeader([]byte(name))
	if h != HdrOther {
		m.Set(h, v)
		return
	}
	f, ok := m.storeNamed(name, v)
	i := m.firstName(name)
	if !ok || i < 0 {
		m.RemoveName(name)
		if ok {
			m.insert(len(m.ids), HdrOther, f)
		}
		return
	}
	m.removeIf(i+1, func(at int) bool { return m.isNamed(at, name) })
	m.fields[i] = f
}

// AppendName is Append for a field named on the wire.
func (m *Message) AppendName(name string, v []byte) {
	h := LookupHeader([]byte(name))
	if h != HdrOther {
		m.Append(h, v)
	} else if f, ok := m.storeNamed(name, v); ok {
		m.insert(len(m.ids), HdrOther, f)
	}
}

// RemoveName removes all fields called name (any case, compact forms too) and returns how many there were.
func (m *Message) RemoveName(name string) int {
	m.check()
	if h := LookupHeader([]byte(name)); h != HdrOther {
		return m.Remove(h)
	}
	return m.removeIf(0, func(at int) bool { return m.isNamed(at, name) })
}

func (m *Message) isNamed(at int, name string) bool {
	return m.ids[at] == byte(HdrOther) && foldEqual(m.fieldName(at), name)
}

// SetRequestURI replaces the Request-URI. White space, which would move the parts of the start line, counts as unsafe.
func (m *Message) SetRequestURI(v []byte) {
	if bytes.IndexByte(v, ' ') >= 0 || bytes.IndexByte(v, '\t') >= 0 || len(v) == 0 {
		m.drop("Request-URI")
		return
	}
	if s, ok := m.put(v); ok {
		m.uri = s
	}
}

// SetStatus replaces the status code and the reason phrase of a response; "" is the default phrase of the code.
func (m *Message) SetStatus(code int, reason string) {
	if code < 100 || code > 699 {
		m.drop("status code")
		return
	}
	if reason == "" {
		reason = ReasonPhrase(code)
	}
	if s, ok := m.putString(reason); ok {
		m.status, m.reason = uint16(code), s
	}
}

// SetBody replaces the body and the fields that describe it: Content-Type becomes contentType, Content-Encoding,
// -Disposition, -Language and -ID go. A nil body with contentType "" removes it. Any octets may stand in a body.
func (m *Message) SetBody(contentType string, body []byte) {
	m.check()
	m.removeIf(0, func(at int) bool {
		switch HeaderID(m.ids[at]) {
		case HdrContentEncoding, HdrContentDisposition, HdrContentLanguage, HdrContentID:
			return true
		}
		return false
	})
	if contentType == "" {
		m.Remove(HdrContentType)
	} else {
		m.SetString(HdrContentType, contentType)
	}
	m.body = span{uint32(len(m.arena)) | arenaBit, uint32(len(body))}
	m.arena = append(m.arena, body...)
}

// SetToTag adds a tag to the To field if it has none (RFC 3261 8.2.6.2).
func (m *Message) SetToTag(tag string) {
	to := m.Get(HdrTo)
	if to == nil || len(m.ToTag()) > 0 {
		return
	}
	f, ok := m.storeParts(HdrTo, to, ";tag=", tag)
	m.setField(HdrTo, f, ok)
}

// placeOf is where the first field of id h goes: routing to the top, behind the Vias, all else to the end.
func (m *Message) placeOf(h HeaderID) int {
	switch h {
	case HdrVia:
		return 0
	case HdrRoute, HdrRecordRoute, HdrPath, HdrServiceRoute, HdrMaxForwards:
		return m.last(HdrVia) + 1
	}
	return len(m.ids)
}

// replace puts a value in the place of field i.
func (m *Message) replace(i int, h HeaderID, f field) {
	if m.isList(h, f) {
		m.delete(i)
		m.insert(i, h, f)
		return
	}
	m.fields[i] = f
}

// insert puts a value into the index before position i: one field, or several if it is a list with commas.
func (m *Message) insert(i int, h HeaderID, f field) {
	if m.isList(h, f) {
		m.insertList(i, h, f.off, m.bytes(f.off, uint32(f.n)))
		return
	}
	m.insertOne(i, h, f)
}

func (m *Message) isList(h HeaderID, f field) bool {
	t := headerDefs[h].trait
	return (t == list || t == tokens) && bytes.IndexByte(m.bytes(f.off, uint32(f.n)), ',') >= 0
}

// insertList splits v, which stands at off, as the parser would.
func (m *Message) insertList(i int, h HeaderID, off uint32, v []byte) {
	var flags uint16
	join := headerDefs[h].trait == tokens && allOf(v, clsTokens)
	for begin := 0; begin < len(v); {
		var n int
		if headerDefs[h].trait == tokens {
			n = bytes.IndexByte(v[begin:], ',')
		} else {
			n = m.listComma(h, v[begin:])
		}
		if n < 0 {
			n = len(v) - begin
		}
		one := trimLeft(v[begin : begin+n])
		start := begin + n - len(one)
		if one = trim(one); len(one) > 0 {
			m.insertOne(i, h, field{off: off + uint32(start), n: uint16(len(one)), flags: flags})
			i++
			if join {
				flags = flagJoin
			}
		}
		begin += n + 1
	}
}

// insertOne puts one field into the index before position i.
func (m *Message) insertOne(i int, h HeaderID, f field) {
	if h == HdrContentLength {
		return
	}
	n := len(m.ids)
	if !m.reserve(n + 1) {
		m.drop("too many fields")
		return
	}
	m.ids = m.ids[:n+1]
	m.fields = m.fields[:n+1]
	copy(m.ids[i+1:], m.ids[i:n])
	copy(m.fields[i+1:], m.fields[i:n])
	m.ids[i], m.fields[i] = byte(h), f
}

func (m *Message) delete(i int) {
	m.ids = append(m.ids[:i], m.ids[i+1:]...)
	m.fields = append(m.fields[:i], m.fields[i+1:]...)
}
