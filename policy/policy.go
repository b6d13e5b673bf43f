// Package policy is the one table of imsafe's security: interface by security service, to control, level
// and profile. It says which controls are on; the controls themselves stand where the standard puts them.
//
// An Effective policy is immutable once made: the proof wing starts a child process per configuration.
// policy imports secure only. Off-switches are in policy/lab, which the prove and attack verbs and tests
// import and nobody else. Safe for concurrent use.
package policy

import (
	"fmt"
	"maps"
	"slices"

	"imsafe/secure"
)

// Level says how a row binds.
type Level uint8

// String returns the word.
func (l Level) String() string {
	return [...]string{"absent", "optional", "required"}[min(l, Required)]
}

// The levels. Absent is a part that is not built yet: its cells read "gap".
const (
	Absent Level = iota
	Optional
	Required
)

// Door is one of the three exposed interfaces, the inner wires, or management.
type Door string

// The doors.
const (
	CI         Door = "C-I"
	IS         Door = "I-S"
	CS         Door = "C-S"
	Core       Door = "core"
	Management Door = "management"
)

// Service is a security service of the twelve cells. Authorization prints in the authentication column.
type Service string

// The security services.
const (
	Authentication  Service = "authentication"
	Authorization   Service = "authorization"
	Integrity       Service = "integrity"
	Confidentiality Service = "confidentiality"
	Availability    Service = "availability"
)

// Row is one control.
type Row struct {
	Control   secure.ControlID
	Door      Door
	Service   Service
	Mechanism string // what does it, in one line
	Clause    string // where the standard asks for it; "ours" where none does
	Dimension string // X.805 dimension
	Level     Level
	Ablatable bool // false: no setting, not even in the lab, turns it off
}

