package cxwire

import d "imsafe/proto/diameter"

// common begins every request (TS 29.229 6.1): the host of the HSS is optional where a CSCF asks.
var common = d.Grammar{{ID: d.SessionID, Min: 1, Max: 1}, {ID: d.VendorSpecificApplicationID, Min: 1, Max: 1},
	{ID: d.AuthSessionState, Min: 1, Max: 1}, {ID: d.OriginHost, Min: 1, Max: 1}, {ID: d.OriginRealm, Min: 1, Max: 1},
	{ID: d.DestinationRealm, Min: 1, Max: 1}, {ID: d.SupportedFeatures}}

// with adds a command's own rules to the common ones.
func with(rules ...d.Rule) d.Grammar { return append(common[:len(common):len(common)], rules...) }

// serverGrammars are the requests that an HSS takes (TS 29.229 6.1.1, 6.1.3, 6.1.5, 6.1.7).
func serverGrammars() map[d.Command]d.Grammar {
	host := d.Rule{ID: d.DestinationHost, Max: 1}
	return map[d.Command]d.Grammar{
		d.UAR: with(host, d.Rule{ID: d.UserName, Min: 1, Max: 1}, d.Rule{ID: d.PublicIdentity, Min: 1, Max: 1},
			d.Rule{ID: d.VisitedNetworkIdentifier, Min: 1, Max: 1}, d.Rule{ID: d.UserAuthorizationType, Max: 1}, d.Rule{ID: d.UARFlags, Max: 1}),
		d.SAR: with(host, d.Rule{ID: d.UserName, Max: 1}, d.Rule{ID: d.PublicIdentity}, d.Rule{ID: d.WildcardedPublicIdentity, Max: 1},
			d.Rule{ID: d.ServerName, Min: 1, Max: 1}, d.Rule{ID: d.ServerAssignmentType, Min: 1, Max: 1},
			d.Rule{ID: d.UserDataAlreadyAvailable, Min: 1, Max: 1}, d.Rule{ID: d.SCSCFRestorationInfo, Max: 1},
			d.Rule{ID: d.MultipleRegistrationIndication, Max: 1}, d.Rule{ID: d.SessionPriority, Max: 1}, d.Rule{ID: d.SARFlags, Max: 1},
			d.Rule{ID: d.FailedPCSCF, Max: 1}),
		d.LIR: with(host, d.Rule{ID: d.OriginatingRequest, Max: 1}, d.Rule{ID: d.PublicIdentity, Min: 1, Max: 1},
			d.Rule{ID: d.UserAuthorizationType, Max: 1}, d.Rule{ID: d.SessionPriority, Max: 1}),
		d.MAR: with(host, d.Rule{ID: d.UserName, Min: 1, Max: 1}, d.Rule{ID: d.PublicIdentity, Min: 1, Max: 1},
			d.Rule{ID: d.SIPAuthDataItem, Min: 1, Max: 1}, d.Rule{ID: d.SIPNumberAuthItems, Min: 1, Max: 1},
			d.Rule{ID: d.ServerName, Min: 1, Max: 1}),
	}
}

// clientGrammars are the requests that an S-CSCF takes (TS 29.229 6.1.9, 6.1.11).
func clientGrammars() map[d.Command]d.Grammar {
	host := d.Rule{ID: d.DestinationHost, Min: 1, Max: 1}
	return map[d.Command]d.Grammar{
		d.RTR: with(host, d.Rule{ID: d.UserName, Min: 1, Max: 1}, d.Rule{ID: d.AssociatedIdentities, Max: 1}, d.Rule{ID: d.PublicIdentity},
			d.Rule{ID: d.DeregistrationReason, Min: 1, Max: 1}, d.Rule{ID: d.RTRFlags, Max: 1}),
		d.PPR: with(host, d.Rule{ID: d.UserName, Min: 1, Max: 1}, d.Rule{ID: d.UserData, Max: 1}, d.Rule{ID: d.ChargingInformation, Max: 1},
			d.Rule{ID: d.SIPAuthDataItem, Max: 1}, d.Rule{ID: d.AllowedWAFWWSFIdentities, Max: 1}),
	}
}

