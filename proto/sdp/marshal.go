package sdp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	pion "github.com/pion/sdp/v3"
)

// ErrValue says that a value to be written holds a control octet, or is empty where it must not be.
var ErrValue = errors.New("sdp: value cannot be written")

// Marshal writes the description with CRLF line ends. It returns ErrValue instead of ever writing a
// value that could start a line of its own. What was resolved from session level is written at media
// level; of SDES keys, those in Crypto are.
func (s *Session) Marshal() ([]byte, error) {
	d := pion.SessionDescription{
		Origin: pion.Origin{
			Username: orDash(s.Origin.Username), SessionID: s.Origin.ID, SessionVersion: s.Origin.Version,
			NetworkType: "IN", AddressType: addressType(s.Origin.Address), UnicastAddress: s.Origin.Address,
		},
		SessionName:      pion.SessionName(orDash(s.Name)),
		TimeDescriptions: []pion.TimeDescription{{}}, // t=0 0: permanent (RFC 3264 5)
	}
	if d.Origin.UnicastAddress == "" {
		return nil, ErrValue
	}
	for _, a := range s.Other {
		d.Attributes = append(d.Attributes, pion.Attribute(a))
	}
	for i := range s.Media {
		d.MediaDescriptions = append(d.MediaDescriptions, s.Media[i].describe())
	}
	if !writable(&d) {
		return nil, ErrValue
	}
	return d.Marshal()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func addressType(text string) string {
	if a, err := netip.ParseAddr(text); err == nil && !a.Is4() {
		return "IP6"
	}
	return "IP4"
}

// describe writes the attributes in one fixed order, so that equal descriptions are equal octets.
func (m *Media) describe() *pion.MediaDescription {
	d := &pion.MediaDescription{MediaName: pion.MediaName{
		Media: m.Kind, Port: pion.RangedPort{Value: int(m.Port)}, Protos: strings.Split(m.Proto, "/"),
	}}
	if m.Address.IsValid() {
		d.ConnectionInformation = &pion.ConnectionInformation{
			NetworkType: "IN", AddressType: addressType(m.Address.String()),
			Address: &pion.Address{Address: m.Address.String()},
		}
	}
	for _, b := range m.Bandwidth {
		d.Bandwidth = append(d.Bandwidth, pion.Bandwidth{Type: b.Type, Bandwidth: b.Value})
	}
	add := func(key, value string) { d.Attributes = append(d.Attributes, pion.Attribute{Key: key, Value: value}) }
	optional := func(key, value string) {
		if value != "" {
			add(key, value)
		}
	}
	for _, f := range m.Formats {
		d.MediaName.Formats = append(d.MediaName.Formats, f.Token)
		if f.Encoding != "" {
			add("rtpmap", f.Token+" "+f.rtpmap())
		}
		if f.Parameters != "" {
			add("fmtp", f.Token+" "+f.Parameters)
		}
	}
	optional("ptime", number(m.PTime))
	optional("maxptime", number(m.MaxPTime))
	if isRTP(m.Proto) && m.Port != 0 {
		add(m.Direction.String(), "")
	}
	optional("mid", m.MID)
	m.describeTransport(add, optional)
	for _, a := range m.Other {
		add(a.Key, a.Value)
	}
	return d
}

func (m *Media) describeTransport(add, optional func(key, value string)) {
	if m.RTCPMux {
		add("rtcp-mux", "")
	}
	if m.RTCP.IsValid() {
		value := number(m.RTCP.Port())
		if m.RTCP.Addr() != m.Address {
			value += " IN " + addressType(m.RTCP.Addr().String()) + " " + m.RTCP.Addr().String()
		}
		optional("rtcp", value)
	}
	optional("setup", m.Setup.String())
	for _, f := range m.Fingerprints {
		optional("fingerprint", f.String())
	}
	optional("tls-id", m.TLSID)
	for i := range m.Crypto {
		add("crypto", m.Crypto[i].value())
	}
	if m.ICE.Lite {
		add("ice-lite", "")
	}
	optional("ice-ufrag", m.ICE.Ufrag)
	optional("ice-pwd", m.ICE.Password)
	for _, c := range m.ICE.Candidates {
		add("candidate", c)
	}
}

func (f Format) rtpmap() string {
	s := f.Encoding + "/" + strconv.FormatUint(uint64(f.ClockRate), 10)
	if f.Channels > 1 {
		s += "/" + strconv.FormatUint(uint64(f.Channels), 10)
	}
	return s
}

func number(n uint16) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// writable is the one gate on the way out: no text of ours or of a peer can end its line. Tokens that
// stand between spaces may also hold no space.
func writable(d *pion.SessionDescription) bool {
	ok := token(d.Origin.Username) && token(d.Origin.UnicastAddress) && text(string(d.SessionName)) && attributes(d.Attributes)
	for _, m := range d.MediaDescriptions {
		ok = ok && token(m.MediaName.Media) && len(m.MediaName.Formats) > 0 && attributes(m.Attributes)
		for _, p := range m.MediaName.Protos {
			ok = ok && token(p)
		}
		for _, f := range m.MediaName.Formats {
			ok = ok && token(f)
		}
		for _, b := range m.Bandwidth {
			ok = ok && token(b.Type)
		}
	}
	return ok
}

func attributes(list []pion.Attribute) bool {
	for _, a := range list {
		if !token(a.Key) || strings.Contains(a.Key, ":") || !text(a.Value) {
			return false
		}
	}
	return true
}

func token(s string) bool { return s != "" && text(s) && !strings.ContainsAny(s, " \t") }

func text(s string) bool {
	for i := range len(s) {
		if (s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f {
			return false
		}
	}
	return true
}
