package cxwire

import (
	"hash/fnv"
	"time"

	d "imsafe/proto/diameter"
	"imsafe/refpoint/cx"
)

// SAR: take, keep, give up a user; the profile (TS 29.229 6.1.3, 6.1.4).

func appendSAR(w *d.Writer, r *cx.ServerAssignmentRequest) {
	w.TextIf(d.UserName, string(r.IMPI))
	for _, id := range r.IMPUs {
		w.Text(d.PublicIdentity, string(id))
	}
	w.TextIf(d.WildcardedPublicIdentity, string(r.WildcardedIMPU))
	w.TextIf(d.ServerName, r.ServerName)
	w.Enumerated(d.ServerAssignmentType, int32(r.Type))
	w.Flag(d.UserDataAlreadyAvailable, r.UserDataAvailable)
	if r.Restoration != nil {
		appendRestoration(w, r.Restoration)
	}
	if r.MultipleRegistration {
		w.Flag(d.MultipleRegistrationIndication, true)
	}
	appendPriority(w, r.SessionPriority)
	if r.PCSCFRestoration {
		w.Unsigned32(d.SARFlags, sarPCSCFRestoration)
	}
}

func decodeSAR(v d.AVPs) (*cx.ServerAssignmentRequest, *d.Fault) {
	kind, f := v.Choice(d.ServerAssignmentType, 0, uint32(cx.PGWUpdate))
	if f != nil {
		return nil, f
	}
	available, f := v.Choice(d.UserDataAlreadyAvailable, 0, 1)
	if f != nil {
		return nil, f
	}
	priority, f := decodePriority(v)
	if f != nil {
		return nil, f
	}
	multiple, f := v.Choice(d.MultipleRegistrationIndication, 0, 1)
	if f != nil {
		return nil, f
	}
	flags, _ := v.Number(d.SARFlags)
	r := &cx.ServerAssignmentRequest{IMPI: cx.IMPI(v.Text(d.UserName)), IMPUs: texts[cx.IMPU](v, d.PublicIdentity),
		ServerName: v.Text(d.ServerName), Type: cx.ServerAssignmentType(kind), UserDataAvailable: available == 1,
		WildcardedIMPU: cx.IMPU(v.Text(d.WildcardedPublicIdentity)), MultipleRegistration: multiple == 1,
		SessionPriority: priority, PCSCFRestoration: flags&sarPCSCFRestoration != 0}
	if g, ok := v.Find(d.SCSCFRestorationInfo); ok {
		info := decodeRestoration(g.Group())
		r.Restoration = &info
	}
	return r, nil
}

func appendSAA(w *d.Writer, a *cx.ServerAssignmentAnswer) {
	w.TextIf(d.UserName, string(a.IMPI))
	if a.Profile != nil {
		w.Octets(d.UserData, a.Profile.AppendXML(nil))
	}
	appendCharging(w, a.Charging)
	appendIdentities(w, d.AssociatedIdentities, a.AssociatedIdentities)
	if a.LooseRoute {
		w.Flag(d.LooseRouteIndication, true)
	}
	for i := range a.Restoration {
		appendRestoration(w, &a.Restoration[i])
	}
	appendIdentities(w, d.AssociatedRegisteredIdentities, a.AssociatedRegistered)
	w.TextIf(d.ServerName, a.ServerName)
	w.TextIf(d.WildcardedPublicIdentity, string(a.WildcardedIMPU))
	if a.PriviledgedSender {
		w.Flag(d.PriviledgedSenderIndication, true)
	}
	appendWAF(w, a.AllowedWAF)
}

// decodeSAA reads an answer; a profile that cannot be read is a failure of the HSS (TS 29.228 6.6).
func decodeSAA(v d.AVPs, result cx.Result) (*cx.ServerAssignmentAnswer, error) {
	a := &cx.ServerAssignmentAnswer{Result: result, IMPI: cx.IMPI(v.Text(d.UserName)), Charging: decodeCharging(v),
		AssociatedIdentities: decodeIdentities(v, d.AssociatedIdentities), ServerName: v.Text(d.ServerName),
		AssociatedRegistered: decodeIdentities(v, d.AssociatedRegisteredIdentities),
		WildcardedIMPU:       cx.IMPU(v.Text(d.WildcardedPublicIdentity)), AllowedWAF: decodeWAF(v)}
	loose, _ := v.Number(d.LooseRouteIndication)
	sender, _ := v.Number(d.PriviledgedSenderIndication)
	a.LooseRoute, a.PriviledgedSender = loose == 1, sender == 1
	for g := range v.All() {
		if g.ID() == d.SCSCFRestorationInfo {
			a.Restoration = append(a.Restoration, decodeRestoration(g.Group()))
		}
	}
	var err error
	a.Profile, a.ProfileVersion, err = decodeProfile(v)
	return a, err
}

// decodeProfile reads User-Data. Its version is a hash of the octets: it changes when they do.
func decodeProfile(v d.AVPs) (*cx.UserProfile, uint64, error) {
	a, ok := v.Find(d.UserData)
	if !ok {
		return nil, 0, nil
	}
	p, err := cx.DecodeProfile(a.Data)
	if err != nil {
		return nil, 0, cx.ErrNotSupportedUserData
	}
	h := fnv.New64a()
	_, _ = h.Write(a.Data) // it cannot fail
	return p, h.Sum64(), nil
}

