// Package iq is the contract between the P-CSCF, which speaks SIP and SDP, and the media anchor of the C-S door, which has the sockets and
// the keys (reference point Iq, TS 23.334: IMS-ALG and IMS access gateway).
//
// The P-CSCF says for each medium of a session what its client and the rest of the network have agreed on; the anchor stands between them,
// with a port and keys of its own on each side, and lets through what both have agreed to. Nothing passes before Configure has told
// both ends, nothing passes a closed gate, and no address is ever learned from a packet.
//
// All of it is synchronous: what an answer needs was reserved with the offer, so that a response can be rewritten on its way, where nothing
// may wait. Reserve opens sockets; nothing else touches the system. The anchor is in the process of its P-CSCF, or in one of its own on the
// same machine, which outlives the P-CSCF (refpoint/iq/iqwire).
//
// refpoint/iq imports proto. All methods are safe for concurrent use.
package iq

import (
	"net/netip"

	"imsafe/proto/sdp"
)

// Session names one session at the anchor: an H.248 context. The zero value names none.
type Session uint64

// Side is an end of a medium at the anchor.
type Side uint8

// The sides.
const (
	Access Side = iota // towards the client of the P-CSCF
	Core               // towards the rest of the network
)

// Other is the other side.
func (s Side) Other() Side { return 1 - s }

// String returns the name used in logs.
func (s Side) String() string {
	if s == Access {
		return "access"
	}
	return "core"
}

// Branch tells the far ends of a forked call apart, on the side of the core: each has keys of its own. 0 is the only one of the access.
type Branch uint64

// Medium is what is reserved: one m= line.
type Medium struct {
	User     string      // whose session it is, for the bound on what one user may hold: a private identity
	Kind     string      // "audio", "video", ...: bounds of rate follow from it
	Families [2]Family   // by side
	Suites   []sdp.Suite // SDES keys that the description of the access side will offer or answer with; nil: none
	Separate [2]bool     // by side: RTCP has a port of its own there, because the description does not say rtcp-mux
}

// Family is a version of IP.
type Family uint8

// The families. Any is the anchor's choice.
const (
	Any Family = iota
	IPv4
	IPv6
)

// FamilyOf returns that of an address; Any if it is invalid.
func FamilyOf(a netip.Addr) Family {
	switch {
	case !a.IsValid():
		return Any
	case a.Unmap().Is4():
		return IPv4
	}
	return IPv6
}

// End is what the description on one side must say: where the anchor receives, and by what it is known there.
type End struct {
	Media        netip.AddrPort
	Control      netip.AddrPort // = Media where RTCP has no port of its own
	Fingerprints []sdp.Fingerprint
	TLSID        string
	Crypto       []sdp.Crypto // fresh keys, one of each suite that was asked for
	// Ufrag and Password are those of its half of ICE, which is the lite one (RFC 8445 2.5). Of the access only.
	Ufrag, Password string
}

// Stream is a reserved medium.
type Stream struct {
	Session Session
	Number  int // within the session, from 0
	Ends    [2]End
}

// Remote is a far end, as its description says.
type Remote struct {
	Media, Control netip.AddrPort // equal with rtcp-mux
	Keying         sdp.Keying
	Role           sdp.Role // of the anchor in the handshake
	// Fingerprints are those that its certificate must have: no other peer gets keys. They are the description's; where a media grant
	// goes with the description, the P-CSCF leaves only those that the grant names as well.
	Fingerprints []sdp.Fingerprint
	Local, Peer  sdp.Crypto // SDES: with which the anchor seals, and opens
	// ICE is the far end's ufrag if it does ICE: then the anchor sends to where its checks, keyed by End.Password, come from, and Media may be
	// 0.0.0.0 or ::, of a client that tells no address (RFC 8839 4.2.5). "": where Media says.
	ICE          string
	Types        Types  // that it may send
	Beside       Beside // and what else
	Waived       bool   // a waiver allows this end RTP in clear
	Confidential bool   // its signalling is: keys may stand in its description
	Kilobits     uint64 // a second, that it may send by the other's description; 0: as many as its kind

	// Within is 1 + the number of the stream whose transport this one shares (RFC 9143): that stream has the address, the keys and the port, and
	// was told before. Types, Beside, Kilobits and MID are this one's own. 0: it has a transport of its own. Of the access only.
	Within int
	// MID names the medium where several share a transport, in packets by the header extension with the identifier Extension; 0: in none.
	MID       string
	Extension uint8
}

