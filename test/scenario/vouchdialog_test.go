package scenario

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/policy"
	"imsafe/proto/passport"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/secure"
	"imsafe/test/lab"
)

// Further media keys of the two, for which they renegotiate.
const (
	otherKeyOfAlice = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:11"
	otherKeyOfBob   = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:12"
)

// stands makes a call of alice's to bob that both have described.
func (c *court) stands() {
	c.Helper()
	c.registers()
	c.calls(describe(keyOfAlice))
	c.bob.Answer(200, describe(keyOfBob))
	if c.alice.Response(200) == nil {
		c.Fatalf("alice has %s", c.alice.Pending())
	}
	c.alice.SendInDialog(sip.ACK)
	if c.bob.Request("ACK") == nil {
		c.Fatalf("bob has %s", c.bob.Pending())
	}
}

// renegotiates sends a request within the call from one to another, who answers if it comes, and returns what each of them gets.
func (c *court) renegotiates(method sip.Method, from, to *lab.Client, offer, answer string) (request, response *sip.Message) {
	c.Helper()
	c.w.Advance(time.Second)
	from.SendInDialog(method, describe(offer), lab.Header("Identity", "forged;info=<https://evil.example/>"))
	if request = to.Request(method.String()); request == nil {
		return nil, nil
	}
	to.Answer(200, describe(answer), lab.Header("Identity", "forged;info=<https://evil.example/>"))
	if response = from.Response(200); response != nil && method == sip.INVITE {
		from.SendInDialog(sip.ACK)
		to.Request("ACK")
	}
	return request, response
}

// TestVouched_within_a_dialog: a re-INVITE and an UPDATE, of either end, and their answers, are signed like the first INVITE; a platform that only
// passes on changes nothing in that.
func TestVouched_within_a_dialog(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		for name, when := range map[string]string{"nobody between": "", "a platform of the caller's": "originating", "a platform of the called user's": "terminating"} {
			t.Run(name, func(t *testing.T) {
				c := newCourt(t, o)
				if when != "" {
					c.platform("quiet", []string{proxies}, trigger(when, "10", "reject"))
				}
				c.stands()
				for _, way := range []struct{ from, to *lab.Client }{{c.alice, c.bob}, {c.bob, c.alice}} {
					for _, method := range []sip.Method{sip.INVITE, sip.UPDATE} {
						m, r := c.renegotiates(method, way.from, way.to, otherKeyOfAlice, otherKeyOfBob)
						if m == nil || r == nil {
							t.Fatalf("%v of %s: %v, %v", method, way.from.Name, m, r)
						}
						c.wants(c.verified(m, passport.Plain), way.from.IMPU, way.to.IMPU, otherKeyOfAlice)
						c.wants(c.verified(r, passport.Rsp), way.from.IMPU, way.to.IMPU, otherKeyOfBob)
					}
				}
				c.w.Advance(2 * passport.Window) // what was signed at the beginning is stale by now: it must not come again
				if m, r := c.renegotiates(sip.INVITE, c.alice, c.bob, keyOfAlice, keyOfBob); m == nil || r == nil {
					t.Error("hold, later")
				} else {
					c.verified(m, passport.Plain)
					c.verified(r, passport.Rsp)
				}
			})
		}
	})
}

// TestVouched_within_the_other_dialog: of a call that two telephones have answered one dialog ends at once (RFC 3261 13.2.2.4). In the other one a platform still
// passes on what the two say.
func TestVouched_within_the_other_dialog(t *testing.T) {
	for _, when := range []string{"originating", "terminating"} {
		t.Run(when, func(t *testing.T) {
			c := newCourt(t, lab.Options{Seed: 1})
			c.platform("quiet", []string{proxies}, trigger(when, "10", "reject"))
			c.registers()
			tablet := c.w.Nodes[0].AddDevice("tablet", c.bob)
			eachRegisters(t, c.bob, tablet)
			c.calls(describe(keyOfAlice))
			if tablet.Request("INVITE") == nil {
				t.Fatal("no fork")
			}
			tablet.Answer(200, describe(otherKeyOfBob))
			c.bob.Answer(200, describe(keyOfBob)) // before it has heard of the other's answer
			if c.alice.Response(200) == nil {
				t.Fatalf("alice has %s", c.alice.Pending())
			}
			c.alice.SendInDialog(sip.ACK)
			c.alice.SendInDialog(sip.BYE)
			if tablet.Request("BYE") == nil {
				t.Fatalf("the tablet has %s", tablet.Pending())
			}
			if c.alice.Response(200) == nil { // Bob's
				t.Fatalf("alice has %s", c.alice.Pending())
			}
			c.alice.SendInDialog(sip.ACK)
			if c.bob.Request("ACK") == nil {
				t.Fatalf("bob has %s", c.bob.Pending())
			}
			if m, r := c.renegotiates(sip.INVITE, c.alice, c.bob, otherKeyOfAlice, otherKeyOfBob); m == nil || r == nil {
				t.Errorf("re-INVITE: %v, %v; alice has %s", m, r, c.alice.Pending())
			}
		})
	}
}

// TestVouched_swapped_within_a_dialog: a platform in the path changes media keys of a standing call; only one that may have media can, by a grant that
// names it (CS-05).
func TestVouched_swapped_within_a_dialog(t *testing.T) {
	for _, when := range []string{"originating", "terminating"} {
		for _, method := range []sip.Method{sip.INVITE, sip.UPDATE} {
			for _, swapped := range []string{"offer", "answer"} {
				for _, may := range []bool{false, true} {
					name := when + " " + method.String() + " " + swapped + map[bool]string{false: " without right", true: " with right"}[may]
					t.Run(name, func(t *testing.T) { swapsWithin(t, when, method, swapped, may) })
				}
			}
		}
	}
}