// The rows of level Absent are of mechanisms that are there but have no enforcement point of their own yet, so no attack can
// show that it is they who stop it: until then they count for nothing.
var rows = []Row{
	{secure.CIAuthenticationAKA, CI, Authentication, "mutual IMS AKA; a new challenge kills the older one", "TS 33.203 6.1.1-6.1.3", "authentication", Required, true},
	{secure.CIAuthenticationDigestPolicy, CI, Authentication, "SIP Digest is off; if on, over TLS only, by the algorithm of the subscriber's record, with a ban after failures", "TS 33.203 Annex N; RFC 7616 5", "authentication", Required, true},
	{secure.CIAuthenticationFlag, CI, Authentication, "integrity-protected is a typed value of the process, removed from the wire", "TS 33.203 6.1.5", "authentication", Required, true},
	{secure.CIAuthenticationFromCheck, CI, Authentication, "From and display name are the sender's or nobody's, else the asserted identity", "TS 24.607 4.5.2.4; RFC 3323 4.1.1.3", "authentication", Required, true},
	{secure.CIAuthenticationSAIdentity, CI, Authentication, "identity only from the association", "TS 24.229 5.2.6.3", "authentication", Required, true},
	{secure.CIAuthenticationSASelector, CI, Authentication, "source, ports, protocol and Via are those of the association", "TS 33.203 7.1", "authentication", Required, true},
	{secure.CIAuthorizationProtectedPort, CI, Authorization, "before registration only REGISTER and emergency", "TS 33.203 7.1", "access control", Required, true},
	{secure.CIAuthorizationSubscribe, CI, Authorization, "a registration is watched by its user and by the P-CSCFs of his Path", "RFC 3680 4.5; TS 24.229 5.4.2.1.1", "access control", Required, true},
	{secure.CIAuthorizationRoutePolicy, CI, Authorization, "premium and foreign numbers are dialled by whom they are allowed to; REFER and 3xx lead there no sooner", "ours", "access control", Required, true},
	{secure.CIAuthorizationIMPUOwner, CI, Authorization, "IMPI and IMPU belong together, checked in the HSS", "TS 29.228 6.1.1", "access control", Required, true},
	{secure.CIAuthorizationEdgeOnly, CI, Authorization, "the core listens on no address that a client can reach, and a client's Route into it is not followed", "TS 33.203 Annex J; TS 24.229 5.2.6.3", "access control", Required, true},
	{secure.CIIntegrityHeaderEdge, CI, Integrity, "headers that a client may not send are removed", "TS 24.229 5.2.6.3", "data integrity", Required, true},
	{secure.CIIntegrityESP, CI, Integrity, "ESP integrity on every protected port", "TS 33.203 6.3", "data integrity", Required, true},
	{secure.CIIntegrityReplay, CI, Integrity, "anti-replay on every association, all SPIs of both sides distinct", "TS 33.203 6.3, 7.1", "data integrity", Required, true},
	{secure.CIIntegritySecAgree, CI, Integrity, "what was offered and chosen is said again under protection and compared by meaning", "TS 33.203 7.2, Annex H; RFC 3329 2.3.1", "data integrity", Required, true},
	{secure.CIIntegrityFramer, CI, Integrity, "strict stream framing, close on doubt", "RFC 3261 18.3", "data integrity", Required, true},
	{secure.CIIntegrityRebuild, CI, Integrity, "each message is rebuilt from its index; what does not fit into it is refused", "RFC 3261 7.3", "data integrity", Required, false},
	{secure.CIIntegrityDigestBinding, CI, Integrity, "a Digest nonce belongs to one TLS connection, its count only rises", "TS 33.203 N.2.1.2, Q.3; RFC 7616 3.3", "data integrity", Required, true},
	{secure.CIIntegrityDialogOwner, CI, Integrity, "a dialog belongs to its association and has one way", "TS 33.203 7.1", "data integrity", Required, true},
	{secure.CIConfidentialityESP, CI, Confidentiality, "ESP encrypts; null encryption in the profile legacy or by a device exception only", "TS 33.203 6.2", "data confidentiality", Required, true},
	{secure.CIConfidentialityAlgorithms, CI, Confidentiality, "our own ordered list of algorithms; MD5 and 3DES by a device exception only", "TS 33.203 Annex H; TS 33.210 5.3", "data confidentiality", Required, true},
	{secure.CIConfidentialityTLSFloor, CI, Confidentiality, "TLS 1.3; 1.2 with AEAD where the operator says so", "TS 33.310 6.2a", "data confidentiality", Required, true},
	{secure.CIConfidentialityDigestRealm, CI, Confidentiality, "a challenge that a client sends reaches nobody; our client answers those of its own realm alone", "RFC 3261 22.1; TS 33.203 N.2", "authentication", Required, true},
	{secure.CIConfidentialityUniform, CI, Confidentiality, "a name that nobody has is challenged like any other, and as late", "ours", "privacy", Required, true},
	{secure.CIConfidentialityPrivacyEgress, CI, Confidentiality, "place and device never reach the other party, and of the user what Privacy lets through", "RFC 3323 5; RFC 7315 5; TS 24.607, 24.608", "privacy", Required, true},
	{secure.CIConfidentialityKeyEgress, CI, Confidentiality, "CK, IK and RES have no way into a SIP header", "TS 33.203 6.1.1", "data confidentiality", Required, false},
	{secure.CIAvailabilityBudgetSource, CI, Availability, "a token bucket for each source and network before anything is kept; one for each registered client", "ours", "availability", Required, true},
	{secure.CIAvailabilityBudgetVector, CI, Availability, "few challenges and resynchronisations for each private identity and address", "TS 33.203 6.1.3", "availability", Required, true},
	{secure.CIAvailabilityPathProof, CI, Availability, "UDP sources never proven share one budget of challenges, above it silence; no answer to them is larger than its request, but a challenge", "ours", "availability", Required, true},
	{secure.CIAvailabilityKeepRegistration, CI, Availability, "a failed authentication never de-registers", "TS 33.203 6.1.1", "availability", Required, true},
	{secure.CIAvailabilitySACap, CI, Availability, "a stranger's REGISTER ends no associations; at most six in each direction for a client", "TS 33.203 6.1.2.3, 7.1, 7.4", "availability", Required, true},
	{secure.CIAvailabilityAttempts, CI, Availability, "of the attempts to register that wait in one name those of a crowd make room for each other, and never for strangers what comes from where the name is known", "ours", "availability", Required, true},
	{secure.CIAvailabilityBudgetUser, CI, Availability, "so many calls, messages, subscriptions, transfers and notifications of a user a minute", "ours", "availability", Required, true},
	{secure.CIAvailabilityOverload, CI, Availability, "more work than can be done is turned away early, the least important and the greediest first; clients and nodes are told to hold back", "RFC 7339; RFC 7415", "availability", Required, true},
	{secure.CIAvailabilityForkBreadth, CI, Availability, "Max-Breadth, Max-Forwards, loop detection", "RFC 5393", "availability", Required, true},
	{secure.CIAvailabilityEarlyDialog, CI, Availability, "few calls without answer to one user, none silent for long", "ours", "availability", Required, true},
	{secure.CIAvailabilityNotifyPacing, CI, Availability, "no watcher is told more often than every five seconds, and always of the last state", "RFC 3680 4.10; RFC 6446 4.1", "availability", Required, true},
	{secure.CIAvailabilityTrafficShape, CI, Availability, "headers of a message, and octets of signalling of a user, are bounded", "ours", "access control", Required, true},
	{secure.CIAvailabilityParser, CI, Availability, "memory-safe parser with limits on size, count and nesting", "RFC 4475", "availability", Required, true},
	{secure.CIAvailabilityDeadline, CI, Availability, "deadlines for header, handshake and idle; caps on connections", "ours", "availability", Required, true},
	{secure.ISIntegrityShWrite, IS, Integrity, "Sh writes by service, data reference, user set and rate", "TS 29.328 6.2, 7.6", "access control", Required, true},
	{secure.ISConfidentialityShRead, IS, Confidentiality, "Sh reads by service, data reference, user set and rate; a user outside the set and nobody answer alike", "TS 29.328 6.2; ours", "access control", Required, true},
	{secure.ISAvailabilityDocumentLimits, IS, Availability, "manifests are small, flat and short; their patterns run in linear time", "ours", "availability", Required, true},
	{secure.ISAuthenticationMTLS, IS, Authentication, "mutual TLS 1.3 on a listener of its own, the whole certificate compared with the approval, both ways", "TS 33.203 Annex J; RFC 5922", "authentication", Required, true},
	{secure.ISConfidentialityMTLS, IS, Confidentiality, "TLS 1.3 alone on the wire to platforms: what begins as anything else is not read", "TS 33.203 Annex J; TS 33.310 6.2a", "data confidentiality", Required, true},
	{secure.ISIntegrityMTLS, IS, Integrity, "the same wire: no octet of SIP that is not under the tag of a record", "TS 33.203 Annex J; TS 33.310 6.2a", "data integrity", Required, true},
	{secure.ISAuthenticationRevocation, IS, Authentication, "connections of a platform end within a second when its approval is taken back or over", "ours", "authentication", Required, true},
	{secure.ISAuthorizationManifest, IS, Authorization, "a manifest signed by the operator, default deny: scopes, dialogs, users", "TS 23.218 5.1.1", "access control", Required, true},
	{secure.ISAuthorizationAssert, IS, Authorization, "identities are asserted only as granted", "TS 33.203 Annex J; RFC 3325 5", "access control", Required, true},
	{secure.ISIntegrityODI, IS, Integrity, "a sealed original dialog identifier with bounded uses: no criterion is skipped or run twice", "TS 24.229 5.4.3.4", "data integrity", Required, true},
	{secure.ISIntegrityFailClosed, IS, Integrity, "default handling is obeyed; whatever screens fails closed", "TS 29.228 B.2.2", "data integrity", Required, true},
	{secure.ISConfidentialityHeaderMin, IS, Confidentiality, "a platform gets the header fields that its manifest names", "TS 24.229 4.4", "privacy", Required, true},
	{secure.ISAvailabilityDeadline, IS, Availability, "deadlines for handshakes and messages, connections of a source and their pace, where platforms connect", "ours", "availability", Required, true},
	{secure.ISAvailabilityQuota, IS, Availability, "rate and sessions of each platform, a breaker for one that does not answer", "RFC 7339", "availability", Required, true},
	{secure.CSIntegritySRTPVerify, CS, Integrity, "the tag of a packet is verified before it is passed on", "RFC 3711 3.3; RFC 7714", "data integrity", Required, true},
	{secure.CSIntegritySRTPReplay, CS, Integrity, "a replay window for each source of each leg", "RFC 3711 3.3.2", "data integrity", Required, true},
	{secure.CSConfidentialityNoLearn, CS, Confidentiality, "media go where the descriptions say; no address is learned from a packet", "ours", "communication security", Required, true},
	{secure.CSConfidentialityMediaFloor, CS, Confidentiality, "DTLS-SRTP; SDES only where the signalling is confidential; RTP in clear only by a named waiver", "TS 33.328; RFC 5764; RFC 4568", "data confidentiality", Required, true},
	{secure.CSConfidentialityKeyFresh, CS, Confidentiality, "fresh keys for each leg of each call, and no index twice under one", "RFC 3711 9.1", "data confidentiality", Required, true},
	{secure.CSAvailabilityDTLSConsent, CS, Availability, "no ClientHello binds an end before cookie and fingerprint fit; with ICE nothing is sent before an authentic check, nor long after the last", "RFC 5763 6.2; RFC 6347 4.2.1; RFC 7675", "availability", Required, true},
	{secure.CSAvailabilityPortBudget, CS, Availability, "packets of a port are bounded before any cipher runs, ports by user", "ours", "availability", Required, true},
	{secure.CSAvailabilityOutlives, CS, Availability, "calls that stand do not end with their signalling: their media go on, and end by what their ends say", "ours", "availability", Required, true},
	{secure.CSAvailabilityConnections, CS, Availability, "where clients fetch, connections of an address and their pace; a crowd makes room for others", "ours", "availability", Required, true},
	{secure.CSAuthenticationDTLS, CS, Authentication, "the certificate at the end of a handshake of media is the one whose fingerprint the description has", "RFC 5763 5; RFC 8122 6.2", "authentication", Required, true},
	{secure.CSAvailabilityMediaShape, CS, Availability, "of an anchored packet what the descriptions agreed on passes: no other header extension, contributing source, padding or RTCP packet, and no medium under the name of another", "ours; RFC 8285; RFC 4585; RFC 9143 9.2", "access control", Required, true},
	{secure.CSAuthenticationGrant, CS, Authentication, "a service platform is an end of media only as its manifest says, and the core signs that; clients refuse a peer outside it", "RFC 8224; RFC 8225; ours", "authentication", Required, true},
	{secure.CSAuthenticationToken, CS, Authentication, "tokens come from a registration, live minutes, are for one service and bound to a key that each request proves", "RFC 9068; RFC 9449", "authentication", Required, true},
	{secure.CSConfidentialityHTTPS, CS, Confidentiality, "TLS 1.3 alone where clients fetch: what begins as anything else is not read", "TS 33.222 5.3; TS 33.310 6.2a", "data confidentiality", Required, true},
	{secure.CSIntegrityHTTPS, CS, Integrity, "the same door: no octet that is not under the tag of a record", "TS 33.222 5.3; TS 33.310 6.2a", "data integrity", Required, true},
	{secure.CSAuthorizationGrantLeg, CS, Authorization, "one grant for one leg: platforms mint none and bring none from another call; a call is joined or taken over by its ends, and by whom they send", "ours; RFC 3891 3, 8; RFC 3911", "access control", Required, true},
	{secure.CSIntegrityFingerprint, CS, Integrity, "the fingerprints of a session description are the signed ones; who is no end of media changes none", "RFC 8225 5.2.2", "data integrity", Required, true},
	{secure.CoreAuthenticationMTLS, Core, Authentication, "mutual TLS 1.3 between nodes, SIP and Diameter", "TS 33.210, 33.310", "authentication", Required, true},
	{secure.CoreAvailabilityConnections, Core, Availability, "on the wires of Diameter and between nodes, connections of an address that has not proven itself and their pace", "ours", "availability", Required, true},
	{secure.CoreIntegrityDecisionLog, Core, Integrity, "a log of decisions about services, chained by hashes, its head signed every second: what is changed later is found", "ITU-T X.805 6.3", "non-repudiation", Required, true},
	{secure.CoreAuthenticationOriginHost, Core, Authentication, "Origin-Host is a name of the peer's certificate", "RFC 6733 13", "authentication", Required, true},
	{secure.CoreAuthorizationRole, Core, Authorization, "allow-list of commands and AVPs by the peer's role", "ours, after FS.19", "access control", Required, true},
	{secure.CoreConfidentialityMTLS, Core, Confidentiality, "keys stay in the process; in split mode only inside mutual TLS", "TS 33.203 6.1.1", "data confidentiality", Required, true},
	{secure.ManagementAuthenticationAdmin, Management, Authentication, "Unix socket with peer credentials, no default secret", "ours", "authentication", Required, true},
	{secure.ManagementConfidentialityRedact, Management, Confidentiality, "the log has pseudonyms for identities, and keys and private identities never", "ours", "data confidentiality", Required, true},
	{secure.ManagementIntegrityLogLine, Management, Integrity, "what a text could do to a line of the log or to a terminal is written out, not done", "ours", "data integrity", Required, true},
	{secure.ManagementAuthenticationPage, Management, Authentication, "the page of a node shows nothing without a code of its operator's, which works once; what a browser keeps then is two secrets, and one is of its origin alone", "ours", "authentication", Required, true},
	{secure.ManagementAuthorizationOrigin, Management, Authorization, "page and metrics answer on names of this machine, and to no page of another origin", "ours", "access control", Required, true},
}

