package rtpport

import (
	"encoding/base64"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// sender is the sending half. Its mutex guards all of it: the voice and the reports come from different goroutines, and the
// SRTP context must not be used twice at once.
//
// What each packet of a relay asks stands in front, the rest elsewhere.
type sender struct {
	mu    sync.Mutex
	srtp  atomic.Pointer[srtp.Context] // nil on a plain leg. Its contents are guarded
	fresh freshness                    // of a relay
	*speech
}

// speech is what a sender has beside its keys.
type speech struct {
	sealed  []byte
	parsed  rtp.Header // the module reads our header again into this
	control rtcp.Header
	header  rtp.Header
	plain   []byte
	cname   string
	jitter  *rand.Rand // of the report interval

	packets, octets uint32
	ticking         bool
	nextReport      time.Duration
	reported        uint32 // packets at the last report: a sender report only if there were new ones
	far             Far
}

// Far is what the peer reports about our stream (RFC 3550 6.4.1).
type Far struct {
	Reports      uint64
	FractionLost float64       // of the last interval, 0 to 1
	Jitter       time.Duration // interarrival jitter
	RoundTrip    time.Duration // 0 until known
}

// init draws everything that must not be guessable or repeat: SSRC, first sequence number, first timestamp, CNAME
// (RFC 3550 5.1, RFC 7022 4.2).
func (s *sender) init(random io.Reader) error {
	var b [40]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return err
	}
	s.speech = &speech{}
	s.header = rtp.Header{
		Version: 2, SSRC: binary.BigEndian.Uint32(b[:]),
		// Below 2^15: a receiver that misses the first packets still guesses the rollover counter right (RFC 3711 3.3.1).
		SequenceNumber: binary.BigEndian.Uint16(b[4:]) & 0x7fff,
		Timestamp:      binary.BigEndian.Uint32(b[6:]),
	}
	s.cname = base64.RawStdEncoding.EncodeToString(b[10:22])
	s.jitter = rand.New(rand.NewPCG(binary.BigEndian.Uint64(b[22:]), binary.BigEndian.Uint64(b[30:])))
	return nil
}

// room is where a packet of n octets is sealed. It grows to what the leg sends: a voice is short, and there are many.
func (s *sender) room(n int) []byte {
	if n += overhead; cap(s.sealed) < n {
		s.sealed = make([]byte, 0, (n+63)&^63)
	}
	return s.sealed
}

// overhead is more than SRTP and SRTCP add to a packet.
const overhead = 64

func (s *sender) secure(c *srtp.Context) {
	s.srtp.Store(c)
}

// WriteFrame sends one frame of the agreed payload type; the timestamp then moves by samples. mark sets the marker: the
// first frame after silence. On hold it only moves the time. Errors: ErrNotReady before the keys stand, ErrClosed, ErrPayload;
// a datagram that the socket refuses is counted, not returned. It keeps no reference to payload.
func (l *Leg) WriteFrame(payload []byte, samples uint32, mark bool) error {
	switch {
	case l.state.is(closed):
		return ErrClosed
	case !l.state.is(ready):
		return ErrNotReady
	}
	if len(payload) > maxPacket/2 {
		return ErrPayload
	}
	s := &l.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.header
	stamp := h.Timestamp
	h.Timestamp += samples
	if l.state.is(mute) {
		return nil
	}
	h.PayloadType, h.Marker = l.agreed.SendPT, mark
	s.plain = appendRTP(s.plain[:0], h, stamp, payload)
	h.SequenceNumber++
	out := s.plain
	if c := s.srtp.Load(); c != nil {
		var err error
		if out, err = c.EncryptRTP(s.room(len(s.plain)), s.plain, &s.parsed); err != nil {
			return err // the key has done its 2^48 packets (RFC 3711 9.2)
		}
	}
	s.packets++
	s.octets += uint32(len(payload))
	l.counters.PacketsOut.Add(1)
	l.counters.OctetsOut.Add(uint64(len(payload)))
	l.send(out)
	return nil
}

