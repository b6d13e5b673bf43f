package pcscf

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// What the called user's client shows is From, and P-Asserted-Identity only where it knows that. So the two may not contradict each
// other (attacks CI-08): From names an identity of the sender or nobody, and its display name is no number and no address of somebody
// else. What is wrong is put right, never refused: a phone that is badly configured must still be able to call.

// anonymousHost is the host of the URI of who does not want to be known (RFC 3323 4.1.1.3).
const anonymousHost = "anonymous.invalid"

// anonymous is From of who does not want to be known, without its tag (TS 24.607 4.5.2.4).
const anonymous = `"Anonymous" <sip:anonymous@anonymous.invalid>`

// checkFrom compares From with the proven identities of its sender, and puts the asserted identity in its place if it is none of them
// (TS 24.607 4.5.2.4: the network option to screen From). What it returns gives the sender his own From back in the responses; nil if
// nothing was changed. It comes after assertIdentity.
func (p *PCSCF) checkFrom(in hop.Inbound) (restore hop.Up) {
	from, err := in.Msg.From()
	if err != nil || !in.Proof.Registered() {
		return nil // nobody vouches for him who calls an emergency service unregistered: From is all there is
	}
	var b [512]byte
	v := b[:0]
	switch {
	case !p.isSenders(in, from.URI):
		if !p.refusesFrom(in, "from-uri") {
			return nil
		}
		if wantsAnonymity(in.Msg) {
			v = append(v, anonymous...)
		} else {
			v = append(v, in.Msg.Get(sip.HdrPAssertedIdentity)...)
		}
	case len(from.Display) > 0 && namesAnother(in.Proof, from.Display):
		if !p.refusesFrom(in, "from-display") {
			return nil
		}
		v = append(append(append(v, '<'), from.URI...), '>')
	default:
		return nil
	}
	return p.writeFrom(in.Msg, v, from.Params)
}

// checkFromInDialog does the same for the requests inside a dialog by which a client may change what the other shows (RFC 4916 4.4). The URI of
// the others says nothing (RFC 3261 12.2.1.1): nobody shows it.
func (p *PCSCF) checkFromInDialog(in hop.Inbound) (restore hop.Up) {
	if method := in.Msg.Method(); method != sip.INVITE && method != sip.UPDATE {
		return nil
	}
	return p.checkFrom(in)
}

// writeFrom replaces all of From but its parameters, the tag among them, and returns what puts it back in responses.
func (p *PCSCF) writeFrom(m *sip.Message, v, params []byte) (restore hop.Up) {
	original := string(m.Get(sip.HdrFrom))
	if len(params) > 0 {
		v = append(append(v, ';'), params...)
	}
	m.Set(sip.HdrFrom, v)
	return func(r hop.Reply) hop.Reply {
		if r.Msg != nil {
			r.Msg.SetString(sip.HdrFrom, original)
		}
		return r
	}
}

// refusesFrom is the enforcement point of "From names its sender or nobody".
func (p *PCSCF) refusesFrom(in hop.Inbound, reason string) bool {
	return p.ports.Gate.Refuse(secure.CIAuthenticationFromCheck, secure.Event{Reason: reason, Subject: in.Proof.IMPI()})
}

// isSenders reports whether a URI is one of the sender's identities, his number as a SIP URI of the home domain (RFC 3261 19.1.6), or
// nobody's.
func (p *PCSCF) isSenders(in hop.Inbound, v []byte) bool {
	uri, err := sip.ParseURI(v)
	switch {
	case err != nil || !uri.IsSIP() && !uri.IsTel():
		return false
	case isNobody(v):
		return true
	}
	var b [256]byte
	if in.Proof.Owns(uri.AppendAOR(b[:0])) {
		return true
	}
	return uri.IsSIP() && len(uri.User) > 0 && uri.User[0] == '+' && bytes.EqualFold(uri.Host, []byte(p.cfg.Home)) && isNumberOf(in.Proof, uri.User)
}

// isNumberOf reports whether the user part of a SIP URI is a number of the sender.
func isNumberOf(sender secure.Proof, user []byte) bool {
	number, _, _ := bytes.Cut(user, []byte{';'})
	identity, ok := sip.PublicIdentity([]byte("tel:" + string(number)))
	return ok && sender.Owns([]byte(identity))
}

// leastNumber is the least digits by which a display name is a number, not a word with a number in it ("Studio 54", "Gate 1200").
const leastNumber = 5

// namesAnother reports whether a display name reads as a number or an address that is not the sender's. A name is not compared: nobody
// here knows what people are called.
func namesAnother(sender secure.Proof, display []byte) bool {
	if isPlainName(display) {
		return false
	}
	name := string(bytes.ReplaceAll(display, []byte{'\\'}, nil))
	if strings.ContainsAny(name, "@\uff20\ufe6b") || hasScheme(name) {
		identity, ok := sip.PublicIdentity([]byte(withScheme(strings.TrimSpace(name))))
		return !ok || !sender.Owns([]byte(identity))
	}
	return slicesAnother(sender, name)
}

// isPlainName reports whether a display name is of ASCII letters and blanks, as most are.
func isPlainName(display []byte) bool {
	for _, c := range display {
		if (c|0x20 < 'a' || c|0x20 > 'z') && c != ' ' {
			return false
		}
	}
	return true
}

func hasScheme(name string) bool {
	scheme, _, found := strings.Cut(strings.ToLower(name), ":")
	scheme = strings.TrimSpace(scheme)
	return found && (scheme == "sip" || scheme == "sips" || scheme == "tel")
}

func withScheme(name string) string {
	if hasScheme(name) {
		return name
	}
	return "sip:" + name
}

// slicesAnother reports whether a run of digits, with whatever but letters between them, is a number that is not the sender's. Digits of
// other scripts are nobody's number and count as such: they look the same.
func slicesAnother(sender secure.Proof, name string) bool {
	var run []byte
	another := func() bool {
		number := bytes.TrimLeft(run, "0") // as dialled: with a prefix before area or country code
		bad := len(run) >= leastNumber && !ownsNumber(sender, number)
		run = run[:0]
		return bad
	}
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		name = name[size:]
		switch {
		case r >= '0' && r <= '9':
			run = append(run, byte(r))
		case unicode.IsNumber(r):
			run = append(run, '?')
		case unicode.IsLetter(r):
			if another() {
				return true
			}
		}
	}
	return another()
}

// ownsNumber reports whether digits are those of a number of the sender, or the end of them.
func ownsNumber(sender secure.Proof, digits []byte) bool {
	if len(digits) < leastNumber {
		return false
	}
	for _, identity := range sender.IMPUs() {
		_, user, _ := strings.Cut(identity, ":")
		user, _, _ = strings.Cut(user, "@")
		if strings.HasSuffix(user, string(digits)) {
			return true
		}
	}
	return false
}
