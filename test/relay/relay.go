// Package relay is a bad network on loopback: a relay of UDP datagrams that drops, delays, duplicates and reorders them.
//
// A client sends to the relay's address instead of the node's. Each client gets a socket of its own towards the node, so
// that the node tells them apart by their ports and answers the right one. What happens to a datagram is drawn from a
// seeded generator, in the order in which datagrams arrive: the same seed gives the same fates, but not the same run,
// since the order is the operating system's.
//
// For tests only; it knows nothing of SIP. A Relay ends with its test, and its methods may be called from any goroutine.
package relay

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// Options say how bad the network is, in each direction. The zero value is a good one.
type Options struct {
	Seed      uint64
	Loss      float64       // share of datagrams that are dropped, 0 to 1
	Duplicate float64       // share of those left that arrive twice
	Delay     time.Duration // of every copy
	Jitter    time.Duration // up to so much more, drawn for each copy: what is sent later may arrive earlier
}

// Counts are of copies of datagrams, in both directions together.
type Counts struct {
	Received, Dropped, Duplicated, Overtaken int
	Delivered                                int
}

// The bounds of a relay: a test that goes wild ends there.
const (
	maxClients  = 4096
	maxInFlight = 16384
	maxDatagram = 65535
)

// Relay is a running relay.
type Relay struct {
	node  netip.AddrPort
	front *net.UDPConn // that clients send to

	mu       sync.Mutex // guards what follows
	fate     *dice
	clients  map[netip.AddrPort]*net.UDPConn // each with its socket towards the node
	counts   Counts
	inFlight []parcel // by time of arrival
	number   int      // of copies that were sent on their way
	latest   int      // highest number that arrived
	closed   bool

	wake    chan struct{} // something is in flight that may be the next to arrive
	running sync.WaitGroup
}

// parcel is a copy under way. Those of equal times keep their order.
type parcel struct {
	at     time.Time
	number int
	send   func()
}

// Start starts a relay to node that ends with the test.
func Start(t testing.TB, node netip.AddrPort, o Options) *Relay {
	t.Helper()
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatalf("relay: %v", err)
	}
	r := &Relay{node: node, front: front, fate: newDice(o), clients: map[netip.AddrPort]*net.UDPConn{}, wake: make(chan struct{}, 1)}
	r.running.Go(r.serveClients)
	r.running.Go(r.deliver)
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	return r
}

// Address is where clients send to.
func (r *Relay) Address() netip.AddrPort { return r.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Counts returns what happened so far.
func (r *Relay) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// stop ends the relay; what is under way is lost.
func (r *Relay) stop() error {
	r.mu.Lock()
	r.closed = true
	err := r.front.Close()
	for _, back := range r.clients {
		err = errors.Join(err, back.Close())
	}
	r.mu.Unlock()
	r.poke()
	r.running.Wait()
	return err
}

// serveClients reads what clients send.
func (r *Relay) serveClients() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier datagram
		}
		back, err := r.socketOf(from)
		if err != nil {
			return // closed, or out of sockets
		}
		r.carry(buf[:n], func(data []byte) { _, _ = back.Write(data) }) // a node that is not there is a bad network too
	}
}

// socketOf returns a client's socket towards the node.
func (r *Relay) socketOf(client netip.AddrPort) (*net.UDPConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if back := r.clients[client]; back != nil {
		return back, nil
	}
	if r.closed || len(r.clients) == maxClients {
		return nil, fmt.Errorf("relay: no socket for %v", client)
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.node))
	if err != nil {
		return nil, err
	}
	r.clients[client] = back
	r.running.Go(func() { r.serveNode(back, client) })
	return back, nil
}

// serveNode reads what the node sends to one client.
func (r *Relay) serveNode(back *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.carry(buf[:n], func(data []byte) { _, _ = r.front.WriteToUDPAddrPort(data, client) })
	}
}

// carry lets a datagram meet its fate.
func (r *Relay) carry(data []byte, send func([]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Received++
	delays := r.fate.draw()
	switch {
	case r.closed || len(delays) == 0 || len(r.inFlight)+len(delays) > maxInFlight:
		r.counts.Dropped++
		return
	case len(delays) > 1:
		r.counts.Duplicated++
	}
	now := time.Now()
	data = slices.Clone(data)
	for _, d := range delays {
		r.number++
		p := parcel{now.Add(d), r.number, func() { send(data) }}
		at, _ := slices.BinarySearchFunc(r.inFlight, p, func(a, b parcel) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.number, b.number))
		})
		r.inFlight = slices.Insert(r.inFlight, at, p)
	}
	r.poke()
}

// poke lets deliver look again.
func (r *Relay) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // it will
	}
}

// deliver sends copies on when their time has come.
func (r *Relay) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, next, closed := r.due(time.Now())
		if closed {
			return
		}
		for _, p := range due {
			p.send()
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-r.wake:
		}
	}
}

// due takes the copies whose time has come, and says when to look again.
func (r *Relay) due(now time.Time) (due []parcel, next time.Duration, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.inFlight) && !r.inFlight[n].at.After(now) {
		if r.inFlight[n].number < r.latest {
			r.counts.Overtaken++
		}
		r.latest = max(r.latest, r.inFlight[n].number)
		n++
	}
	r.counts.Delivered += n
	due, r.inFlight = slices.Clone(r.inFlight[:n]), slices.Delete(r.inFlight, 0, n)
	next = time.Hour
	if len(r.inFlight) > 0 {
		next = r.inFlight[0].at.Sub(now)
	}
	return due, next, r.closed
}

// dice decide about datagrams.
type dice struct {
	Options
	random *rand.Rand
}

func newDice(o Options) *dice { return &dice{o, rand.New(rand.NewPCG(o.Seed, 0))} }

// draw returns how long each copy of the next datagram takes; none means that it is lost.
func (d *dice) draw() []time.Duration {
	copies := 1
	if d.random.Float64() < d.Loss {
		copies = 0
	} else if d.random.Float64() < d.Duplicate {
		copies = 2
	}
	delays := make([]time.Duration, copies)
	for i := range delays {
		delays[i] = d.Delay
		if d.Jitter > 0 {
			delays[i] += time.Duration(d.random.Int64N(int64(d.Jitter)))
		}
	}
	return delays
}
