package clientims

import (
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/gm"
)

const (
	sweepEvery = time.Second
	sweepShare = 30 // a sweep looks at one slot in so many, so each is seen twice a minute
)

// Watch starts the sweeper of expired associations. On the shard, once.
func (p *Port) Watch() { p.shard.Arm(&p.timer, sweepEvery, (*sweep)(p)) }

type sweep Port

// Run implements shard.Event.
func (s *sweep) Run(sh *shard.Shard) {
	p := (*Port)(s)
	share := p.table.size()/sweepShare + 1
	if g := p.access.gm; g != nil && p.access.Protected {
		p.table.expireSets(p.swept, share)
		g.Engine.Cool(share)
	}
	gone, next := p.table.expired(p.swept, share)
	p.swept = next
	for _, a := range gone {
		if a.access == p.access {
			p.forget(a.ref, gm.ReasonExpired)
		}
	}
	sh.Arm(&p.timer, sweepEvery, s)
}

// expireSets gives up, among n associations from start, the sets whose time is over.
func (t *associations) expireSets(start, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for ; n > 0 && start < len(t.slots); n, start = n-1, start+1 {
		a := t.slots[start].a
		if a == nil || a.sa == nil || !a.sa.expired(now) {
			continue
		}
		sa := *a.sa
		for g := range sa.sets {
			if sa.sets[g].set != nil && sa.sets[g].until <= now {
				sa.drop(g)
			}
		}
		a.sa = &sa
	}
}

// expired reports whether the time of a set is over.
func (s *security) expired(now time.Duration) bool {
	for g := range s.sets {
		if s.sets[g].set != nil && s.sets[g].until <= now {
			return true
		}
	}
	return false
}
