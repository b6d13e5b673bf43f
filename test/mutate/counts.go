package main

import "imsafe/secure"

// counts are the mutants of what the rows have learnt when they were compared with the catalogue, form by form.
var counts = []Mutant{
	{secure.CIIntegrityDialogOwner, "prack-by-anybody", "imsbox/pcscf/way.go",
		`	if refusal := p.foreignDialog(in, &e); refusal != 0 {`, `	if refusal := p.foreignDialog(in, &e); refusal != 0 && in.Msg.Method() != sip.PRACK {`, []string{"CI-30"}},
	{secure.CIIntegrityDialogOwner, "cancel-by-anybody", "proto/siptxn/request.go",
		`	if !l.cfg.AnyPort {`, `	if l.cfg.AnyPort {`, []string{"CI-30"}},
	{secure.CIConfidentialityDigestRealm, "challenged-at-the-end", "iface/clientims/headers.go",
		`	if code != 401 && code != 407 &&`, `	if m.CSeqMethod() == sip.BYE || code != 401 && code != 407 &&`, []string{"CI-28"}},
	{secure.CIIntegrityHeaderEdge, "registrations-say-where", "iface/clientims/headers.go",
		`	if claimsNetwork(m) && p.refusesHeader("network-provided") {`, `	if claimsNetwork(m) && m.Method() != sip.REGISTER && p.refusesHeader("network-provided") {`, []string{"CI-09"}},
}
