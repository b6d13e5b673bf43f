package clientims

import (
	"bytes"

	"imsafe/proto/overload"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// The headers that only the core may write. A client that sends one is not believed: it is taken off before
// anybody reads it (TS 24.229 5.2.6.3, 4.4; RFC 3325 5). In a response the same holds.
var coreHeaders = []sip.HeaderID{
	sip.HdrPAssertedIdentity, sip.HdrPAssertedService, sip.HdrPAssociatedURI, sip.HdrPCalledPartyID,
	sip.HdrPChargingVector, sip.HdrPChargingFunctionAddresses, sip.HdrPProfileKey, sip.HdrPServedUser,
	sip.HdrPVisitedNetworkID, sip.HdrPath, sip.HdrServiceRoute, sip.HdrPUserDatabase,
	sip.HdrPPrivateNetworkIndication, sip.HdrPDCSBillingInfo, sip.HdrPDCSLAES, sip.HdrPDCSTracePartyID, sip.HdrPDCSOSPS,
	sip.HdrPDCSRedirect, sip.HdrFeatureCaps, sip.HdrAttestationInfo, sip.HdrOriginationID, sip.HdrRestorationInfo,
	sip.HdrRelayedCharge, sip.HdrServiceInteractInfo, sip.HdrResourceShare, sip.HdrPriorityShare, sip.HdrResponseSource,
	sip.HdrIdentity, // RFC 8224 5: the authentication service is ours
}

// The same, of headers that we have no other use for: an identity as networks asserted it before RFC 3325, which some
// endpoints still believe, and whom to charge.
var coreNames = []string{"Remote-Party-ID", "P-Charge-Info"}

// The headers that stay in the core: a client has no use for them, or could learn from them what is not his
// (TS 24.229 4.4, 5.2.6.4; RFC 7315 5). What another client says of itself is the P-CSCF's: it knows who may read it.
var innerHeaders = []sip.HeaderID{
	sip.HdrPChargingVector, sip.HdrPChargingFunctionAddresses, sip.HdrPProfileKey, sip.HdrPServedUser,
	sip.HdrPVisitedNetworkID, sip.HdrPUserDatabase, sip.HdrPPrivateNetworkIndication, sip.HdrRestorationInfo,
	sip.HdrRelayedCharge, sip.HdrServiceInteractInfo, sip.HdrResourceShare, sip.HdrPriorityShare,
}

// The same as sets: most messages have none of them.
var coreSet, innerSet = sip.NewHeaderSet(coreHeaders...), sip.NewHeaderSet(innerHeaders...)

// admitRequest takes off a request what its client may not say.
func (p *Port) admitRequest(m *sip.Message) {
	p.strip(m)
	dropAgreement(m)
	keepReport(m)
	if m.Has(sip.HdrRecordRoute) && m.Method() != sip.REGISTER && len(m.ToTag()) == 0 && p.refusesHeader("record-route") {
		m.Remove(sip.HdrRecordRoute) // a client is no proxy
	}
	if claimsProtection(m) && p.refusesHeader("integrity-protected") {
		dropProtection(m)
	}
}

// claimsProtection reports whether any Authorization says how the request is protected. That is for the P-CSCF to say, not for the
// client (TS 33.203 P.3). A value that can't be read counts if it has the word: whoever reads it next may read it otherwise.
func claimsProtection(m *sip.Message) bool {
	for i := range m.Count(sip.HdrAuthorization) {
		c, err := m.Credentials(i)
		if c.IntegrityProtected != nil || err != nil && bytes.Contains(bytes.ToLower(m.Nth(sip.HdrAuthorization, i)), []byte("integrity-protected")) {
			return true
		}
	}
	return false
}

// dropProtection encodes each Authorization again without the claim; those that can't be read do not go on.
func dropProtection(m *sip.Message) {
	var clean [][]byte
	for v := range m.Values(sip.HdrAuthorization) {
		if c, err := sip.ParseCredentials(v); err == nil {
			c.IntegrityProtected = nil
			clean = append(clean, c.AppendTo(nil))
		}
	}
	m.Remove(sip.HdrAuthorization)
	for _, v := range clean {
		m.Append(sip.HdrAuthorization, v)
	}
}

// admitsResponse returns what does the same to a response of the client of an association.
func (p *Port) admitsResponse(a *association) func(*sip.Message) {
	user := p.door.budgets.userOf(a)
	return func(m *sip.Message) {
		p.strip(m)
		keepReport(m)
		p.forbidChallenge(m)
		p.lighten(m, user)
	}
}

// forbidChallenge makes a challenge of a client a plain refusal. In this network the home network alone asks for proof (TS 33.203 6.1, N.2), and a client
// or a service that answers whoever asks gives away what its password can be guessed from (RFC 3261 22.1).
func (p *Port) forbidChallenge(m *sip.Message) {
	code := m.Status()
	if code != 401 && code != 407 && !m.Has(sip.HdrWWWAuthenticate) && !m.Has(sip.HdrProxyAuthenticate) ||
		!p.door.ports.Gate.Refuse(secure.CIConfidentialityDigestRealm, secure.Event{Reason: "challenge-of-a-client"}) {
		return
	}
	m.Remove(sip.HdrWWWAuthenticate)
	m.Remove(sip.HdrProxyAuthenticate)
	if code == 401 || code == 407 {
		m.SetStatus(403, "")
	}
}

// keepReport takes what a Via says of overload off a message that goes on: it is for the hop it came by (RFC 7339 5.4, 5.6).
func keepReport(m *sip.Message) {
	if via := m.Get(sip.HdrVia); overload.Says(via) {
		m.ReplaceFirst(sip.HdrVia, overload.AppendWithout(nil, via))
	}
}

func (p *Port) strip(m *sip.Message) {
	if m.HasAny(coreSet) {
		for _, h := range coreHeaders {
			if m.Has(h) && p.refusesHeader("core-header") {
				m.Remove(h)
			}
		}
	}
	if m.Has(sip.HdrOther) {
		for _, name := range coreNames {
			if m.GetName(name) != nil && p.refusesHeader("core-header") {
				m.RemoveName(name)
			}
		}
	}
	if authorisesMedia(m) && p.refusesHeader("early-media") {
		understood := m.HasToken(sip.HdrPEarlyMedia, "supported")
		m.Remove(sip.HdrPEarlyMedia)
		if understood && m.IsRequest() {
			m.AppendString(sip.HdrPEarlyMedia, "supported")
		}
	}
	if claimsNetwork(m) && p.refusesHeader("network-provided") {
		keepOwnAccess(m)
	}
}

// authorisesMedia reports whether a client's message says more of early media than that it understands the header. To open and close
// the way of media before an answer is for the network alone: whoever could would talk without being charged (RFC 5009 4, 8).
func authorisesMedia(m *sip.Message) bool {
	for v := range m.Values(sip.HdrPEarlyMedia) {
		if !m.IsRequest() || !bytes.EqualFold(v, []byte("supported")) {
			return true
		}
	}
	return false
}

func claimsNetwork(m *sip.Message) bool {
	for v := range m.Values(sip.HdrPAccessNetworkInfo) {
		if networkProvided(v) {
			return true
		}
	}
	return false
}

// networkProvided reports whether access information claims to be the network's own (RFC 7315 4.4).
func networkProvided(v []byte) bool {
	_, claims := sip.Param(v, "network-provided")
	return claims
}

// keepOwnAccess leaves the client's own access information.
func keepOwnAccess(m *sip.Message) {
	var own []string
	for v := range m.Values(sip.HdrPAccessNetworkInfo) {
		if !networkProvided(v) {
			own = append(own, string(v))
		}
	}
	m.Remove(sip.HdrPAccessNetworkInfo)
	for _, v := range own {
		m.AppendString(sip.HdrPAccessNetworkInfo, v)
	}
}

// refusesHeader is the enforcement point of "what a client may not send is removed".
func (p *Port) refusesHeader(reason string) bool {
	return p.door.ports.Gate.Refuse(secure.CIIntegrityHeaderEdge, secure.Event{Reason: reason})
}

// dismiss takes off a message on its way to a client what stays in the core.
func (p *Port) dismiss(m *sip.Message) {
	if !m.HasAny(innerSet) {
		return
	}
	for _, h := range innerHeaders {
		m.Remove(h)
	}
}
