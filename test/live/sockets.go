package live

import (
	"net/netip"
	"path/filepath"

	"imsafe/config"
	"imsafe/node"
)

// AnyPort is anyPort for a test's own configuration.
func AnyPort() config.Address { return anyPort() }

// anyPort is a free port of loopback. A file cannot ask for that: there a port is a promise to clients.
func anyPort() config.Address {
	return config.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
}

// listen opens every socket of a node on a free port of loopback.
func listen(c *config.Config, dir string, shards int) (*node.Sockets, error) {
	c.CI.TLS.Listen, c.CI.LabUDP.Listen = []config.Address{anyPort()}, []config.Address{anyPort()}
	if c.CI.IPsec.Listen == nil {
		c.CI.IPsec.Listen, c.CI.IPsec.ESP = []config.Address{anyPort()}, "off" // in UDP: no privilege
	}
	c.Metrics.Listen, c.Management.Socket = anyPort(), filepath.Join(dir, "management")
	return node.Listen(c, shards, func(taken netip.AddrPort) (netip.AddrPort, bool) { return netip.AddrPortFrom(taken.Addr(), 0), true })
}
