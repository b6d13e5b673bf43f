package icscf

import (
	"bytes"
	"strings"

	"imsafe/proto/sip"
)

// identities returns the public identities that a Request-URI may stand for, the likeliest first. A number is a tel URI or a SIP URI of
// the home domain (RFC 3261 19.1.6; TS 24.229 5.3.2.1), and operators provision one of them, or both.
func (i *ICSCF) identities(requestURI []byte) []string {
	uri, err := sip.ParseURI(requestURI)
	if err != nil || !uri.IsSIP() && !uri.IsTel() {
		return nil
	}
	var b [256]byte
	aor := string(uri.AppendAOR(b[:0]))
	if uri.IsTel() {
		number, context, local := strings.Cut(strings.TrimPrefix(aor, "tel:"), ";phone-context=")
		if local && context != i.cfg.Domain {
			return []string{aor}
		}
		return []string{aor, "sip:" + number + "@" + i.cfg.Domain}
	}
	kind, _ := uri.Param("user")
	if !bytes.EqualFold(kind, []byte("phone")) || !strings.EqualFold(string(uri.Host), i.cfg.Domain) {
		return []string{aor}
	}
	user, _, _ := strings.Cut(string(uri.User), ";")
	number := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, user)
	if strings.HasPrefix(number, "+") {
		return []string{"tel:" + number, "sip:" + number + "@" + i.cfg.Domain}
	}
	return []string{"sip:" + number + "@" + i.cfg.Domain, "tel:" + number + ";phone-context=" + i.cfg.Domain}
}
