package scenario

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/imsbox/pcscf"
	"imsafe/policy"
	"imsafe/proto/passport"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/secure"
	"imsafe/test/lab"
)

// Session descriptions of three who differ in their media keys.
const (
	keyOfAlice    = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:01"
	keyOfBob      = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:02"
	keyOfPlatform = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:03"
)

func describe(key string) lab.Edit {
	return lab.Body("application/sdp", []byte("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"+
		"m=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\na=fingerprint:sha-256 "+key+"\r\n"))
}

func keys(key string) []passport.Fingerprint {
	return []passport.Fingerprint{{Algorithm: "sha-256", Digest: strings.ReplaceAll(key, ":", "")}}
}

// sealKeeper is who signs for the network of a world.
type sealKeeper struct {
	*passport.Signer
	key *ecdsa.PrivateKey
}

// Genuine implements pcscf.Voucher.
func (s sealKeeper) Genuine(p *passport.PASSporT) bool { return p.Verify(&s.key.PublicKey) == nil }

// forgetful is one who knows nothing of what it has signed.
type forgetful struct{ pcscf.Voucher }

// Genuine implements pcscf.Voucher.
func (forgetful) Genuine(*passport.PASSporT) bool { return false }

// strangerSeed is the seed of a world where the P-CSCF does not know what the S-CSCF has signed, as if another network had.
const strangerSeed = 666

// court is a stage whose nodes sign, and who can check that.
type court struct {
	*stage
	key *ecdsa.PrivateKey
}

func newCourt(t *testing.T, o lab.Options) *court {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := passport.NewSigner(key, "https://cs.ims.example/certificates/1")
	if err != nil {
		t.Fatal(err)
	}
	if o.Voucher = (sealKeeper{signer, key}); o.Anchor != nil && o.Seed == strangerSeed {
		o.Voucher = forgetful{o.Voucher}
	}
	return &court{newStage(t, o), key}
}

// verified returns the token of a type that m carries, nil if there is none. Each field must verify.
func (c *court) verified(m *sip.Message, of passport.Type) (found *passport.PASSporT) {
	c.Helper()
	for v := range m.Values(sip.HdrIdentity) {
		p, err := passport.ParseIdentity(v)
		if err == nil {
			err = p.Verify(&c.key.PublicKey)
		}
		if err == nil {
			err = p.Fresh(c.w.Clock.Wall())
		}
		if err != nil {
			c.Fatalf("%s: %v", v, err)
		}
		if p.Type == of {
			found = p
		}
	}
	return found
}

// refused reports whether a control has refused something.
func (c *court) refused(by secure.ControlID) bool {
	return slices.ContainsFunc(c.w.Events, func(e secure.Event) bool { return e.Control == by && e.Enforced })
}

// wants checks whom a token names, and which keys.
func (c *court) wants(p *passport.PASSporT, orig, dest, key string) {
	c.Helper()
	switch {
	case p == nil:
		c.Fatal("nobody vouches")
	case p.Orig.String() != orig || !p.For(passport.IdentityOf(dest)):
		c.Errorf("from %v to %v, want %s to %s", p.Orig, p.Dest, orig, dest)
	case key != "" && !p.Covers(keys(key)):
		c.Errorf("keys %v", p.Keys)
	}
}

// TestVouched: the home network signs who calls, who answers, and their media keys; what a client brings is gone.
func TestVouched(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		c := newCourt(t, o)
		c.registers()
		m := c.calls(describe(keyOfAlice), lab.Header("Identity", "forged;info=<https://evil.example/>"))
		c.wants(c.verified(m, passport.Plain), c.alice.IMPU, c.bob.IMPU, keyOfAlice)
		if n := m.Count(sip.HdrIdentity); n != 1 {
			t.Errorf("%d Identity fields", n)
		}
		c.bob.Answer(180)
		if r := c.alice.Response(180); r == nil || r.Has(sip.HdrIdentity) {
			t.Error("180 without a description is signed, or did not come")
		}
		c.bob.Answer(200, describe(keyOfBob), lab.Header("Identity", "forged;info=<https://evil.example/>"))
		r := c.alice.Response(200)
		if r == nil {
			t.Fatalf("alice has %s", c.alice.Pending())
		}
		c.wants(c.verified(r, passport.Rsp), c.alice.IMPU, c.bob.IMPU, keyOfBob)
	})
}

