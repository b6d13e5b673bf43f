package hss

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
)

const softPassword = "correct horse 7"

// soft is a subscriber without a card.
func soft(scheme string) *Subscriber {
	return &Subscriber{Card: Card{IMPI: "soft@" + cxtest.Home, Scheme: scheme, Password: softPassword},
		Public: []Public{{IMPU: "sip:soft@" + cxtest.Home}}}
}

// digestHouse is an HSS that admits the algorithms given.
func digestHouse(t *testing.T, algorithms ...aka.DigestAlgorithm) *house {
	h := newHouse(t)
	h.cfg.Digest = algorithms
	h.crash()
	return h
}

// ask asks for the secret of the soft subscriber.
func (h *house) ask(scheme cx.AuthScheme) (a *cx.MultimediaAuthAnswer, err error) {
	h.run(func(t *shard.Task) {
		a, err = h.MultimediaAuth(t, &cx.MultimediaAuthRequest{IMPI: "soft@" + cxtest.Home, IMPU: "sip:soft@" + cxtest.Home,
			ServerName: "sip:scscf." + cxtest.Home, Scheme: scheme, Items: 1})
	})
	return a, err
}

func TestDigest_the_HSS_keeps_HA1_and_no_password(t *testing.T) {
	h := digestHouse(t, aka.SHA256, aka.MD5)
	for _, algorithm := range []aka.DigestAlgorithm{aka.SHA256, aka.MD5} {
		s := soft(algorithm.String())
		if err := h.Add(background, s); err != nil {
			t.Fatal(err)
		}
		h.crash()
		for _, scheme := range []cx.AuthScheme{cx.SchemeDigest, cx.SchemeUnknown} {
			a, err := h.ask(scheme)
			if err != nil {
				t.Fatalf("%v: %v", scheme, err)
			}
			d := a.Items[0].Digest
			want := algorithm.AppendHA1(nil, []byte("soft@"+cxtest.Home), []byte(cxtest.Home), []byte(softPassword))
			if len(a.Items) != 1 || d == nil || d.Algorithm != algorithm || d.Realm != cxtest.Home || d.QOP != "auth" || d.HA1.Reveal() != string(want) {
				t.Errorf("%v: %+v", scheme, a.Items)
			}
		}
		if _, err := h.ask(cx.SchemeDigestAKA); !errors.Is(err, cx.ErrAuthSchemeNotSupported) {
			t.Errorf("vectors of a subscriber without a card: %v", err)
		}
		if n, err := h.CheckKeys(background); n != 1 || err != nil {
			t.Errorf("CheckKeys: %d, %v", n, err)
		}
		view, err := h.Show(s.IMPI)
		if err != nil || view.Cards[0].Algorithm != "digest" || view.Cards[0].Scheme != algorithm.String() {
			t.Errorf("%+v, %v", view, err)
		}
		record, err := h.db.Get(TableSubscription, []byte(s.IMPI))
		if err != nil || strings.Contains(string(record.Value), softPassword) {
			t.Errorf("the record holds the password, or %v", err)
		}
		if err := h.Remove(background, s.IMPI); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDigest_is_off_by_default(t *testing.T) {
	h := newHouse(t)
	h.wantMistake("SIP Digest is off", h.Add(background, soft("SHA-256")), "scheme")
	if _, err := h.ask(cx.SchemeUnknown); !errors.Is(err, cx.ErrUserUnknown) {
		t.Errorf("%v", err)
	}
	h = digestHouse(t, aka.SHA256)
	h.wantMistake("digest-md5 is off", h.Add(background, soft("MD5")), "scheme")
	if err := h.Add(background, soft("SHA-256")); err != nil {
		t.Fatal(err)
	}
	h.cfg.Digest = nil
	h.crash()
	if _, err := h.ask(cx.SchemeDigest); !errors.Is(err, cx.ErrAuthSchemeNotSupported) {
		t.Errorf("switched off, and still answered: %v", err)
	}
}

func TestDigest_mistakes_are_named(t *testing.T) {
	h := digestHouse(t, aka.SHA256, aka.MD5)
	for what, c := range map[string]struct {
		field  string
		change func(*Subscriber)
	}{
		"no password":                   {"password", func(s *Subscriber) { s.Password = "" }},
		"a short one":                   {"password", func(s *Subscriber) { s.Password = "Rj7!x" }},
		"the name in it":                {"password", func(s *Subscriber) { s.Password = "my Soft phone" }},
		"a line end in it":              {"password", func(s *Subscriber) { s.Password += "\n" }},
		"one character":                 {"password", func(s *Subscriber) { s.Password = "xxxxxxxxxxxxxxx" }},
		"a novel":                       {"password", func(s *Subscriber) { s.Password = Secret(strings.Repeat("ab", 65)) }},
		"password and H(A1)":            {"password", func(s *Subscriber) { s.HA1 = Secret(strings.Repeat("0", 64)) }},
		"an H(A1) of MD5":               {"ha1", func(s *Subscriber) { s.Password, s.HA1 = "", Secret(strings.Repeat("a1", 16)) }},
		"an H(A1) in capital letters":   {"ha1", func(s *Subscriber) { s.Password, s.HA1 = "", Secret(strings.Repeat("A1", 32)) }},
		"the keys of a card":            {"scheme", func(s *Subscriber) { s.K = Secret(strings.Repeat("12", 16)) }},
		"a sequence number":             {"scheme", func(s *Subscriber) { s.SEQ = 1 }},
		"a card that has a password":    {"password", func(s *Subscriber) { s.Scheme = "" }},
		"SHA-512, which nobody offered": {"scheme", func(s *Subscriber) { s.Scheme = "SHA-512-256" }},
	} {
		s := soft("SHA-256")
		c.change(s)
		err := h.Add(background, s)
		h.wantMistake(what, err, c.field)
		if err != nil && s.Password != "" && strings.Contains(err.Error(), string(s.Password)) {
			t.Errorf("%s: the error shows the password: %v", what, err)
		}
	}
	if text := fmt.Sprintf("%v %+v", soft("MD5"), soft("MD5").Card); strings.Contains(text, softPassword) {
		t.Errorf("printed: %s", text)
	}
}

// TestDigest_another_password_ends_the_registration: H(A1) is not pushed, so a registration under the old one cannot live on.
func TestDigest_another_secret(t *testing.T) {
	h := digestHouse(t, aka.SHA256, aka.MD5)
	if err := h.Add(background, soft("SHA-256")); err != nil {
		t.Fatal(err)
	}
	s := soft("SHA-256")
	s.Password = ""
	if err := h.Update(background, s); err != nil {
		t.Errorf("an update that leaves the password alone: %v", err)
	}
	s.Scheme = "MD5"
	h.wantMistake("H(A1) of SHA-256 for MD5", h.Update(background, s), "scheme")
	s.Password = "another horse"
	if err := h.Update(background, s); err != nil {
		t.Fatal(err)
	}
	if a, err := h.ask(cx.SchemeDigest); err != nil || a.Items[0].Algorithm != aka.MD5 {
		t.Errorf("%+v, %v", a, err)
	}
	old := mustSubscription(t, h, s.IMPI)
	if !mustLeave(old, old, []secrets{{}}) || mustLeave(old, old, []secrets{{kept: true}}) {
		t.Error("another password must end the registration, and nothing else need")
	}
}

func mustSubscription(t *testing.T, h *house, impi string) *subscription {
	t.Helper()
	_, sub, _, err := h.load(impi)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestDigest_secrets_cannot_change_their_kind: whoever writes to the store cannot have a card's keys taken for an H(A1).
func TestDigest_secrets_cannot_change_their_kind(t *testing.T) {
	h := digestHouse(t, aka.SHA256, aka.MD5)
	if err := h.Add(background, soft("SHA-256")); err != nil {
		t.Fatal(err)
	}
	p := mustSubscription(t, h, "soft@"+cxtest.Home).privates[0]
	p.algorithm, p.scheme = algorithmMilenage, aka.AKAv1MD5
	if _, err := h.openKeys(&p); err == nil {
		t.Error("an H(A1) opened as the keys of a card")
	}
	p.algorithm, p.scheme = algorithmDigest, aka.MD5
	if _, err := h.openHA1(&p); err == nil {
		t.Error("an H(A1) of SHA-256 was taken for one of MD5")
	}
}