// Rows returns a copy of the table.
func Rows() []Row { return slices.Clone(rows) }

// Find returns the row of control c.
func Find(c secure.ControlID) (Row, bool) {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Control == c })
	if i < 0 {
		return Row{}, false
	}
	return rows[i], true
}

// Effective is the policy one node runs under. It never changes after it is made; the zero value is the
// default: every required control on.
type Effective struct {
	off  []secure.ControlID
	weak []Weakening
}

// Weakening is a named setting by which controls give less than their row says: an access profile, a
// device exception. It is no off-switch, and it has evidence of its own.
type Weakening struct {
	Name     string
	Meaning  string // for the operator, one line
	Controls []secure.ControlID
}

// weakens says which controls each named setting weakens. The names are those of the configuration.
var weakens = map[string][]secure.ControlID{
	"lab": {secure.CIAuthenticationFlag, secure.CIAuthenticationDigestPolicy, secure.CIIntegrityESP, secure.CIConfidentialityESP,
		secure.CIConfidentialityTLSFloor},
	"digest-md5":        {secure.CIAuthenticationDigestPolicy},
	"tls-1.2":           {secure.CIConfidentialityTLSFloor},
	"ipsec-handset":     {secure.CIConfidentialityAlgorithms},
	"ipsec-legacy":      {secure.CIConfidentialityAlgorithms, secure.CIConfidentialityESP},
	"ipsec-exception":   {secure.CIConfidentialityAlgorithms, secure.CIConfidentialityESP},
	"mw-clear":          {secure.CoreAuthenticationMTLS, secure.CIAuthorizationEdgeOnly},
	"media-lab-plain":   {secure.CSConfidentialityMediaFloor},
	"media-waiver":      {secure.CSConfidentialityMediaFloor},
	"cx-cleartext-keys": {secure.CoreAuthenticationMTLS, secure.CoreConfidentialityMTLS},
}

