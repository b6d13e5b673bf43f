package shwire

import (
	"time"

	d "imsafe/proto/diameter"
	"imsafe/refpoint/sh"
)

// Information elements to AVPs and back (TS 29.329 6.3).

// appendUser writes User-Identity (TS 29.329 6.3.1).
func appendUser(w *d.Writer, u sh.UserIdentity) {
	w.Open(d.UserIdentity)
	w.TextIf(d.PublicIdentity, string(u.Public))
	if u.MSISDN != "" {
		w.Octets(d.MSISDN, appendTBCD(nil, u.MSISDN))
	}
	w.Close()
}

// decodeUser reads it. One identity names a user; two could name two.
func decodeUser(v d.AVPs) (u sh.UserIdentity, f *d.Fault) {
	a, _ := v.Find(d.UserIdentity)
	for g := range a.Group().All() {
		switch id := g.ID(); {
		case id != d.PublicIdentity && id != d.MSISDN:
			continue
		case u != sh.UserIdentity{}:
			return u, d.WrongValue(d.ResultAVPOccursTooManyTimes, d.UserIdentity, a.Data)
		case id == d.PublicIdentity:
			u.Public = sh.IMPU(g.Data)
		default:
			if u.MSISDN = parseTBCD(g.Data); u.MSISDN == "" {
				return u, d.WrongValue(d.ResultInvalidAVPValue, d.MSISDN, g.Data)
			}
		}
	}
	if u == (sh.UserIdentity{}) {
		return u, d.WrongValue(d.ResultMissingAVP, d.PublicIdentity, nil)
	}
	return u, nil
}

// appendTBCD writes digits two in an octet, the first in the lower half, 1111 behind an odd number (TS 29.329 6.3.2, TS 29.002 17.7.8).
func appendTBCD(dst []byte, digits string) []byte {
	for i := 0; i < len(digits); i += 2 {
		low, high := digits[i]-'0', byte(15)
		if i+1 < len(digits) {
			high = digits[i+1] - '0'
		}
		dst = append(dst, high<<4|low)
	}
	return dst
}

// parseTBCD reads up to fifteen digits; "" if they are none.
func parseTBCD(b []byte) string {
	var digits [16]byte
	n := 0
	for i, octet := range b {
		low, high := octet&15, octet>>4
		if i >= 8 || low > 9 || high > 9 && (high != 15 || i != len(b)-1) {
			return ""
		}
		digits[n] = '0' + low
		n++
		if high <= 9 {
			digits[n] = '0' + high
			n++
		}
	}
	if n > 15 {
		return ""
	}
	return string(digits[:n])
}

// appendKey writes what says which data is meant.
func appendKey(w *d.Writer, k *sh.Key) {
	w.TextIf(d.ServerName, k.ServerName)
	w.TextIf(d.ServiceIndication, k.ServiceIndication)
	w.Enumerated(d.DataReference, int32(k.Reference))
	if k.IdentitySet != sh.AllIdentities {
		w.Enumerated(d.IdentitySet, int32(k.IdentitySet))
	}
	if k.Domain != sh.NoDomain {
		w.Enumerated(d.RequestedDomain, int32(k.Domain)-1)
	}
	if k.CurrentLocation {
		w.Enumerated(d.CurrentLocation, 1)
	}
	w.TextIf(d.DSAITag, k.DSAITag)
}

func decodeKey(v d.AVPs) (k sh.Key, f *d.Fault) {
	if k.Reference, f = decodeReference(v); f != nil {
		return k, f
	}
	k.ServerName, k.ServiceIndication, k.DSAITag = v.Text(d.ServerName), v.Text(d.ServiceIndication), v.Text(d.DSAITag)
	set, f := v.Choice(d.IdentitySet, 0, uint32(sh.AliasIdentities))
	if f != nil {
		return k, f
	}
	if _, ok := v.Find(d.RequestedDomain); ok {
		domain, f := v.Choice(d.RequestedDomain, 0, 1)
		if f != nil {
			return k, f
		}
		k.Domain = sh.Domain(domain) + sh.CSDomain
	}
	current, f := v.Choice(d.CurrentLocation, 0, 1)
	k.IdentitySet, k.CurrentLocation = sh.IdentitySet(set), current == 1
	return k, f
}

// decodeReference reads Data-Reference. One that the table does not have is no value (TS 29.329 6.3.4).
func decodeReference(v d.AVPs) (sh.DataReference, *d.Fault) {
	a, _ := v.Find(d.DataReference)
	n, _ := a.Unsigned32()
	if n > 255 || !sh.DataReference(n).Known() {
		return 0, d.WrongValue(d.ResultInvalidAVPValue, d.DataReference, a.Data)
	}
	return sh.DataReference(n), nil
}

func appendUDR(w *d.Writer, r *sh.UserDataRequest) {
	appendUser(w, r.User)
	w.TextIf(d.UserName, string(r.IMPI))
	appendKey(w, &r.Key)
}

func decodeUDR(v d.AVPs) (*sh.UserDataRequest, *d.Fault) {
	user, f := decodeUser(v)
	if f != nil {
		return nil, f
	}
	k, f := decodeKey(v)
	return &sh.UserDataRequest{User: user, IMPI: sh.IMPI(v.Text(d.UserName)), Key: k}, f
}

// appendRange writes the range that an identity falls into.
func appendRange(w *d.Writer, psi, impu sh.IMPU) {
	w.TextIf(d.WildcardedPublicIdentity, string(psi))
	w.TextIf(d.WildcardedIMPU, string(impu))
}

