package simulation

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"imsafe/test/lab"
)

// weather is what network and disks are like in the storm.
type weather struct {
	loss, double, slow int           // percent of datagrams
	miss               int           // percent of reads of the store
	delay              time.Duration // at most, of the usual ones
	sync               time.Duration // of the disk, about
	strike             time.Duration // between two faults of a node, about
}

func newWeather(r interface{ IntN(int) int }) weather {
	return weather{loss: 1 + r.IntN(7), double: 1 + r.IntN(3), slow: 1 + r.IntN(7), miss: r.IntN(20), delay: time.Duration(1+r.IntN(40)) * time.Millisecond,
		sync: time.Duration(r.IntN(20)) * time.Millisecond, strike: time.Duration(20+r.IntN(60)) * time.Second}
}

// newNetworkWeather is a network as bad as transactions must bear, and disks that are good.
func newNetworkWeather(r interface{ IntN(int) int }) weather {
	return weather{loss: 5 + r.IntN(11), double: 10 + r.IntN(31), slow: 10 + r.IntN(31), delay: time.Duration(1+r.IntN(80)) * time.Millisecond,
		sync: time.Millisecond}
}

// String is for the first line of the history.
func (w weather) String() string {
	return fmt.Sprintf("%d %% lost, %d %% doubled, %d %% late, delay to %v, %d %% of reads from the disk, sync about %v, a fault about every %v",
		w.loss, w.double, w.slow, w.delay, w.miss, w.sync, w.strike)
}

// fate is what happens to a datagram.
func (r *run) fate(netip.AddrPort, netip.AddrPort) []time.Duration {
	if r.phase != stormy {
		return []time.Duration{time.Millisecond}
	}
	if r.percent(r.weather.loss) {
		r.witness.transports(r.leaving, true, nil)
		return nil
	}
	delays := []time.Duration{r.delay()}
	if r.percent(r.weather.double) {
		delays = append(delays, r.delay())
	}
	return delays
}

func (r *run) delay() time.Duration {
	if r.percent(r.weather.slow) {
		return r.upTo(700 * time.Millisecond) // overtaken by others, and by retransmissions
	}
	return r.upTo(r.weather.delay)
}

// site is a node and what befell it.
type site struct {
	*lab.Node
	stalled time.Duration // until when its disk takes very long
	failing bool          // a sync fails or the power goes in the middle of a write; the node can promise nothing more
	since   time.Duration // since when it can keep promises again
	life    int           // how often it was started
	trap    func()        // what befalls it at its next promise
}

// newDisk gives the disk of a node that starts its speed.
func (r *run) newDisk(n *lab.Node) {
	n.Disk.SlowSync(func() time.Duration { return r.w.Clock.Now() }, func() time.Duration {
		if r.phase != stormy {
			return time.Millisecond
		}
		if s := r.sites[n.Number()]; r.w.Clock.Now() < s.stalled {
			return r.upTo(2 * time.Second)
		}
		return r.about(r.weather.sync)
	}, nil)
}

// readTakes is how long a read of the store takes: sometimes the record is not in memory.
func (r *run) readTakes() time.Duration {
	if r.phase != stormy || !r.percent(r.weather.miss) {
		return 0
	}
	if r.percent(10) { // behind many others
		return r.upTo(800 * time.Millisecond)
	}
	return r.upTo(2 * r.weather.sync)
}

// strike lets something happen to a node, and again later.
func (r *run) strike(s *site) {
	if r.phase != stormy {
		return
	}
	defer r.w.After(5*time.Second+r.about(r.weather.strike), func() { r.strike(s) })
	if !s.Up() || s.failing {
		return
	}
	n := s.Number()
	switch k := r.random.IntN(100); {
	case k < 25: // at any time, or just after a promise: what is not on the disk by then is lost
		r.spring(s, func() {
			r.note("node%d: power cut", n)
			r.powerCut(s)
		})
	case k < 40: // the power goes while something is written
		r.note("node%d: power goes within a few writes", n)
		s.failing = true
		s.Disk.CutAfter(1 + r.random.IntN(6))
		r.later(r.upTo(2*time.Second), func() {
			r.note("node%d: power cut", n)
			r.powerCut(s)
		})
	case k < 60:
		r.spring(s, func() {
			r.note("node%d: ends", n)
			r.end(s)
		})
	case k < 80:
		r.note("node%d: a sync will fail", n)
		r.witness.counts.FailedSyncs++
		s.failing = true
		s.Disk.FailSync(1 + r.random.IntN(4))
		r.later(2*time.Second+r.upTo(15*time.Second), func() { // until the operator sees it
			r.note("node%d: stopped because its disk failed", n)
			if r.percent(50) {
				s.Exit()
			} else {
				s.PowerCut()
			}
			r.restart(s)
		})
	default:
		r.note("node%d: the disk stalls", n)
		r.witness.counts.Stalls++
		s.stalled = r.w.Clock.Now() + r.upTo(10*time.Second)
	}
}

