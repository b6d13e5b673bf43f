package rtpport

import (
	"time"

	"github.com/pion/rtcp"
)

// source is what is known of one SSRC of the peer (RFC 3550 A.1, A.3, A.8).
type source struct {
	ssrc     uint32
	started  bool
	base     uint32 // extended sequence number of the first packet
	highest  uint32 // extended
	packets  uint32
	transit  uint32
	jitter   uint32 // in timestamp units, times 16
	expected uint32 // at the last report
	before   uint32 // packets at the last report
	lastSR   uint32 // middle 32 bits of its NTP time
	srAt     time.Duration
}

// clockRate of all payloads here (RFC 3551: G.711 and telephone-event).
const clockRate = 8000

func (s *source) received(seq uint16, timestamp uint32, now time.Duration) {
	s.packets++
	arrival := uint32(now * clockRate / time.Second)
	transit := arrival - timestamp
	if !s.started {
		s.started, s.base, s.highest, s.transit = true, uint32(seq), uint32(seq), transit
		return
	}
	// SRTP has refused what is behind its window, so a small negative step is reordering and no restart.
	if d := int16(seq - uint16(s.highest)); d > 0 {
		s.highest += uint32(d)
	}
	d := int32(transit - s.transit)
	s.transit = transit
	if d < 0 {
		d = -d
	}
	s.jitter += uint32(d) - (s.jitter+8)>>4
}

func (s *source) report(ntp uint64, now time.Duration) { s.lastSR, s.srAt = uint32(ntp>>16), now }

// block makes the report block about this source and moves the interval on (RFC 3550 6.4.1).
func (s *source) block(now time.Duration) rtcp.ReceptionReport {
	expected := s.highest - s.base + 1
	lost := int64(expected) - int64(s.packets)
	inInterval := int64(expected-s.expected) - int64(s.packets-s.before)
	fraction := uint8(0)
	if n := int64(expected - s.expected); n > 0 && inInterval > 0 {
		fraction = uint8(inInterval * 255 / n)
	}
	s.expected, s.before = expected, s.packets
	b := rtcp.ReceptionReport{
		SSRC: s.ssrc, FractionLost: fraction, TotalLost: uint32(max(0, min(lost, 1<<23-1))),
		LastSequenceNumber: s.highest, Jitter: s.jitter >> 4,
	}
	if s.lastSR != 0 {
		b.LastSenderReport, b.Delay = s.lastSR, uint32((now-s.srAt)*65536/time.Second)
	}
	return b
}

// ntp is a wall time in the 64-bit form of RFC 3550 4.
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/1e9
}
