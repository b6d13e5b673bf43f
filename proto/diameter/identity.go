package diameter

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
)

// Reason says why a peer, or a request of a peer, is refused for security. The caller maps it to a control of its own.
type Reason uint8

// The reasons.
const (
	_                   Reason = iota
	ReasonCleartext            // no TLS, and the peer is not configured to do without: core.authentication.mtls
	ReasonTLSVersion           // TLS below 1.3: core.authentication.mtls
	ReasonNoCertificate        // no certificate, or one that nobody vouched for: core.authentication.mtls
	ReasonOriginHost           // Origin-Host is not the name in the certificate, or not that of the peer: core.authentication.origin-host
	ReasonCommand              // the role may not send this command: core.authorization.role
	ReasonAVP                  // the role may not send this AVP: core.authorization.role
	ReasonValue                // this value of an AVP is another peer's to give: core.authorization.role
)

var reasonNames = [...]string{ReasonCleartext: "cleartext", ReasonTLSVersion: "tls-version", ReasonNoCertificate: "no-certificate",
	ReasonOriginHost: "origin-host", ReasonCommand: "command", ReasonAVP: "avp", ReasonValue: "value"}

// String returns a short token.
func (r Reason) String() string {
	if r > 0 && int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "none"
}

// Refusal tells the caller what is about to be refused.
type Refusal struct {
	Reason  Reason
	Peer    string  // the configured peer, "" if it is not known yet
	Claimed string  // the Origin-Host it gave, for ReasonOriginHost
	Command Command // for ReasonCommand, ReasonAVP and ReasonValue
	AVP     ID      // for ReasonAVP and ReasonValue
}

// VerifyTLS says why a connection is not mutual TLS 1.3 with a verified certificate; 0 if it is. The chain itself was verified by
// crypto/tls, with the roots of its configuration.
func VerifyTLS(s *tls.ConnectionState) Reason {
	switch {
	case s == nil:
		return ReasonCleartext
	case s.Version < tls.VersionTLS13:
		return ReasonTLSVersion
	case len(s.PeerCertificates) == 0 || len(s.VerifiedChains) == 0:
		return ReasonNoCertificate
	}
	return 0
}

// VerifyOriginHost says whether host is a DNS name of the certificate, letter by letter but for case: no wildcards, no common
// name. RFC 6733 13.1 wants the peer's identity checked against its certificate and leaves the form open; this is ours.
func VerifyOriginHost(c *x509.Certificate, host string) Reason {
	if host != "" && slices.ContainsFunc(c.DNSNames, func(name string) bool { return strings.EqualFold(name, host) }) {
		return 0
	}
	return ReasonOriginHost
}