func decodeRange(v d.AVPs) (psi, impu sh.IMPU) {
	return sh.IMPU(v.Text(d.WildcardedPublicIdentity)), sh.IMPU(v.Text(d.WildcardedIMPU))
}

// appendData writes User-Data, if there is any.
func appendData(w *d.Writer, data *sh.Data) {
	if data != nil {
		w.Octets(d.ShUserData, data.AppendXML(nil))
	}
}

// decodeData reads User-Data; nil without.
func decodeData(v d.AVPs) (*sh.Data, error) {
	a, ok := v.Find(d.ShUserData)
	if !ok {
		return nil, nil
	}
	data, err := sh.DecodeData(a.Data)
	if err != nil {
		return nil, sh.ErrUserDataNotRecognized
	}
	return data, nil
}

func appendUDA(w *d.Writer, a *sh.UserDataAnswer) {
	appendRange(w, a.WildcardedPSI, a.WildcardedIMPU)
	appendData(w, a.Data)
}

func decodeUDA(v d.AVPs) (*sh.UserDataAnswer, error) {
	a := &sh.UserDataAnswer{}
	a.WildcardedPSI, a.WildcardedIMPU = decodeRange(v)
	var err error
	a.Data, err = decodeData(v)
	return a, err
}

func appendPUR(w *d.Writer, r *sh.ProfileUpdateRequest) {
	appendUser(w, r.User)
	w.TextIf(d.UserName, string(r.IMPI))
	w.Enumerated(d.DataReference, int32(r.Reference))
	appendData(w, r.Data)
}

// decodePUR returns a nil Data for one that cannot be read: who may not write must not learn how it is read.
func decodePUR(v d.AVPs) (*sh.ProfileUpdateRequest, *d.Fault) {
	user, f := decodeUser(v)
	if f != nil {
		return nil, f
	}
	ref, f := decodeReference(v)
	if f != nil {
		return nil, f
	}
	r := &sh.ProfileUpdateRequest{User: user, IMPI: sh.IMPI(v.Text(d.UserName)), Reference: ref}
	if r.Data, _ = decodeData(v); r.Data == nil {
		r.Data = &sh.Data{} // the HSS finds nothing in it that it could write (5100)
	}
	return r, nil
}

func appendSNR(w *d.Writer, r *sh.SubscribeNotificationsRequest) {
	appendUser(w, r.User)
	w.TextIf(d.UserName, string(r.IMPI))
	k := r.Key
	k.Domain, k.CurrentLocation = sh.NoDomain, false // of a pull
	appendKey(w, &k)
	w.Flag(d.SubsReqType, r.Unsubscribe)
	if r.SendData {
		w.Flag(d.SendDataIndication, true)
	}
	if r.ExpiryTime > 0 {
		w.Time(d.ExpiryTime, time.Unix(r.ExpiryTime, 0))
	}
	if r.OneTime {
		w.Enumerated(d.OneTimeNotification, 0) // ONE_TIME_NOTIFICATION_REQUESTED (TS 29.329 6.3.22)
	}
}

func decodeSNR(v d.AVPs) (*sh.SubscribeNotificationsRequest, *d.Fault) {
	user, f := decodeUser(v)
	if f != nil {
		return nil, f
	}
	k, f := decodeKey(v)
	if f != nil {
		return nil, f
	}
	kind, f := v.Choice(d.SubsReqType, 0, 1)
	if f != nil {
		return nil, f
	}
	send, f := v.Choice(d.SendDataIndication, 0, 1)
	if f != nil {
		return nil, f
	}
	_, oneTime := v.Find(d.OneTimeNotification)
	return &sh.SubscribeNotificationsRequest{User: user, IMPI: sh.IMPI(v.Text(d.UserName)), Key: k, Unsubscribe: kind == 1, SendData: send == 1,
		ExpiryTime: expiry(v), OneTime: oneTime}, nil
}

// expiry reads Expiry-Time; 0 without.
func expiry(v d.AVPs) int64 {
	a, ok := v.Find(d.ExpiryTime)
	if !ok {
		return 0
	}
	t, _ := a.Time()
	return max(t.Unix(), 1)
}

func appendSNA(w *d.Writer, a *sh.SubscribeNotificationsAnswer) {
	appendRange(w, a.WildcardedPSI, a.WildcardedIMPU)
	appendData(w, a.Data)
	if a.ExpiryTime > 0 {
		w.Time(d.ExpiryTime, time.Unix(a.ExpiryTime, 0))
	}
}

func decodeSNA(v d.AVPs) (*sh.SubscribeNotificationsAnswer, error) {
	a := &sh.SubscribeNotificationsAnswer{ExpiryTime: expiry(v)}
	a.WildcardedPSI, a.WildcardedIMPU = decodeRange(v)
	var err error
	a.Data, err = decodeData(v)
	return a, err
}

func appendPNR(w *d.Writer, r *sh.PushNotificationRequest) {
	appendUser(w, r.User)
	appendRange(w, r.WildcardedPSI, r.WildcardedIMPU)
	appendData(w, r.Data)
}

func decodePNR(v d.AVPs) (*sh.PushNotificationRequest, *d.Fault, error) {
	user, f := decodeUser(v)
	if f != nil {
		return nil, f, nil
	}
	r := &sh.PushNotificationRequest{User: user}
	r.WildcardedPSI, r.WildcardedIMPU = decodeRange(v)
	var err error
	r.Data, err = decodeData(v)
	return r, nil, err
}