// TestVouched_anonymous: a caller who does not want to be known is vouched for as nobody (TS 24.607 4.5.2.4, RFC 8224 4.1).
func TestVouched_anonymous(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	c.registers()
	m := c.calls(describe(keyOfAlice), lab.Header("Privacy", "id"))
	c.wants(c.verified(m, passport.Plain), "sip:anonymous@anonymous.invalid", c.bob.IMPU, keyOfAlice)
	if strings.Contains(string(m.Get(sip.HdrIdentity)), "alice") {
		t.Error("the name is shown")
	}
}

// TestVouched_withheld: a platform that withholds who calls, or who answers, withholds him from what is signed too.
func TestVouched_withheld(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	oir := c.platform("oir", []string{proxies, "identity.privacy"}, trigger("originating", "10", "reject"))
	tir := c.platform("tir", []string{proxies, "identity.privacy"}, trigger("terminating", "10", "reject"))
	hide := func(m *sip.Message) { m.SetString(sip.HdrPrivacy, "id") }
	oir.Edit, tir.Answering = func(m *sip.Message) {
		if m.Method() == sip.INVITE {
			hide(m)
		}
	}, hide
	c.registers()
	m := c.calls(describe(keyOfAlice))
	c.wants(c.verified(m, passport.Plain), "sip:anonymous@anonymous.invalid", c.bob.IMPU, keyOfAlice)
	c.bob.Answer(200, describe(keyOfBob))
	r := c.alice.Response(200)
	if r == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	p := c.verified(r, passport.Rsp)
	if p == nil || p.Dest[0].String() != "sip:anonymous@anonymous.invalid" || !p.Covers(keys(keyOfBob)) || strings.Contains(string(r.Get(sip.HdrIdentity)), "bob") {
		t.Errorf("%+v", p)
	}
}

const proxies, mediates = "session.proxy", "session.answer"

// TestVouched_swapped_offer: a platform in the path changes media keys; only one that may have media goes on, by a grant that names it (CS-05).
func TestVouched_swapped_offer(t *testing.T) {
	for _, when := range []string{"originating", "terminating"} {
		for _, may := range []bool{false, true} {
			t.Run(when+map[bool]string{false: " without right", true: " with right"}[may], func(t *testing.T) {
				c := newCourt(t, lab.Options{Seed: 1})
				scopes := []string{proxies, mediates}
				if may {
					scopes = append(scopes, "media.send", "media.receive")
				}
				p := c.platform("mitm", scopes, trigger(when, "10", "reject"))
				p.Edit = func(m *sip.Message) {
					if m.Method() == sip.INVITE {
						describe(keyOfPlatform)(m)
						m.Remove(sip.HdrIdentity)
					}
				}
				c.registers()
				c.alice.Send(sip.INVITE, c.bob.IMPU, describe(keyOfAlice))
				c.w.Advance(time.Second)
				m := c.bob.Request("INVITE")
				if !may {
					if m != nil || c.alice.Response(403) == nil || !c.refused(secure.CSIntegrityFingerprint) {
						t.Errorf("bob has %v, alice %s, events %v", m, c.alice.Pending(), c.w.Events)
					}
					return
				}
				g := c.verified(m, passport.Grant)
				c.wants(g, c.alice.IMPU, c.bob.IMPU, keyOfPlatform)
				if g.Grants.Service != "spiffe://"+lab.Domain+"/as/example/mitm" || !g.Grants.May("send") || len(g.Grants.Media) != 1 || g.Grants.Media[0] != (passport.Media{Class: "audio", Kbps: 1000}) || g.Grants.May("record") || g.Grants.Session == "" {
					t.Errorf("%+v", g.Grants)
				}
				if m.Count(sip.HdrIdentity) != 1 {
					t.Error("the caller's own voucher is still there")
				}
			})
		}
	}
}

