package sip

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// The limits of a wildcarded identity. Matching takes time in proportion to the length of what is matched and to that of the program.
const (
	maxExpression   = 128 // octets
	maxInstructions = 256 // of the compiled expression
)

// ErrWildcard is wrapped by every error of ParseWildcard.
var ErrWildcard = errors.New("not a wildcarded identity")

// Wildcard is a wildcarded public user identity or public service identity: a range of SIP or tel URIs, as
// "sip:chatlist!.*!@example.com" (TS 23.003 13.4A, 13.5). What stands between the outermost exclamation marks of the user part or number
// is an extended regular expression; what is around it is fixed. It never changes and is safe for concurrent use.
type Wildcard struct {
	text       string
	head, tail string // what is fixed, from the scheme on and to the end
	expression *regexp.Regexp
}

// IsWildcard reports whether an identity as it is provisioned is a wildcarded one. Of an identity in a message it says nothing: there an
// exclamation mark is a letter like others (TS 23.003 13.5).
func IsWildcard(identity string) bool { return strings.Contains(identity, "!") }

// ParseWildcard reads a wildcarded identity as it is provisioned. Its expression must fill the place between the marks, is one of POSIX
// without back references, and matches in linear time. Errors wrap ErrWildcard and say what is wrong.
func ParseWildcard(text string) (*Wildcard, error) {
	user := len(text)
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		user = at
	}
	first, last := strings.IndexByte(text, '!'), strings.LastIndexByte(text[:user], '!')
	if first < 0 || first >= last || strings.IndexByte(text[user:], '!') >= 0 {
		return nil, wildcardError("two exclamation marks are needed, in the user part or number")
	}
	w := &Wildcard{text: text, head: text[:first], tail: text[last+1:]}
	if !strings.HasPrefix(w.head, "sip:") && !strings.HasPrefix(w.head, "tel:+") {
		return nil, wildcardError("it must begin with sip: or tel:+")
	}
	expression := text[first+1 : last]
	if expression == "" || len(expression) > maxExpression {
		return nil, wildcardError("the expression must have 1 to 128 octets")
	}
	parsed, err := syntax.Parse(expression, syntax.POSIX)
	if err != nil {
		return nil, wildcardError("the expression: " + err.Error())
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxInstructions {
		return nil, wildcardError("the expression is too large")
	}
	if w.expression, err = regexp.CompilePOSIX(expression); err != nil {
		return nil, wildcardError("the expression: " + err.Error())
	}
	return w, nil
}

func wildcardError(what string) error { return fmt.Errorf("%w: %s", ErrWildcard, what) }

// String returns the identity as it was provisioned.
func (w *Wildcard) String() string { return w.text }

// Head returns what every identity in the range begins with: the scheme, and what is fixed after it.
func (w *Wildcard) Head() string { return w.head }

// Tail returns what every identity in the range ends with: what is fixed of the user part, and the host.
func (w *Wildcard) Tail() string { return w.tail }

// Match reports whether an identity in canonical form (PublicIdentity) is in the range. The whole of it must fit.
func (w *Wildcard) Match(identity string) bool {
	if len(identity) < len(w.head)+len(w.tail) || !strings.HasPrefix(identity, w.head) || !strings.HasSuffix(identity, w.tail) {
		return false
	}
	varying := identity[len(w.head) : len(identity)-len(w.tail)]
	// The leftmost match is the longest one as well: if the whole fits, it is what is found.
	found := w.expression.FindStringIndex(varying)
	return found != nil && found[0] == 0 && found[1] == len(varying)
}

// Compare orders wildcards that an identity may fall into, the most specific first: the longest fixed beginning, then the longest
// fixed end, then the octets, so that the order is always the same. TS 23.003 leaves it open.
func (w *Wildcard) Compare(o *Wildcard) int {
	return cmp.Or(cmp.Compare(len(o.head), len(w.head)), cmp.Compare(len(o.tail), len(w.tail)), cmp.Compare(w.text, o.text))
}

// AppendWildcard appends a wildcarded identity as a URI, for P-Profile-Key (RFC 5002): whatever the grammar does not have at its place is escaped. It
// need not be one that ParseWildcard reads, and nothing that is in it ends the URI or the header.
func AppendWildcard(b []byte, identity string) []byte {
	colon, at := strings.IndexByte(identity, ':'), strings.LastIndexByte(identity, '@')
	for i := range len(identity) {
		c := identity[i]
		switch plain := class[c]&clsUser != 0; {
		case plain, i == colon, i == at, i > at && at >= 0 && strings.IndexByte("[:]", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// ParseProfileKey reads the value of a P-Profile-Key (RFC 5002).
func ParseProfileKey(v []byte) (*Wildcard, error) {
	addr, err := ParseNameAddr(v)
	if err != nil {
		return nil, err
	}
	text := make([]byte, 0, len(addr.URI))
	for i := 0; i < len(addr.URI); i++ {
		c := addr.URI[i]
		if c == '%' && isEscape(addr.URI[i:]) {
			c, i = unhex(addr.URI[i+1])<<4|unhex(addr.URI[i+2]), i+2
		}
		text = append(text, c)
	}
	return ParseWildcard(string(text))
}
