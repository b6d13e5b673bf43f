package sdp

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
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
	// Setup is the role that an offer asks for (NoSetup means ActPass, RFC 5763 5), or the role that an answer keeps because
	// the DTLS association stays (RFC 8842 5.3; NoSetup leaves the choice to Answer).
	Setup Setup
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
	// Accept are all encodings the peer may send, with the payload types of our description: an answer
	// may keep several, and its sender may then change between them (RFC 3264 7).
	Accept []Codec

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
func NewOffer(l Local, c Capabilities) *Session {
	m := Media{Kind: "audio", Proto: "UDP/TLS/RTP/SAVP", Direction: c.Direction, PTime: c.PTime}
	if c.Floor == PlainRTP {
		m.Proto = "RTP/AVP"
	} else {
		m.Setup = l.Setup
		if m.Setup == NoSetup {
			m.Setup = ActPass // RFC 5763 5: an offer leaves the choice to the answer
		}
		l.secure(&m)
	}
	l.place(&m)
	m.RTCPMux = true
	for _, k := range c.codecs() {
		f := k.format()
		f.Token = number8(f.PayloadType)
		m.Formats = append(m.Formats, f)
	}
	return l.session([]Media{m})
}

func (c Capabilities) codecs() []Codec {
	list := append([]Codec(nil), c.Audio...)
	if c.DTMF {
		list = append(list, TelephoneEvent())
	}
	return list
}

func (l Local) session(media []Media) *Session {
	return &Session{
		Origin: Origin{ID: l.ID, Version: l.Version, Address: l.Address.String()},
		Media:  media,
	}
}

func (l Local) place(m *Media) { m.Address, m.Port = l.Address, l.Port }

func (l Local) secure(m *Media) { m.Fingerprints, m.TLSID = l.Fingerprints, l.TLSID }

// Answer decides about an offer and returns the answer to send and what was agreed (RFC 3264 6). The first
// audio medium that passes is taken, all others are refused with port 0. Where the offer wants it on one transport with others (RFC 9143), the answer
// has a group of it alone. Errors: ErrNoMedia, or the
// reason why the last audio medium was refused (ErrKeying, ErrNoCodec, ErrNoFingerprint, ErrSetup).
func Answer(offer *Session, l Local, c Capabilities) (*Session, Agreed, error) {
	reason, taken := ErrNoMedia, -1
	var agreed Agreed
	media := make([]Media, len(offer.Media))
	for i := range offer.Media {
		o := &offer.Media[i]
		// A refused medium keeps kind, protocol and formats, and has port 0 (RFC 3264 6).
		media[i] = Media{Kind: o.Kind, Proto: o.Proto, Formats: o.Formats, MID: o.MID}
		if taken >= 0 || o.Kind != "audio" || o.Port == 0 {
			continue
		}
		m, g, err := answerMedia(o, l, c)
		if err != nil {
			reason = err
			continue
		}
		media[i], agreed, taken = m, g, i
		agreed.Index = i
	}
	if taken < 0 {
		return nil, Agreed{}, reason
	}
	answer := l.session(media)
	if agreed.RTCPMux && slices.Contains(offer.Bundle(), taken) {
		answer.SetBundle([]int{taken}) // RFC 9143 7.3: what is refused is no longer in the group, and this one is tagged
	}
	return answer, agreed, nil
}

func answerMedia(o *Media, l Local, c Capabilities) (Media, Agreed, error) {
	g, err := agree(o, c)
	if err != nil {
		return Media{}, Agreed{}, err
	}
	// The answer speaks with the numbers of the offer (RFC 3264 6.1 recommends it), so both
	// directions carry the same payload types.
	voice, dtmf, ok := common(o.Formats, c)
	if !ok {
		return Media{}, Agreed{}, ErrNoCodec
	}
	m := Media{
		Kind: o.Kind, Proto: o.Proto, MID: o.MID, PTime: c.PTime,
		Direction: o.Direction.Answer(c.Direction), RTCPMux: o.RTCPMux,
		Formats: []Format{*voice},
	}
	g.voice(voice, voice)
	if dtmf != nil {
		m.Formats = append(m.Formats, *dtmf)
		g.dtmf(dtmf, dtmf)
	}
	if g.Keying == DTLSSRTP {
		if m.Setup, g.Role, err = answerSetup(o.Setup, l.Setup); err != nil {
			return Media{}, Agreed{}, err
		}
		l.secure(&m)
		if o.TLSID == "" {
			m.TLSID = "" // RFC 8842 5.3: only in answer to one
		}
	}
	l.place(&m)
	g.flow(m.Direction, o)
	return m, g, nil
}

// agree takes from the peer's medium what does not depend on who offered: floor, addresses, fingerprints.
func agree(peer *Media, c Capabilities) (Agreed, error) {
	g := Agreed{Keying: peer.Keying(), RTCPMux: peer.RTCPMux, PTime: peer.PTime}
	if g.Keying == PlainRTP && c.Floor < PlainRTP && len(peer.Fingerprints) > 0 {
		g.Keying = DTLSSRTP // the profile is for who knows no other; a fingerprint beside it says that DTLS-SRTP is welcome (RFC 8829 5.1.2)
	}
	if g.Keying > c.Floor || (g.Keying != DTLSSRTP && g.Keying != PlainRTP) {
		return Agreed{}, ErrKeying
	}
	if g.Keying == DTLSSRTP {
		if len(peer.Fingerprints) == 0 {
			return Agreed{}, ErrNoFingerprint
		}
		g.Fingerprints, g.RemoteTLSID = peer.Fingerprints, peer.TLSID
	}
	g.Remote = netip.AddrPortFrom(peer.Address, peer.Port)
	switch {
	case peer.RTCPMux:
		g.RemoteRTCP = g.Remote
	case peer.RTCP.IsValid():
		g.RemoteRTCP = peer.RTCP
	case peer.Port < 0xffff:
		g.RemoteRTCP = netip.AddrPortFrom(peer.Address, peer.Port+1) // RFC 3550 11
	}
	if g.PTime == 0 {
		g.PTime = 20 // RFC 3551 4.2
	}
	return g, nil
}

