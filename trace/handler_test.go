package trace

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"imsafe/proto/aka"
	"imsafe/secure"
)

// line logs one record and returns what was written.
func line(t *testing.T, key []byte, message string, args ...any) string {
	t.Helper()
	var out strings.Builder
	NewLogger(&out, slog.LevelInfo, false, key).Info(message, args...)
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1: %q", n, out.String())
	}
	_, rest, _ := strings.Cut(out.String(), "msg=") // without the time
	return strings.TrimSuffix(rest, "\n")
}

func TestHandlerWrites(t *testing.T) {
	for _, c := range []struct {
		name string
		args []any
		want string
	}{
		{"numbers and times", []any{"count", 3, "took", 2 * time.Second, "enforced", true}, `x count=3 took=2s enforced=true`},
		{"a forged line", []any{"call_id", "1\nlevel=ERROR msg=owned"}, `x call_id="1\\u{a}level=ERROR msg=owned"`},
		{"a terminal driven by C1 and escape", []any{"peer", "\x1b[2J\u009b2J"}, `x peer=\u{1b}[2J\u{9b}2J`},
		{"text turned around", []any{"peer", "a\u202eb"}, `x peer=a\u{202e}b`},
		{"not UTF-8", []any{"peer", "a\xffb"}, `x peer=a\xffb`},
		{"an escape that the sender wrote", []any{"peer", `\u{a}`}, `x peer=\\u{a}`},
		{"other scripts stay readable", []any{"peer", "Ünïcødé"}, `x peer=Ünïcødé`},
		{"an address", []any{"peer", netip.MustParseAddrPort("[2001:db8::1]:5060")}, `x peer=[2001:db8::1]:5060`},
		{"addresses", []any{"tls", []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5061"), netip.MustParseAddrPort("[::1]:5061")}, "lab_udp", []netip.AddrPort(nil),
			"listen", []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, `x tls="192.0.2.1:5061 [::1]:5061" lab_udp="" listen=192.0.2.1`},
		{"an error", []any{"error", errors.New("cx: user unknown\r\n")}, `x error="cx: user unknown\\u{d}\\u{a}"`},
		{"octets", []any{"error", []byte("secret")}, `x error="[6 octets]"`},
		{"a struct", []any{"state", struct{ K string }{"secret"}}, `x state="[struct { K string }]"`},
		{"secret names", []any{"ck", "0123", "impi", "a@b", "password", 5}, `x ck=[redacted] impi=[redacted] password=[redacted]`},
		{"key types under a plain name", []any{"state", aka.CK{1, 2, 3}}, `x state=[redacted]`},
		{"names nobody listed", []any{"whatever", "0123"}, `x whatever=[unlisted]`},
		{"a name that a stranger chose", []any{"a\nb", "0123"}, `x a\u{a}b=[unlisted]`},
		{"inside groups", []any{slog.Group("event", "control", "ci.x", "ck", "0123", "odd", 1)}, `x event.control=ci.x event.ck=[redacted] event.odd=[unlisted]`},
		{"identities without a key", []any{"impu", "sip:alice@example.com"}, `x impu=[redacted]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := line(t, nil, "x", c.args...); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestHandlerEncodesMessageAndPrepared(t *testing.T) {
	if got := line(t, nil, "a\nb"); got != `a\u{a}b` {
		t.Errorf("message %s", got)
	}
	var out strings.Builder
	log := NewLogger(&out, slog.LevelInfo, true, nil).With("ik", "0123", "function", "scscf").WithGroup("proof")
	log.Info("x", "kind", "a\u2028b", "res", "4567")
	for _, secret := range []string{"0123", "4567", "\u2028"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in %s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), `"function":"scscf","proof":{"kind":"a\\u{2028}b"`) {
		t.Error(out.String())
	}
}

// TestUnder: a gate hears what is held back, once for each value, and a laboratory without a control gets what a careless program writes.
func TestUnder(t *testing.T) {
	const forged = "a\x1bE\u202eb\nlevel=ERROR"
	write := func(off ...secure.ControlID) (string, *secure.Gate) {
		var out strings.Builder
		gate := secure.NewGate(off, nil)
		log := Under(NewLogger(&out, slog.LevelInfo, true, nil), gate).With("room", "here")
		log.Info("x", "impu", "sip:alice@example.com", slog.Group("proof", "domain", forged), "odd", 1)
		return out.String(), gate
	}
	redact, line := secure.ManagementConfidentialityRedact, secure.ManagementIntegrityLogLine
	for _, c := range []struct {
		name             string
		off              []secure.ControlID
		named, forged    bool
		redacted, driven uint64
	}{
		{"with both", nil, false, false, 2, 1},
		{"without pseudonyms", []secure.ControlID{redact}, true, false, 0, 1},
		{"without clean lines", []secure.ControlID{line}, false, true, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, gate := write(c.off...)
			if named := strings.Contains(text, "alice"); named != c.named {
				t.Errorf("names alice: %v: %s", named, text)
			}
			if stands := strings.Contains(text, forged); stands != c.forged {
				t.Errorf("has the octets: %v: %q", stands, text)
			}
			if !strings.Contains(text, "here") {
				t.Errorf("without what was prepared: %s", text)
			}
			for control, want := range map[secure.ControlID]uint64{redact: c.redacted, line: c.driven} {
				if n, _ := gate.Counts(control); n != want {
					t.Errorf("%v refused %d, want %d", control, n, want)
				}
			}
		})
	}
	if other := slog.New(slog.DiscardHandler); Under(other, secure.NewGate(nil, nil)) != other || Under(nil, nil) != nil {
		t.Error("a log of somebody else's is another one")
	}
}

func TestPseudonyms(t *testing.T) {
	alice := line(t, []byte("key one"), "x", "impu", "sip:alice@example.com")
	if strings.Contains(alice, "alice") || !strings.Contains(alice, "impu=~") {
		t.Errorf("%s", alice)
	}
	if again := line(t, []byte("key one"), "x", "impu", "sip:alice@example.com"); again != alice {
		t.Errorf("the same user reads %s and %s", alice, again)
	}
	if bob := line(t, []byte("key one"), "x", "impu", "sip:bob@example.com"); bob == alice {
		t.Error("two users read the same")
	}
	if other := line(t, []byte("key two"), "x", "impu", "sip:alice@example.com"); other == alice {
		t.Error("another process gives the same pseudonym")
	}
}

func TestLongTextIsCut(t *testing.T) {
	got := line(t, nil, "x", "peer", strings.Repeat("a", 64<<10))
	if len(got) > 2*maxText || !strings.Contains(got, "... [65536 octets]") {
		t.Errorf("%d octets: %.60s", len(got), got)
	}
	if got := line(t, nil, "x", "stack", strings.Repeat("a", 4000)); len(got) < 4000 {
		t.Errorf("a stack is cut to %d", len(got))
	}
}

// broken panics when it is printed.
type broken struct{}

func (broken) String() string { panic("no") }

func TestBrokenStringerEndsNobody(t *testing.T) {
	if got := line(t, nil, "x", "state", broken{}); got != `x state="[trace.broken that cannot be printed]"` {
		t.Error(got)
	}
}

func TestVocabularyHasNoSecretAsPlain(t *testing.T) {
	for _, name := range []string{"impi", "k", "op", "opc", "ck", "ik", "res", "xres", "key", "password", "authorization", "token"} {
		if c := Attributes()[name]; c != Secret {
			t.Errorf("%s has class %d, want Secret", name, c)
		}
	}
	for name := range Attributes() {
		if !metricName.MatchString(name) {
			t.Errorf("%q is no attribute name: lower case words joined by _", name)
		}
	}
}

func TestLevelWireHasAName(t *testing.T) {
	var out strings.Builder
	NewLogger(&out, LevelWire, false, nil).Log(t.Context(), LevelWire, "x")
	if !strings.Contains(out.String(), "level=WIRE") {
		t.Error(out.String())
	}
}

// FuzzEncode: what comes out is one printable line and can be told apart from any other input's.
func FuzzEncode(f *testing.F) {
	f.Add("a\nb", `a\u{a}b`)
	f.Add("\x00\xff", "\u202e")
	f.Add("", "\uFFFD")
	f.Fuzz(func(t *testing.T, a, b string) {
		ea, eb := encode(a, maxText), encode(b, maxText)
		for _, r := range ea {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
				t.Fatalf("%q holds %U", ea, r)
			}
		}
		if !utf8.ValidString(ea) {
			t.Fatalf("%q is not UTF-8", ea)
		}
		if a != b && ea == eb && len(ea) < maxText {
			t.Fatalf("%q and %q both read %q", a, b, ea)
		}
	})
}

func BenchmarkHandlerTypicalLine(b *testing.B) {
	log := slog.New(NewHandler(slog.DiscardHandler, []byte("key")))
	text := slog.New(NewHandler(slog.NewTextHandler(discard{}, nil), []byte("key")))
	for name, l := range map[string]*slog.Logger{"disabled": log, "text": text} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Info("registered", "call_id", "a84b4c76e66710@pc33.example.com", "function", "scscf", "status", 200)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
