package media

import (
	"math"
	"time"

	"imsafe/proto/g711"
	"imsafe/refpoint/mr"
)

// samplesOf is how many samples a time is.
func samplesOf(d time.Duration) int64 { return int64(d * g711.SampleRate / time.Second) }

// sine is a tone for a while.
type sine struct {
	step, phase, peak float64
	left              int64 // samples; below 0: without end
	pcm               mr.Frame
}

// Tone plays a sine of hz at a level in dBm0 for a while, or without end if d is 0. The recording tone and test tones are such.
func Tone(hz, dBm0 float64, d time.Duration) mr.Source {
	t := &sine{step: 2 * math.Pi * hz / g711.SampleRate, peak: min(peakOf(dBm0), 32767), left: -1}
	if d > 0 {
		t.left = samplesOf(d)
	}
	return t
}

// Next implements mr.Source.
func (t *sine) Next(dst []byte, law g711.Codec) ([]byte, bool) {
	n := int64(mr.FrameSamples)
	if t.left >= 0 {
		n = min(n, t.left)
		t.left -= n
	}
	for i := range t.pcm[:n] {
		t.pcm[i] = int16(math.Round(t.peak * math.Sin(t.phase)))
		t.phase = math.Mod(t.phase+t.step, 2*math.Pi)
	}
	return law.Encode(dst, t.pcm[:n]), t.left != 0
}

// Cadence plays a sine of hz at a level in dBm0 for on, then nothing for off, and so on without end: who waits is told that there is ringing, or that there is not.
func Cadence(hz, dBm0 float64, on, off time.Duration) mr.Source {
	return &cadence{make: func() mr.Source { return Sequence(Tone(hz, dBm0, on), Silence(off)) }}
}

// cadence is one thing again and again.
type cadence struct {
	make func() mr.Source
	now  mr.Source
}

// Next implements mr.Source.
func (c *cadence) Next(dst []byte, law g711.Codec) ([]byte, bool) {
	if c.now == nil {
		c.now = c.make()
	}
	out, more := c.now.Next(dst, law)
	if !more {
		c.now = nil
	}
	return out, true
}

// Silence plays nothing for a while.
func Silence(d time.Duration) mr.Source { return Tone(0, 0, d) }

// clip is what was encoded before.
type clip struct {
	law    g711.Codec
	octets []byte
	pcm    []int16
}

// Clip plays octets of G.711: a prompt that was encoded when it was made, or a recording. In a call of the same law they go out as they
// are.
func Clip(law g711.Codec, octets []byte) mr.Source { return &clip{law: law, octets: octets} }

// Replay plays a recording.
func Replay(r *mr.Recording) mr.Source {
	law, _ := g711.ByName(r.Law)
	return Clip(law, r.Octets)
}

// Next implements mr.Source.
func (c *clip) Next(dst []byte, law g711.Codec) ([]byte, bool) {
	n := min(mr.FrameSamples, len(c.octets))
	part := c.octets[:n]
	c.octets = c.octets[n:]
	if law.Name() == c.law.Name() {
		return append(dst, part...), len(c.octets) > 0
	}
	c.pcm = c.law.Decode(c.pcm[:0], part)
	return law.Encode(dst, c.pcm), len(c.octets) > 0
}

// sequence is one after the other.
type sequence []mr.Source

// Sequence plays sources one after the other.
func Sequence(all ...mr.Source) mr.Source {
	s := sequence(all)
	return &s
}

// Next implements mr.Source.
func (s *sequence) Next(dst []byte, law g711.Codec) ([]byte, bool) {
	if len(*s) == 0 {
		return dst, false
	}
	out, more := (*s)[0].Next(dst, law)
	if !more {
		*s = (*s)[1:]
	}
	return out, len(*s) > 0
}