func swapsWithin(t *testing.T, when string, method sip.Method, swapped string, may bool) {
	c := newCourt(t, lab.Options{Seed: 1})
	scopes := []string{proxies, mediates}
	if may {
		scopes = append(scopes, "media.send", "media.receive")
	}
	p := c.platform("mitm", scopes, trigger(when, "10", "reject"))
	c.stands()
	swap := func(m *sip.Message) {
		if len(m.Body()) > 0 && m.Method() != sip.ACK {
			describe(keyOfPlatform)(m)
		}
	}
	if swapped == "offer" {
		p.Edit = swap
	} else {
		p.Answering = swap
	}
	for _, way := range []struct{ from, to *lab.Client }{{c.alice, c.bob}, {c.bob, c.alice}} {
		m, r := c.renegotiates(method, way.from, way.to, otherKeyOfAlice, otherKeyOfBob)
		if !may {
			refusal := way.from.Response(403)
			if r != nil || swapped == "offer" && m != nil || refusal == nil || !c.refused(secure.CSIntegrityFingerprint) ||
				!strings.Contains(string(refusal.Get(sip.HdrWarning)), "cs.integrity.fingerprint") {
				t.Errorf("%s: %v, %v, %v, events %v", way.from.Name, m, r, refusal, c.w.Events)
			}
			continue
		}
		if m == nil || r == nil {
			t.Fatalf("%s: %v, %v, %s", way.from.Name, m, r, way.from.Pending())
		}
		if swapped == "offer" {
			c.wants(c.verified(m, passport.Grant), way.from.IMPU, way.to.IMPU, keyOfPlatform)
			continue
		}
		g := c.verified(r, passport.Rsp)
		if c.wants(g, way.from.IMPU, way.to.IMPU, keyOfPlatform); g.Grants == nil || !g.Grants.May("send") {
			t.Errorf("%s: %+v", way.from.Name, g)
		}
	}
}

// TestVouched_swapped_within_a_dialog_off: without the control a platform's media keys are believed, and even signed.
func TestVouched_swapped_within_a_dialog_off(t *testing.T) {
	off, err := policy.Default().Ablate(secure.CSIntegrityFingerprint)
	if err != nil {
		t.Fatal(err)
	}
	c := newCourt(t, lab.Options{Seed: 1, Policy: off})
	p := c.platform("mitm", []string{proxies, mediates}, trigger("terminating", "10", "reject"))
	c.stands()
	p.Edit = func(m *sip.Message) {
		if len(m.Body()) > 0 {
			describe(keyOfPlatform)(m)
		}
	}
	m, _ := c.renegotiates(sip.INVITE, c.alice, c.bob, otherKeyOfAlice, otherKeyOfBob)
	c.wants(c.verified(m, passport.Plain), c.alice.IMPU, c.bob.IMPU, keyOfPlatform)
}

// TestVouched_within_a_dialog_anchored: an end that takes other keys is signed with those of its anchor, which the other end is shown.
func TestVouched_within_a_dialog_anchored(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1, Anchor: iqtest.NewFake(1000), Wide: true})
	c.registers()
	active := func(key string) lab.Edit {
		return func(m *sip.Message) {
			describe(key)(m)
			m.SetBody("application/sdp", bytes.ReplaceAll(m.Body(), []byte("actpass"), []byte("active")))
		}
	}
	first := passport.KeysOf(c.calls(describe(keyOfAlice)).Body())
	c.bob.Answer(200, active(keyOfBob))
	if c.alice.Response(200) == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	c.alice.SendInDialog(sip.ACK)
	c.bob.Request("ACK")
	c.alice.SendInDialog(sip.UPDATE, describe(otherKeyOfAlice))
	m := c.bob.Request("UPDATE")
	if m == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	p, shown := c.verified(m, passport.Plain), passport.KeysOf(m.Body())
	if c.wants(p, c.alice.IMPU, c.bob.IMPU, ""); !p.Covers(shown) || !slices.Equal(shown, first) {
		t.Errorf("bob is shown %v after %v, and signed is %v", shown, first, p.Keys)
	}
	c.bob.Answer(200, active(keyOfBob))
	r := c.alice.Response(200)
	if r == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	if p := c.verified(r, passport.Rsp); p == nil || !p.Covers(passport.KeysOf(r.Body())) {
		t.Errorf("alice is shown %v, and signed is %+v", passport.KeysOf(r.Body()), p)
	}
}

// TestVouched_within_a_dialog_anonymous: who did not want to be known when he called is not named later either.
func TestVouched_within_a_dialog_anonymous(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	c.registers()
	c.calls(describe(keyOfAlice), lab.Header("Privacy", "id"))
	c.bob.Answer(200, describe(keyOfBob))
	c.alice.Response(200)
	c.alice.SendInDialog(sip.ACK)
	c.bob.Request("ACK")
	if m, _ := c.renegotiates(sip.INVITE, c.alice, c.bob, otherKeyOfAlice, keyOfBob); m == nil || m.Has(sip.HdrPAssertedIdentity) || m.Has(sip.HdrIdentity) {
		t.Errorf("bob reads %s", m.AppendTo(nil))
	}
	_, r := c.renegotiates(sip.INVITE, c.bob, c.alice, otherKeyOfBob, keyOfAlice)
	if r == nil {
		t.Fatalf("bob has %s", c.bob.Pending())
	}
	for v := range r.Values(sip.HdrIdentity) {
		if p, err := passport.ParseIdentity(v); err != nil || strings.Contains(p.Dest[0].String(), "alice") {
			t.Errorf("bob is told %+v, %v", p, err)
		}
	}
}
