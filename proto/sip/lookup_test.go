package sip

import (
	"strings"
	"testing"
)

func TestLookupHeader(t *testing.T) {
	for h := HdrOther + 1; h < numHeaders; h++ {
		def := headerDefs[h]
		if def.name == "" {
			t.Fatalf("header %d has no row", h)
		}
		for _, name := range []string{def.name, strings.ToLower(def.name), strings.ToUpper(def.name)} {
			if got := LookupHeader([]byte(name)); got != h {
				t.Errorf("%s: got %v", name, got)
			}
		}
		for _, name := range []string{def.name + "x", "x" + def.name, def.name[1:], def.name[:len(def.name)-1]} {
			if got := LookupHeader([]byte(name)); got == h && len(name) > 1 {
				t.Errorf("%s is taken for %v", name, h)
			}
		}
		for i := range def.name { // a difference anywhere, also by the bit that folding sets
			for _, bit := range []byte{0x01, 0x20, 0x40, 0x80} {
				name := []byte(def.name)
				name[i] ^= bit
				if got := LookupHeader(name); got == h && !strings.EqualFold(string(name), def.name) {
					t.Errorf("%q is taken for %v", name, h)
				}
			}
		}
	}
}

// TestCompactForms: RFC 3261 7.3.3 and the registry of compact forms.
func TestCompactForms(t *testing.T) {
	want := map[string]HeaderID{
		"a": HdrAcceptContact, "b": HdrReferredBy, "c": HdrContentType, "d": HdrRequestDisposition, "e": HdrContentEncoding,
		"f": HdrFrom, "i": HdrCallID, "j": HdrRejectContact, "k": HdrSupported, "l": HdrContentLength, "m": HdrContact,
		"n": HdrIdentityInfo, "o": HdrEvent, "r": HdrReferTo, "s": HdrSubject, "t": HdrTo, "u": HdrAllowEvents, "v": HdrVia,
		"x": HdrSessionExpires, "y": HdrIdentity,
	}
	for c := range 256 {
		name := string([]byte{byte(c)})
		h := want[strings.ToLower(name)]
		if c >= 0x80 {
			h = HdrOther
		}
		if got := LookupHeader([]byte(name)); got != h {
			t.Errorf("%q: got %v, want %v", name, got, h)
		}
	}
}

func TestParseMethod(t *testing.T) {
	for m := INVITE; m < numMethods; m++ {
		if got := ParseMethod([]byte(m.String())); got != m || m.String() == "" {
			t.Errorf("%v: got %v", m, got)
		}
		for _, name := range []string{strings.ToLower(m.String()), m.String() + "X", m.String()[1:]} {
			if got := ParseMethod([]byte(name)); got != MethodOther {
				t.Errorf("%s: got %v", name, got)
			}
		}
	}
	if got := ParseMethod(nil); got != MethodOther {
		t.Errorf("empty: got %v", got)
	}
}

func TestReasonPhrases(t *testing.T) {
	seen := map[uint16]bool{}
	for _, r := range reasons {
		if seen[r.code] || r.phrase == "" || r.code < 100 || r.code > 699 {
			t.Errorf("row %d %q", r.code, r.phrase)
		}
		seen[r.code] = true
	}
	for code, want := range map[int]string{200: "OK", 299: "OK", 199: "Early Dialog Terminated", 499: "Bad Request", 666: "Busy Everywhere"} {
		if got := ReasonPhrase(code); got != want {
			t.Errorf("%d: %q", code, got)
		}
	}
}
