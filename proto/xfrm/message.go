package xfrm

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"imsafe/proto/esp"
)

// Messages, attributes and words of the kernel's interface (linux/netlink.h, linux/xfrm.h).
const (
	msgError = 2
	msgDone  = 3

	msgNewSA     = 0x10
	msgDelSA     = 0x11
	msgGetSA     = 0x12
	msgNewPolicy = 0x13
	msgDelPolicy = 0x14
	msgGetPolicy = 0x15
	msgExpire    = 0x18
	msgUpdSA     = 0x1a

	flagRequest = 0x1
	flagAck     = 0x4
	flagCreate  = 0x400 | 0x200 // and it must be new
	flagDump    = 0x300

	attrAuth      = 1
	attrCrypt     = 2
	attrTemplate  = 5
	attrSource    = 13
	attrAEAD      = 18
	attrAuthTrunc = 20
	attrReplay    = 23

	familyIPv4 = 2
	familyIPv6 = 10
	protoESP   = 50
	transport  = 0

	dirIn  = 0
	dirOut = 1
)

// Sizes of the kernel's structures, on machines that align eight octets at eight.
const (
	sizeHeader       = 16
	sizeSelector     = 56
	sizeID           = 24
	sizeAddress      = 16
	sizeLimits       = 64
	sizeCurrent      = 32
	sizeStats        = 12
	sizeSA           = 224
	sizeSAID         = 24
	sizePolicy       = 168
	sizePolicyID     = 64
	sizeTemplate     = 64
	sizeAlgorithm    = 64 // the name
	offsetSAID       = sizeSelector
	offsetSASource   = offsetSAID + sizeID
	offsetSALimits   = offsetSASource + sizeAddress
	offsetSACurrent  = offsetSALimits + sizeLimits
	offsetSAStats    = offsetSACurrent + sizeCurrent
	offsetSAReqid    = offsetSAStats + sizeStats + 4
	offsetSAFamily   = offsetSAReqid + 4
	offsetSAMode     = offsetSAFamily + 2
	offsetPolLimits  = sizeSelector
	offsetPolRest    = offsetPolLimits + sizeLimits + sizeCurrent
	offsetTmplRest   = sizeID + 4 + sizeAddress
	replayWindow     = 256 // packets
	softPackets      = 1 << 31
	hardPackets      = math.MaxUint32 - 1 // no extended sequence numbers in ipsec-3gpp
	noLimit          = math.MaxUint64
	policyPriority   = 16
	everyAlgorithm   = math.MaxUint32
	allPorts         = 0xffff
	sizeExpire       = sizeSA + 8
	sizeReplayBitmap = replayWindow / 8
)

var native = binary.NativeEndian

// message is requests to the kernel, one after another. Its memory is used again, and wiped: it has had keys in it.
type message struct {
	b     []byte
	start int // of the request that is being written
	count int
	told  func(number int, body []byte) // gets what the kernel tells of an association; nil for nobody
}

// begin starts a request. Its number is how many came before it.
func (m *message) begin(kind, flags uint16) {
	m.start = len(m.b)
	m.b = append(m.b, make([]byte, sizeHeader)...)
	h := m.b[m.start:]
	native.PutUint16(h[4:], kind)
	native.PutUint16(h[6:], flags|flagRequest)
	native.PutUint32(h[8:], uint32(m.count))
}

// end finishes it.
func (m *message) end() {
	native.PutUint32(m.b[m.start:], uint32(len(m.b)-m.start))
	m.count++
}

// reset empties and wipes m.
func (m *message) reset() {
	clear(m.b)
	m.b, m.count = m.b[:0], 0
}

// body appends n octets and returns them, zero.
func (m *message) body(n int) []byte {
	m.b = append(m.b, make([]byte, n)...)
	return m.b[len(m.b)-n:]
}

// attribute appends an attribute of n octets and returns these, zero.
func (m *message) attribute(kind uint16, n int) []byte {
	h := m.body(4 + (n+3)&^3)
	native.PutUint16(h, uint16(4+n))
	native.PutUint16(h[2:], kind)
	return h[4 : 4+n]
}

func putAddress(b []byte, a netip.Addr) { copy(b, a.AsSlice()) }

func family(a netip.Addr) uint16 {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}

// selector is what packets an association or a policy is for: both protocols, from one end to the other. The zero address is any, and
// so is port 0.
type selector struct {
	family   uint16
	src, dst netip.AddrPort
}

func (s selector) put(b []byte) {
	end := func(address, port, bits []byte, a netip.AddrPort) {
		if a.Addr().IsValid() {
			putAddress(address, a.Addr())
			bits[0] = uint8(a.Addr().BitLen())
		}
		if a.Port() != 0 {
			binary.BigEndian.PutUint16(port, a.Port())
			binary.BigEndian.PutUint16(port[2:], allPorts)
		}
	}
	end(b, b[32:], b[42:], s.dst)
	end(b[16:], b[36:], b[43:], s.src)
	native.PutUint16(b[40:], s.family)
}

