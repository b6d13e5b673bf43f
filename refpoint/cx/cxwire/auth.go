package cxwire

import (
	"imsafe/proto/aka"
	d "imsafe/proto/diameter"
	"imsafe/refpoint/cx"
)

// MAR: vectors (TS 29.229 6.1.7, 6.1.8). This file has the only encoder of keys in the house.

func appendMAR(w *d.Writer, r *cx.MultimediaAuthRequest) {
	w.Text(d.UserName, string(r.IMPI))
	w.Text(d.PublicIdentity, string(r.IMPU))
	w.Open(d.SIPAuthDataItem)
	w.Text(d.SIPAuthenticationScheme, r.Scheme.String())
	if r.Resync != nil { // RAND || AUTS (TS 29.229 6.3.11)
		w.Octets(d.SIPAuthorization, append(append(make([]byte, 0, 30), r.Resync.RAND[:]...), r.Resync.AUTS[:]...))
	}
	w.Close()
	w.Unsigned32(d.SIPNumberAuthItems, r.Items)
	w.TextIf(d.ServerName, r.ServerName)
}

func decodeMAR(v d.AVPs) (*cx.MultimediaAuthRequest, *d.Fault) {
	items, _ := v.Number(d.SIPNumberAuthItems)
	r := &cx.MultimediaAuthRequest{IMPI: cx.IMPI(v.Text(d.UserName)), IMPU: cx.IMPU(v.Text(d.PublicIdentity)),
		ServerName: v.Text(d.ServerName), Items: items}
	item, _ := v.Find(d.SIPAuthDataItem)
	scheme, ok := item.Group().Find(d.SIPAuthenticationScheme)
	if !ok {
		return nil, d.WrongValue(d.ResultMissingAVP, d.SIPAuthenticationScheme, nil)
	}
	r.Scheme = parseScheme(string(scheme.Data))
	if a, ok := item.Group().Find(d.SIPAuthorization); ok {
		if len(a.Data) != len(aka.RAND{})+len(aka.AUTS{}) {
			return nil, d.WrongValue(d.ResultInvalidAVPValue, d.SIPAuthorization, a.Data)
		}
		r.Resync = &cx.Resync{RAND: aka.RAND(a.Data[:16]), AUTS: aka.AUTS(a.Data[16:])}
	}
	return r, nil
}

func parseScheme(s string) cx.AuthScheme {
	for _, scheme := range []cx.AuthScheme{cx.SchemeDigestAKA, cx.SchemeDigest} {
		if s == scheme.String() {
			return scheme
		}
	}
	return cx.SchemeUnknown
}

func appendMAA(w *d.Writer, a *cx.MultimediaAuthAnswer) {
	w.Text(d.UserName, string(a.IMPI))
	w.Text(d.PublicIdentity, string(a.IMPU))
	w.Unsigned32(d.SIPNumberAuthItems, uint32(len(a.Items)))
	for i := range a.Items {
		appendItem(w, &a.Items[i], uint32(i+1))
	}
}

// appendItem writes SIP-Auth-Data-Item (TS 29.229 6.3.13): RAND || AUTN, XRES, CK, IK, or H(A1).
//
// Both versions of AKA are "Digest-AKAv1-MD5" in Cx, and which one a subscriber uses is not on the wire. Between our own nodes it
// is: as Digest-Algorithm, an AVP of RFC 7155 whose values are just these, without the M bit, in a group that may carry any AVP.
// Who does not know it ignores it. AKAv1 is what the standard means and needs no hint.
func appendItem(w *d.Writer, item *cx.AuthDataItem, number uint32) {
	w.Open(d.SIPAuthDataItem)
	defer w.Close()
	w.Unsigned32(d.SIPItemNumber, number)
	if item.Digest != nil {
		w.Text(d.SIPAuthenticationScheme, cx.SchemeDigest.String())
		appendDigest(w, item.Digest)
		return
	}
	w.Text(d.SIPAuthenticationScheme, cx.SchemeDigestAKA.String())
	v := &item.Vector
	w.Octets(d.SIPAuthenticate, append(append(make([]byte, 0, 32), v.RAND[:]...), v.AUTN[:]...))
	var secret [16]byte
	w.Octets(d.SIPAuthorization, v.XRES.Append(secret[:0]))
	clear(secret[:])
	w.Octets(d.ConfidentialityKey, v.CK[:])
	w.Octets(d.IntegrityKey, v.IK[:])
	if item.Algorithm != aka.AKAv1MD5 {
		w.TextIf(d.DigestAlgorithm, item.Algorithm.String())
	}
}

