package scscf

import (
	"bytes"
	"strings"

	"imsafe/proto/sip"
)

// Numbering is how the home network reads numbers as people dial them (TS 23.228 4.3.5, TS 24.229 5.4.3.2). The zero value reads none:
// only what is global, or says under which prefix it is, is then a number for everybody.
type Numbering struct {
	CountryCode   string // digits, without "+"
	International string // what is dialled before a country code, e.g. "00"
	National      string // what is dialled before an area code, e.g. "0"; "" where nothing is
	Area          string // area code of numbers dialled without one; "" if there are none
}

// minSubscriber is the least digits that a number without area code has: what is shorter is the number of a service or of an
// extension, and stays local.
const minSubscriber = 5

// global returns a dialled number with country code and "+"; false if the rules do not say which it is.
func (n *Numbering) global(dialled string) (string, bool) {
	if n.CountryCode == "" || strings.Trim(dialled, "0123456789") != "" {
		return "", false // nothing is known, or a service code (* and #)
	}
	if rest, ok := strings.CutPrefix(dialled, n.International); ok && n.International != "" && rest != "" {
		return "+" + rest, true
	}
	rest, prefixed := strings.CutPrefix(dialled, n.National)
	switch {
	case n.National != "" && prefixed && rest != "":
		return "+" + n.CountryCode + rest, true
	case len(dialled) < minSubscriber:
		return "", false
	case n.Area != "":
		return "+" + n.CountryCode + n.Area + dialled, true
	case n.National == "":
		return "+" + n.CountryCode + dialled, true
	}
	return "", false
}

// normalise puts a global tel URI in the place of a number as the user dialled it: a tel URI without "+", or a SIP URI of the home
// domain that says user=phone or user=dialstring (RFC 3966 5.1.5, RFC 3261 19.1.6, RFC 4967). What it cannot read stays as it is.
func (s *SCSCF) normalise(m *sip.Message) {
	uri, err := sip.ParseURI(m.RequestURI())
	if err != nil {
		return
	}
	number, context, dialled := s.dialled(&uri)
	if !dialled || number == "" || number[0] == '+' {
		return
	}
	whole, ok := "", false
	switch {
	case strings.HasPrefix(context, "+"):
		whole, ok = context+number, strings.Trim(number, "0123456789") == ""
	case context == "" || context == s.cfg.HomeDomain || strings.HasSuffix(context, "."+s.cfg.HomeDomain):
		whole, ok = s.cfg.Numbering.global(number)
	}
	if ok {
		m.SetRequestURI([]byte("tel:" + whole))
	}
}

// dialled returns the number in a URI without visual separators, and its phone-context in lower case; false if it holds none.
func (s *SCSCF) dialled(uri *sip.URI) (number, context string, ok bool) {
	user, params := uri.User, uri.Params
	if uri.IsSIP() {
		kind, _ := uri.Param("user")
		phone := bytes.EqualFold(kind, []byte("phone")) || bytes.EqualFold(kind, []byte("dialstring"))
		if !phone || !strings.EqualFold(string(uri.Host), s.cfg.HomeDomain) {
			return "", "", false
		}
		user, params, _ = bytes.Cut(uri.User, []byte{';'})
	} else if !uri.IsTel() {
		return "", "", false
	}
	value, _ := sip.Param(params, "phone-context")
	return strings.Map(withoutSeparator, string(user)), strings.ToLower(contextOf(string(value))), true
}

// contextOf returns a phone-context, without separators if it is a prefix.
func contextOf(value string) string {
	if strings.HasPrefix(value, "+") {
		return strings.Map(withoutSeparator, value)
	}
	return value
}

// withoutSeparator drops the visual separators of RFC 3966 3.
func withoutSeparator(r rune) rune {
	if strings.ContainsRune("-.()", r) {
		return -1
	}
	return r
}
