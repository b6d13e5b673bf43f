package overload

import "time"

// Throttle is what a client knows of one server, and by which it holds back (RFC 7339 5.4 to 5.7). The zero value holds nothing back. It belongs
// to one shard.
type Throttle struct {
	report Report
	until  time.Duration // the report holds
	mix    [2]float64    // requests that may be held back, and that should not, of the last seconds (RFC 7339 7.2, update_mix)
	mixed  time.Duration
	owed   [2]float64    // the part of a request that is left over
	bucket time.Duration // X of RFC 7415 3.5.1
	last   time.Duration // LCT
}

const (
	mixing = 5 * time.Second
	// overflow is by how much a smaller oc-seq means that the server counts anew (RFC 7339 4.4): an hour. Less is a response that came late.
	overflow = 3600 * seqUnit
	// Tolerances of the bucket, in intervals between two requests (RFC 7415 3.5.2).
	tau1, tau2 = 5, 10
)

// Heard takes what a response of the server says.
func (t *Throttle) Heard(r Report, now time.Duration) {
	old := t.report.Seq
	if r.Seq != 0 && old != 0 && now < t.until && (r.Seq == old || r.Seq < old && old-r.Seq < overflow) {
		return
	}
	began := t.active(now) && t.report.Algorithm == r.Algorithm
	if t.report, t.until = r, now+r.Validity; !began {
		t.bucket, t.last, t.owed = 0, now, [2]float64{}
	}
}

func (t *Throttle) active(now time.Duration) bool { return now < t.until }

// Admits reports whether a request may be sent. Important ones are held back only when that of all others is not enough.
func (t *Throttle) Admits(important bool, now time.Duration) bool {
	kind := 0
	if important {
		kind = 1
	}
	t.note(kind, now)
	switch {
	case !t.active(now):
		return true
	case t.report.Algorithm == Rate:
		return t.withinRate(kind, now)
	}
	return !t.loses(kind)
}

// note keeps the mix of requests.
func (t *Throttle) note(kind int, now time.Duration) {
	if now-t.mixed > mixing {
		t.mix[0], t.mix[1], t.mixed = t.mix[0]/2, t.mix[1]/2, now
	}
	t.mix[kind]++
}

// loses is the algorithm of RFC 7339 7.2, without chance: each time a whole request has come together it is one that is held back.
func (t *Throttle) loses(kind int) bool {
	total := t.mix[0] + t.mix[1]
	value := float64(t.report.Value) / 100
	first := t.mix[0] / total
	part := 0.0
	switch {
	case kind == 0 && value >= first:
		part = 1
	case kind == 0:
		part = value / first
	case value > first:
		part = (value - first) / (1 - first)
	}
	if t.owed[kind] += part; t.owed[kind] < 1 {
		return false
	}
	t.owed[kind]--
	return true
}

// withinRate is the leaky bucket of RFC 7415 3.5.1 with the two thresholds of 3.5.2.
func (t *Throttle) withinRate(kind int, now time.Duration) bool {
	if t.report.Value == 0 {
		return false
	}
	every := time.Second / time.Duration(t.report.Value)
	limit := tau1 * every
	if kind == 1 {
		limit = tau2 * every
	}
	level := t.bucket - (now - t.last)
	if level > limit {
		return false
	}
	t.bucket, t.last = max(level, 0)+every, now
	return true
}
