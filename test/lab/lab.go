// Package lab is the house in a bottle: nodes without sockets, a network in memory and scripted clients, all on
// one goroutine under a fake clock, from one seed. Scenario tests and simulations stand on it.
//
// Clients use the access profile lab-udp and share nothing with the core but proto. Besides the scripted Client there
// may be others that act by themselves: plug an Endpoint in and use After. A node can be killed, lose its power, have
// a slow or failing disk; the same seed and the same script give the same run. Not safe for concurrent use; imported
// by tests only.
package lab

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"imsafe/config"
	"imsafe/hop"
	"imsafe/imsbox/pcscf"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// Domain is the home domain of every node of the lab: test network 001/01 (TS 23.003 13.2).
const Domain = "ims.mnc001.mcc001.3gppnetwork.org"

// Options of a World. The zero value is one node with one shard, direct hops and every control on.
type Options struct {
	Seed   uint64
	Mode   hop.Mode
	Nodes  int
	Shards int
	Policy policy.Effective
	Log    *slog.Logger
	// Split puts the P-CSCF of each node into a process of its own, with a wire between (Mw in clear).
	Split bool
	// Apart puts the HSS of each node into a process of its own.
	Apart bool
	// Protected makes the nodes take their clients' paths for protected ones, as if under TLS: for procedures that differ. A client is
	// then known by its address, not by what it says.
	Protected bool
	// Digest admits subscribers without a card, by SHA-256 and by MD5.
	Digest bool
	// Wide makes the budgets of the nodes so wide that nobody reaches them: for attacks that others must stop.
	Wide bool
	// Voucher signs for the nodes who calls, with which media keys; nil: nobody does.
	Voucher pcscf.Voucher
	// Emergency is who answers emergency calls, a SIP URI; "" is nobody.
	Emergency string
	// Budget is what each user may send; the zero value sets no bounds.
	Budget config.Budget
	// Anchor is the media anchor of the P-CSCFs; nil: media go past them. MediaInClear lets clients talk in clear whose signalling does.
	Anchor       iq.Gateway
	MediaInClear bool
	// Numbering is how dialled numbers are read, and which may be dialled.
	Numbering config.Numbering
	// Work is how long a node is busy with a datagram; one that it refuses at the door costs a twentieth. Those that come meanwhile wait. 0: nothing
	// costs any time.
	Work time.Duration
	// Poison makes the nodes panic where a message is used after its release.
	Poison bool
	// Tap is World.Tap from the start.
	Tap func(from, to netip.AddrPort, data []byte)
	// Disk, if set, gives a node's disk its faults: called at each start of the node, after its store was opened.
	Disk func(n *Node)
	// Read, if set, says how long a read of the store takes that a procedure waits for; 0 is none, as where memory has the record.
	Read func() time.Duration
	// Lying makes the disks say that a sync is over when it begins, to see that somebody notices.
	Lying bool
}

// World is a few nodes, each a network of its own, with their surroundings.
type World struct {
	Clock  *shard.Fake
	Random *rand.Rand // for the script; the nodes have another
	Nodes  []*Node
	// Events is every refusal the nodes reported, oldest first.
	Events []secure.Event
	// Fate, if set, decides what happens to a datagram: how long each copy of it takes; none means that it is lost.
	Fate func(from, to netip.AddrPort) (delays []time.Duration)
	// Tap, if set, sees every datagram when it is sent, lost or not.
	Tap func(from, to netip.AddrPort, data []byte)

	options   Options
	chacha    *rand.ChaCha8
	endpoints map[netip.AddrPort]Endpoint
	processes []Process
	flying    []datagram // by time of arrival
	agenda    []appointment
	number    uint64 // of the next datagram or appointment: equal times keep their order
}

// Endpoint is whatever has an address besides the nodes.
type Endpoint interface {
	// Receive takes a datagram. data is the endpoint's.
	Receive(from netip.AddrPort, data []byte)
}

// Process is one beside the nodes that acts by itself: a service platform.
type Process interface {
	// Step does everything that is due at now and returns when something will be next, or shard.Never. What it sends leaves by World.Send.
	Step(now time.Duration) (next time.Duration)
}

// appointment is something to be done at a time.
type appointment struct {
	at     time.Duration
	number uint64
	do     func()
}

type datagram struct {
	at       time.Duration
	number   uint64
	from, to netip.AddrPort
	data     []byte
}

