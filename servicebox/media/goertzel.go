package media

import (
	"math"

	"imsafe/proto/g711"
	"imsafe/refpoint/mr"
)

// line is one frequency of a spectrum, by the recurrence of Goertzel: one multiplication for each sample.
type line struct{ coefficient, s1, s2 float64 }

func newLine(hz float64) line { return line{coefficient: 2 * math.Cos(2*math.Pi*hz/g711.SampleRate)} }

func (l *line) sample(x float64) { l.s1, l.s2 = x+l.coefficient*l.s1-l.s2, l.s1 }

// energy is that of the frequency in n samples, on the scale of their sum of squares, and begins anew.
func (l *line) energy(n int) float64 {
	e := (l.s1*l.s1 + l.s2*l.s2 - l.coefficient*l.s1*l.s2) * 2 / float64(n)
	l.s1, l.s2 = 0, 0
	return e
}

// digits hears the signals of a push-button telephone (ITU-T Q.23): two of eight frequencies at a time.
type digits struct {
	on     bool
	lines  [8]line // rows, then columns
	total  float64
	n      int
	last   byte // of the block before
	stands byte // the digit that was told
	misses int
}

// The measures of a receiver of digits (ITU-T Q.24). A block is short enough for two of them to lie within the 40 ms that a signal lasts, and
// long enough to tell neighbours apart.
const (
	digitBlock  = 102
	digitFloor  = -33.0 // dBm0 for each frequency: what is weaker is no signal
	digitShare  = 0.82  // of all energy: speech has more beside the two
	digitMargin = 6.3   // 8 dB above any other of its group
	twistUp     = 2.51  // the column may be 4 dB above the row
	twistDown   = 6.3   // the row 8 dB above the column
	digitMisses = 3     // blocks without it end a signal
)

// hear takes 20 ms and reports a digit that begins to stand in them.
func (d *digits) hear(f *mr.Frame) (digit byte, pressed bool) {
	if !d.on {
		return 0, false
	}
	if d.lines[0].coefficient == 0 {
		for i, hz := range [...]float64{697, 770, 852, 941, 1209, 1336, 1477, 1633} {
			d.lines[i] = newLine(hz)
		}
	}
	for _, v := range f {
		x := float64(v)
		for i := range d.lines {
			d.lines[i].sample(x)
		}
		d.total += x * x
		if d.n++; d.n < digitBlock {
			continue
		}
		if b, begins := d.block(); begins {
			digit, pressed = b, true
		}
	}
	return digit, pressed
}

// block judges the samples of a block.
func (d *digits) block() (digit byte, begins bool) {
	var energy [8]float64
	for i := range d.lines {
		energy[i] = d.lines[i].energy(digitBlock)
	}
	heard := digitIn(&energy, d.total)
	d.total, d.n = 0, 0
	again := heard != 0 && heard == d.last
	d.last = heard
	switch {
	case again && heard != d.stands:
		d.stands, d.misses = heard, 0
		return heard, true
	case heard == d.stands:
		d.misses = 0
	default:
		if d.misses++; d.misses == digitMisses {
			d.stands = 0
		}
	}
	return 0, false
}

// digitIn finds the digit of a spectrum, 0 if there is none.
func digitIn(energy *[8]float64, total float64) byte {
	row, rowStands := strongest(energy[:4])
	column, columnStands := strongest(energy[4:])
	r, c := energy[row], energy[4+column]
	floor := energyOf(digitFloor, digitBlock)
	if !rowStands || !columnStands || r < floor || c < floor || c > r*twistUp || r > c*twistDown || r+c < digitShare*total {
		return 0
	}
	return "123A456B789C*0#D"[4*row+column]
}

// strongest finds the strongest of four, and reports whether it stands out.
func strongest(group []float64) (at int, stands bool) {
	for i := range group {
		if group[i] > group[at] {
			at = i
		}
	}
	for i := range group {
		if i != at && group[i]*digitMargin > group[at] {
			return at, false
		}
	}
	return at, true
}

// overload is the level of a sine that just fills the range of 16 bits, in dBm0 (ITU-T G.711 2).
const overload = 3.14

// peakOf is the peak of a sine of a level.
func peakOf(dBm0 float64) float64 { return 32768 * math.Pow(10, (dBm0-overload)/20) }

// energyOf is the sum of squares of n samples of a sine of a level.
func energyOf(dBm0 float64, n int) float64 { p := peakOf(dBm0); return p * p / 2 * float64(n) }

// tone hears one frequency.
type tone struct {
	hz     float64
	line   line
	total  float64
	n      int
	stands bool
}

// The measures of a tone: a tenth of a second of it, clean and not too faint.
const (
	toneBlock = g711.SampleRate / 10
	toneFloor = -45.0 // dBm0
	toneShare = 0.8   // of all energy
)

func newTone(hz float64) tone { return tone{hz: hz, line: newLine(hz)} }

// hear takes 20 ms and reports whether the tone begins to stand in them.
func (t *tone) hear(f *mr.Frame) (begins bool) {
	for _, v := range f {
		x := float64(v)
		t.line.sample(x)
		t.total += x * x
	}
	if t.n += len(f); t.n < toneBlock {
		return false
	}
	e, total := t.line.energy(t.n), t.total
	stands := e > energyOf(toneFloor, t.n) && e > toneShare*total
	begins = stands && !t.stands
	t.stands, t.total, t.n = stands, 0, 0
	return begins
}
