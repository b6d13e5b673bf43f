package media

import "math"

// Tone is an endless sine.
type Tone struct {
	step, phase, peak float64
}

// NewTone returns a sine of hz at level dBm0 (0 dBm0 is the usual test level, +3.14 the loudest).
func NewTone(hz, dBm0 float64) *Tone {
	return &Tone{step: 2 * math.Pi * hz / SampleRate, peak: min(peakOf(dBm0), 32767)}
}

// Read fills pcm with the next samples; the phase runs on from call to call.
func (t *Tone) Read(pcm []int16) (int, error) {
	for i := range pcm {
		pcm[i] = int16(math.Round(t.peak * math.Sin(t.phase)))
		t.phase = math.Mod(t.phase+t.step, 2*math.Pi)
	}
	return len(pcm), nil
}

// Goertzel returns the level, in dBm0, of the one frequency hz in pcm.
func Goertzel(pcm []int16, hz float64) float64 { return level(amplitude(pcm, hz)) }

// amplitude is Goertzel's recurrence under a Hann window: one multiplication per sample for one line of
// a spectrum. The window keeps a tone between two lines from leaking over the whole band.
func amplitude(pcm []int16, hz float64) float64 {
	n := float64(len(pcm))
	w := 2 * math.Pi * hz / SampleRate
	coefficient := 2 * math.Cos(w)
	// The window's own cosine by the same recurrence: no trigonometry per sample.
	c, cPrev, rotate := 1.0, math.Cos(2*math.Pi/n), 2*math.Cos(2*math.Pi/n)
	var s1, s2 float64
	for _, x := range pcm {
		s := float64(x)*(0.5-0.5*c) + coefficient*s1 - s2
		s2, s1 = s1, s
		c, cPrev = rotate*c-cPrev, c
	}
	power := s1*s1 + s2*s2 - coefficient*s1*s2
	return math.Sqrt(max(power, 0)) / n * 4 // half of a real sine's energy, and the window's mean of one half
}

// Heard is what an ear measured.
type Heard struct {
	Hz     float64 // strongest frequency
	Level  float64 // of that frequency, in dBm0
	Purity float64 // its share of all energy, 0 to 1: near 1 for a clean tone, small for speech or noise
	Whole  float64 // level of everything together, in dBm0
}

// Tone reports whether a clean tone of about hz was heard: within 2 Hz, purer than 0.9 and louder than
// -50 dBm0.
func (h Heard) Tone(hz float64) bool {
	return math.Abs(h.Hz-hz) <= 2 && h.Purity > 0.9 && h.Level > -50
}

// Measure finds the strongest frequency between 100 and 3900 Hz. pcm should be 800 samples or more.
func Measure(pcm []int16) Heard {
	if len(pcm) == 0 {
		return Heard{Level: level(0), Whole: level(0)}
	}
	var energy float64
	for _, x := range pcm {
		energy += float64(x) * float64(x)
	}
	rms := math.Sqrt(energy / float64(len(pcm)))

	// Coarse on a short piece (its lines are broad), then closer on all of it.
	short := pcm[:min(len(pcm), 400)]
	best, at := -1.0, 0.0
	for hz := 100.0; hz <= 3900; hz += 20 {
		if a := amplitude(short, hz); a > best {
			best, at = a, hz
		}
	}
	low, high := at-20, at+20
	for range 24 {
		third := (high - low) / 3
		if amplitude(pcm, low+third) < amplitude(pcm, high-third) {
			low += third
		} else {
			high -= third
		}
	}
	at = (low + high) / 2
	a := amplitude(pcm, at)
	h := Heard{Hz: at, Level: level(a), Whole: level(rms * math.Sqrt2)}
	if rms > 0 {
		h.Purity = min(a*a/2/(rms*rms), 1)
	}
	return h
}

// Ear is a Sink that measures what it hears, window by window. One writer.
type Ear struct {
	window []int16
	filled int
	last   Heard
	count  int
}

// NewEar returns an ear with windows of 200 ms.
func NewEar() *Ear { return &Ear{window: make([]int16, SampleRate/5)} }

// Write listens. It never fails.
func (e *Ear) Write(pcm []int16) error {
	for len(pcm) > 0 {
		n := copy(e.window[e.filled:], pcm)
		pcm, e.filled = pcm[n:], e.filled+n
		if e.filled == len(e.window) {
			e.last, e.filled = Measure(e.window), 0
			e.count++
		}
	}
	return nil
}

// Heard returns the measurement of the last whole window; windows is how many there were so far.
func (e *Ear) Heard() (h Heard, windows int) { return e.last, e.count }
