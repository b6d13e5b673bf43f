package imsservice

import (
	"bytes"
	"slices"
	"strings"

	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// shown are the header fields that a platform needs for its part in a session, and gets. What is not here stays in the core, and is put back
// into a request that returns.
var shown = sip.NewHeaderSet(
	sip.HdrVia, sip.HdrFrom, sip.HdrTo, sip.HdrCallID, sip.HdrCSeq, sip.HdrMaxForwards, sip.HdrContact, sip.HdrRoute, sip.HdrRecordRoute,
	sip.HdrRequire, sip.HdrProxyRequire, sip.HdrSupported, sip.HdrUnsupported, sip.HdrAllow, sip.HdrAllowEvents,
	sip.HdrEvent, sip.HdrSubscriptionState, sip.HdrExpires, sip.HdrMinExpires, sip.HdrSessionExpires, sip.HdrMinSE,
	sip.HdrRSeq, sip.HdrRAck, sip.HdrSIPETag, sip.HdrSIPIfMatch, sip.HdrSuppressIfMatch,
	sip.HdrReferTo, sip.HdrReferredBy, sip.HdrReferSub, sip.HdrReplaces, sip.HdrJoin, sip.HdrTargetDialog,
	sip.HdrPAssertedIdentity, sip.HdrPServedUser, sip.HdrPAssertedService, sip.HdrPCalledPartyID, sip.HdrPEarlyMedia, sip.HdrPrivacy,
	sip.HdrHistoryInfo, sip.HdrReason, sip.HdrRetryAfter, sip.HdrWarning, sip.HdrMaxBreadth,
	sip.HdrAcceptContact, sip.HdrRejectContact, sip.HdrRequestDisposition, sip.HdrPriority, sip.HdrResourcePriority,
	sip.HdrIdentity, sip.HdrIdentityInfo, sip.HdrSessionID, sip.HdrUserToUser, sip.HdrRecvInfo, sip.HdrInfoPackage, sip.HdrAlertInfo, sip.HdrCallInfo,
	sip.HdrSubject, sip.HdrInReplyTo, sip.HdrReplyTo, sip.HdrDate, sip.HdrErrorInfo, sip.HdrAnswerMode, sip.HdrPrivAnswerMode,
	sip.HdrAccept, sip.HdrAcceptEncoding, sip.HdrAcceptLanguage, sip.HdrContentType, sip.HdrContentDisposition, sip.HdrContentEncoding,
	sip.HdrContentLanguage, sip.HdrContentID, sip.HdrContentLength, sip.HdrMIMEVersion)

// kinds are the header fields that a platform gets only if its manifest names the kind (headers.see).
var kinds = map[isc.Headers][]sip.HeaderID{
	isc.HeadersLocation: {sip.HdrPAccessNetworkInfo, sip.HdrCellularNetworkInfo, sip.HdrGeolocation, sip.HdrGeolocationRouting, sip.HdrGeolocationError,
		sip.HdrPVisitedNetworkID, sip.HdrFeatureCaps}, // what functions on the way can do, with their addresses in the visited network
	isc.HeadersDevice:   {sip.HdrUserAgent, sip.HdrServer},
	isc.HeadersCharging: {sip.HdrPChargingVector, sip.HdrPChargingFunctionAddresses},
}

// spoken are the header fields that a platform may write into a message, within the rules of the guard. It has no business with others.
var spoken = func() *sip.HeaderSet {
	set := *shown
	set.Add(sip.HdrUserAgent)
	set.Add(sip.HdrServer)
	return &set
}()

// view returns what a platform may see.
func view(s *isc.Service) sip.HeaderSet {
	set := *shown
	for kind, list := range kinds {
		if !s.SeesHeader(kind) {
			continue
		}
		for _, h := range list {
			set.Add(h)
		}
	}
	if !s.May(isc.IdentityPrivate) {
		for _, h := range telling {
			set.Drop(h)
		}
	}
	return set
}

// conceal takes off a message on its way to a platform what the platform may not see. It is the enforcement point of least data.
func (d *Door) conceal(s *isc.Service, m *sip.Message) {
	set, v := view(s), d.veil(s)
	body, device := tellingBody(s, m), !s.SeesHeader(isc.HeadersDevice) && m.NamesDevice()
	if (body || device || !m.Within(&set) || v.finds(m)) && d.ports.Gate.Refuse(secure.ISConfidentialityHeaderMin, event(s, "hidden-header", noSource)) {
		m.Keep(&set)
		if body {
			m.SetBody("", nil)
		}
		if device {
			m.DropDevice()
		}
		v.cover(m)
	}
}

// tellMedia says to a platform that has asked for media which of them its grants allow, by a feature-capability indicator (RFC 6809): what the
// operator left out its media server is to refuse, and of a recording nobody else hears. It goes on top of what others have indicated (RFC 6809
// 4.2.1); what calls itself ours and came from elsewhere goes.
func tellMedia(s *isc.Service, m *sip.Message) {
	asked := s.Manifest.Asked
	if m.Method() != sip.INVITE || !slices.ContainsFunc([]isc.Scope{isc.MediaSend, isc.MediaReceive, isc.MediaRecord, isc.MediaMix}, asked.Has) {
		return
	}
	var others []string
	for v := range m.Values(sip.HdrFeatureCaps) {
		if !bytes.Contains(bytes.ToLower(v), []byte(mediaCapability)) {
			others = append(others, string(v))
		}
	}
	m.Remove(sip.HdrFeatureCaps)
	right, _ := s.Media()
	m.AppendString(sip.HdrFeatureCaps, `*;`+mediaCapability+`="`+strings.Join(right.Scope, ",")+`"`)
	for _, v := range others {
		m.AppendString(sip.HdrFeatureCaps, v)
	}
}

// mediaCapability is our feature-capability indicator.
const mediaCapability = "+g.imsafe.media"

// tellingBody reports whether the body says what the platform may not see: the REGISTER of a user, with his location and device (TS 24.229
// 5.4.1.7), or the identities of his registration (RFC 3680).
func tellingBody(s *isc.Service, m *sip.Message) bool {
	kind := m.Get(sip.HdrContentType)
	if m.Method() == sip.REGISTER && bytes.EqualFold(kind, []byte("message/sip")) {
		return !s.SeesHeader(isc.HeadersLocation|isc.HeadersDevice) || !s.May(isc.IdentityPrivate)
	}
	return m.Method() == sip.NOTIFY && bytes.EqualFold(kind, []byte("application/reginfo+xml")) && !s.May(isc.IdentityPrivate)
}

// recontact gives a request that has returned the Contact that it went out with, if it still leads to the same place: the platform was perhaps not
// shown all of it.
func recontact(m, original *sip.Message) {
	was := original.Get(sip.HdrContact)
	m.Rewrite(sip.HdrContact, func(v []byte) []byte {
		if was == nil || !bytes.Equal(uriOf(v), uriOf(was)) {
			return v
		}
		return was
	})
}

// restore puts back into a request that has returned what its platform was not shown, as it was in the request that went out.
func restore(m, original *sip.Message, set *sip.HeaderSet) {
	m.Keep(set)
	for name, value := range original.Fields() {
		if !set.Has(sip.LookupHeader(name)) {
			m.AppendName(string(name), value)
		}
	}
}
