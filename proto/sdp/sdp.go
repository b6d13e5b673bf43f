// Package sdp is the typed layer over SDP that offer and answer of one IMS call need.
//
// It stands on github.com/pion/sdp/v3 for the line grammar (RFC 8866) and adds what that module leaves
// open: limits on everything, strict reading of the attributes we act on, and the offer/answer decisions
// of RFC 3264 for audio: G.711 and telephone-event (RFC 3551, RFC 4733), directions, rtcp-mux (RFC 5761),
// and the keying floor: DTLS-SRTP (RFC 5763, RFC 8122, RFC 8842) unless a caller lowers it by name.
//
// It does not gather ICE candidates (they are read and kept, never acted on), does not resolve names in
// c= lines (a name there would let a peer choose what we look up), keeps an SDES key only for who asks
// for it (Limits.Crypto) and never that of k=, and does not rewrite a body that only passes through: a proxy forwards octets.
// Preconditions (RFC 3312) and the fmtp of the 3GPP codecs (TS 26.114) get files of their own beside this
// one: their attributes are kept in Media.Other and Format.Parameters until then.
//
// Anybody may import it; it imports no other room. Values are plain data: safe for concurrent reading,
// a writer needs the value for itself. No function keeps a reference to its octet input.
package sdp

import "net/netip"

// Session is one session description (RFC 8866 5), reduced to what a call needs. The lines i=, u=, e=,
// p=, r=, z= and k= are dropped when read: nobody here acts on them, and k= is a key.
type Session struct {
	Origin Origin
	Name   string  // s=; "-" when written empty
	Media  []Media // in the order of the m= lines, which offer and answer share (RFC 3264 6)

	// Other holds the session attributes this package does not act on, in order, as received.
	// NewOffer and Answer never copy them from one description into another.
	Other []Attribute
}

// Origin is the o= line (RFC 8866 5.2). Address may be a name there: it is an identifier and
// nothing is ever sent to it.
type Origin struct {
	Username string // "-" when written empty
	ID       uint64
	Version  uint64 // rises by one for every changed description (RFC 3264 8)
	Address  string
}

// Media is one m= section. Attributes given at session level that are defaults for media (direction,
// setup, fingerprint, tls-id, ICE credentials) have been resolved into it by Parse.
type Media struct {
	Kind    string // "audio", "video", "message", ...
	Port    uint16 // 0: this medium is refused or switched off (RFC 3264 6)
	Proto   string // as written: "UDP/TLS/RTP/SAVP", ...; see Keying
	Formats []Format

	Address   netip.Addr // from c=; an answer of 0.0.0.0 means hold in the manner of RFC 2543
	Bandwidth []Bandwidth
	Direction Direction
	RTCPMux   bool
	RTCP      netip.AddrPort // from a=rtcp (RFC 3605); invalid if absent: then port + 1
	PTime     uint16         // milliseconds; 0 if absent
	MaxPTime  uint16         // milliseconds; 0 if absent
	MID       string

	Setup        Setup
	Fingerprints []Fingerprint // only hashes that are good for something; see ParseFingerprint
	TLSID        string        // RFC 8842: one value, one DTLS association
	SDES         bool          // an a=crypto line was there (RFC 4568)
	Crypto       []Crypto      // those that can be used, if Limits.Crypto asked for them; else their keys were thrown away

	ICE ICE

	// Other holds the attributes this package does not act on, in order, as received (curr, des, conf,
	// extmap, rtcp-fb, ssrc, ...).
	Other []Attribute
}

// Format is one entry of the m= line with its rtpmap and fmtp (RFC 8866 6.6, 6.15).
type Format struct {
	Token       string // as in the m= line; a number for RTP
	PayloadType uint8  // of Token for RTP protocols, else 0
	Encoding    string // "PCMA", "PCMU", "telephone-event", ...; "" if unknown
	ClockRate   uint32 // Hz
	Channels    uint8  // 1 if not written
	Parameters  string // of a=fmtp, as written
}

// Attribute is one a= line. A flag has an empty Value.
type Attribute struct{ Key, Value string }

// Bandwidth is one b= line; kbit/s for AS and CT, bit/s for TIAS, RS and RR (RFC 8866 5.8, RFC 3556).
type Bandwidth struct {
	Type  string
	Value uint64
}

// ICE keeps the attributes of RFC 8839. This package tolerates them; it does not run ICE.
type ICE struct {
	Ufrag, Password string // the password is a secret of the peer's connectivity checks: do not log it
	Lite            bool
	Candidates      []string // values of a=candidate, as received
}

// Direction says which way media flow, seen from the owner of the description (RFC 3264 5.1).
// The zero value is sendrecv, the default of the standard.
type Direction uint8

// Directions.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

// String returns the attribute name.
func (d Direction) String() string {
	switch d {
	case SendOnly:
		return "sendonly"
	case RecvOnly:
		return "recvonly"
	case Inactive:
		return "inactive"
	}
	return "sendrecv"
}

// Sends reports whether the owner of the description means to send.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives reports whether the owner of the description means to receive.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

func directionOf(sends, receives bool) Direction {
	switch {
	case sends && receives:
		return SendRecv
	case sends:
		return SendOnly
	case receives:
		return RecvOnly
	}
	return Inactive
}

// Answer returns the direction of an answer to an offer with direction d by somebody who himself
// wants want (RFC 3264 6.1): what one sends, the other must be willing to receive.
func (d Direction) Answer(want Direction) Direction {
	return directionOf(want.Sends() && d.Receives(), want.Receives() && d.Sends())
}

// Setup is the role in the DTLS handshake (RFC 4145 4, RFC 5763 5).
type Setup uint8

// Setup values. NoSetup is an absent attribute.
const (
	NoSetup Setup = iota
	Active
	Passive
	ActPass
	HoldConn
)

// String returns the attribute value, "" for NoSetup.
func (s Setup) String() string {
	switch s {
	case Active:
		return "active"
	case Passive:
		return "passive"
	case ActPass:
		return "actpass"
	case HoldConn:
		return "holdconn"
	}
	return ""
}

// Keying says how the keys of a medium are agreed. The order is the order of strength: a policy floor
// compares with it. The zero value is the strongest, so that a forgotten field never weakens.
type Keying uint8

// Keying values.
const (
	DTLSSRTP    Keying = iota // UDP/TLS/RTP/SAVP(F), or RTP/SAVP(F) with a fingerprint (RFC 5763, RFC 8829 5.1.2)
	SDES                      // RTP/SAVP(F) with a=crypto (RFC 4568); recognised, never agreed by this package
	PlainRTP                  // RTP/AVP(F)
	OtherKeying               // not RTP, or nothing we know
)

// String returns a name for logs and reports.
func (k Keying) String() string {
	switch k {
	case DTLSSRTP:
		return "DTLS-SRTP"
	case SDES:
		return "SDES-SRTP"
	case PlainRTP:
		return "RTP"
	}
	return "other"
}

// Keying returns how this medium wants its keys, from its protocol and attributes.
func (m *Media) Keying() Keying {
	switch m.Proto {
	case "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		return DTLSSRTP
	case "RTP/SAVP", "RTP/SAVPF":
		if len(m.Fingerprints) > 0 {
			return DTLSSRTP // also beside a=crypto: who offers both leaves the choice to the other, and the better one is taken
		}
		return SDES
	case "RTP/AVP", "RTP/AVPF":
		return PlainRTP
	}
	return OtherKeying
}
