package hss

import (
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/sip"
)

// Mistake is one thing that is wrong with what somebody wanted to provision: where, what, and what to do. It
// never quotes key material.
type Mistake struct {
	Subject string `json:"subject"` // private identity, or the place in a file
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

// String is the mistake as one line.
func (m Mistake) String() string { return m.Subject + ": " + m.Field + ": " + m.Problem }

// Mistakes are all mistakes of one subscriber or one import; nothing was changed. It is never empty.
type Mistakes []Mistake

// Error lists the first ones.
func (m Mistakes) Error() string {
	const shown = 5
	lines := make([]string, 0, shown)
	for _, x := range m[:min(len(m), shown)] {
		lines = append(lines, x.String())
	}
	text := "hss: " + strings.Join(lines, "; ")
	if more := len(m) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// The limits of a subscription.
const (
	maxCards      = 8
	maxSets       = 16
	maxIdentities = 32 // per set
	maxIdentity   = 255
	maxDisplay    = 128
	maxName       = 64
)

// review collects mistakes.
type review struct {
	subject string
	found   Mistakes
}

func (v *review) add(field, format string, args ...any) {
	v.found = append(v.found, Mistake{v.subject, field, fmt.Sprintf(format, args...)})
}

// checkText says what is wrong with the octets of an identity or a name: what a person does not see.
func checkText(s string) string {
	switch {
	case s == "":
		return "missing"
	case len(s) > maxIdentity:
		return fmt.Sprintf("longer than %d octets", maxIdentity)
	case strings.TrimSpace(s) != s:
		return fmt.Sprintf("%q begins or ends with white space", s)
	case strings.HasSuffix(s, "."):
		return fmt.Sprintf("%q ends with a dot", s)
	}
	for _, c := range s {
		if c <= ' ' || c >= 0x7f {
			return fmt.Sprintf("%q contains %q; only visible ASCII is allowed", s, c)
		}
	}
	return ""
}

// checkDomain says what is wrong with a home domain.
func checkDomain(d string) string {
	if m := checkText(d); m != "" {
		return m
	}
	if strings.ToLower(d) != d {
		return fmt.Sprintf("%q is not in lower case", d)
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Sprintf("%q is not a domain name (label %q)", d, label)
		}
	}
	if strings.HasSuffix(d, ".3gppnetwork.org") {
		if _, _, ok := networkCodes(d); !ok {
			return fmt.Sprintf("%q: a 3GPP domain is ims.mncNNN.mccNNN.3gppnetwork.org with three digits each, "+
				"MNC 01 written as 001 (TS 23.003 13.2)", d)
		}
	}
	return ""
}

// networkCodes reads MCC and MNC out of a 3GPP home domain (TS 23.003 13.2).
func networkCodes(domain string) (mcc, mnc string, ok bool) {
	labels := strings.Split(domain, ".")
	if len(labels) != 5 || labels[0] != "ims" || labels[3] != "3gppnetwork" || labels[4] != "org" {
		return "", "", false
	}
	mnc, okMNC := strings.CutPrefix(labels[1], "mnc")
	mcc, okMCC := strings.CutPrefix(labels[2], "mcc")
	return mcc, mnc, okMNC && okMCC && digits(mnc, 3, 3) && digits(mcc, 3, 3)
}

func digits(s string, least, most int) bool {
	return len(s) >= least && len(s) <= most && strings.Trim(s, "0123456789") == ""
}

// checkIMPI says what is wrong with a private identity (TS 23.003 13.3).
func checkIMPI(impi string, homes []string) string {
	if m := checkText(impi); m != "" {
		return m
	}
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		if strings.HasPrefix(strings.ToLower(impi), scheme) {
			return fmt.Sprintf("%q is a URI; a private identity is user@realm without a scheme", impi)
		}
	}
	user, realm, found := strings.Cut(impi, "@")
	switch {
	case !found || user == "":
		return fmt.Sprintf("%q is not user@realm", impi)
	case strings.ContainsAny(user, `"\,;:<>@`) || strings.Contains(realm, "@"):
		return fmt.Sprintf("%q contains a character that a private identity may not have", impi)
	}
	if !slices.Contains(homes, realm) { // those that are were checked when they were configured
		if m := checkDomain(realm); m != "" {
			return "realm " + m
		}
		return fmt.Sprintf("realm %q is not a home domain of this HSS (%s)", realm, strings.Join(homes, ", "))
	}
	mcc, mnc, is3GPP := networkCodes(realm)
	if !is3GPP || !digits(user, 6, 15) {
		return ""
	}
	two := mnc[0] == '0' && strings.HasPrefix(user, mcc+mnc[1:]) // a two-digit MNC has a 0 in front in the domain
	if !two && !strings.HasPrefix(user, mcc+mnc) {
		return fmt.Sprintf("IMSI %s does not begin with MCC %s and MNC %s of its realm", user, mcc, mnc)
	}
	return ""
}

