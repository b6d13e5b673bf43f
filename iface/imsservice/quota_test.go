package imsservice

import (
	"testing"
	"time"

	"imsafe/refpoint/isc"
)

// TestQuotas_probe: one request finds out whether a platform is back; one that goes no further for another reason does not block those after it.
func TestQuotas_probe(t *testing.T) {
	q, s := newQuotas(), &isc.Service{Manifest: &isc.Manifest{Limits: isc.Limits{CPS: 100, Sessions: 1}}}
	enter := func(dialogs int, now time.Duration) string { return q.enter(s, dialogs, true, now) }
	for range breakAfter {
		if reason := enter(0, 0); reason != "" {
			t.Fatal(reason)
		}
		q.outcome("", false, 0)
		q.leave("", true)
	}
	if reason := enter(0, time.Second); reason != "rests" {
		t.Errorf("while the breaker is open: %q", reason)
	}
	if reason := enter(1, firstPause); reason != "sessions" {
		t.Errorf("with all its sessions in use: %q", reason)
	}
	if reason := enter(0, firstPause); reason != "" {
		t.Errorf("the probe: %q", reason)
	}
	if reason := enter(0, firstPause); reason != "rests" {
		t.Errorf("beside the probe: %q", reason)
	}
	q.leave("", true) // it never reached the platform
	if reason := enter(0, firstPause); reason != "" {
		t.Errorf("the next probe: %q", reason)
	}
	q.outcome("", true, firstPause)
	q.leave("", true)
	if reason := enter(0, firstPause); reason != "" {
		t.Errorf("when it has answered: %q", reason)
	}
	if reason := q.enter(s, 0, false, firstPause); reason != "sessions" {
		t.Errorf("a request of its own beside that: %q", reason)
	}
}

// TestQuotas_inside: requests inside dialogs have a budget of their own, which follows from the limits and takes nothing from that of initial ones.
func TestQuotas_inside(t *testing.T) {
	q, s := newQuotas(), &isc.Service{Manifest: &isc.Manifest{Limits: isc.Limits{CPS: 2, Sessions: 3}}}
	passes := func(now time.Duration) (n int) {
		for q.inside(s, now) == "" {
			n++
		}
		return n
	}
	if n := passes(0); n != 50 {
		t.Errorf("%d at once, want ten for each of 2 a second and 3 sessions", n)
	}
	if n := passes(time.Second); n != 20 {
		t.Errorf("%d in the next second, want 20", n)
	}
	if n := passes(time.Hour); n != 50 {
		t.Errorf("%d after an hour, want no more than at first", n)
	}
	if reason := q.enter(s, 0, false, time.Hour); reason != "" {
		t.Errorf("an initial request: %q", reason)
	}
}
