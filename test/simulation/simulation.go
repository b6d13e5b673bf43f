// Package simulation plays whole systems from a seed: a few nodes, tens of phones that register, call and write to each
// other, a network that loses, delays and doubles, disks that are slow or fail, processes that are killed and power that
// goes. Time, randomness, network and disk are false, the nodes are the real ones (node.Assemble); everything happens on
// one goroutine, so one seed is one run, and a failure can be played again.
//
// A run is a storm, a calm and a silence. During all of it a witness compares what nodes have promised with what is
// there. In the calm everybody must succeed in everything. After the silence nothing may be left over: no transaction,
// procedure, timer, association or message.
//
// The phones share nothing with the core but proto/sip and proto/aka, and have transactions of their own. Imported by
// its tests only; not safe for concurrent use.
package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"imsafe/hop"
	"imsafe/test/lab"
)

// Plan says what a run is like. The zero value of a field means the default.
type Plan struct {
	Seed  uint64
	Nodes int           // default 3
	Users int           // of each node, default 12
	Storm time.Duration // default 4 min
	Keep  int           // events that Result.History has at most, default 120
	Lying bool          // disks say that a sync is over when it begins: the witness must notice
	// Network: only the network is bad, but that thoroughly. Nodes and disks are sound, phones keep their memory, and nobody is taken away.
	// So every call must end in one way, the same at both ends, and have its records.
	Network bool
}

// The parts of a run that have a fixed length.
const (
	calm    = 3 * time.Minute
	silence = 15 * time.Minute // longer than any registration, transaction or association lives
)

// run is one simulation.
type run struct {
	Plan
	w       *lab.World
	random  *rand.Rand // of phones, network and faults; the nodes have another
	phones  []*phone
	sites   []*site
	witness *witness
	history *history
	weather weather
	split   bool // the P-CSCF of each node is a process of its own
	phase   phase
	leaving []byte // the datagram whose fate is asked for
}

type phase int

const (
	stormy phase = iota
	calming
	silent
)

// Result is what a run was.
type Result struct {
	Trace   string // hash of everything that was sent and done, in order
	Counts  Counts
	History string // the last events, for people
}

// Counts says how much happened, so that a run in which nothing happened is not taken for a good one.
type Counts struct {
	Datagrams, Registered, Deregistered, Asked, Challenges, Resynchronised, Refused int
	Calls, Answered, Busy, Cancelled, Messages, Undelivered                         int
	Talked, Records                                                                 int
	PowerCuts, Exits, FailedSyncs, Stalls, Removed, Added, Probes, Unanswered       int
}

// Run plays plan. The error says what was violated; the Result is filled in either case.
func Run(plan Plan) (result Result, err error) {
	r := &run{Plan: plan, random: rand.New(rand.NewPCG(plan.Seed, 2))}
	r.Nodes, r.Users, r.Keep = cmp.Or(r.Nodes, 3), cmp.Or(r.Users, 12), cmp.Or(r.Keep, 120)
	r.Storm = cmp.Or(r.Storm, 4*time.Minute)
	r.history = newHistory(r.Keep)
	r.witness = newWitness(r)
	defer func() {
		result = Result{Trace: r.history.hash(), Counts: r.witness.counts, History: r.history.String()}
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			result.History += stack()
		}
	}()
	if err := r.build(); err != nil {
		return result, err
	}
	defer r.w.Close()
	return result, r.play()
}

// build makes the world, its phones and its weather.
func (r *run) build() (err error) {
	r.split = r.Seed%3 == 2
	o := lab.Options{Seed: r.Seed, Wide: r.Seed%3 != 0, Nodes: r.Nodes, Shards: 1 + int(r.Seed%2), Mode: hop.Mode(r.Seed / 2 % 2), Split: r.split, Poison: true,
		Log: r.history.logger(), Disk: r.newDisk, Read: r.readTakes, Lying: r.Lying}
	r.weather = newWeather(r.random)
	if r.Network {
		r.weather = newNetworkWeather(r.random)
	}
	r.history.note(0, "seed %d: %d nodes, %d shards, mode %d, split %t, %v", r.Seed, o.Nodes, o.Shards, o.Mode, o.Split, r.weather)
	if r.w, err = lab.New(o); err != nil {
		return err
	}
	r.history.clock = r.w.Clock.Now
	r.w.Tap = func(from, to netip.AddrPort, data []byte) {
		r.history.datagram(r.nameOf(from), r.nameOf(to), data)
		r.witness.sent(from, to, data)
		r.witness.transports(data, false, r.witness.byAddress[from])
		r.leaving = data
	}
	r.w.Fate = r.fate
	for _, n := range r.w.Nodes {
		r.sites = append(r.sites, &site{Node: n})
		for range r.Users {
			if err := r.addPhone(n); err != nil {
				return err
			}
		}
	}
	for _, p := range r.phones {
		r.w.After(r.upTo(20*time.Second), p.live)
	}
	for _, s := range r.sites {
		r.keepHouse(s)
		if !r.Network {
			r.w.After(r.upTo(30*time.Second), func() { r.strike(s) })
		}
	}
	if !r.Network {
		r.w.After(r.upTo(time.Minute), r.provision)
	}
	return nil
}

