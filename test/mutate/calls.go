package main

import "imsafe/secure"

// calls are the mutants of who names a call of others, or one medium in the place of another.
var calls = []Mutant{
	{secure.CSAuthorizationGrantLeg, "clients-not-asked", "imsbox/scscf/way.go",
		`	if s.barsRoute(in, user.served) || s.intrudes(x.Task(), in) {`, `	if s.barsRoute(in, user.served) {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "any-user-is-an-end", "imsbox/scscf/transfer.go",
		`has && len(impi) > 0 {`, `has || len(impi) > 0 {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "join-forgotten", "imsbox/scscf/transfer.go",
		`[...]sip.HeaderID{sip.HdrReplaces, sip.HdrJoin}`, `[...]sip.HeaderID{sip.HdrReplaces}`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "anybody-sends", "imsbox/scscf/transfer.go",
		`; sound && s.isEnd(in, &c) {`, `; sound {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "not-within-dialogs", "imsbox/scscf/way.go",
		`	if s.intrudes(x.Task(), in) {`, `	if len(in.Msg.ToTag()) == 0 && s.intrudes(x.Task(), in) {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "platforms-may-call", "imsbox/scscf/platforms.go",
		`	if s.barsRoute(in, service) || s.intrudes(x.Task(), in) {`, `	if s.barsRoute(in, service) {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "in-the-path-is-an-end", "imsbox/scscf/transfer.go",
		`		return has && part != hostedBetween`, `		return has || part != hostedBetween`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "platforms-add-what-they-like", "imsbox/scscf/platforms.go",
		`		if !slices.Equal(takenBy(in.Msg), stay.taken) && s.intrudes(`, `		if slices.Equal(takenBy(in.Msg), stay.taken) && s.intrudes(`, []string{"CS-08"}},
	{secure.CSAvailabilityMediaShape, "payload-types-of-all-lines", "proto/rtpport/bundle.go",
		`		case !n.has(pt):`, `		case n.Relay == nil:`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "one-line-for-all", "iface/clientservice/bundle.go",
		`Relay: other.fromAccess})`, `Relay: st.fromAccess})`, []string{"CI-39"}},
}

// more are the mutants of who has a right, and takes more than that, or the same once more.
var more = []Mutant{
	{secure.CSAuthenticationGrant, "speaks", "imsbox/scscf/mediaright.go",
		`a.send && !has("send", "mix")`, `a.send && !has("send", "receive", "mix")`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "more-within-dialogs", "imsbox/scscf/vouchdialog.go",
		`		if s.exceeds(right, m.Body(), host) {`, `		if s.exceeds(right, nil, host) {`, []string{"CS-15"}},
	{secure.CSAuthenticationGrant, "first-medium-alone", "imsbox/scscf/mediaright.go",
		`		medium.record = medium.record || session.record
`, `		if all.any() {
			return
		}
`, []string{"CS-15"}},
	{secure.CSIntegrityFingerprint, "acks-not-judged", "imsbox/scscf/vouchdialog.go",
		`m == sip.PRACK || m == sip.ACK`, `m == sip.PRACK`, []string{"CS-05"}},
	{secure.CSIntegrityFingerprint, "updates-not-judged", "imsbox/scscf/vouchdialog.go",
		`m == sip.INVITE || m == sip.UPDATE ||`, `m == sip.INVITE ||`, []string{"CS-05"}},
	{secure.CSIntegrityFingerprint, "four-keys", "proto/passport/keys.go",
		`	for len(body) > 0 {`, `	for len(body) > 0 && len(keys) < 4 {`, []string{"CS-05"}},
	{secure.CSIntegritySRTPReplay, "reports-again", "proto/rtpport/keys.go",
		`, srtp.SRTCPReplayDetectorFactory(l.replays(maxControlIndex))`, `, srtp.SRTCPNoReplayProtection()`, []string{"CS-06"}},
	{secure.CSAvailabilityPortBudget, "a-fifth-medium", "iface/clientservice/gateway.go",
		`	if len(s.streams) >= maxStreams && g.`, `	if len(s.streams) > maxStreams && g.`, []string{"CS-07"}},
	{secure.CSAvailabilityMediaShape, "name-as-it-is", "proto/rtpport/shapecontrol.go",
		`		n, only, ok := chunk(p)`, `		n, only, ok := chunk(p)
		if ok {
			w.cname = string(itemOf(p[4:n], itemCNAME))
		}`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "behind-a-receivers-report", "proto/rtpport/shapecontrol.go",
		`		return w.keep(p, 8+24*count)`, `		return w.keep(p, len(p))`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "behind-a-senders-report", "proto/rtpport/shapecontrol.go",
		`		return w.keep(p, 28+24*count)`, `		return w.keep(p, len(p))`, []string{"CI-39"}},
	{secure.ISIntegrityShWrite, "reading-is-writing", "imsbox/hss/permissions.go",
		`	return g.Ops&op != 0 &&`, `	return g.Ops != 0 &&`, []string{"IS-06"}},
}
