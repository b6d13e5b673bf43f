package scscf

import (
	"hash/maphash"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/proto/sip"
)

// extraLife is how long a further dialog of a forked call is remembered. Its caller ends it at once (RFC 3261 13.2.2.4).
const extraLife = 10 * time.Minute

// extraDialogs are the dialogs that further answers to a forked call made. They are not what the call's record is about: a BYE of one
// of them does not end that. Safe for concurrent use.
type extraDialogs struct {
	seed maphash.Seed

	mu    sync.Mutex
	until map[uint64]time.Duration // by Call-ID and To tag
	order []uint64                 // oldest first
}

func newExtraDialogs() *extraDialogs {
	return &extraDialogs{seed: maphash.MakeSeed(), until: map[uint64]time.Duration{}}
}

func (e *extraDialogs) key(callID, tag []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	_, _ = h.Write(callID) // never fails
	_ = h.WriteByte(0)
	_, _ = h.Write(tag)
	return h.Sum64()
}

// note remembers the dialog of an answer that came after the first, and forgets those whose time is over.
func (e *extraDialogs) note(m *sip.Message, now time.Duration) {
	key := e.key(m.Get(sip.HdrCallID), m.ToTag())
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.order) > 0 && e.until[e.order[0]] <= now {
		delete(e.until, e.order[0])
		e.order = e.order[1:]
	}
	if _, known := e.until[key]; !known {
		e.until[key] = now + extraLife
		e.order = append(e.order, key)
	}
}

// has reports whether a request inside a dialog, of either end, belongs to one of them.
func (e *extraDialogs) has(m *sip.Message) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.until) == 0 {
		return false
	}
	_, callers := e.until[e.key(m.Get(sip.HdrCallID), m.ToTag())]
	_, callees := e.until[e.key(m.Get(sip.HdrCallID), m.FromTag())]
	return callers || callees
}

// watchExtra returns what sees the responses to an INVITE that climb beside its final one: of these a 2xx is a further answer.
func (s *SCSCF) watchExtra(x *hop.Exchange, in hop.Inbound) hop.Up {
	if in.Msg.Method() != sip.INVITE {
		return nil
	}
	shard := x.Task().Shard()
	return func(r hop.Reply) hop.Reply {
		if r.Status()/100 == 2 {
			s.extras.note(r.Msg, shard.Now())
		}
		return r
	}
}
