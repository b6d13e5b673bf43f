package rtpport

import "github.com/pion/transport/v5/replaydetector"

// window is how many indices are remembered (RFC 3711 3.3.2: at least 64).
const window = 128

// history is which indices there were: the highest, and of the last 128 up to it a bit each.
type history struct {
	top  uint64
	seen [2]uint64 // bit n: top-n
}

// has reports whether an index was there. What is behind the window counts as if it were.
func (h *history) has(index uint64) bool {
	if index > h.top {
		return false
	}
	behind := h.top - index
	return behind >= window || h.seen[behind/64]&(1<<(behind%64)) != 0
}

// add takes an index down.
func (h *history) add(index uint64) {
	if index > h.top {
		h.advance(index - h.top)
	}
	if behind := h.top - index; behind < window {
		h.seen[behind/64] |= 1 << (behind % 64)
	}
}

// advance moves the window n ahead.
func (h *history) advance(n uint64) {
	h.top += n
	switch {
	case n >= 128:
		h.seen = [2]uint64{}
	case n >= 64:
		h.seen = [2]uint64{0, h.seen[0] << (n - 64)}
	default:
		h.seen = [2]uint64{h.seen[0] << n, h.seen[1]<<n | h.seen[0]>>(64-n)}
	}
}

// replays is the replay list of one source under one key (RFC 3711 3.3.2), for the module, which asks for its own sort and allocates four objects for it. A line of
// the processor's cache holds one.
type replays struct {
	history
	highest uint64
	l       *Leg
	_       [24]byte
}

var _ replaydetector.CheckAccepter = (*replays)(nil)

// replays makes the lists of one key.
func (l *Leg) replays(highest uint64) func() replaydetector.ReplayDetector {
	return func() replaydetector.ReplayDetector { return &replays{highest: highest, l: l} }
}

// CheckSeq implements replaydetector.CheckAccepter. Of a replay it asks the leg's owner, whose answer matters in a laboratory only: see Config.Refuse. The leg counts
// the drop, when it hears of it.
func (r *replays) CheckSeq(index uint64) replaydetector.Token {
	if (index > r.highest || r.has(index)) && (r.l.cfg.Refuse == nil || r.l.cfg.Refuse(DropReplay)) {
		return replaydetector.Rejected(index)
	}
	return replaydetector.Passed(index)
}

// Accept implements replaydetector.CheckAccepter: the packet was authentic.
func (r *replays) Accept(t replaydetector.Token) (latest bool) {
	if !t.Passed() {
		return false
	}
	latest = t.Seq() > r.top
	r.add(t.Seq())
	return latest
}

// Check implements replaydetector.ReplayDetector, which the module does not ask where there is a CheckAccepter.
func (r *replays) Check(index uint64) (accept func() bool, ok bool) {
	t := r.CheckSeq(index)
	return func() bool { return r.Accept(t) }, t.Passed()
}
