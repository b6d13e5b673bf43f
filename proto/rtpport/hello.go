package rtpport

import "encoding/binary"

// clientHello is what a datagram says of the ClientHello in it, to tell two handshakes apart (RFC 6347 4.2.1); it decides nothing else. The hello of a
// client with keys that withstand a quantum computer is longer than a datagram and comes in pieces (RFC 6347 4.2.3): the random is in the first.
type clientHello struct {
	random [32]byte // of the first piece
	seq    uint16   // the number of the message in its handshake
	length uint32   // octets of the whole message
	offset uint32   // of this piece in it
	size   uint32   // of this piece
	cookie bool     // the first piece brings one back
}

// The sizes of RFC 6347 4.1 and 4.2.2, and where the random stands in a ClientHello.
const (
	recordHeader    = 13
	handshakeHeader = 12
	helloVersion    = 2
)

// helloOf reads a datagram that begins with a ClientHello, or with a piece of one.
func helloOf(b []byte) (h clientHello, ok bool) {
	const body = recordHeader + handshakeHeader
	if len(b) < body || b[0] != 22 || binary.BigEndian.Uint16(b[3:]) != 0 || b[recordHeader] != 1 {
		return h, false
	}
	m := b[recordHeader:]
	h.length, h.offset, h.size = uint24(m[1:]), uint24(m[6:]), uint24(m[9:])
	h.seq = binary.BigEndian.Uint16(m[4:])
	if h.offset > 0 {
		return h, h.size > 0 && h.offset+h.size <= h.length
	}
	const random, sessionID = body + helloVersion, body + helloVersion + 32
	if len(b) < sessionID {
		return h, false
	}
	h.random = [32]byte(b[random:])
	if len(b) > sessionID {
		cookie := sessionID + 1 + int(b[sessionID])
		h.cookie = len(b) > cookie && b[cookie] > 0 // whether it is the right one the handshake decides
	}
	return h, true
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// begins reports whether the piece is the first one.
func (h *clientHello) begins() bool { return h.offset == 0 }

// continues reports whether h is a further piece of the hello that first began. A forged piece can spoil that attempt alone: the peer's next
// hello begins another.
func (h *clientHello) continues(first *clientHello) bool {
	return !h.begins() && h.seq == first.seq && h.length == first.length && first.size < first.length
}