// appendDigest writes SIP-Digest-Authenticate (TS 29.229 6.3.36).
func appendDigest(w *d.Writer, a *cx.DigestAuthenticate) {
	w.Open(d.SIPDigestAuthenticate)
	w.Text(d.DigestRealm, a.Realm)
	w.TextIf(d.DigestAlgorithm, a.Algorithm.String())
	w.Text(d.DigestQoP, a.QOP)
	w.Text(d.DigestHA1, a.HA1.Reveal())
	w.Close()
}

func decodeDigest(v d.AVPs) *cx.DigestAuthenticate {
	a, ok := v.Find(d.SIPDigestAuthenticate)
	if !ok {
		return nil
	}
	g := a.Group()
	digest := &cx.DigestAuthenticate{Realm: g.Text(d.DigestRealm), Algorithm: aka.MD5, QOP: g.Text(d.DigestQoP),
		HA1: cx.NewSecretHex(g.Text(d.DigestHA1))}
	if token, ok := g.Find(d.DigestAlgorithm); ok {
		digest.Algorithm, _ = aka.ParseDigestAlgorithm(token.Data)
	}
	return digest
}

// decodeMAA reads an answer. algorithm is that of subscribers for whom the HSS gives no hint. An item that is not whole is a
// failure of the HSS: half a vector authenticates nobody.
func decodeMAA(v d.AVPs, result cx.Result, algorithm aka.DigestAlgorithm) (*cx.MultimediaAuthAnswer, error) {
	a := &cx.MultimediaAuthAnswer{Result: result, IMPI: cx.IMPI(v.Text(d.UserName)), IMPU: cx.IMPU(v.Text(d.PublicIdentity))}
	numbers := []uint32(nil)
	for g := range v.All() {
		if g.ID() != d.SIPAuthDataItem {
			continue
		}
		if len(a.Items) == cx.MaxAuthItems {
			return nil, errUnreadable
		}
		item, ok := decodeItem(g.Group(), algorithm)
		if !ok {
			return nil, errUnreadable
		}
		// They are used in the order of their numbers (TS 29.229 6.3.14).
		number, _ := g.Group().Number(d.SIPItemNumber)
		at := len(a.Items)
		for at > 0 && numbers[at-1] > number {
			at--
		}
		a.Items, numbers = insert(a.Items, at, item), insert(numbers, at, number)
	}
	if len(a.Items) == 0 {
		return nil, errUnreadable
	}
	return a, nil
}

func insert[T any](s []T, at int, v T) []T {
	s = append(s, v)
	copy(s[at+1:], s[at:])
	s[at] = v
	return s
}

func decodeItem(g d.AVPs, algorithm aka.DigestAlgorithm) (item cx.AuthDataItem, ok bool) {
	if parseScheme(g.Text(d.SIPAuthenticationScheme)) == cx.SchemeDigest {
		item.Digest = decodeDigest(g)
		if item.Digest != nil {
			item.Algorithm = item.Digest.Algorithm
		}
		return item, item.Digest != nil && item.Algorithm != 0
	}
	item.Algorithm = algorithm
	if a, found := g.Find(d.DigestAlgorithm); found {
		var known bool
		if item.Algorithm, known = aka.ParseDigestAlgorithm(a.Data); !known || !item.Algorithm.AKA() {
			return item, false
		}
	}
	challenge, _ := g.Find(d.SIPAuthenticate)
	xres, _ := g.Find(d.SIPAuthorization)
	ck, _ := g.Find(d.ConfidentialityKey)
	ik, _ := g.Find(d.IntegrityKey)
	if len(challenge.Data) != 32 || len(ck.Data) != 16 || len(ik.Data) != 16 {
		return item, false
	}
	v := &item.Vector
	v.RAND, v.AUTN = aka.RAND(challenge.Data[:16]), aka.AUTN(challenge.Data[16:])
	v.XRES, v.CK, v.IK = aka.NewRES(xres.Data), aka.CK(ck.Data), aka.IK(ik.Data)
	return item, v.XRES.Len() > 0
}
