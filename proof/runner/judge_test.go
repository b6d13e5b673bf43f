package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/secure"
)

var well = evidence.Baseline{Steps: 5, Done: 5}

// a record of a run that was blocked as it should be.
func blocked() *evidence.Record {
	return &evidence.Record{Before: well, After: well, Delivered: "an answer", Expected: "a.b.c", ControlsOff: []string{},
		Oracles: []evidence.Oracle{{Kind: evidence.KindPeer, Outside: true, Saw: "nothing"}},
		Events:  []evidence.Event{{Control: "a.b.c", Reason: "r", Enforced: true, Count: 1}}}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*evidence.Record)
		failed   error
		want     evidence.Verdict
		accident bool
	}{
		{"blocked by name", func(*evidence.Record) {}, nil, evidence.Blocked, false},
		{"by another control", func(r *evidence.Record) { r.Events[0].Control = "x.y.z" }, nil, evidence.Blocked, true},
		{"by nothing", func(r *evidence.Record) { r.Events = nil }, nil, evidence.Blocked, true},
		{"the control was off", func(r *evidence.Record) { r.Events[0].Enforced = false }, nil, evidence.Blocked, true},
		{"with every control off", func(r *evidence.Record) { r.Expected, r.ControlsOff = "", []string{"a.b.c"} }, nil, evidence.Blocked, true},
		{"reached", func(r *evidence.Record) { r.Oracles[0].Reached = true }, nil, evidence.Succeeded, false},
		{"reached, by one of two", func(r *evidence.Record) {
			r.Oracles = append(r.Oracles, evidence.Oracle{Kind: evidence.KindWire, Outside: true, Saw: "it", Reached: true})
		}, nil, evidence.Succeeded, false},
		{"reached, by the target's word alone", func(r *evidence.Record) {
			r.Oracles = []evidence.Oracle{{Kind: evidence.KindEvent, Reached: true}}
		}, nil, evidence.Inconclusive, false},
		{"reached with a control off that let pass", func(r *evidence.Record) {
			r.Oracles[0].Reached, r.ControlsOff, r.Events[0].Enforced = true, []string{"a.b.c"}, false
		}, nil, evidence.Succeeded, false},
		{"reached with a control off that had no part in it", func(r *evidence.Record) {
			r.Oracles[0].Reached, r.ControlsOff = true, []string{"a.b.c"}
		}, nil, evidence.Inconclusive, false},
		{"by nothing, where there is no switch", func(r *evidence.Record) { r.Events, r.NoAblation = nil, "no switch" }, nil, evidence.Blocked, false},
		{"not at all, where there is no switch", func(r *evidence.Record) { r.Oracles[0].Reached, r.NoAblation = true, "no switch" }, nil, evidence.Succeeded, false},
		{"not delivered", func(r *evidence.Record) { r.Delivered = "" }, nil, evidence.Inconclusive, false},
		{"no baseline", func(r *evidence.Record) { r.Before.Done = 4 }, nil, evidence.Inconclusive, false},
		{"no baseline at all", func(r *evidence.Record) { r.Before = evidence.Baseline{} }, nil, evidence.Inconclusive, false},
		{"honest service suffers", func(r *evidence.Record) { r.After.Done = 4 }, nil, evidence.Degraded, false},
		{"nobody saw anything", func(r *evidence.Record) { r.Oracles = nil }, nil, evidence.Inconclusive, false},
		{"the driver failed", func(*evidence.Record) {}, errors.New("no socket"), evidence.Inconclusive, false},
		{"the driver failed when the goal was reached", func(r *evidence.Record) { r.Oracles[0].Reached = true }, errors.New("no answer"), evidence.Succeeded, false},
		{"the driver failed when the goal was reached, with every control off", func(r *evidence.Record) {
			r.Oracles[0].Reached, r.Expected, r.ControlsOff, r.Events[0].Enforced = true, "", []string{"a.b.c"}, false
		}, errors.New("no answer"), evidence.Inconclusive, false},
		{"the driver wanted more than it may", func(r *evidence.Record) { r.Oracles[0].Reached = true }, overreached{errors.New("too many packets")}, evidence.Inconclusive, false},
		{"the driver failed, for the target is gone", func(r *evidence.Record) {
			r.Oracles = append(r.Oracles, evidence.Oracle{Kind: evidence.KindProcess, Outside: true, Saw: "exit status 2", Reached: true})
		}, errors.New("connection refused"), evidence.Succeeded, false},
		{"the host refuses it", func(*evidence.Record) {}, fmt.Errorf("no: %w", attack.ErrNotHere), evidence.NotRunHere, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := blocked()
			c.change(r)
			judge(r, c.failed)
			if r.Verdict != c.want || r.Accident != c.accident || r.Reason == "" {
				t.Errorf("%s, accident %v: %s; want %s, %v", r.Verdict, r.Accident, r.Reason, c.want, c.accident)
			}
		})
	}
}

