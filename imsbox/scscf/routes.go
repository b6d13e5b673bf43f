package scscf

import (
	"net/url"
	"slices"
	"strings"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// Calls to some numbers cost whoever makes them, and pay whoever owns them: so subscriptions are stolen, and telephones made to dial (attacks
// CI-32). What nobody has allowed is refused: to him who dials, to him who makes another dial (REFER), to him who sends a caller
// there (3xx), and to services that do so for him.

// Routes says which global numbers users may dial. The longest prefix that fits decides. The zero value allows all.
type Routes struct {
	Home    string              // country code, digits; if known, other countries are barred
	Barred  []string            // prefixes with "+" that nobody may dial
	Allowed []string            // prefixes that everybody may
	Users   map[string][]string // prefixes that a public identity may
}

// barred reports whether identity may not dial number, which begins with "+".
func (r *Routes) barred(identity, number string) bool {
	longest := func(prefixes []string) (n int) {
		for _, p := range prefixes {
			if len(p) > n && strings.HasPrefix(number, p) {
				n = len(p)
			}
		}
		return n
	}
	allowed := max(longest(r.Allowed), longest(r.Users[identity]))
	barred := longest(r.Barred)
	if r.Home != "" {
		if !strings.HasPrefix(number, "+"+r.Home) {
			barred = max(barred, len("+"))
		} else {
			allowed = max(allowed, len(r.Home))
		}
	}
	return barred > allowed
}

// barsRoute reports whether the request of identity leads to a number that it may not dial, by itself or by what it makes another do.
func (s *SCSCF) barsRoute(in hop.Inbound, identity string) bool {
	return s.barsNumber(in, identity, in.Msg.RequestURI(), "dialled") || s.barsReferral(in, identity)
}

// barsReferral reports whether a REFER of identity leads to a number that it may not dial itself (RFC 3515 2.1).
func (s *SCSCF) barsReferral(in hop.Inbound, identity string) bool {
	if in.Msg.Method() != sip.REFER {
		return false
	}
	to, err := sip.ParseNameAddr(in.Msg.Get(sip.HdrReferTo))
	return err == nil && s.barsNumber(in, identity, to.URI, "referred")
}

// barsReferralInDialog is barsReferral for a REFER inside a dialog, whose sender the P-CSCF asserts.
func (s *SCSCF) barsReferralInDialog(in hop.Inbound) bool {
	if in.Msg.Method() != sip.REFER {
		return false
	}
	sender, _ := sip.PublicIdentity(in.Msg.Get(sip.HdrPAssertedIdentity))
	return s.barsReferral(in, sender)
}

// barsReturned reports whether a platform has made a request lead to a number that its served user may not dial: of the user who calls or of the one who is called, it
// is he whom the call is for there, and who pays for it.
func (s *SCSCF) barsReturned(in hop.Inbound, c *chain) bool {
	return string(in.Msg.RequestURI()) != c.target && s.barsNumber(in, c.user.served, in.Msg.RequestURI(), "diverted") ||
		string(in.Msg.Get(sip.HdrReferTo)) != c.refers && s.barsReferral(in, c.user.served)
}

// bars3xx returns what refuses a redirection by identity, or by a platform that answers for it, to a number that identity may not dial: the caller hears 403, and goes
// nowhere.
func (s *SCSCF) bars3xx(x *hop.Exchange, in hop.Inbound, identity string, r hop.Reply) hop.Reply {
	if r.Status()/100 != 3 {
		return r
	}
	for v := range r.Msg.Values(sip.HdrContact) {
		if to, err := sip.ParseNameAddr(v); err == nil && s.barsNumber(in, identity, to.URI, "redirected") {
			r.Msg.Release()
			return x.Respond(403, "")
		}
	}
	return r
}

func (s *SCSCF) barsNumber(in hop.Inbound, identity string, uri []byte, reason string) bool {
	if s.cfg.Routes.isZero() {
		return false
	}
	number, isNumber := s.numberIn(uri)
	return isNumber && s.cfg.Routes.barred(identity, number) && s.refusesRoute(in, reason)
}

// refusesRoute is the enforcement point of "nobody dials what nobody has allowed".
func (s *SCSCF) refusesRoute(in hop.Inbound, reason string) bool {
	return s.ports.Gate.Refuse(secure.CIAuthorizationRoutePolicy, secure.Event{Reason: reason, Subject: in.Proof.IMPI()})
}

func (r *Routes) isZero() bool { return r.Home == "" && len(r.Barred) == 0 }

// numberIn returns the global number that a URI stands for to whoever sends a request there, with "+". It reads more than normalise does: what
// any function on the way could take for a number.
func (s *SCSCF) numberIn(v []byte) (number string, ok bool) {
	uri, err := sip.ParseURI(v)
	if err != nil || len(uri.User) == 0 || !uri.IsTel() && (!uri.IsSIP() || uri.User[0]|0x20 >= 'a') {
		return "", false // a name, as most are
	}
	kind, _ := uri.Param("user")
	user, err := url.PathUnescape(string(uri.User))
	if err != nil {
		return "", false
	}
	user, params, _ := strings.Cut(user, ";")
	if uri.IsTel() {
		params = string(uri.Params)
	}
	user = strings.Map(withoutSeparator, user)
	value, _ := sip.Param([]byte(params), "phone-context")
	context := contextOf(string(value))
	switch {
	case strings.HasPrefix(user, "+"):
		return user, true
	case strings.HasPrefix(context, "+"):
		return context + user, true
	case uri.IsTel(), slices.Contains([]string{"phone", "dialstring"}, strings.ToLower(string(kind))) && strings.EqualFold(string(uri.Host), s.cfg.HomeDomain):
		return s.cfg.Numbering.global(user)
	}
	return "", false
}
