package doctor

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/node"
)

const imsi = "001010000000001"

// healthy is a subscriber with a telephone, registered.
func healthy() *Subscriber {
	c := config.Default()
	c.IMS.MCC, c.IMS.MNC = "001", "01"
	c.CI.IPsec.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(address, 5060)}}
	id := imsi + "@" + home
	return &Subscriber{Name: imsi, Config: &c, Running: true,
		View: &hss.View{ID: id, Group: "default",
			Cards: []hss.CardView{{IMPI: id, IMSI: imsi, Algorithm: "milenage", Scheme: "AKAv1-MD5", AMF: "0000", ReservedSEQ: 100}},
			Sets: []hss.SetView{{State: "registered", RegisteredBy: []string{id}, Default: "sip:+49151@" + home, Public: []hss.Public{
				{IMPU: "sip:+49151@" + home}, {IMPU: "tel:+49151"}, {IMPU: "sip:" + id, Barred: true}}}}},
		Comparison: &hss.Comparison{IMPI: id, Verdict: hss.SameKeys, Bound: "OPc", Operator: "OP"},
		Registration: &node.Registration{IMPI: id, Attempts: []node.Attempt{{At: now, Source: netip.MustParseAddr("10.45.0.2"), Access: "ipsec-3gpp",
			Events: []node.Happening{{At: now, What: "registered", Code: "registered"}}}}}}
}

// complaint is one thing that is not as it should be with a subscriber.
type complaint struct {
	name   string
	change func(*Subscriber)
	code   Code
	level  Level
	word   string
}

