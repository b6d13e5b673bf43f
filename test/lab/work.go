package lab

import (
	"net/netip"
	"slices"
	"time"

	"imsafe/proto/shard"
)

// arrival is a datagram that waits until a node has time for it.
type arrival struct {
	at   time.Duration
	from netip.AddrPort
	data []byte
}

// refusedCosts is which part of its work a node has with a datagram that it refuses at once.
const refusedCosts = 20

// queue lets a datagram wait for its turn.
func (n *Node) queue(from netip.AddrPort, data []byte) {
	n.waiting = append(n.waiting, arrival{at: n.w.Clock.Now(), from: from, data: slices.Clone(data)})
	if !n.busy {
		n.work()
	}
}

// work takes the datagram whose turn it is, tells the node how long that one has waited, and goes on when it is done.
func (n *Node) work() {
	n.busy = len(n.waiting) > 0 && n.up
	if !n.busy {
		return
	}
	a := n.waiting[0]
	n.waiting = slices.Delete(n.waiting, 0, 1)
	core, i := n.front(), n.shardOf(a.from)
	core.Shards[i].Exec(shard.EventFunc(func(sh *shard.Shard) { core.Waited(sh, n.w.Clock.Now()-a.at) }))
	before := core.Door.Budgets().OverLoad.Load()
	n.take(a.from, a.data)
	cost := n.w.options.Work
	if core.Door.Budgets().OverLoad.Load() > before {
		cost /= refusedCosts
	}
	n.w.After(cost, n.work)
}
