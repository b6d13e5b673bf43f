package as

import "imsafe/proto/sdp"

// Decline answers an offer by refusing every medium in it (RFC 3264 6: port 0): the call stands and nothing is heard. nil if the offer cannot be
// read or is none: then there is nothing to answer, as Answer and Leg.Offers understand it.
func Decline(offer []byte) []byte {
	if len(offer) == 0 {
		return nil
	}
	session, err := sdp.Parse(offer, sdp.Limits{})
	if err != nil {
		return nil
	}
	for i := range session.Media {
		m := &session.Media[i]
		session.Media[i] = sdp.Media{Kind: m.Kind, Proto: m.Proto, Formats: bare(m.Formats), Address: m.Address, MID: m.MID, Direction: sdp.Inactive}
	}
	session.Origin = sdp.Origin{Username: "-", ID: session.Origin.ID, Version: session.Origin.Version, Address: "declined.invalid"}
	session.Other = nil
	answer, err := session.Marshal()
	if err != nil {
		return nil
	}
	return answer
}

// bare keeps the name of a format: the line of a declined medium still has one.
func bare(all []sdp.Format) []sdp.Format {
	if len(all) == 0 {
		return nil
	}
	return []sdp.Format{{Token: all[0].Token, PayloadType: all[0].PayloadType}}
}

// Keying names how the media of an offer would get their keys, the weakest of them: "DTLS-SRTP", for example; "" if there are none.
func Keying(offer []byte) string {
	session, err := sdp.Parse(offer, sdp.Limits{})
	if err != nil || len(session.Media) == 0 {
		return ""
	}
	weakest := sdp.DTLSSRTP
	for i := range session.Media {
		weakest = max(weakest, session.Media[i].Keying())
	}
	return weakest.String()
}
