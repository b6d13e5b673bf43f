package runner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/secure"
)

// judge gives a run its verdict. It reads the record alone: who has the record can judge again.
func judge(r *evidence.Record, failed error) {
	r.Verdict, r.Reason, r.Accident = verdict(r, failed)
	r.Accident = r.Accident && r.Verdict == evidence.Blocked
}

func verdict(r *evidence.Record, failed error) (v evidence.Verdict, reason string, accident bool) {
	if !r.Before.Well() {
		return evidence.Inconclusive, "honest service did not stand before the attack: " + r.Before.Reason, false
	}
	if errors.Is(failed, attack.ErrNotHere) {
		return evidence.NotRunHere, failed.Error(), false
	}
	outside := slices.IndexFunc(r.Oracles, func(o evidence.Oracle) bool { return o.Outside })
	reached := slices.IndexFunc(r.Oracles, func(o evidence.Oracle) bool { return o.Outside && o.Reached })
	if failed != nil && !counts(r, reached >= 0, failed) {
		return evidence.Inconclusive, "the attack could not be carried out: " + failed.Error(), false
	}
	switch {
	case outside < 0:
		return evidence.Inconclusive, "nobody outside the target saw anything", false
	case reached >= 0 && len(r.ControlsOff) > 0 && !passed(r):
		return evidence.Inconclusive, r.Oracles[reached].Saw + ", but no control that is off let anything pass", false
	case reached >= 0:
		return evidence.Succeeded, r.Oracles[reached].Saw, false
	case r.Delivered == "":
		return evidence.Inconclusive, "nothing shows that the attack arrived", false
	case r.After.Steps > 0 && !r.After.Well():
		return evidence.Degraded, "honest service suffers: " + r.After.Reason, false
	}
	if r.NoAblation != "" {
		return evidence.Blocked, r.Oracles[outside].Saw, false
	}
	if r.Expected == "" {
		return evidence.Blocked, "blocked with every listed control off: " + r.Oracles[outside].Saw, true
	}
	if by := refusals(r, r.Expected); by != "" {
		return evidence.Blocked, r.Oracles[outside].Saw + "; " + by, false
	}
	return evidence.Blocked, fmt.Sprintf("%s, but not by %s: the target notes %s", r.Oracles[outside].Saw, r.Expected,
		cmp.Or(refusals(r, ""), "nothing")), true
}

// overreached is an attack that wanted more than its bounds allow, and did not get it: what it saw of that means nothing.
type overreached struct{ error }

// counts reports whether what was seen of an attack that was not carried out to its end says something all the same. A target that is gone lets none be; and a goal
// that was reached while a control stood that must stop it was reached, whatever went wrong afterwards.
func counts(r *evidence.Record, reached bool, failed error) bool {
	if slices.ContainsFunc(r.Oracles, func(o evidence.Oracle) bool { return o.Kind == evidence.KindProcess && o.Reached }) {
		return true
	}
	stands := r.Expected != "" || r.NoAblation != ""
	return reached && stands && !errors.As(failed, new(overreached))
}

// passed reports whether a control that is off let something pass that it would have refused.
func passed(r *evidence.Record) bool {
	return slices.ContainsFunc(r.Events, func(e evidence.Event) bool { return !e.Enforced && slices.Contains(r.ControlsOff, e.Control) })
}

// refusals says what control refused, and why; of all controls for "". It is "" if there was nothing.
func refusals(r *evidence.Record, control string) string {
	var said []string
	for _, e := range r.Events {
		if e.Enforced && e.Count > 0 && (control == "" || control == e.Control) {
			said = append(said, fmt.Sprintf("%s (%s) %d times", e.Control, e.Reason, e.Count))
		}
	}
	return strings.Join(said, ", ")
}

// since is what happened between two tallies, sorted.
func since(before, after []evidence.Event) []evidence.Event {
	events := []evidence.Event{}
	for _, e := range after {
		for _, b := range before {
			if b.Control == e.Control && b.Reason == e.Reason && b.Enforced == e.Enforced {
				e.Count -= b.Count
			}
		}
		if e.Count > 0 {
			events = append(events, e)
		}
	}
	slices.SortFunc(events, func(a, b evidence.Event) int {
		return cmp.Or(strings.Compare(a.Control, b.Control), strings.Compare(a.Reason, b.Reason))
	})
	return events
}

// peels are the configurations of a variant: everything on, then its layers off one by one.
func peels(controls []secure.ControlID, ablatable bool) (off [][]secure.ControlID) {
	off = append(off, nil)
	for i := range controls {
		if ablatable {
			off = append(off, controls[:i+1])
		}
	}
	return off
}

// expected is the control that must refuse with the first off controls of the layers off; none if all are.
func expected(layers []secure.ControlID, off int) string {
	if off >= len(layers) {
		return ""
	}
	return layers[off].String()
}

func names(controls []secure.ControlID) []string {
	all := []string{}
	for _, c := range controls {
		all = append(all, c.String())
	}
	slices.Sort(all)
	return all
}
