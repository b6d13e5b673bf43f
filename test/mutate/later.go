package main

import "imsafe/secure"

// later are the mutants of what no row had tried: what is said after the beginning, by whom it was not asked for, and how often.
var later = []Mutant{
	{secure.CSIntegrityFingerprint, "keys-that-nobody-signs", "imsbox/scscf/vouchdialog.go",
		`	if same || len(keys) == 0 && !asksOf(m.Body()).any() {`, `	if same || len(keys) == 0 {`, []string{"CS-18"}},
	{secure.CSIntegrityFingerprint, "nothing-said-is-anything", "imsbox/scscf/vouch.go",
		`(len(keys) > 0 || v.speaks || !asksOf(description).any())`, `(len(keys) > 0 || v.speaks || len(description) > 0)`, []string{"CS-05"}},
	{secure.CSIntegrityFingerprint, "methods-but-one", "imsbox/scscf/vouchdialog.go",
		`	return m == sip.INVITE || m == sip.UPDATE || m == sip.PRACK || m == sip.ACK`, `	return m == sip.INVITE || m == sip.PRACK || m == sip.ACK`, []string{"CS-18"}},
	{secure.CSAuthenticationGrant, "later-in-own-calls", "imsbox/scscf/vouchdialog.go",
		`	case !known && s.lacksGrant(host):`, `	case !known && len(host) == 0:`, []string{"CS-18"}},
	{secure.CSAuthenticationGrant, "ack-as-it-is", "imsbox/scscf/vouchdialog.go",
		`		m.SetBody("", nil)`, `		_ = m.Body()`, []string{"CS-18"}},
	{secure.CIAuthenticationDigestPolicy, "any-number-from-one-address", "imsbox/scscf/digestguess.go",
		`subject{guessed{from: network}, guessesOfAddress, false}, name)`, `name)`, []string{"CI-40"}},
	{secure.CIAuthenticationDigestPolicy, "any-number-in-all", "imsbox/scscf/digestguess.go",
		`	g.all.wrong++`, `	_ = g.all.wrong`, []string{"CI-40"}},
	{secure.CIAvailabilityBudgetSource, "connections-not-counted", "iface/clientims/afford.go",
		`	if b.conns.take(&s, now).Granted() {`, `	if b.conns.take(&s, now).Granted() || peer.Port() > 0 {`, []string{"CI-41"}},
	{secure.ISAvailabilityDeadline, "any-number-of-connections", "iface/imsservice/port.go",
		`Clock().Now()).Granted() ||`, `Clock().Now()).Granted() || peer.Port() > 0 ||`, []string{"IS-17"}},
	{secure.ISConfidentialityShRead, "agreement-not-asked", "imsbox/hss/permissions.go",
		`	if g.Consent && !slices.Contains(user.Agreed, service) {`, `	if g.Consent && service == "" {`, []string{"IS-16"}},
	{secure.ISIntegrityShWrite, "agreement-not-asked", "imsbox/hss/permissions.go",
		`	if g.Consent && !slices.Contains(user.Agreed, service) {`, `	if g.Consent && len(service) == 0 {`, []string{"IS-16"}},
	{secure.ISConfidentialityShRead, "subscriptions-not-judged", "imsbox/hss/sh.go",
		`verdict != sh.Allowed && x.h.refusesSh(`, `verdict != sh.Allowed && x.op != sh.Subscribe && x.h.refusesSh(`, []string{"IS-16"}},
	{secure.ISConfidentialityShRead, "any-rate", "imsbox/hss/permissions.go",
		`	g.tokens--`, `	_ = g.tokens`, []string{"IS-16"}},
	{secure.CoreAuthorizationRole, "any-avp", "proto/diameter/serve.go",
		`id != Unknown && !role.AVPs[id] &&`, `id == Unknown && !role.AVPs[id] &&`, []string{"CX-02"}},
	{secure.CoreAuthorizationRole, "any-avp-on-cx", "refpoint/cx/cxwire/grammar.go",
		`	r := d.Role{Name: name, Requests:`, `	return d.Role{Name: name, Requests: map[d.Application][]d.Command{d.AppCx: commands}}
	r := d.Role{Name: name, Requests:`, []string{"CX-02"}},
	{secure.CoreAuthenticationOriginHost, "requests-not-looked-at", "proto/diameter/serve.go",
		`!bytes.EqualFold(a.Data, []byte(c.peer.cfg.Host)) &&`, `bytes.Equal(a.Data, nil) &&`, []string{"CX-01"}},
}