func appendIdentities(w *d.Writer, group d.ID, all []cx.IMPI) {
	if len(all) == 0 {
		return
	}
	w.Open(group)
	for _, id := range all {
		w.Text(d.UserName, string(id))
	}
	w.Close()
}

func decodeIdentities(v d.AVPs, group d.ID) []cx.IMPI {
	g, _ := v.Find(group)
	return texts[cx.IMPI](g.Group(), d.UserName)
}

func appendCharging(w *d.Writer, c *cx.ChargingInformation) {
	if c == nil || *c == (cx.ChargingInformation{}) {
		return
	}
	w.Open(d.ChargingInformation)
	w.TextIf(d.PrimaryEventChargingFunctionName, c.PrimaryECF)
	w.TextIf(d.SecondaryEventChargingFunctionName, c.SecondaryECF)
	w.TextIf(d.PrimaryChargingCollectionFunctionName, c.PrimaryCCF)
	w.TextIf(d.SecondaryChargingCollectionFunctionName, c.SecondaryCCF)
	w.Close()
}

func decodeCharging(v d.AVPs) *cx.ChargingInformation {
	a, ok := v.Find(d.ChargingInformation)
	if !ok {
		return nil
	}
	g := a.Group()
	return &cx.ChargingInformation{PrimaryECF: g.Text(d.PrimaryEventChargingFunctionName),
		SecondaryECF: g.Text(d.SecondaryEventChargingFunctionName), PrimaryCCF: g.Text(d.PrimaryChargingCollectionFunctionName),
		SecondaryCCF: g.Text(d.SecondaryChargingCollectionFunctionName)}
}

func appendWAF(w *d.Writer, names []string) {
	if len(names) == 0 {
		return
	}
	w.Open(d.AllowedWAFWWSFIdentities)
	for _, s := range names {
		w.Text(d.WebRTCAuthenticationFunctionName, s)
	}
	w.Close()
}

func decodeWAF(v d.AVPs) []string {
	g, _ := v.Find(d.AllowedWAFWWSFIdentities)
	return texts[string](g.Group(), d.WebRTCAuthenticationFunctionName)
}

func appendRestoration(w *d.Writer, r *cx.RestorationInfo) {
	w.Open(d.SCSCFRestorationInfo)
	w.Text(d.UserName, string(r.IMPI))
	for i := range r.Contacts {
		c := &r.Contacts[i]
		w.Open(d.RestorationInfo)
		w.Text(d.Path, c.Path)
		w.Text(d.Contact, c.Contact)
		w.Unsigned32(d.InitialCSeqSequenceNumber, c.InitialCSeq)
		w.TextIf(d.CallIDSIPHeader, c.CallID)
		appendSubscription(w, d.SubscriptionInfo, c.Subscription)
		appendSubscription(w, d.PCSCFSubscriptionInfo, c.PCSCF)
		w.Close()
	}
	if r.RegistrationTimeOut != 0 {
		w.Time(d.RegistrationTimeOut, time.Unix(r.RegistrationTimeOut, 0))
	}
	w.TextIf(d.SIPAuthenticationScheme, r.AuthScheme)
	w.Close()
}

func decodeRestoration(g d.AVPs) cx.RestorationInfo {
	r := cx.RestorationInfo{IMPI: cx.IMPI(g.Text(d.UserName)), AuthScheme: g.Text(d.SIPAuthenticationScheme)}
	if a, ok := g.Find(d.RegistrationTimeOut); ok {
		t, _ := a.Time()
		r.RegistrationTimeOut = t.Unix()
	}
	for a := range g.All() {
		if a.ID() != d.RestorationInfo {
			continue
		}
		v := a.Group()
		cseq, _ := v.Number(d.InitialCSeqSequenceNumber)
		r.Contacts = append(r.Contacts, cx.RestorationContact{Path: v.Text(d.Path), Contact: v.Text(d.Contact), InitialCSeq: cseq,
			CallID: v.Text(d.CallIDSIPHeader), Subscription: decodeSubscription(v, d.SubscriptionInfo),
			PCSCF: decodeSubscription(v, d.PCSCFSubscriptionInfo)})
	}
	return r
}

func appendSubscription(w *d.Writer, group d.ID, s *cx.SubscriptionInfo) {
	if s == nil {
		return
	}
	w.Open(group)
	w.Text(d.CallIDSIPHeader, s.CallID)
	w.Text(d.FromSIPHeader, s.From)
	w.Text(d.ToSIPHeader, s.To)
	w.Text(d.RecordRoute, s.RecordRoute)
	w.Text(d.Contact, s.Contact)
	w.Close()
}

func decodeSubscription(v d.AVPs, group d.ID) *cx.SubscriptionInfo {
	a, ok := v.Find(group)
	if !ok {
		return nil
	}
	g := a.Group()
	return &cx.SubscriptionInfo{CallID: g.Text(d.CallIDSIPHeader), From: g.Text(d.FromSIPHeader), To: g.Text(d.ToSIPHeader),
		RecordRoute: g.Text(d.RecordRoute), Contact: g.Text(d.Contact)}
}
