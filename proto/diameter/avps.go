package diameter

// The AVPs of the base protocol (RFC 6733 4.5) and of Digest in it (RFC 7155 4.5).
const (
	Unknown ID = iota
	SessionID
	OriginHost
	OriginRealm
	DestinationHost
	DestinationRealm
	RouteRecord
	ProxyInfo
	ProxyHost
	ProxyState
	ResultCode
	ExperimentalResult
	ExperimentalResultCode
	ErrorMessage
	ErrorReportingHost
	FailedAVP
	HostIPAddress
	VendorID
	ProductName
	FirmwareRevision
	SupportedVendorID
	AuthApplicationID
	AcctApplicationID
	VendorSpecificApplicationID
	InbandSecurityID
	OriginStateID
	DisconnectCause
	AuthSessionState
	UserName
	Class
	SessionTimeout
	AcctSessionID
	AcctMultiSessionID
	EventTimestamp
	AcctInterimInterval
	RedirectHostUsage
	RedirectMaxCacheTime
	SessionBinding
	SessionServerFailover
	MultiRoundTimeOut
	AuthRequestType
	AuthGracePeriod
	ReAuthRequestType
	AccountingSubSessionID
	AuthorizationLifetime
	RedirectHost
	TerminationCause
	AccountingRecordType
	AccountingRealtimeRequired
	AccountingRecordNumber
	DigestRealm
	DigestQoP
	DigestAlgorithm
	DigestHA1
)

// The AVPs of Cx and Dx (TS 29.229 6.3).
const (
	VisitedNetworkIdentifier ID = iota + DigestHA1 + 1
	PublicIdentity
	ServerName
	ServerCapabilities
	MandatoryCapability
	OptionalCapability
	UserData
	SIPNumberAuthItems
	SIPAuthenticationScheme
	SIPAuthenticate
	SIPAuthorization
	SIPAuthenticationContext
	SIPAuthDataItem
	SIPItemNumber
	ServerAssignmentType
	DeregistrationReason
	ReasonCode
	ReasonInfo
	ChargingInformation
	PrimaryEventChargingFunctionName
	SecondaryEventChargingFunctionName
	PrimaryChargingCollectionFunctionName
	SecondaryChargingCollectionFunctionName
	UserAuthorizationType
	UserDataAlreadyAvailable
	ConfidentialityKey
	IntegrityKey
	SupportedFeatures
	FeatureListID
	FeatureList
	SupportedApplications
	AssociatedIdentities
	OriginatingRequest
	WildcardedPublicIdentity
	SIPDigestAuthenticate
	WildcardedIMPU
	UARFlags
	LooseRouteIndication
	SCSCFRestorationInfo
	Path
	Contact
	SubscriptionInfo
	CallIDSIPHeader
	FromSIPHeader
	ToSIPHeader
	RecordRoute
	AssociatedRegisteredIdentities
	MultipleRegistrationIndication
	RestorationInfo
	SessionPriority
	IdentityWithEmergencyRegistration
	PriviledgedSenderIndication
	LIAFlags
	InitialCSeqSequenceNumber
	SARFlags
	AllowedWAFWWSFIdentities
	WebRTCAuthenticationFunctionName
	WebRTCWebServerFunctionName
	RTRFlags
	PCSCFSubscriptionInfo
	RegistrationTimeOut
	AlternateDigestAlgorithm
	AlternateDigestHA1
	FailedPCSCF
	PCSCFFQDN
	PCSCFIPAddress
)

// The AVPs of Sh (TS 29.329 6.3). User-Data has another code than in Cx.
const (
	UserIdentity ID = iota + PCSCFIPAddress + 1
	MSISDN
	ShUserData
	DataReference
	ServiceIndication
	SubsReqType
	RequestedDomain
	CurrentLocation
	IdentitySet
	ExpiryTime
	SendDataIndication
	DSAITag
	OneTimeNotification
	RequestedNodes
	ServingNodeIndication
	RepositoryDataID
	SequenceNumber
	PrePagingSupported
	LocalTimeZoneIndication
	UDRFlags
	CallReferenceInfo
	CallReferenceNumber
	ASNumber
)

