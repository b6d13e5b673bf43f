package scenario

import (
	"bytes"
	"strings"
	"testing"

	"imsafe/proto/passport"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/secure"
	"imsafe/test/lab"
)

// An INVITE without an offer (RFC 3261 13.2.1): the called party offers in the 200 or in a reliable 183, and is answered in the ACK or in the PRACK.

// lateOffer lets alice call without an offer and bob offer, in the 200 or in a reliable 183; alice sees the offer, and no gate is open.
func (a *anchored) lateOffer(early bool, offer []byte) *sdp.Media {
	a.t.Helper()
	a.alice.Send(sip.INVITE, a.bob.IMPU, lab.Header("Supported", "100rel"))
	if m := a.bob.Request("INVITE"); m == nil || len(m.Body()) > 0 {
		a.t.Fatalf("bob has %v", m)
	}
	code := 200
	if early {
		code = 183
		a.bob.Answer(code, body(offer), lab.Header("Require", "100rel"), lab.Header("RSeq", "1"))
	} else {
		a.bob.Answer(code, body(offer))
	}
	m := a.medium(a.alice.Response(code))
	a.open(false, false)
	return m
}

// lateAnswer answers it, in the PRACK or in the ACK, and returns what bob sees of it; nil if nothing.
func (a *anchored) lateAnswer(early bool, answer []byte) *sdp.Media {
	a.t.Helper()
	method := sip.ACK
	if early {
		method = sip.PRACK
	}
	a.alice.SendInDialog(method, body(answer), lab.Header("RAck", "1 1 INVITE"))
	m := a.bob.Request(method.String())
	if m == nil {
		a.t.Fatalf("alice has %s", a.alice.Pending())
	}
	if early {
		a.bob.Answer(200)
		if a.alice.Response(200) == nil {
			a.t.Fatal("no answer to PRACK")
		}
	}
	if len(m.Body()) == 0 {
		return nil
	}
	return a.medium(m)
}

// establish lets bob answer what rang with a description already.
func (a *anchored) establish() {
	a.t.Helper()
	if err := a.bob.AnswerTo("INVITE", 200); err != nil {
		a.t.Fatal(err)
	}
	if a.alice.Response(200) == nil {
		a.t.Fatal("no answer")
	}
	a.alice.SendInDialog(sip.ACK)
	a.bob.Request("ACK")
}

// TestMedia_late: the gates open with the answer to the offer, not before, and each end sees the anchor's address and keys alone.
func TestMedia_late(t *testing.T) {
	for name, early := range map[string]bool{"in 200 and ACK": false, "in 183 and PRACK": true} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			a := anchor(t, nil)
			offer := a.lateOffer(early, dtls(5000, "actpass"))
			answer := a.lateAnswer(early, dtls(4000, "active"))
			st := a.fake.Streams()
			if answer == nil || len(st) != 2 || offer.Port == 5000 || offer.Setup != sdp.ActPass || answer.Port == 4000 || answer.Setup != sdp.Passive {
				t.Fatalf("%d streams; offered %+v, answered %+v", len(st), offer, answer)
			}
			a.open(true, true)
			if early {
				a.establish()
			}
			a.bye()
			a.idle()
		})
	}
}

// TestMedia_late_within: a re-INVITE without an offer, of either end, asks for a new offer; the gates of before stay until it was answered, and a hold in the
// answer closes one.
func TestMedia_late_within(t *testing.T) {
	a := anchor(t, nil)
	a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
	for _, c := range []struct {
		from, to      *lab.Client
		offer, answer []byte
		alice, bob    bool // who is heard afterwards
	}{
		{a.alice, a.bob, dtls(5000, "actpass"), dtls(4000, "passive", "a=recvonly"), false, true},
		{a.bob, a.alice, dtls(4000, "actpass"), dtls(5000, "active"), true, true},
	} {
		c.from.SendInDialog(sip.INVITE)
		if c.to.Request("INVITE") == nil {
			t.Fatal("no INVITE")
		}
		c.to.Answer(200, body(c.offer))
		a.medium(c.from.Response(200))
		c.from.SendInDialog(sip.ACK, body(c.answer))
		a.medium(c.to.Request("ACK"))
		a.open(c.alice, c.bob)
	}
	a.bye()
	a.idle()
}

