package scenario

import (
	"slices"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// TestServices_originates_to_a_barred_number: what users may not dial no service dials for them, unless its identity may (attacks CI-32).
func TestServices_originates_to_a_barred_number(t *testing.T) {
	const number = "tel:+19005550100"
	for _, c := range []struct {
		may  []string
		want int
	}{{nil, 403}, {[]string{"sip:wake@" + lab.Domain}, 404}} { // 404: there is nobody who has it
		numbering := config.Numbering{Barred: []string{"+1900"}}
		if c.may != nil {
			numbering.Permissions = []config.NumberPermission{{Identities: c.may, Prefixes: []string{"+1900"}}}
		}
		s := newStage(t, lab.Options{Seed: 1, Numbering: numbering})
		p := s.platform("wake", []string{"session.originate"}, "")
		p.Begin(p.NewRequest(sip.INVITE, number, "sip:wake@"+lab.Domain))
		s.w.Settle()
		barred := slices.ContainsFunc(s.w.Events, func(e secure.Event) bool { return e.Control == secure.CIAuthorizationRoutePolicy })
		if last(p) != c.want || barred != (c.want == 403) {
			t.Errorf("%v may: the platform heard %d, barred: %v", c.may, last(p), barred)
		}
	}
}

// TestServices_lead_to_a_barred_number: what a user may not dial no service dials for him, has others dial for him, or sends his callers to (attacks CI-32).
func TestServices_lead_to_a_barred_number(t *testing.T) {
	const number = "tel:+19005550100"
	diverts := func(p *lab.Platform) { p.Edit = func(m *sip.Message) { m.SetRequestURI([]byte(number)) } }
	for name, c := range map[string]struct {
		when   string // whose service it is
		method sip.Method
		leads  func(p *lab.Platform)
	}{
		"the caller's diverts": {"originating", sip.MESSAGE, diverts},
		"the callee's diverts": {"terminating", sip.MESSAGE, diverts},
		"refers": {"originating", sip.REFER, func(p *lab.Platform) {
			p.Edit = func(m *sip.Message) { m.SetString(sip.HdrReferTo, "<"+number+">") }
		}},
		"redirects": {"terminating", sip.MESSAGE, func(p *lab.Platform) {
			p.Handle = func(m *sip.Message) {
				p.Answer(m, 302, func(r *sip.Message) { r.SetString(sip.HdrContact, "<"+number+">") })
			}
		}},
	} {
		for _, may := range []bool{false, true} {
			numbering := config.Numbering{Barred: []string{"+1900"}}
			if may {
				numbering.Permissions = []config.NumberPermission{{Identities: []string{"sip:alice@" + lab.Domain, "sip:bob@" + lab.Domain}, Prefixes: []string{"+1900"}}}
			}
			s := newStage(t, lab.Options{Seed: 1, Numbering: numbering})
			c.leads(s.platform("lead", []string{"session.proxy", "session.redirect", "identity.private"},
				strings.Replace(trigger(c.when, "10", "continue"), "MESSAGE", c.method.String(), 1)))
			s.registers()
			s.alice.Send(c.method, s.bob.IMPU, lab.Header("Refer-To", "<"+s.alice.IMPU+">"))
			s.w.Settle()
			barred := slices.ContainsFunc(s.w.Events, func(e secure.Event) bool { return e.Control == secure.CIAuthorizationRoutePolicy })
			if refused := s.alice.Response(403) != nil; barred == may || refused == may {
				t.Errorf("%s, may %v: barred %v, alice hears 403: %v", name, may, barred, refused)
			}
		}
	}
}