// TestConclude: only blocked by name, then by the next layer, then succeeded proves anything.
func TestConclude(t *testing.T) {
	const b, s = evidence.Blocked, evidence.Succeeded
	for _, c := range []struct {
		name     string
		layers   int
		verdicts []evidence.Verdict
		accident int // which is one; -1 for none
		proven   bool
		again    bool
		says     string
	}{
		{"one control", 1, []evidence.Verdict{b, s}, -1, true, false, ""},
		{"two layers", 2, []evidence.Verdict{b, b, s}, -1, true, false, ""},
		{"without an ablation", 1, []evidence.Verdict{b}, -1, true, false, ""},
		{"it succeeds with the control on", 1, []evidence.Verdict{s, s}, -1, false, false, "succeeded with nothing off"},
		{"the second layer does not hold", 2, []evidence.Verdict{b, s, s}, -1, false, false, "succeeded with [x] off"},
		{"a dead attack", 1, []evidence.Verdict{b, b}, -1, false, false, "dead attack"},
		{"an accident", 1, []evidence.Verdict{b, s}, 0, false, false, "blocked by accident"},
		{"an accident of the second layer", 2, []evidence.Verdict{b, b, s}, 1, false, false, "blocked by accident"},
		{"inconclusive", 1, []evidence.Verdict{evidence.Inconclusive, s}, -1, false, true, "inconclusive"},
		{"degraded", 1, []evidence.Verdict{evidence.Degraded, s}, -1, false, false, "degraded"},
		{"inconclusive without the control", 1, []evidence.Verdict{b, evidence.Inconclusive}, -1, false, true, "inconclusive with [x] off"},
		{"it succeeds, and the run without proves nothing", 1, []evidence.Verdict{s, evidence.Inconclusive}, -1, false, false, "succeeded with nothing off"},
		{"the first run proves nothing, and the second layer does not hold", 2, []evidence.Verdict{evidence.Inconclusive, s, s}, -1, false, false, "inconclusive"},
		{"an accident, and the run without proves nothing", 1, []evidence.Verdict{b, evidence.Inconclusive}, 0, false, false, "blocked by accident"},
		{"not run here", 1, []evidence.Verdict{evidence.NotRunHere, evidence.NotRunHere}, -1, false, false, "because"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Result
			for i, v := range c.verdicts {
				record := &evidence.Record{Verdict: v, Accident: i == c.accident, Reason: "because"}
				if i > 0 {
					record.ControlsOff = []string{"x"}
				}
				r.Records = append(r.Records, record)
			}
			conclude(&r, c.layers)
			if r.Proven != c.proven || !strings.Contains(r.Finding, c.says) || r.Finding == "" {
				t.Errorf("proven %v: %s; want %v, %q", r.Proven, r.Finding, c.proven, c.says)
			}
			if again := r.Undecided() != ""; again != c.again {
				t.Errorf("run once more: %v, want %v", again, c.again)
			}
		})
	}
}

// nowhere launches nothing, and counts.
type nowhere struct{ asked int }

func (n *nowhere) Launch(context.Context, Setup) (Target, error) {
	n.asked++
	return nil, errors.New("nowhere")
}

// TestAgain: what proves nothing is tried again, and what another variant of the same attack has found is not.
func TestAgain(t *testing.T) {
	a, known := attack.Find("CI-04")
	if !known || len(a.Variants) != 3 {
		t.Fatalf("%+v", a)
	}
	n := new(nowhere)
	first := []Result{{Finding: "succeeded"}, {Finding: "inconclusive", undecided: true}, {Finding: "dead"}}
	again, err := New(Config{Launcher: n}).Again(t.Context(), &a, first)
	if err == nil || n.asked != 1 || again[0].Finding != "succeeded" || again[2].Finding != "dead" {
		t.Errorf("%d targets were asked for; %v, %+v", n.asked, err, again)
	}
	if again, err := New(Config{Launcher: n}).Again(t.Context(), &a, first[:1]); err != nil || n.asked != 1 || len(again) != 1 {
		t.Errorf("nothing to be tried again: %v, %+v", err, again)
	}
}

func TestPeels(t *testing.T) {
	layers := []secure.ControlID{secure.CIAuthorizationProtectedPort, secure.CIAuthenticationSAIdentity}
	off := peels(layers, true)
	if len(off) != 3 || off[0] != nil || !slices.Equal(off[1], layers[:1]) || !slices.Equal(off[2], layers) {
		t.Errorf("the peels are %v", off)
	}
	if off := peels(layers, false); len(off) != 1 {
		t.Errorf("without an ablation there is %v", off)
	}
	for i, want := range []string{layers[0].String(), layers[1].String(), ""} {
		if got := expected(layers, i); got != want {
			t.Errorf("with %d off %q must block, want %q", i, got, want)
		}
	}
}

func TestSince(t *testing.T) {
	e := func(control string, enforced bool, count uint64) evidence.Event {
		return evidence.Event{Control: control, Reason: "r", Enforced: enforced, Count: count}
	}
	got := since([]evidence.Event{e("a", true, 2), e("b", true, 1)}, []evidence.Event{e("b", true, 1), e("a", true, 5), e("a", false, 1)})
	if want := []evidence.Event{e("a", true, 3), e("a", false, 1)}; !slices.Equal(got, want) {
		t.Errorf("since %v, want %v", got, want)
	}
}