// TestVouched_kept: a platform that takes the voucher off, or puts that of another call there, changes nothing.
func TestVouched_kept(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	p := c.platform("out", []string{proxies, "identity.private"}, trigger("originating", "10", "reject"))
	c.registers()
	stolen := ""
	for i, edit := range []func(m *sip.Message){
		func(m *sip.Message) { stolen = string(m.Get(sip.HdrIdentity)) },
		func(m *sip.Message) { m.Remove(sip.HdrIdentity) },
		func(m *sip.Message) { m.SetString(sip.HdrIdentity, stolen) },
	} {
		c.w.Advance(time.Second)
		p.Edit = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				edit(m)
			}
		}
		m := c.calls(describe(keyOfAlice))
		if m.Count(sip.HdrIdentity) != 1 || i > 0 && string(m.Get(sip.HdrIdentity)) == stolen {
			t.Errorf("call %d: %s", i, m.Get(sip.HdrIdentity))
		}
		c.wants(c.verified(m, passport.Plain), c.alice.IMPU, c.bob.IMPU, keyOfAlice)
		c.bob.Answer(486)
		c.alice.Response(486)
	}
	if !c.refused(secure.CSAuthorizationGrantLeg) {
		t.Errorf("%v", c.w.Events)
	}
}

// TestVouched_answer: a platform that answers is vouched for as a service, with what it may do; one without a right to media answers nobody
// (IS-12).
func TestVouched_answer(t *testing.T) {
	eachMode(t, func(t *testing.T, o lab.Options) {
		c := newCourt(t, o)
		echo := c.platform("echo", []string{mediates, "media.send", "media.receive"}, "")
		rogue := c.platform("rogue", []string{mediates}, "")
		for _, p := range []*lab.Platform{echo, rogue} {
			p.Handle = func(m *sip.Message) {
				if m.Method() == sip.INVITE {
					p.Answer(m, 200, describe(keyOfPlatform), lab.Header("Identity", "forged;info=<https://evil.example/>"))
				}
			}
		}
		c.registers()
		c.alice.Send(sip.INVITE, "sip:echo@"+lab.Domain, describe(keyOfAlice))
		r := c.alice.Response(200)
		if r == nil {
			t.Fatalf("alice has %s", c.alice.Pending())
		}
		g := c.verified(r, passport.Rsp)
		c.wants(g, c.alice.IMPU, "sip:echo@"+lab.Domain, keyOfPlatform)
		if g.Grants == nil || g.Grants.Service != "spiffe://"+lab.Domain+"/as/example/echo" || strings.Join(g.Grants.Scope, " ") != "receive send" {
			t.Errorf("%+v", g.Grants)
		}
		c.alice.SendInDialog(sip.ACK)
		c.alice.Send(sip.INVITE, "sip:rogue@"+lab.Domain, describe(keyOfAlice))
		r = c.alice.Response(403)
		if r == nil || !strings.Contains(string(r.Get(sip.HdrWarning)), "cs.authentication.grant") {
			t.Fatalf("alice has %s", c.alice.Pending())
		}
	})
}

// TestVouched_swapped_answer: a platform in the path changes the media keys of an answer.
func TestVouched_swapped_answer(t *testing.T) {
	for _, may := range []bool{false, true} {
		c := newCourt(t, lab.Options{Seed: 1})
		scopes := []string{proxies, mediates}
		if may {
			scopes = append(scopes, "media.mix")
		}
		p := c.platform("mitm", scopes, trigger("terminating", "10", "reject"))
		c.registers()
		p.Answering = func(m *sip.Message) {
			if m.Status() == 200 && len(m.Body()) > 0 {
				describe(keyOfPlatform)(m)
			}
		}
		m := c.calls(describe(keyOfAlice))
		c.wants(c.verified(m, passport.Plain), c.alice.IMPU, c.bob.IMPU, keyOfAlice)
		c.bob.Answer(200, describe(keyOfBob))
		if r := c.alice.Response(200); may {
			g := c.verified(r, passport.Rsp)
			c.wants(g, c.alice.IMPU, c.bob.IMPU, keyOfPlatform)
			if !g.Grants.May("mix") {
				t.Errorf("%+v", g.Grants)
			}
		} else if r != nil || c.alice.Response(403) == nil || !c.refused(secure.CSIntegrityFingerprint) {
			t.Errorf("alice has %v and %s; %v", r, c.alice.Pending(), c.w.Events)
		}
	}
}

