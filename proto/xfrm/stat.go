package xfrm

import (
	"bytes"
	"iter"
	"strconv"
)

// StatFile is where the kernel counts what it dropped, by reason, in this network namespace.
const StatFile = "/proc/net/xfrm_stat"

// Stat reads what stands in StatFile: counters by the kernel's names. A line that it does not understand it passes over.
func Stat(text []byte) iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for line := range bytes.Lines(text) {
			f := bytes.Fields(line)
			if len(f) != 2 {
				continue
			}
			if v, err := strconv.ParseUint(string(f[1]), 10, 64); err == nil && !yield(string(f[0]), v) {
				return
			}
		}
	}
}
