package siptxn

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"imsafe/proto/siptransport"
)

// kept holds the final answers of non-INVITE transactions over unreliable transports for timer J, to repeat them when the request is
// repeated (RFC 3261 17.2.2). There is one such answer per finished transaction for 32 s or longer, far more than there are
// transactions at work. So they are not transactions: key and answer lie in pages of octets, in the order of their coming, and an
// index without pointers finds them. The collector has nothing to scan, and no timer runs: pages expire as a whole.
type kept struct {
	index map[uint64]keptRef // by hash of the whole key, method included
	pages []*keptPage        // oldest first
	spare *keptPage
	first uint32 // number of pages[0]
	bytes int    // octets of all pages
	limit int
}

// keptRef names an answer: number of the page and offset in it.
type keptRef struct{ page, off uint32 }

// keptPage is a run of answers: a head, the key, the answer, and so on.
type keptPage struct {
	octets []byte
	hashes []uint64              // of all answers in it
	vias   []siptransport.Sender // what its answers leave by: the same one stands once in a row
	opened time.Duration         // when the first came
	until  time.Duration         // when the last of them expires
}

// keptHead stands before each answer, in this order, big endian: expiry (8), key length (2), answer length (4), number of the Sender
// in the page (2), port (2), address length (1), address (16).
const keptHead = 8 + 2 + 4 + 2 + 2 + 1 + 16

// keptPageSize is the usual size of a page; a longer answer gets a page of its own.
const keptPageSize = 256 << 10

// keptPageAge closes a page that fills slowly, so that it is not held much longer than its answers.
const keptPageAge = 2 * time.Second

func newKept(limit int) kept { return kept{index: make(map[uint64]keptRef), limit: limit} }

// add makes room for an answer of size octets and returns it, empty; nil if it is not to be kept. The caller appends the answer to it
// and calls done. It reports how many answers had to go.
func (k *kept) add(now, life time.Duration, hash uint64, key []byte, f siptransport.Flow, size int) (room []byte, evicted int) {
	need := keptHead + len(key) + size
	if need > k.limit || f.Peer.Addr().Zone() != "" { // a zone is text; link-local peers are few and do without
		return nil, 0
	}
	p, evicted := k.page(now, need)
	off := len(p.octets)
	addr := f.Peer.Addr().AsSlice()
	b := p.octets[:off+keptHead]
	h := b[off:]
	binary.BigEndian.PutUint64(h, uint64(now+life))
	binary.BigEndian.PutUint16(h[8:], uint16(len(key)))
	binary.BigEndian.PutUint16(h[14:], p.sender(f.Via))
	binary.BigEndian.PutUint16(h[16:], f.Peer.Port())
	h[18] = byte(len(addr))
	copy(h[19:], addr)
	p.octets = append(b, key...)
	p.hashes = append(p.hashes, hash)
	p.until = max(p.until, now+life)
	k.index[hash] = keptRef{k.first + uint32(len(k.pages)) - 1, uint32(off)}
	return p.octets[len(p.octets) : len(p.octets) : len(p.octets)+size], evicted
}

// done takes the answer that was appended to the room that add returned.
func (k *kept) done(hash uint64, answer []byte) {
	p := k.pages[len(k.pages)-1]
	binary.BigEndian.PutUint32(p.octets[k.index[hash].off+10:], uint32(len(answer)))
	p.octets = p.octets[:len(p.octets)+len(answer)]
}

// find returns the answer to a key and where it goes, a view until the next add.
func (k *kept) find(now time.Duration, hash uint64, key []byte) (answer []byte, f siptransport.Flow, ok bool) {
	ref, ok := k.index[hash]
	if !ok {
		return nil, f, false
	}
	p := k.pages[ref.page-k.first]
	h := p.octets[ref.off:]
	n := int(binary.BigEndian.Uint16(h[8:]))
	if now >= time.Duration(binary.BigEndian.Uint64(h)) || !bytes.Equal(h[keptHead:keptHead+n], key) {
		return nil, f, false
	}
	addr, _ := netip.AddrFromSlice(h[19 : 19+h[18]])
	f = siptransport.Flow{Via: p.vias[binary.BigEndian.Uint16(h[14:])], Peer: netip.AddrPortFrom(addr, binary.BigEndian.Uint16(h[16:]))}
	start := keptHead + n
	return h[start : start+int(binary.BigEndian.Uint32(h[10:]))], f, true
}

// page returns the newest page with room for need octets.
func (k *kept) page(now time.Duration, need int) (p *keptPage, evicted int) {
	if n := len(k.pages); n > 0 {
		p = k.pages[n-1]
		if cap(p.octets)-len(p.octets) >= need && now-p.opened < keptPageAge {
			return p, 0
		}
	}
	k.expire(now)
	size := max(keptPageSize, need)
	for k.bytes+size > k.limit && len(k.pages) > 0 {
		evicted += len(k.pages[0].hashes)
		k.drop()
	}
	if p = k.spare; p == nil || size > keptPageSize {
		p = &keptPage{octets: make([]byte, 0, size)}
	} else {
		k.spare = nil
	}
	p.opened, p.until = now, 0
	k.bytes += cap(p.octets)
	k.pages = append(k.pages, p)
	return p, evicted
}

// expire drops the pages in which nothing is alive.
func (k *kept) expire(now time.Duration) {
	for len(k.pages) > 0 && now >= k.pages[0].until {
		k.drop()
	}
}

// drop forgets the oldest page.
func (k *kept) drop() {
	p := k.pages[0]
	for _, h := range p.hashes {
		if ref, ok := k.index[h]; ok && ref.page == k.first { // else a later answer has the same hash
			delete(k.index, h)
		}
	}
	k.bytes -= cap(p.octets)
	k.pages = append(k.pages[:0], k.pages[1:]...)
	k.first++
	if cap(p.octets) == keptPageSize {
		clear(p.vias)
		p.octets, p.hashes, p.vias = p.octets[:0], p.hashes[:0], p.vias[:0]
		k.spare = p
	}
}

// sender numbers a Sender: a socket, or a client's security associations, of which there are as many as clients and which end with them.
func (p *keptPage) sender(s siptransport.Sender) uint16 {
	if n := len(p.vias); n == 0 || p.vias[n-1] != s {
		p.vias = append(p.vias, s)
	}
	return uint16(len(p.vias) - 1)
}

// len is the number of answers that may be found.
func (k *kept) len() int { return len(k.index) }

// buffers keeps octet slices for reuse, by size, so that what a transaction holds is not much larger than it must be.
type buffers struct{ free [len(bufferSizes)][][]byte }

// bufferSizes are the classes; longer ones are not kept.
var bufferSizes = [...]int{128, 256, 512, 1024, 1536, 2048, 4096, 8192}

// buffersKept is how many of a class are kept.
const buffersKept = 256

// get returns an empty slice with room for n octets.
func (x *buffers) get(n int) []byte {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		if k := len(x.free[i]); k > 0 {
			b := x.free[i][k-1]
			x.free[i] = x.free[i][:k-1]
			return b
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// put takes a slice of get back; nil is fine.
func (x *buffers) put(b []byte) {
	for i, size := range bufferSizes {
		if cap(b) == size && len(x.free[i]) < buffersKept {
			x.free[i] = append(x.free[i], b[:0])
		}
	}
}

// budget is a token bucket of one second's worth.
type budget struct {
	rate float64 // per second; 0 or less allows nothing
	left float64
	last time.Duration
}

// take reports whether one more is allowed.
func (b *budget) take(now time.Duration) bool {
	b.left = min(b.left+(now-b.last).Seconds()*b.rate, b.rate)
	b.last = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
