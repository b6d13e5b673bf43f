package sip

// HeaderID names a header field that imsafe knows. HdrOther is any other field; those are found by name.
type HeaderID uint8

// The header fields that have an id, each with the clause that defines it.
const (
	HdrOther                      HeaderID = iota // any field without an id of its own
	HdrVia                                        // Via, RFC 3261 20.42
	HdrFrom                                       // From, RFC 3261 20.20
	HdrTo                                         // To, RFC 3261 20.39
	HdrCallID                                     // Call-ID, RFC 3261 20.8
	HdrCSeq                                       // CSeq, RFC 3261 20.16
	HdrMaxForwards                                // Max-Forwards, RFC 3261 20.22
	HdrContact                                    // Contact, RFC 3261 20.10
	HdrRoute                                      // Route, RFC 3261 20.34
	HdrRecordRoute                                // Record-Route, RFC 3261 20.30
	HdrPath                                       // Path, RFC 3327
	HdrServiceRoute                               // Service-Route, RFC 3608
	HdrRequire                                    // Require, RFC 3261 20.32
	HdrProxyRequire                               // Proxy-Require, RFC 3261 20.29
	HdrSupported                                  // Supported, RFC 3261 20.37
	HdrUnsupported                                // Unsupported, RFC 3261 20.40
	HdrAllow                                      // Allow, RFC 3261 20.5
	HdrAllowEvents                                // Allow-Events, RFC 6665 8.2.2
	HdrEvent                                      // Event, RFC 6665 8.2.1
	HdrSubscriptionState                          // Subscription-State, RFC 6665 8.2.3
	HdrExpires                                    // Expires, RFC 3261 20.19
	HdrMinExpires                                 // Min-Expires, RFC 3261 20.23
	HdrAuthorization                              // Authorization, RFC 3261 20.7
	HdrWWWAuthenticate                            // WWW-Authenticate, RFC 3261 20.44
	HdrProxyAuthorization                         // Proxy-Authorization, RFC 3261 20.28
	HdrProxyAuthenticate                          // Proxy-Authenticate, RFC 3261 20.27
	HdrAuthenticationInfo                         // Authentication-Info, RFC 3261 20.6
	HdrProxyAuthenticationInfo                    // Proxy-Authentication-Info, RFC 7615 4
	HdrSecurityClient                             // Security-Client, RFC 3329
	HdrSecurityServer                             // Security-Server, RFC 3329
	HdrSecurityVerify                             // Security-Verify, RFC 3329
	HdrPAssertedIdentity                          // P-Asserted-Identity, RFC 3325 9.1
	HdrPPreferredIdentity                         // P-Preferred-Identity, RFC 3325 9.2
	HdrPAssociatedURI                             // P-Associated-URI, RFC 7315 4.1
	HdrPCalledPartyID                             // P-Called-Party-ID, RFC 7315 4.2
	HdrPVisitedNetworkID                          // P-Visited-Network-ID, RFC 7315 4.3
	HdrPAccessNetworkInfo                         // P-Access-Network-Info, RFC 7315 4.4
	HdrPChargingFunctionAddresses                 // P-Charging-Function-Addresses, RFC 7315 4.5
	HdrPChargingVector                            // P-Charging-Vector, RFC 7315 4.6
	HdrPServedUser                                // P-Served-User, RFC 5502
	HdrPEarlyMedia                                // P-Early-Media, RFC 5009
	HdrPPreferredService                          // P-Preferred-Service, RFC 6050 4.2
	HdrPAssertedService                           // P-Asserted-Service, RFC 6050 4.1
	HdrPProfileKey                                // P-Profile-Key, RFC 5002
	HdrPUserDatabase                              // P-User-Database, RFC 4457
	HdrPMediaAuthorization                        // P-Media-Authorization, RFC 3313
	HdrPPrivateNetworkIndication                  // P-Private-Network-Indication, RFC 7316
	HdrPAnswerState                               // P-Answer-State, RFC 4964
	HdrPRefusedURIList                            // P-Refused-URI-List, RFC 5318
	HdrPDCSBillingInfo                            // P-DCS-Billing-Info, RFC 5503 7
	HdrPDCSLAES                                   // P-DCS-LAES, RFC 5503 8
	HdrPDCSRedirect                               // P-DCS-Redirect, RFC 5503 9
	HdrPDCSTracePartyID                           // P-DCS-Trace-Party-ID, RFC 5503 5
	HdrPDCSOSPS                                   // P-DCS-OSPS, RFC 5503 6
	HdrPrivacy                                    // Privacy, RFC 3323 4.2
	HdrHistoryInfo                                // History-Info, RFC 7044
	HdrDiversion                                  // Diversion, RFC 5806
	HdrSessionExpires                             // Session-Expires, RFC 4028 4
	HdrMinSE                                      // Min-SE, RFC 4028 5
	HdrRSeq                                       // RSeq, RFC 3262 7.1
	HdrRAck                                       // RAck, RFC 3262 7.2
	HdrSIPETag                                    // SIP-ETag, RFC 3903 11.3.1
	HdrSIPIfMatch                                 // SIP-If-Match, RFC 3903 11.3.2
	HdrReferTo                                    // Refer-To, RFC 3515 2.1
	HdrReferredBy                                 // Referred-By, RFC 3892 3
	HdrReferSub                                   // Refer-Sub, RFC 4488 4
	HdrReferEventsAt                              // Refer-Events-At, RFC 7614
	HdrReplaces                                   // Replaces, RFC 3891 6.1
	HdrJoin                                       // Join, RFC 3911 7.1
	HdrTargetDialog                               // Target-Dialog, RFC 4538 7
	HdrIdentity                                   // Identity, RFC 8224 4
	HdrIdentityInfo                               // Identity-Info, RFC 4474
	HdrAcceptContact                              // Accept-Contact, RFC 3841 9.2
	HdrRejectContact                              // Reject-Contact, RFC 3841 9.2
	HdrRequestDisposition                         // Request-Disposition, RFC 3841 9.1
	HdrReason                                     // Reason, RFC 3326 2
	HdrRetryAfter                                 // Retry-After, RFC 3261 20.33
	HdrWarning                                    // Warning, RFC 3261 20.43
	HdrGeolocation                                // Geolocation, RFC 6442 4.1
	HdrGeolocationRouting                         // Geolocation-Routing, RFC 6442 4.2
	HdrGeolocationError                           // Geolocation-Error, RFC 6442 4.3
	HdrMaxBreadth                                 // Max-Breadth, RFC 5393 5
	HdrFeatureCaps                                // Feature-Caps, RFC 6809 6
	HdrFlowTimer                                  // Flow-Timer, RFC 5626 4.4
	HdrUserAgent                                  // User-Agent, RFC 3261 20.41
	HdrServer                                     // Server, RFC 3261 20.35
	HdrDate                                       // Date, RFC 3261 20.17
	HdrOrganization                               // Organization, RFC 3261 20.25
	HdrSubject                                    // Subject, RFC 3261 20.36
	HdrTimestamp                                  // Timestamp, RFC 3261 20.38
	HdrPriority                                   // Priority, RFC 3261 20.26
	HdrInReplyTo                                  // In-Reply-To, RFC 3261 20.21
	HdrReplyTo                                    // Reply-To, RFC 3261 20.31
	HdrAlertInfo                                  // Alert-Info, RFC 3261 20.4
	HdrCallInfo                                   // Call-Info, RFC 3261 20.9
	HdrErrorInfo                                  // Error-Info, RFC 3261 20.18
	HdrAnswerMode                                 // Answer-Mode, RFC 5373
	HdrPrivAnswerMode                             // Priv-Answer-Mode, RFC 5373
	HdrResourcePriority                           // Resource-Priority, RFC 4412 3.1
	HdrAcceptResourcePriority                     // Accept-Resource-Priority, RFC 4412 3.2
	HdrAdditionalIdentity                         // Additional-Identity, TS 24.229 7.2
	HdrAttestationInfo                            // Attestation-Info, TS 24.229 7.2
	HdrOriginationID                              // Origination-Id, TS 24.229 7.2
	HdrCellularNetworkInfo                        // Cellular-Network-Info, TS 24.229 7.2
	HdrRestorationInfo                            // Restoration-Info, TS 24.229 7.2
	HdrRelayedCharge                              // Relayed-Charge, TS 24.229 7.2
	HdrServiceInteractInfo                        // Service-Interact-Info, TS 24.229 7.2
	HdrPriorityShare                              // Priority-Share, TS 24.229 7.2
	HdrResponseSource                             // Response-Source, TS 24.229 7.2
	HdrResourceShare                              // Resource-Share, TS 24.229 7.2
	HdrSessionID                                  // Session-ID, RFC 7989 5
	HdrUserToUser                                 // User-to-User, RFC 7433 4.1
	HdrRecvInfo                                   // Recv-Info, RFC 6086 8.2
	HdrInfoPackage                                // Info-Package, RFC 6086 8.1
	HdrPolicyContact                              // Policy-Contact, RFC 6794
	HdrPolicyID                                   // Policy-ID, RFC 6794
	HdrPermissionMissing                          // Permission-Missing, RFC 5360 5.9.3
	HdrTriggerConsent                             // Trigger-Consent, RFC 5360 5.11.2
	HdrSuppressIfMatch                            // Suppress-If-Match, RFC 5839 7
	HdrAccept                                     // Accept, RFC 3261 20.1
	HdrAcceptEncoding                             // Accept-Encoding, RFC 3261 20.2
	HdrAcceptLanguage                             // Accept-Language, RFC 3261 20.3
	HdrContentType                                // Content-Type, RFC 3261 20.15
	HdrContentDisposition                         // Content-Disposition, RFC 3261 20.11
	HdrContentEncoding                            // Content-Encoding, RFC 3261 20.12
	HdrContentLanguage                            // Content-Language, RFC 3261 20.13
	HdrContentID                                  // Content-ID, RFC 8262 3
	HdrContentLength                              // Content-Length, RFC 3261 20.14
	HdrMIMEVersion                                // MIME-Version, RFC 3261 20.24
	numHeaders
)

