package shwire

import d "imsafe/proto/diameter"

// common begins every request (TS 29.329 6.1).
var common = d.Grammar{{ID: d.SessionID, Min: 1, Max: 1}, {ID: d.VendorSpecificApplicationID, Min: 1, Max: 1},
	{ID: d.AuthSessionState, Min: 1, Max: 1}, {ID: d.OriginHost, Min: 1, Max: 1}, {ID: d.OriginRealm, Min: 1, Max: 1},
	{ID: d.DestinationRealm, Min: 1, Max: 1}, {ID: d.SupportedFeatures}, {ID: d.UserIdentity, Min: 1, Max: 1}, once(d.WildcardedPublicIdentity),
	once(d.WildcardedIMPU), once(d.UserName)}

// with adds a command's own rules to the common ones.
func with(rules ...d.Rule) d.Grammar { return append(common[:len(common):len(common)], rules...) }

// once is the rule of an AVP that need not be there; must is that of one that must.
func once(id d.ID) d.Rule { return d.Rule{ID: id, Max: 1} }
func must(id d.ID) d.Rule { return d.Rule{ID: id, Min: 1, Max: 1} }

// serverGrammars are the requests that an HSS takes (TS 29.329 6.1.1, 6.1.3, 6.1.5). What may stand several times with features that we do
// not have stands once.
func serverGrammars() map[d.Command]d.Grammar {
	return map[d.Command]d.Grammar{
		d.UDR: with(once(d.DestinationHost), once(d.ServerName), once(d.ServiceIndication), must(d.DataReference), once(d.IdentitySet),
			once(d.RequestedDomain), once(d.CurrentLocation), once(d.DSAITag), once(d.SessionPriority), once(d.RequestedNodes),
			once(d.ServingNodeIndication), once(d.PrePagingSupported), once(d.LocalTimeZoneIndication), once(d.UDRFlags), once(d.CallReferenceInfo)),
		d.PUR: with(once(d.DestinationHost), must(d.DataReference), must(d.ShUserData)),
		d.SNR: with(once(d.DestinationHost), once(d.ServiceIndication), once(d.SendDataIndication), once(d.ServerName), must(d.SubsReqType),
			must(d.DataReference), once(d.IdentitySet), once(d.ExpiryTime), once(d.DSAITag), once(d.OneTimeNotification)),
	}
}

// clientGrammars are the requests that an application server takes (TS 29.329 6.1.7).
func clientGrammars() map[d.Command]d.Grammar {
	return map[d.Command]d.Grammar{d.PNR: with(must(d.DestinationHost), must(d.ShUserData))}
}

// answers are the formats of the answers (TS 29.329 6.1). An AVP that stands twice where it may stand once makes an answer that two readers
// understand in two ways, so it is none.
func answers(rules ...d.Rule) d.Grammar {
	return append(d.Grammar{must(d.SessionID), must(d.OriginHost), must(d.OriginRealm), once(d.ResultCode), once(d.ExperimentalResult),
		once(d.VendorSpecificApplicationID), once(d.AuthSessionState), {ID: d.SupportedFeatures}, once(d.OriginStateID), once(d.ErrorMessage),
		once(d.ErrorReportingHost), {ID: d.FailedAVP}, once(d.DestinationHost), once(d.DestinationRealm)}, rules...)
}

// answerGrammars are the answers that are taken, by their commands (TS 29.329 6.1.2, 6.1.4, 6.1.6, 6.1.8).
var answerGrammars = map[d.Command]d.Grammar{
	d.UDR: answers(once(d.WildcardedPublicIdentity), once(d.WildcardedIMPU), once(d.ShUserData)),
	d.PUR: answers(once(d.WildcardedPublicIdentity), once(d.WildcardedIMPU), once(d.RepositoryDataID), once(d.DataReference)),
	d.SNR: answers(once(d.WildcardedPublicIdentity), once(d.WildcardedIMPU), once(d.ShUserData), once(d.ExpiryTime)),
	d.PNR: answers(),
}

// RoleAS is what an application server may send: three commands, and of the dictionary's AVPs those of their formats and those of agents. One
// that the dictionary knows from elsewhere, a key of Cx above all, has no business here.
func RoleAS() d.Role {
	r := d.Role{Name: "as", Requests: map[d.Application][]d.Command{d.AppSh: {d.UDR, d.PUR, d.SNR}},
		AVPs: map[d.ID]bool{d.RouteRecord: true, d.ProxyInfo: true, d.OriginStateID: true}}
	for _, g := range serverGrammars() {
		for _, rule := range g {
			r.AVPs[rule.ID] = true
		}
	}
	return r
}

// RoleHSS is what an HSS may send to an application server.
func RoleHSS() d.Role {
	r := d.Role{Name: "hss", Requests: map[d.Application][]d.Command{d.AppSh: {d.PNR}},
		AVPs: map[d.ID]bool{d.RouteRecord: true, d.ProxyInfo: true, d.OriginStateID: true}}
	for _, rule := range clientGrammars()[d.PNR] {
		r.AVPs[rule.ID] = true
	}
	return r
}
