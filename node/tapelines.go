package node

import (
	"fmt"

	"imsafe/proto/sip"
)

// shown are the headers that stand on a ladder as they are. Those with tags, tokens, addresses or credentials are not among them: whoever reads a
// ladder shall not be able to end a call with it.
var shown = [...]struct {
	name   string
	header sip.HeaderID
}{
	{"P-Asserted-Identity", sip.HdrPAssertedIdentity}, {"P-Preferred-Identity", sip.HdrPPreferredIdentity}, {"Privacy", sip.HdrPrivacy},
	{"Max-Forwards", sip.HdrMaxForwards}, {"Expires", sip.HdrExpires}, {"Event", sip.HdrEvent}, {"Subscription-State", sip.HdrSubscriptionState},
	{"Security-Client", sip.HdrSecurityClient}, {"Security-Server", sip.HdrSecurityServer}, {"Security-Verify", sip.HdrSecurityVerify},
	{"Require", sip.HdrRequire}, {"Reason", sip.HdrReason}, {"Warning", sip.HdrWarning}, {"Retry-After", sip.HdrRetryAfter}, {"User-Agent", sip.HdrUserAgent},
}

// lines are what a ladder shows of a message.
func lines(m *sip.Message) (all []string) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, name+": "+value)
		}
	}
	if m.IsRequest() {
		target, ok := sip.PublicIdentity(m.RequestURI())
		if !ok {
			target = "[no SIP or tel URI]"
		}
		add("Request-URI", target)
	}
	from, _ := sip.PublicIdentity(m.Get(sip.HdrFrom))
	to, _ := m.ToIdentity()
	add("From", from)
	add("To", to)
	add("CSeq", string(m.Get(sip.HdrCSeq)))
	if c, err := m.Credentials(0); err == nil {
		answer := "no response"
		if len(c.Response) > 0 {
			answer = "response [redacted]"
		}
		add("Authorization", fmt.Sprintf("%s, %s", c.Username, answer))
	}
	if m.Has(sip.HdrWWWAuthenticate) {
		add("WWW-Authenticate", "[redacted]")
	}
	for _, h := range shown {
		add(h.name, string(m.Get(h.header)))
	}
	if n := len(m.Body()); n > 0 {
		add("Body", fmt.Sprintf("%s, %d octets", m.GetName("Content-Type"), n))
	}
	return all
}
