package node

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"imsafe/secure"
)

// serverTLS is the floor of C-I (TS 33.310 6.2a): 1.3, or 1.2 with forward secrecy and AEAD where the operator says so. Whoever offers
// nothing above it is refused by the gate: only a lab without that control goes on with him.
func (n *Node) serverTLS() *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{*n.o.Certificate}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	if n.o.Config.CI.TLS.MinVersion == "1.2" {
		c.MinVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
	}
	weak := c.Clone()
	weak.MinVersion, weak.CipherSuites = tls.VersionTLS10, nil
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if reachesFloor(c, hello) || n.Gate.Refuse(secure.CIConfidentialityTLSFloor, secure.Event{Reason: "below-floor", Source: peerOf(hello.Conn)}) {
			return nil, nil // c, by which the handshake goes well or ends with the alert that says why
		}
		return weak, nil
	}
	return c
}

// reachesFloor reports whether a client offers what c accepts.
func reachesFloor(c *tls.Config, hello *tls.ClientHelloInfo) bool {
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		return true
	}
	return c.MinVersion == tls.VersionTLS12 && slices.Contains(hello.SupportedVersions, tls.VersionTLS12) &&
		slices.ContainsFunc(hello.CipherSuites, func(id uint16) bool { return slices.Contains(c.CipherSuites, id) })
}

// peerOf is the address at the other end, zero if the socket has none.
func peerOf(conn net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// judgeCertificate tells of one that is not valid now. The node starts all the same: who comes in by another door is served.
func (n *Node) judgeCertificate() {
	if n.o.Certificate == nil || n.o.Certificate.Leaf == nil {
		return
	}
	now, leaf := n.o.Clock.Wall(), n.o.Certificate.Leaf
	switch {
	case now.After(leaf.NotAfter):
		n.o.Log.Error("clients over TLS turn away", "reason", "the certificate of the P-CSCF is not valid any more since "+leaf.NotAfter.Format(time.DateOnly)+": renew it and start again")
	case now.Before(leaf.NotBefore):
		n.o.Log.Error("clients over TLS turn away", "reason", "the certificate of the P-CSCF is valid only from "+leaf.NotBefore.Format(time.RFC3339)+" on: either it is, or the clock is wrong")
	}
}
