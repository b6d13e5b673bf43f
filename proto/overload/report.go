package overload

import (
	"bytes"
	"strconv"
	"time"

	"imsafe/proto/sip"
)

// Algorithm is a scheme of overload control.
type Algorithm uint8

// The algorithms. None is what a client offers that does not understand overload control.
const (
	None Algorithm = 0
	Loss Algorithm = 1 // so many percent less (RFC 7339 7)
	Rate Algorithm = 2 // at most so many requests a second (RFC 7415)
)

// String returns the token of oc-algo.
func (a Algorithm) String() string {
	switch a {
	case Loss:
		return "loss"
	case Rate:
		return "rate"
	}
	return "none"
}

// Algorithms is a set of them: what a client offers.
type Algorithms uint8

// Has reports whether a is offered.
func (s Algorithms) Has(a Algorithm) bool { return s&Algorithms(a) != 0 }

// Offer is what a client of ours adds to its Via, behind a semicolon (RFC 7339 5.1). It has the algorithm alone that every server knows: a
// list would put a comma between quotes, and there are parsers that divide a Via there.
const Offer = `oc;oc-algo="loss"`

// Offered returns what the topmost Via of a request offers: nothing if its sender does not understand overload control, or wrote something else
// than RFC 7339 5.1 has it write. via is one value.
func Offered(via []byte) (s Algorithms) {
	params := paramsOf(via)
	if params == nil {
		return 0
	}
	if v, ok := sip.Param(params, "oc"); !ok || len(v) > 0 {
		return 0
	}
	list, _ := sip.Param(params, "oc-algo")
	for word := range bytes.SplitSeq(list, []byte{','}) {
		switch string(bytes.TrimSpace(word)) {
		case "loss":
			s |= Algorithms(Loss)
		case "rate":
			s |= Algorithms(Rate)
		}
	}
	return s
}

// paramsOf returns the parameters of a Via that says something of overload control, nil of one that does not: most do not, and cost one look.
func paramsOf(via []byte) []byte {
	i := bytes.IndexByte(via, ';')
	if i < 0 || !mentions(via[i:]) {
		return nil
	}
	return via[i+1:]
}

// mentions reports whether the parameters may have one of overload control, in whatever case.
func mentions(params []byte) bool {
	for i := 2; i < len(params); i++ {
		if params[i]|0x20 == 'c' && params[i-1]|0x20 == 'o' && (params[i-2] == ';' || params[i-2] == ' ' || params[i-2] == '\t') {
			return true
		}
	}
	return false
}

// Report is what a server tells a client in the topmost Via of a response.
type Report struct {
	Algorithm Algorithm
	Value     uint32        // percent less, or requests a second
	Validity  time.Duration // in whole milliseconds; 0: there is no overload control now (RFC 7339 5.7)
	Seq       Seq           // 0: none
}

// Seq is a value of oc-seq, in units of its fifth digit behind the point.
type Seq uint64

const (
	seqUnit    = 100_000
	seqSeconds = 999_999_999_999
)

// SeqOf makes a Seq of a time of day (RFC 7339 4.4).
func SeqOf(t time.Time) Seq {
	return Seq(max(t.Unix(), 0))*seqUnit + Seq(t.Nanosecond()/10_000)
}

// DefaultValidity is what a report without oc-validity is good for (RFC 7339 4.3).
const DefaultValidity = 500 * time.Millisecond

// AppendReport appends the value of a Via with r in the place of all that it said of overload control (RFC 7339 5.2).
func AppendReport(dst, via []byte, r Report) []byte {
	dst = AppendWithout(dst, via)
	dst = append(dst, ";oc="...)
	dst = strconv.AppendUint(dst, uint64(r.Value), 10)
	dst = append(dst, `;oc-algo="`...)
	dst = append(dst, r.Algorithm.String()...)
	dst = append(dst, `";oc-validity=`...)
	dst = strconv.AppendInt(dst, r.Validity.Milliseconds(), 10)
	if r.Seq > 0 {
		dst = append(dst, ";oc-seq="...)
		dst = strconv.AppendUint(dst, min(uint64(r.Seq/seqUnit), seqSeconds), 10)
		dst = append(dst, '.')
		dst = strconv.AppendUint(dst, uint64(seqUnit+r.Seq%seqUnit), 10)
		dst = append(dst[:len(dst)-6], dst[len(dst)-5:]...) // five digits, with leading zeros
	}
	return dst
}

// AppendWithout appends the value of a Via without what it says of overload control: that is for the next hop alone (RFC 7339 5.4, 5.6).
func AppendWithout(dst, via []byte) []byte {
	i := bytes.IndexByte(via, ';')
	if i < 0 {
		return append(dst, via...)
	}
	dst = append(dst, via[:i]...)
	for rest := via[i+1:]; rest != nil; {
		var raw []byte
		if raw, rest = cut(rest); !isOurs(raw) {
			dst = append(append(dst, ';'), raw...)
		}
	}
	return dst
}

// cut cuts the parameter before the next ';' off s. One inside of quotes is none.
func cut(s []byte) (raw, rest []byte) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, nil
}

func isOurs(raw []byte) bool {
	name, _, _ := bytes.Cut(raw, []byte{'='})
	name = bytes.TrimSpace(name)
	if len(name) < 2 || name[0]|0x20 != 'o' || name[1]|0x20 != 'c' {
		return false
	}
	return len(name) == 2 || name[2] == '-'
}

// Says reports whether the value of a Via says anything of overload control.
func Says(via []byte) bool {
	for rest := paramsOf(via); rest != nil; {
		var raw []byte
		if raw, rest = cut(rest); isOurs(raw) {
			return true
		}
	}
	return false
}

// Reported reads what a server says in the topmost Via of a response. ok is false if it says nothing, or nothing that we know.
func Reported(via []byte) (r Report, ok bool) {
	params := paramsOf(via)
	if params == nil {
		return r, false
	}
	value, ok := sip.Param(params, "oc")
	if !ok || len(value) == 0 {
		return r, false // as we sent it: the server does not understand it
	}
	n, sound := number(value, 9)
	algorithm, _ := sip.Param(params, "oc-algo")
	switch string(algorithm) {
	case "loss":
		r.Algorithm = Loss
		sound = sound && n <= 100
	case "rate":
		r.Algorithm = Rate
	default:
		return r, false
	}
	r.Value, r.Validity = uint32(n), DefaultValidity
	if v, given := sip.Param(params, "oc-validity"); given && len(v) > 0 {
		ms, good := number(v, 7)
		r.Validity, sound = time.Duration(ms)*time.Millisecond, sound && good
	}
	if v, given := sip.Param(params, "oc-seq"); given {
		seq, good := seqFrom(v)
		r.Seq, sound = seq, sound && good
	}
	return r, sound
}

// seqFrom reads 1*12DIGIT "." 1*5DIGIT (RFC 7339 9).
func seqFrom(v []byte) (Seq, bool) {
	whole, part, _ := bytes.Cut(v, []byte{'.'})
	seconds, sound := number(whole, 12)
	fraction, good := number(part, 5)
	for range 5 - len(part) {
		fraction *= 10
	}
	return Seq(seconds*seqUnit + fraction), sound && good
}

// number reads at least one and at most so many digits.
func number(v []byte, most int) (n uint64, ok bool) {
	if len(v) == 0 || len(v) > most {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