// TestVouched_passed_on: what a platform passes on unchanged keeps the voucher of who is behind it.
func TestVouched_passed_on(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	p := c.platform("quiet", []string{proxies}, trigger("terminating", "10", "reject"))
	p.Answering = func(m *sip.Message) { m.Remove(sip.HdrIdentity) }
	c.registers()
	c.calls(describe(keyOfAlice))
	c.bob.Answer(200, describe(keyOfBob))
	r := c.alice.Response(200)
	if r == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	if p.Seen[0].Has(sip.HdrIdentity) {
		t.Errorf("a platform that may not know users reads %s", p.Seen[0].Get(sip.HdrIdentity))
	}
	p2 := c.verified(r, passport.Rsp)
	c.wants(p2, c.alice.IMPU, c.bob.IMPU, keyOfBob)
	if p2.Grants != nil {
		t.Error("a platform that only passes on has a grant")
	}
}

// directed is describe with more lines.
func directed(key, lines string) lab.Edit {
	return func(m *sip.Message) {
		describe(key)(m)
		m.SetBody("application/sdp", append(m.Body(), lines...))
	}
}

// TestVouched_originated: a call that a platform begins has a grant for what its description asks for, or does not happen.
func TestVouched_originated(t *testing.T) {
	for name, o := range map[string]struct {
		scopes []string
		lines  string
		may    bool
	}{
		"no right to media":            {nil, "", false},
		"it sends, and may":            {[]string{"media.send"}, "a=sendonly\r\n", true},
		"it would hear, and may not":   {[]string{"media.send"}, "", false},
		"it hears, and may":            {[]string{"media.receive"}, "a=recvonly\r\n", true},
		"it would send, and may not":   {[]string{"media.receive"}, "a=sendrecv\r\n", false},
		"it mixes":                     {[]string{"media.mix"}, "", true},
		"it would record, and may not": {[]string{"media.send", "media.receive"}, "a=record:on\r\n", false},
		"it records, and may":          {[]string{"media.send", "media.receive", "media.record"}, "a=record:on\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourt(t, lab.Options{Seed: 1})
			p := c.platform("wake", append(o.scopes, "session.originate"), "")
			c.registers()
			m := p.NewRequest(sip.INVITE, c.bob.IMPU, "sip:wake@"+lab.Domain)
			directed(keyOfPlatform, o.lines)(m)
			p.Begin(m)
			got := c.bob.Request("INVITE")
			if !o.may {
				if got != nil || !c.refused(secure.CSAuthenticationGrant) {
					t.Errorf("bob has %v, events %v", got, c.w.Events)
				}
				return
			}
			if got == nil {
				t.Fatalf("bob has nothing; the platform heard %v", p.Heard)
			}
			c.wants(c.verified(got, passport.Grant), "sip:wake@"+lab.Domain, c.bob.IMPU, keyOfPlatform)
		})
	}
}

// TestVouched_exceeded: a platform that answers, calls on or offers anew for more of media than it was granted is refused, by name; what it was granted
// it may have.
func TestVouched_exceeded(t *testing.T) {
	for _, lines := range []string{"a=sendonly\r\n", ""} {
		c := newCourt(t, lab.Options{Seed: 1})
		p := c.platform("announce", []string{"session.answer", "media.send"}, "")
		p.Handle = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				p.Answer(m, 200, directed(keyOfPlatform, lines))
			}
		}
		c.registers()
		c.alice.Send(sip.INVITE, "sip:announce@"+lab.Domain, describe(keyOfAlice))
		if lines == "" {
			if r := c.alice.Response(403); r == nil || !strings.Contains(string(r.Get(sip.HdrWarning)), "cs.authentication.grant") {
				t.Errorf("it would hear: alice has %s", c.alice.Pending())
			}
		} else if c.alice.Response(200) == nil {
			t.Errorf("it sends: alice has %s", c.alice.Pending())
		}
		c = newCourt(t, lab.Options{Seed: 1})
		p = c.platform("between", []string{proxies, mediates, "media.send"}, trigger("terminating", "10", "reject"))
		p.Edit = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				directed(keyOfPlatform, lines)(m)
			}
		}
		c.registers()
		c.alice.Send(sip.INVITE, c.bob.IMPU, describe(keyOfAlice))
		if m := c.bob.Request("INVITE"); (m != nil) != (lines != "") || (m == nil) != c.refused(secure.CSAuthenticationGrant) {
			t.Errorf("calls on with %q: bob has %v, events %v", lines, m, c.w.Events)
		}
	}
}