// checkIMPU says what is wrong with a public identity (TS 23.003 13.4): it must be in the form in which it is
// looked up, or calls to it would silently miss.
func checkIMPU(impu string, homes []string) string {
	if m := checkText(impu); m != "" {
		return m
	}
	if sip.IsWildcard(impu) {
		return checkWildcard(impu, homes)
	}
	return checkDistinct(impu, homes)
}

// checkDistinct says what is wrong with an identity that is no range.
func checkDistinct(impu string, homes []string) string {
	canonical, ok := sip.PublicIdentity([]byte(impu))
	switch {
	case !ok && strings.HasPrefix(impu, "tel:"):
		return fmt.Sprintf("%q is not a global number; write tel:+ and the digits with the country code", impu)
	case !ok:
		return fmt.Sprintf("%q is neither sip:user@domain nor tel:+number", impu)
	case canonical != impu:
		return fmt.Sprintf("%q is looked up as %q; write it so", impu, canonical)
	}
	if strings.HasPrefix(impu, "tel:") {
		if !strings.HasPrefix(impu, "tel:+") || !digits(impu[len("tel:+"):], 1, 15) {
			return fmt.Sprintf("%q is not a global number; write tel:+ and 1 to 15 digits with the country code", impu)
		}
		return ""
	}
	user, host, found := strings.Cut(strings.TrimPrefix(impu, "sip:"), "@")
	switch {
	case !strings.HasPrefix(impu, "sip:"):
		return fmt.Sprintf("%q: the scheme is sip or tel", impu)
	case !found || user == "":
		return fmt.Sprintf("%q has no user part", impu)
	case strings.ContainsAny(host, ":;?"):
		return fmt.Sprintf("%q: a public identity has no port and no parameters", impu)
	}
	if !slices.Contains(homes, host) {
		if m := checkDomain(host); m != "" {
			return "domain " + m
		}
		return fmt.Sprintf("domain %q is not a home domain of this HSS (%s)", host, strings.Join(homes, ", "))
	}
	return ""
}

// checkName says what is wrong with the name of a group or profile.
func checkName(name string) string {
	if m := checkText(name); m != "" {
		return m
	}
	if len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return fmt.Sprintf("%q: a name has 1 to %d of a-z, 0-9, - _ .", name, maxName)
	}
	return ""
}

// checkDisplay says what is wrong with a display name; empty is fine.
func checkDisplay(s string) string {
	if len(s) > maxDisplay {
		return fmt.Sprintf("longer than %d octets", maxDisplay)
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return fmt.Sprintf("%q contains a control character or octets that are not UTF-8", s)
		}
	}
	return ""
}

// isSIPURI says whether s is a sip or sips URI with a host.
func isSIPURI(s string) bool {
	u, err := sip.ParseURI([]byte(s))
	scheme := strings.ToLower(string(u.Scheme))
	return err == nil && (scheme == "sip" || scheme == "sips") && len(u.Host) > 0
}
