// Package fairlisten shares the places of a listener among strangers: how many connections an address may open and hold, and who makes room when all places
// are taken.
//
// A server that bounds its connections in all, and nothing else, is shut by whoever comes first with enough of them. [Listener] grants an address a pace of
// new connections and a number of those that stand. When no place is left, a newcomer gets that of the oldest connection of the network that has most,
// his own counted: a crowd pushes out itself, as with [budget.Yields], and an honest peer is let in as long as the crowd has fewer networks than
// there are places. A connection whose peer has proven who he is takes no place any more ([Conn.Proven]).
//
// It knows no protocol: TLS, deadlines and what is said are the business of who accepts. Doors whose connections are siptransport's have the same bounds
// there. It imports proto/budget alone. Everything is safe for concurrent use.
package fairlisten

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"imsafe/proto/budget"
)

// Why a connection ends.
const (
	TooOften = "too-often" // its address opens more than Config.Pace
	TooMany  = "too-many"  // its address holds Config.OfSource already
	Crowd    = "crowd"     // it made room for somebody of another network
)

// Config bounds the connections of one or more listeners.
type Config struct {
	Places   int         // for connections of peers who have not proven themselves; 1 or more
	OfSource int         // of them, for one IPv4 address or IPv6 /64; 1 or more
	Pace     budget.Rate // new connections of one address
	// Now is a monotonic clock that begins at 0 or later.
	Now func() time.Duration
	// Refuses is asked before a connection ends, with the reason; false lets it be, as in a laboratory. Without a place a newcomer is turned away even so. It is
	// called from the accepting goroutine, with a lock held, and must not block.
	Refuses func(peer netip.Addr, reason string) bool
}

// maxSources is how many addresses may owe something at the same moment.
const maxSources = 1 << 12

// Listener shares the places of a net.Listener.
type Listener struct {
	net.Listener
	cfg  Config
	keys budget.Keys
	pace *budget.Table

	mu      sync.Mutex // guards what follows
	open    []*Conn    // not Proven, the oldest first
	sources map[budget.Key]int
}

// New makes one. It panics if Pace is not sound.
func New(ln net.Listener, c Config) *Listener {
	return &Listener{Listener: ln, cfg: c, keys: budget.NewKeys(), pace: budget.NewTable(c.Pace, maxSources), sources: map[budget.Key]int{}}
}

// Conn is a connection with a place.
type Conn struct {
	net.Conn
	l               *Listener
	peer            netip.Addr
	source, network budget.Key
}

// Accept implements net.Listener. Who is turned away is told nothing.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := netip.ParseAddrPort(nc.RemoteAddr().String())
		if err != nil {
			return nc, nil // no address to count by: a pipe of a test
		}
		c := &Conn{Conn: nc, l: l, peer: peer.Addr().Unmap(), source: l.keys.Source(peer.Addr()), network: l.keys.Network(peer.Addr())}
		if l.admits(c) {
			return c, nil
		}
		_ = nc.Close()
	}
}

// admits gives a connection a place.
func (l *Listener) admits(c *Conn) bool {
	if !l.pace.Take(c.source, l.cfg.Now()).Granted() && l.cfg.Refuses(c.peer, TooOften) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources[c.source] >= l.cfg.OfSource && l.cfg.Refuses(c.peer, TooMany) {
		return false
	}
	if len(l.open) >= l.cfg.Places {
		yields := l.yields(c)
		if !l.cfg.Refuses(yields.peer, Crowd) {
			return false
		}
		l.leave(yields)
		_ = yields.Conn.Close()
	}
	l.open = append(l.open, c)
	l.sources[c.source]++
	return true
}

// yields returns the oldest connection of the network that has most, next counted.
func (l *Listener) yields(next *Conn) *Conn {
	networks := map[budget.Key]int{next.network: 1}
	for _, c := range l.open {
		networks[c.network]++
	}
	oldest := l.open[0]
	for _, c := range l.open {
		if networks[c.network] > networks[oldest.network] {
			oldest = c
		}
	}
	return oldest
}

// leave takes the place of a connection back, once. l.mu is held.
func (l *Listener) leave(c *Conn) {
	i := slices.Index(l.open, c)
	if i < 0 {
		return
	}
	l.open = slices.Delete(l.open, i, i+1)
	if l.sources[c.source]--; l.sources[c.source] == 0 {
		delete(l.sources, c.source)
	}
}

// Proven says that the peer has shown who he is: his connection takes no place any more, and makes room for nobody.
func (c *Conn) Proven() {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.leave(c)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.Proven()
	return c.Conn.Close()
}

// Proven tells the Listener that c came from, if it did, what [Conn.Proven] does.
func Proven(c net.Conn) {
	if held, ok := c.(*Conn); ok {
		held.Proven()
	}
}
