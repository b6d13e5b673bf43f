package clientims

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Over UDP a first REGISTER shows nothing: whoever forges a name from ever other addresses spends what that name has at all addresses that have proven nothing, and its
// owner, in a cell where she was never before, waits behind him. So beyond that budget the answer is 423 with an interval that is made for the address. A client says
// its REGISTER again with that interval (RFC 3261 10.2.8, TS 24.229 5.1.1.2.1): it receives where it says it is, and draws from what the name has at this address
// alone. It costs no vector and no memory, and is smaller than what it answers.

// The intervals are those that no client asks for by itself: from 12 days on, with 24 bits that a stranger would have to guess.
const (
	leastInterval = 1 << 20 // seconds
	intervalBits  = 24
	intervalLife  = time.Minute // and as long again: a client answers at once
)

// kindInterval is the kind of the token that is the key of the intervals: of no place, so nobody is ever given it.
const kindInterval = 1

// intervals makes them. Safe for concurrent use.
type intervals struct{ pool sync.Pool }

func newIntervals(s *shard.Sealer) *intervals {
	key := s.Seal(nil, kindInterval, shard.Place{})
	return &intervals{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// of is the interval of an address in one age, in seconds.
func (i *intervals) of(a netip.Addr, age uint64) uint32 {
	mac := i.pool.Get().(hash.Hash)
	defer i.pool.Put(mac)
	mac.Reset()
	octets := a.As16()
	_, _ = mac.Write(binary.BigEndian.AppendUint64(octets[:], age)) // never fails
	return leastInterval + binary.BigEndian.Uint32(mac.Sum(nil))>>(32-intervalBits)
}

// tells reports whether seconds is an interval that an address was told lately.
func (i *intervals) tells(a netip.Addr, seconds uint32, now time.Duration) bool {
	if seconds < leastInterval || seconds >= leastInterval+1<<intervalBits {
		return false
	}
	age := ageOf(now)
	return seconds == i.of(a, age) || age > 0 && seconds == i.of(a, age-1)
}

func ageOf(now time.Duration) uint64 { return uint64(now / intervalLife) }

// intervalOf is for how long a REGISTER asks, in seconds; 0 if it asks for nothing, or takes a registration back.
func intervalOf(m *sip.Message) uint32 {
	seconds, _ := m.ContactExpires(0)
	return seconds
}

// receives reports whether a REGISTER asks for the interval that its address was told.
func (p *Port) receives(from netip.Addr, m *sip.Message) bool {
	return p.door.intervals.tells(from.Unmap(), intervalOf(m), p.shard.Now())
}

// asksForProof is the answer to a first REGISTER in a name that has spent what it has at addresses that have proven nothing. There is none where it could not
// be understood, or too many are asked.
func (p *Port) asksForProof(from netip.Addr, m *sip.Message) (status int, more func(*sip.Message)) {
	now := p.shard.Now()
	told := p.door.intervals.of(from.Unmap(), ageOf(now))
	if asked := intervalOf(m); asked == 0 || asked >= told || !p.door.budgets.asked.Take(now).Granted() {
		return siptxn.Silence, nil
	}
	return 423, func(r *sip.Message) { r.SetString(sip.HdrMinExpires, strconv.FormatUint(uint64(told), 10)) }
}
