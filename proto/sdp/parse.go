package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	pion "github.com/pion/sdp/v3"
)

// Errors of Parse. They are wrapped with the place; errors.Is finds them.
var (
	ErrTooLarge = errors.New("sdp: over a limit")
	ErrSyntax   = errors.New("sdp: malformed")
	ErrAddress  = errors.New("sdp: connection address not acceptable")
)

// Limits bound what Parse accepts. A zero field means the value of DefaultLimits.
type Limits struct {
	Octets     int // whole body
	Lines      int
	LineOctets int // without the line end
	Media      int // m= lines
	Formats    int // per m= line
	Candidates int // ICE candidates per m= line

	// Crypto is how many a=crypto lines per m= line are kept with their keys, for who ends SRTP and not for who passes it on.
	// Zero means none, here and in DefaultLimits: they are thrown away.
	Crypto int
}

// DefaultLimits returns limits that hold any offer of a phone or a browser several times over.
func DefaultLimits() Limits {
	return Limits{Octets: 32 << 10, Lines: 1024, LineOctets: 2048, Media: 16, Formats: 64, Candidates: 64}
}

func (l Limits) filled() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, def *int }{
		{&l.Octets, &d.Octets}, {&l.Lines, &d.Lines}, {&l.LineOctets, &d.LineOctets},
		{&l.Media, &d.Media}, {&l.Formats, &d.Formats}, {&l.Candidates, &d.Candidates},
	} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return l
}

// Parse reads one session description. It accepts CRLF and LF line ends (RFC 8866 5), refuses what is
// ambiguous (an attribute we act on given twice, two rtpmaps for one type) and never keeps a reference to
// data. Errors: ErrTooLarge, ErrSyntax, ErrAddress, ErrFingerprint, ErrCrypto.
func Parse(data []byte, l Limits) (*Session, error) {
	l = l.filled()
	text, err := screen(data, l)
	if err != nil {
		return nil, err
	}
	var d pion.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		// The module's error quotes the input; the place is enough for a log and cannot be abused there.
		return nil, ErrSyntax
	}
	return convert(&d, l)
}

// screen checks the body line by line before the grammar sees it, and writes it in one canonical line
// form. It is stricter than the module where leniency would hide something (stray CR, control octets,
// numbers that wrap) and drops b= lines of unknown type, which RFC 8866 5.8 wants ignored.
func screen(data []byte, l Limits) (string, error) {
	if len(data) > l.Octets {
		return "", fmt.Errorf("%w: %d octets", ErrTooLarge, len(data))
	}
	var out strings.Builder
	out.Grow(len(data) + 2)
	lines, types := 0, uint32(0)
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		data = rest
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if lines++; lines > l.Lines || len(line) > l.LineOctets {
			return "", fmt.Errorf("%w: line %d", ErrTooLarge, lines)
		}
		if !lineOK(line) {
			return "", fmt.Errorf("%w: line %d", ErrSyntax, lines)
		}
		types |= 1 << (line[0] - 'a')
		if line[0] == 'b' && !knownBandwidth(line[2:]) {
			continue
		}
		out.Write(line)
		out.WriteString("\r\n")
	}
	// The module takes a text that ends early for a whole one. RFC 8866 5 wants these four.
	const must = 1<<('v'-'a') | 1<<('o'-'a') | 1<<('s'-'a') | 1<<('t'-'a')
	if types&must != must {
		return "", fmt.Errorf("%w: v=, o=, s= or t= missing", ErrSyntax)
	}
	return out.String(), nil
}

