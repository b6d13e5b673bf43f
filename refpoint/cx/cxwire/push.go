package cxwire

import (
	d "imsafe/proto/diameter"
	"imsafe/refpoint/cx"
)

// RTR and PPR: what the HSS pushes (TS 29.229 6.1.9 to 6.1.12).

const rtrReferenceLocation = 1 << 0 // RTR-Flags (TS 29.229 6.3.65)

func appendRTR(w *d.Writer, r *cx.RegistrationTerminationRequest) {
	w.Text(d.UserName, string(r.IMPI))
	appendIdentities(w, d.AssociatedIdentities, r.AssociatedIdentities)
	for _, id := range r.IMPUs {
		w.Text(d.PublicIdentity, string(id))
	}
	w.Open(d.DeregistrationReason)
	w.Enumerated(d.ReasonCode, int32(r.Reason))
	w.TextIf(d.ReasonInfo, r.ReasonInfo)
	w.Close()
	if r.ReferenceLocationInfo {
		w.Unsigned32(d.RTRFlags, rtrReferenceLocation)
	}
}

func decodeRTR(v d.AVPs) (*cx.RegistrationTerminationRequest, *d.Fault) {
	a, _ := v.Find(d.DeregistrationReason)
	if _, ok := a.Group().Find(d.ReasonCode); !ok {
		return nil, d.WrongValue(d.ResultMissingAVP, d.ReasonCode, make([]byte, 4))
	}
	reason, f := a.Group().Choice(d.ReasonCode, 0, uint32(cx.RemoveSCSCF))
	if f != nil {
		return nil, f
	}
	flags, _ := v.Number(d.RTRFlags)
	return &cx.RegistrationTerminationRequest{IMPI: cx.IMPI(v.Text(d.UserName)), IMPUs: texts[cx.IMPU](v, d.PublicIdentity),
		AssociatedIdentities: decodeIdentities(v, d.AssociatedIdentities), Reason: cx.DeregistrationReason(reason),
		ReasonInfo: a.Group().Text(d.ReasonInfo), ReferenceLocationInfo: flags&rtrReferenceLocation != 0}, nil
}

func appendRTA(w *d.Writer, a *cx.RegistrationTerminationAnswer) {
	appendIdentities(w, d.AssociatedIdentities, a.AssociatedIdentities)
	for _, p := range a.Emergency {
		w.Open(d.IdentityWithEmergencyRegistration)
		w.Text(d.UserName, string(p.IMPI))
		w.Text(d.PublicIdentity, string(p.IMPU))
		w.Close()
	}
}

func decodeRTA(v d.AVPs, result cx.Result) *cx.RegistrationTerminationAnswer {
	a := &cx.RegistrationTerminationAnswer{Result: result, AssociatedIdentities: decodeIdentities(v, d.AssociatedIdentities)}
	for g := range v.All() {
		if g.ID() == d.IdentityWithEmergencyRegistration {
			a.Emergency = append(a.Emergency, cx.IdentityPair{IMPI: cx.IMPI(g.Group().Text(d.UserName)),
				IMPU: cx.IMPU(g.Group().Text(d.PublicIdentity))})
		}
	}
	return a
}

func appendPPR(w *d.Writer, r *cx.PushProfileRequest) {
	w.Text(d.UserName, string(r.IMPI))
	if r.Profile != nil {
		w.Octets(d.UserData, r.Profile.AppendXML(nil))
	}
	appendCharging(w, r.Charging)
	if r.Digest != nil {
		appendItem(w, &cx.AuthDataItem{Digest: r.Digest}, 1)
	}
	appendWAF(w, r.AllowedWAF)
}

// decodePPR returns cx.ErrNotSupportedUserData for a profile that cannot be read (TS 29.228 6.2.2.1).
func decodePPR(v d.AVPs) (*cx.PushProfileRequest, error) {
	r := &cx.PushProfileRequest{IMPI: cx.IMPI(v.Text(d.UserName)), Charging: decodeCharging(v), AllowedWAF: decodeWAF(v)}
	if g, ok := v.Find(d.SIPAuthDataItem); ok {
		r.Digest = decodeDigest(g.Group())
	}
	var err error
	r.Profile, r.ProfileVersion, err = decodeProfile(v)
	return r, err
}
