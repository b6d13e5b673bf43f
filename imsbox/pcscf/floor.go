package pcscf

import (
	"net/netip"
	"strings"
	"time"

	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// floor is how weakly the media of a client may be keyed, by what its signalling is worth (TS 33.328): DTLS-SRTP always; keys in
// descriptions where nobody reads these on the way; RTP in clear by a waiver.
type floor struct {
	confidential bool
	waived       bool
}

// Waiver says whose media may go in clear. The zero value is nobody's.
type Waiver struct {
	Ends map[string]time.Time // public identities, in canonical form, and until when
	// Associated is until when everybody may who has security associations (TS 33.203): a telephone on a radio bearer that is encrypted.
	Associated time.Time
	Wall       func() time.Time // needed with Ends and Associated
	Lab        bool             // everybody's whose signalling goes in clear too: of a laboratory
}

// floorOf returns the floor of a client.
func (p *PCSCF) floorOf(client secure.Association) floor {
	f := floor{confidential: p.ports.Gm.Confidential(client)}
	f.waived = p.cfg.Waiver.Lab && !f.confidential
	if ends := p.cfg.Waiver.Associated; !ends.IsZero() && p.ports.Gm.Address(client) != "" {
		f.waived = f.waived || p.cfg.Waiver.Wall().Before(ends)
	}
	if len(p.cfg.Waiver.Ends) == 0 {
		return f
	}
	k, _ := p.kept(client)
	for _, set := range k.sets {
		for _, impu := range set {
			f.waived = f.waived || p.cfg.Waiver.Wall().Before(p.cfg.Waiver.Ends[impu])
		}
	}
	return f
}

// allows reports whether a side may be keyed like that. Towards the core, where it may lead anywhere, there is DTLS-SRTP alone.
func (c *call) allows(side iq.Side, k sdp.Keying) bool {
	switch {
	case k == sdp.DTLSSRTP:
		return true
	case side == iq.Access && k == sdp.SDES && c.standing.confidential:
		return true
	case side == iq.Access && k == sdp.PlainRTP && c.standing.waived:
		return true
	case side == iq.Access && c.urgent: // whatever the telephone can
		c.standing.confidential = c.standing.confidential || k == sdp.SDES
		c.standing.waived = c.standing.waived || k == sdp.PlainRTP
		return true
	}
	if c.belowFloor(k) {
		return false
	}
	c.standing.confidential, c.standing.waived = true, true // a laboratory has no floor
	return true
}

// belowFloor is the enforcement point of "no media in clear, and no key where others read it" (TS 33.328).
func (c *call) belowFloor(k sdp.Keying) bool {
	return c.p.ports.Gate.Refuse(secure.CSConfidentialityMediaFloor, secure.Event{Reason: strings.ToLower(k.String()), Subject: c.user})
}

// familyOf guesses the version of IP that a client's media use, by its Contact.
func (p *PCSCF) familyOf(client secure.Association) iq.Family {
	k, _ := p.kept(client)
	uri, err := sip.ParseURI([]byte(k.contact))
	if err != nil {
		return iq.Any
	}
	a, err := netip.ParseAddr(strings.Trim(string(uri.Host), "[]"))
	if err != nil {
		return iq.Any
	}
	return iq.FamilyOf(a)
}