// TestVouched_diverted: the network of the called user signs that it sends the call elsewhere, beside what vouches for the caller (RFC 8946).
func TestVouched_diverted(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	carol := c.user("carol")
	p := c.platform("forward", []string{proxies, "session.redirect", "identity.private"}, trigger("terminating", "10", "continue"))
	p.Edit = func(m *sip.Message) {
		if string(m.RequestURI()) == c.bob.IMPU {
			m.SetRequestURI([]byte(carol.IMPU))
		}
	}
	c.registers()
	if r, err := carol.Register(); err != nil || r.Status() != 200 {
		t.Fatal(err)
	}
	c.alice.Send(sip.INVITE, c.bob.IMPU, describe(keyOfAlice))
	m := carol.Request("INVITE")
	if m == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	c.wants(c.verified(m, passport.Plain), c.alice.IMPU, c.bob.IMPU, keyOfAlice)
	d := c.verified(m, passport.Div)
	c.wants(d, c.alice.IMPU, carol.IMPU, "")
	if d.Div.String() != c.bob.IMPU {
		t.Errorf("diverted from %v", d.Div)
	}
}

// TestVouched_off: without the control a platform's media keys are believed, and even signed.
func TestVouched_off(t *testing.T) {
	for control, swap := range map[secure.ControlID]bool{secure.CSIntegrityFingerprint: true, secure.CSAuthenticationGrant: false} {
		off, err := policy.Default().Ablate(control)
		if err != nil {
			t.Fatal(err)
		}
		c := newCourt(t, lab.Options{Seed: 1, Policy: off})
		p := c.platform("mitm", []string{proxies, mediates}, trigger("terminating", "10", "reject"))
		if swap {
			p.Edit = func(m *sip.Message) {
				if m.Method() == sip.INVITE {
					describe(keyOfPlatform)(m)
				}
			}
		} else {
			p.Handle = func(m *sip.Message) {
				if m.Method() == sip.INVITE {
					p.Answer(m, 200, describe(keyOfPlatform))
				}
			}
		}
		c.registers()
		c.alice.Send(sip.INVITE, c.bob.IMPU, describe(keyOfAlice))
		if swap {
			m := c.bob.Request("INVITE")
			if m == nil {
				t.Fatalf("alice has %s", c.alice.Pending())
			}
			c.wants(c.verified(m, passport.Plain), c.alice.IMPU, c.bob.IMPU, keyOfPlatform)
			continue
		}
		r := c.alice.Response(200)
		if r == nil {
			t.Fatalf("alice has %s", c.alice.Pending())
		}
		c.wants(c.verified(r, passport.Rsp), c.alice.IMPU, c.bob.IMPU, keyOfPlatform)
	}
}

// TestVouched_without_media: a platform that answers without media needs no grant; it is said who has answered all the same.
func TestVouched_without_media(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	p := c.platform("notice", []string{mediates}, "")
	p.Handle = func(m *sip.Message) {
		if m.Method() == sip.INVITE {
			p.Answer(m, 200, lab.Body("application/sdp", []byte("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 UDP/TLS/RTP/SAVP 8\r\n")))
		}
	}
	c.registers()
	c.alice.Send(sip.INVITE, "sip:notice@"+lab.Domain, describe(keyOfAlice))
	r := c.alice.Response(200)
	if r == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	v := c.verified(r, passport.Rsp)
	c.wants(v, c.alice.IMPU, "sip:notice@"+lab.Domain, "")
	if len(v.Keys) > 0 || v.Grants != nil {
		t.Errorf("%+v", v)
	}
}