// putLimits writes the hard end, in whole seconds after the association was added; 0 is none. Nothing ends softly but the packets, whose half
// is the time to authenticate again.
func putLimits(b []byte, life time.Duration, packets bool) {
	for i := range 4 {
		native.PutUint64(b[8*i:], noLimit)
	}
	if packets {
		native.PutUint64(b[16:], softPackets)
		native.PutUint64(b[24:], hardPackets)
	}
	native.PutUint64(b[40:], uint64((life+time.Second-1)/time.Second))
}

// association is one security association in the kernel, one way.
type association struct {
	spi      uint32
	src, dst netip.AddrPort
	inbound  bool
}

// set is the four associations of an agreement. It has no keys.
type set struct {
	all       [4]association
	transform esp.Transform
}

// setOf names the four (TS 33.203 7.1).
func setOf(g *esp.Agreement) (s set) {
	s.transform = g.Transform
	for side := range esp.Side(2) {
		here := netip.AddrPortFrom(g.Local, g.Here.Port[side])
		there := netip.AddrPortFrom(g.Peer, g.There.Port[1-side])
		s.all[2*side] = association{g.Here.SPI[side], there, here, true}
		s.all[2*side+1] = association{g.There.SPI[1-side], here, there, false}
	}
	return s
}

// appendSA appends a request to add an association, or to write its limits anew (msgUpdSA): then the kernel wants keys and does not take
// them over, so it gets none. Selector, replay state and keys of the association stay.
func (m *message) appendSA(kind uint16, a *association, k *keys, tag uint32, life time.Duration) {
	flags := uint16(flagAck)
	if kind == msgNewSA {
		flags |= flagCreate
	}
	m.begin(kind, flags)
	b := m.body(sizeSA)
	selector{family(a.dst.Addr()), a.src, a.dst}.put(b)
	a.putID(b[offsetSAID:])
	putAddress(b[offsetSASource:], a.src.Addr())
	putLimits(b[offsetSALimits:], life, true)
	native.PutUint32(b[offsetSAReqid:], tag)
	native.PutUint16(b[offsetSAFamily:], family(a.dst.Addr()))
	b[offsetSAMode] = transport
	k.appendTo(m)
	if a.inbound {
		r := m.attribute(attrReplay, 24+sizeReplayBitmap)
		native.PutUint32(r, sizeReplayBitmap/4)
		native.PutUint32(r[20:], replayWindow)
	}
	m.end()
}

func (a *association) putID(b []byte) {
	putAddress(b, a.dst.Addr())
	binary.BigEndian.PutUint32(b[16:], a.spi)
	b[20] = protoESP
}

// appendSAID appends a request about one association: to delete it, or to say how it stands.
func (m *message) appendSAID(kind uint16, a *association, flags uint16) {
	m.begin(kind, flags)
	b := m.body(sizeSAID)
	putAddress(b, a.dst.Addr())
	binary.BigEndian.PutUint32(b[16:], a.spi)
	native.PutUint16(b[20:], family(a.dst.Addr()))
	b[22] = protoESP
	m.end()
}

// policy is "ESP of ours is required", for a protected port in one direction.
type policy struct {
	port netip.AddrPort
	dir  uint8
}

func (p policy) selector() selector {
	s := selector{family: family(p.port.Addr())}
	if p.dir == dirIn {
		s.dst = p.port
	} else {
		s.src = p.port
	}
	return s
}

// put writes the policy and its template, as netlink and socket options have them.
func (p policy) put(b, template []byte, tag uint32) {
	p.selector().put(b)
	putLimits(b[offsetPolLimits:], 0, false)
	native.PutUint32(b[offsetPolRest:], policyPriority)
	b[offsetPolRest+8] = p.dir
	template[20] = protoESP
	native.PutUint16(template[sizeID:], family(p.port.Addr()))
	rest := template[offsetTmplRest:]
	native.PutUint32(rest, tag)
	rest[4] = transport
	for i := range 3 {
		native.PutUint32(rest[8+4*i:], everyAlgorithm)
	}
}

func (m *message) appendPolicy(p policy, tag uint32) {
	m.begin(msgNewPolicy, flagAck|flagCreate)
	at := len(m.b)
	m.body(sizePolicy)
	template := m.attribute(attrTemplate, sizeTemplate)
	p.put(m.b[at:at+sizePolicy], template, tag)
	m.end()
}

func (m *message) appendDelPolicy(p policy) {
	m.begin(msgDelPolicy, flagAck)
	b := m.body(sizePolicyID)
	p.selector().put(b)
	b[sizeSelector+4] = p.dir
	m.end()
}

func (m *message) appendDump(kind uint16) {
	m.begin(kind, flagDump)
	m.body(map[uint16]int{msgGetSA: sizeSAID, msgGetPolicy: sizePolicyID}[kind])
	m.end()
}
