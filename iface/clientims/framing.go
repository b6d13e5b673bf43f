package clientims

import (
	"net/netip"

	"imsafe/secure"
)

// Doubts is the enforcement point of strict framing (RFC 3261 18.3): true if a client's stream ends because its messages could be cut
// at different places. Safe for concurrent use.
func (d *Door) Doubts(peer netip.AddrPort, _ error) bool {
	return d.ports.Gate.Refuse(secure.CIIntegrityFramer, secure.Event{Reason: "ambiguous-length", Source: peer.Addr().Unmap()})
}