// dictionary is indexed by ID. Where 3GPP lets the M bit be either, it is not sent and not wanted.
var dictionary = [...]Definition{
	Unknown: {Name: "unknown"},

	SessionID:                   {263, 0, UTF8String, true, "Session-Id"},
	OriginHost:                  {264, 0, DiameterIdentity, true, "Origin-Host"},
	OriginRealm:                 {296, 0, DiameterIdentity, true, "Origin-Realm"},
	DestinationHost:             {293, 0, DiameterIdentity, true, "Destination-Host"},
	DestinationRealm:            {283, 0, DiameterIdentity, true, "Destination-Realm"},
	RouteRecord:                 {282, 0, DiameterIdentity, true, "Route-Record"},
	ProxyInfo:                   {284, 0, Grouped, true, "Proxy-Info"},
	ProxyHost:                   {280, 0, DiameterIdentity, true, "Proxy-Host"},
	ProxyState:                  {33, 0, OctetString, true, "Proxy-State"},
	ResultCode:                  {268, 0, Unsigned32, true, "Result-Code"},
	ExperimentalResult:          {297, 0, Grouped, true, "Experimental-Result"},
	ExperimentalResultCode:      {298, 0, Unsigned32, true, "Experimental-Result-Code"},
	ErrorMessage:                {281, 0, UTF8String, false, "Error-Message"},
	ErrorReportingHost:          {294, 0, DiameterIdentity, false, "Error-Reporting-Host"},
	FailedAVP:                   {279, 0, Grouped, true, "Failed-AVP"},
	HostIPAddress:               {257, 0, Address, true, "Host-IP-Address"},
	VendorID:                    {266, 0, Unsigned32, true, "Vendor-Id"},
	ProductName:                 {269, 0, UTF8String, false, "Product-Name"},
	FirmwareRevision:            {267, 0, Unsigned32, false, "Firmware-Revision"},
	SupportedVendorID:           {265, 0, Unsigned32, true, "Supported-Vendor-Id"},
	AuthApplicationID:           {258, 0, Unsigned32, true, "Auth-Application-Id"},
	AcctApplicationID:           {259, 0, Unsigned32, true, "Acct-Application-Id"},
	VendorSpecificApplicationID: {260, 0, Grouped, true, "Vendor-Specific-Application-Id"},
	InbandSecurityID:            {299, 0, Unsigned32, true, "Inband-Security-Id"},
	OriginStateID:               {278, 0, Unsigned32, true, "Origin-State-Id"},
	DisconnectCause:             {273, 0, Enumerated, true, "Disconnect-Cause"},
	AuthSessionState:            {277, 0, Enumerated, true, "Auth-Session-State"},
	UserName:                    {1, 0, UTF8String, true, "User-Name"},
	Class:                       {25, 0, OctetString, true, "Class"},
	SessionTimeout:              {27, 0, Unsigned32, true, "Session-Timeout"},
	AcctSessionID:               {44, 0, OctetString, true, "Acct-Session-Id"},
	AcctMultiSessionID:          {50, 0, UTF8String, true, "Acct-Multi-Session-Id"},
	EventTimestamp:              {55, 0, Time, true, "Event-Timestamp"},
	AcctInterimInterval:         {85, 0, Unsigned32, true, "Acct-Interim-Interval"},
	RedirectHostUsage:           {261, 0, Enumerated, true, "Redirect-Host-Usage"},
	RedirectMaxCacheTime:        {262, 0, Unsigned32, true, "Redirect-Max-Cache-Time"},
	SessionBinding:              {270, 0, Unsigned32, true, "Session-Binding"},
	SessionServerFailover:       {271, 0, Enumerated, true, "Session-Server-Failover"},
	MultiRoundTimeOut:           {272, 0, Unsigned32, true, "Multi-Round-Time-Out"},
	AuthRequestType:             {274, 0, Enumerated, true, "Auth-Request-Type"},
	AuthGracePeriod:             {276, 0, Unsigned32, true, "Auth-Grace-Period"},
	ReAuthRequestType:           {285, 0, Enumerated, true, "Re-Auth-Request-Type"},
	AccountingSubSessionID:      {287, 0, Unsigned64, true, "Accounting-Sub-Session-Id"},
	AuthorizationLifetime:       {291, 0, Unsigned32, true, "Authorization-Lifetime"},
	RedirectHost:                {292, 0, DiameterURI, true, "Redirect-Host"},
	TerminationCause:            {295, 0, Enumerated, true, "Termination-Cause"},
	AccountingRecordType:        {480, 0, Enumerated, true, "Accounting-Record-Type"},
	AccountingRealtimeRequired:  {483, 0, Enumerated, true, "Accounting-Realtime-Required"},
	AccountingRecordNumber:      {485, 0, Unsigned32, true, "Accounting-Record-Number"},
	DigestRealm:                 {104, 0, UTF8String, true, "Digest-Realm"},
	DigestQoP:                   {110, 0, UTF8String, true, "Digest-QoP"},
	DigestAlgorithm:             {111, 0, UTF8String, false, "Digest-Algorithm"}, // without M: it is also our hint in SIP-Auth-Data-Item
	DigestHA1:                   {121, 0, UTF8String, true, "Digest-HA1"},

	VisitedNetworkIdentifier:                {600, Vendor3GPP, OctetString, true, "Visited-Network-Identifier"},
	PublicIdentity:                          {601, Vendor3GPP, UTF8String, true, "Public-Identity"},
	ServerName:                              {602, Vendor3GPP, UTF8String, true, "Server-Name"},
	ServerCapabilities:                      {603, Vendor3GPP, Grouped, true, "Server-Capabilities"},
	MandatoryCapability:                     {604, Vendor3GPP, Unsigned32, true, "Mandatory-Capability"},
	OptionalCapability:                      {605, Vendor3GPP, Unsigned32, true, "Optional-Capability"},
	UserData:                                {606, Vendor3GPP, OctetString, true, "User-Data"},
	SIPNumberAuthItems:                      {607, Vendor3GPP, Unsigned32, true, "SIP-Number-Auth-Items"},
	SIPAuthenticationScheme:                 {608, Vendor3GPP, UTF8String, true, "SIP-Authentication-Scheme"},
	SIPAuthenticate:                         {609, Vendor3GPP, OctetString, true, "SIP-Authenticate"},
	SIPAuthorization:                        {610, Vendor3GPP, OctetString, true, "SIP-Authorization"},
	SIPAuthenticationContext:                {611, Vendor3GPP, OctetString, true, "SIP-Authentication-Context"},
	SIPAuthDataItem:                         {612, Vendor3GPP, Grouped, true, "SIP-Auth-Data-Item"},
	SIPItemNumber:                           {613, Vendor3GPP, Unsigned32, true, "SIP-Item-Number"},
	ServerAssignmentType:                    {614, Vendor3GPP, Enumerated, true, "Server-Assignment-Type"},
	DeregistrationReason:                    {615, Vendor3GPP, Grouped, true, "Deregistration-Reason"},
	ReasonCode:                              {616, Vendor3GPP, Enumerated, true, "Reason-Code"},
	ReasonInfo:                              {617, Vendor3GPP, UTF8String, true, "Reason-Info"},
	ChargingInformation:                     {618, Vendor3GPP, Grouped, true, "Charging-Information"},
	PrimaryEventChargingFunctionName:        {619, Vendor3GPP, DiameterURI, true, "Primary-Event-Charging-Function-Name"},
	SecondaryEventChargingFunctionName:      {620, Vendor3GPP, DiameterURI, true, "Secondary-Event-Charging-Function-Name"},
	PrimaryChargingCollectionFunctionName:   {621, Vendor3GPP, DiameterURI, true, "Primary-Charging-Collection-Function-Name"},
	SecondaryChargingCollectionFunctionName: {622, Vendor3GPP, DiameterURI, true, "Secondary-Charging-Collection-Function-Name"},
	UserAuthorizationType:                   {623, Vendor3GPP, Enumerated, true, "User-Authorization-Type"},
	UserDataAlreadyAvailable:                {624, Vendor3GPP, Enumerated, true, "User-Data-Already-Available"},
	ConfidentialityKey:                      {625, Vendor3GPP, OctetString, true, "Confidentiality-Key"},
	IntegrityKey:                            {626, Vendor3GPP, OctetString, true, "Integrity-Key"},
	SupportedFeatures:                       {628, Vendor3GPP, Grouped, false, "Supported-Features"},
	FeatureListID:                           {629, Vendor3GPP, Unsigned32, false, "Feature-List-ID"},
	FeatureList:                             {630, Vendor3GPP, Unsigned32, false, "Feature-List"},
	SupportedApplications:                   {631, Vendor3GPP, Grouped, false, "Supported-Applications"},
	AssociatedIdentities:                    {632, Vendor3GPP, Grouped, false, "Associated-Identities"},
	OriginatingRequest:                      {633, Vendor3GPP, Enumerated, true, "Originating-Request"},
	WildcardedPublicIdentity:                {634, Vendor3GPP, UTF8String, false, "Wildcarded-Public-Identity"},
	SIPDigestAuthenticate:                   {635, Vendor3GPP, Grouped, false, "SIP-Digest-Authenticate"},
	WildcardedIMPU:                          {636, Vendor3GPP, UTF8String, false, "Wildcarded-IMPU"},
	UARFlags:                                {637, Vendor3GPP, Unsigned32, false, "UAR-Flags"},
	LooseRouteIndication:                    {638, Vendor3GPP, Enumerated, false, "Loose-Route-Indication"},
	SCSCFRestorationInfo:                    {639, Vendor3GPP, Grouped, false, "SCSCF-Restoration-Info"},
	Path:                                    {640, Vendor3GPP, OctetString, false, "Path"},
	Contact:                                 {641, Vendor3GPP, OctetString, false, "Contact"},
	SubscriptionInfo:                        {642, Vendor3GPP, Grouped, false, "Subscription-Info"},
	CallIDSIPHeader:                         {643, Vendor3GPP, OctetString, false, "Call-ID-SIP-Header"},
	FromSIPHeader:                           {644, Vendor3GPP, OctetString, false, "From-SIP-Header"},
	ToSIPHeader:                             {645, Vendor3GPP, OctetString, false, "To-SIP-Header"},
	RecordRoute:                             {646, Vendor3GPP, OctetString, false, "Record-Route"},
	AssociatedRegisteredIdentities:          {647, Vendor3GPP, Grouped, false, "Associated-Registered-Identities"},
	MultipleRegistrationIndication:          {648, Vendor3GPP, Enumerated, false, "Multiple-Registration-Indication"},
	RestorationInfo:                         {649, Vendor3GPP, Grouped, false, "Restoration-Info"},
	SessionPriority:                         {650, Vendor3GPP, Enumerated, false, "Session-Priority"},
	IdentityWithEmergencyRegistration:       {651, Vendor3GPP, Grouped, false, "Identity-with-Emergency-Registration"},
	PriviledgedSenderIndication:             {652, Vendor3GPP, Enumerated, false, "Priviledged-Sender-Indication"},
	LIAFlags:                                {653, Vendor3GPP, Unsigned32, false, "LIA-Flags"},
	InitialCSeqSequenceNumber:               {654, Vendor3GPP, Unsigned32, false, "Initial-CSeq-Sequence-Number"},
	SARFlags:                                {655, Vendor3GPP, Unsigned32, false, "SAR-Flags"},
	AllowedWAFWWSFIdentities:                {656, Vendor3GPP, Grouped, false, "Allowed-WAF-WWSF-Identities"},
	WebRTCAuthenticationFunctionName:        {657, Vendor3GPP, UTF8String, false, "WebRTC-Authentication-Function-Name"},
	WebRTCWebServerFunctionName:             {658, Vendor3GPP, UTF8String, false, "WebRTC-Web-Server-Function-Name"},
	RTRFlags:                                {659, Vendor3GPP, Unsigned32, false, "RTR-Flags"},
	PCSCFSubscriptionInfo:                   {660, Vendor3GPP, Grouped, false, "P-CSCF-Subscription-Info"},
	RegistrationTimeOut:                     {661, Vendor3GPP, Time, false, "Registration-Time-Out"},
	AlternateDigestAlgorithm:                {662, Vendor3GPP, UTF8String, false, "Alternate-Digest-Algorithm"},
	AlternateDigestHA1:                      {663, Vendor3GPP, UTF8String, false, "Alternate-Digest-HA1"},
	FailedPCSCF:                             {664, Vendor3GPP, Grouped, false, "Failed-PCSCF"},
	PCSCFFQDN:                               {665, Vendor3GPP, DiameterIdentity, false, "PCSCF-FQDN"},
	PCSCFIPAddress:                          {666, Vendor3GPP, Address, false, "PCSCF-IP-Address"},

	UserIdentity:            {700, Vendor3GPP, Grouped, true, "User-Identity"},
	MSISDN:                  {701, Vendor3GPP, OctetString, true, "MSISDN"},
	ShUserData:              {702, Vendor3GPP, OctetString, true, "User-Data"},
	DataReference:           {703, Vendor3GPP, Enumerated, true, "Data-Reference"},
	ServiceIndication:       {704, Vendor3GPP, OctetString, true, "Service-Indication"},
	SubsReqType:             {705, Vendor3GPP, Enumerated, true, "Subs-Req-Type"},
	RequestedDomain:         {706, Vendor3GPP, Enumerated, true, "Requested-Domain"},
	CurrentLocation:         {707, Vendor3GPP, Enumerated, true, "Current-Location"},
	IdentitySet:             {708, Vendor3GPP, Enumerated, false, "Identity-Set"},
	ExpiryTime:              {709, Vendor3GPP, Time, false, "Expiry-Time"},
	SendDataIndication:      {710, Vendor3GPP, Enumerated, false, "Send-Data-Indication"},
	DSAITag:                 {711, Vendor3GPP, OctetString, true, "DSAI-Tag"},
	OneTimeNotification:     {712, Vendor3GPP, Enumerated, false, "One-Time-Notification"},
	RequestedNodes:          {713, Vendor3GPP, Unsigned32, false, "Requested-Nodes"},
	ServingNodeIndication:   {714, Vendor3GPP, Enumerated, false, "Serving-Node-Indication"},
	RepositoryDataID:        {715, Vendor3GPP, Grouped, false, "Repository-Data-ID"},
	SequenceNumber:          {716, Vendor3GPP, Unsigned32, false, "Sequence-Number"},
	PrePagingSupported:      {717, Vendor3GPP, Enumerated, false, "Pre-paging-Supported"},
	LocalTimeZoneIndication: {718, Vendor3GPP, Enumerated, false, "Local-Time-Zone-Indication"},
	UDRFlags:                {719, Vendor3GPP, Unsigned32, false, "UDR-Flags"},
	CallReferenceInfo:       {720, Vendor3GPP, Grouped, false, "Call-Reference-Info"},
	CallReferenceNumber:     {721, Vendor3GPP, OctetString, false, "Call-Reference-Number"},
	ASNumber:                {722, Vendor3GPP, OctetString, false, "AS-Number"},
}