// appendRTP writes the fixed header of RFC 3550 5.1 and the payload.
func appendRTP(dst []byte, h *rtp.Header, stamp uint32, payload []byte) []byte {
	second := h.PayloadType
	if h.Marker {
		second |= 0x80
	}
	dst = append(dst, 0x80, second)
	dst = binary.BigEndian.AppendUint16(dst, h.SequenceNumber)
	dst = binary.BigEndian.AppendUint32(dst, stamp)
	dst = binary.BigEndian.AppendUint32(dst, h.SSRC)
	return append(dst, payload...)
}

func (l *Leg) send(b []byte) {
	to := l.address()
	if l.state.is(strays) {
		to = *l.astray.Load()
	}
	if err := l.wire.write(b, to); err != nil {
		l.counters.SendErrors.Add(1)
	}
}

// reportInterval is the minimum of RFC 3550 6.2; it is halved or raised by half at random (6.3.1).
const reportInterval = 5 * time.Second

// Tick sends the RTCP reports that are due on Config.Clock. Call it every 20 ms or less often; without it there are no reports,
// and nothing else suffers. Without rtcp-mux no reports are sent: their port is not ours to open.
func (l *Leg) Tick() {
	if !l.state.is(ready) {
		return
	}
	now := l.cfg.Clock.Now()
	s := &l.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	interval := time.Duration((0.5 + s.jitter.Float64()) * float64(reportInterval))
	switch {
	case !s.ticking:
		s.ticking, s.nextReport = true, now+interval/2 // the first one may come early (RFC 3550 6.2)
	case now >= s.nextReport && l.agreed.RTCPMux:
		s.nextReport = now + interval
		l.control(l.report(now))
	}
}

// report makes the compound packet: SR or RR, then SDES (RFC 3550 6.1). tx.mu is held.
func (l *Leg) report(now time.Duration) []rtcp.Packet {
	s := &l.tx
	var first rtcp.Packet
	blocks := l.blocks(now)
	if s.packets != s.reported {
		s.reported = s.packets
		first = &rtcp.SenderReport{
			SSRC: s.header.SSRC, NTPTime: ntp(l.cfg.Clock.Wall()), RTPTime: s.header.Timestamp,
			PacketCount: s.packets, OctetCount: s.octets, Reports: blocks,
		}
	} else {
		first = &rtcp.ReceiverReport{SSRC: s.header.SSRC, Reports: blocks}
	}
	return []rtcp.Packet{first, rtcp.NewCNAMESourceDescription(s.header.SSRC, s.cname)}
}

// control seals and sends a compound packet. tx.mu is held.
func (l *Leg) control(packets []rtcp.Packet) {
	b, err := rtcp.Marshal(packets)
	if err != nil {
		l.counters.SendErrors.Add(1)
		return
	}
	if c := l.tx.srtp.Load(); c != nil {
		if b, err = c.EncryptRTCP(nil, b, nil); err != nil {
			l.counters.SendErrors.Add(1)
			return
		}
	}
	l.counters.ControlOut.Add(1)
	l.send(b)
}

// bye says that we leave (RFC 3550 6.6), if anybody could have heard us.
func (l *Leg) bye() {
	if !l.state.is(ready) {
		return
	}
	s := &l.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.packets > 0 && l.agreed.RTCPMux {
		l.control(append(l.report(l.cfg.Clock.Now()), &rtcp.Goodbye{Sources: []uint32{s.header.SSRC}}))
	}
}

// heard takes the peer's report about our stream.
func (s *sender) heard(blocks []rtcp.ReceptionReport, wall time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blocks {
		if b.SSRC != s.header.SSRC {
			continue
		}
		s.far.Reports++
		s.far.FractionLost = float64(b.FractionLost) / 256
		s.far.Jitter = time.Duration(b.Jitter) * time.Second / clockRate
		if b.LastSenderReport != 0 {
			if d := int32(uint32(ntp(wall)>>16) - b.LastSenderReport - b.Delay); d >= 0 {
				s.far.RoundTrip = time.Duration(d) * time.Second / 65536
			}
		}
	}
}

// Far returns what the peer last reported about our stream.
func (l *Leg) Far() Far {
	l.tx.mu.Lock()
	defer l.tx.mu.Unlock()
	return l.tx.far
}
