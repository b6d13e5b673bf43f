package rtpport

import (
	"encoding/binary"
	"slices"
	"time"
)

// Bundle is what a relay tells apart that has several media of its peer on one transport (RFC 9143): one address, one association, one replay window
// for each source, and of each packet the question which m= line it is for. What belongs to none goes nowhere.
type Bundle struct {
	// Lines are the media. Their numbers and their MIDs differ.
	Lines []Line
	// Extension is the identifier of the header extension that has the MID of a packet (RFC 9143 15.1); 0 if the descriptions did not agree on one.
	Extension uint8
}

// Line is one medium of a bundle: an m= line.
type Line struct {
	Number uint8                             // by which ForwardOf knows it too; below MaxLines
	MID    string                            // its identification tag
	Types  [2]uint64                         // payload types that may come, as in Leg.Types
	Rate   Rate                              // of this medium alone. What all may send together is asked of a packet before its cipher runs, this behind it
	Shape  *Shape                            // what may come beside them
	Relay  func(packet []byte, control bool) // as Config.Relay
}

// MaxLines is how many media a bundle may have.
const MaxLines = 8

// bundle is a Bundle in use, and does not change.
type bundle struct {
	Bundle
	rate    Rate // of all lines
	members *members
}

// members are the sources of the peer, each with the line that it belongs to: the incoming SSRC mapping table of RFC 9143 9.2. They belong to Run's
// goroutine, and stay when the lines change. Only an authentic packet makes one.
type members struct {
	list  []member
	spent [MaxLines]spent
}

type member struct {
	ssrc    uint32
	line    uint8
	named   bool   // by a MID,
	updated uint16 // in the packet with this number
}

// Bundle lets the leg carry several media, or changes which, at any time; nil, one. Sources stay with the lines that they belong to.
func (l *Leg) Bundle(b *Bundle) {
	if b == nil {
		l.state.put(bundled, false)
		return
	}
	u := &bundle{Bundle: *b, members: &members{}}
	if before := l.rx.bundle.Load(); before != nil {
		u.members = before.members
	}
	var types [2]uint64
	all := Shape{}
	for i := range b.Lines {
		line := &b.Lines[i]
		u.rate.Packets += line.Rate.Packets
		u.rate.Octets += line.Rate.Octets
		types[0] |= line.Types[0]
		types[1] |= line.Types[1]
		all.add(line.Shape)
	}
	l.rx.bundle.Store(u)
	l.Types(types)
	l.Shape(&all)
	l.state.set(bundled)
}

// add lets pass what another shape does, too.
func (s *Shape) add(other *Shape) {
	for i := range s.Extensions {
		s.Extensions[i] |= other.Extensions[i]
	}
	s.Transport |= other.Transport
	s.Payload |= other.Payload
	s.Extended = s.Extended || other.Extended
	s.CNAME = other.CNAME
}

// line finds one by its number; nil if it is not in the bundle.
func (b *bundle) line(number uint8) *Line {
	for i := range b.Lines {
		if b.Lines[i].Number == number {
			return &b.Lines[i]
		}
	}
	return nil
}

// named finds one by its MID.
func (b *bundle) named(mid []byte) *Line {
	for i := range b.Lines {
		if b.Lines[i].MID == string(mid) {
			return &b.Lines[i]
		}
	}
	return nil
}

// only finds the one line that has a payload type; nil if several have it, or none.
func (b *bundle) only(pt uint8) (found *Line) {
	for i := range b.Lines {
		if b.Lines[i].has(pt) {
			if found != nil {
				return nil
			}
			found = &b.Lines[i]
		}
	}
	return found
}

func (n *Line) has(pt uint8) bool { return n.Types[pt/64&1]&(1<<(pt%64)) != 0 }

// of finds what is known of a source.
func (m *members) of(ssrc uint32) *member {
	for i := range m.list {
		if m.list[i].ssrc == ssrc {
			return &m.list[i]
		}
	}
	return nil
}