// answers are the formats of the answers (TS 29.229 6.1). An AVP that stands twice where it may stand once makes an answer that two
// readers understand in two ways, so it is none. What is missing of the head and harms nobody is not asked for, and where a request goes
// may stand in its answer too: other stacks repeat it.
func answers(rules ...d.Rule) d.Grammar {
	return append(d.Grammar{{ID: d.SessionID, Min: 1, Max: 1}, {ID: d.OriginHost, Min: 1, Max: 1}, {ID: d.OriginRealm, Min: 1, Max: 1},
		{ID: d.ResultCode, Max: 1}, {ID: d.ExperimentalResult, Max: 1}, {ID: d.VendorSpecificApplicationID, Max: 1}, {ID: d.AuthSessionState, Max: 1},
		{ID: d.SupportedFeatures}, {ID: d.OriginStateID, Max: 1}, {ID: d.ErrorMessage, Max: 1}, {ID: d.ErrorReportingHost, Max: 1}, {ID: d.FailedAVP},
		{ID: d.DestinationHost, Max: 1}, {ID: d.DestinationRealm, Max: 1}}, rules...)
}

// once is the rule of an AVP that need not be there.
func once(id d.ID) d.Rule { return d.Rule{ID: id, Max: 1} }

// answerGrammars are the answers that are taken, by their commands (TS 29.229 6.1.2, 6.1.4, 6.1.6, 6.1.8, 6.1.10, 6.1.12).
var answerGrammars = map[d.Command]d.Grammar{
	d.UAR: answers(once(d.ServerName), once(d.ServerCapabilities)),
	d.SAR: answers(once(d.UserName), once(d.UserData), once(d.ChargingInformation), once(d.AssociatedIdentities), once(d.LooseRouteIndication),
		d.Rule{ID: d.SCSCFRestorationInfo}, once(d.AssociatedRegisteredIdentities), once(d.ServerName), once(d.WildcardedPublicIdentity),
		once(d.PriviledgedSenderIndication), once(d.AllowedWAFWWSFIdentities)),
	d.LIR: answers(once(d.ServerName), once(d.ServerCapabilities), once(d.WildcardedPublicIdentity), once(d.LIAFlags)),
	d.MAR: answers(once(d.UserName), once(d.PublicIdentity), once(d.SIPNumberAuthItems), d.Rule{ID: d.SIPAuthDataItem}),
	d.RTR: answers(once(d.AssociatedIdentities), d.Rule{ID: d.IdentityWithEmergencyRegistration}),
	d.PPR: answers(),
}

// The roles of peers: what each may ask, and of the dictionary's AVPs those of the formats of its commands, and those of agents (core.authorization.role). A format
// alone does not keep out what it does not name, unless that has the M bit (RFC 6733 4.1).

// RoleICSCF may ask where users are.
func RoleICSCF() d.Role { return role("i-cscf", serverGrammars(), d.UAR, d.LIR) }

// RoleSCSCF may take users and fetch vectors.
func RoleSCSCF() d.Role { return role("s-cscf", serverGrammars(), d.SAR, d.MAR) }

// RoleCSCF is both, as a node with I-CSCF and S-CSCF is.
func RoleCSCF() d.Role { return role("cscf", serverGrammars(), d.UAR, d.LIR, d.SAR, d.MAR) }

// RoleHSS may push.
func RoleHSS() d.Role { return role("hss", clientGrammars(), d.RTR, d.PPR) }

func role(name string, formats map[d.Command]d.Grammar, commands ...d.Command) d.Role {
	r := d.Role{Name: name, Requests: map[d.Application][]d.Command{d.AppCx: commands},
		AVPs: map[d.ID]bool{d.RouteRecord: true, d.ProxyInfo: true, d.OriginStateID: true}}
	for _, c := range commands {
		for _, rule := range formats[c] {
			r.AVPs[rule.ID] = true
		}
	}
	return r
}
