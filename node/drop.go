package node

import (
	"errors"
	"fmt"
	"net/netip"

	"imsafe/config"
	"imsafe/proto/nftdrop"
)

// listenDrop puts the rules of [ci.drop] in front of the ports where clients come before they have proven who they are. Those of ESP are not among
// them: who is inside an association is known.
func (s *Sockets) listenDrop(c *config.Config) (err error) {
	if !c.CI.Drop.Enabled {
		return nil
	}
	rules := nftdrop.Config{Table: fmt.Sprintf("imsafe-%d", c.Node.Number), For: c.CI.Drop.For.Std()}
	tls, lab := s.Addresses()
	rules.Packets, rules.Streams = lab, append(tls, lab...)
	for _, i := range s.IPsec {
		at := netip.MustParseAddrPort(i.Clear[0].LocalAddr().String())
		rules.Packets, rules.Streams = append(rules.Packets, at), append(rules.Streams, at)
	}
	if s.Drop, err = nftdrop.Open(rules); err != nil {
		return fmt.Errorf("node: [ci.drop] is enabled: %w", err)
	}
	return nil
}

// dropper is who has the kernel drop an address; nil if nobody does.
func (s *Sockets) dropper() func(netip.Addr, bool) {
	if s.Drop == nil {
		return nil
	}
	return s.Drop.Drop
}

// droppedSources is how many packets of such addresses the kernel has dropped.
func (n *Node) droppedSources() float64 {
	packets, err := n.o.Sockets.Drop.Dropped()
	if err != nil {
		return 0 // a scrape is no place to complain; Lost says that the kernel does not listen
	}
	return float64(packets)
}

// ProbeDrop says what the kernel of this machine lacks for [ci.drop]; nil if nothing, or if that is not enabled. It leaves nothing behind.
func ProbeDrop(c *config.Config) error {
	if !c.CI.Drop.Enabled {
		return nil
	}
	rules, err := nftdrop.Open(nftdrop.Config{Table: "imsafe-probe"})
	return errors.Join(err, rules.Close())
}
