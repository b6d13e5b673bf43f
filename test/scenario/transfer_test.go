package scenario

import (
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// An INVITE that names a call (RFC 3891, RFC 3911) reaches a telephone if the call is its sender's, or if an end of it has sent him there (RFC 5589 7).

// transferring are three users, two of whom have a call: alice has called carol.
type transferring struct {
	t                       *testing.T
	w                       *lab.World
	alice, bob, carol, dave *lab.Client
	named                   string // the call as carol knows it
}

func aTransfer(t *testing.T, o lab.Options) *transferring {
	t.Helper()
	o.Seed = 1
	w, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	s := &transferring{t: t, w: w}
	for name, to := range map[string]**lab.Client{"alice": &s.alice, "bob": &s.bob, "carol": &s.carol, "dave": &s.dave} {
		c, err := w.Nodes[0].AddUser(lab.User{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Register(); err != nil {
			t.Fatal(err)
		}
		*to = c
	}
	s.named = s.calls(s.alice, s.carol)
	return s
}

// calls makes a call and returns its name, as the called user knows it.
func (s *transferring) calls(from, to *lab.Client) string {
	s.t.Helper()
	invite := from.Send(sip.INVITE, to.IMPU)
	to.Request("INVITE")
	to.Answer(200)
	ok := from.Response(200)
	if ok == nil {
		s.t.Fatal("no call: " + from.Pending())
	}
	from.SendInDialog(sip.ACK)
	to.Request("ACK")
	return string(ok.Get(sip.HdrCallID)) + ";to-tag=" + string(ok.ToTag()) + ";from-tag=" + string(invite.FromTag())
}

// named tells whether carol's telephone is asked, by an INVITE of who is not in her call, to do something with it, and what he is answered.
func (s *transferring) asked(who *lab.Client, header, call string) (reached, refused bool) {
	s.t.Helper()
	who.Send(sip.INVITE, s.carol.IMPU, lab.Header(header, call))
	if m := s.carol.Request("INVITE"); m != nil {
		s.carol.Answer(486)
		who.Response(486)
		return true, false
	}
	return false, who.Response(403) != nil
}

// sends has one end of a call send the other to carol's call.
func (s *transferring) sends(from, to *lab.Client, call string) {
	s.t.Helper()
	escaped := strings.NewReplacer(";", "%3B", "=", "%3D").Replace(call)
	from.SendInDialog(sip.REFER, lab.Header("Refer-To", "<"+s.carol.IMPU+"?Replaces="+escaped+">"))
	if to.Request("REFER") == nil {
		s.t.Fatal("no REFER: " + from.Pending())
	}
	to.Answer(202)
	from.Response(202)
}

func TestNamedCall(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		for _, header := range []string{"Replaces", "Join"} {
			s := aTransfer(t, o)
			if reached, refused := s.asked(s.bob, header, s.named); reached || !refused {
				t.Errorf("%s of a call of others: reached %v, refused %v", header, reached, refused)
			}
			if reached, _ := s.asked(s.alice, header, s.named); !reached {
				t.Errorf("%s by an end of the call does not reach the other: %s", header, s.alice.Pending())
			}
			for name, call := range map[string]string{"of nobody's call": "x;to-tag=1;from-tag=2", "without a tag": strings.Replace(s.named, "to-tag", "tag", 1),
				"with a tag twice": s.named + ";to-tag=1", "empty": ";"} {
				if reached, refused := s.asked(s.alice, header, call); reached || !refused {
					t.Errorf("%s %s: reached %v, refused %v", header, name, reached, refused)
				}
			}
			if n, _ := s.w.Nodes[0].Core.Gate.Counts(secure.CSAuthorizationGrantLeg); n == 0 {
				t.Error("the control counts nothing")
			}
		}
	})
}

// TestAttendedTransfer: alice has calls with carol and with bob, and sends bob to carol in her place. The right is bob's, and for as long as a telephone takes
// to follow.
func TestAttendedTransfer(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		s := aTransfer(t, o)
		s.calls(s.alice, s.bob)
		s.sends(s.alice, s.bob, s.named)
		if reached, refused := s.asked(s.dave, "Replaces", s.named); reached || !refused {
			t.Errorf("another than who was sent: reached %v, refused %v", reached, refused)
		}
		if reached, _ := s.asked(s.bob, "Replaces", s.named); !reached {
			t.Errorf("who was sent does not get there: %s", s.bob.Pending())
		}
		s.w.Advance(33 * time.Second)
		if reached, refused := s.asked(s.bob, "Replaces", s.named); reached || !refused {
			t.Errorf("much later: reached %v, refused %v", reached, refused)
		}
	})
}

// TestAttendedTransfer_by_others: who is no end of a call sends nobody there.
func TestAttendedTransfer_by_others(t *testing.T) {
	s := aTransfer(t, lab.Options{})
	s.calls(s.dave, s.bob)
	s.sends(s.dave, s.bob, s.named)
	if reached, refused := s.asked(s.bob, "Replaces", s.named); reached || !refused {
		t.Errorf("reached %v, refused %v", reached, refused)
	}
}
