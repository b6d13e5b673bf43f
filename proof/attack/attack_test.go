package attack

import (
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	for _, x := range All() {
		for _, name := range []string{x.ID, x.Number, strings.ToLower(x.Number)} {
			if found, known := Find(name); !known || found.ID != x.ID {
				t.Errorf("%q finds %q", name, found.ID)
			}
		}
		if !strings.HasPrefix(x.ID, "ci.") || !strings.HasPrefix(x.Number, "CI-") {
			t.Errorf("%s %s: the id says which door is attacked, and so does the number", x.ID, x.Number)
		}
		if x.Bounds.Time > 3*time.Second {
			t.Errorf("%s may take %v: a row is bounded to 3 s", x.ID, x.Bounds.Time)
		}
	}
	if _, known := Find(""); known {
		t.Error("an attack without a name was found")
	}
}

func TestWithoutLines(t *testing.T) {
	const message = "REGISTER sip:a SIP/2.0\r\nSecurity-Client: ealg=aes-gcm\r\nSecurity-Client: ealg=aes-cbc\r\nSubject: ealg=aes-gcm\r\n\r\nSecurity-Client: ealg=aes-gcm"
	const want = "REGISTER sip:a SIP/2.0\r\nSecurity-Client: ealg=aes-cbc\r\nSubject: ealg=aes-gcm\r\n\r\nSecurity-Client: ealg=aes-gcm"
	if got := withoutLines(message, "ealg=aes-gcm", "Security-Client", "Security-Server"); got != want {
		t.Errorf("%q", got)
	}
}

func TestLineOf(t *testing.T) {
	const text = "MESSAGE sip:a SIP/2.0\r\nSubject: Call-ID: no\r\nCall-ID: yes\r\n\r\n"
	if got := lineOf(text, "Call-ID: "); got != "yes" {
		t.Errorf("%q", got)
	}
}

// TestHiding: each way says where a reader may find an end, and no two are the same.
func TestHiding(t *testing.T) {
	seen := map[string]bool{}
	for _, lines := range append(hiding(77), append(disguises(), injected()...)...) {
		if seen[lines] || strings.HasSuffix(lines, "\r\n") {
			t.Errorf("%q", lines)
		}
		seen[lines] = true
	}
}
