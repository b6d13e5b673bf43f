package main

import "imsafe/secure"

// platforms are the mutants of I-S.
var platforms = []Mutant{
	{secure.ISAuthenticationMTLS, "any-authority", "iface/imsservice/port.go",
		`	return err == nil
}

// standing returns`, `	return leaf != nil
}

// standing returns`, []string{"IS-01"}},
	{secure.ISAuthenticationMTLS, "any-key", "iface/imsservice/registry.go",
		`[]string{e.service.Manifest.Host()}) || !e.hasKey(instance, f):`, `[]string{e.service.Manifest.Host()}) || instance == "":`, []string{"IS-01"}},
	{secure.ISAuthenticationMTLS, "no-certificate", "iface/imsservice/port.go",
		`	how := StandingStranger
	if leaf != nil {`, `	how := StandingActive
	if leaf != nil {`, []string{"IS-01"}},
	{secure.ISConfidentialityMTLS, "clear-taken", "iface/imsservice/port.go",
		`	return !d.ports.Gate.Refuse(secure.ISConfidentialityMTLS, e) && !d.ports.Gate.Refuse(secure.ISIntegrityMTLS, e)`,
		`	return e.Reason != ""`, []string{"IS-13", "IS-14"}},
	{secure.ISIntegrityMTLS, "second-layer-taken", "iface/imsservice/port.go",
		`Refuse(secure.ISConfidentialityMTLS, e) && !d.ports.Gate.Refuse(secure.ISIntegrityMTLS, e)`, `Refuse(secure.ISConfidentialityMTLS, e)`, []string{"IS-13", "IS-14"}},
	{secure.ISAuthenticationRevocation, "revoked-key-good", "iface/imsservice/registry.go",
		`	case s.revoked[revokedKey(f)] || s.revoked[revokedSerial(leaf.SerialNumber.Text(16))] || e.State == StateRevoked:`,
		`	case s.revoked[revokedSerial(leaf.SerialNumber.Text(16))]:`, []string{"IS-07"}},
	{secure.ISAuthenticationRevocation, "suspended-is-active", "iface/imsservice/registry.go",
		`	case !e.active():
		return e.service, StandingSuspended`, `	case e.service == nil:
		return e.service, StandingSuspended`, []string{"IS-07"}},
	{secure.ISAuthenticationRevocation, "never-over", "iface/imsservice/registry.go",
		`	case now.After(leaf.NotAfter) || now.Before`, `	case now.Before`, []string{"IS-07"}},
	{secure.ISAuthenticationRevocation, "connections-stay", "iface/imsservice/port.go",
		`			c.Close()`, `			_ = c`, []string{"IS-07"}},
	{secure.ISAuthorizationManifest, "any-scope", "iface/imsservice/guard.go",
		`	if g.service.May(scope) {
		return nil
	}
	return g.lacks("scope="`, `	if g.service.May(scope) || scope != 0 {
		return nil
	}
	return g.lacks("scope="`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-target", "iface/imsservice/guard.go",
		`	if r := g.needs(isc.SessionRedirect); r != nil {`, `	if r := g.needs(isc.SessionRedirect); r != nil && len(m.Body()) == 0 {`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-body", "iface/imsservice/guard.go",
		`		g.method, g.assertions, g.sender, g.target, g.referral, g.path, g.body, g.history,`, `		g.method, g.assertions, g.sender, g.target, g.referral, g.path, g.history,`, []string{"IS-02"}},
	{secure.ISAuthorizationManifest, "any-dialog", "iface/imsservice/guard.go",
		`	if !g.door.visits.takesPart(host, m) {`, `	if g.door.visits.takesPart(host, m) && host == "" {`, []string{"IS-02"}},
	{secure.ISAuthorizationAssert, "anybody", "iface/imsservice/guard.go",
		`	return ok && (g.service.Is([]byte(canonical)) ||`, `	return ok && (len(canonical) > 0 ||`, []string{"IS-03"}},
	{secure.ISAuthorizationAssert, "not-in-passing", "iface/imsservice/guard.go",
		`		g.method, g.assertions, g.sender, g.target,`, `		g.method, g.sender, g.target,`, []string{"IS-03"}},
	{secure.ISAuthorizationAssert, "not-the-sender", "iface/imsservice/guard.go",
		`		g.method, g.assertions, g.sender, g.target,`, `		g.method, g.assertions, g.target,`, []string{"IS-03"}},
	{secure.ISIntegrityODI, "any-number-of-uses", "imsbox/scscf/chains.go",
		`	stay.uses--`, `	_ = stay.uses`, []string{"IS-04"}},
	{secure.ISIntegrityODI, "forged-passes", "iface/imsservice/guard.go",
		`	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil {
			return r`, `	if fault != isc.FaultNone {
		if r := g.misplaced(fault); r != nil && fault != isc.FaultForged {
			return r`, []string{"IS-04"}},
	{secure.ISIntegrityFailClosed, "fails-open", "imsbox/scscf/platforms.go",
		`		if terminates(criterion) && s.failsClosed("unreachable") {`, `		if !terminates(criterion) && s.failsClosed("unreachable") {`, []string{"IS-09"}},
	{secure.ISConfidentialityHeaderMin, "cell-shown", "iface/imsservice/headers.go",
		`	sip.HdrContentLanguage, sip.HdrContentID,`, `	sip.HdrPAccessNetworkInfo, sip.HdrContentLanguage, sip.HdrContentID,`, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "device-shown", "iface/imsservice/headers.go",
		`	sip.HdrContentLanguage, sip.HdrContentID,`, `	sip.HdrUserAgent, sip.HdrContentLanguage, sip.HdrContentID,`, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "body-shown", "iface/imsservice/headers.go",
		`		if body {`, `		if body && v == nil && !m.IsRequest() {`, []string{"IS-10"}},
	{secure.ISConfidentialityHeaderMin, "instance-shown", "iface/imsservice/headers.go",
		`		if device {`, `		if device && !m.IsRequest() {`, []string{"IS-10"}},
	{secure.ISConfidentialityShRead, "any-data", "imsbox/hss/permissions.go",
		`	return g.Ops&op != 0 && (slices.Contains(g.Data, ref) ||`, `	return g.Ops&op != 0 && (op == sh.Pull ||`, []string{"IS-05"}},
	{secure.ISConfidentialityShRead, "any-user", "imsbox/hss/permissions.go",
		`	return g.Everybody || user.Group != ""`, `	return user.IMPU != "" || user.Group != ""`, []string{"IS-05"}},
	{secure.ISConfidentialityShRead, "nobody-told-apart", "imsbox/hss/sh.go",
		`	if verdict := x.verdict(); verdict != sh.Allowed && x.h.refusesSh`, `	if verdict := x.verdict(); verdict != sh.Allowed && x.user != nil && x.h.refusesSh`, []string{"IS-05"}},
	{secure.ISIntegrityShWrite, "any-user", "imsbox/hss/sh.go",
		`verdict != sh.Allowed && x.h.refusesSh`, `verdict != sh.Allowed && (x.op != sh.Update || verdict != sh.Outside) && x.h.refusesSh`, []string{"IS-06"}},
	{secure.ISAvailabilityDocumentLimits, "any-size", "refpoint/isc/parse.go",
		`	if len(text) > b.Octets {`, `	if len(text) < 0 {`, []string{"IS-11"}},
	{secure.ISAvailabilityDocumentLimits, "any-length-of-a-list", "refpoint/isc/parse.go",
		`	if n > r.bounds.Entries && r.tooLarge == nil {`, `	if n < 0 && r.tooLarge == nil {`, []string{"IS-11"}},
	{secure.ISAvailabilityDeadline, "handshakes-wait", "iface/imsservice/port.go",
		`event(nil, reason, peer.Unmap()))`, `event(nil, reason, peer.Unmap())) && reason == "idle"`, []string{"IS-15"}},
	{secure.ISAvailabilityQuota, "no-breaker", "iface/imsservice/quota.go",
		`	open := asked && a.failed >= breakAfter // the breaker`, `	open := !asked && a.failed >= breakAfter // the breaker`, []string{"IS-08"}},
	{secure.ISAvailabilityQuota, "asking-is-free", "iface/imsservice/serve.go",
		`	if d.overdraws(s, true, noSource, now) {`, `	if d.overdraws(s, true, noSource, now) && host == "" {`, []string{"IS-08"}},
}

