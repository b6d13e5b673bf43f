package scscf

import (
	"hash/maphash"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/secure"
)

// leastInterval is the least time between two NOTIFYs to one watcher (RFC 3680 4.10). What does not wait: the first of a subscription, which
// answers a SUBSCRIBE (RFC 6665 4.2.1.2); the last one, after which comes nothing; and that the network has ended a binding.
const leastInterval = 5 * time.Second

// pace remembers when watchers were told, for as long as it matters, and whether they will be. Of what happens in between the last state is
// what they hear (RFC 6446 4.1). Safe for concurrent use.
type pace struct {
	seed maphash.Seed

	mu    sync.Mutex
	last  map[uint64]time.Duration // by subscription
	owed  map[uint64]*shard.Timer  // a NOTIFY will go out by this
	order []uint64                 // of last, oldest first
}

func newPace() *pace {
	return &pace{seed: maphash.MakeSeed(), last: map[uint64]time.Duration{}, owed: map[uint64]*shard.Timer{}}
}

// key names a subscription.
func (w *subscription) key() string { return w.callID + "\x00" + w.localTag }

func (p *pace) hash(key string) uint64 { return maphash.String(p.seed, key) }

// told notes that a watcher is told now, and forgets whom nobody has to wait for any more.
func (p *pace) told(key string, now time.Duration) {
	h := p.hash(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.order) > 0 && p.last[p.order[0]]+leastInterval <= now {
		delete(p.last, p.order[0])
		p.order = p.order[1:]
	}
	if _, known := p.last[h]; !known {
		p.order = append(p.order, h)
	}
	p.last[h] = now
}

// wait returns how long a watcher has to wait for the next NOTIFY; owed says that one is on its way already.
func (p *pace) wait(key string, now time.Duration) (left time.Duration, owed bool) {
	h := p.hash(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.last[h]
	if !known {
		return 0, false
	}
	_, owed = p.owed[h]
	return last + leastInterval - now, owed
}

// owe notes that a NOTIFY will go out by the timer that it returns.
func (p *pace) owe(key string) *shard.Timer {
	p.mu.Lock()
	defer p.mu.Unlock()
	timer := &shard.Timer{}
	p.owed[p.hash(key)] = timer
	return timer
}

func (p *pace) paid(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.owed, p.hash(key))
}

// tooSoon reports whether a watcher of impi's registration has been told a moment ago. He is then told later, of what is the state by then. A
// restart in between takes that back: the next change brings the whole state.
func (s *SCSCF) tooSoon(t *shard.Task, impi string, w *subscription) bool {
	left, owed := s.pace.wait(w.key(), t.Now())
	if left <= 0 || !s.refusesHaste() {
		return false
	}
	if owed {
		return true
	}
	callID, key := w.callID, w.key()
	t.Shard().Arm(s.pace.owe(key), left, shard.EventFunc(func(sh *shard.Shard) {
		s.pace.paid(key)
		// A shard without room for another procedure loses it, as notifyLater does.
		sh.Start(func(t *shard.Task) {
			if reg, alive := s.find(t, impi); alive {
				s.notify(t, reg, change{}, callID)
			}
		})
	}))
	return true
}

// refusesHaste is the enforcement point of "no watcher is told more often than that".
func (s *SCSCF) refusesHaste() bool {
	return s.ports.Gate.Refuse(secure.CIAvailabilityNotifyPacing, secure.Event{Reason: "too-soon"})
}
