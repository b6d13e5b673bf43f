package rtpport

import "encoding/binary"

// itemMID is the item of SDES that names the m= line of a source (RFC 9143 15.2).
const itemMID = 15

// sources are those in whose name a leg sends, each with its line: the outgoing SSRC mapping table of RFC 9143 9.2.
type sources struct {
	n    int
	list [maxFar]struct {
		ssrc uint32
		line uint8
	}
}

// sources copies the table, which who sends writes.
func (l *Leg) sources(to *sources) {
	l.tx.mu.Lock()
	defer l.tx.mu.Unlock()
	to.n = 0
	add := func(u *used) {
		if u.known && to.n < len(to.list) {
			to.list[to.n].ssrc, to.list[to.n].line = u.ssrc, u.line
			to.n++
		}
	}
	add(&l.tx.fresh.first)
	if l.tx.fresh.more != nil {
		for i := range *l.tx.fresh.more {
			add(&(*l.tx.fresh.more)[i])
		}
	}
}

// of reports whether a source sends for a line.
func (s *sources) of(ssrc uint32, line uint8) bool {
	for _, x := range s.list[:s.n] {
		if x.ssrc == ssrc {
			return x.line == line
		}
	}
	return false
}

// relayLines hands on a compound RTCP packet in parts: each line gets what is about its sources (RFC 9143 9.2). What is about none goes nowhere.
func (l *Leg) relayLines(b []byte) {
	u := l.rx.bundle.Load()
	c := portion{members: u.members, room: l.rx.space()}
	l.sources(&c.room.sent)
	passed := false
	for i := range u.Lines {
		if part := c.part(b, &u.Lines[i]); len(part) > 0 {
			passed = true
			u.Lines[i].Relay(part, true)
		}
	}
	for rest := b; len(rest) > 0; rest = rest[size(rest):] {
		if rest[1] == goodbye {
			for i := range int(rest[0] & countRTCP) {
				u.members.leave(binary.BigEndian.Uint32(rest[4+4*i:]))
			}
		}
	}
	if !passed {
		l.refuses(DropBundle)
	}
}

// size is how long an RTCP packet is. Its lengths are known to add up.
func size(p []byte) int { return 4 + 4*int(binary.BigEndian.Uint16(p[2:])) }

// portion writes the part of a compound packet that is about one line.
type portion struct {
	members *members
	room    *room
	line    *Line
	out     []byte
}

// part is valid until the next one; empty if nothing is about the line.
func (c *portion) part(b []byte, n *Line) []byte {
	c.line, c.out = n, c.room.part[:0]
	begins := b[1] == senderReport || b[1] == receiverReport
	for rest := b; len(rest) > 0; rest = rest[size(rest):] {
		p, at := rest[:size(rest)], len(c.out)
		switch {
		case p[1] == senderReport || p[1] == receiverReport:
			c.report(p)
		case p[1] == description:
			c.describe(p, begins)
		case p[1] == goodbye:
			c.goodbye(p)
		case c.concerns(p):
			c.out = append(c.out, p...)
		}
		if begins && at == 0 && len(c.out) > 0 && c.out[1] != senderReport && c.out[1] != receiverReport {
			// RFC 3550 6.1: a compound packet that began with a report still does, with an empty one.
			empty := [8]byte{bare, receiverReport, 0, 1}
			copy(empty[4:], b[4:8])
			c.out = append(c.out, empty[:]...)
			copy(c.out[8:], c.out[:len(c.out)-8])
			copy(c.out, empty[:])
		}
	}
	c.room.part = c.out[:0]
	return c.out
}

// received and sent report whether a source of the peer, or one in whose name we send to it, is of the line.
func (c *portion) received(ssrc uint32) bool {
	k := c.members.of(ssrc)
	return k != nil && k.line == c.line.Number
}

func (c *portion) sent(ssrc uint32) bool { return c.room.sent.of(ssrc, c.line.Number) }

// report keeps of a sender or receiver report what the line's sources say, and the blocks about those that it is sent. A sender report whose
// sender is of another line has blocks alone to give.
func (c *portion) report(p []byte) {
	at, head, mine := len(c.out), 8, c.received(binary.BigEndian.Uint32(p[4:]))
	if p[1] == senderReport {
		head = 28
	}
	count, kept := int(p[0]&countRTCP), 0
	if len(p) < head+24*count {
		return
	}
	if mine {
		c.out = append(c.out, p[:head]...)
	} else {
		c.out = append(append(c.out, p[0], receiverReport), p[2:8]...)
	}
	for i := range count {
		if block := p[head+24*i:][:24]; c.sent(binary.BigEndian.Uint32(block)) {
			c.out = append(c.out, block...)
			kept++
		}
	}
	if kept == 0 && !mine {
		c.out = c.out[:at]
		return
	}
	c.finish(at, kept)
}

// finish gives the packet that begins at at its count and its length.
func (c *portion) finish(at, count int) {
	c.out[at] = bare | byte(count)
	binary.BigEndian.PutUint16(c.out[at+2:], uint16((len(c.out)-at)/4-1))
}

