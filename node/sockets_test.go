package node_test

import (
	"net/netip"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/node"
)

// TestListen_elsewhere: an address that the machine has not is named, with what to do.
func TestListen_elsewhere(t *testing.T) {
	c := config.Example()
	c.CI.TLS.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort("198.51.100.77:5061")}} // of documentation (RFC 5737): nobody has it
	sockets, err := node.Listen(&c, 1, nil)
	if err == nil {
		sockets.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "has no address 198.51.100.77: give it the address") {
		t.Errorf("%v", err)
	}
}
