package main

import "imsafe/secure"

// second are the mutants of a second reader with ill will: the same line by another path (an answer, a request within a dialog, a control packet), the second of
// two names, lists or applications.
var second = []Mutant{
	{secure.CIAuthenticationAKA, "refresh-in-clear", "imsbox/scscf/challenge.go",
		`	if in.Protection != hop.ProtectionYes && in.Protection != hop.ProtectionTLSYes {
		return false`, `	if in.Protection == hop.ProtectionNo && in.Proof.IMPI() != "" {
		return false`, []string{"CI-15"}},
	{secure.CIAuthorizationProtectedPort, "emergency-opens-all", "iface/clientims/emergency.go",
		`	return a.emergency && len(m.ToTag()) > 0 || d.isEmergency(m)`, `	return a.emergency || len(m.ToTag()) > 0 || d.isEmergency(m)`, []string{"CI-01", "CI-30"}},
	{secure.ISAvailabilityQuota, "begun-is-free", "iface/imsservice/guard.go",
		`	if g.door.overdraws(g.service, false, g.source, g.now) {`, `	if g.door.overdraws(g.service, false, g.source, g.now) && g.callID == "" {`, []string{"IS-08"}},
	{secure.ISAuthorizationManifest, "any-method", "iface/imsservice/guard.go",
		`	if !known {
		if r := g.lacks("method"); r != nil {`, `	if !known {
		if r := g.lacks("method"); r != nil && m.Method() == sip.REGISTER {`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-referral", "iface/imsservice/guard.go",
		`	if m.Method() != sip.REFER || bytes.Equal(`, `	if m.Method() == sip.REFER || bytes.Equal(`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "refers-whomever", "iface/imsservice/given.go",
		`sip.MESSAGE: isc.MessageSend, sip.REFER: isc.SessionRedirect}`, `sip.MESSAGE: isc.MessageSend}`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "writes-within", "iface/imsservice/given.go",
		`sip.MESSAGE: isc.MessageSend, sip.REFER: isc.SessionRedirect}`, `sip.REFER: isc.SessionRedirect}`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "refers-elsewhere", "iface/imsservice/given.go",
		`sha256.Sum256(uriOf(m.Get(sip.HdrReferTo)))}`, `sha256.Sum256(nil)}`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-text-within", "iface/imsservice/given.go",
		`	return said{m.Method(), sha256.Sum256(m.Body())}`, `	return said{m.Method(), sha256.Sum256(nil)}`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-field-of-a-request", "iface/imsservice/guard.go",
		`	m := in.Msg
	g.keepSpoken(m)`, `	m := in.Msg`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-field-of-an-answer", "iface/imsservice/serve.go",
		`	g := guard{door: d, service: s}
	g.keepSpoken(m)
	v := d.veil(s)`, `	v := d.veil(s)`, []string{"IS-02"}},
	{secure.ISAuthorizationAssert, "left-out", "iface/imsservice/guard.go",
		`	if !m.Has(sip.HdrPAssertedIdentity) && original.Has(sip.HdrPAssertedIdentity) && g.forges`, `	if m.Has(sip.HdrPAssertedIdentity) && original.Has(sip.HdrPAssertedIdentity) && g.forges`, []string{"IS-03"}},
	{secure.ISAvailabilityQuota, "calls-not-counted", "iface/imsservice/quota.go",
		`	case a.open+dialogs >= limits.Sessions:`, `	case a.open >= limits.Sessions:`, []string{"IS-08"}},
	{secure.ISIntegrityODI, "ended-passes", "iface/imsservice/guard.go",
		`	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil {
			return r`, `	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil && fault != isc.FaultEnded {
			return r`, []string{"IS-04"}},
	{secure.ISIntegrityODI, "foreign-passes", "iface/imsservice/guard.go",
		`	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil {
			return r`, `	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil && fault != isc.FaultForeign {
			return r`, []string{"IS-04"}},
	{secure.ISConfidentialityHeaderMin, "all-shown-within", "iface/imsservice/serve.go",
		`	d.visits.names(host, in.Msg)
	d.conceal(s, in.Msg)`, `	d.visits.names(host, in.Msg)`, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "all-shown-in-answers", "iface/imsservice/guard.go",
		`		g.door.conceal(g.service, r.Msg)
		return r`, `		return r`, []string{"IS-10"}},
	{secure.CSConfidentialityHTTPS, "floor-lowered", "iface/clientweb/door.go",
		`		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos`, `		MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true, NextProtos`, []string{"CS-12"}},
	{secure.CSConfidentialityHTTPS, "old-tls-taken", "iface/clientweb/plain.go",
		`|| !d.exposed(hello.Conn.RemoteAddr(), "below-floor") {`, `|| d.exposed(hello.Conn.RemoteAddr(), "below-floor") {`, []string{"CS-12"}},
	{secure.ISAvailabilityQuota, "within-is-free", "iface/imsservice/quota.go",
		`	a.within--`, `	_ = a.within`, []string{"IS-08"}},
	{secure.ISIntegrityShWrite, "who-reads-writes", "imsbox/hss/permissions.go",
		`	return g.Ops&op != 0 && (slices`, `	return g.Ops != 0 && (slices`, []string{"IS-16"}},
	{secure.ISAuthorizationManifest, "any-contact-of-an-answer", "iface/imsservice/serve.go",
		`!bytes.Equal(uriOf(now), uriOf(was)) && g.lacks`, `bytes.Equal(uriOf(now), uriOf(was)) && g.lacks`, []string{"IS-02"}},
	{secure.CSIntegritySRTPVerify, "control-not-verified", "proto/rtpport/receive.go",
		`			if !l.unverified(err, len(b)-rtcpHeader-trailer) {
				return`, `			if !l.unverified(err, len(b)-rtcpHeader-trailer) && len(b) < rtcpHeader+trailer {
				return`, []string{"CS-02", "CS-16"}},
	{secure.CoreAuthenticationMTLS, "any-node-of-ours", "hop/node/wire.go",
		`state.VerifiedChains[0][0].VerifyHostname(peer.Name) == nil {`, `peer.Name != "" {`, []string{"ZB-03"}},
	{secure.ManagementAuthenticationPage, "ladders-for-all", "web/web.go",
		`	p.mux.HandleFunc("GET /api/ladder/{id}", p.known(p.ladder, true))`, `	p.mux.HandleFunc("GET /api/ladder/{id}", p.ladder)`, []string{"MG-06"}},
	{secure.ManagementAuthenticationAdmin, "viewers-by-default", "iface/management/management.go",
		`	caller := Caller{UID: uid, PID: pid, Role: s.cfg.Roles[uid]}`, `	caller := Caller{UID: uid, PID: pid, Role: max(s.cfg.Roles[uid], Viewer)}`, []string{"MG-01"}},
	{secure.CSIntegritySRTPReplay, "voice-again", "proto/rtpport/keys.go",
		`srtp.SRTPReplayDetectorFactory(l.replays(maxIndex)), srtp.SRTCP`, `srtp.SRTCP`, []string{"CS-06"}},
	{secure.ManagementAuthenticationPage, "proof-for-all", "web/web.go",
		`	p.mux.HandleFunc("GET /proof", p.known(p.proof, false))`, `	p.mux.HandleFunc("GET /proof", p.proof)`, []string{"MG-06"}},
	{secure.CIAuthorizationProtectedPort, "anybody-answers", "iface/clientims/reply.go",
		`		if p.door.refusesOutside("response"`, `		if known && p.door.refusesOutside("response"`, []string{"CI-01"}},
	{secure.CIAuthenticationSAIdentity, "answers-by-address", "iface/clientims/reply.go",
		`	if asked.Via == by.Via {`, `	if asked.Peer.Addr() == by.Peer.Addr() {`, []string{"CI-11"}},
	{secure.CIAuthenticationSAIdentity, "answers-for-all", "imsbox/pcscf/pcscf.go",
		`	return asked.IMPI() != answers.IMPI() &&`, `	return asked.IMPI() == "" &&`, []string{"CI-01", "CI-11"}},
	{secure.CIAvailabilityDeadline, "messages-never-end", "proto/siptransport/read.go",
		`		d = c.began.Add(o.Unfinished)`, `		d = now.Add(o.Unfinished)`, []string{"CI-22"}},
	{secure.CIAvailabilityDeadline, "hello-for-ever", "proto/siptransport/read.go",
		`			_ = c.nc.SetDeadline(time.Unix(1, 0)) // long`, `			_ = c.nc.SetWriteDeadline(time.Unix(1, 0)) // long`, []string{"CI-22"}},
	{secure.CoreAuthenticationMTLS, "questions-of-anybody", "hop/node/wire.go",
		`	if p.peerOf(f) == nil && p.w`, `	if p.peerOf(f) == nil && string(data[:min(6, len(data))]) != "INVITE" && p.w`, []string{"CI-06"}},
	{secure.CIAvailabilityPathProof, "nobody-receives", "iface/clientims/interval.go",
		`	return seconds == i.of(a, age) ||`, `	return age > 0 && seconds == i.of(a, age) && age < 1 ||`, []string{"CI-18"}},
	{secure.CIAvailabilityPathProof, "one-interval-for-all", "iface/clientims/interval.go",
		`	octets := a.As16()`, `	octets := [16]byte{a.As16()[15] & 0}`, []string{"CI-18"}},
}
