package sip

import (
	"bytes"
	"encoding/binary"
)

// Defect is what the parser noticed but could represent; Validate chooses the answer.
type Defect uint16

// The defects, several of which may be present.
const (
	DefectStartLine Defect = 1 << iota // white space where the start line has none (RFC 3261 7.1, 7.2)
	DefectVersion                      // a SIP version other than 2.0
	DefectStatus                       // a status code other than 100 to 699
	DefectLine                         // a header line without a name: it is not in the index
	DefectList                         // an empty value, an open quote or bracket in a list
	DefectLength                       // Content-Length twice, or not a number in range
	DefectTruncated                    // Content-Length larger than what came
	DefectNoEnd                        // no empty line behind the header, which ends with a whole line
	DefectControl                      // a control character in the header that no backslash escapes
)

// Defects returns what the parser noticed in m as it was received.
func (m *Message) Defects() Defect {
	m.check()
	return m.defects
}

// Parse copies one whole message (a datagram, or what a Framer returned) into a slab and indexes it. It refuses, with
// a *ParseError, only what an index cannot hold; call Validate for the rest. Octets behind Content-Length are dropped
// (RFC 3261 18.3). The caller owns the message and releases it; Parse keeps no reference to data. Safe for concurrent
// use; it does not allocate when the pool is warm.
func (p *Pool) Parse(data []byte) (*Message, error) {
	// RFC 3261 7.5: line ends before the start line are ignored.
	for len(data) >= 2 && data[0] == '\r' && data[1] == '\n' {
		data = data[2:]
	}
	if len(data) == 0 {
		return nil, ErrEmpty
	}
	if len(data) > p.limits.MaxMessage {
		return nil, ErrTooLarge
	}
	m := p.get()
	m.slab = p.getSlab(len(data))
	m.buf = m.slab.buf[:copy(m.slab.buf, data)]
	if err := m.parse(); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

func (m *Message) parse() error {
	buf := m.buf
	pos := bytes.IndexByte(buf, '\n') + 1
	if pos < 2 || buf[pos-2] != '\r' {
		return ErrLineEnd
	}
	if err := m.parseStartLine(pos - 2); err != nil {
		return err
	}
	if hasControl(buf[:pos-2]) {
		if err := m.judgeControls(buf[:pos-2]); err != nil {
			return err
		}
	}
	if pos < len(buf) && isLWS(buf[pos]) {
		return ErrStartLine // a folded start line
	}
	m.room = min(cap(m.ids), m.pool.limits.MaxFields)
	for {
		if pos == len(buf) {
			m.defects |= DefectNoEnd
			return m.parseEnd(pos)
		}
		i := bytes.IndexByte(buf[pos:], '\n')
		if i < 0 {
			return ErrNoEnd
		}
		end := pos + i
		if i == 0 || buf[end-1] != '\r' {
			return ErrLineEnd
		}
		if i == 1 {
			return m.parseEnd(end + 1)
		}
		if end+1 < len(buf) && isLWS(buf[end+1]) {
			if end = unfold(buf, end); end < 0 {
				return ErrNoEnd
			}
			if buf[end-1] != '\r' {
				return ErrLineEnd
			}
		}
		if end-pos > m.pool.limits.MaxLine {
			return ErrLineTooLong
		}
		line := buf[pos : end-1]
		if hasControl(line) {
			if err := m.judgeControls(line); err != nil {
				return err
			}
		}
		if err := m.parseField(line, pos); err != nil {
			return err
		}
		pos = end + 1
	}
}

// unfold returns where the LF of a field stands that goes on behind the one at end, after it made spaces of the line
// ends within (RFC 3261 7.3.1: a fold is equivalent to one SP). It returns -1 if there is none.
func unfold(buf []byte, end int) int {
	for end+1 < len(buf) && isLWS(buf[end+1]) && buf[end-1] == '\r' {
		buf[end-1], buf[end] = ' ', ' '
		i := bytes.IndexByte(buf[end:], '\n')
		if i < 0 {
			return -1
		}
		end += i
	}
	return end
}

// parseEnd finds the body, which starts at head.
func (m *Message) parseEnd(head int) error {
	for b := m.buf[:head]; ; {
		i := bytes.IndexByte(b, 0x7f)
		if i < 0 {
			break
		}
		if i == 0 || b[i-1] != '\\' {
			m.defects |= DefectControl
		}
		b = b[i+1:]
	}
	rest := len(m.buf) - head
	n := int(m.contentLength)
	switch {
	case n < 0 || m.defects&DefectLength != 0:
		n = rest // RFC 3261 18.3: without Content-Length the body is the rest of the datagram
	case n > rest:
		m.defects |= DefectTruncated
		n = rest
	}
	if n > m.pool.limits.MaxBody {
		return ErrTooLarge
	}
	m.body = span{uint32(head), uint32(n)}
	return nil
}

// hasControl reports whether an octet below 32 stands in b. It looks at eight at once: taking 32 from an octet below
// 32 borrows from its top bit. The borrow may make the octet above it look so too, but without one there is none.
func hasControl(b []byte) bool {
	const spaces, tops = 0x2020202020202020, 0x8080808080808080
	var found uint64
	for len(b) >= 32 {
		w := b[:32]
		x0, x1 := binary.LittleEndian.Uint64(w), binary.LittleEndian.Uint64(w[8:])
		x2, x3 := binary.LittleEndian.Uint64(w[16:]), binary.LittleEndian.Uint64(w[24:])
		found |= (x0-spaces)&^x0 | (x1-spaces)&^x1 | (x2-spaces)&^x2 | (x3-spaces)&^x3
		b = b[32:]
	}
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		found |= (x - spaces) &^ x
		b = b[8:]
	}
	for _, c := range b {
		found |= (uint64(c) - 0x20) &^ uint64(c)
	}
	return found&tops != 0
}