func complaints() []complaint {
	card := func(change func(*hss.CardView)) func(*Subscriber) {
		return func(s *Subscriber) { change(&s.View.Cards[0]) }
	}
	scheme := func(name string) func(*Subscriber) { return card(func(c *hss.CardView) { c.Scheme = name }) }
	verdict := func(v hss.Verdict) func(*Subscriber) { return func(s *Subscriber) { s.Comparison.Verdict = v } }
	attempt := func(events ...node.Happening) func(*Subscriber) {
		return func(s *Subscriber) { s.Registration.Attempts[0].Events = events }
	}
	return []complaint{
		{"nobody", func(s *Subscriber) { s.View, s.Registration = nil, nil }, UserKnown, Breaks, "is not provisioned"},
		{"typed with a dot", func(s *Subscriber) { s.Name += "." }, UserIdentity, Breaks, "ends with a dot"},
		{"typed with a blank", func(s *Subscriber) { s.Name += " " }, UserIdentity, Breaks, "begins or ends with a blank"},
		{"stored with a dot", func(s *Subscriber) { s.View.Sets[0].Public[0].IMPU += "." }, UserIdentity, Breaks, "ends with a dot"},
		{"stored in capitals", func(s *Subscriber) { s.View.Sets[0].Public[0].IMPU = "SIP:x@" + home }, UserIdentity, Breaks, "never found"},
		{"a private identity with a blank", card(func(c *hss.CardView) { c.IMPI += " " }), UserIdentity, Breaks, "private identity"},
		{"the telephone says a dot", func(s *Subscriber) { s.Registration.IMPUs = []string{"sip:" + imsi + "@" + home + "."} }, UserIdentity, Breaks, "the client registers"},
		{"not the identity of the IMSI", func(s *Subscriber) { s.View.Sets[0].Public = s.View.Sets[0].Public[:2] }, UserIdentity, Breaks, "is refused"},
		{"an ISIM with a name", card(func(c *hss.CardView) { c.IMPI = "alice@" + home }), UserIdentity, Hint, "a card without ISIM would say"},
		{"no number", func(s *Subscriber) {
			s.View.Sets[0].Public = append(s.View.Sets[0].Public[:1], s.View.Sets[0].Public[2])
		}, UserNumber, Hint, "no number"},
		{"a barred number", func(s *Subscriber) { s.View.Sets[0].Public[1].Barred = true }, UserBarred, Hint, "tel:+49151 is barred"},
		{"AKAv1 without IPsec", func(s *Subscriber) { s.Config.CI.IPsec.Listen = nil }, UserScheme, Breaks, "[ci.ipsec] listens nowhere"},
		{"AKAv2 without TLS", scheme("AKAv2-SHA-256"), UserScheme, Breaks, "[ci.tls] listens nowhere"},
		{"a password that is not admitted", scheme("SHA-256"), UserScheme, Breaks, "[ci.digest] is off"},
		{"MD5 that is not admitted", scheme("MD5"), UserScheme, Breaks, "[ci.digest_md5] is off"},
		{"a password without TLS", func(s *Subscriber) { scheme("SHA-256")(s); s.Config.CI.Digest.Enabled = true }, UserScheme, Breaks, "[ci.tls] listens nowhere"},
		{"no P-CSCF here", func(s *Subscriber) { s.Config.Node.Roles = []string{"hss"} }, UserScheme, Unchecked, "another's to say"},
		{"another K", verdict(hss.OtherK), UserKeys, Breaks, "K is another one"},
		{"another OPc", verdict(hss.OtherValue), UserKeys, Breaks, "OPc is another"},
		{"OP is sealed", verdict(hss.SealedIsOP), UserKeys, Breaks, "OP is sealed in the place of OPc"},
		{"OPc bound once more", verdict(hss.SealedTwice), UserKeys, Breaks, "bound to K twice"},
		{"OP given as OPc", verdict(hss.OPGivenOPc), UserKeys, Breaks, "either that is OP"},
		{"OPc given as OP", verdict(hss.OPcGivenOP), UserKeys, Breaks, "either it is OPc"},
		{"K alone", verdict(hss.SameK), UserKeys, Fine, "no OPc was given"},
		{"no card", verdict(hss.NoCard), UserKeys, Hint, "has no card"},
		{"a keyring without the key", func(s *Subscriber) { s.Comparison, s.CompareErr = nil, errors.New("unknown key") }, UserKeys, Unchecked, "unknown key"},
		{"the AMF of EPS", card(func(c *hss.CardView) { c.AMF = "8000" }), UserAMF, Hint, "separation bit"},
		{"an AMF of the operator's", card(func(c *hss.CardView) { c.AMF = "4321" }), UserAMF, Hint, "operator's own"},
		{"numbers at their end", card(func(c *hss.CardView) { c.ReservedSEQ = 1<<43 - 10 }), UserSQN, Hint, "9 are left"},
		{"a card that was ahead", card(func(c *hss.CardView) { c.Resynced = &hss.Resynced{At: now, Seen: 500, Next: 40} }), UserSQN, Hint, "2026-12-01 12:00:00 UTC: it had seen SEQ 500, and the next one here was 40, 460 behind"},
		{"a card that was ahead after a restart", card(func(c *hss.CardView) { c.Resynced = &hss.Resynced{At: now, Seen: 500} }), UserSQN, Hint, "had seen SEQ 500"},
		{"a card that is too far behind", card(func(c *hss.CardView) { c.Resynced = &hss.Resynced{At: now, Seen: 5, Next: 1 << 40} }), UserSQN, Hint, "too far ahead"},
		{"a card that asks again and again", attempt(node.Happening{What: "AUTS", Code: "resync"}, node.Happening{What: "AUTS", Code: "resync"}, node.Happening{What: "registered", Code: "registered"}), UserSQN, Hint, "resynchronisation in 2"},
		{"not registered", func(s *Subscriber) { s.View.Sets[0].State, s.View.Sets[0].RegisteredBy = "not-registered", nil }, UserRegistered, Fine, "not-registered"},
		{"silence", attempt(node.Happening{What: "nothing came", Code: "no-answer", Do: "let ESP through"}), UserAttempts, Hint, "10.45.0.2 over ipsec-3gpp: nothing came"},
		{"no attempt", func(s *Subscriber) { s.Registration = nil }, UserAttempts, Hint, "no REGISTER arrives"},
		{"no node", func(s *Subscriber) { s.Running = false }, UserAttempts, Unchecked, "no node runs"},
	}
}

// TestExamineUser: one thing is wrong, and that one is found.
func TestExamineUser(t *testing.T) {
	for _, c := range complaints() {
		t.Run(c.name, func(t *testing.T) {
			s := healthy()
			c.change(s)
			found, ok := ExamineUser(s), false
			for _, f := range found {
				ok = ok || f.Code == string(c.code) && f.Level == c.level && strings.Contains(f.What, c.word)
			}
			if !ok {
				t.Errorf("%s %s with %q was not found in %+v", c.level, c.code, c.word, found)
			}
			if Broken(found) != (c.level == Breaks) {
				t.Errorf("broken: %t in %+v", Broken(found), found)
			}
		})
	}
}

// TestExamineUser_well: of a healthy one nothing is found, nor of one who has a password, nor of a service.
func TestExamineUser_well(t *testing.T) {
	password := healthy()
	password.View.Cards[0] = hss.CardView{IMPI: "alice@" + home, Algorithm: "digest", Scheme: "SHA-256", AMF: ""}
	password.Config.CI.Digest.Enabled = true
	password.Config.CI.TLS.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(address, 5061)}}
	for _, s := range []*Subscriber{healthy(), password} {
		for _, f := range ExamineUser(s) {
			if f.Level != Fine {
				t.Errorf("%s: %+v", s.View.Cards[0].Scheme, f)
			}
		}
	}
	first := healthy().Registration.Attempts[0].At
	if !first.Equal(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)) {
		t.Error("the clock of the test moves")
	}
}
