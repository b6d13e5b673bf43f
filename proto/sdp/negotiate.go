package sdp

import (
	"errors"
	"net/netip"
)

// Reasons why two ends do not agree. A UAS answers them with 488 (RFC 3261 21.4.26).
var (
	ErrNoMedia       = errors.New("sdp: no acceptable audio medium")
	ErrKeying        = errors.New("sdp: keying below the floor")
	ErrNoCodec       = errors.New("sdp: no common codec")
	ErrNoFingerprint = errors.New("sdp: no usable certificate fingerprint")
	ErrSetup         = errors.New("sdp: setup roles do not fit")
	ErrMismatch      = errors.New("sdp: answer does not belong to the offer")
)

// Capabilities are what one end speaks and accepts.
type Capabilities struct {
	Audio     []Codec // in our order of preference
	DTMF      bool    // offer and accept telephone-event
	Direction Direction
	PTime     uint16 // milliseconds we ask for; 0: say nothing (20 ms, RFC 3551 4.2)

	// Floor is the weakest keying accepted and the one offered. The zero value is DTLS-SRTP.
	// PlainRTP is for lab profiles and signed waivers only; SDES is never agreed here.
	Floor Keying
}

// Local is where and as whom one end receives.
type Local struct {
	ID, Version  uint64 // of the o= line
	Address      netip.Addr
	Port         uint16 // RTP, and RTCP with rtcp-mux
	Fingerprints []Fingerprint
	TLSID        string // fresh for every DTLS association (RFC 8842 4); "" to leave out
	Setup        Setup  // of an offer; NoSetup means ActPass (RFC 5763 5)
}

// Role is who sends the DTLS ClientHello.
type Role uint8

// Roles. NoRole: no DTLS.
const (
	NoRole Role = iota
	DTLSClient
	DTLSServer
)

// Agreed is one medium both ends have agreed on, seen from our side.
type Agreed struct {
	Index  int // of the m= line
	Codec  Codec
	SendPT uint8 // what we write: the number the peer's description gave
	RecvPT uint8 // what we expect: the number our description gave

	DTMF               bool
	SendDTMF, RecvDTMF uint8

	Send, Receive bool // whether we may send, and should expect, media now
	PTime         uint16

	Remote     netip.AddrPort // where the peer says it receives; a claim, not yet proven
	RemoteRTCP netip.AddrPort // = Remote with rtcp-mux
	RTCPMux    bool

	Keying       Keying
	Role         Role
	Fingerprints []Fingerprint // of the peer
	RemoteTLSID  string
}

// NewOffer returns an offer with one audio medium (RFC 3264 5).
func NewOffer(l Local, c Capabilities) *Session { panic("not yet") }

// Answer decides about an offer and returns the answer to send and what was agreed (RFC 3264 6). The first
// audio medium that passes is taken, all others are refused with port 0. Errors: ErrNoMedia, or the
// reason why the last audio medium was refused (ErrKeying, ErrNoCodec, ErrNoFingerprint, ErrSetup).
func Answer(offer *Session, l Local, c Capabilities) (*Session, Agreed, error) { panic("not yet") }

// Match decides about the answer to our own offer (RFC 3264 7). c must be what the offer was made of.
// Errors as for Answer, and ErrMismatch for an answer that does not fit the offer line by line.
func Match(offer, answer *Session, c Capabilities) (Agreed, error) { panic("not yet") }
