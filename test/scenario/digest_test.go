package scenario

import (
	"fmt"
	"net/netip"
	"testing"

	"imsafe/policy"
	policylab "imsafe/policy/lab"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// passwordWorld is a world whose users have passwords, with controls off.
func passwordWorld(t *testing.T, off ...secure.ControlID) *lab.World {
	t.Helper()
	p := policy.Default()
	if len(off) > 0 {
		var err error
		ground := policylab.Ground{Lab: true, Listeners: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5060")}}
		if p, err = policylab.Without(p, ground, off...); err != nil {
			t.Fatal(err)
		}
	}
	w, err := lab.New(lab.Options{Seed: 1, Digest: true, Policy: p, Wide: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func passwordUser(t *testing.T, w *lab.World, name string) *lab.Client {
	t.Helper()
	c, err := w.Nodes[0].AddUser(lab.User{Name: name, Scheme: "SHA-256"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// guess tries a list of passwords for alice from one address; the right one is the 400th.
func guess(t *testing.T, w *lab.World, alice *lab.Client) (found int) {
	mallory := w.Nodes[0].AddDevice("mallory", alice)
	for i := range 500 {
		mallory.Password = fmt.Sprintf("password number %d", i)
		if i == 400 {
			mallory.Password = alice.Password
		}
		if err := mallory.SendRegister(nil); err != nil {
			t.Fatal(err)
		}
		challenge := mallory.Response(401)
		if challenge == nil {
			mallory.Inbox = nil // not heard any more
			continue
		}
		if err := mallory.SendRegister(challenge); err != nil {
			t.Fatal(err)
		}
		if mallory.Response(200) != nil {
			found++
		}
		mallory.Inbox = nil
	}
	return found
}

// TestDigest_500_guesses is CI-27: without the control the password is found, with it nobody is heard after a few.
func TestDigest_500_guesses(t *testing.T) {
	w := passwordWorld(t)
	alice := passwordUser(t, w, "alice")
	if _, err := alice.Register(); err != nil {
		t.Fatal(err)
	}
	if found := guess(t, w, alice); found != 0 {
		t.Errorf("%d found", found)
	}
	bans := 0
	for _, e := range w.Events {
		if e.Control == secure.CIAuthenticationDigestPolicy && e.Reason == "banned" && e.Source.IsValid() {
			bans++
		}
	}
	if bans < 490 || w.Nodes[0].Core.SCSCF.WrongDigests() > 5 {
		t.Errorf("%d bans, %d answers judged", bans, w.Nodes[0].Core.SCSCF.WrongDigests())
	}
	// She is not touched: her registration stands, and she refreshes it.
	if _, err := alice.Register(); err != nil {
		t.Error(err)
	}

	w = passwordWorld(t, secure.CIAuthenticationDigestPolicy)
	if found := guess(t, w, passwordUser(t, w, "alice")); found != 1 {
		t.Errorf("without the control %d found, want 1: the test would not notice", found)
	}
}

// lift sends a message, and then another with the credentials of the first, five times. It returns how many were accepted.
func lift(t *testing.T, w *lab.World) (accepted int) {
	alice, bob := passwordUser(t, w, "alice"), passwordUser(t, w, "bob")
	for _, c := range []*lab.Client{alice, bob} {
		if _, err := c.Register(); err != nil {
			t.Fatal(err)
		}
	}
	alice.Send(sip.MESSAGE, bob.IMPU)
	challenge := alice.Response(407)
	if challenge == nil {
		t.Fatal(alice.Pending())
	}
	alice.Send(sip.MESSAGE, bob.IMPU, alice.AnswerProxy(challenge))
	if bob.Request("MESSAGE") == nil {
		t.Fatal(alice.Pending())
	}
	bob.Answer(200)
	for i := range 5 {
		alice.Send(sip.MESSAGE, bob.IMPU, alice.Again, func(m *sip.Message) { m.SetBody("text/plain", fmt.Appendf(nil, "another %d", i)) })
		if bob.Request("MESSAGE") != nil {
			bob.Answer(200)
			accepted++
		} else if again := alice.Response(407); again == nil {
			t.Error(alice.Pending())
		} else if c, err := sip.ParseChallenge(again.Get(sip.HdrProxyAuthenticate)); err != nil || !c.Stale {
			t.Errorf("%s: not stale, %v", again.Get(sip.HdrProxyAuthenticate), err)
		}
	}
	return accepted
}

// TestDigest_lifted is CI-29: an answer that was heard is moved to other messages.
func TestDigest_lifted(t *testing.T) {
	if n := lift(t, passwordWorld(t)); n != 0 {
		t.Errorf("%d messages went through", n)
	}
	if n := lift(t, passwordWorld(t, secure.CIIntegrityDigestBinding)); n != 5 {
		t.Errorf("without the control %d of 5 went through: the test would not notice", n)
	}
}