// judgeControls looks at each control character of a line. A tab is white space; one behind a backslash is a
// quoted-pair (RFC 3261 25.1) and may stay. Of those a NUL becomes a question mark, because peers written in C would
// see the value end there. A CR would be a line end to some readers and none to others.
func (m *Message) judgeControls(line []byte) error {
	for i, c := range line {
		escaped := i > 0 && line[i-1] == '\\'
		switch {
		case c == '\r':
			return ErrLineEnd
		case c == 0 && !escaped:
			return ErrNUL
		case c == 0:
			line[i] = '?'
		case c < ' ' && c != '\t' && !escaped:
			m.defects |= DefectControl
		}
	}
	return nil
}

// parseStartLine reads buf[:end].
func (m *Message) parseStartLine(end int) error {
	line := m.buf[:end]
	for len(line) > 0 && isLWS(line[len(line)-1]) {
		if len(line) > 4 && string(line[:4]) == "SIP/" {
			break // an empty reason phrase
		}
		line = line[:len(line)-1]
		m.defects |= DefectStartLine
	}
	if len(line) > 4 && foldEqual(line[:4], "SIP/") {
		return m.parseStatusLine(line)
	}
	return m.parseRequestLine(line)
}

// parseVersion notes a version other than SIP/2.0; ok is false if v is no SIP version at all.
func (m *Message) parseVersion(v []byte) (ok bool) {
	// RFC 3261 7.1: the version is case-insensitive, digits are compared as they are.
	if string(v) == "SIP/2.0" || foldEqual(v, "SIP/2.0") {
		return true
	}
	if len(v) < 4 || !foldEqual(v[:4], "SIP/") {
		return false
	}
	m.defects |= DefectVersion
	return true
}

func (m *Message) parseRequestLine(line []byte) error {
	m.request = true
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 0 || first == last {
		return ErrStartLine
	}
	if !m.parseVersion(line[last+1:]) {
		return ErrStartLine
	}
	name, uri := line[:first], line[first+1:last]
	if !isToken(name) {
		return ErrStartLine
	}
	if m.method = ParseMethod(name); m.method == MethodOther {
		m.methodName = span{0, uint32(first)}
	}
	m.uri = span{uint32(first + 1), uint32(len(uri))}
	if len(uri) == 0 || bytes.IndexByte(uri, ' ') >= 0 || bytes.IndexByte(uri, '\t') >= 0 {
		m.defects |= DefectStartLine
	}
	return nil
}