// trait says how the values of a field may be repeated (RFC 3261 7.3.1). Fields that stand once but decide nothing
// (User-Agent, Subject ...) are many: a phone that sends two is a nuisance and no danger. So are those whose document
// was not at hand.
type trait uint8

const (
	many   trait = iota // several lines, each one value: never split at commas
	one                 // at most one line with one value; a second one is answered with 400
	list                // comma-separated values: split into one field per value
	tokens              // the same, where neither quotes nor brackets may hold a comma
)

// headerDef is one row of the header table.
type headerDef struct {
	name    string // canonical name
	compact byte   // compact form, 0 = none
	trait   trait
}

// headerDefs is indexed by HeaderID; it is never written.
var headerDefs = [numHeaders]headerDef{
	HdrOther:                      {"", 0, many},
	HdrVia:                        {"Via", 'v', list},
	HdrFrom:                       {"From", 'f', one},
	HdrTo:                         {"To", 't', one},
	HdrCallID:                     {"Call-ID", 'i', one},
	HdrCSeq:                       {"CSeq", 0, one},
	HdrMaxForwards:                {"Max-Forwards", 0, one},
	HdrContact:                    {"Contact", 'm', list},
	HdrRoute:                      {"Route", 0, list},
	HdrRecordRoute:                {"Record-Route", 0, list},
	HdrPath:                       {"Path", 0, list},
	HdrServiceRoute:               {"Service-Route", 0, list},
	HdrRequire:                    {"Require", 0, tokens},
	HdrProxyRequire:               {"Proxy-Require", 0, tokens},
	HdrSupported:                  {"Supported", 'k', tokens},
	HdrUnsupported:                {"Unsupported", 0, tokens},
	HdrAllow:                      {"Allow", 0, tokens},
	HdrAllowEvents:                {"Allow-Events", 'u', tokens},
	HdrEvent:                      {"Event", 'o', one},
	HdrSubscriptionState:          {"Subscription-State", 0, one},
	HdrExpires:                    {"Expires", 0, one},
	HdrMinExpires:                 {"Min-Expires", 0, one},
	HdrAuthorization:              {"Authorization", 0, many},
	HdrWWWAuthenticate:            {"WWW-Authenticate", 0, many},
	HdrProxyAuthorization:         {"Proxy-Authorization", 0, many},
	HdrProxyAuthenticate:          {"Proxy-Authenticate", 0, many},
	HdrAuthenticationInfo:         {"Authentication-Info", 0, one},
	HdrProxyAuthenticationInfo:    {"Proxy-Authentication-Info", 0, many},
	HdrSecurityClient:             {"Security-Client", 0, list},
	HdrSecurityServer:             {"Security-Server", 0, list},
	HdrSecurityVerify:             {"Security-Verify", 0, list},
	HdrPAssertedIdentity:          {"P-Asserted-Identity", 0, list},
	HdrPPreferredIdentity:         {"P-Preferred-Identity", 0, list},
	HdrPAssociatedURI:             {"P-Associated-URI", 0, list},
	HdrPCalledPartyID:             {"P-Called-Party-ID", 0, one},
	HdrPVisitedNetworkID:          {"P-Visited-Network-ID", 0, list},
	HdrPAccessNetworkInfo:         {"P-Access-Network-Info", 0, list},
	HdrPChargingFunctionAddresses: {"P-Charging-Function-Addresses", 0, list},
	HdrPChargingVector:            {"P-Charging-Vector", 0, one},
	HdrPServedUser:                {"P-Served-User", 0, one},
	HdrPEarlyMedia:                {"P-Early-Media", 0, list},
	HdrPPreferredService:          {"P-Preferred-Service", 0, list},
	HdrPAssertedService:           {"P-Asserted-Service", 0, list},
	HdrPProfileKey:                {"P-Profile-Key", 0, one},
	HdrPUserDatabase:              {"P-User-Database", 0, one},
	HdrPMediaAuthorization:        {"P-Media-Authorization", 0, list},
	HdrPPrivateNetworkIndication:  {"P-Private-Network-Indication", 0, one},
	HdrPAnswerState:               {"P-Answer-State", 0, many},
	HdrPRefusedURIList:            {"P-Refused-URI-List", 0, list},
	HdrPDCSBillingInfo:            {"P-DCS-Billing-Info", 0, many},
	HdrPDCSLAES:                   {"P-DCS-LAES", 0, many},
	HdrPDCSRedirect:               {"P-DCS-Redirect", 0, many},
	HdrPDCSTracePartyID:           {"P-DCS-Trace-Party-ID", 0, many},
	HdrPDCSOSPS:                   {"P-DCS-OSPS", 0, many},
	HdrPrivacy:                    {"Privacy", 0, one},
	HdrHistoryInfo:                {"History-Info", 0, list},
	HdrDiversion:                  {"Diversion", 0, list},
	HdrSessionExpires:             {"Session-Expires", 'x', one},
	HdrMinSE:                      {"Min-SE", 0, one},
	HdrRSeq:                       {"RSeq", 0, one},
	HdrRAck:                       {"RAck", 0, one},
	HdrSIPETag:                    {"SIP-ETag", 0, one},
	HdrSIPIfMatch:                 {"SIP-If-Match", 0, one},
	HdrReferTo:                    {"Refer-To", 'r', one},
	HdrReferredBy:                 {"Referred-By", 'b', one},
	HdrReferSub:                   {"Refer-Sub", 0, one},
	HdrReferEventsAt:              {"Refer-Events-At", 0, one},
	HdrReplaces:                   {"Replaces", 0, one},
	HdrJoin:                       {"Join", 0, one},
	HdrTargetDialog:               {"Target-Dialog", 0, one},
	HdrIdentity:                   {"Identity", 'y', many},
	HdrIdentityInfo:               {"Identity-Info", 'n', one},
	HdrAcceptContact:              {"Accept-Contact", 'a', list},
	HdrRejectContact:              {"Reject-Contact", 'j', list},
	HdrRequestDisposition:         {"Request-Disposition", 'd', list},
	HdrReason:                     {"Reason", 0, list},
	HdrRetryAfter:                 {"Retry-After", 0, one},
	HdrWarning:                    {"Warning", 0, list},
	HdrGeolocation:                {"Geolocation", 0, list},
	HdrGeolocationRouting:         {"Geolocation-Routing", 0, one},
	HdrGeolocationError:           {"Geolocation-Error", 0, many},
	HdrMaxBreadth:                 {"Max-Breadth", 0, one},
	HdrFeatureCaps:                {"Feature-Caps", 0, list},
	HdrFlowTimer:                  {"Flow-Timer", 0, one},
	HdrUserAgent:                  {"User-Agent", 0, many},
	HdrServer:                     {"Server", 0, many},
	HdrDate:                       {"Date", 0, one},
	HdrOrganization:               {"Organization", 0, many},
	HdrSubject:                    {"Subject", 's', many},
	HdrTimestamp:                  {"Timestamp", 0, many},
	HdrPriority:                   {"Priority", 0, one},
	HdrInReplyTo:                  {"In-Reply-To", 0, tokens},
	HdrReplyTo:                    {"Reply-To", 0, many},
	HdrAlertInfo:                  {"Alert-Info", 0, list},
	HdrCallInfo:                   {"Call-Info", 0, list},
	HdrErrorInfo:                  {"Error-Info", 0, list},
	HdrAnswerMode:                 {"Answer-Mode", 0, many},
	HdrPrivAnswerMode:             {"Priv-Answer-Mode", 0, many},
	HdrResourcePriority:           {"Resource-Priority", 0, list},
	HdrAcceptResourcePriority:     {"Accept-Resource-Priority", 0, list},
	HdrAdditionalIdentity:         {"Additional-Identity", 0, many},
	HdrAttestationInfo:            {"Attestation-Info", 0, many},
	HdrOriginationID:              {"Origination-Id", 0, many},
	HdrCellularNetworkInfo:        {"Cellular-Network-Info", 0, many},
	HdrRestorationInfo:            {"Restoration-Info", 0, many},
	HdrRelayedCharge:              {"Relayed-Charge", 0, many},
	HdrServiceInteractInfo:        {"Service-Interact-Info", 0, many},
	HdrPriorityShare:              {"Priority-Share", 0, many},
	HdrResponseSource:             {"Response-Source", 0, many},
	HdrResourceShare:              {"Resource-Share", 0, many},
	HdrSessionID:                  {"Session-ID", 0, many},
	HdrUserToUser:                 {"User-to-User", 0, list},
	HdrRecvInfo:                   {"Recv-Info", 0, list},
	HdrInfoPackage:                {"Info-Package", 0, one},
	HdrPolicyContact:              {"Policy-Contact", 0, list},
	HdrPolicyID:                   {"Policy-ID", 0, many},
	HdrPermissionMissing:          {"Permission-Missing", 0, list},
	HdrTriggerConsent:             {"Trigger-Consent", 0, list},
	HdrSuppressIfMatch:            {"Suppress-If-Match", 0, one},
	HdrAccept:                     {"Accept", 0, list},
	HdrAcceptEncoding:             {"Accept-Encoding", 0, list},
	HdrAcceptLanguage:             {"Accept-Language", 0, list},
	HdrContentType:                {"Content-Type", 'c', one},
	HdrContentDisposition:         {"Content-Disposition", 0, one},
	HdrContentEncoding:            {"Content-Encoding", 'e', list},
	HdrContentLanguage:            {"Content-Language", 0, list},
	HdrContentID:                  {"Content-ID", 0, many},
	HdrContentLength:              {"Content-Length", 'l', one},
	HdrMIMEVersion:                {"MIME-Version", 0, many},
}

// String returns the canonical name of the field, "" for HdrOther.
func (h HeaderID) String() string {
	if h < numHeaders {
		return headerDefs[h].name
	}
	return ""
}
