package rtpport

import "encoding/binary"

// Shape is what may pass a relay beside a voice: what the descriptions agreed on. The zero value is nothing: no header extension, no feedback.
//
// Whatever else a packet has room for is taken out before it is passed on, because two ends could carry data for each other there, beside a
// call that sounds like one: contributing sources, padding, extensions of headers and reports, APP, items of SDES, reasons of BYE. What
// is left is a voice and its reports: number, timestamp, marker and the octets of the codec itself are the far end's to choose, and only Rate bounds them.
type Shape struct {
	// Extensions are the header extensions that may come, by identifier (RFC 8285 5): bit n%64 of word n/64.
	Extensions [4]uint64
	// Transport and Payload are the messages of feedback that may come, by format (RFC 4585 6.1): bit n is FMT n of type 205, and of 206.
	Transport, Payload uint32
	// Extended lets extended reports through (RFC 3611).
	Extended bool
	// CNAME stands in the place of the far end's, which may tell a person or a device (RFC 7022 3): at most 255 octets. "" is one that the leg
	// has drawn. Streams that belong together have the same (RFC 3550 6.5.1).
	CNAME string
}

// Shape changes what may pass a relay, at any time. s must not be changed any more.
func (l *Leg) Shape(s *Shape) { l.rx.shape.Store(s) }

// shapeOf is what may pass now.
func (l *Leg) shapeOf() *Shape {
	if s := l.rx.shape.Load(); s != nil {
		return s
	}
	return &Shape{}
}

// Bits of the first octet of RTP, RTCP (RFC 3550 5.1, 6.4.1).
const (
	bare      = 0x80 // version 2, and nothing else
	padded    = 0x20
	extended  = 0x10
	countRTP  = 0x0f // contributing sources
	countRTCP = 0x1f
)

// shaped takes out of an authentic packet what nobody agreed on. It works in b, and returns nil if the packet is malformed. Most packets have nothing of that, and do
// not come here.
func (l *Leg) shaped(b []byte, shape *Shape) []byte {
	at := rtpHeader + 4*int(b[0]&countRTP)
	end := at
	if b[0]&extended != 0 && len(b) >= at+4 {
		end = at + 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	if end > len(b) || b[0]&extended != 0 && end == at {
		return nil
	}
	if b[0]&padded != 0 {
		n := int(b[len(b)-1])
		if n == 0 || end+n > len(b) {
			return nil
		}
		if l.refuses(DropPadding) {
			b[0] &^= padded
			b = b[:len(b)-n]
		}
	}
	if b[0]&extended != 0 {
		b = l.withoutExtensions(b, at, end, shape)
	}
	if b[0]&countRTP != 0 && l.refuses(DropContributors) {
		b[0] &^= countRTP
		b = cutOut(b, rtpHeader, at)
	}
	return b
}

// cutOut takes from to to out of b, by moving what stands in front, which is short.
func cutOut(b []byte, from, to int) []byte {
	copy(b[to-from:], b[:from])
	return b[to-from:]
}

// withoutExtensions takes the elements out of the header extension, at b[at:end], that nobody agreed on, and all of it if none is left.
func (l *Leg) withoutExtensions(b []byte, at, end int, shape *Shape) []byte {
	agreed := &shape.Extensions
	some, others := elements(b[at:end], agreed, false)
	if some && !others || !l.refuses(DropExtension) {
		return b
	}
	if some {
		elements(b[at:end], agreed, true)
		return b
	}
	b[0] &^= extended
	return cutOut(b, at, end)
}

// elements goes through a header extension (RFC 8285 4.2, 4.3) and reports whether there are elements that were agreed on, and others. With wipe
// the others become padding. What cannot be read as RFC 8285 has it is all of it other.
func elements(x []byte, agreed *[4]uint64, wipe bool) (some, others bool) {
	profile, b := binary.BigEndian.Uint16(x), x[4:]
	long := profile&0xfff0 == 0x1000
	if !long && profile != 0xbede {
		return false, true
	}
	if long && profile&0xf != 0 { // appbits
		others = true
		if wipe {
			x[1] &^= 0xf
		}
	}
	for len(b) > 0 {
		id, n := element(b, long)
		switch {
		case id == 0 && n == 1: // padding
		case n == 0 || n > len(b):
			n, others = len(b), true // the rest: nobody can read it
			if wipe {
				clear(b)
			}
		case agreed[id/64]&(1<<(id%64)) != 0:
			some = true
		default:
			others = true
			if wipe {
				clear(b[:n])
			}
		}
		b = b[n:]
	}
	return some, others
}

// element reads the identifier of an element and how long all of it is; 0 if that cannot be said.
func element(b []byte, long bool) (id uint8, n int) {
	switch {
	case b[0] == 0:
		return 0, 1
	case long && len(b) < 2:
		return 0, 0
	case long:
		return b[0], 2 + int(b[1])
	case b[0]>>4 == 0 || b[0]>>4 == 15: // RFC 8285 4.2: what stands behind is not read
		return 0, 0
	}
	return b[0] >> 4, 2 + int(b[0]&0xf)
}
