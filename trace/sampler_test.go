package trace

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"imsafe/secure"
)

func sampler(kinds ...string) (*Sampler, *strings.Builder) {
	var out strings.Builder
	return NewSampler(NewLogger(&out, slog.LevelInfo, false, nil), "dropped", "reason", kinds), &out
}

func TestFloodIsOneLine(t *testing.T) {
	s, out := sampler("too-long", "no-budget")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 10_000 {
				s.Note(1, "per-source", netip.AddrFrom4([4]byte{192, 0, byte(g), byte(i)}))
			}
		})
	}
	wg.Wait()
	if out.Len() != 0 {
		t.Error("a line was written before Flush")
	}
	s.Flush()
	if lines := strings.Count(out.String(), "\n"); lines != 1 || !strings.Contains(out.String(), "count=40000") {
		t.Errorf("%d lines: %s", lines, out)
	}
	if s.Count(1) != 40_000 || s.Count(0) != 0 {
		t.Errorf("counted %d and %d", s.Count(1), s.Count(0))
	}
}

func TestFlushTellsOnlyNews(t *testing.T) {
	s, out := sampler("a")
	s.Note(0, "r", netip.Addr{})
	s.Flush()
	s.Flush()
	s.Note(0, "r", netip.Addr{})
	s.Flush()
	if got := strings.Count(out.String(), "count=1"); got != 2 || strings.Count(out.String(), "\n") != 2 || strings.Contains(out.String(), "peer") {
		t.Errorf("%s", out)
	}
}

func TestNoteAllocatesNothing(t *testing.T) {
	s, _ := sampler("a")
	source := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { s.Note(0, "r", source) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRefusalsNameTheControl(t *testing.T) {
	var out strings.Builder
	r := NewRefusals(NewLogger(&out, slog.LevelInfo, false, nil))
	gate := secure.NewGate([]secure.ControlID{secure.CIIntegrityFramer}, r)
	gate.Refuse(secure.CIAuthenticationAKA, secure.Event{Reason: "digest-mismatch", Subject: "alice", Source: netip.MustParseAddr("192.0.2.1")})
	gate.Refuse(secure.CIIntegrityFramer, secure.Event{Reason: "two-lengths"})
	r.Flush()
	for _, want := range []string{
		"msg=refused control=ci.authentication.aka count=1 reason=digest-mismatch peer=192.0.2.1",
		`msg=refused control=ci.integrity.framer count=1 reason="let through, control off: two-lengths"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "alice") {
		t.Error("the subject is in the log")
	}
}

// TestRefusals_routine: what telephones say of themselves is taken off each message, and no warning; with the control off it is one.
func TestRefusals_routine(t *testing.T) {
	said := func(level slog.Level, off ...secure.ControlID) string {
		var out strings.Builder
		r := NewRefusals(NewLogger(&out, level, false, nil))
		secure.NewGate(off, r).Refuse(secure.CIConfidentialityPrivacyEgress, secure.Event{Reason: "device"})
		r.Flush()
		return out.String()
	}
	if out := said(slog.LevelInfo); out != "" {
		t.Error(out)
	}
	if out := said(slog.LevelDebug); !strings.Contains(out, "level=DEBUG msg=withheld control=ci.confidentiality.privacy-egress count=1 reason=device") {
		t.Error(out)
	}
	if out := said(slog.LevelInfo, secure.CIConfidentialityPrivacyEgress); !strings.Contains(out, "level=WARN msg=refused") {
		t.Error(out)
	}
}
