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
	gone, next := p.table.expired(p.swept, p.table.size()/sweepShare+1)
	p.swept = next
	for _, a := range gone {
		if a.access == p.access {
			p.forget(a.ref, gm.ReasonExpired)
		}
	}
	sh.Arm(&p.timer, sweepEvery, s)
}
