package node

import (
	"context"
	"runtime"
	"time"

	"imsafe/proto/shard"
)

// probeEvery is how often it is looked how long work waits. A node that nobody asks for anything looks less often.
const (
	probeEvery = 10 * time.Millisecond
	idleProbe  = 250 * time.Millisecond
)

// loadProbe is a piece of work that does nothing: what it shows is how long it had to wait, for a processor and behind what its shard had to do
// before it.
type loadProbe struct {
	core *Core
	due  time.Duration
	lost bool   // the shard had no room for it; its age counts all the same
	seen uint64 // what the shard had done by the last probe
}

// Run implements shard.Event.
func (p *loadProbe) Run(sh *shard.Shard) { p.core.Waited(sh, max(0, sh.Clock().Now()-p.due)) }

// watchLoad sends a probe to each shard, one at a time, until ctx ends.
func (n *Node) watchLoad(ctx context.Context) error {
	probes := make([]loadProbe, len(n.Shards))
	for pause := probeEvery; ; {
		due := n.o.Clock.Now() + pause
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		runtime.Gosched() // behind those who wait for a processor
		pause = idleProbe
		for i := range probes {
			if n.probe(&probes[i], i, due) {
				pause = probeEvery
			}
		}
	}
}

// probe sends the probe of a shard if none is on its way. It reports whether the shard has something to do.
func (n *Node) probe(p *loadProbe, i int, due time.Duration) (busy bool) {
	sh, load := n.Shards[i], n.Load[i]
	done := sh.Stats()
	busy = done.Inline+done.Queued > p.seen || load.Active() || load.Expecting()
	if load.Expecting() && !p.lost {
		return busy
	}
	if !p.lost {
		p.core, p.due, p.seen = n.Core, due, done.Inline+done.Queued+1
		load.Expect(due)
	}
	p.lost = !sh.Post(p)
	return busy
}