// Named returns every setting that weakens something, by name. What each means is for the configuration to say.
func Named() []Weakening {
	var all []Weakening
	for _, name := range slices.Sorted(maps.Keys(weakens)) {
		all = append(all, Weakening{Name: name, Controls: slices.Clone(weakens[name])})
	}
	return all
}

// Weaken returns e with a named setting in force. A name that no setting has is an error: a weakening that
// nobody can see must not be.
func (e Effective) Weaken(name, meaning string) (Effective, error) {
	controls, known := weakens[name]
	if !known {
		return e, fmt.Errorf("policy: %q weakens something, and the table does not say what", name)
	}
	e.weak = append(slices.Clone(e.weak), Weakening{name, meaning, controls})
	return e, nil
}

// Weakenings returns the named settings in force.
func (e Effective) Weakenings() []Weakening { return slices.Clone(e.weak) }

// State says in one word how control c stands under e, and which named settings weaken it.
func (e Effective) State(c secure.ControlID) (state string, by []string) {
	row, known := Find(c)
	switch {
	case !known || row.Level == Absent:
		return "absent", nil
	case slices.Contains(e.off, c):
		return "off", nil
	}
	for _, w := range e.weak {
		if slices.Contains(w.Controls, c) {
			by = append(by, w.Name)
		}
	}
	if by != nil {
		return "weakened", by
	}
	return "on", nil
}

// Default returns the policy with every control on.
func Default() Effective { return Effective{} }

// Off returns the controls that are off, in the order they were named.
func (e Effective) Off() []secure.ControlID { return slices.Clone(e.off) }

// Gate makes the node's gate under e. sink may be nil.
func (e Effective) Gate(sink secure.Sink) *secure.Gate { return secure.NewGate(e.off, sink) }

// Ablate returns e with controls off as well. It is the machinery of policy/lab: call that instead, which
// first makes sure that this is a lab. A control that cannot be ablated is an error.
func (e Effective) Ablate(controls ...secure.ControlID) (Effective, error) {
	for _, c := range controls {
		row, known := Find(c)
		if !known {
			return e, fmt.Errorf("policy: control %v has no row", c)
		}
		if !row.Ablatable {
			return e, fmt.Errorf("policy: %v cannot be switched off, not even in the lab", c)
		}
	}
	e.off = append(slices.Clone(e.off), controls...)
	return e, nil
}
