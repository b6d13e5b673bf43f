package node

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

// probeEvery is how often it is looked how long work waits. A node that nobody asks for anything looks less often.
const (
	probeEvery = 10 * time.Millisecond
	idleProbe  = 250 * time.Millisecond
)

// loadProbe is a piece of work that does nothing: what it shows is how long it had to wait, for a processor and behind what its shard had to do
// before it.
type loadProbe struct {
	core   *Core
	due    time.Duration
	waits  bool   // the shard does not have it yet; its age counts all the same
	passed uint64 // what the shard had done when it was due
}

// Run implements shard.Event.
func (p *loadProbe) Run(sh *shard.Shard) { p.core.Waited(sh, max(0, sh.Clock().Now()-p.due)) }

// loadWatch sends a probe to each shard, one at a time. On their way they cross a pipe: what has come for a thousand connections waits in the
// kernel until the run time asks for it, some hundred at a time, and what comes later waits behind it. So does the octet in the pipe.
type loadWatch struct {
	n      *Node
	probes []loadProbe
	away   atomic.Bool // an octet is in the pipe: probes belong to whoever reads it
	to, at *os.File
}

// watchLoad looks how long work waits until ctx ends.
func (n *Node) watchLoad(ctx context.Context) error {
	at, to, err := os.Pipe()
	if err != nil {
		return err
	}
	w := &loadWatch{n: n, probes: make([]loadProbe, len(n.Shards)), to: to, at: at}
	var both errgroup.Group
	both.Go(func() error { w.hear(); return nil })
	w.send(ctx)
	_ = to.Close() // which ends hear
	_ = both.Wait()
	return at.Close()
}

// send lets probes become due until ctx ends.
func (w *loadWatch) send(ctx context.Context) {
	for pause := probeEvery; ; {
		due := w.n.o.Clock.Now() + pause
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if w.away.Load() {
			continue
		}
		pause = idleProbe
		for i := range w.probes {
			if w.prepare(i, due) {
				pause = probeEvery
			}
		}
		w.away.Store(true)
		_, _ = w.to.Write([]byte{0}) // it holds one: the reader is still there
	}
}

// datagrams makes the Sender of a packet socket of a shard. What lies in the socket no probe sees; the kernel says since when.
func (n *Node) datagrams(shard int, conn net.PacketConn, o siptransport.Options) *siptransport.Datagrams {
	d := siptransport.NewDatagrams(n.Shards[shard], conn, o)
	d.Waits(n.Load[shard].Queue().Waited)
	return d
}

// prepare makes the probe of a shard due if none is on its way. It reports whether the shard has something to do.
func (w *loadWatch) prepare(i int, due time.Duration) (busy bool) {
	sh, load, p := w.n.Shards[i], w.n.Load[i], &w.probes[i]
	done := sh.Stats()
	busy = done.Inline+done.Queued > p.passed || load.Active() || load.Expecting()
	if !load.Expecting() {
		p.core, p.due, p.passed, p.waits = w.n.Core, due, done.Inline+done.Queued+1, true
		load.Expect(due)
	}
	return busy
}

// hear hands the probes to their shards as they come out of the pipe, until it is closed.
func (w *loadWatch) hear() {
	for octet := []byte{0}; ; {
		if _, err := w.at.Read(octet); err != nil {
			return
		}
		for i := range w.probes {
			if p := &w.probes[i]; p.waits {
				p.waits = !w.n.Shards[i].Post(p)
			}
		}
		w.away.Store(false)
	}
}
