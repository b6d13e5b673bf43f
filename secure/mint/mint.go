// Package mint makes proofs. It is imported by the doors (iface/*), by the node listener of hop and by
// tests; the floor plan refuses everybody else, and Go refuses to build a Proof without it.
//
// Safe for concurrent use.
package mint

import "imsafe/secure/internal/seal"

// Client describes a client as the C-I door found it.
type Client struct {
	Peer        string // remote address
	Association seal.Association
	Profile     string   // access profile of the listener
	Protected   bool     // integrity holds on the path, and confidentiality unless Profile gives that up by name
	Claimed     string   // private identity in whose name its security associations are made
	IMPI        string   // "" before an authenticated registration
	IMPUs       []string // canonical, default first; mint keeps the slice
}

// Access makes the proof of a client on C-I. It is Registered exactly if an IMPI is given.
func Access(c Client) seal.Proof {
	return seal.New(seal.Facts{Kind: seal.KindAccess, Peer: c.Peer, Association: c.Association,
		Profile: seal.WordOf(c.Profile), Protected: c.Protected, Claimed: c.Claimed, IMPI: c.IMPI, IMPUs: c.IMPUs, Registered: c.IMPI != ""})
}

// Over makes the proof of a message that came over security associations of the client of p. It takes no memory.
func Over(p seal.Proof, g seal.Generation) seal.Proof { return seal.Over(p, g) }

// Origin makes the proof of a request that function itself starts in this process.
func Origin(function string) seal.Proof {
	return seal.New(seal.Facts{Kind: seal.KindOrigin, Peer: function, Protected: true})
}

// Node makes the proof of a message that another node of the core sent over mutual TLS.
func Node(certificateName string) seal.Proof {
	return seal.New(seal.Facts{Kind: seal.KindNode, Peer: certificateName, Protected: true})
}

// Service makes the proof of a service platform that showed its certificate over mutual TLS on I-S; host is that of its approved manifest.
func Service(host string) seal.Proof {
	return seal.New(seal.Facts{Kind: seal.KindService, Peer: host, Protected: true})
}

// CompiledIn makes the proof of a service platform that was built into this process.
func CompiledIn(host string) seal.Proof {
	return seal.New(seal.Facts{Kind: seal.KindCompiledIn, Peer: host, Protected: true})
}