// join puts a source with a line, if that has room for it: nil if not.
func (m *members) join(ssrc uint32, line uint8) *member {
	k := m.of(ssrc)
	if k != nil && k.line == line {
		return k
	}
	if m.count(line) >= maxSources {
		return nil
	}
	if k == nil {
		m.list = append(m.list, member{ssrc: ssrc})
		k = &m.list[len(m.list)-1]
	}
	k.line = line
	return k
}

func (m *members) count(line uint8) (n int) {
	for i := range m.list {
		if m.list[i].line == line {
			n++
		}
	}
	return n
}

// leave forgets a source.
func (m *members) leave(ssrc uint32) {
	m.list = slices.DeleteFunc(m.list, func(k member) bool { return k.ssrc == ssrc })
}

// stay forgets the sources of lines that are in the bundle no more.
func (m *members) stay(b *bundle) {
	m.list = slices.DeleteFunc(m.list, func(k member) bool { return b.line(k.line) == nil })
}

// full reports whether no line has room for another source: then a packet of one need not be opened.
func (b *bundle) full(ssrc uint32) bool {
	return b.members.of(ssrc) == nil && len(b.members.list) >= maxSources*len(b.Lines)
}

// relayLine is relay of a bundle: an authentic packet goes to the m= line that it belongs to (RFC 9143 9.2).
func (l *Leg) relayLine(at int, ssrc uint32, b []byte, now time.Duration) {
	u := l.rx.bundle.Load()
	n, why := u.lineOf(ssrc, b)
	if n == nil {
		if l.refuses(why) {
			return
		}
		n = &u.Lines[0] // as where nobody tells media apart
	}
	if !u.members.spent[n.Number%MaxLines].take(&n.Rate, now, len(b)) && l.refuses(DropRate) {
		return
	}
	if b[0] != bare {
		if b = l.shaped(b, n.Shape); b == nil {
			l.counters.drop(DropMalformed)
			return
		}
	}
	if at < 0 && l.rx.known < maxSources {
		l.rx.meet(ssrc)
	}
	l.passes(b, now, n.Relay)
}

// lineOf finds the line of a packet: by the MID that it has, by the line that its source belongs to, by a payload type that one line alone has.
func (b *bundle) lineOf(ssrc uint32, p []byte) (*Line, Drop) {
	m, pt, seq := b.members, p[1]&0x7f, binary.BigEndian.Uint16(p[2:])
	k := m.of(ssrc)
	if mid := midOf(p, b.Extension); mid != nil && (k == nil || !k.named || int16(seq-k.updated) > 0) {
		n := b.named(mid)
		if n == nil {
			return nil, DropBundle
		}
		if k = m.join(ssrc, n.Number); k == nil {
			return nil, DropSSRC
		}
		k.named, k.updated = true, seq
	}
	if k != nil {
		switch n := b.line(k.line); {
		case n == nil:
			m.stay(b) // the line has left the bundle; its source may come back for another one
			return nil, DropBundle
		case !n.has(pt):
			return nil, DropBundle
		default:
			return n, 0
		}
	}
	n := b.only(pt)
	if n == nil {
		return nil, DropBundle
	}
	if m.join(ssrc, n.Number) == nil {
		return nil, DropSSRC
	}
	return n, 0
}

// midOf reads the MID in the header extension of a packet, which the octets refer to; nil if it has none (RFC 8285 4, RFC 9143 15.1).
func midOf(b []byte, extension uint8) []byte {
	at := rtpHeader + 4*int(b[0]&countRTP)
	if extension == 0 || b[0]&extended == 0 || len(b) < at+4 {
		return nil
	}
	end := at + 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	profile := binary.BigEndian.Uint16(b[at:])
	long := profile&0xfff0 == 0x1000
	if end > len(b) || !long && profile != 0xbede {
		return nil
	}
	for x := b[at+4 : end]; len(x) > 0; {
		id, n := element(x, long)
		if n == 0 || n > len(x) {
			return nil
		}
		if id == extension {
			if long {
				return x[2:n]
			}
			return x[1:n]
		}
		x = x[n:]
	}
	return nil
}
