package pcscf

import (
	"fmt"
	"net/netip"
	"slices"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// What of a description is about transport is the anchor's to say anew; codecs, directions and the rest pass.

// ofTransport are attributes that the typed layer keeps as they came and that say something about transport or keys: capability
// negotiation, for one, may hold keys and addresses of its own (RFC 5939).
var ofTransport = []string{"group", "bundle-only", "ice-options", "ice-mismatch", "ice-pacing", "remote-candidates", "end-of-candidates", "rtcp-mux-only",
	"connection", "identity", "3ge2ae", "tcap", "acap", "pcfg", "acfg", "csup", "creq", "msid-semantic", "zrtp-hash", "mptime", "visited-realm",
	"secondary-realm", "omr-m-cksum", "omr-s-cksum", "omr-codecs", "omr-m-att", "omr-s-att", "alt", "source-filter", "crypto", "key-mgmt"}

func keepAttributes(all []sdp.Attribute) (kept []sdp.Attribute) {
	for _, a := range all {
		if !slices.Contains(ofTransport, a.Key) && !namesSource(a) && !sealsHeader(a) {
			kept = append(kept, a)
		}
	}
	return kept
}

// onward copies a medium without its transport.
func onward(m *sdp.Media) sdp.Media {
	return sdp.Media{Kind: m.Kind, Formats: m.Formats, Bandwidth: m.Bandwidth, Direction: m.Direction, PTime: m.PTime, MaxPTime: m.MaxPTime, MID: m.MID,
		Other: keepAttributes(m.Other)}
}

// disabled is a medium that is refused or switched off (RFC 3264 6).
func disabled(m *sdp.Media) sdp.Media {
	return sdp.Media{Kind: m.Kind, Proto: m.Proto, Formats: m.Formats, MID: m.MID}
}

// place reads where a far end receives (RFC 3550 11, RFC 3605, RFC 5761).
func place(m *sdp.Media, mux bool) iq.Remote {
	r := iq.Remote{Media: netip.AddrPortFrom(m.Address.Unmap(), m.Port)}
	if checks(m) {
		r.ICE = m.ICE.Ufrag
	}
	switch {
	case mux:
		r.Control = r.Media
	case m.RTCP.IsValid():
		r.Control = netip.AddrPortFrom(m.RTCP.Addr().Unmap(), m.RTCP.Port())
	default:
		r.Control = netip.AddrPortFrom(r.Media.Addr(), m.Port+1)
	}
	return r
}

// checks reports whether a far end does the full half of ICE: two lite halves would check nothing.
func checks(m *sdp.Media) bool { return m.ICE.Ufrag != "" && m.ICE.Password != "" && !m.ICE.Lite }

// iceOf is our half of ICE, the lite one, with the one address that the end has (RFC 8839 5.1, RFC 8445 5.2).
func iceOf(e *iq.End) sdp.ICE {
	candidate := func(component int, at netip.AddrPort) string {
		return fmt.Sprintf("1 %d UDP %d %v %d typ host", component, 126<<24|65535<<8|(256-component), at.Addr(), at.Port())
	}
	ice := sdp.ICE{Ufrag: e.Ufrag, Password: e.Password, Candidates: []string{candidate(1, e.Media)}}
	if e.Control != e.Media {
		ice.Candidates = append(ice.Candidates, candidate(2, e.Control))
	}
	return ice
}

// lite says in a description with ICE that ours is the lite half (RFC 8839 5.3).
func lite(d *sdp.Session) {
	for i := range d.Media {
		if d.Media[i].ICE.Ufrag != "" {
			d.Other = append(d.Other, sdp.Attribute{Key: "ice-lite"})
			return
		}
	}
}

// typesOf are the payload types of a description: who reads it may send them (RFC 3264 5.1).
func typesOf(m *sdp.Media) (t iq.Types) {
	for _, f := range m.Formats {
		t.Add(f.PayloadType)
	}
	return t
}

// kilobits is how much who reads a description may send (RFC 8866 5.8); 0 if it does not say.
func kilobits(m *sdp.Media) (n uint64) {
	for _, b := range m.Bandwidth {
		switch {
		case b.Type == "AS":
			return b.Value
		case b.Type == "TIAS":
			n = b.Value/1000 + 50 // without headers, which a packet every 20 ms has too
		}
	}
	return n
}
