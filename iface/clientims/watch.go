package clientims

import (
	"net/netip"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// Watch is told of requests that the door turns away before they reach a function: what comes further is seen between functions (hop.Witness).
// It is called on a shard: it must not block and must not keep the message. Safe for concurrent use.
type Watch interface {
	// Turned is told of one request from source, over an access profile, inside security associations or not. A status that is none of SIP: no answer.
	Turned(profile string, sealed bool, source netip.Addr, m *sip.Message, status int)
}

// sealed reports whether what comes to this port has come inside security associations.
func (p *Port) sealed() bool { return p.access.gm != nil && p.access.Protected }

// Cover says by which access profile a client is reached, and whether inside security associations. False if its association has gone.
func (d *Door) Cover(of secure.Association) (profile string, sealed, known bool) {
	a, known := d.lookup(of)
	if !known {
		return "", false, false
	}
	return a.access.Profile, a.sa != nil, true
}
