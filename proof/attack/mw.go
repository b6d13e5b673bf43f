package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
)

// onMw speaks SIP on the wire between nodes with a node's certificate. What comes stands in heard after Close.
func (f *Field) onMw(ctx context.Context, p *ServicePlatform) (h *Hand, heard *bytes.Buffer, err error) {
	if f.position != CoreNode {
		return nil, nil, errPosition
	}
	conn, err := f.attacker.Dial(ctx, "tcp", netip.Addr{}, f.Mw)
	if err != nil {
		return nil, nil, err
	}
	secured := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: "heart." + f.Domain, Certificates: []tls.Certificate{p.Certificate},
		Time: f.Clock.Wall})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	heard = new(bytes.Buffer)
	h = makeHand(f, secured, "TLS")
	h.heard, h.hostile = heard, true
	f.hands = append(f.hands, h)
	go h.read()
	return h, heard, nil
}

// ofEdge are the lines by which a P-CSCF makes a REGISTER its own (TS 24.229 5.2.2.1).
func (f *Field) ofEdge() []string {
	return []string{"Path: <sip:pcscf." + f.Domain + ";lr>", "Require: path", "P-Visited-Network-ID: " + f.Domain,
		"P-Charging-Vector: icid-value=" + f.token()}
}
