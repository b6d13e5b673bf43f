// Package cx is the Cx reference point between the CSCFs and the HSS (TS 29.228, TS 29.229) as a Go
// contract: the operations, their information elements as typed fields, the results, and the user
// profile with its XML form (TS 29.228 Annex B, E and F).
//
// Server is what an I-CSCF or S-CSCF asks; Client is what an HSS pushes to an S-CSCF. Both sides are
// plain interfaces, so that functions in one process call each other without encoding anything;
// a wire form dials or serves the same interfaces. cxtest holds the suite that every implementation
// passes.
//
// What it does not do: it selects no S-CSCF, evaluates no filter criteria, keeps no state. Routing
// AVPs (Destination-Host, Vendor-Specific-Application-Id, ...) belong to the wire form.
//
// Ownership: a request belongs to the caller and is not kept by the callee after the call, except
// for Batch (see there). An answer belongs to the caller, but everything it points to, the
// UserProfile above all, is shared and must not be changed. Values are not safe for concurrent
// change; implementations of Server and Client are safe for concurrent use from many shards.
//
// Every box and its tests may import it; it imports proto/aka (keys) and proto/shard (the procedure
// that waits).
package cx

import (
	"imsafe/proto/aka"
	"imsafe/proto/shard"
)

// IMPI is a private identity in the form of a NAI, user@realm (TS 23.003 13.3). It is never logged.
type IMPI string

// IMPU is a public identity in canonical form: a SIP URI without parameters or a global tel URI
// (TS 23.003 13.4). A wildcarded identity carries its !regular expression! (TS 23.003 13.4A).
type IMPU string

// Server is the HSS as CSCFs see it. A method may wait; t is the procedure that waits, and the
// method must be called on t's shard. On failure the error is a *ResultError; the answer is nil then
// unless the method says otherwise.
type Server interface {
	// UserAuthorization is UAR/UAA: the I-CSCF asks whether a user may register and where
	// (TS 29.228 6.1.1). Result is ResultFirstRegistration, ResultSubsequentRegistration or
	// ResultSuccess. Errors: ErrUserUnknown, ErrIdentitiesDontMatch, ErrRoamingNotAllowed,
	// ErrAuthorizationRejected, ErrIdentityNotRegistered, ErrUnableToComply.
	UserAuthorization(t *shard.Task, r *UserAuthorizationRequest) (*UserAuthorizationAnswer, error)

	// ServerAssignment is SAR/SAA: the S-CSCF takes a user, gives it up, or fetches the profile
	// (TS 29.228 6.1.2). Together with ErrIdentityAlreadyRegistered the answer carries ServerName;
	// together with ErrInAssignmentType it carries what TS 29.228 6.1.2.1 lets it carry
	// (WildcardedIMPU, Restoration). Otherwise: ErrUserUnknown, ErrIdentitiesDontMatch,
	// ErrAVPOccursTooManyTimes, ErrMissingAVP, ErrUnableToComply.
	ServerAssignment(t *shard.Task, r *ServerAssignmentRequest) (*ServerAssignmentAnswer, error)

	// LocationInfo is LIR/LIA: the I-CSCF asks who serves a called identity (TS 29.228 6.1.4).
	// Result is ResultSuccess or ResultUnregisteredService. Errors: ErrUserUnknown,
	// ErrIdentityNotRegistered, ErrUnableToComply.
	LocationInfo(t *shard.Task, r *LocationInfoRequest) (*LocationInfoAnswer, error)

	// MultimediaAuth is MAR/MAA: the S-CSCF asks for vectors (TS 29.228 6.3). Vectors leave in the
	// order of their sequence numbers and never twice. Errors: ErrUserUnknown,
	// ErrIdentitiesDontMatch, ErrAuthSchemeNotSupported, ErrUnableToComply (also for an AUTS that
	// the card did not make), ErrTooBusy when the subscriber's budget of vectors is spent.
	MultimediaAuth(t *shard.Task, r *MultimediaAuthRequest) (*MultimediaAuthAnswer, error)
}

// Client is the S-CSCF as the HSS sees it: the push side of Cx.
type Client interface {
	// RegistrationTermination is RTR/RTA: the HSS de-registers (TS 29.228 6.1.3).
	RegistrationTermination(t *shard.Task, r *RegistrationTerminationRequest) (*RegistrationTerminationAnswer, error)
	// PushProfile is PPR/PPA: the HSS replaces the profile (TS 29.228 6.2.2). Errors:
	// ErrUserUnknown, ErrNotSupportedUserData, ErrTooMuchData, ErrUnableToComply.
	PushProfile(t *shard.Task, r *PushProfileRequest) (*PushProfileAnswer, error)
}