// media are the mutants of C-S.
var media = []Mutant{
	{secure.CSIntegritySRTPVerify, "wrong-tag-passes", "proto/rtpport/receive.go",
		`	return !l.refuses(why) && octets >= 0`, `	return octets >= 0`, []string{"CS-02", "CS-16"}},
	{secure.CSIntegritySRTPReplay, "list-not-asked", "proto/rtpport/keys.go",
		`	if !t.Passed() && !r.l.cfg.Refuse(DropReplay) {`, `	if !t.Passed() {`, []string{"CS-06"}},
	{secure.CSConfidentialityNoLearn, "any-source", "proto/rtpport/rtpport.go",
		`		if l.refuses(DropSource) || kind != kindRTP && kind != kindRTCP {`, `		if kind != kindRTP && kind != kindRTCP {`, []string{"CS-01", "CS-02"}},
	{secure.CSConfidentialityNoLearn, "any-port", "proto/rtpport/rtpport.go",
		`	if from != l.address() {`, `	if from.Addr() != l.address().Addr() {`, []string{"CS-01", "CS-02"}},
	{secure.CSConfidentialityMediaFloor, "rtp-taken", "imsbox/pcscf/floor.go",
		`	if c.belowFloor(k) {
		return false
	}`, `	if c.belowFloor(k) && k != sdp.PlainRTP {
		return false
	}`, []string{"CS-03"}},
	{secure.CSConfidentialityKeyFresh, "index-twice", "proto/rtpport/relay.go",
		`	u.add(index)
	return true`, `	_ = u.add
	return true`, []string{"CS-06"}},
	{secure.CSConfidentialityKeyFresh, "not-looked-at", "proto/rtpport/relay.go",
		`if index > maxIndex || u.has(index) {`, `if index > maxIndex {`, []string{"CS-06"}},
	{secure.CSAvailabilityDTLSConsent, "first-wins", "proto/rtpport/dtls.go",
		`len(d.list) > 0 && !l.refuses(DropRace) {`, `len(d.list) > 0 {`, []string{"CS-04"}},
	{secure.CSAvailabilityPortBudget, "any-rate", "proto/rtpport/rate.go",
		`	s.packets, s.octets = packets, octets`, `	_ = max(packets, octets)`, []string{"CS-07", "CI-39"}},
	{secure.CSAvailabilityPortBudget, "any-octets", "proto/rtpport/rate.go",
		`	if packets > now+time.Second || octets > now+time.Second {`, `	if packets > now+time.Second {`, []string{"CI-39"}},
	{secure.CSAvailabilityPortBudget, "any-number-of-sessions", "iface/clientservice/gateway.go",
		`	g.holding[user]++`, `	_ = g.holding[user]`, []string{"CS-07"}},
	{secure.CSAvailabilityOutlives, "ends-with-signalling", "iface/clientservice/orphan.go",
		`		case !s.confirmed || s.lost || g.cfg.Outlives <= 0 || !g.outlives(s):`, `		case !s.confirmed || s.lost || g.cfg.Outlives <= 0 || g.outlives(s):`, []string{"CS-16"}},
	{secure.CSAvailabilityMediaShape, "not-looked-at", "proto/rtpport/relay.go",
		`	if b[0] != bare {`, `	if b[0] != bare && len(b) < rtpHeader {`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "extensions-pass", "proto/rtpport/shape.go",
		`	if some && !others || !l.refuses(DropExtension) {`, `	if !some && others || !l.refuses(DropExtension) {`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "sources-pass", "proto/rtpport/shape.go",
		`		b = cutOut(b, rtpHeader, at)`, `		_ = cutOut`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "padding-passes", "proto/rtpport/shape.go",
		`			b = b[:len(b)-n]`, `			_ = n`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "any-report", "proto/rtpport/shapecontrol.go",
		`	w.others = true // APP,`, `	return w.keep(p, len(p)) // APP,`, []string{"CI-39"}},
	{secure.CSAuthenticationGrant, "may-answer", "imsbox/scscf/vouch.go",
		`	case !others && s.lacksGrant(stay.host):`, `	case others && s.lacksGrant(stay.host):`, []string{"IS-12"}},
	{secure.CSAuthenticationGrant, "may-call", "imsbox/scscf/vouch.go",
		`	if speaks && (!may && s.lacksGrant(host) ||`, `	if speaks && (!may && len(host) == 0 ||`, []string{"IS-12"}},
	{secure.CSAuthorizationGrantLeg, "any-voucher", "imsbox/scscf/vouch.go",
		`	if of.restore(m) && !s.isOfAnotherLeg(`, `	if of.restore(m) || !s.isOfAnotherLeg(`, []string{"CS-10"}},
	{secure.CSIntegrityFingerprint, "any-offer", "imsbox/scscf/vouch.go",
		`	case !may && s.swaps(stay.host):`, `	case may && s.swaps(stay.host):`, []string{"CS-05"}},
	{secure.CSIntegrityFingerprint, "any-answer", "imsbox/scscf/vouch.go",
		`	case others && s.swaps(stay.host):`, `	case !others && s.swaps(stay.host):`, []string{"CS-05"}},
	{secure.CSIntegrityFingerprint, "any-re-invite", "imsbox/scscf/vouchdialog.go",
		`	case known && s.swaps(host):`, `	case !known && s.swaps(host):`, []string{"CS-05"}},
	{secure.CSAuthenticationToken, "any-key", "proto/oauth/verify.go",
		`	case proof.Thumbprint != c.Key.Thumbprint:`, `	case proof.Thumbprint == "":`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "proof-again", "proto/oauth/proof.go",
		`.seen[key]; used {`, `.seen[key]; used && q.id == "" {`, []string{"CS-11"}},
	{secure.CSAuthenticationToken, "code-of-any-key", "iface/clientweb/token.go",
		`ConstantTimeCompare([]byte(what.jkt), []byte(proof.Thumbprint)) != 1 &&`, `ConstantTimeCompare([]byte(what.jkt), []byte(what.jkt)) != 1 &&`, []string{"CS-14"}},
	{secure.CSConfidentialityHTTPS, "clear-taken", "iface/clientweb/plain.go",
		`	return !d.ports.Gate.Refuse(secure.CSConfidentialityHTTPS, e) && !d.ports.Gate.Refuse(secure.CSIntegrityHTTPS, e)`,
		`	return e.Reason != ""`, []string{"CS-12", "CS-13"}},
	{secure.CSIntegrityHTTPS, "second-layer-taken", "iface/clientweb/plain.go",
		`Refuse(secure.CSConfidentialityHTTPS, e) && !d.ports.Gate.Refuse(secure.CSIntegrityHTTPS, e)`, `Refuse(secure.CSConfidentialityHTTPS, e)`, []string{"CS-12", "CS-13"}},
}

