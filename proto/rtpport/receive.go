package rtpport

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
)

// maxSources is how many SSRCs one peer may use on a leg. One is normal, a second appears after a transfer; the bound
// keeps an authenticated peer from filling memory with made-up sources.
const maxSources = 4

// receiver is the receiving half. It belongs to Run's goroutine; the handshake fills it before the leg is ready. In front what each packet asks.
type receiver struct {
	types [2]atomic.Uint64 // payload types agreed
	clock shard.Clock
	bound Rate  // Config.Rate
	spent spent // of it
	relay func(packet []byte, control bool)
	room  *room         // of whoever reads the port, or the leg's own
	srtp  *srtp.Context // nil on a plain leg
	tag   int32         // octets of tag of the profile
	known int32         // how many sources there were
	ssrcs [maxSources]uint32
	*reception
	_ [16]byte // a multiple of a line
}

// reception is what a receiver has that does not relay, and what one that does seldom asks for.
type reception struct {
	frame Frame
	mu    sync.Mutex // guards what reports read: srcs, and how many there are. Only Run's goroutine adds to them
	srcs  [maxSources]source
	shape atomic.Pointer[Shape] // of a relay: most packets do not ask for it

	bundle atomic.Pointer[bundle] // of a relay with several media
}

// room is where packets are opened, and what their headers are read into. Who reads has one for all its packets.
type room struct {
	plain   []byte
	header  rtp.Header
	parsed  rtcp.Header
	control []byte // a compound packet that a relay passes on, written anew
	part    []byte // what of it is about one medium of a bundle
	sent    sources
}

func newRoom() *room {
	return &room{plain: make([]byte, 0, maxPacket), control: make([]byte, 0, maxPacket), part: make([]byte, 0, maxPacket)}
}

// expect takes down which payload types were agreed on.
func (r *receiver) expect(a *sdp.Agreed) {
	var types [2]uint64
	set := func(pt uint8) { types[pt/64&1] |= 1 << (pt % 64) }
	for _, c := range a.Accept {
		set(c.PayloadType)
	}
	set(a.RecvPT)
	if a.DTMF {
		set(a.RecvDTMF)
	}
	r.types[0].Store(types[0])
	r.types[1].Store(types[1])
}

// Types changes the payload types that may come, after a new offer and answer about the same media: bit t%64 of word t/64 is type t. Not before
// Start, which takes those of the agreement.
func (l *Leg) Types(t [2]uint64) {
	l.rx.types[0].Store(t[0])
	l.rx.types[1].Store(t[1])
}

const rtpHeader = 12

// rtp takes a packet from the agreed address. What can be refused by reading is refused before the cipher runs.
func (l *Leg) rtp(b []byte, now time.Duration) {
	r := &l.rx
	if len(b) < rtpHeader {
		l.counters.drop(DropShort)
		return
	}
	if pt := b[1] & 0x7f; r.types[pt/64].Load()&(1<<(pt%64)) == 0 {
		l.counters.drop(DropPayloadType)
		return
	}
	ssrc := binary.BigEndian.Uint32(b[8:])
	at := r.find(ssrc)
	if at < 0 && r.known == maxSources && l.crowded(ssrc) {
		l.counters.drop(DropSSRC)
		return
	}
	if r.srtp != nil {
		out, err := r.srtp.DecryptRTP(r.space().plain, b, &r.room.header)
		if err != nil {
			if !l.unverified(err, len(b)-rtpHeader-int(r.tag)) {
				return
			}
			out = b[:len(b)-int(r.tag)]
		}
		b = out
	}
	h := &r.space().header
	n, err := h.Unmarshal(b)
	if err != nil {
		l.counters.drop(DropMalformed)
		return
	}
	if r.relay != nil {
		l.relay(at, ssrc, b, now)
		return
	}
	payload := b[n:]
	if h.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			l.counters.drop(DropMalformed)
			return
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	// From here on the packet is known to be the peer's.
	r.note(at, h, now)
	l.counters.PacketsIn.Add(1)
	l.counters.OctetsIn.Add(uint64(len(payload)))
	if l.state.is(deaf) {
		l.counters.drop(DropHold)
		return
	}
	r.frame = Frame{PayloadType: h.PayloadType, Marker: h.Marker, Sequence: h.SequenceNumber, Timestamp: h.Timestamp, SSRC: ssrc, Payload: payload}
	l.cfg.Receive(&r.frame)
}