// UserAuthorizationType says what a UAR is for (TS 29.229 6.3.24).
type UserAuthorizationType uint8

// The values of User-Authorization-Type. An absent AVP means Registration.
const (
	Registration UserAuthorizationType = iota
	DeRegistration
	RegistrationAndCapabilities
)

// UserAuthorizationRequest is UAR (TS 29.228 table 6.1.1.1).
type UserAuthorizationRequest struct {
	IMPI             IMPI
	IMPU             IMPU
	VisitedNetworkID string                // TS 29.228 7.1
	Type             UserAuthorizationType // TS 29.228 7.14
	Emergency        bool                  // UAR-Flags bit 0, IMS emergency registration (TS 29.228 7.19)
}

// UserAuthorizationAnswer is UAA (TS 29.228 table 6.1.1.2). Either ServerName is set, or
// Capabilities may say what the S-CSCF to be selected must have; a nil Capabilities means any.
type UserAuthorizationAnswer struct {
	Result       Result
	ServerName   string // SIP URI of the assigned S-CSCF
	Capabilities *ServerCapabilities
}

// ServerCapabilities help the I-CSCF to select an S-CSCF (TS 29.228 6.7, 7.5). With ServerNames the
// other two are disregarded.
type ServerCapabilities struct {
	Mandatory   []uint32
	Optional    []uint32
	ServerNames []string
}

// ServerAssignmentType says what a SAR is for (TS 29.229 6.3.15).
type ServerAssignmentType uint8

// The values of Server-Assignment-Type.
const (
	NoAssignment                         ServerAssignmentType = 0
	AssignRegistration                   ServerAssignmentType = 1
	AssignReRegistration                 ServerAssignmentType = 2
	UnregisteredUser                     ServerAssignmentType = 3
	TimeoutDeregistration                ServerAssignmentType = 4
	UserDeregistration                   ServerAssignmentType = 5
	TimeoutDeregistrationStoreServerName ServerAssignmentType = 6
	UserDeregistrationStoreServerName    ServerAssignmentType = 7
	AdministrativeDeregistration         ServerAssignmentType = 8
	AuthenticationFailure                ServerAssignmentType = 9
	AuthenticationTimeout                ServerAssignmentType = 10
	DeregistrationTooMuchData            ServerAssignmentType = 11
	AAAUserDataRequest                   ServerAssignmentType = 12 // SWx only (TS 29.273)
	PGWUpdate                            ServerAssignmentType = 13 // SWx only (TS 29.273)
	lastServerAssignmentType                                  = PGWUpdate
)

var assignmentNames = [...]string{
	"NO_ASSIGNMENT", "REGISTRATION", "RE_REGISTRATION", "UNREGISTERED_USER", "TIMEOUT_DEREGISTRATION",
	"USER_DEREGISTRATION", "TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME", "USER_DEREGISTRATION_STORE_SERVER_NAME",
	"ADMINISTRATIVE_DEREGISTRATION", "AUTHENTICATION_FAILURE", "AUTHENTICATION_TIMEOUT",
	"DEREGISTRATION_TOO_MUCH_DATA", "AAA_USER_DATA_REQUEST", "PGW_UPDATE",
}

// String returns the standard's name.
func (t ServerAssignmentType) String() string {
	if t > lastServerAssignmentType {
		return "unknown"
	}
	return assignmentNames[t]
}

// Deregisters says whether t gives a registration up, whatever happens to the server name.
func (t ServerAssignmentType) Deregisters() bool {
	switch t {
	case TimeoutDeregistration, UserDeregistration, TimeoutDeregistrationStoreServerName,
		UserDeregistrationStoreServerName, AdministrativeDeregistration, DeregistrationTooMuchData:
		return true
	}
	return false
}

// ServerAssignmentRequest is SAR (TS 29.228 table 6.1.2.1).
type ServerAssignmentRequest struct {
	IMPI                 IMPI   // may be empty for UnregisteredUser and NoAssignment
	IMPUs                []IMPU // one, except where TS 29.228 table 6.1.2.1 allows none or several
	ServerName           string // SIP URI of the asking S-CSCF
	Type                 ServerAssignmentType
	UserDataAvailable    bool // User-Data-Already-Available (TS 29.228 7.16)
	WildcardedIMPU       IMPU // Wildcarded-Public-Identity (TS 29.228 7.2b)
	Restoration          *RestorationInfo
	MultipleRegistration bool // Multiple-Registration-Indication (TS 29.228 7.23)
	SessionPriority      SessionPriority
	PCSCFRestoration     bool // SAR-Flags bit 0 (TS 29.228 7.28)

	// Batch, if set, takes the durable changes of the HSS instead of a commit of its own, so that
	// one REGISTER is one commit. In process only; a wire form refuses a request that has one.
	Batch *Batch
}