// core are the mutants of the inner wires and of management.
var core = []Mutant{
	{secure.CoreAuthenticationMTLS, "anybody-on-mw", "hop/node/wire.go",
		`	if p.peerOf(f) == nil && p.w.ports.Stranger(`, `	if p.peerOf(f) == nil && len(data) == 0 && p.w.ports.Stranger(`, []string{"ZB-03"}},
	{secure.CoreAuthenticationMTLS, "anybody-on-cx", "proto/diameter/identity.go",
		`	case len(s.PeerCertificates) == 0 || len(s.VerifiedChains) == 0:`, `	case len(s.PeerCertificates) == 0 && s.Version == 0:`, []string{"CX-01"}},
	{secure.CoreAuthenticationOriginHost, "any-name", "proto/diameter/identity.go",
		`strings.EqualFold(name, host) }) {`, `strings.HasSuffix(host, name[:0]) }) {`, []string{"CX-01"}},
	{secure.CoreAuthorizationRole, "any-command-and-avp", "node/cx.go",
		`		return n.Gate.Refuse(secure.CoreAuthorizationRole, e)`, `		return n.Gate.Refuse(secure.CoreAuthorizationRole, e) && r.Peer == ""`, []string{"CX-02"}},
	{secure.CoreConfidentialityMTLS, "keys-for-anybody", "hop/node/wire.go",
		`	if !peer.Keys && p.w.ports.KeepKeys(`, `	if peer.Keys && p.w.ports.KeepKeys(`, []string{"ZB-01"}},
	{secure.CoreIntegrityDecisionLog, "chain-not-compared", "decisions/verify.go",
		`	case r.Prev != s.last.hash:`, `	case r.Prev == "":`, []string{"MG-03"}},
	{secure.CoreIntegrityDecisionLog, "memory-not-asked", "decisions/verify.go",
		`	if s.Fault == nil && (s.last != l.last || s.torn > 0) {`, `	if s.Fault == nil && s.last.n > l.last.n {`, []string{"MG-03"}},
	{secure.ManagementConfidentialityRedact, "identities-told", "trace/handler.go",
		`		if v.String() == "" || h.redacts("identity") {`, `		if v.String() == "" {`, []string{"MG-04"}},
	{secure.ManagementIntegrityLogLine, "marks-not-encoded", "trace/handler.go",
		`	if drives(s) && !h.encodes("control-character") {`, `	if drives(s) {`, []string{"MG-05"}},
	{secure.ManagementAuthenticationPage, "without-a-session", "web/web.go",
		`		if !p.Login.admits(r, keyed) && p.refuses("session") {`, `		if p.Login.admits(r, keyed) && p.refuses("session") {`, []string{"MG-06"}},
	{secure.ManagementAuthorizationOrigin, "any-host", "iface/management/own.go",
		`	case !here(r.Host):`, `	case r.Host == "":`, []string{"MG-07"}},
	{secure.ManagementAuthenticationAdmin, "anybody", "iface/management/management.go",
		`	allowed := c.Role >= Viewer && (!known || c.Role >= v.Needs)`, `	allowed := c.Role >= Viewer || c.PID != 0`, []string{"MG-01"}},
}
