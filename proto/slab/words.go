package slab

import "bytes"

// words are texts that nearly every record repeats, the home domain for example. In memory two octets stand for each.
type words [][]byte

const (
	escape   = 0xff // begins a pair; as an octet of a record it is rare
	escaped  = 0    // second octet of the pair that stands for escape itself; those of words follow
	maxWords = 254
)

// pack appends b to dst with pairs in the place of words. The first word that fits wins, so a word within another stands behind it.
func (w words) pack(dst, b []byte) []byte { return w.packFrom(0, dst, b) }

// packFrom does it for the words from the first-th on.
func (w words) packFrom(first int, dst, b []byte) []byte {
	if first == len(w) {
		return packEscapes(dst, b)
	}
	for {
		before, after, found := bytes.Cut(b, w[first])
		dst = w.packFrom(first+1, dst, before)
		if !found {
			return dst
		}
		dst = append(dst, escape, escaped+1+byte(first))
		b = after
	}
}

func packEscapes(dst, b []byte) []byte {
	for {
		before, after, found := bytes.Cut(b, []byte{escape})
		dst = append(dst, before...)
		if !found {
			return dst
		}
		dst = append(dst, escape, escaped)
		b = after
	}
}

// unpack appends what pack made b of.
func (w words) unpack(dst, b []byte) []byte {
	for {
		at := bytes.IndexByte(b, escape)
		if at < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:at]...)
		if n := b[at+1]; n == escaped {
			dst = append(dst, escape)
		} else {
			dst = append(dst, w[n-escaped-1]...)
		}
		b = b[at+2:]
	}
}
