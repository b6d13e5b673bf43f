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
)

// maxSources is how many SSRCs one peer may use on a leg. One is normal, a second appears after a transfer; the bound
// keeps an authenticated peer from filling memory with made-up sources.
const maxSources = 4

// receiver is the receiving half. It belongs to Run's goroutine; the handshake fills it before ready is closed.
type receiver struct {
	srtp    *srtp.Context    // nil on a plain leg
	types   [2]atomic.Uint64 // payload types agreed
	tag     int              // octets of tag of the profile
	header  rtp.Header
	control rtcp.Header
	plain   []byte
	frame   Frame

	mu   sync.Mutex // guards what reports read: the contents of srcs. Only Run's goroutine adds to it
	srcs []source
	few  [maxSources]source // its room
}

// accept makes room for packets, when there are keys.
func (r *receiver) accept() {
	r.srcs = r.few[:0]
}

// room is where packets are opened: that of whoever reads the port, or the leg's own.
func (r *receiver) room() []byte {
	if r.plain == nil {
		r.plain = make([]byte, 0, maxPacket)
	}
	return r.plain
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
func (l *Leg) rtp(b []byte) {
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
	if at < 0 && len(r.srcs) == maxSources {
		l.counters.drop(DropSSRC)
		return
	}
	if r.srtp != nil {
		out, err := r.srtp.DecryptRTP(r.room(), b, &r.header)
		if err != nil {
			if !l.unverified(err, b) {
				return
			}
			out = b[:len(b)-r.tag]
		}
		b = out
	}
	n, err := r.header.Unmarshal(b)
	if err != nil {
		l.counters.drop(DropMalformed)
		return
	}
	if l.cfg.Relay != nil {
		l.relay(at, ssrc, b)
		return
	}
	payload := b[n:]
	if r.header.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			l.counters.drop(DropMalformed)
			return
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	// From here on the packet is known to be the peer's.
	r.note(at, ssrc, l.cfg.Clock.Now())
	l.counters.PacketsIn.Add(1)
	l.counters.OctetsIn.Add(uint64(len(payload)))
	if l.deaf.Load() {
		l.counters.drop(DropHold)
		return
	}
	r.frame = Frame{
		PayloadType: r.header.PayloadType, Marker: r.header.Marker, Sequence: r.header.SequenceNumber,
		Timestamp: r.header.Timestamp, SSRC: ssrc, Payload: payload,
	}
	l.cfg.Receive(&r.frame)
}

func (r *receiver) note(at int, ssrc uint32, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at < 0 {
		at = len(r.srcs)
		r.srcs = append(r.srcs, source{ssrc: ssrc})
	}
	r.srcs[at].received(r.header.SequenceNumber, r.header.Timestamp, now)
}

// blocks makes the report about each source and notes what is missing in all.
func (l *Leg) blocks(now time.Duration) []rtcp.ReceptionReport {
	r := &l.rx
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]rtcp.ReceptionReport, len(r.srcs))
	lost := uint64(0)
	for i := range r.srcs {
		list[i] = r.srcs[i].block(now)
		lost += uint64(list[i].TotalLost)
	}
	l.counters.Lost.Store(lost)
	return list
}

func (r *receiver) find(ssrc uint32) int {
	for i := range r.srcs {
		if r.srcs[i].ssrc == ssrc {
			return i
		}
	}
	return -1
}

// unverified counts a packet that did not open, and reports whether it goes on all the same: a wrong tag, in a laboratory. Of a replay
// its window has told already.
func (l *Leg) unverified(err error, b []byte) bool {
	why := reason(err)
	if why != DropTag {
		l.counters.drop(why)
		return false
	}
	return !l.refuses(why) && len(b) >= rtpHeader+l.rx.tag
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

// rtcp takes a control packet from the agreed address.
func (l *Leg) rtcp(b []byte) {
	r := &l.rx
	if len(b) < 8 {
		l.counters.drop(DropShort)
		return
	}
	if r.srtp != nil {
		out, err := r.srtp.DecryptRTCP(r.room(), b, &r.control)
		if err != nil {
			l.counters.drop(reason(err))
			return
		}
		b = out
	}
	if l.cfg.Relay != nil {
		l.relayControl(b)
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
			r.reported(p.SSRC, p.NTPTime, l.cfg.Clock.Now())
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
