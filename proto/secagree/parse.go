package secagree

import (
	"slices"
	"strings"
)

// The bounds of a list. Phones send six mechanisms at most, of nine parameters each.
const (
	MaxMechanisms = 16
	MaxParameters = 24   // of one mechanism
	MaxOctets     = 4096 // of all values together
)

// Parse reads the values of a header field Security-Client, -Server or -Verify: one value for each mechanism, or
// lists with commas, or both. The error is a Reason, whose Status is 400. Nothing of the input is kept. No value at
// all is an empty list and no error.
func Parse(values [][]byte) (List, error) {
	l, octets := List{Entries: make([]Entry, 0, min(len(values), MaxMechanisms))}, 0
	for _, v := range values {
		if octets += len(v); octets > MaxOctets {
			return List{}, ErrTooLong
		}
		if err := l.read(v); err != nil {
			return List{}, err
		}
	}
	return l, l.check()
}

// read takes the next value in.
func (l *List) read(v []byte) error {
	s := scanner{rest: v}
	for more := true; more; {
		if len(l.Entries)+len(l.Media) == MaxMechanisms {
			return ErrTooManyMechanisms
		}
		e, media, err := s.mechanism()
		switch {
		case err != nil:
			return err
		case media:
			l.Media = append(l.Media, e)
		default:
			l.Entries = append(l.Entries, e)
		}
		more = s.skip(',')
	}
	if len(s.rest) > 0 {
		return ErrSyntax
	}
	return nil
}

// ParseString is Parse of one value.
func ParseString(value string) (List, error) {
	return Parse([][]byte{[]byte(value)})
}

// check looks at the list as a whole: one pair of SPIs and one pair of ports (TS 33.203 7.2).
func (l *List) check() error {
	first, ok := l.IPsec()
	if !ok {
		return nil
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Mechanism != IPsec3GPP {
			continue
		}
		if e.SPIC != first.SPIC || e.SPIS != first.SPIS {
			return ErrSPIsDiffer
		}
		if e.PortC != first.PortC || e.PortS != first.PortS {
			return ErrPortsDiffer
		}
	}
	return nil
}

// scanner walks over one value. White space between the parts means nothing (RFC 3261 25.1: SEMI, EQUAL, COMMA).
type scanner struct{ rest []byte }

// space drops white space. A field that was folded comes unfolded, so there are no line ends.
func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
}

// skip drops c, if it comes next, with the white space around it.
func (s *scanner) skip(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	s.space()
	return true
}

// token takes a token; empty if none comes next. The octets ':' '[' ']' of a host may stand in a value.
func (s *scanner) token(host bool) []byte {
	s.space()
	n := 0
	for n < len(s.rest) && (isToken(s.rest[n]) || host && (s.rest[n] == ':' || s.rest[n] == '[' || s.rest[n] == ']')) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// quoted takes a quoted string with its quotes; nil if it has no end.
func (s *scanner) quoted() []byte {
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '\\' && i+1 < len(s.rest) && s.rest[i+1] >= ' ' && s.rest[i+1] < 0x7f:
			i++
		case c == '"':
			q := s.rest[:i+1]
			s.rest = s.rest[i+1:]
			return q
		case c == '\\' || c < ' ' && c != '\t' || c == 0x7f:
			return nil
		}
	}
	return nil
}

// mechanism takes one mechanism with its parameters. media says that it belongs to the media plane.
func (s *scanner) mechanism() (e Entry, media bool, err error) {
	name := s.token(false)
	if len(name) == 0 {
		return e, false, ErrSyntax
	}
	e.Mechanism = known(name)
	var seen seenParameters
	for n := 0; s.skip(';'); n++ {
		if n == MaxParameters {
			return e, false, ErrTooManyParameters
		}
		name := s.token(false)
		var value []byte
		if len(name) == 0 {
			return e, false, ErrSyntax
		}
		if s.skip('=') {
			if len(s.rest) > 0 && s.rest[0] == '"' {
				value = s.quoted()
			} else {
				value = s.token(true)
			}
			if len(value) == 0 {
				return e, false, ErrSyntax
			}
		}
		p := known(name)
		media = media || p == "mediasec"
		if err := e.set(p, value, &seen); err != nil {
			return e, false, err
		}
	}
	slices.SortFunc(e.Other, byName)
	for i := 1; i < len(e.Other); i++ {
		if e.Other[i].Name == e.Other[i-1].Name {
			return e, false, ErrParameterTwice
		}
	}
	return e, media, e.complete(&seen)
}

// seenParameters has a bit for each parameter that set understands.
type seenParameters uint16

// once notes a parameter and refuses its second coming (RFC 3261 7.3.1).
func (s *seenParameters) once(bit seenParameters) error {
	if *s&bit != 0 {
		return ErrParameterTwice
	}
	*s |= bit
	return nil
}

// The bits.
const (
	hasQ seenParameters = 1 << iota
	hasAlg
	hasEAlg
	hasProt
	hasMode
	hasSPIC
	hasSPIS
	hasPortC
	hasPortS
	needed = hasAlg | hasSPIC | hasSPIS | hasPortC | hasPortS
)

