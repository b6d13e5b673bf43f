package hop

import (
	"hash/maphash"
	"sync"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// forks are the requests that are being forked now. RFC 5393 4 finds a loop by what a proxy wrote into its Via; whoever sends a
// request round may take that off, so we remember it ourselves: same Call-ID, From tag and CSeq for the same target is the same
// request. Safe for concurrent use.
type forks struct {
	seed maphash.Seed

	mu     sync.Mutex
	active map[uint64]struct{}
}

func newForks() *forks { return &forks{seed: maphash.MakeSeed(), active: map[uint64]struct{}{}} }

// enter notes that m is being forked; again is true if it was already.
func (f *forks) enter(m *sip.Message) (mark uint64, again bool) {
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, part := range [...][]byte{m.Get(sip.HdrCallID), m.FromTag(), m.Get(sip.HdrCSeq), m.RequestURI()} {
		_, _ = h.Write(part) // never fails
		_ = h.WriteByte(0)
	}
	mark = h.Sum64()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again = f.active[mark]; !again {
		f.active[mark] = struct{}{}
	}
	return mark, again
}

func (f *forks) leave(mark uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.active, mark)
}

// circles is the enforcement point against requests that go round in circles or grow without bound (RFC 3261 16.3; RFC 5393):
// true if in is refused.
func (x *Exchange) circles(in Inbound, reason string) bool {
	return x.table.gate.Refuse(secure.CIAvailabilityForkBreadth, secure.Event{Reason: reason, Subject: in.Proof.IMPI()})
}
