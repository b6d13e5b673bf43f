package rtpport

import "encoding/binary"

// Types of RTCP packets (RFC 3550 12.1, RFC 4585 6.1, RFC 3611 2).
const (
	senderReport      = 200
	receiverReport    = 201
	description       = 202
	goodbye           = 203
	transportFeedback = 205
	payloadFeedback   = 206
	extendedReport    = 207
)

// itemCNAME is the item of SDES that names a source (RFC 3550 6.5.1).
const itemCNAME = 1

// shapedControl returns what of a compound packet, whose lengths add up, passes on. It is b where a laboratory lets everything pass, else it is valid until the
// next packet; empty if nothing is left, and nil if it is malformed.
func (l *Leg) shapedControl(b []byte) []byte {
	w := compound{out: l.rx.space().control[:0], shape: l.shapeOf()}
	if w.cname = w.shape.CNAME; w.cname == "" {
		w.cname = l.tx.cname
	}
	for rest := b; len(rest) > 0; {
		n := 4 + 4*int(binary.BigEndian.Uint16(rest[2:]))
		if !w.take(rest[:n]) {
			return nil
		}
		rest = rest[n:]
	}
	if w.others && !l.refuses(DropControl) {
		return b
	}
	return w.out
}

// compound is one that is written anew.
type compound struct {
	out    []byte // what passes
	shape  *Shape
	cname  string
	others bool // there was something that nobody agreed on
	chunks int  // sources that it describes
}

// take takes one RTCP packet, and reports whether it is well-formed.
func (w *compound) take(p []byte) bool {
	if p[0]&padded != 0 {
		n := int(p[len(p)-1])
		if n == 0 || n%4 != 0 || n > len(p)-4 {
			return false
		}
		w.others, p = true, p[:len(p)-n]
	}
	count := int(p[0] & countRTCP)
	switch kind := p[1]; {
	case kind == senderReport:
		return w.keep(p, 28+24*count)
	case kind == receiverReport:
		return w.keep(p, 8+24*count)
	case kind == description && count > 0:
		return w.describe(p, count)
	case kind == goodbye && count > 0:
		return w.keep(p, 4+4*count) // without its reason
	case kind == transportFeedback && w.shape.Transport&(1<<count) != 0, kind == payloadFeedback && w.shape.Payload&(1<<count) != 0:
		return w.keep(p, max(12, len(p)))
	case kind == extendedReport && w.shape.Extended:
		return w.keep(p, max(8, len(p)))
	}
	w.others = true // APP, and what nobody agreed on or knows
	return true
}

// keep writes the first n octets of a packet; what stands behind is an extension of somebody's own.
func (w *compound) keep(p []byte, n int) bool {
	if n > len(p) {
		return false
	}
	w.others = w.others || len(p) > n
	at := len(w.out)
	w.out = append(w.out, p[:n]...)
	w.finish(at)
	return true
}

// finish gives the packet that begins at at its length, and no padding.
func (w *compound) finish(at int) {
	w.out[at] &^= padded
	binary.BigEndian.PutUint16(w.out[at+2:], uint16((len(w.out)-at)/4-1))
}

// maxChunks bounds the sources that a compound packet describes: as many as a leg has, and some that a mixer has behind it.
const maxChunks = 4 * maxSources

// describe writes SDES with a CNAME for each source, and it is ours.
func (w *compound) describe(p []byte, count int) bool {
	if w.chunks += count; w.chunks > maxChunks {
		return false
	}
	at := len(w.out)
	w.out = append(w.out, p[:4]...)
	p = p[4:]
	for range count {
		n, only, ok := chunk(p)
		if !ok {
			return false
		}
		w.others = w.others || !only
		w.out = append(w.out, p[:4]...)
		w.out = append(append(w.out, itemCNAME, uint8(len(w.cname))), w.cname...)
		for pad := 4 - (2+len(w.cname))%4; pad > 0; pad-- { // at least one (RFC 3550 6.5)
			w.out = append(w.out, 0)
		}
		p = p[n:]
	}
	w.others = w.others || len(p) > 0
	w.finish(at)
	return true
}

// chunk reads how long a chunk of SDES is, and whether a CNAME is all that it has (RFC 3550 6.5).
func chunk(p []byte) (n int, only, ok bool) {
	names, others := 0, 0
	for n = 4; n < len(p) && p[n] != 0; {
		if n+2 > len(p) {
			return 0, false, false
		}
		if p[n] == itemCNAME {
			names++
		} else {
			others++
		}
		n += 2 + int(p[n+1])
	}
	if n >= len(p) {
		return 0, false, false // no end
	}
	n = (n + 4) &^ 3
	return n, names == 1 && others == 0, n <= len(p)
}