// spring lets a fault happen now, or within a moment of the node's next promise.
func (r *run) spring(s *site, fault func()) {
	if r.percent(30) {
		fault()
		return
	}
	s.trap = func() {
		r.later(r.upTo(4*time.Millisecond), func() {
			if s.Up() && !s.failing {
				fault()
			}
		})
	}
}

// later does what belongs to the storm, unless it is over by then.
func (r *run) later(d time.Duration, do func()) {
	r.w.After(d, func() {
		if r.phase == stormy {
			do()
		}
	})
}

func (r *run) powerCut(s *site) {
	r.witness.counts.PowerCuts++
	s.PowerCut()
	r.restart(s)
}

// restart starts the node some time after it went down.
func (r *run) restart(s *site) {
	s.failing = true
	r.w.After(r.upTo(12*time.Second), func() { r.start(s) })
}

func (r *run) start(s *site) {
	if s.Up() {
		return
	}
	s.Disk.FailSync(0)
	if err := s.Start(); err != nil {
		r.witness.fail("node%d does not start: %v", s.Number(), err)
		return
	}
	s.life++
	s.failing, s.since = false, r.w.Clock.Now()
	r.note("node%d: up again", s.Number())
	r.witness.lookAt(s)
}

// keepHouse does what node.Node does in the background.
func (r *run) keepHouse(s *site) {
	if err := s.Sweep(); err != nil && !s.failing {
		r.witness.fail("node%d: sweep: %v", s.Number(), err)
	}
	r.w.After(5*time.Second, func() { r.keepHouse(s) })
}

// provision removes a subscriber, or adds one again that was removed.
func (r *run) provision() {
	if r.phase != stormy {
		return
	}
	defer r.w.After(r.about(15*time.Second), r.provision)
	p := r.phones[r.random.IntN(len(r.phones))]
	if r.witness.accounts[p.impu].unsure {
		return
	}
	if s := r.sites[p.node.Number()]; !s.Up() || s.failing || r.w.Clock.Now() < s.stalled {
		return
	}
	if r.percent(25) { // the node ends before the change does
		s, steps := r.sites[p.node.Number()], 1+r.random.IntN(3)
		p.node.Meanwhile = func() {
			if steps--; steps == 0 {
				r.note("node%d: ends in the middle of a change of %s", s.Number(), p.name)
				r.end(s)
			}
		}
		defer func() { p.node.Meanwhile = nil }()
	}
	r.reprovision(p)
}

// end is a power cut or kill -9.
func (r *run) end(s *site) {
	if r.percent(50) {
		r.powerCut(s)
		return
	}
	r.witness.counts.Exits++
	s.Exit()
	r.restart(s)
}

func (r *run) reprovision(p *phone) {
	if p.provisioned {
		r.note("%s: removed from the HSS", p.name)
		r.witness.counts.Removed++
		r.witness.removing(p)
		err := p.node.Provision(func(ctx context.Context) error { return p.node.Core.HSS.Remove(ctx, p.impi) })
		r.note("%s: removed: %v", p.name, err)
		r.witness.removed(p, err)
		return
	}
	r.witness.counts.Added++
	err := p.node.Provision(func(ctx context.Context) error { return p.node.Core.HSS.Add(ctx, p.subscriber()) })
	r.note("%s: added to the HSS: %v", p.name, err)
	r.witness.added(p, err)
}

// clearUp ends the storm: no more faults, everybody runs, everybody is a subscriber.
func (r *run) clearUp() {
	r.phase = calming
	r.note("calm: nothing is lost, nothing fails")
	for _, s := range r.sites {
		if s.failing || s.Store.Failure() != nil {
			s.PowerCut()
		}
		r.start(s)
		s.since = r.w.Clock.Now()
	}
	r.w.Settle()
	for _, p := range r.phones {
		if !p.provisioned {
			r.reprovision(p)
		}
		if c := p.call; c != nil && c.served != nil {
			c.pickUp(486) // whoever let it ring is there now
		}
		r.w.After(r.upTo(2*time.Second), p.enjoyCalm)
	}
}