func (m *Message) parseStatusLine(line []byte) error {
	sp := bytes.IndexByte(line, ' ')
	if sp < 0 || !m.parseVersion(line[:sp]) {
		return ErrStartLine
	}
	code := line[sp+1:]
	reason := len(line)
	if i := bytes.IndexByte(code, ' '); i >= 0 {
		code, reason = code[:i], sp+1+i+1
	}
	// RFC 3261 7.2: three digits. A missing SP behind them, with no phrase, does no harm (RFC 4475 3.1.1.13).
	n, ok := parseUint(code, 699)
	if !ok || len(code) != 3 || n < 100 {
		m.defects |= DefectStatus
		n = 0
	}
	m.status = uint16(n)
	m.reason = span{uint32(reason), uint32(len(line) - reason)}
	return nil
}

// parseField indexes the unfolded header line that stands at pos, without its line end.
func (m *Message) parseField(line []byte, pos int) error {
	n := bytes.IndexByte(line, ':')
	start := n + 1
	// RFC 3261 25.1 (HCOLON): white space may stand before the colon. It does not confuse the next hop, because the
	// field leaves in canonical form.
	for n > 0 && isLWS(line[n-1]) {
		n--
	}
	if n <= 0 {
		m.defects |= DefectLine
		return nil
	}
	h, canonical := lookup(line[:n])
	if h == HdrOther && !allOf(line[:n], clsToken) {
		m.defects |= DefectLine
		return nil
	}
	var flags uint16
	if canonical && len(line) > n+1 && line[n] == ':' && line[n+1] == ' ' {
		flags = flagVerbatim
		start++
	}
	stop := len(line)
	for start < stop && isLWS(line[start]) {
		start++
		flags = 0
	}
	for stop > start && isLWS(line[stop-1]) {
		stop--
	}
	switch headerDefs[h].trait {
	case tokens:
		return m.parseTokens(h, line[start:stop], pos+start, flags)
	case list:
		if bytes.IndexByte(line[start:stop], ',') >= 0 {
			return m.parseList(h, line[start:stop], pos+start, flags)
		}
	case one:
		if h == HdrContentLength {
			m.parseContentLength(line[start:stop])
			return nil
		}
	}
	f := m.next(h)
	if f == nil {
		return ErrTooManyFields
	}
	f.off, f.n, f.flags = uint32(pos+start), uint16(stop-start), flags
	if h == HdrOther {
		f.name, f.back = uint16(n), uint16(start)
	}
	return nil
}

