package sdp

import (
	"slices"
	"strings"
)

// Bundle returns which media the description wants on one transport (RFC 9143 7.1), as indices into Media, the tagged one first: those of the first
// BUNDLE group. It is nil without one. A name that no medium has is passed over (RFC 5888 9.2); a group that names one twice, or one that two media
// have, is none: two readers could find two media there.
func (s *Session) Bundle() []int {
	for _, a := range s.Other {
		f := strings.Fields(a.Value)
		if a.Key != "group" || len(f) == 0 || f[0] != "BUNDLE" {
			continue
		}
		var lines []int
		for _, mid := range f[1:] {
			for i := range s.Media {
				switch {
				case s.Media[i].MID != mid:
				case slices.ContainsFunc(lines, func(k int) bool { return s.Media[k].MID == mid }):
					return nil
				default:
					lines = append(lines, i)
				}
			}
		}
		return lines
	}
	return nil
}

// SetBundle writes the group of these media, the tagged one first. All of them have a MID.
func (s *Session) SetBundle(lines []int) {
	s.Other = slices.DeleteFunc(s.Other, func(a Attribute) bool { return a.Key == "group" && strings.HasPrefix(a.Value, "BUNDLE") })
	if len(lines) == 0 {
		return
	}
	value := "BUNDLE"
	for _, i := range lines {
		value += " " + s.Media[i].MID
	}
	s.Other = append(s.Other, Attribute{"group", value})
}

// BundleOnly reports whether a medium is wanted on a transport with others, or not at all (RFC 9143 6). Its port is 0, and yet it is not switched off.
func (m *Media) BundleOnly() bool {
	return slices.ContainsFunc(m.Other, func(a Attribute) bool { return a.Key == "bundle-only" })
}

// Carry gives the medium the transport of another one: address, keys, ICE (RFC 9143 7.1.3).
func (m *Media) Carry(tagged *Media) {
	m.Address, m.Port, m.RTCPMux, m.RTCP = tagged.Address, tagged.Port, tagged.RTCPMux, tagged.RTCP
	m.Setup, m.Fingerprints, m.TLSID, m.ICE = tagged.Setup, tagged.Fingerprints, tagged.TLSID, tagged.ICE
	m.SDES, m.Crypto = tagged.SDES, tagged.Crypto
}

// Carried takes off the medium what stands in the tagged one alone (RFC 9143 7.1.3). It keeps its address and a=rtcp-mux, without which browsers refuse it.
func (m *Media) Carried() {
	m.Setup, m.Fingerprints, m.TLSID, m.ICE = NoSetup, nil, "", ICE{}
}
