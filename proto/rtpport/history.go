package rtpport

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