// New makes a world and starts its nodes.
func New(o Options) (*World, error) {
	o.Shards, o.Nodes = cmp.Or(o.Shards, 1), cmp.Or(o.Nodes, 1)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &World{Tap: o.Tap, Clock: shard.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), options: o,
		Random: rand.New(rand.NewPCG(o.Seed, 1)), endpoints: map[netip.AddrPort]Endpoint{}}
	w.chacha = rand.NewChaCha8([32]byte{byte(o.Seed), byte(o.Seed >> 8), byte(o.Seed >> 16), byte(o.Seed >> 24)})
	for i := range o.Nodes {
		n, err := newNode(w, i)
		if err != nil {
			return nil, err
		}
		w.Nodes = append(w.Nodes, n)
	}
	return w, nil
}

// Close ends the nodes.
func (w *World) Close() {
	for _, n := range w.Nodes {
		n.stop()
	}
}

// Refused implements secure.Sink.
func (w *World) Refused(e secure.Event) { w.Events = append(w.Events, e) }

// Plug gives address to e.
func (w *World) Plug(address netip.AddrPort, e Endpoint) { w.endpoints[address] = e }

// Join lets a process take part in time.
func (w *World) Join(p Process) { w.processes = append(w.processes, p) }

// After lets do run when d has passed, outside the nodes. It must not call Advance, Settle or Call.
func (w *World) After(d time.Duration, do func()) {
	a := appointment{at: w.Clock.Now() + d, number: w.next(), do: do}
	i, _ := slices.BinarySearchFunc(w.agenda, a, func(a, b appointment) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.number, b.number))
	})
	w.agenda = slices.Insert(w.agenda, i, a)
}

func (w *World) next() uint64 {
	w.number++
	return w.number
}

// Send carries a datagram; where it arrives is decided by the address.
func (w *World) Send(from, to netip.AddrPort, data []byte) {
	if w.Tap != nil {
		w.Tap(from, to, data)
	}
	delays := []time.Duration{0}
	if w.Fate != nil {
		delays = w.Fate(from, to)
	}
	for _, delay := range delays {
		d := datagram{at: w.Clock.Now() + delay, number: w.next(), from: from, to: to, data: slices.Clone(data)}
		i, _ := slices.BinarySearchFunc(w.flying, d, func(a, b datagram) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.number, b.number))
		})
		w.flying = slices.Insert(w.flying, i, d)
	}
}

// arrive delivers the first datagram that is due; false if none is.
func (w *World) arrive() bool {
	if len(w.flying) == 0 || w.flying[0].at > w.Clock.Now() {
		return false
	}
	d := w.flying[0]
	w.flying = slices.Delete(w.flying, 0, 1)
	if e := w.endpoints[d.to]; e != nil {
		e.Receive(d.from, d.data)
	}
	for _, n := range w.Nodes {
		if n.Address == d.to {
			n.receive(d.from, d.data)
		} else {
			n.overWire(d)
		}
	}
	return true
}

// act keeps the first appointment that is due; false if none is.
func (w *World) act() bool {
	if len(w.agenda) == 0 || w.agenda[0].at > w.Clock.Now() {
		return false
	}
	a := w.agenda[0]
	w.agenda = slices.Delete(w.agenda, 0, 1)
	a.do()
	return true
}

// step runs everything that is due and returns when something will be next.
func (w *World) step() (next time.Duration) {
	next = 1<<63 - 1
	for _, n := range w.Nodes {
		next = min(next, n.step(w.Clock.Now()))
	}
	for _, p := range w.processes {
		next = min(next, p.Step(w.Clock.Now()))
	}
	if len(w.flying) > 0 {
		next = min(next, w.flying[0].at)
	}
	if len(w.agenda) > 0 {
		next = min(next, w.agenda[0].at)
	}
	return next
}

// Settle runs everything that is due at the present moment, until nothing is.
func (w *World) Settle() { w.Advance(0) }

// Advance lets d pass, event by event.
func (w *World) Advance(d time.Duration) {
	end := w.Clock.Now() + d
	for {
		for w.arrive() || w.act() {
			w.step()
		}
		next := w.step()
		switch now := w.Clock.Now(); {
		case next <= now:
		case next > end:
			w.Clock.AdvanceTo(end)
			if end == now {
				return
			}
			end = w.Clock.Now() // once more at the end itself
		default:
			w.Clock.AdvanceTo(next)
		}
	}
}
