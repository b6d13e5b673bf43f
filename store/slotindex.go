package store

// slotIndex finds the slot of a hash: open addressing over words of a tag, which is half of the hash, and slot+1; 0 is empty. Removal moves words
// back, so there are no tombstones. Entries whose tags are the same follow each other: whoever looks compares keys.
type slotIndex struct {
	words []uint64 // length is a power of two or 0
	count int
}

// minWords is the length of an index that holds something.
const minWords = 16

func (x *slotIndex) mask() uint32 { return uint32(len(x.words) - 1) }

// first returns the first slot+1 with the tag of hash, and its place; 0 if there is none.
func (x *slotIndex) first(hash uint64) (at, slot uint32) {
	if len(x.words) == 0 {
		return 0, 0
	}
	return x.from(uint32(hash), uint32(hash)&x.mask())
}

// next returns the one behind the place at.
func (x *slotIndex) next(hash uint64, at uint32) (uint32, uint32) {
	return x.from(uint32(hash), (at+1)&x.mask())
}

func (x *slotIndex) from(tag, at uint32) (uint32, uint32) {
	for ; x.words[at] != 0; at = (at + 1) & x.mask() {
		if w := x.words[at]; uint32(w>>32) == tag {
			return at, uint32(w)
		}
	}
	return at, 0
}

// add notes the slot of hash.
func (x *slotIndex) add(hash uint64, slot uint32) {
	if 4*(x.count+1) > 3*len(x.words) { // at most three quarters full
		old := x.words
		x.words = make([]uint64, max(minWords, 2*len(old)))
		for _, w := range old {
			if w != 0 {
				x.put(w)
			}
		}
	}
	x.put(hash<<32 | uint64(slot))
	x.count++
}

func (x *slotIndex) put(word uint64) {
	at := uint32(word>>32) & x.mask()
	for x.words[at] != 0 {
		at = (at + 1) & x.mask()
	}
	x.words[at] = word
}

// remove forgets the slot of hash, which is there.
func (x *slotIndex) remove(hash uint64, slot uint32) {
	at, found := x.first(hash)
	for found != slot {
		at, found = x.next(hash, at)
	}
	x.count--
	for hole := at; ; {
		at = (at + 1) & x.mask()
		w := x.words[at]
		if w == 0 {
			x.words[hole] = 0
			return
		}
		if home := uint32(w>>32) & x.mask(); (at-home)&x.mask() >= (at-hole)&x.mask() { // it may stand in the hole
			x.words[hole] = w
			hole = at
		}
	}
}