// crowded reports whether another source is one too many: of a bundle each line has as many as a leg otherwise.
func (l *Leg) crowded(ssrc uint32) bool {
	return !l.state.is(bundled) || l.rx.bundle.Load().full(ssrc)
}

// space is the room; the leg's own, if it reads for itself.
func (r *receiver) space() *room {
	if r.room == nil {
		r.room = newRoom()
	}
	return r.room
}

// note takes down what reports tell of a packet.
func (r *receiver) note(at int, h *rtp.Header, now time.Duration) {
	if at < 0 {
		at = r.meet(h.SSRC)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.srcs[at].received(h.SequenceNumber, h.Timestamp, now)
}

// meet takes a new source down, for which there is room.
func (r *receiver) meet(ssrc uint32) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := int(r.known)
	r.ssrcs[at], r.srcs[at].ssrc = ssrc, ssrc
	r.known++
	return at
}

// blocks makes the report about each source and notes what is missing in all.
func (l *Leg) blocks(now time.Duration) []rtcp.ReceptionReport {
	r := &l.rx
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]rtcp.ReceptionReport, r.known)
	lost := uint64(0)
	for i := range list {
		list[i] = r.srcs[i].block(now)
		lost += uint64(list[i].TotalLost)
	}
	l.counters.Lost.Store(lost)
	return list
}

func (r *receiver) find(ssrc uint32) int {
	for i, known := range r.ssrcs[:r.known] {
		if known == ssrc {
			return i
		}
	}
	return -1
}

// unverified counts a packet that did not open, and reports whether it goes on all the same: a wrong tag, in a laboratory, with so many octets
// beside header and tag. Of a replay its window has told already.
func (l *Leg) unverified(err error, octets int) bool {
	why := reason(err)
	if why != DropTag {
		l.counters.drop(why)
		return false
	}
	return !l.refuses(why) && octets >= 0
}

// reason sorts the module's errors. Anything that is not a wrong tag or a short packet is a replay: the module
// keeps that error to itself.
func reason(err error) Drop {
	switch {
	case errors.Is(err, srtp.ErrFailedToVerifyAuthTag):
		return DropTag
	case isReplay(err):
		return DropReplay
	}
	return DropShort
}

// isReplay: the module has no exported error for it.
func isReplay(err error) bool {
	inner := errors.Unwrap(err)
	return inner != nil && inner.Error() == "duplicated packet"
}

// rtcpHeader has the source in it (RFC 3550 6.4); srtcpIndex follows the packet, with the tag (RFC 3711 3.4).
const rtcpHeader, srtcpIndex = 8, 4

// rtcp takes a control packet from the agreed address.
func (l *Leg) rtcp(b []byte, now time.Duration) {
	r := &l.rx
	if len(b) < rtcpHeader {
		l.counters.drop(DropShort)
		return
	}
	if r.srtp != nil {
		out, err := r.srtp.DecryptRTCP(r.space().plain, b, &r.room.parsed)
		if err != nil {
			trailer := int(r.tag) + srtcpIndex
			if !l.unverified(err, len(b)-rtcpHeader-trailer) {
				return
			}
			out = b[:len(b)-trailer]
		}
		b = out
	}
	if r.relay != nil {
		l.relayControl(b, now)
		return
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		l.counters.drop(DropMalformed)
		return
	}
	l.counters.ControlIn.Add(1)
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			r.reported(p.SSRC, p.NTPTime, now)
			l.tx.heard(p.Reports, l.cfg.Clock.Wall())
		case *rtcp.ReceiverReport:
			l.tx.heard(p.Reports, l.cfg.Clock.Wall())
		case *rtcp.Goodbye:
			l.counters.Byes.Add(1)
		}
	}
}

func (r *receiver) reported(ssrc uint32, ntp uint64, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.find(ssrc); i >= 0 {
		r.srcs[i].report(ntp, now)
	}
}
