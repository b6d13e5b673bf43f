package main

import "imsafe/secure"

// reader are the mutants of who read each enforcement point with ill will: the wrong key of a map, a bound that is one too large, an identity
// out of a header, one of two forms that was forgotten.
var reader = []Mutant{
	// C-I: who, and may he?
	{secure.CIAuthenticationAKA, "realm-is-enough", "imsbox/scscf/challenge.go",
		`string(c.Realm) == s.cfg.HomeDomain && digest.VerifyAKA(`, `string(c.Realm) == s.cfg.HomeDomain || digest.VerifyAKA(`, []string{"CI-15", "CI-16"}},
	{secure.CIAuthenticationDigestPolicy, "many-guesses", "imsbox/scscf/digestguess.go",
		`t.wrong >= s.budget && t.until > now`, `t.wrong > 20*s.budget && t.until > now`, []string{"CI-27"}},
	{secure.CIAuthenticationFromCheck, "any-number-of-the-home-domain", "imsbox/pcscf/from.go",
		`bytes.EqualFold(uri.Host, []byte(p.cfg.Home)) && isNumberOf(in.Proof, uri.User)`, `bytes.EqualFold(uri.Host, []byte(p.cfg.Home))`, []string{"CI-08"}},
	{secure.CIAuthenticationFromCheck, "address-as-display", "imsbox/pcscf/from.go",
		`		return !ok || !sender.Owns([]byte(identity))`, `		return !ok && !sender.Owns([]byte(identity))`, []string{"CI-08"}},
	{secure.CIAuthenticationFromCheck, "other-scripts-as-display", "imsbox/pcscf/from.go",
		`			run = append(run, '?')`, `			run = run[:0]`, []string{"CI-08"}},

	// C-I: what he says.
	{secure.CIIntegrityHeaderEdge, "whom-it-is-for-stays", "iface/clientims/headers.go",
		`sip.HdrPAssociatedURI, sip.HdrPCalledPartyID,`, `sip.HdrPAssociatedURI,`, []string{"CI-09", "CI-24"}},
	{secure.CIConfidentialityPrivacyEgress, "cell-of-the-callee", "imsbox/pcscf/egress.go",
		`	{sip.HdrPAccessNetworkInfo, "location"}, {sip.HdrCellularNetworkInfo, "location"},
	{sip.HdrGeolocation, "location"}, {sip.HdrGeolocationError, "location"},`, `	{sip.HdrCellularNetworkInfo, "location"},
	{sip.HdrGeolocation, "location"}, {sip.HdrGeolocationError, "location"},`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "contact-of-the-anonymous", "imsbox/pcscf/egress.go",
		`	if d&noContact == 0 || !m.Has(sip.HdrContact)`, `	if d&noContact != 0 || !m.Has(sip.HdrContact)`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "history-of-the-anonymous", "imsbox/pcscf/egress.go",
		`	if m.Has(sip.HdrHistoryInfo) {
		withholdHistory(m, asked)`, `	if m.Has(sip.HdrHistoryInfo) && asked == 0 {
		withholdHistory(m, asked)`, []string{"CI-38"}},

	// C-I: how much.
	{secure.CIAvailabilityBudgetUser, "account-by-from", "imsbox/pcscf/budget.go",
		`p.budgets.spend(in.Proof.IMPI(), k,`, `p.budgets.spend(string(in.Msg.Get(sip.HdrFrom)), k,`, []string{"CI-19", "CI-34"}},
	{secure.CIAvailabilityBudgetVector, "name-not-in-the-key", "iface/clientims/afford.go",
		`	return b.keys.And(c.name, where[:])`, `	return b.keys.And(b.keys.Of(c.nonce), where[:])`, []string{"CI-18", "CI-13"}},
	{secure.CIAvailabilityTrafficShape, "bodies-not-counted", "iface/clientims/traffic.go",
		`	if m.Method() == sip.MESSAGE {
		size -= len(m.Body())`, `	if m.Method() != sip.REGISTER {
		size -= len(m.Body())`, []string{"CI-39"}},
	{secure.CIAvailabilityTrafficShape, "acks-not-counted", "iface/clientims/port.go",
		"	p.admitRequest(m)\n	p.lighten(m, p.door.budgets.userOf(&a))\n	p.door.ports.Table.Pass", "	p.admitRequest(m)\n	p.door.ports.Table.Pass", []string{"CI-39"}},
	{secure.CIAvailabilityEarlyDialog, "any-number-of-a-callee", "imsbox/scscf/early.go",
		`e.counts[callee] > maxEarlyCallee || e.counts[pair] > maxEarlyPair`, `e.counts[pair] > maxEarlyPair`, []string{"CI-33"}},

	// I-S.
	{secure.ISAuthenticationRevocation, "serial-not-looked-at", "iface/imsservice/registry.go",
		`s.revoked[revokedKey(f)] || s.revoked[revokedSerial(leaf.SerialNumber.Text(16))] || e.State`, `e.State`, []string{"IS-07"}},
	{secure.ISAuthorizationManifest, "any-answer", "iface/imsservice/serve.go",
		`	case r.Status()/100 == 2 && !stay.passesOn(r.Msg):`, `	case r.Status()/100 == 2 && stay == nil:`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-redirection", "iface/imsservice/serve.go",
		`	case r.Status()/100 == 3:`, `	case r.Status() == 300:`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-host-in-the-path", "iface/imsservice/guard.go",
		`		if !g.isHost(m.Nth(sip.HdrRecordRoute, i)) {`, `		if !g.isHost(m.Nth(sip.HdrRecordRoute, i)) && i > 8 {`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-contact", "iface/imsservice/guard.go",
		`!bytes.Equal(m.Get(sip.HdrContact), original.Get(sip.HdrContact)) && !g.isHost(m.Get(sip.HdrContact))`, `!m.Has(sip.HdrContact) && original.Has(sip.HdrContact)`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-privacy", "iface/imsservice/guard.go",
		`!sameValues(m, original, sip.HdrPrivacy) && !g.service`, `m.Has(sip.HdrPrivacy) && !original.Has(sip.HdrPrivacy) && !g.service`, []string{"IS-02"}},
	{secure.ISAuthorizationAssert, "from-not-looked-at", "iface/imsservice/guard.go",
		`	if !g.speaksFor(asserted) || !g.speaksFor(m.Get(sip.HdrFrom)) {`, `	if !g.speaksFor(asserted) {`, []string{"IS-03"}},
	{secure.ISAuthorizationAssert, "asserted-not-looked-at", "iface/imsservice/guard.go",
		`	if !g.speaksFor(asserted) || !g.speaksFor(m.Get(sip.HdrFrom)) {`, `	if !g.speaksFor(m.Get(sip.HdrFrom)) {`, []string{"IS-03"}},
	{secure.ISAuthorizationAssert, "any-connected", "iface/imsservice/serve.go",
		`		if !stay.connects(id) && !g.speaksFor(id) && g.forges`, `		if stay.host == "" && !g.speaksFor(id) && g.forges`, []string{"IS-03"}},
	{secure.ISConfidentialityHeaderMin, "charging-shown", "iface/imsservice/headers.go",
		`		if !s.SeesHeader(kind) {`, `		if !s.SeesHeader(kind) && kind != isc.HeadersCharging {`, []string{"IS-10"}},
	{secure.ISConfidentialityShRead, "any-document", "imsbox/hss/permissions.go",
		`		return indication == service`, `		return indication != ""`, []string{"IS-05"}},
	{secure.ISConfidentialityShRead, "others-criteria", "imsbox/hss/sh.go",
		`x.Reference == sh.RefInitialFilterCriteria && !ownsServer(x.as, x.ServerName)`, `x.Reference == sh.RefInitialFilterCriteria && x.as.Host == ""`, []string{"IS-05"}},
	{secure.ISIntegrityShWrite, "any-document", "imsbox/hss/permissions.go",
		`		return indication == service`, `		return indication != ""`, []string{"IS-06"}},
	{secure.ISAvailabilityQuota, "any-rate", "iface/imsservice/quota.go",
		`	a.tokens--`, `	_ = a.tokens`, []string{"IS-08"}},
	{secure.ISAvailabilityQuota, "any-number-at-once", "iface/imsservice/quota.go",
		`	a.open++`, `	_ = a.open`, []string{"IS-08"}},

	// C-S.
	{secure.CSConfidentialityKeyFresh, "key-of-a-description-again", "iface/clientservice/refuse.go",
		`	if _, known := r.seen[key]; known {`, `	if _, known := r.seen[key]; known && key == 0 {`, []string{"CS-06"}},
	{secure.CSConfidentialityMediaFloor, "keys-in-clear-signalling", "imsbox/pcscf/floor.go",
		`side == iq.Access && k == sdp.SDES && c.standing.confidential:`, `side == iq.Access && k == sdp.SDES:`, []string{"CS-03"}},
	{secure.CSAuthenticationDTLS, "any-certificate", "proto/rtpport/dtls.go",
		`!sdp.MatchFingerprints(l.agreed.Fingerprints, s.PeerCertificates[0]) && l.refuses`, `len(s.PeerCertificates[0]) == 0 && l.refuses`, []string{"CS-17"}},
	{secure.CSAuthenticationGrant, "listens", "imsbox/scscf/mediaright.go",
		`a.receive && !has("receive", "record", "mix")`, `a.receive && !has("send", "receive", "record", "mix")`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "records", "imsbox/scscf/mediaright.go",
		`a.record && !has("record")`, `a.record && !has("receive", "record")`, []string{"CS-15"}},
	{secure.CSAuthenticationToken, "proof-of-another-request", "proto/oauth/proof.go",
		`	case err != nil || there != here || c.Method != method ||`, `	case err != nil || there == here && here == "" || c.Method != method ||`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "proof-of-another-token", "proto/oauth/proof.go",
		`	case token != "" && c.Token != hash(token):`, `	case token != "" && c.Token == "":`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "code-twice", "iface/clientweb/code.go",
		`	c.ages[0][number] = struct{}{}`, `	_ = c.ages[0][number]`, []string{"CS-14"}},
	{secure.CSAuthorizationGrantLeg, "own-making", "imsbox/scscf/vouch.go",
		`		foreign = foreign || !slices.Contains(v.identity, string(value))
	}
	m.Remove(sip.HdrIdentity)`, `		foreign = foreign || !slices.Contains(v.identity, string(value))
	}`, []string{"CS-10"}},

	// Inner wires and management.
	{secure.ManagementAuthenticationAdmin, "viewers-operate", "iface/management/management.go",
		`c.Role >= Viewer && (!known || c.Role >= v.Needs)`, `c.Role >= Viewer && (!known || v.Needs >= Viewer)`, []string{"MG-08"}},
	{secure.ManagementAuthenticationPage, "code-twice", "web/login.go",
		`		l.codes = append(l.codes[:i], l.codes[i+1:]...)`, `		_ = l.codes[i]`, []string{"MG-06"}},
	{secure.ManagementAuthenticationPage, "cookie-is-enough", "web/login.go",
		`	if i < 0 || !keyed {`, `	if i < 0 || keyed {`, []string{"MG-06"}},
	{secure.ManagementAuthenticationPage, "session-after-its-end", "web/login.go",
		`		l.sessions = append(l.sessions[:i], l.sessions[i+1:]...)`, `		_ = l.sessions[i]`, []string{"MG-06"}},
	{secure.ManagementAuthorizationOrigin, "any-origin", "iface/management/own.go",
		`		return origin != "http://"+r.Host`, `		return origin == "null"`, []string{"MG-07"}},
	{secure.ManagementAuthorizationOrigin, "another-port", "iface/management/own.go",
		`	return site != "" && site != "same-origin" && site != "none" && !leads`, `	return site == "cross-site" && !leads`, []string{"MG-07"}},
}
