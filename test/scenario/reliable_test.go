package scenario

import (
	"testing"

	"imsafe/hop"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// TestMedia_reliable: who is called answers in a reliable 183, as our client does (RFC 3262 5; TS 24.229 5.1.4.1). The gates open with it, the PRACK and a
// reliable 180 pass, and a 200 without a description changes nothing; said again, as an unacknowledged 183 is, it says the same. Over each kind of hop.
func TestMedia_reliable(t *testing.T) {
	for name, change := range map[string]func(*lab.Options){
		"direct": nil,
		"strict": func(o *lab.Options) { o.Mode = hop.Strict },
		"wire":   func(o *lab.Options) { o.Split = true },
	} {
		t.Run(name, func(t *testing.T) {
			a := anchor(t, change)
			a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000, "actpass")), lab.Header("Supported", "100rel"))
			if invite := a.bob.Request("INVITE"); invite == nil || !invite.HasToken(sip.HdrSupported, "100rel") {
				t.Fatalf("bob has %v", invite)
			}
			var said []*sdp.Media
			for range 2 { // the second is the repetition
				a.bob.Answer(183, body(dtls(5000, "active")), lab.Header("Require", "100rel"), lab.Header("RSeq", "7"))
				m := a.alice.Response(183)
				said = append(said, a.medium(m))
				if string(m.Get(sip.HdrRSeq)) != "7" || !m.HasToken(sip.HdrRequire, "100rel") {
					t.Errorf("the 183 is\n%s", m.AppendTo(nil))
				}
				a.open(true, true)
			}
			if said[0].Port == 5000 || said[0].Port != said[1].Port || said[0].Setup != said[1].Setup {
				t.Errorf("answered %+v, and again %+v", said[0], said[1])
			}
			a.acknowledged("7 1 INVITE")
			if err := a.bob.AnswerTo("INVITE", 180, lab.Header("Require", "100rel"), lab.Header("RSeq", "8")); err != nil || a.alice.Response(180) == nil {
				t.Fatalf("no 180: %v", err)
			}
			a.acknowledged("8 1 INVITE")
			a.establish()
			a.open(true, true)
			a.bye()
			a.idle()
		})
	}
}

// acknowledged lets alice acknowledge a reliable response, and bob answer that.
func (a *anchored) acknowledged(rack string) {
	a.t.Helper()
	a.alice.SendInDialog(sip.PRACK, lab.Header("RAck", rack))
	if m := a.bob.Request("PRACK"); m == nil || string(m.Get(sip.HdrRAck)) != rack {
		a.t.Fatalf("bob has %v", m)
	}
	a.bob.Answer(200)
	if a.alice.Response(200) == nil {
		a.t.Fatal("no answer to PRACK")
	}
}
