package clientims

import (
	"net/netip"

	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// Doubts is the enforcement point of strict framing (RFC 3261 18.3): true if a client's stream ends because its messages could be cut
// at different places. Safe for concurrent use.
func (d *Door) Doubts(peer netip.AddrPort, _ error) bool {
	return d.ports.Gate.Refuse(secure.CIIntegrityFramer, secure.Event{Reason: "ambiguous-length", Source: peer.Addr().Unmap()})
}

// unsound is the enforcement point of messages that are rebuilt (RFC 3261 7.3): what leaves is written from the index alone, in canonical form,
// so what does not fit into it goes no further. There is no setting for it: nothing in the program passes on octets as they came.
func (d *Door) unsound(from siptransport.Flow, _ *sip.Reject) {
	_ = d.ports.Gate.Refuse(secure.CIIntegrityRebuild, secure.Event{Reason: "form", Source: from.Peer.Addr().Unmap()}) // refused in any case
}
