package node

import (
	"context"
	"net/netip"
	"time"

	"imsafe/proto/esp"
)

// Health is the answer of the verb health: what only the running node knows of how it fares.
type Health struct {
	Started time.Time `json:"started"` // by its clock of the day, then
	// ClockJump is how far the clock of the day has moved against the monotonic one since then, in nanoseconds.
	ClockJump time.Duration     `json:"clock_jump"`
	HSS       map[string]uint64 `json:"hss,omitempty"` // its counts
	IPsec     []IPsecHealth     `json:"ipsec,omitempty"`
	Dropped   map[string]uint64 `json:"esp_dropped,omitempty"` // ESP packets by reason
	// Offers are the registrations that began with a security agreement, Translated those of them whose Via has another address than
	// their source. Who sends them has proven nothing yet.
	Offers     uint64 `json:"offers"`
	Translated uint64 `json:"translated"`
	Defects    uint64 `json:"defects"`         // procedures that ended with a panic
	Overloads  uint64 `json:"store_overloads"` // changes that the store refused
	Lost       uint64 `json:"records_lost"`    // call records
	// Origins are the https origins of the nodes that share the store, by name; "" is a node without that door.
	Origins map[string]string `json:"https_origins,omitempty"`
}

// IPsecHealth is how clients with a SIM card are served at one address.
type IPsecHealth struct {
	Listen netip.AddrPort `json:"listen"`
	ESP    bool           `json:"esp"`    // on IP
	Kernel bool           `json:"kernel"` // and the kernel does it
	NAT    netip.AddrPort `json:"nat"`    // ESP in UDP; zero: not
}

// health tells it.
func (n *Node) health(context.Context, None) (Health, error) {
	c := n.o.Clock
	// Two times of a process are as far apart as its monotonic clock says, however often the other one was set: Round takes that off.
	h := Health{Started: n.started, ClockJump: c.Wall().Round(0).Sub(n.started.Round(0)) - (c.Now() - n.startedAt)}
	if n.HSS != nil {
		h.HSS = map[string]uint64{}
		for _, count := range n.HSS.Counts() {
			h.HSS[hssMetric(count.Name, count.Operation)] = count.Value
		}
	}
	for _, s := range n.o.Sockets.IPsec {
		i := IPsecHealth{Listen: netip.MustParseAddrPort(s.Clear[0].LocalAddr().String()), ESP: s.ESP != nil || s.Kernel != nil, Kernel: s.Kernel != nil}
		if s.NAT != nil {
			i.NAT = netip.MustParseAddrPort(s.NAT.LocalAddr().String())
		}
		h.IPsec = append(h.IPsec, i)
	}
	if n.esp != nil {
		h.Dropped = map[string]uint64{}
		for _, d := range esp.Drops() {
			if count := n.esp.Counters().Dropped(d); count > 0 {
				h.Dropped[d.String()] = count
			}
		}
	}
	for _, sh := range n.Shards {
		h.Defects += sh.Stats().Panics
	}
	h.Translated, h.Offers = n.stories.throughNAT()
	if all := n.origins.Load(); all != nil {
		h.Origins = *all
	}
	h.Overloads = n.o.Store.Stats().Overloads
	if n.SCSCF != nil {
		h.Lost = n.Charging.Lost()
	}
	return h, nil
}