// ServerAssignmentAnswer is SAA (TS 29.228 table 6.1.2.2).
type ServerAssignmentAnswer struct {
	Result               Result // ResultSuccess or ResultSuccessServerNameNotStored
	IMPI                 IMPI
	Profile              *UserProfile // nil if the S-CSCF has it already; shared, not to be changed
	ProfileVersion       uint64       // changes whenever Profile does; in process only
	Charging             *ChargingInformation
	AssociatedIdentities []IMPI // all private identities of the subscription, if more than one
	LooseRoute           bool   // Loose-Route-Indication
	Restoration          []RestorationInfo
	AssociatedRegistered []IMPI // Associated-Registered-Identities
	ServerName           string // with ErrIdentityAlreadyRegistered, and with NO_ASSIGNMENT to another one: who has the user
	WildcardedIMPU       IMPU
	PriviledgedSender    bool // the standard's spelling (TS 29.228 7.26)
	AllowedWAF           []string

	// Epoch numbers the assignments of this user to an S-CSCF. A change that an S-CSCF makes later
	// carries the epoch it was given, so a late write of one that lost the user fails. In process
	// only; 0 on the wire.
	Epoch uint64
}

// SessionPriority is Session-Priority (TS 29.229 6.3.56); the zero value is absence.
type SessionPriority uint8

// The values of Session-Priority, shifted by one so that 0 is absence.
const (
	NoSessionPriority SessionPriority = iota
	Priority0                         // highest
	Priority1
	Priority2
	Priority3
	Priority4
)

// ChargingInformation names the charging functions (TS 29.228 7.12, TS 29.229 6.3.19).
type ChargingInformation struct {
	PrimaryECF, SecondaryECF string // Event Charging Function, Diameter URIs
	PrimaryCCF, SecondaryCCF string // Charging Collection Function, Diameter URIs
}

// RestorationInfo is one group of SCSCF-Restoration-Info (TS 29.228 7.21, TS 29.229 6.3.52): what a
// new S-CSCF needs to go on where the old one stopped (TS 23.380).
type RestorationInfo struct {
	IMPI                IMPI
	Contacts            []RestorationContact
	RegistrationTimeOut int64  // unix seconds, 0 if absent
	AuthScheme          string // SIP-Authentication-Scheme, "" if absent
}

// RestorationContact is Restoration-Info, one contact (TS 29.229 6.3.52).
type RestorationContact struct {
	Path         string            // the Path header field, comma separated
	Contact      string            // the Contact header field value with its parameters
	InitialCSeq  uint32            // Initial-CSeq-Sequence-Number
	CallID       string            // Call-ID-SIP-Header of the registration
	Subscription *SubscriptionInfo // the UE's subscription to its reg event
	PCSCF        *SubscriptionInfo // P-CSCF-Subscription-Info
}

// SubscriptionInfo keeps the dialog of a subscription to the reg event (TS 29.229 6.3.54).
type SubscriptionInfo struct {
	CallID, From, To, RecordRoute, Contact string
}

// LocationInfoRequest is LIR (TS 29.228 table 6.1.4.1).
type LocationInfoRequest struct {
	IMPU            IMPU
	Originating     bool                  // Originating-Request: an AS acts for the user (TS 29.228 7.18)
	Type            UserAuthorizationType // only Registration (absent) and RegistrationAndCapabilities
	SessionPriority SessionPriority
}

// LocationInfoAnswer is LIA (TS 29.228 table 6.1.4.2).
type LocationInfoAnswer struct {
	Result           Result
	ServerName       string // S-CSCF, or the AS of a PSI when PSIDirectRouting
	Capabilities     *ServerCapabilities
	WildcardedIMPU   IMPU
	PSIDirectRouting bool // LIA-Flags bit 0 (TS 29.228 7.27)
}

// AuthScheme is SIP-Authentication-Scheme (TS 29.229 6.3.9).
type AuthScheme uint8