// play lets time pass, looking at the promises again and again.
func (r *run) play() error {
	if err := r.advance(r.Storm); err != nil {
		return err
	}
	r.clearUp()
	if err := r.advance(calm); err != nil {
		return err
	}
	if err := r.everybodySucceeded(); err != nil {
		return err
	}
	r.phase = silent
	r.note("silence: nobody asks for anything any more")
	if err := r.advance(silence); err != nil {
		return err
	}
	if err := r.nothingIsLeft(); err != nil {
		return err
	}
	return r.witness.lookAtCalls()
}

const glance = 250 * time.Millisecond

func (r *run) advance(d time.Duration) error {
	for end := r.w.Clock.Now() + d; r.w.Clock.Now() < end; {
		r.w.Advance(glance)
		if r.phase != silent || r.w.Clock.Now()%(10*time.Second) < glance {
			r.witness.look()
		}
		if r.witness.violation != nil {
			return r.witness.violation
		}
	}
	return nil
}

// everybodySucceeded is the judgement of the calm: with all nodes up and nothing lost there is no excuse.
func (r *run) everybodySucceeded() error {
	for _, p := range r.phones {
		switch {
		case !p.registered():
			return fmt.Errorf("%s is not registered after %v of calm", p.name, calm)
		case p.calmMessages == 0:
			return fmt.Errorf("%s had no message delivered in the calm", p.name)
		case p.calmCalls == 0:
			return fmt.Errorf("%s made no call in the calm", p.name)
		}
	}
	return nil
}

// nothingIsLeft is the judgement of the silence.
func (r *run) nothingIsLeft() error {
	for i, n := range r.w.Nodes {
		var tasks, timers, messages, dropped int
		for _, core := range n.Cores() {
			for _, sh := range core.Shards {
				st := sh.Stats()
				tasks, timers = tasks+st.Tasks, timers+st.Timers
			}
			messages, dropped = messages+int(core.Pool.Live()), dropped+int(core.Pool.DroppedEdits())
		}
		front := n.Cores()[0]
		timers -= len(front.Shards) // each has the timer of the sweeper of associations
		for _, left := range []struct {
			what string
			n    int
		}{
			{"transactions", n.Transactions()}, {"procedures", tasks}, {"timers", timers}, {"associations", front.Door.Associations()},
			{"messages", messages}, {"edits that were dropped", dropped}, {"registrations", n.Core.SCSCF.Registered()},
			{"records of registrations", r.witness.records(n)},
		} {
			if left.n != 0 {
				return fmt.Errorf("node%d: %d %s are left after %v of silence", i, left.n, left.what, silence)
			}
		}
	}
	return nil
}

func (r *run) note(format string, args ...any) { r.history.note(r.w.Clock.Now(), format, args...) }

// nameOf is how people call an address.
func (r *run) nameOf(a netip.AddrPort) string {
	for _, n := range r.w.Nodes {
		if n.Address == a {
			return fmt.Sprintf("node%d", n.Number())
		}
	}
	if p := r.witness.byAddress[a]; p != nil {
		return p.name
	}
	return a.String()
}

// upTo is a time from 0 to d, evenly spread; about one of an exponential distribution, at most 10 times d.
func (r *run) upTo(d time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(d) + 1))
}

func (r *run) about(d time.Duration) time.Duration {
	return time.Duration(min(r.random.ExpFloat64(), 10) * float64(d))
}

// percent is true so often.
func (r *run) percent(n int) bool { return r.random.IntN(100) < n }
