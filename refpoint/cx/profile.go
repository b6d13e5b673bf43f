package cx

// UserProfile is IMSSubscription, the profile that an HSS downloads for one implicit registration set
// (TS 29.228 Annex B, E). It is shared between functions and never changed once handed out.
type UserProfile struct {
	IMPI            IMPI
	IMSI            string // optional
	ServiceProfiles []ServiceProfile
	// ReferenceLocation is optional; at most one is sent (TS 29.228 table E.2 note 5).
	ReferenceLocation *ReferenceLocation
}

// ReferenceLocation is ReferenceLocationInformation; the parts have the syntax of
// P-Access-Network-Info (TS 24.229).
type ReferenceLocation struct {
	AccessType, AccessInfo, AccessValue string
}

// ServiceProfile binds public identities to services (TS 29.228 B.2).
type ServiceProfile struct {
	PublicIdentities []PublicIdentity
	// SubscribedMediaProfile is CoreNetworkServicesAuthorization's SubscribedMediaProfileId; -1 if
	// there is none (0 is a valid id).
	SubscribedMediaProfile int
	// AllowedServiceIDs is ListOfServiceIds, the ICSIs the user may use (TS 24.229); nil if absent.
	AllowedServiceIDs []string
	Criteria          []InitialFilterCriteria // ordered by Priority, lowest number first
	SharedIFCSetIDs   []int                   // SharedIFCSetID
}

// IdentityType is IdentityType of a public identity (TS 29.228 table E.1).
type IdentityType uint8

// The values of IdentityType.
const (
	DistinctIMPU IdentityType = iota
	DistinctPSI
	WildcardedPSI
	NonDistinctIMPU
	WildcardedIMPU
)

// PSI says whether the identity is a public service identity.
func (t IdentityType) PSI() bool { return t == DistinctPSI || t == WildcardedPSI }

// Wildcarded says whether the identity is a range.
func (t IdentityType) Wildcarded() bool { return t == WildcardedPSI || t == WildcardedIMPU }

// PublicIdentity is one identity of a service profile (TS 29.228 B.2.1, E).
type PublicIdentity struct {
	Identity    IMPU // of a wildcarded type: the range, the same as in WildcardedPSI or WildcardedIMPU
	Barred      bool // BarringIndication
	Type        IdentityType
	DisplayName string
	// WildcardedPSI or WildcardedIMPU is the range an identity falls into, if the HSS says so.
	WildcardedPSI         IMPU
	WildcardedIMPU        IMPU
	AliasGroupID          string
	ServiceLevelTraceInfo string
	ServicePriorityLevel  int // 0 highest .. 4 lowest, -1 if absent
	ExtendedPriorities    []ExtendedPriority
	// MaxRegistrations is MaxNumOfAllowedSimultRegistrations, 0 if absent.
	MaxRegistrations int
}

// ExtendedPriority is a namespace of RFC 4412 and a level in it.
type ExtendedPriority struct {
	Namespace, Level string
}

// ProfilePart is ProfilePartIndicator (TS 29.228 B.2.2): when a criterion counts.
type ProfilePart uint8

// The values of ProfilePartIndicator; absent means that the criterion always counts.
const (
	PartCommon ProfilePart = iota // absent
	PartRegistered
	PartUnregistered
)

// DefaultHandling says what happens when the application server cannot be reached (TS 29.228 B.2.2).
type DefaultHandling uint8

// The values of DefaultHandling; absent means SessionContinued.
const (
	SessionContinued DefaultHandling = iota
	SessionTerminated
)

// InitialFilterCriteria is one rule: if the trigger matches, the request goes to the server
// (TS 29.228 B.2.2).
type InitialFilterCriteria struct {
	Priority int           // unique in the profile; the lowest number is checked first
	Trigger  *TriggerPoint // nil: every request
	Server   ApplicationServer
	Part     ProfilePart
	// DSAI are the tags of Dynamic Service Activation Info that the rule is bound to (TS 29.328 7.6.11). They are the HSS's business and on
	// no wire: an S-CSCF gets the rules that are not masked.
	DSAI []string
}

// ApplicationServer is where a matching request goes (TS 29.228 B.2.4).
type ApplicationServer struct {
	ServerName              string // SIP URI
	DefaultHandling         DefaultHandling
	ServiceInfo             string // transparent, goes into the body of a third-party REGISTER
	IncludeRegisterRequest  bool
	IncludeRegisterResponse bool
}

// TriggerPoint is a Boolean expression over service point triggers. In conjunctive form (CNF) a
// group is a disjunction and all groups must hold; in disjunctive form it is the other way round
// (TS 29.228 B.2.3, Annex C).
type TriggerPoint struct {
	CNF  bool
	SPTs []SPT
}

// SPTKind says which of the alternatives an SPT is.
type SPTKind uint8

// The kinds of service point triggers (TS 29.228 B.2.3).
const (
	SPTRequestURI SPTKind = iota + 1
	SPTMethod
	SPTSIPHeader
	SPTSessionCase
	SPTSessionDescription
)

// SessionCase is the direction of a request as a filter sees it (TS 29.228 table E.1).
type SessionCase uint8

// The values of SessionCase.
const (
	OriginatingRegistered SessionCase = iota
	TerminatingRegistered
	TerminatingUnregistered
	OriginatingUnregistered
	OriginatingCDIV
)

// RegistrationTypes is a set of RegistrationType, for an SPT with Method REGISTER.
type RegistrationTypes uint8

// The values of RegistrationType as bits; the empty set means every REGISTER.
const (
	InitialRegistration RegistrationTypes = 1 << iota
	ReRegistration
	Deregistration
)

// SPT is a service point trigger (TS 29.228 B.2.3, Annex F). Pattern and Content are POSIX extended
// regular expressions where Annex F says so.
type SPT struct {
	Negated bool
	Groups  []int // the groups it belongs to, at least one
	Kind    SPTKind

	// Pattern is RequestURI, Method (a plain token), Header or Line, by Kind.
	Pattern string
	// Content is the Content of SPTSIPHeader and SPTSessionDescription; HasContent says that it is
	// there, since an empty expression matches everything.
	Content       string
	HasContent    bool
	Case          SessionCase       // for SPTSessionCase
	Registrations RegistrationTypes // for SPTMethod
}
