package esp

// Window is how many sequence numbers up to the highest one an association tells apart (RFC 4303 3.4.3).
const Window = 256

// windowWords hold the window wherever it lies in them: one word more than 256 bits are.
const windowWords = Window/64 + 1

// window is the replay window of one association: a ring of words, bit n of the ring for sequence number n modulo its length.
// Bits above top are zero. The zero value has seen nothing.
type window struct {
	top  uint32
	bits [windowWords]uint64
}

// fresh reports whether seq may be accepted: not 0, not behind the window, not seen. It changes nothing.
func (w *window) fresh(seq uint32) bool {
	switch {
	case seq == 0:
		return false
	case seq > w.top:
		return true
	case w.top-seq >= Window:
		return false
	}
	return w.bits[seq/64%windowWords]&(1<<(seq%64)) == 0
}

// accept notes seq, which is fresh and whose ICV was good, and reports whether it is the highest so far.
func (w *window) accept(seq uint32) (highest bool) {
	if seq > w.top {
		// The words between the old top and the new are of numbers nobody has sent yet.
		for n, word := min(seq/64-w.top/64, windowWords), seq/64; n > 0; n, word = n-1, word-1 {
			w.bits[word%windowWords] = 0
		}
		w.top, highest = seq, true
	}
	w.bits[seq/64%windowWords] |= 1 << (seq % 64)
	return highest
}
