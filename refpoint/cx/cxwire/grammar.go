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

// The roles of peers: what each may ask (core.authorization.role). Beyond the fields of its command a peer may send only what
// agents add, so no list of AVPs is needed besides the grammars.

// RoleICSCF may ask where users are.
func RoleICSCF() d.Role {
	return d.Role{Name: "i-cscf", Requests: map[d.Application][]d.Command{d.AppCx: {d.UAR, d.LIR}}}
}

// RoleSCSCF may take users and fetch vectors.
func RoleSCSCF() d.Role {
	return d.Role{Name: "s-cscf", Requests: map[d.Application][]d.Command{d.AppCx: {d.SAR, d.MAR}}}
}

// RoleCSCF is both, as a node with I-CSCF and S-CSCF is.
func RoleCSCF() d.Role {
	return d.Role{Name: "cscf", Requests: map[d.Application][]d.Command{d.AppCx: {d.UAR, d.LIR, d.SAR, d.MAR}}}
}

// RoleHSS may push.
func RoleHSS() d.Role {
	return d.Role{Name: "hss", Requests: map[d.Application][]d.Command{d.AppCx: {d.RTR, d.PPR}}}
}
