package main

import "imsafe/secure"

// lines are the mutants that a search by machine has left: each condition of the controls was turned to always and to never, and the rows of those that nobody noticed have
// learnt what they stop.
var lines = []Mutant{
	{secure.CIIntegritySecAgree, "client-counted-alone", "proto/secagree/said.go",
		`		if !more || line != string(v) {`, `		if !more || len(v) > 0 && line == "" {`, []string{"CI-02", "CI-03"}},
	{secure.CIIntegritySecAgree, "verify-counted-alone", "proto/secagree/said.go",
		`		if !bytes.Equal(values[i], entries[i].AppendTo(space[:0])) {`, `		if bytes.Equal(values[i], entries[i].AppendTo(space[:0])[:0]) {`, []string{"CI-03"}},
	{secure.CIIntegritySecAgree, "one-for-another", "proto/secagree/said.go",
		`(taken[at] || !some[i].same(&others[at], preference))`, `(taken[at] || some[i].Mechanism == "" && !preference)`, []string{"CI-02", "CI-03"}},
	{secure.CIAuthenticationFromCheck, "small-at-sign", "imsbox/pcscf/from.go",
		`"@\uff20\ufe6b") ||`, `"@\uff20") ||`, []string{"CI-08"}},
	{secure.CIAuthenticationFromCheck, "scheme-alone-is-a-name", "imsbox/pcscf/from.go",
		`\ufe6b") || hasScheme(name) {`, `\ufe6b") {`, []string{"CI-08"}},
	{secure.CIAuthenticationFromCheck, "other-scripts-are-plain", "imsbox/pcscf/from.go",
		`		if (c|0x20 < 'a' || c|0x20 > 'z') && c != ' ' {`, `		if c|0x20 < 'a' && c != ' ' {`, []string{"CI-08"}},
	{secure.CIAuthorizationRoutePolicy, "local-numbers-are-none", "imsbox/scscf/routes.go",
		`	case strings.HasPrefix(context, "+"):`, `	case context == "+":`, []string{"CI-32"}},
	{secure.CIAvailabilityBudgetSource, "datagrams-not-counted", "iface/clientims/afford.go",
		`	case !b.datagrams.take(&s, now).Granted():`, `	case b.datagrams.source == nil:`, []string{"CI-18"}},
	{secure.CIAvailabilityPathProof, "datagrams-of-strangers-not-counted", "iface/clientims/afford.go",
		`	case !proven && !b.strangers.Take(now).Granted():`, `	case !proven && b.strangers == nil:`, []string{"CI-18"}},
	{secure.CIAvailabilityBudgetSource, "acks-not-counted", "iface/clientims/afford.go",
		`	if b.clients.Take(b.keys.And(b.client(a.ref), []byte("ACK")), p.shard.Now()).Granted() {`, `	if b.clients != nil {`, []string{"CI-42"}},
	{secure.ISAuthorizationManifest, "record-routes-not-compared", "iface/imsservice/guard.go",
		`			if own < 0 || !bytes.Equal(`, `			if m == original && !bytes.Equal(`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "called-from-elsewhere", "iface/imsservice/guard.go",
		`	if !g.isHost(m.Get(sip.HdrContact)) && m.Method().MakesDialog() {`, `	if !g.isHost(m.Get(sip.HdrContact)) && m.Method() == sip.SUBSCRIBE {`, []string{"IS-02"}},
	{secure.ISAuthorizationAssert, "updates-not-judged", "iface/imsservice/guard.go",
		`	if m.Method() != sip.INVITE && m.Method() != sip.UPDATE || may(from)`, `	if m.Method() != sip.INVITE || may(from)`, []string{"IS-03"}},
	{secure.CIConfidentialityDigestRealm, "responses-passed-on", "imsbox/scscf/digest.go",
		`			s.dropProxyCredentials(in.Msg)
`, ``, []string{"CI-28"}},
	{secure.CIConfidentialityPrivacyEgress, "said-once-is-forgotten", "imsbox/pcscf/egress.go",
		`	if d&anonymity != 0 {`, `	if d&endOfDisclosure != 0 {`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "locations-not-looked-for", "imsbox/pcscf/location.go",
		`	return isType(kind, typeLocation) ||`, `	return`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "entries-not-looked-for", "imsbox/pcscf/egress.go",
		`	case hasPrivateEntry(m):`, `	case hasPrivateEntry(m) && asked != 0:`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "location-in-the-body", "imsbox/pcscf/location.go",
		`	case isType(kind, typeLocation):`, `	case isType(kind, "location/pidf+xml"):`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "location-in-a-part", "imsbox/pcscf/location.go",
		`		if rest, dropped := withoutLocation(kind, m.Body()); dropped {`, `		if rest, dropped := withoutLocation(kind, m.Body()); dropped && rest == nil {`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "reply-to-shown", "imsbox/pcscf/egress.go",
		`	{sip.HdrReplyTo, privacyUser}, `, `	`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "referrer-shown", "imsbox/pcscf/egress.go",
		`, {sip.HdrReferredBy, privacyID | privacyUser},`, `,`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "commas-not-read", "imsbox/pcscf/privacy.go",
		`return r == ';' || r == ','`, `return r == ';'`, []string{"CI-38"}},
	{secure.CIConfidentialityPrivacyEgress, "entries-say-nothing", "imsbox/pcscf/egress.go",
		`(all || isPrivateEntry(v))`, `all`, []string{"CI-38"}},
	{secure.CSAuthenticationToken, "proofs-forgotten-soon", "proto/oauth/proof.go",
		`	if !now.Before(p.next) {`, `	if len(p.ages[0].of) > 0 || !now.Before(p.next) {`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "any-signature", "proto/oauth/oauth.go",
		`	if err != nil {
		return ErrToken
	}
	d :=`, `	if err != nil {
		payload = signed.UnsafePayloadWithoutVerification()
	}
	d :=`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "any-method", "proto/oauth/proof.go",
		`there != here || c.Method != method ||`, `there != here ||`, []string{"CS-11"}},
	{secure.CSAvailabilityMediaShape, "other-profiles-pass", "proto/rtpport/shape.go",
		`		return false, true
	}
	if long`, `		return true, false
	}
	if long`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "long-elements-pass", "proto/rtpport/shape.go",
		`		case agreed[id/64]&(1<<(id%64)) != 0:`, `		case long, agreed[id/64]&(1<<(id%64)) != 0:`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "any-feedback", "proto/rtpport/shapecontrol.go",
		`kind == payloadFeedback && w.shape.Payload&(1<<count) != 0:`, `kind == payloadFeedback:`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "extended-reports-pass", "proto/rtpport/shapecontrol.go",
		`	case kind == extendedReport && w.shape.Extended:`, `	case kind == extendedReport:`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "padding-of-reports-passes", "proto/rtpport/shapecontrol.go",
		`		w.others, p = true, p[:len(p)-n]`, `		w.others = true
		return w.keep(p, len(p))`, []string{"CI-39"}},
}
