package rtpport

import "sync/atomic"

// Drop is a reason why a received packet went no further. The names are metric labels.
type Drop uint8

// Reasons.
const (
	DropSource      Drop = iota // not from the agreed address
	DropEarly                   // before Start, or media before the handshake finished
	DropSTUN                    // no check of the peer, or of nobody: ICE is off
	DropUnknown                 // first octet of nothing we speak
	DropAlert                   // DTLS alert in clear: anybody could have sent it
	DropHandshake               // DTLS record that belongs to no attempt, or over the bounds
	DropShort                   // no room for header and tag
	DropPayloadType             // not agreed
	DropSSRC                    // more sources than a leg has
	DropReplay                  // seen, or behind the window
	DropTag                     // SRTP or SRTCP tag wrong
	DropMalformed               // authenticated and yet not RTP or RTCP
	DropHold                    // authenticated, but we are on hold
	DropReused                  // to be sent under a key and an index that were used before
	DropRate                    // from the agreed address, and more than the leg may get
	DropConsent                 // to be sent to a peer that has not shown that it receives, or not lately
	DropRace                    // a ClientHello beside another one: none of them is believed before its fingerprint is (it is not dropped)
	DropFingerprint             // a handshake whose certificate is not that of the description

	// What a relay takes out of an authentic packet, because nobody agreed on it. The rest goes on.
	DropExtension    // elements of a header extension
	DropContributors // contributing sources
	DropPadding
	DropControl // RTCP packets, items of SDES, reasons of BYE, extensions of reports
	DropBundle  // authentic, and of no m= line of the bundle
	drops
)

// String returns the label.
func (d Drop) String() string {
	names := [drops]string{"source", "early", "stun", "unknown", "alert", "handshake", "short", "payload-type", "ssrc", "replay", "tag", "malformed", "hold", "reused", "rate", "consent", "race", "fingerprint",
		"extension", "contributors", "padding", "control", "bundle"}
	if d < drops {
		return names[d]
	}
	return "?"
}

// Drops lists all reasons.
func Drops() []Drop {
	list := make([]Drop, drops)
	for i := range list {
		list[i] = Drop(i)
	}
	return list
}

// Counters count packets. All fields only grow. Safe for concurrent use.
type Counters struct {
	PacketsIn, OctetsIn   atomic.Uint64 // authenticated RTP, payload octets
	PacketsOut, OctetsOut atomic.Uint64
	ControlIn, ControlOut atomic.Uint64 // RTCP packets
	Byes                  atomic.Uint64 // RTCP BYE from the peer
	Lost                  atomic.Uint64 // as of the last report we made: expected minus received
	SendErrors            atomic.Uint64

	dropped [drops]atomic.Uint64
}

func (c *Counters) drop(d Drop) { c.dropped[d].Add(1) }

// Dropped returns how many packets went no further for that reason.
func (c *Counters) Dropped(d Drop) uint64 { return c.dropped[d].Load() }

// Counters of the leg, live.
func (l *Leg) Counters() *Counters { return &l.counters }