// describe keeps the chunks of SDES about sources of the line, and of who has reported in this part.
func (c *portion) describe(p []byte, begins bool) {
	at, kept, reporter := len(c.out), 0, begins && len(c.out) >= 8
	c.out = append(c.out, p[:4]...)
	for rest, left := p[4:], int(p[0]&countRTCP); left > 0; left-- {
		n, _, ok := chunk(rest)
		if !ok {
			break
		}
		ssrc := binary.BigEndian.Uint32(rest)
		if c.received(ssrc) || reporter && ssrc == binary.BigEndian.Uint32(c.out[4:]) {
			c.out = append(c.out, rest[:n]...)
			kept++
		}
		rest = rest[n:]
	}
	if kept == 0 {
		c.out = c.out[:at]
		return
	}
	c.finish(at, kept)
}

// goodbye keeps the sources of the line.
func (c *portion) goodbye(p []byte) {
	at, kept := len(c.out), 0
	c.out = append(c.out, p[:4]...)
	for i := range int(p[0] & countRTCP) {
		if ssrc := p[4+4*i:][:4]; c.received(binary.BigEndian.Uint32(ssrc)) {
			c.out = append(c.out, ssrc...)
			kept++
		}
	}
	if kept == 0 {
		c.out = c.out[:at]
		return
	}
	c.finish(at, kept)
}

// Formats of feedback whose targets stand in its control information (RFC 5104 4.2, 4.3), and of REMB, which browsers have.
const (
	tmmbr, tmmbn           = 3, 4
	fir, tstr, tstn, alfb  = 4, 5, 6, 15
	rembName               = 0x52454d42 // "REMB"
	feedbackHead, rembHead = 12, 20
)

// concerns reports whether feedback, or an extended report, is about the line.
func (c *portion) concerns(p []byte) bool {
	format := int(p[0] & countRTCP)
	word := func(at int) uint32 { return binary.BigEndian.Uint32(p[at:]) }
	switch {
	case p[1] == extendedReport:
		return c.line.Shape.Extended && c.extended(p)
	case len(p) < feedbackHead || p[1] != transportFeedback && p[1] != payloadFeedback:
		return false
	case p[1] == transportFeedback && c.line.Shape.Transport&(1<<format) == 0, p[1] == payloadFeedback && c.line.Shape.Payload&(1<<format) == 0:
		return false
	case p[1] == transportFeedback && format == tmmbr, p[1] == payloadFeedback && (format == fir || format == tstr):
		return c.any(p[feedbackHead:], 8, c.sent)
	case p[1] == transportFeedback && format == tmmbn, p[1] == payloadFeedback && format == tstn:
		return c.any(p[feedbackHead:], 8, c.received) || len(p) == feedbackHead && c.received(word(4))
	case p[1] == payloadFeedback && format == alfb && len(p) >= rembHead && word(feedbackHead) == rembName:
		return c.any(p[rembHead:], 4, c.sent)
	}
	return c.sent(word(8))
}

// any reports whether one of the sources, of which one stands at the beginning of each step, is of the line.
func (c *portion) any(b []byte, step int, of func(uint32) bool) bool {
	for ; len(b) >= step; b = b[step:] {
		if of(binary.BigEndian.Uint32(b)) {
			return true
		}
	}
	return false
}

// extended reports whether extended reports come from a source of the line, or have a block about one that it is sent (RFC 3611 4).
func (c *portion) extended(p []byte) bool {
	if c.received(binary.BigEndian.Uint32(p[4:])) {
		return true
	}
	for b := p[8:]; len(b) >= 8 && size(b) <= len(b); b = b[size(b):] {
		switch b[0] {
		case 1, 2, 3, 6, 7: // loss, duplicates, times of receipt, statistics, VoIP
			if c.sent(binary.BigEndian.Uint32(b[4:])) {
				return true
			}
		case 5: // delay since the last report of receivers
			if c.any(b[4:size(b)], 12, c.sent) {
				return true
			}
		}
	}
	return false
}

// learn takes down which line a source belongs to by the MIDs in SDES (RFC 9143 15.2). Before the packet is shaped: the items do not pass.
func (l *Leg) learn(b []byte) {
	u := l.rx.bundle.Load()
	for ; len(b) > 0; b = b[size(b):] {
		if b[1] != description {
			continue
		}
		p := b[4:size(b)]
		for range int(b[0] & countRTCP) {
			n, _, ok := chunk(p)
			if !ok {
				break
			}
			if line := u.named(itemOf(p[4:n], itemMID)); line != nil {
				u.members.join(binary.BigEndian.Uint32(p), line.Number)
			}
			p = p[n:]
		}
	}
}

// itemOf finds an item in a chunk of SDES, whose lengths fit (RFC 3550 6.5).
func itemOf(items []byte, kind byte) []byte {
	for len(items) >= 2 && items[0] != 0 {
		n := 2 + int(items[1])
		if items[0] == kind {
			return items[2:n]
		}
		items = items[n:]
	}
	return nil
}
