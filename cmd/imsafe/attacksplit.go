package main

import (
	"net/netip"
	"path/filepath"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/node"
	"imsafe/proof/attack"
)

// A target may stand on two nodes: one with the P-CSCF, at the edge, and one with the rest of the core. Between them is SIP over mutual TLS, as in
// a network whose edge is a machine of its own. Both are in the process of the target; what they say to each other goes over sockets.

// The names of the two nodes.
const (
	targetEdge  = "edge." + targetDomain
	targetHeart = "heart." + targetDomain
)

// isSplit reports whether the target stands on two nodes.
func (t *target) isSplit() bool { return t.setup.Mode == attack.Wire || t.setup.Access == attack.Mw }

// split assembles both nodes. They learn of each other's address when both have their sockets.
func (t *target) split(w *targetWorld, ready *targetReady, whole *config.Config) error {
	heart, err := t.part(w, heartOf(whole))
	if err != nil {
		return err
	}
	edge, err := t.part(w, t.edgeOf(whole))
	if err != nil {
		return err
	}
	if err := t.wires(ready, w.authority, whole, heart); err != nil {
		return err
	}
	if heart.identity == nil {
		if heart.identity, err = identify(w.authority, targetHeart); err != nil {
			return err
		}
	}
	if edge.identity, err = identify(w.authority, targetEdge); err != nil {
		return err
	}
	if ready.Node == nil {
		if ready.Node, err = certify(w.authority, "media."+targetDomain); err != nil {
			return err
		}
	}
	if ready.Edge, err = certify(w.authority, targetEdge); err != nil {
		return err
	}
	t.introduce(edge, heart)
	for _, p := range []*targetPart{heart, edge} {
		if err := p.assemble(t, w); err != nil {
			return err
		}
	}
	t.node = heart.node
	ready.places(t, edge.config, edge.sockets)
	ready.Management = heart.config.ManagementSocket()
	ready.Config, err = t.configSum(whole)
	return err
}

// heartOf has the core and the doors of services and other nodes.
func heartOf(whole *config.Config) *config.Config {
	c := *whole
	c.Node.Roles, c.Node.Number = []string{"icscf", "scscf", "hss"}, 2
	c.CI.TLS.Listen, c.CI.LabUDP.Listen, c.CI.IPsec.Listen, c.CS.Listen = nil, nil, nil, nil
	c.Mw.Listen = onLoopback()
	return &c
}

// edgeOf has the doors of clients.
func (t *target) edgeOf(whole *config.Config) *config.Config {
	c := *whole
	c.Node.Roles, c.Node.Number, c.Node.DataDir = []string{"pcscf"}, 1, filepath.Join(t.setup.Dir, "edge")
	c.Cx, c.Sh, c.IS, c.HTTPS.Listen = config.Default().Cx, config.Default().Sh, config.Default().IS, config.Address{}
	c.Mw.Listen = onLoopback()
	return &c
}

func onLoopback() config.Address {
	return config.Address{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)}
}

// introduce tells each where the other is. Session keys go to an edge whose clients need them there, and to no other.
func (t *target) introduce(edge, heart *targetPart) {
	for _, p := range []*targetPart{edge, heart} {
		p.config.Mw.Listen = config.Address{AddrPort: netip.MustParseAddrPort(p.sockets.MwTLS.Addr().String())}
	}
	keys := t.setup.Access == attack.IPsec || t.setup.Access == attack.Clear
	inside := config.MwPeer{Address: heart.config.Mw.Listen, Certificate: targetHeart, Keys: keys}
	edge.config.Mw.ICSCF, edge.config.Mw.SCSCF = inside, inside
	heart.config.Mw.PCSCF = config.MwPeer{Address: edge.config.Mw.Listen, Certificate: targetEdge, Keys: keys}
}

// identify makes a node's certificate towards others.
func identify(authority *ca.CA, name string) (*node.Identity, error) {
	own, err := authority.Node(time.Hour, []string{name})
	if err != nil {
		return nil, err
	}
	return &node.Identity{Certificate: own, Authority: authority.Pool()}, nil
}

// nodes makes the certificate of this node towards others, one of another node for the attacker, and those of services on Sh.
func (r *targetReady) nodes(authority *ca.CA, c *config.Config) (*node.Identity, error) {
	own, err := authority.Node(time.Hour, []string{"hss." + targetDomain, targetHeart})
	if err != nil {
		return nil, err
	}
	if r.Node, err = certify(authority, "media."+targetDomain); err != nil {
		return nil, err
	}
	if r.ICSCF, err = certify(authority, "icscf."+targetDomain); err != nil {
		return nil, err
	}
	if r.SCSCF, err = certify(authority, "scscf2."+targetDomain); err != nil {
		return nil, err
	}
	for _, s := range c.Sh.Services {
		if r.Platforms[s.Name], err = certify(authority, s.Hosts[0]); err != nil {
			return nil, err
		}
	}
	return &node.Identity{Certificate: own, Authority: authority.Pool()}, nil
}

// certify makes a certificate for a host, to be given away.
func certify(authority *ca.CA, host string) (*targetCertificate, error) {
	made, err := authority.Node(time.Hour, []string{host})
	if err != nil {
		return nil, err
	}
	return inPEM(host, made.PrivateKey, made.Certificate...)
}
