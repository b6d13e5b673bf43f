package sip

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		text    string
		in, out []string
	}{
		// The example of TS 23.003 13.5.
		{"sip:chatlist!.*!@example.com",
			[]string{"sip:chatlist1@example.com", "sip:chatlist2@example.com", "sip:chatlist42@example.com", "sip:chatlistAbC@example.com",
				"sip:chatlist!1@example.com", "sip:chatlist@example.com"},
			[]string{"sip:chat@example.com", "sip:xchatlist1@example.com", "sip:chatlist1@example.org", "sip:chatlist1@example.com.evil.org",
				"tel:+1chatlist1@example.com", "sip:Chatlist1@example.com"}},
		{"sip:pbx-![0-9]{3,4}!@ims.example", []string{"sip:pbx-100@ims.example", "sip:pbx-4711@ims.example"},
			[]string{"sip:pbx-10@ims.example", "sip:pbx-47110@ims.example", "sip:pbx-100x@ims.example", "sip:pbx-x100@ims.example"}},
		{"sip:!a|ab!c@ims.example", []string{"sip:ac@ims.example", "sip:abc@ims.example"}, []string{"sip:abbc@ims.example", "sip:c@ims.example"}},
		{"tel:+4955512!.*!", []string{"tel:+4955512", "tel:+49555123456"}, []string{"tel:+495551", "sip:+49555123456@ims.example"}},
		{"sip:room!.*!x!@ims.example", []string{"sip:roomAB!x@ims.example"}, []string{"sip:roomABx@ims.example"}}, // the outer pair counts
	} {
		w, err := ParseWildcard(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		for _, id := range c.in {
			if !w.Match(id) {
				t.Errorf("%s is not in %s", id, w)
			}
		}
		for _, id := range c.out {
			if w.Match(id) {
				t.Errorf("%s is in %s", id, w)
			}
		}
		key, err := ParseProfileKey(append(append([]byte{'<'}, AppendWildcard(nil, w.String())...), '>'))
		if err != nil || key.String() != c.text {
			t.Errorf("%s comes back from P-Profile-Key %s as %v, %v", c.text, AppendWildcard(nil, w.String()), key, err)
		}
	}
}

func TestWildcard_refused(t *testing.T) {
	for what, text := range map[string]string{
		"no mark":             "sip:alice@ims.example",
		"one mark":            "sip:alice!@ims.example",
		"nothing between":     "sip:alice!!@ims.example",
		"a mark in the host":  "sip:alice@ims!.*!.example",
		"both halves":         "sip:alice!@ims!.example",
		"not an expression":   "sip:alice!(!@ims.example",
		"two halves of a way": "sip:alice!a)|(b!@ims.example",
		"Perl":                `sip:alice!\d+!@ims.example`,
		"back reference":      `sip:alice!(a)\1!@ims.example`,
		"too long":            "sip:alice!" + strings.Repeat("a", maxExpression+1) + "!@ims.example",
		"too large":           "sip:alice!((a{20}){20})!@ims.example",
		"another scheme":      "mailto:alice!.*!@ims.example",
		"a local number":      "tel:1!.*!",
		"out of bounds":       "sip:alice!a{1001}!@ims.example",
	} {
		if w, err := ParseWildcard(text); !errors.Is(err, ErrWildcard) {
			t.Errorf("%s: %v, %v", what, w, err)
		}
	}
}

// TestAppendWildcard: what an HSS of another make calls a range goes on in P-Profile-Key, whatever is in it, and nothing besides.
func TestAppendWildcard(t *testing.T) {
	for identity, want := range map[string]string{
		`sip:room-!\d+!@ims.example`:                  "sip:room-!%5Cd+!@ims.example",
		"sip:room!.*!>\r\nRoute: <sip:x>@ims.example": "sip:room!.*!%3E%0D%0ARoute%3A%20%3Csip%3Ax%3E@ims.example",
		"sip:!.*!@[2001:db8::1]:5060>;x":              "sip:!.*!@[2001:db8::1]:5060%3E;x",
		"tel:+1555!.*!":                               "tel:+1555!.*!",
		"":                                            "",
	} {
		if got := string(AppendWildcard(nil, identity)); got != want {
			t.Errorf("%q becomes %q, want %q", identity, got, want)
		}
	}
}

func TestWildcard_order(t *testing.T) {
	want := []string{"sip:chat-room!.*!@ims.example", "sip:chat!.*!-vip@ims.example", "sip:chat![a-z]*!@ims.example", "sip:chat!.*!@x.example", "sip:!.*!@ims.example"}
	var all []*Wildcard
	for _, text := range want {
		w, err := ParseWildcard(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append([]*Wildcard{w}, all...)
	}
	slices.SortFunc(all, (*Wildcard).Compare)
	for i, w := range all {
		if w.String() != want[i] {
			t.Errorf("%d: %s, want %s", i, w, want[i])
		}
	}
}

func FuzzWildcard(f *testing.F) {
	f.Add("sip:chatlist!.*!@example.com", "sip:chatlist1@example.com")
	f.Add("tel:+49!([0-9]|x){2}!", "tel:+4912")
	f.Add(`sip:a![]^\{x]*!@b`, "sip:a]@b")
	f.Fuzz(func(t *testing.T, text, identity string) {
		w, err := ParseWildcard(text)
		if err != nil {
			return
		}
		if w.Match(identity) && (!strings.HasPrefix(identity, w.Head()) || !strings.HasSuffix(identity, w.Tail())) {
			t.Errorf("%q is in %q", identity, text)
		}
		if w.Compare(w) != 0 {
			t.Errorf("%q is not equal to itself", text)
		}
		key, err := ParseProfileKey(append(append([]byte{'<'}, AppendWildcard(nil, w.String())...), '>'))
		if err == nil && key.String() != text {
			t.Errorf("%q comes back as %q", text, key)
		}
	})
}

func BenchmarkWildcard(b *testing.B) {
	w, err := ParseWildcard("sip:pbx-![0-9]{3,4}!@ims.example")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !w.Match("sip:pbx-4711@ims.example") {
			b.Fatal("not in the range")
		}
	}
}