// TestMedia_late_refused: an offer or an answer below the floor, and none at all, open nothing, whatever comes of the call.
func TestMedia_late_refused(t *testing.T) {
	plain := func(port int) []byte { return description(port, "RTP/AVP") }
	for name, c := range map[string]struct {
		early         bool
		offer, answer []byte
	}{
		"an offer in clear":                    {false, plain(5000), plain(4000)},
		"an offer in clear, early":             {true, plain(5000), plain(4000)},
		"an answer in clear":                   {false, dtls(5000, "actpass"), plain(4000)},
		"an answer in clear, early":            {true, dtls(5000, "actpass"), plain(4000)},
		"an answer without a key":              {false, dtls(5000, "actpass"), description(4000, "UDP/TLS/RTP/SAVP", "a=setup:active")},
		"an answer to an address of an anchor": {false, dtls(5000, "actpass"), []byte(strings.Replace(string(dtls(20002, "active")), "c=IN IP4 10.9.9.9", "c=IN IP4 127.0.0.1", 1))},
		"no answer":                            {false, dtls(5000, "actpass"), nil},
		"no description":                       {false, dtls(5000, "actpass"), []byte("hello")},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			a := anchor(t, nil)
			a.lateOffer(c.early, c.offer)
			if m := a.lateAnswer(c.early, c.answer); m != nil && m.Port != 0 {
				t.Errorf("bob is answered %+v", m)
			}
			a.open(false, false)
			if c.early {
				a.establish()
				a.open(false, false)
			}
			if bytes.Contains(c.offer, []byte("RTP/AVP")) {
				a.refusedBy(secure.CSConfidentialityMediaFloor, "rtp")
			}
			a.bye()
			a.idle()
		})
	}
}

// TestMedia_late_forked: each branch offers for itself and is answered; of the two the caller hears the one that was told last, until one has answered.
func TestMedia_late_forked(t *testing.T) {
	a := anchor(t, nil)
	tablet := a.Nodes[0].AddDevice("tablet", a.bob)
	eachRegisters(t, a.bob, tablet)
	a.alice.Send(sip.INVITE, a.bob.IMPU, lab.Header("Supported", "100rel"))
	if a.bob.Request("INVITE") == nil || tablet.Request("INVITE") == nil {
		t.Fatal("no fork")
	}
	var shown []*sdp.Media
	for i, c := range []*lab.Client{a.bob, tablet} {
		if err := c.AnswerTo("INVITE", 183, body(dtls(5000+100*i, "actpass")), lab.Header("Require", "100rel"), lab.Header("RSeq", "1")); err != nil {
			t.Fatal(err)
		}
		shown = append(shown, a.medium(a.alice.Response(183)))
		a.alice.SendInDialog(sip.PRACK, body(dtls(4000, "active")), lab.Header("RAck", "1 1 INVITE"))
		if m := a.medium(c.Request("PRACK")); m.Port == 4000 || m.Setup != sdp.Passive {
			t.Errorf("branch %d is answered %+v", i, m)
		}
		c.Answer(200)
		a.alice.Response(200)
	}
	st := a.fake.Streams() // bob's half was reserved first, then alice's
	if len(st) != 3 || len(st[1].Core) != 2 || shown[0].Port != shown[1].Port {
		t.Fatalf("%d streams, the caller's has %d branches, offered at %d and %d", len(st), len(st[1].Core), shown[0].Port, shown[1].Port)
	}
	a.establish()
	if tablet.Request("CANCEL") == nil {
		t.Error("no CANCEL")
	}
	tablet.Answer(200)
	if err := tablet.AnswerTo("INVITE", 487); err != nil {
		t.Fatal(err)
	}
	a.Settle()
	if st := a.fake.Streams(); len(st) != 2 || len(st[1].Core) != 1 || st[1].Core[st[1].Heard].Media != st[0].Ends[iq.Core].Media {
		t.Errorf("%d streams after the answer, %d branches", len(st), len(st[1].Core))
	}
	a.bye()
	a.idle()
}

// TestVouched_late: the offer is signed where it comes from the called user, as what he answers, and the answer in the ACK or PRACK where it comes from the caller, as
// what he says within the dialog; with an anchor, again with the anchor's keys. What a client brings itself is gone.
func TestVouched_late(t *testing.T) {
	for name, o := range map[string]lab.Options{"direct": {Seed: 1}, "anchored": {Seed: 1, Anchor: iqtest.NewFake(1000), Wide: true}} {
		for _, when := range []string{"", "originating", "terminating"} {
			for _, early := range []bool{false, true} {
				if o.Anchor != nil {
					o.Anchor = iqtest.NewFake(1000)
				}
				t.Run(name+" "+when+map[bool]string{true: " early"}[early], func(t *testing.T) { vouchedLate(t, o, when, early) })
			}
		}
	}
}

