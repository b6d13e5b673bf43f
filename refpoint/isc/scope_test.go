package isc_test

import (
	"strings"
	"testing"

	"imsafe/refpoint/isc"
)

func scopes(t testing.TB, names ...string) isc.Scopes {
	t.Helper()
	s, err := isc.ParseScopes(names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPatterns(t *testing.T) {
	cases := []struct {
		pattern, identity string
		want              bool
	}{
		{"sip:*@ims.example", "sip:alice@ims.example", true},
		{"sip:*@ims.example", "sip:@ims.example", false},
		{"sip:*@ims.example", "sip:alice@evil.example", false},
		{"sip:*@ims.example", "sip:alice@evil.example@ims.example", false},
		{"sip:*@ims.example", "sip:alice:secret@ims.example", false},
		{"sip:*@ims.example", "sip:alice;x=1@ims.example", false},
		{"sip:*@ims.example", "sips:alice@ims.example", false},
		{"sip:desk-*@ims.example", "sip:desk-7@ims.example", true},
		{"sip:desk-*@ims.example", "sip:desk@ims.example", false},
		{"sip:alice@ims.example", "sip:alice@ims.example", true},
		{"sip:alice@ims.example", "sip:alice@ims.example2", false},
		{"tel:+4930*", "tel:+493012", true},
		{"tel:+4930*", "tel:+4930", false},
		{"tel:+4930*", "tel:+493012;phone-context=evil", false},
		{"tel:+4930*", "", false},
	}
	for _, c := range cases {
		if got := scopes(t, "identity.assert:"+c.pattern).Asserts([]byte(c.identity)); got != c.want {
			t.Errorf("%s matches %q: %v", c.pattern, c.identity, got)
		}
	}
	for _, bad := range []string{"*", "sip:*", "sip:*@*", "sip:a@*.example", "sip:**@ims.example", "tel:*", "tel:30*", "sip:@ims.example", "sip:A@ims.example", "sip:a(b)@ims.example"} {
		if _, err := isc.ParsePattern(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestScopes(t *testing.T) {
	asked := scopes(t, "media.send", "session.answer", "identity.assert:tel:+49*", "identity.assert:sip:a@ims.example")
	if got := asked.String(); got != "session.answer,identity.assert:sip:a@ims.example,identity.assert:tel:+49*,media.send" {
		t.Errorf("canonical: %s", got)
	}
	granted := asked.Without(scopes(t, "media.send", "identity.assert:tel:+49*"))
	if granted.Has(isc.MediaSend) || !granted.Has(isc.IdentityAssert) || granted.Asserts([]byte("tel:+4930")) || !granted.Asserts([]byte("sip:a@ims.example")) {
		t.Errorf("granted %s", granted)
	}
	if none := granted.Without(granted); none.Has(isc.IdentityAssert) || none.String() != "" {
		t.Errorf("nothing left: %s", none)
	}
	if !granted.Within(asked) || asked.Within(granted) || !(isc.Scopes{}).Within(granted) {
		t.Error("within is not a subset")
	}
	if (isc.Scopes{}).Has(isc.SessionAnswer) || asked.Has(0) || asked.Has(200) {
		t.Error("what is not there is had")
	}
	if isc.MediaRecord.String() != "media.record" {
		t.Error(isc.MediaRecord)
	}
}

func TestQuestionsDoNotAllocate(t *testing.T) {
	s := &isc.Service{Manifest: &isc.Manifest{Users: isc.Users{Groups: []string{"guests", "staff"}}},
		Granted: scopes(t, "session.answer", "identity.assert:sip:*@ims.example")}
	identity := []byte("sip:alice@ims.example")
	yes := true
	n := testing.AllocsPerRun(100, func() {
		yes = yes && s.May(isc.SessionAnswer) && s.AssertsAs(identity) && s.Serves("staff") && !s.Is(identity) && !s.SeesHeader(isc.HeadersDevice)
	})
	if n != 0 || !yes {
		t.Errorf("%v allocations, answers %v", n, yes)
	}
}

func TestFingerprint(t *testing.T) {
	f := isc.FingerprintOf([]byte("a key"))
	text := f.String()
	if len(text) != 24 || strings.Count(text, "-") != 4 {
		t.Errorf("written as %s", text)
	}
	for typed, want := range map[string]bool{
		text: true, strings.ToUpper(text): true, strings.ReplaceAll(text, "-", " "): true, strings.ReplaceAll(text, "-", ""): true,
		text[:19]: false, "": false, isc.FingerprintOf([]byte("another")).String(): false,
	} {
		if f.Matches(typed) != want {
			t.Errorf("%q matches: %v", typed, !want)
		}
	}
	bits := isc.Fingerprint{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0}
	if got := bits.String(); got != "zzzz-zzzz-zzzz-zzzz-zzzz" {
		t.Errorf("100 bits are %s", got)
	}
}

func BenchmarkQuestions(b *testing.B) {
	s := &isc.Service{Manifest: &isc.Manifest{}, Granted: scopes(b, "session.answer", "identity.assert:sip:*@ims.example")}
	identity := []byte("sip:alice@ims.example")
	b.ReportAllocs()
	for b.Loop() {
		if !s.May(isc.SessionAnswer) || !s.AssertsAs(identity) {
			b.Fatal("refused")
		}
	}
}
