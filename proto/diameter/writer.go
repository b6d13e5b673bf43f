package diameter

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// MaxDepth is how deep Grouped AVPs may stand in each other, sent and received.
const MaxDepth = 6

// ErrTooLong is returned by Writer.End for a message above 2^24-4 octets.
var ErrTooLong = errors.New("diameter: message too long")

// Writer appends one message to a slice. Flags, vendor and code of each AVP come from the dictionary. A Writer is made by
// Begin, used by one goroutine and ended by End. It allocates only when the slice has no room.
type Writer struct {
	b     []byte
	start int
	depth int
	open  [MaxDepth]int // where the groups that are open begin
}

// Begin starts a message behind what dst holds.
func Begin(dst []byte, h Header) Writer {
	w := Writer{b: dst, start: len(dst)}
	w.b = binary.BigEndian.AppendUint32(w.b, version<<24)
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(h.Flags)<<24|uint32(h.Command))
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(h.Application))
	w.b = binary.BigEndian.AppendUint32(w.b, h.HopByHop)
	w.b = binary.BigEndian.AppendUint32(w.b, h.EndToEnd)
	return w
}

// head appends the header of an AVP with n octets of data.
func (w *Writer) head(id ID, n int) {
	d := &dictionary[id]
	flags, length := uint32(0), 8+n
	if d.M {
		flags |= avpMandatory
	}
	if d.Vendor != 0 {
		flags |= avpVendor
		length += 4
	}
	w.b = binary.BigEndian.AppendUint32(w.b, d.Code)
	w.b = binary.BigEndian.AppendUint32(w.b, flags<<24|uint32(length))
	if d.Vendor != 0 {
		w.b = binary.BigEndian.AppendUint32(w.b, d.Vendor)
	}
}

// pad fills up to a multiple of four.
func (w *Writer) pad() {
	for (len(w.b)-w.start)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

// Octets appends an AVP with any octets: OctetString and every type derived from it.
func (w *Writer) Octets(id ID, v []byte) {
	w.head(id, len(v))
	w.b = append(w.b, v...)
	w.pad()
}

// Text appends an AVP with text: UTF8String, DiameterIdentity, DiameterURI.
func (w *Writer) Text(id ID, v string) {
	w.head(id, len(v))
	w.b = append(w.b, v...)
	w.pad()
}

// TextIf appends an AVP if there is text.
func (w *Writer) TextIf(id ID, v string) {
	if v != "" {
		w.Text(id, v)
	}
}

// Unsigned32 appends an AVP with a number.
func (w *Writer) Unsigned32(id ID, v uint32) {
	w.head(id, 4)
	w.b = binary.BigEndian.AppendUint32(w.b, v)
}

// Unsigned64 appends an AVP with a number.
func (w *Writer) Unsigned64(id ID, v uint64) {
	w.head(id, 8)
	w.b = binary.BigEndian.AppendUint64(w.b, v)
}

// Enumerated appends an AVP with one of listed values.
func (w *Writer) Enumerated(id ID, v int32) { w.Unsigned32(id, uint32(v)) }

// Address appends an AVP with an IPv4 or IPv6 address.
func (w *Writer) Address(id ID, v netip.Addr) {
	v = v.Unmap()
	if v.Is4() {
		b := v.As4()
		w.head(id, 6)
		w.b = append(binary.BigEndian.AppendUint16(w.b, familyIPv4), b[:]...)
	} else {
		b := v.As16()
		w.head(id, 18)
		w.b = append(binary.BigEndian.AppendUint16(w.b, familyIPv6), b[:]...)
	}
	w.pad()
}

// Time appends an AVP with a time of day, in whole seconds between 1968 and 2104.
func (w *Writer) Time(id ID, v time.Time) { w.Unsigned32(id, uint32(v.Unix()+ntpEra)) }

// Open begins a Grouped AVP; what follows until Close stands in it. It panics above MaxDepth: a defect of the caller.
func (w *Writer) Open(id ID) {
	w.open[w.depth] = len(w.b)
	w.depth++
	w.head(id, 0)
}

// Close ends the group opened last.
func (w *Writer) Close() {
	w.depth--
	at := w.open[w.depth]
	w.setLength(at+4, len(w.b)-at)
}

// Raw appends whole AVPs as they are, padded if they are not.
func (w *Writer) Raw(avps []byte) {
	w.b = append(w.b, avps...)
	w.pad()
}

// Len is how many octets the message has so far.
func (w *Writer) Len() int { return len(w.b) - w.start }

func (w *Writer) setLength(at, n int) {
	v := binary.BigEndian.Uint32(w.b[at:])
	binary.BigEndian.PutUint32(w.b[at:], v&^0xffffff|uint32(n)&0xffffff)
}

// End writes the length and returns dst with the message. ErrTooLong: dst as it was.
func (w *Writer) End() ([]byte, error) {
	n := w.Len()
	if n > 0xffffff {
		return w.b[:w.start], ErrTooLong
	}
	w.setLength(w.start, n)
	return w.b, nil
}

// Bytes returns what has been written so far, for pieces of messages that were not begun with Begin.
func (w *Writer) Bytes() []byte { return w.b }