// Types is a set of RTP payload types.
type Types [2]uint64

// Add puts t into the set.
func (s *Types) Add(t uint8) { s[t/64&1] |= 1 << (t % 64) }

// Has reports whether t is in the set.
func (s *Types) Has(t uint8) bool { return s[t/64&1]&(1<<(t%64)) != 0 }

// Beside is what a far end may send beside payloads of its types, because both descriptions have it. The zero value is nothing.
type Beside struct {
	Extensions [4]uint64 // of the header, by identifier (RFC 8285 5): bit n%64 of word n/64
	Transport  uint32    // feedback: bit n is FMT n of transport layer messages (RFC 4585 6.2),
	Payload    uint32    // and of payload-specific ones (6.3)
	Extended   bool      // extended reports (RFC 3611)
}

// Gateway is what the P-CSCF may ask of the anchor (server side of the contract).
type Gateway interface {
	// Reserve makes ports and certificates for a medium, in a new session if s is 0. ErrFull, ErrUser (also for more media than a session
	// may have), ErrFamily, ErrGone. After an
	// error nothing was made.
	Reserve(s Session, m Medium) (Stream, error)

	// Renew makes a port and a certificate anew on one side, for an end that has moved or has new keys: those of before stay in use until
	// Configure names the new far end. ErrFull, ErrGone.
	Renew(s Session, stream int, side Side, m Medium) (End, error)

	// Configure tells a far end, and begins the handshake where there is one. A far end that is told again unchanged goes on as it is. Of
	// the core's branches the last that was told is the one that is heard, until Confirm. A stream that comes to share a transport gives its own
	// port of the access back, and needs Renew for another. ErrGone, ErrKeying, ErrAddress.
	Configure(s Session, stream int, side Side, b Branch, r Remote) error

	// Through opens and closes the gates of a stream: what comes from a side passes if its gate is open. Both are closed at first.
	Through(s Session, stream int, from [2]bool)

	// Confirm makes a branch the only one: it has answered.
	Confirm(s Session, b Branch)

	// Release ends the session and returns its ports. Twice is harmless.
	Release(s Session)
}

// Reason says why a session is lost.
type Reason string

// The reasons.
const (
	ReasonHandshake   Reason = "handshake"   // a far end did not show the certificate of its description, or none in time
	ReasonFingerprint Reason = "fingerprint" // it showed another one
	ReasonClosed      Reason = "closed"      // it ended its association
	ReasonSilence     Reason = "silence"     // nothing came from either side for long, though both gates are open
	ReasonAnchor      Reason = "anchor"      // the process of the anchor is gone, and all of its sessions with it
)

// Push is what the anchor tells the P-CSCF (push side of the contract). The P-CSCF must not block.
type Push interface {
	// Lost says that the session's media will not come back. It still holds its ports: the P-CSCF releases it.
	Lost(s Session, why Reason)
}

// Error is a refusal of the anchor.
type Error string

// Error returns the text, with the contract's name before it.
func (e Error) Error() string { return "iq: " + string(e) }

// The refusals of Gateway.
const (
	ErrFull    = Error("there is no port left")
	ErrUser    = Error("the user holds as many sessions, or the session as many media, as one may")
	ErrFamily  = Error("the anchor has no address of this family")
	ErrGone    = Error("the session is gone")
	ErrKeying  = Error("this end may not be keyed like that")
	ErrAddress = Error("the far end names an address that nothing may be sent to")
)