// parseContentLength takes the field out of the index: it is no property of the message but of its framing.
func (m *Message) parseContentLength(v []byte) {
	n, ok := parseUint(v, ceilingMessage)
	switch {
	case !ok && len(v) > 0 && allDigits(v):
		n = 1 << 30 // a number, and larger than any message: DefectTruncated
	case !ok:
		m.defects |= DefectLength
	}
	// RFC 3261 7.3.1: a field that is no list stands once, even if both agree.
	if m.contentLength >= 0 {
		m.defects |= DefectLength
	}
	m.contentLength = int32(n)
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// next puts a field of the parser at the end of the index and returns it to be filled, nil if there is no room.
func (m *Message) next(h HeaderID) *field {
	n := len(m.ids)
	if n >= m.room {
		if n >= m.pool.limits.MaxFields || !m.reserve(n+1) {
			return nil
		}
		m.room = m.pool.limits.MaxFields
	}
	m.ids = m.ids[:n+1]
	m.ids[n] = byte(h)
	m.fields = m.fields[:n+1]
	f := &m.fields[n]
	f.name, f.back = 0, 0
	return f
}

// reserve makes room for n fields; it returns false if there is none.
func (m *Message) reserve(n int) bool {
	if n <= cap(m.ids) {
		return true
	}
	if m.more != nil || n > overflowFields {
		return false
	}
	o, _ := m.pool.overflow.Get().(*overflow)
	if o == nil {
		o = new(overflow)
	}
	m.more = o
	m.ids, m.fields = append(o.ids[:0], m.ids...), append(o.fields[:0], m.fields...)
	return true
}

// parseTokens splits a list of option tags, methods or event names, which stands at pos, at every comma
// (RFC 3261 7.3.1).
func (m *Message) parseTokens(h HeaderID, value []byte, pos int, flags uint16) error {
	s := splitter{m: m, h: h, value: value, pos: pos, flags: flags}
	clean := uint16(clsTokens)
	for i, c := range value {
		clean &= class[c]
		if c != ',' {
			continue
		}
		if clean == 0 {
			s.split = true // something else than tokens: from here each value has a line of its own
		}
		if err := s.cut(i); err != nil {
			return err
		}
	}
	s.split = s.split || clean == 0
	return s.finish()
}

// parseList splits a value that stands at pos at its commas into one field per value (RFC 3261 7.3.1).
func (m *Message) parseList(h HeaderID, value []byte, pos int, flags uint16) error {
	s := splitter{m: m, h: h, value: value, pos: pos, flags: flags, split: true}
	for i := 0; ; i++ {
		n := m.listComma(h, value[i:])
		if n < 0 {
			m.defects |= DefectList
		}
		if n < 0 || i+n == len(value) {
			return s.finish()
		}
		i += n
		if err := s.cut(i); err != nil {
			return err
		}
	}
}

// listComma returns where the first value of the list v ends: before a comma or at the end of v. Quoted strings and
// angle brackets hold commas of their own, and so do, in a Via, the comments that RFC 2543 allowed there. It returns -1
// if one of them has no end or comments stand too deep in each other.
func (m *Message) listComma(h HeaderID, v []byte) int {
	depth := 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '(' && h == HdrVia:
			if depth++; depth > m.pool.limits.MaxNesting {
				return -1
			}
		case depth > 0:
			if c == ')' {
				depth--
			} else if c == '\\' {
				i++
			}
		case c == '"' || c == '<':
			var end int
			if c == '"' {
				end = closeQuote(v[i:])
			} else {
				end = bytes.IndexByte(v[i:], '>')
			}
			if end < 0 {
				return -1
			}
			i += end
		case c == ',':
			return i
		}
	}
	if depth > 0 {
		return -1
	}
	return len(v)
}

// splitter adds the values of one line to the index.
type splitter struct {
	m     *Message
	h     HeaderID
	split bool   // each value leaves on a line of its own
	flags uint16 // of the value at hand
	value []byte // the line without the name
	pos   int    // where value stands in the slab
	begin int    // start of the value at hand
	last  int    // end of the value before it
	n     int    // values so far
}

// cut adds the value that ends before i, which is a comma or the end of the line.
func (s *splitter) cut(i int) error {
	start, end := s.begin, i
	s.begin = i + 1
	for start < end && isLWS(s.value[start]) {
		start++
	}
	for end > start && isLWS(s.value[end-1]) {
		end--
	}
	flags := s.flags
	s.flags = 0
	if start == end {
		// A comma too many in a list of tokens is common and harmless; elsewhere it is not (RFC 4475 3.1.2.1).
		if headerDefs[s.h].trait != tokens {
			s.m.defects |= DefectList
		}
		return nil
	}
	if s.n > 0 && !s.split {
		flags = flagJoin
		if start == s.last+2 && s.value[start-1] == ' ' {
			flags |= flagVerbatim
		}
	}
	if s.n++; s.n > s.m.pool.limits.MaxList {
		return ErrTooManyValues
	}
	s.last = end
	return s.add(start, end, flags)
}

// finish adds the last value. A line without any leaves one empty field, so that it is not lost.
func (s *splitter) finish() error {
	flags := s.flags
	if err := s.cut(len(s.value)); err != nil || s.n > 0 {
		return err
	}
	return s.add(len(s.value), len(s.value), flags)
}

func (s *splitter) add(start, end int, flags uint16) error {
	f := s.m.next(s.h)
	if f == nil {
		return ErrTooManyFields
	}
	f.off, f.n, f.flags = uint32(s.pos+start), uint16(end-start), flags
	return nil
}