func vouchedLate(t *testing.T, o lab.Options, when string, early bool) {
	c := newCourt(t, o)
	if when != "" {
		c.platform("quiet", []string{proxies}, trigger(when, "10", "reject"))
	}
	c.registers()
	forged := lab.Header("Identity", "forged;info=<https://evil.example/>")
	invite := c.calls(forged)
	if p := c.verified(invite, passport.Plain); p == nil || len(p.Keys) > 0 {
		t.Errorf("the INVITE is signed with %+v", p)
	}
	edits := []lab.Edit{describe(keyOfBob), forged}
	code, method := 200, sip.ACK
	if early {
		code, method = 183, sip.PRACK
		edits = append(edits, lab.Header("Require", "100rel"), lab.Header("RSeq", "1"))
	}
	c.bob.Answer(code, edits...)
	r := c.alice.Response(code)
	if r == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	keyOf := func(key string) string {
		if o.Anchor != nil {
			return ""
		}
		return key
	}
	p := c.verified(r, passport.Rsp)
	if c.wants(p, c.alice.IMPU, c.bob.IMPU, keyOf(keyOfBob)); !p.Covers(passport.KeysOf(r.Body())) || len(p.Keys) == 0 {
		t.Errorf("alice is shown %v, and signed is %v", passport.KeysOf(r.Body()), p.Keys)
	}
	answer := func(m *sip.Message) {
		describe(keyOfAlice)(m)
		m.SetBody("application/sdp", bytes.ReplaceAll(m.Body(), []byte("actpass"), []byte("active")))
	}
	c.alice.SendInDialog(method, answer, forged, lab.Header("RAck", "1 1 INVITE"))
	m := c.bob.Request(method.String())
	if m == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	p = c.verified(m, passport.Plain)
	if c.wants(p, c.alice.IMPU, c.bob.IMPU, keyOf(keyOfAlice)); !p.Covers(passport.KeysOf(m.Body())) || len(p.Keys) == 0 {
		t.Errorf("bob is shown %v, and signed is %v", passport.KeysOf(m.Body()), p.Keys)
	}
}

// TestVouched_late_swapped: a platform in the path that changes the late answer and may have no media gets it nowhere: an ACK cannot be refused, so its
// description is taken off; a PRACK is refused.
func TestVouched_late_swapped(t *testing.T) {
	for _, early := range []bool{false, true} {
		c := newCourt(t, lab.Options{Seed: 1})
		p := c.platform("mitm", []string{proxies, mediates}, trigger("terminating", "10", "reject"))
		c.registers()
		c.calls()
		code, method := 200, sip.ACK
		edits := []lab.Edit{describe(keyOfBob)}
		if early {
			code, method = 183, sip.PRACK
			edits = append(edits, lab.Header("Require", "100rel"), lab.Header("RSeq", "1"))
		}
		c.bob.Answer(code, edits...)
		if c.alice.Response(code) == nil {
			t.Fatalf("alice has %s", c.alice.Pending())
		}
		p.Edit = func(m *sip.Message) {
			if len(m.Body()) > 0 {
				describe(keyOfPlatform)(m)
			}
		}
		c.alice.SendInDialog(method, describe(keyOfAlice), lab.Header("RAck", "1 1 INVITE"))
		m := c.bob.Request(method.String())
		if early && m != nil || !early && (m == nil || len(m.Body()) > 0 || m.Has(sip.HdrIdentity)) || !c.refused(secure.CSIntegrityFingerprint) {
			t.Errorf("%v: bob has %v; events %v", method, m, c.w.Events)
		}
	}
}

// TestMedia_answer_that_leaves_the_roles_open: within a call an answer may repeat the actpass of an offer of its own: the association that stands keeps its roles
// (RFC 8842 5.3). At the beginning, or with other keys, it has none to keep.
func TestMedia_answer_that_leaves_the_roles_open(t *testing.T) {
	a := anchor(t, nil)
	a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
	for _, c := range []struct {
		answer []byte
		open   bool
	}{{dtls(5000, "actpass"), true}, {dtls(5100, "actpass"), false}} {
		a.alice.SendInDialog(sip.INVITE, body(dtls(4000, "actpass")))
		a.medium(a.bob.Request("INVITE"))
		a.bob.Answer(200, body(c.answer))
		if m := a.medium(a.alice.Response(200)); (m.Port != 0) != c.open {
			t.Errorf("alice is answered %+v", m)
		}
		a.alice.SendInDialog(sip.ACK)
		a.bob.Request("ACK")
		a.open(c.open, c.open)
	}
	a.bye()
	a.idle()
}