// common returns the first of our codecs that the peer has too, and telephone-event if both have it.
func common(formats []Format, c Capabilities) (voice, dtmf *Format, ok bool) {
	for _, k := range c.Audio {
		if voice = find(formats, k); voice != nil {
			break
		}
	}
	if c.DTMF {
		dtmf = find(formats, TelephoneEvent())
	}
	return voice, dtmf, voice != nil
}

func find(formats []Format, k Codec) *Format {
	for i := range formats {
		if k.matches(formats[i]) {
			return &formats[i]
		}
	}
	return nil
}

func (g *Agreed) voice(send, recv *Format) {
	g.Codec = Codec{Name: recv.Encoding, ClockRate: recv.ClockRate, PayloadType: recv.PayloadType, Parameters: send.Parameters}
	g.SendPT, g.RecvPT = send.PayloadType, recv.PayloadType
	g.Accept = []Codec{g.Codec}
}

func (g *Agreed) dtmf(send, recv *Format) {
	g.DTMF, g.SendDTMF, g.RecvDTMF = true, send.PayloadType, recv.PayloadType
}

// flow sets who sends now. ours is the direction in our own description.
func (g *Agreed) flow(ours Direction, peer *Media) {
	g.Send = ours.Sends() && peer.Direction.Receives() && !peer.Address.IsUnspecified() // RFC 3264 8.4: 0.0.0.0 is hold
	g.Receive = ours.Receives() && peer.Direction.Sends()
}

// answerSetup chooses our role (RFC 5763 5: active is recommended, the hello then needs no waiting).
// An offer without setup means active (RFC 4145 4).
func answerSetup(offered, keep Setup) (Setup, Role, error) {
	if offered == ActPass && keep == Passive {
		return Passive, DTLSServer, nil
	}
	switch offered {
	case ActPass, Passive:
		return Active, DTLSClient, nil
	case Active, NoSetup:
		return Passive, DTLSServer, nil
	}
	return NoSetup, NoRole, ErrSetup
}

// Match decides about the answer to our own offer (RFC 3264 7). c must be what the offer was made of.
// Errors as for Answer, and ErrMismatch for an answer that does not fit the offer line by line.
func Match(offer, answer *Session, c Capabilities) (Agreed, error) {
	if len(offer.Media) != len(answer.Media) {
		return Agreed{}, ErrMismatch
	}
	reason := ErrNoMedia
	for i := range offer.Media {
		o, a := &offer.Media[i], &answer.Media[i]
		// The protocol of an answer is the offer's (RFC 3264 6): anything else is a downgrade.
		if o.Kind != a.Kind || o.Proto != a.Proto {
			return Agreed{}, ErrMismatch
		}
		if o.Kind != "audio" || o.Port == 0 || a.Port == 0 {
			continue
		}
		g, err := matchMedia(o, a, c)
		if err != nil {
			reason = err
			continue
		}
		g.Index = i
		return g, nil
	}
	return Agreed{}, reason
}

func matchMedia(o, a *Media, c Capabilities) (Agreed, error) {
	g, err := agree(a, c)
	if err != nil {
		return Agreed{}, err
	}
	g.RTCPMux = o.RTCPMux && a.RTCPMux
	voice, dtmf, ok := common(a.Formats, c)
	if !ok {
		return Agreed{}, ErrNoCodec
	}
	ours := find(o.Formats, Codec{Name: voice.Encoding, ClockRate: voice.ClockRate})
	if ours == nil {
		return Agreed{}, ErrMismatch // an answer adds no codec that was not offered
	}
	g.voice(voice, ours)
	for _, k := range c.Audio {
		if f := find(o.Formats, k); f != nil && f != ours && find(a.Formats, k) != nil {
			g.Accept = append(g.Accept, Codec{Name: f.Encoding, ClockRate: f.ClockRate, PayloadType: f.PayloadType})
		}
	}
	if dtmf != nil {
		if d := find(o.Formats, TelephoneEvent()); d != nil {
			g.dtmf(dtmf, d)
		}
	}
	if g.Keying == DTLSSRTP {
		if g.Role, err = matchSetup(o.Setup, a.Setup); err != nil {
			return Agreed{}, err
		}
	}
	g.flow(o.Direction, a) // an answer that wants more than was offered gets what was offered
	return g, nil
}

// matchSetup reads the role out of an answer (RFC 4145 4.1). An answer without setup means passive.
func matchSetup(offered, answered Setup) (Role, error) {
	switch {
	case answered == Active && (offered == ActPass || offered == Passive):
		return DTLSServer, nil
	case (answered == Passive || answered == NoSetup) && (offered == ActPass || offered == Active):
		return DTLSClient, nil
	}
	return NoRole, ErrSetup
}

func number8(n uint8) string { return strconv.FormatUint(uint64(n), 10) }
