package media

import (
	"imsafe/proto/g711"
	"imsafe/proto/rtpport"
	"imsafe/refpoint/mr"
)

// maxGap is the longest silence, in samples, that is put in the place of lost packets. A longer gap is a new beginning at the sender.
const maxGap = g711.SampleRate

// ear puts packets in order, as frames of 20 ms, and listens. One goroutine.
type ear struct {
	begun  bool
	next   uint32 // the timestamp that is due
	lost   uint64 // samples that silence stands for
	frame  mr.Frame
	filled int
	pcm    []int16

	digits digits
	tones  []tone

	eventful bool // a digit was sent as an event
	digit    byte
	since    uint32 // the timestamp of its beginning
}

// listen says what is listened for: digits in the voice where the peer sends no events, and tones.
func (e *ear) listen(digits bool, tones []float64) {
	e.digits.on = digits
	for _, hz := range tones {
		e.tones = append(e.tones, newTone(hz))
	}
}

// take takes a packet, and gives each frame that it completes to hear.
func (e *ear) take(law g711.Codec, f *rtpport.Frame, hear func(*mr.Frame)) {
	if e.begun {
		switch gap := int32(f.Timestamp - e.next); {
		case gap < 0 && gap > -maxGap:
			return // late, or again
		case gap > 0 && gap <= maxGap:
			e.lost += uint64(gap)
			for range gap {
				e.sample(0, hear)
			}
		}
	}
	e.begun, e.next = true, f.Timestamp+uint32(len(f.Payload))
	e.pcm = law.Decode(e.pcm[:0], f.Payload)
	for _, v := range e.pcm {
		e.sample(v, hear)
	}
}

func (e *ear) sample(v int16, hear func(*mr.Frame)) {
	e.frame[e.filled] = v
	if e.filled++; e.filled == len(e.frame) {
		e.filled = 0
		hear(&e.frame)
	}
}

// continued is the longest duration that one event can state; what lasts longer goes on in a segment of its own (RFC 4733 2.5.1.3).
const continued = 0xffff

// event takes a packet of telephone-event (RFC 4733 2.3) and reports whether it is the first of a key that was pressed: all packets of
// one event have its timestamp.
func (e *ear) event(f *rtpport.Frame) (digit byte, pressed bool) {
	const names = "0123456789*#ABCD"
	if len(f.Payload) < 4 || int(f.Payload[0]) >= len(names) {
		return 0, false
	}
	digit = names[f.Payload[0]]
	same := e.eventful && digit == e.digit && (f.Timestamp == e.since || !f.Marker && f.Timestamp == e.since+continued)
	old := e.eventful && int32(f.Timestamp-e.since) < 0 && int32(f.Timestamp-e.since) > -maxGap
	if old {
		return 0, false
	}
	e.eventful, e.digit, e.since = true, digit, f.Timestamp
	return digit, !same
}