// The schemes. On the wire both versions of AKA are "Digest-AKAv1-MD5"; which one a subscriber uses
// is told by AuthDataItem.Algorithm in process, and by local configuration otherwise.
const (
	SchemeUnknown   AuthScheme = iota // "Unknown": the HSS decides, which IMS AKA does not allow
	SchemeDigestAKA                   // "Digest-AKAv1-MD5"
	SchemeDigest                      // "SIP Digest"
)

// String returns the text of the AVP.
func (s AuthScheme) String() string {
	switch s {
	case SchemeDigestAKA:
		return "Digest-AKAv1-MD5"
	case SchemeDigest:
		return "SIP Digest"
	}
	return "Unknown"
}

// Resync is SIP-Authorization of a MAR: the challenge that the S-CSCF issued, and the card's answer
// to it (TS 29.228 7.9.4). RAND is the one the S-CSCF stored, never one that came with the AUTS.
type Resync struct {
	RAND aka.RAND
	AUTS aka.AUTS
}

// MultimediaAuthRequest is MAR (TS 29.228 tables 6.3.1, 6.3.2).
type MultimediaAuthRequest struct {
	IMPI       IMPI
	IMPU       IMPU
	ServerName string
	Scheme     AuthScheme
	Items      uint32  // SIP-Number-Auth-Items, 1 or more; the HSS may give less
	Resync     *Resync // only after a synchronisation failure
}

// MaxAuthItems is the most vectors an HSS hands out at once. More would only grow stale: a new
// challenge kills the older one (TS 33.203 6.1.2.3).
const MaxAuthItems = 5

// MultimediaAuthAnswer is MAA (TS 29.228 table 6.3.4). Items are in the order in which they are to
// be used.
type MultimediaAuthAnswer struct {
	Result Result
	IMPI   IMPI
	IMPU   IMPU
	Items  []AuthDataItem
}

// AuthDataItem is SIP-Auth-Data-Item of an MAA (TS 29.228 table 6.3.5).
type AuthDataItem struct {
	Algorithm aka.DigestAlgorithm // fixed per subscriber; in process only
	Vector    aka.Vector          // RAND || AUTN, XRES, CK, IK; for SchemeDigestAKA
	Digest    *DigestAuthenticate // for SchemeDigest
}

// DigestAuthenticate is SIP-Digest-Authenticate (TS 29.228 table 6.3.7). HA1 is as secret as a key.
type DigestAuthenticate struct {
	Realm     string
	Algorithm aka.DigestAlgorithm
	QOP       string
	HA1       SecretHex
}

// DeregistrationReason is Reason-Code (TS 29.229 6.3.17).
type DeregistrationReason uint8

// The values of Reason-Code.
const (
	PermanentTermination DeregistrationReason = iota
	NewServerAssigned
	ServerChange
	RemoveSCSCF
)

// RegistrationTerminationRequest is RTR (TS 29.228 table 6.1.3.1).
type RegistrationTerminationRequest struct {
	IMPI                  IMPI
	IMPUs                 []IMPU // empty: all that are associated with IMPI
	AssociatedIdentities  []IMPI
	ServerName            string // Destination-Host: the S-CSCF that has the user
	Reason                DeregistrationReason
	ReasonInfo            string // text for the user
	ReferenceLocationInfo bool   // RTR-Flags bit 0 (TS 29.228 7.30)

	// Epoch numbers the assignment that is ended (ServerAssignmentAnswer.Epoch): a registration of a later one stays. In process only;
	// 0 on the wire and where it does not matter.
	Epoch uint64
}

// IdentityPair is a private and a public identity (Identity-with-Emergency-Registration).
type IdentityPair struct {
	IMPI IMPI
	IMPU IMPU
}

// RegistrationTerminationAnswer is RTA (TS 29.228 table 6.1.3.2).
type RegistrationTerminationAnswer struct {
	Result               Result // ResultSuccess or ResultLimitedSuccess
	AssociatedIdentities []IMPI
	Emergency            []IdentityPair // not de-registered
}

// PushProfileRequest is PPR (TS 29.228 table 6.2.2.1). What is nil is not changed.
type PushProfileRequest struct {
	IMPI           IMPI
	ServerName     string // Destination-Host
	Profile        *UserProfile
	ProfileVersion uint64 // in process only
	Charging       *ChargingInformation
	Digest         *DigestAuthenticate // after a change of password
	AllowedWAF     []string
}

// PushProfileAnswer is PPA (TS 29.228 table 6.2.2.2).
type PushProfileAnswer struct {
	Result Result
}
