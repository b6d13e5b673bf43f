package load

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in steps of at most 1/64 of their value, from a microsecond to an hour: a fixed array, so recording
// allocates nothing and two of them add up.
type histogram struct {
	counts [32 * perOctave]uint32
	n      uint64
	sum    time.Duration
	max    time.Duration
}

const (
	octaveBits = 6
	perOctave  = 1 << octaveBits
)

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d/time.Microsecond))]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// bucket is the step of v: exact below perOctave, then perOctave steps for each doubling.
func bucket(v uint64) int {
	octave := bits.Len64(v) - octaveBits - 1
	if octave < 0 {
		return int(v)
	}
	return min((octave+1)*perOctave+int(v>>octave)&(perOctave-1), 32*perOctave-1)
}

// upper is the largest value of a step.
func upper(bucket int) uint64 {
	if bucket < perOctave {
		return uint64(bucket)
	}
	octave := bucket/perOctave - 1
	return uint64(perOctave+bucket%perOctave+1)<<octave - 1
}

// quantile is the smallest step's upper bound that at least the share q of all values does not exceed, 0 of nothing.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var seen uint64
	for i, c := range h.counts {
		if seen += uint64(c); seen >= rank {
			return min(time.Duration(upper(i))*time.Microsecond, h.max)
		}
	}
	return h.max
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Latency is a distribution in microseconds.
type Latency struct {
	Count uint64 `json:"count"`
	Mean  int64  `json:"mean_us"`
	P50   int64  `json:"p50_us"`
	P90   int64  `json:"p90_us"`
	P99   int64  `json:"p99_us"`
	Max   int64  `json:"max_us"`
}

func (h *histogram) latency() Latency {
	if h.n == 0 {
		return Latency{}
	}
	return Latency{Count: h.n, Mean: (h.sum / time.Duration(h.n)).Microseconds(), P50: h.quantile(0.5).Microseconds(),
		P90: h.quantile(0.9).Microseconds(), P99: h.quantile(0.99).Microseconds(), Max: h.max.Microseconds()}
}
