package node

import (
	"net"
	"net/netip"
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/fairlisten"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// What strangers may open on the wires between nodes and to application servers. Who belongs there stays connected, and does not count once his certificate is
// known.
const (
	diameterPlaces = 64
	diameterEnding = 1024 // handshakes with those that have made room, and take a moment to end
	strangersOfOne = 8    // of one address
)

// newOnWires is what one address may open.
func newOnWires() budget.Rate { return budget.Rate{Limit: 2, Per: time.Second, Burst: 50} }

// wireSources bounds how many addresses are remembered.
const wireSources = 1 << 12

// fair shares the places of a listener for Diameter.
func (n *Node) fair(ln net.Listener) net.Listener {
	return fairlisten.New(ln, fairlisten.Config{Places: diameterPlaces, OfSource: strangersOfOne, Pace: newOnWires(), Now: n.o.Clock.Now, Refuses: n.refusesConnection})
}

// boundMw gives the streams of the wire between nodes the same bounds.
func (n *Node) boundMw(o *siptransport.Options) {
	keys, arrivals := budget.NewKeys(), budget.NewTable(newOnWires(), wireSources)
	o.MaxPerSource = strangersOfOne
	o.Admit = func(peer netip.AddrPort) bool {
		return arrivals.Take(keys.Source(peer.Addr()), n.o.Clock.Now()).Granted() || !n.refusesConnection(peer.Addr(), fairlisten.TooOften)
	}
	o.Shed = func(peer netip.AddrPort, why error) bool {
		return n.refusesConnection(peer.Addr(), siptransport.ShedReason(why))
	}
}

// refusesConnection is the enforcement point of connections on these wires: how many of an address, how many new ones, and how long one that says nothing may stay.
func (n *Node) refusesConnection(peer netip.Addr, reason string) bool {
	return n.Gate.Refuse(secure.CoreAvailabilityConnections, secure.Event{Reason: reason, Source: peer.Unmap()})
}
