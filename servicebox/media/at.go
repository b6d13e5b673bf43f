package media

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	"imsafe/proto/shard"
)

// At makes a media server of a program: for so many calls at a time, 0 for DefaultCalls, at an address of this machine that callers, or the network's
// media anchor, can reach: "192.0.2.7" for any ports, "192.0.2.7:20000" for those from 20000 on.
func At(address string, calls int) (*Server, error) {
	c := Config{Calls: calls, Clock: shard.RealClock(), Rand: rand.Reader, Listen: func(at netip.AddrPort) (net.PacketConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	}}
	if at, err := netip.ParseAddrPort(address); err == nil {
		c.Address, c.First = at.Addr(), at.Port()
	} else if c.Address, err = netip.ParseAddr(address); err != nil {
		return nil, fmt.Errorf("media: %q is neither an address nor an address with a port", address)
	}
	if c.Address.IsUnspecified() {
		return nil, fmt.Errorf("media: nobody can send to %s: name an address", c.Address)
	}
	return New(c)
}