// set takes in one parameter.
func (e *Entry) set(name string, value []byte, seen *seenParameters) error {
	if name == "q" {
		q, ok := parseQ(value)
		if !ok {
			return ErrPreference
		}
		e.Q, e.HasQ = q, true
		return seen.once(hasQ)
	}
	if e.Mechanism == IPsec3GPP {
		switch name {
		case "alg":
			return setToken(&e.Alg, value, seen, hasAlg)
		case "ealg":
			return setToken(&e.EAlg, value, seen, hasEAlg)
		case "prot":
			return setToken(&e.Prot, value, seen, hasProt)
		case "mod":
			return setToken((*string)(&e.Mode), value, seen, hasMode)
		case "spi-c":
			return setSPI(&e.SPIC, value, seen, hasSPIC)
		case "spi-s":
			return setSPI(&e.SPIS, value, seen, hasSPIS)
		case "port-c":
			return setPort(&e.PortC, value, seen, hasPortC)
		case "port-s":
			return setPort(&e.PortS, value, seen, hasPortS)
		}
	}
	e.Other = append(e.Other, Parameter{name, string(value)})
	return nil
}

// complete fills in the defaults of Annex H and refuses what one mechanism alone cannot mean.
func (e *Entry) complete(seen *seenParameters) error {
	if e.Mechanism != IPsec3GPP {
		return nil
	}
	switch {
	case *seen&needed != needed:
		return ErrParameterMissing
	case e.SPIC == e.SPIS:
		return ErrSPIsEqual
	case e.PortC == e.PortS:
		return ErrPort
	}
	if *seen&hasEAlg == 0 {
		e.EAlg = EAlgNull
	}
	if *seen&hasProt == 0 {
		e.Prot = protESP
	}
	if *seen&hasMode == 0 {
		e.Mode = Transport
	}
	return nil
}

func setToken(field *string, value []byte, seen *seenParameters, bit seenParameters) error {
	if len(value) == 0 {
		return ErrSyntax
	}
	for _, c := range value {
		if !isToken(c) {
			return ErrSyntax // a quoted string: these parameters are tokens
		}
	}
	*field = known(value)
	return seen.once(bit)
}

// reservedSPIs are those that no association may have (RFC 4303 2.1).
const reservedSPIs = 256

func setSPI(field *uint32, value []byte, seen *seenParameters, bit seenParameters) error {
	v, ok := parseNumber(value, 10, 1<<32-1)
	if !ok || v < reservedSPIs {
		return ErrSPI
	}
	*field = uint32(v)
	return seen.once(bit)
}

func setPort(field *uint16, value []byte, seen *seenParameters, bit seenParameters) error {
	v, ok := parseNumber(value, 5, 1<<16-1)
	// Nothing unprotected is allowed on a protected port, and these two are unprotected (TS 33.203 7.1).
	if !ok || v == 0 || v == 5060 || v == 5061 {
		return ErrPort
	}
	*field = uint16(v)
	return seen.once(bit)
}

// parseNumber reads at most digits decimal digits; leading zeros are common.
func parseNumber(b []byte, digits int, limit uint64) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > digits {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, v <= limit
}

// parseQ reads a qvalue (RFC 3261 25.1) in thousandths.
func parseQ(b []byte) (q uint16, ok bool) {
	if len(b) == 0 || len(b) > 5 || b[0] != '0' && b[0] != '1' || len(b) > 1 && b[1] != '.' {
		return 0, false
	}
	q = uint16(b[0] - '0')
	for i := range 3 {
		q *= 10
		if i+2 < len(b) {
			c := b[i+2]
			if c < '0' || c > '9' {
				return 0, false
			}
			q += uint16(c - '0')
		}
	}
	return q, q <= 1000
}

// isToken reports whether c may stand in a token (RFC 3261 25.1).
func isToken(c byte) bool { return tokens[c] }

var tokens = func() (set [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~") {
		set[c] = true
	}
	return set
}()

// known returns name in lower case. What a phone sends is nearly always one of the words below, which costs no memory.
func known(name []byte) string {
	var buf [16]byte
	if len(name) > len(buf) {
		return strings.ToLower(string(name))
	}
	low := buf[:copy(buf[:], name)]
	for i, c := range low {
		if c >= 'A' && c <= 'Z' {
			low[i] = c + 'a' - 'A'
		}
	}
	switch string(low) {
	case IPsec3GPP:
		return IPsec3GPP
	case AlgMD5:
		return AlgMD5
	case AlgSHA1:
		return AlgSHA1
	case AlgNull:
		return AlgNull
	case AlgGMAC:
		return AlgGMAC
	case EAlgCBC:
		return EAlgCBC
	case EAlg3DES:
		return EAlg3DES
	case EAlgGCM:
		return EAlgGCM
	case string(Transport):
		return string(Transport)
	case string(UDPTunnel):
		return string(UDPTunnel)
	case TLS:
		return TLS
	case protESP:
		return protESP
	case "q":
		return "q"
	case "alg":
		return "alg"
	case "prot":
		return "prot"
	case "mod":
		return "mod"
	case "ealg":
		return "ealg"
	case "spi-c":
		return "spi-c"
	case "spi-s":
		return "spi-s"
	case "port-c":
		return "port-c"
	case "port-s":
		return "port-s"
	}
	return string(low)
}