// TestVouched_anchored: with an anchor between them, each end is shown the anchor's keys, and they are signed: if those behind it were.
func TestVouched_anchored(t *testing.T) {
	for _, genuine := range []bool{true, false} {
		o := lab.Options{Seed: 1, Anchor: iqtest.NewFake(1000), Wide: true}
		if !genuine {
			o.Seed = strangerSeed
		}
		c := newCourt(t, o)
		c.registers()
		m := c.calls(describe(keyOfAlice))
		p, shown := c.verified(m, passport.Plain), passport.KeysOf(m.Body())
		c.wants(p, c.alice.IMPU, c.bob.IMPU, "")
		if len(shown) == 0 || shown[0] == keys(keyOfAlice)[0] {
			t.Fatalf("bob is shown %v: there is no anchor", shown)
		}
		if p.Covers(shown) != genuine {
			t.Errorf("genuine %v: bob is shown %v, and signed is %v", genuine, shown, p.Keys)
		}
		c.bob.Answer(200, describe(keyOfBob), func(m *sip.Message) {
			m.SetBody("application/sdp", bytes.ReplaceAll(m.Body(), []byte("actpass"), []byte("active")))
		})
		r := c.alice.Response(200)
		if r == nil {
			t.Fatalf("alice has %s", c.alice.Pending())
		}
		a := c.verified(r, passport.Rsp)
		c.wants(a, c.alice.IMPU, c.bob.IMPU, "")
		if shown := passport.KeysOf(r.Body()); len(shown) == 0 || a.Covers(shown) != genuine {
			t.Errorf("genuine %v: alice is shown %v, and signed is %v", genuine, shown, a.Keys)
		}
	}
}

// TestVouched_temporary: a call to a temporary GRUU (RFC 5627 3.1.2) is for whoever it belongs to, and that is signed.
func TestVouched_temporary(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	if r, err := c.alice.Register(); err != nil || r.Status() != 200 {
		t.Fatal(err)
	}
	r, err := c.bob.Register(lab.Header("Supported", "path, gruu"),
		lab.Header("Contact", "<sip:bob@"+c.bob.Address.String()+`>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"`))
	if err != nil || r.Status() != 200 {
		t.Fatal(err)
	}
	_, temporary, found := strings.Cut(string(r.Get(sip.HdrContact)), `temp-gruu="`)
	temporary, _, _ = strings.Cut(temporary, `"`)
	if !found {
		t.Fatalf("no temporary GRUU in %s", r.Get(sip.HdrContact))
	}
	c.alice.Send(sip.INVITE, temporary, describe(keyOfAlice))
	m := c.bob.Request("INVITE")
	if m == nil {
		t.Fatalf("alice has %s", c.alice.Pending())
	}
	p, d := c.verified(m, passport.Plain), c.verified(m, passport.Div)
	if p == nil || d == nil || !p.For(d.Div) || !d.For(passport.IdentityOf(c.bob.IMPU)) {
		t.Errorf("%+v, %+v", p, d)
	}
}

// TestVouched_asserted: a platform that may assert another caller (RFC 3325) is believed, and he is signed.
func TestVouched_asserted(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1})
	p := c.platform("office", []string{proxies, "identity.private", "identity.assert:sip:office@" + lab.Domain}, trigger("originating", "10", "reject"))
	office := "sip:office@" + lab.Domain
	p.Edit = func(m *sip.Message) {
		if m.Method() == sip.INVITE {
			m.SetString(sip.HdrPAssertedIdentity, "<"+office+">")
		}
	}
	c.registers()
	m := c.calls(describe(keyOfAlice))
	if m.Count(sip.HdrIdentity) != 1 {
		t.Errorf("%d fields", m.Count(sip.HdrIdentity))
	}
	c.wants(c.verified(m, passport.Plain), office, c.bob.IMPU, keyOfAlice)
}
