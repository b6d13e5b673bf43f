package secure

import "strings"

// ControlID names one control: a protection with exactly one enforcement point in the code and one row in
// the policy table. Its string is the dotted id used unchanged in events, metrics, evidence and pages.
type ControlID uint8

// The controls that are built. Each is either a check (one gate.Refuse call) or a mechanism that assembly
// chooses by gate.On; package check holds that.
const (
	// ControlNone is the zero value and names nothing.
	ControlNone ControlID = iota

	CIAuthenticationAKA             // mutual IMS AKA (TS 33.203 6.1)
	CIAuthenticationDigestPolicy    // SIP Digest over TLS only, by the subscriber's algorithm, few guesses (TS 33.203 Annex N)
	CIAuthenticationFlag            // integrity-protected is a typed value, never a client's word (TS 33.203 6.1.5)
	CIAuthenticationFromCheck       // From and display name are the sender's or nobody's (TS 24.607 4.5.2.4)
	CIAuthenticationSAIdentity      // identity comes from the association (TS 24.229 5.2.6.3)
	CIAuthenticationSASelector      // source, ports, protocol and Via are those of the association (TS 33.203 7.1)
	CIAuthorizationProtectedPort    // before registration only REGISTER and emergency (TS 33.203 7.1)
	CIAuthorizationSubscribe        // a registration is watched by its user and his P-CSCF (TS 24.229 5.4.2.1.1)
	CIAuthorizationRoutePolicy      // nobody dials, or makes another dial, what nobody has allowed (ours)
	CIAuthorizationIMPUOwner        // IMPI and IMPU belong together (TS 29.228 6.1.1)
	CIAuthorizationEdgeOnly         // clients reach no function but the P-CSCF (TS 33.203 Annex J)
	CIIntegrityHeaderEdge           // headers a client may not send are removed (TS 24.229 5.2.6.3)
	CIIntegrityESP                  // ESP integrity on Gm (TS 33.203 6.3)
	CIIntegrityReplay               // anti-replay on every association (TS 33.203 6.3, 7.1)
	CIIntegritySecAgree             // the lists of the security agreement are compared (TS 33.203 7.2, RFC 3329)
	CIIntegrityFramer               // strict stream framing (RFC 3261 18.3)
	CIIntegrityRebuild              // what leaves is rebuilt from the index (RFC 3261 7.3)
	CIIntegrityDigestBinding        // a Digest response fits one nonce of one TLS connection, once (RFC 7616 3.3, 5.4)
	CIIntegrityDialogOwner          // a dialog belongs to its association and has one way (TS 33.203 7.1, TS 24.229 5.2.6.3.9)
	CIConfidentialityESP            // no null encryption outside legacy and device exceptions (TS 33.203 6.2)
	CIConfidentialityAlgorithms     // algorithms by our own list; MD5 and 3DES only for a device exception (TS 33.203 Annex H)
	CIConfidentialityTLSFloor       // TLS 1.3, or 1.2 AEAD where the operator says so (TS 33.310 6.2a)
	CIConfidentialityDigestRealm    // a client's challenge is nobody's: only the home network asks for proof (RFC 3261 22.1)
	CIConfidentialityUniform        // one answer for known and unknown names (ours)
	CIConfidentialityPrivacyEgress  // the other party learns no place, no device, and what Privacy lets him (RFC 3323)
	CIConfidentialityKeyEgress      // CK, IK, RES never leave in SIP (TS 33.203 6.1.1); no setting turns it off
	CIAvailabilityBudgetSource      // token buckets for each source before anything is kept (ours)
	CIAvailabilityBudgetVector      // few vectors and resynchronisations for each identity and source (TS 33.203 6.1.3)
	CIAvailabilityPathProof         // UDP sources never proven share one budget, and get no answer larger than their request (ours)
	CIAvailabilityKeepRegistration  // a failed authentication never de-registers (TS 33.203 6.1.1)
	CIAvailabilitySACap             // a stranger's REGISTER ends no associations, and there are few of them (TS 33.203 7.1, 7.4)
	CIAvailabilityAttempts          // a crowd that registers in a name makes room for itself, not its owner's attempt (ours)
	CIAvailabilityBudgetUser        // so many initial requests of a user a minute (ours)
	CIAvailabilityOverload          // too much work is turned away early, the least important first (RFC 7339)
	CIAvailabilityForkBreadth       // Max-Breadth and loop detection (RFC 5393)
	CIAvailabilityEarlyDialog       // few calls without answer to one user, none silent for long (ours)
	CIAvailabilityNotifyPacing      // no watcher is told faster than he can read (RFC 3680 4.10)
	CIAvailabilityTrafficShape      // signalling carries signalling: octets of headers, and of a user (ours)
	CIAvailabilityParser            // size, count and nesting limits (RFC 4475)
	CIAvailabilityDeadline          // deadlines and caps for streams
	ISIntegrityShWrite              // Sh writes by data reference and user set (TS 29.328 6.2, 7.6)
	ISConfidentialityShRead         // Sh reads by data reference, user set and rate (TS 29.328 6.2)
	ISAvailabilityDocumentLimits    // size, depth and count of manifests (ours)
	ISAuthenticationMTLS            // mutual TLS 1.3 on I-S, both ways by the whole certificate (TS 33.203 Annex J, RFC 5922)
	ISConfidentialityMTLS           // no SIP in clear on I-S (TS 33.203 Annex J, TS 33.310 6.2a)
	ISIntegrityMTLS                 // and none that could be changed on its way (TS 33.203 Annex J, TS 33.310 6.2a)
	ISAuthenticationRevocation      // a platform whose approval was taken back is gone at once
	ISAuthorizationManifest         // a platform does what its approved manifest says, default deny (TS 23.218 5.1.1)
	ISAuthorizationAssert           // a platform asserts itself and whom it was granted (TS 33.203 Annex J, RFC 3325)
	ISIntegrityODI                  // a request comes back with its sealed original dialog identifier (TS 24.229 5.4.3.4)
	ISIntegrityFailClosed           // default handling is obeyed: what screens fails closed (TS 29.228 B.2.2)
	ISConfidentialityHeaderMin      // a platform sees the headers that its manifest names
	ISAvailabilityDeadline          // deadlines and caps for the connections of platforms (ours)
	ISAvailabilityQuota             // rate and sessions of each platform (RFC 7339)
	CSIntegritySRTPVerify           // a media packet is verified before it is passed on (RFC 3711 3.3, RFC 7714)
	CSIntegritySRTPReplay           // a replay window for each source of each leg (RFC 3711 3.3.2)
	CSConfidentialityNoLearn        // no address is learned from a packet (ours)
	CSConfidentialityMediaFloor     // DTLS-SRTP; SDES in confidential signalling, RTP in clear by a waiver (TS 33.328)
	CSConfidentialityKeyFresh       // no key for two legs, no index twice under one (RFC 3711 9.1)
	CSAvailabilityDTLSConsent       // a handshake binds nobody before its fingerprint fits (RFC 5763 6.2)
	CSAvailabilityPortBudget        // so much for a port, so many ports for a user (ours)
	CSAvailabilityOutlives          // calls that stand do not end with their signalling (ours)
	CSAuthenticationDTLS            // who ends a handshake of media has the certificate of the description (RFC 5763 5)
	CSAvailabilityMediaShape        // media carry media: what of a packet nobody agreed on does not pass (ours)
	CSAuthenticationGrant           // a platform is an end of media by a signed grant, or not at all (RFC 8224, RFC 8225)
	CSAuthenticationToken           // who fetches from a service proves the key of his token (RFC 9449)
	CSConfidentialityHTTPS          // what clients fetch goes under TLS alone (TS 33.222)
	CSIntegrityHTTPS                // the same wire: no octet that is not under the tag of a record
	CSAuthorizationGrantLeg         // a grant is of one leg, and a call of its ends (ours; RFC 3891 3)
	CSIntegrityFingerprint          // media keys are those that were signed (RFC 8225 5.2.2)
	CSAvailabilityConnections       // connections of an address where clients fetch, and their pace (ours)
	CoreAvailabilityConnections     // the same on the wires between nodes and to application servers (ours)
	CoreAuthenticationMTLS          // mutual TLS 1.3 between nodes (TS 33.210, TS 33.310)
	CoreAuthenticationOriginHost    // a Diameter peer is who its certificate says (RFC 6733 13)
	CoreIntegrityDecisionLog        // decisions are chained and signed: what is changed later is found (ITU-T X.805 6.3)
	CoreAuthorizationRole           // commands and AVPs of a Diameter peer are those of its role
	CoreConfidentialityMTLS         // keys stay in the process, or inside mutual TLS (TS 33.203 6.1.1)
	ManagementAuthenticationAdmin   // Unix socket with peer credentials, no default secret
	ManagementConfidentialityRedact // keys and identities never logged
	ManagementIntegrityLogLine      // no text of a stranger ends a line of the log or drives a terminal
	ManagementAuthenticationPage    // who sees the page of a node has had a code from its operator's door
	ManagementAuthorizationOrigin   // the page answers on names of this machine, and to no page of somebody else's

	controlCount
)

