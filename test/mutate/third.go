package main

import "imsafe/secure"

// third are the mutants of a third reader with ill will, who looked at what had been written last, at lists and tables of which each entry stops something, and at what a
// service leads others to.
var third = []Mutant{
	// Where does it lead?
	{secure.CIAuthorizationRoutePolicy, "services-dial", "imsbox/scscf/platforms.go",
		`	if s.barsRoute(in, service) || s.intrudes(`, `	if service == "" || s.intrudes(`, []string{"CI-32"}},
	{secure.CIAuthorizationRoutePolicy, "diversions-not-asked", "imsbox/scscf/routes.go",
		`	return string(in.Msg.RequestURI()) != c.target && s.bars`, `	return c.target == "" && s.bars`, []string{"CI-32"}},
	{secure.CIAuthorizationRoutePolicy, "diversions-of-callers-not-asked", "imsbox/scscf/platforms.go",
		`	if s.barsReturned(in, &c) {`, `	if c.onward != toHome && s.barsReturned(in, &c) {`, []string{"CI-32"}},
	{secure.CIAuthorizationRoutePolicy, "referrals-of-services-not-asked", "imsbox/scscf/routes.go",
		`		string(in.Msg.Get(sip.HdrReferTo)) != c.refers && s.bars`, `		c.target == "" && s.bars`, []string{"CI-32"}},
	{secure.ISIntegrityFailClosed, "what-takes-too-long-passes", "imsbox/scscf/platforms.go",
		`	if e.Err() != nil && s.failsClosed("filter-work") {`, `	if e.Err() != nil && c.filter == nil {`, []string{"IS-09"}},

	// What does a service describe, and when?
	{secure.CSAuthenticationGrant, "early-answers", "imsbox/scscf/platforms.go",
		`		if judged(r) != "" { // nobody`, `		if judged(r) != "" && r.Status() == 200 { // nobody`, []string{"IS-12"}},
	{secure.CSIntegrityFingerprint, "early-answers-within", "imsbox/scscf/vouchdialog.go",
		`		if d.response(r) != "" { // nobody`, `		if d.response(r) != "" && r.Status() == 200 { // nobody`, []string{"CS-18"}},
	{secure.CSAuthenticationGrant, "answers-without-a-fingerprint", "imsbox/scscf/vouch.go",
		`len(keys) == 0 && !others && !asksOf(r.Msg.Body()).any() // it`, `len(keys) == 0 && !others // it`, []string{"IS-12"}},
	{secure.CSAuthenticationGrant, "calls-without-a-fingerprint", "imsbox/scscf/vouch.go",
		`	speaks := len(keys) > 0 || asksOf(in.Msg.Body()).any() // in`, `	speaks := len(keys) > 0 // in`, []string{"IS-12"}},
	{secure.CSAuthenticationGrant, "more-in-passing", "imsbox/scscf/vouch.go",
		`	case may && s.exceeds(right, in.Msg.Body(), stay.host):`, `	case may && s.exceeds(right, nil, stay.host):`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "more-in-own-calls", "imsbox/scscf/vouch.go",
		`|| may && s.exceeds(right, in.Msg.Body(), host))`, `|| may && s.exceeds(right, nil, host))`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "paused-is-no-recording", "imsbox/scscf/mediaright.go",
		`	case "a=record:on", "a=record:paused":`, `	case "a=record:on":`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "recording-of-the-session", "imsbox/scscf/mediaright.go",
		`		medium.record = medium.record || session.record
`, ``, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "direction-of-the-session", "imsbox/scscf/mediaright.go",
		`asks{send: session.send, receive: session.receive}`, `asks{send: session.send}`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "listening-alone", "imsbox/scscf/mediaright.go",
		`		return asks{receive: true, named: true}`, `		return asks{named: true}`, []string{"CS-15"}},

	// Whose call, token, code is it?
	{secure.CSAuthorizationGrantLeg, "sent-one-sent-all", "imsbox/scscf/transfer.go",
		`	return transfer{string(c.callID), dialog.NameBetween(c.tag, c.other), impi}`, `	return transfer{string(c.callID), dialog.NameBetween(c.tag, c.other), ""}`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "two-calls-at-once", "imsbox/scscf/transfer.go",
		`		if *tag != nil {`, `		if *tag != nil && len(name) == 0 {`, []string{"CS-08"}},
	{secure.CSAuthenticationToken, "proof-of-long-ago", "proto/oauth/proof.go",
		`	case since > window || since < -window:`, `	case since < -window:`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "proof-of-tomorrow", "proto/oauth/proof.go",
		`	case since > window || since < -window:`, `	case since > window:`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "any-code", "iface/clientweb/code.go",
		`		if hmac.Equal(sum(key, says), b) {`, `		if len(sum(key, says)) == len(b) {`, []string{"CS-14"}},
	{secure.CSAuthenticationToken, "number-alone-is-sealed", "iface/clientweb/code.go",
		`	mac.Write(b)
	return mac.Sum(b)`, `	mac.Write(b[:numberSize])
	return mac.Sum(b)`, []string{"CS-14"}},

	// What may a client say?
	{secure.CIIntegrityHeaderEdge, "service-route-stays", "iface/clientims/headers.go",
		`	sip.HdrPVisitedNetworkID, sip.HdrPath, sip.HdrServiceRoute,`, `	sip.HdrPVisitedNetworkID, sip.HdrPath,`, []string{"CI-09"}},
	{secure.CIIntegrityHeaderEdge, "surveillance-stays", "iface/clientims/headers.go",
		`sip.HdrPDCSLAES, `, ``, []string{"CI-09"}},
	{secure.CIIntegrityHeaderEdge, "source-of-an-answer-stays", "iface/clientims/headers.go",
		`sip.HdrPriorityShare, sip.HdrResponseSource,
	sip.HdrIdentity`, `sip.HdrPriorityShare,
	sip.HdrIdentity`, []string{"CI-09"}},

	// What does a service do as if it were given, or past whoever judges it?
	{secure.CSAuthenticationGrant, "as-if-given-back", "iface/imsservice/guard.go",
		`	m.Remove(sip.HdrRoute)
	m.Remove(sip.HdrRecordRoute)`, `	m.Remove(sip.HdrRecordRoute)`, []string{"IS-12"}},
	{secure.ISAuthorizationManifest, "way-of-its-own", "iface/imsservice/guard.go",
		`	m.Remove(sip.HdrRoute)
	m.Remove(sip.HdrRecordRoute)`, `	m.Remove(sip.HdrRoute)`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "past-whoever-judges", "iface/imsservice/guard.go",
		`	if to != g.door.cfg.SCSCF { // past`, `	if to == "" { // past`, []string{"CS-18"}},
	{secure.ISAuthorizationManifest, "messages-are-nobodys", "iface/imsservice/serve.go",
		`	case sip.MESSAGE:
		return g.needs(isc.MessageReceive)
`, ``, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "given-once-given-always", "iface/imsservice/given.go",
		`	*g = slices.Delete(*g, i, i+1)
`, ``, []string{"IS-02"}},
	{secure.CIAvailabilityBudgetUser, "messages-within-are-free", "imsbox/pcscf/way.go",
		`	if in.Msg.Method() == sip.MESSAGE { // each`, `	if in.Msg.Method() == sip.PUBLISH { // each`, []string{"CI-34"}},
	{secure.CIIntegrityDialogOwner, "calls-that-are-over", "imsbox/pcscf/session.go",
		`	case standsAlone(in.Msg.Method()) && !p.inCall(in, e.association):`, `	case standsAlone(in.Msg.Method()) && e.path:`, []string{"CI-34"}},

	// Whom does it know?
	{secure.ISConfidentialityHeaderMin, "users-by-their-names", "iface/imsservice/headers.go",
		`		v.cover(m)
`, ``, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "who-refers", "iface/imsservice/veil.go",
		`	sip.HdrHistoryInfo, sip.HdrReferTo, sip.HdrReferredBy}`, `	sip.HdrHistoryInfo, sip.HdrReferTo}`, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "who-was-called-before", "iface/imsservice/veil.go",
		`	sip.HdrHistoryInfo, sip.HdrReferTo, sip.HdrReferredBy}`, `	sip.HdrReferTo, sip.HdrReferredBy}`, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "who-is-vouched-for", "iface/imsservice/veil.go",
		`var telling = []sip.HeaderID{sip.HdrIdentity, `, `var telling = []sip.HeaderID{`, []string{"IS-10"}},
}
