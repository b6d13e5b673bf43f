package budget

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
)

// Key names who spends: a hash of who it is. Two that share one share a bucket, which happens once in 2^64 pairs.
type Key uint64

// Keys makes keys with a seed of its own. The zero value is not useful: make it with NewKeys.
type Keys struct{ seed maphash.Seed }

// NewKeys returns Keys with a random seed.
func NewKeys() Keys { return Keys{maphash.MakeSeed()} }

// Of is the key of some octets.
func (k Keys) Of(b []byte) Key { return named(maphash.Bytes(k.seed, b)) }

// OfText is the key of a text, the same as Of its octets.
func (k Keys) OfText(s string) Key { return named(maphash.String(k.seed, s)) }

// And is the key of a key and some octets more, as a user at an address.
func (k Keys) And(first Key, b []byte) Key { return k.pair(first, maphash.Bytes(k.seed, b)) }

// AndText is the key of a key and a text, the same as And its octets.
func (k Keys) AndText(first Key, s string) Key { return k.pair(first, maphash.String(k.seed, s)) }

func (k Keys) pair(first Key, second uint64) Key {
	var pair [16]byte
	binary.LittleEndian.PutUint64(pair[:], uint64(first))
	binary.LittleEndian.PutUint64(pair[8:], second)
	return k.Of(pair[:])
}

// Source is the key of whoever has an address: an IPv4 address, or an IPv6 /64, since a host has a whole one (RFC 4291 2.5.1).
func (k Keys) Source(a netip.Addr) Key { return k.prefix(a, 32, 64) }

// Network is the key of the network around an address, for those who have many: an IPv4 /24 or an IPv6 /48, the most that a site usually gets
// (RFC 6177 2).
func (k Keys) Network(a netip.Addr) Key { return k.prefix(a, 24, 48) }

// prefix is the key of the first bits of an address. Its length is part of it.
func (k Keys) prefix(a netip.Addr, four, six int) Key {
	var b [17]byte
	if a.Is4() || a.Is4In6() {
		octets := a.As4()
		b[16] = byte(four)
		copy(b[:], octets[:four/8])
	} else {
		octets := a.As16()
		b[16] = 0x80 | byte(six)
		copy(b[:], octets[:six/8])
	}
	return k.Of(b[:])
}

// named keeps 0 for places that nobody has.
func named(sum uint64) Key {
	if sum == 0 {
		return 1
	}
	return Key(sum)
}