var controlNames = [controlCount]string{
	ControlNone:                     "none",
	CIAuthenticationAKA:             "ci.authentication.aka",
	CIAuthenticationDigestPolicy:    "ci.authentication.digest-policy",
	CIAuthenticationFlag:            "ci.authentication.flag",
	CIAuthenticationFromCheck:       "ci.authentication.from-check",
	CIAuthenticationSAIdentity:      "ci.authentication.sa-identity",
	CIAuthenticationSASelector:      "ci.authentication.sa-selector",
	CIAuthorizationProtectedPort:    "ci.authorization.protected-port",
	CIAuthorizationSubscribe:        "ci.authorization.subscribe",
	CIAuthorizationRoutePolicy:      "ci.authorization.route-policy",
	CIAuthorizationIMPUOwner:        "ci.authorization.impu-owner",
	CIAuthorizationEdgeOnly:         "ci.authorization.edge-only",
	CIIntegrityHeaderEdge:           "ci.integrity.header-edge",
	CIIntegrityESP:                  "ci.integrity.esp",
	CIIntegrityReplay:               "ci.integrity.replay",
	CIIntegritySecAgree:             "ci.integrity.sec-agree",
	CIIntegrityFramer:               "ci.integrity.framer",
	CIIntegrityRebuild:              "ci.integrity.rebuild",
	CIIntegrityDigestBinding:        "ci.integrity.digest-binding",
	CIIntegrityDialogOwner:          "ci.integrity.dialog-owner",
	CIConfidentialityESP:            "ci.confidentiality.esp",
	CIConfidentialityAlgorithms:     "ci.confidentiality.algorithms",
	CIConfidentialityTLSFloor:       "ci.confidentiality.tls-floor",
	CIConfidentialityDigestRealm:    "ci.confidentiality.digest-realm",
	CIConfidentialityUniform:        "ci.confidentiality.uniform",
	CIConfidentialityPrivacyEgress:  "ci.confidentiality.privacy-egress",
	CIConfidentialityKeyEgress:      "ci.confidentiality.key-egress",
	CIAvailabilityBudgetSource:      "ci.availability.budget.source",
	CIAvailabilityBudgetVector:      "ci.availability.budget.vector",
	CIAvailabilityPathProof:         "ci.availability.path-proof",
	CIAvailabilityKeepRegistration:  "ci.availability.keep-registration",
	CIAvailabilitySACap:             "ci.availability.sa-cap",
	CIAvailabilityAttempts:          "ci.availability.attempts",
	CIAvailabilityBudgetUser:        "ci.availability.budget.user",
	CIAvailabilityOverload:          "ci.availability.overload",
	CIAvailabilityForkBreadth:       "ci.availability.fork-breadth",
	CIAvailabilityEarlyDialog:       "ci.availability.early-dialog",
	CIAvailabilityNotifyPacing:      "ci.availability.notify-pacing",
	CIAvailabilityTrafficShape:      "ci.availability.traffic-shape",
	CIAvailabilityParser:            "ci.availability.parser",
	CIAvailabilityDeadline:          "ci.availability.deadline",
	ISIntegrityShWrite:              "is.integrity.sh-write",
	ISConfidentialityShRead:         "is.confidentiality.sh-read",
	ISAvailabilityDocumentLimits:    "is.availability.document-limits",
	ISAuthenticationMTLS:            "is.authentication.mtls",
	ISConfidentialityMTLS:           "is.confidentiality.mtls",
	ISIntegrityMTLS:                 "is.integrity.mtls",
	ISAuthenticationRevocation:      "is.authentication.revocation",
	ISAuthorizationManifest:         "is.authorization.manifest",
	ISAuthorizationAssert:           "is.authorization.assert",
	ISIntegrityODI:                  "is.integrity.odi",
	ISIntegrityFailClosed:           "is.integrity.fail-closed",
	ISConfidentialityHeaderMin:      "is.confidentiality.header-min",
	ISAvailabilityDeadline:          "is.availability.deadline",
	ISAvailabilityQuota:             "is.availability.quota",
	CSIntegritySRTPVerify:           "cs.integrity.srtp-verify",
	CSIntegritySRTPReplay:           "cs.integrity.srtp-replay",
	CSConfidentialityNoLearn:        "cs.confidentiality.no-learn",
	CSConfidentialityMediaFloor:     "cs.confidentiality.media-floor",
	CSConfidentialityKeyFresh:       "cs.confidentiality.key-fresh",
	CSAvailabilityDTLSConsent:       "cs.availability.dtls-consent",
	CSAvailabilityPortBudget:        "cs.availability.port-budget",
	CSAvailabilityOutlives:          "cs.availability.outlives",
	CSAuthenticationDTLS:            "cs.authentication.dtls",
	CSAvailabilityMediaShape:        "cs.availability.media-shape",
	CSAuthenticationGrant:           "cs.authentication.grant",
	CSAuthenticationToken:           "cs.authentication.token",
	CSConfidentialityHTTPS:          "cs.confidentiality.https",
	CSIntegrityHTTPS:                "cs.integrity.https",
	CSAuthorizationGrantLeg:         "cs.authorization.grant-leg",
	CSIntegrityFingerprint:          "cs.integrity.fingerprint",
	CSAvailabilityConnections:       "cs.availability.connections",
	CoreAvailabilityConnections:     "core.availability.connections",
	CoreAuthenticationMTLS:          "core.authentication.mtls",
	CoreAuthenticationOriginHost:    "core.authentication.origin-host",
	CoreIntegrityDecisionLog:        "core.integrity.decision-log",
	CoreAuthorizationRole:           "core.authorization.role",
	CoreConfidentialityMTLS:         "core.confidentiality.mtls",
	ManagementAuthenticationAdmin:   "mgmt.authentication.admin",
	ManagementConfidentialityRedact: "mgmt.confidentiality.redact",
	ManagementIntegrityLogLine:      "mgmt.integrity.log-line",
	ManagementAuthenticationPage:    "mgmt.authentication.page",
	ManagementAuthorizationOrigin:   "mgmt.authorization.origin",
}

// String returns the dotted id.
func (c ControlID) String() string {
	if c < controlCount {
		return controlNames[c]
	}
	return "unknown"
}

// Routine reports whether a control takes something off what honest people do all day long, so that what it refuses is no warning: each
// telephone says what it is, and each line about a user has a pseudonym.
func (c ControlID) Routine() bool {
	return c == CIConfidentialityPrivacyEgress || c == ManagementConfidentialityRedact
}

// Local reports whether a control guards what this host has for its operator, and no message of the network: no ladder has a place for what it refuses.
func (c ControlID) Local() bool { return strings.HasPrefix(c.String(), "mgmt.") }

// Controls returns every built control in the order of their declaration.
func Controls() []ControlID {
	all := make([]ControlID, 0, controlCount-1)
	for c := ControlNone + 1; c < controlCount; c++ {
		all = append(all, c)
	}
	return all
}

// ControlByName returns the control with the dotted id name.
func ControlByName(name string) (ControlID, bool) {
	for _, c := range Controls() {
		if controlNames[c] == name {
			return c, true
		}
	}
	return ControlNone, false
}