func lineOK(line []byte) bool {
	if len(line) < 2 || line[0] < 'a' || line[0] > 'z' || line[1] != '=' {
		return false
	}
	for _, c := range line {
		if c == 0 || c == '\r' || (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	if line[0] != 'o' {
		return true
	}
	// The module wraps numbers above 64 bits and guesses missing fields; a version that wraps would
	// make an old description look new.
	f := strings.Fields(string(line[2:]))
	if len(f) != 6 {
		return false
	}
	_, err1 := strconv.ParseUint(f[1], 10, 64)
	_, err2 := strconv.ParseUint(f[2], 10, 64)
	return err1 == nil && err2 == nil
}

func knownBandwidth(value []byte) bool {
	kind, _, ok := bytes.Cut(value, []byte{':'})
	if !ok {
		return true // malformed: let the grammar say so
	}
	switch string(kind) {
	case "CT", "AS", "TIAS", "RS", "RR":
		return true
	}
	return false
}

func convert(d *pion.SessionDescription, l Limits) (*Session, error) {
	if len(d.MediaDescriptions) > l.Media {
		return nil, fmt.Errorf("%w: m= lines", ErrTooLarge)
	}
	s := &Session{
		Origin: Origin{
			Username: d.Origin.Username, ID: d.Origin.SessionID,
			Version: d.Origin.SessionVersion, Address: d.Origin.UnicastAddress,
		},
		Name: string(d.SessionName),
	}
	// Session attributes are read into a medium of their own, which then gives the defaults.
	defaults := reader{limits: l}
	for _, a := range d.Attributes {
		if err := defaults.attribute(a.Key, a.Value); err != nil {
			return nil, fmt.Errorf("%w: session attribute", err)
		}
	}
	s.Other = defaults.m.Other
	var err error
	if defaults.m.Address, err = address(d.ConnectionInformation); err != nil {
		return nil, err
	}
	s.Media = make([]Media, 0, len(d.MediaDescriptions))
	for i, md := range d.MediaDescriptions {
		m, err := convertMedia(md, &defaults, l)
		if err != nil {
			return nil, fmt.Errorf("%w: medium %d", err, i)
		}
		s.Media = append(s.Media, m)
	}
	return s, nil
}

func convertMedia(d *pion.MediaDescription, defaults *reader, l Limits) (Media, error) {
	r := reader{limits: l}
	m := &r.m
	m.Kind, m.Proto = d.MediaName.Media, strings.Join(d.MediaName.Protos, "/")
	if d.MediaName.Port.Value < 0 || d.MediaName.Port.Value > 0xffff {
		return Media{}, ErrSyntax
	}
	m.Port = uint16(d.MediaName.Port.Value)
	if n := d.MediaName.Port.Range; n != nil && *n > 1 {
		return Media{}, ErrSyntax // layered media on several ports: nothing of ours sends that
	}
	if err := r.formats(d.MediaName.Formats); err != nil {
		return Media{}, err
	}
	for _, b := range d.Bandwidth {
		m.Bandwidth = append(m.Bandwidth, Bandwidth{b.Type, b.Bandwidth})
	}
	for _, a := range d.Attributes {
		if err := r.attribute(a.Key, a.Value); err != nil {
			return Media{}, err
		}
	}
	var err error
	if m.Address, err = address(d.ConnectionInformation); err != nil {
		return Media{}, err
	}
	r.inherit(defaults)
	if m.Port != 0 && !m.Address.IsValid() {
		return Media{}, ErrAddress // RFC 8866 5.7: c= at one of the two levels
	}
	if m.RTCP.Port() != 0 && !m.RTCP.Addr().IsValid() {
		m.RTCP = netip.AddrPortFrom(m.Address, m.RTCP.Port())
	}
	return *m, nil
}

// formats takes the list of the m= line; rtpmap and fmtp fill it in later.
func (r *reader) formats(tokens []string) error {
	if len(tokens) > r.limits.Formats {
		return ErrTooLarge
	}
	if len(tokens) == 0 {
		return ErrSyntax // RFC 8866 9: at least one, also where the medium is refused
	}
	rtp := isRTP(r.m.Proto)
	r.m.Formats = make([]Format, 0, len(tokens))
	for _, t := range tokens {
		f := Format{Token: t, Channels: 1}
		if rtp {
			pt, err := strconv.ParseUint(t, 10, 7)
			if err != nil {
				return ErrSyntax
			}
			if s, ok := staticFormat(uint8(pt)); ok {
				f = s
			}
			f.Token, f.PayloadType = t, uint8(pt)
			if r.format(f.PayloadType) != nil {
				return ErrSyntax
			}
		}
		r.m.Formats = append(r.m.Formats, f)
	}
	return nil
}

func isRTP(proto string) bool { return strings.Contains(proto, "RTP/") }

// address reads a c= line. Names are refused: resolving one would let the peer choose what we look up.
// Multicast and broadcast are refused: no call of ours goes there, and it would make us a loudspeaker.
func address(c *pion.ConnectionInformation) (netip.Addr, error) {
	if c == nil {
		return netip.Addr{}, nil
	}
	if c.Address == nil {
		return netip.Addr{}, ErrAddress
	}
	return parseAddress(c.AddressType, c.Address.Address)
}

func parseAddress(kind, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.IsMulticast() || a.Is4() != (kind == "IP4") {
		return netip.Addr{}, ErrAddress
	}
	if a.Is4() && a.As4() == [4]byte{255, 255, 255, 255} {
		return netip.Addr{}, ErrAddress
	}
	return a, nil
}
