package aka

import "errors"

// INDBits is the length of IND, the array index inside SQN. The profiles of TS 33.102 C.3 all use 5.
const INDBits = 5

// INDCount is the number of IND values, and the size of a card's array (TS 33.102 C.3.1).
const INDCount = 1 << INDBits

// MaxSQN is the largest 48-bit sequence number.
const MaxSQN SQN = 1<<48 - 1

// MaxSEQ is the largest value of SEQ, the part of SQN above IND.
const MaxSEQ = uint64(MaxSQN) >> INDBits

// Delta is the largest jump of SEQ that a card accepts, the protection against being driven to
// the end of the number space (TS 33.102 C.2.1, C.3.1).
const Delta = 1 << 28

// SQN is a 48-bit sequence number, SEQ || IND (TS 33.102 C.1.1.1).
type SQN uint64

// MakeSQN puts SEQ and IND together; bits beyond their lengths are dropped.
func MakeSQN(seq uint64, ind uint8) SQN {
	return SQN(seq<<INDBits|uint64(ind&(INDCount-1))) & MaxSQN
}

// SEQ returns the counting part.
func (s SQN) SEQ() uint64 { return uint64(s&MaxSQN) >> INDBits }

// IND returns the array index.
func (s SQN) IND() uint8 { return uint8(s & (INDCount - 1)) }

// Bytes returns the 6 octets in network order, as they enter f1.
func (s SQN) Bytes() [6]byte {
	return [6]byte{byte(s >> 40), byte(s >> 32), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}
}

// sqnOf reads 6 octets in network order.
func sqnOf(b [6]byte) SQN {
	return SQN(b[0])<<40 | SQN(b[1])<<32 | SQN(b[2])<<24 | SQN(b[3])<<16 | SQN(b[4])<<8 | SQN(b[5])
}

// ErrSQNOutOfRange is returned for a sequence number that is not fresh for its IND, or is too far
// ahead: the card answers it with a synchronisation failure (TS 33.102 6.3.3).
var ErrSQNOutOfRange = errors.New("aka: sequence number out of range")

// Window is the array of the highest accepted SEQ per IND that a card keeps (TS 33.102 C.2.2).
// The zero value is a new card's: it has accepted nothing. A Window is not safe for concurrent use.
type Window [INDCount]uint64

// Check says whether s would be accepted; it changes nothing.
func (w *Window) Check(s SQN) error {
	seq := s.SEQ()
	// TS 33.102 C.2.2 (i): not more than Delta above the highest accepted anywhere.
	if top := w.Highest().SEQ(); seq > top && seq-top > Delta {
		return ErrSQNOutOfRange
	}
	// TS 33.102 C.2.2 (iii): above the one accepted for this IND. The age limit L (ii) is optional
	// and not used.
	if seq <= w[s.IND()] {
		return ErrSQNOutOfRange
	}
	return nil
}

// Accept checks s and remembers it.
func (w *Window) Accept(s SQN) error {
	if err := w.Check(s); err != nil {
		return err
	}
	w[s.IND()] = s.SEQ()
	return nil
}

// Highest returns the highest accepted sequence number, the SQN_MS of an AUTS (TS 33.102 C.2.2).
func (w *Window) Highest() SQN {
	var top uint64
	var ind uint8
	for i, seq := range w {
		if seq > top {
			top, ind = seq, uint8(i)
		}
	}
	return MakeSQN(top, ind)
}
