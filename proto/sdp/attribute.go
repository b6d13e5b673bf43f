package sdp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// once are the attributes that may stand only once at a level: two of them would let a box in the path
// and the end read different things.
type once uint16

const (
	onceDirection once = 1 << iota
	onceSetup
	onceTLSID
	onceRTCP
	oncePTime
	onceMaxPTime
	onceMID
	onceUfrag
	oncePassword
)

// reader collects one level of attributes.
type reader struct {
	m      Media
	seen   once
	mapped [2]uint64 // payload types that have an rtpmap
	limits Limits
}

func (r *reader) first(o once) error {
	if r.seen&o != 0 {
		return ErrSyntax
	}
	r.seen |= o
	return nil
}

// attribute takes one a= line. The cases are the whole policy: typed here, thrown away, or kept in
// Other as received.
func (r *reader) attribute(key, value string) (err error) {
	m := &r.m
	switch key {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		return r.direction(key)
	case "rtpmap":
		return r.rtpmap(value)
	case "fmtp":
		return r.fmtp(value)
	case "ptime":
		m.PTime, err = r.milliseconds(oncePTime, value)
		return err
	case "maxptime":
		m.MaxPTime, err = r.milliseconds(onceMaxPTime, value)
		return err
	case "rtcp-mux":
		m.RTCPMux = true
		return nil
	case "rtcp":
		return r.rtcp(value)
	case "mid":
		m.MID = value
		return r.first(onceMID)
	case "setup":
		return r.setup(value)
	case "fingerprint":
		return r.fingerprint(value)
	case "tls-id":
		m.TLSID = value
		return r.first(onceTLSID)
	case "ice-ufrag":
		m.ICE.Ufrag = value
		return r.first(onceUfrag)
	case "ice-pwd":
		m.ICE.Password = value
		return r.first(oncePassword)
	case "ice-lite":
		m.ICE.Lite = true
		return nil
	case "candidate":
		if len(m.ICE.Candidates) >= r.limits.Candidates {
			return ErrTooLarge
		}
		m.ICE.Candidates = append(m.ICE.Candidates, value)
		return nil
	case "crypto":
		return r.crypto(value)
	case "key-mgmt":
		m.SDES = true // RFC 4567: the value is a key. It is not copied, logged or kept.
		return nil
	}
	m.Other = append(m.Other, Attribute{key, value})
	return nil
}

func (r *reader) direction(key string) error {
	switch key {
	case "sendonly":
		r.m.Direction = SendOnly
	case "recvonly":
		r.m.Direction = RecvOnly
	case "inactive":
		r.m.Direction = Inactive
	}
	return r.first(onceDirection)
}

func (r *reader) setup(value string) error {
	for s := Active; s <= HoldConn; s++ {
		if s.String() == value {
			r.m.Setup = s
			return r.first(onceSetup)
		}
	}
	return ErrSyntax
}

// maxFingerprints holds every hash we know, for two certificates each, with room.
const maxFingerprints = 8

func (r *reader) fingerprint(value string) error {
	f, err := ParseFingerprint(value)
	if errors.Is(err, ErrWeakHash) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(r.m.Fingerprints) >= maxFingerprints {
		return ErrTooLarge
	}
	r.m.Fingerprints = append(r.m.Fingerprints, f)
	return nil
}

func (r *reader) milliseconds(o once, value string) (uint16, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, ErrSyntax
	}
	return uint16(n), r.first(o)
}

// rtcp reads RFC 3605 2.1: port, and an address if it is another one.
func (r *reader) rtcp(value string) error {
	f := strings.Fields(value)
	if len(f) != 1 && len(f) != 4 {
		return ErrSyntax
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil {
		return ErrSyntax
	}
	var a netip.Addr
	if len(f) == 4 {
		if a, err = parseAddress(f[2], f[3]); err != nil {
			return err
		}
	}
	r.m.RTCP = netip.AddrPortFrom(a, uint16(port))
	return r.first(onceRTCP)
}

func (r *reader) format(pt uint8) *Format {
	for i := range r.m.Formats {
		if r.m.Formats[i].PayloadType == pt {
			return &r.m.Formats[i]
		}
	}
	return nil
}

// payload splits "<payload type> <rest>". ok is false for a type the m= line does not have: such a line
// says nothing about this medium and is skipped (seen from several phones).
func (r *reader) payload(value string) (f *Format, rest string, err error) {
	head, rest, _ := strings.Cut(value, " ")
	if !isRTP(r.m.Proto) {
		return nil, "", nil
	}
	pt, err := strconv.ParseUint(head, 10, 7)
	if err != nil {
		return nil, "", ErrSyntax
	}
	return r.format(uint8(pt)), strings.TrimSpace(rest), nil
}

func (r *reader) rtpmap(value string) error {
	f, rest, err := r.payload(value)
	if f == nil || err != nil {
		return err
	}
	if bit := uint64(1) << (f.PayloadType % 64); r.mapped[f.PayloadType/64]&bit != 0 {
		return ErrSyntax
	} else {
		r.mapped[f.PayloadType/64] |= bit
	}
	part := strings.Split(rest, "/")
	if len(part) < 2 || len(part) > 3 || part[0] == "" {
		return ErrSyntax
	}
	rate, err := strconv.ParseUint(part[1], 10, 32)
	if err != nil {
		return ErrSyntax
	}
	channels := uint64(1)
	if len(part) == 3 {
		if channels, err = strconv.ParseUint(part[2], 10, 8); err != nil {
			return ErrSyntax
		}
	}
	f.Encoding, f.ClockRate, f.Channels = part[0], uint32(rate), uint8(channels)
	return nil
}

func (r *reader) fmtp(value string) error {
	f, rest, err := r.payload(value)
	if f == nil || err != nil {
		return err
	}
	if f.Parameters != "" {
		rest = f.Parameters + ";" + rest // two lines for one type add up (RFC 8866 6.15 forbids neither)
	}
	f.Parameters = rest
	return nil
}

// inherit gives a medium what only the session level said (RFC 8866 6.7, RFC 8122 5, RFC 8839 5).
func (r *reader) inherit(d *reader) {
	m := &r.m
	if !m.Address.IsValid() {
		m.Address = d.m.Address
	}
	if r.seen&onceDirection == 0 {
		m.Direction = d.m.Direction
	}
	if r.seen&onceSetup == 0 {
		m.Setup = d.m.Setup
	}
	if r.seen&onceTLSID == 0 {
		m.TLSID = d.m.TLSID
	}
	if len(m.Fingerprints) == 0 {
		m.Fingerprints = d.m.Fingerprints
	}
	if r.seen&onceUfrag == 0 {
		m.ICE.Ufrag = d.m.ICE.Ufrag
	}
	if r.seen&oncePassword == 0 {
		m.ICE.Password = d.m.ICE.Password
	}
	m.ICE.Lite = m.ICE.Lite || d.m.ICE.Lite
	m.SDES = m.SDES || d.m.SDES
}
