package report_test

import (
	"slices"
	"strings"
	"testing"

	"imsafe/proof/evidence"
	"imsafe/proof/report"
	"imsafe/proof/tables"
	"imsafe/proof/x805"
)

// without is the ideal case with one control off all the time: what it stops comes through, whatever else is off.
func without(control string) *evidence.Case {
	c := ideal()
	for _, r := range c.Records {
		if slices.ContainsFunc(r.Events, func(e evidence.Event) bool { return e.Control == control }) {
			r.Events, r.Verdict, r.Oracles[0].Reached = []evidence.Event{}, evidence.Succeeded, true
		}
	}
	return c
}

// TestMutation_everywhere: with any one control off, the slots of X.805 and the risks that rest on it turn too, no other does, and none gets better.
func TestMutation_everywhere(t *testing.T) {
	s, whole := load(t), ideal()
	slots, risks := slotsOf(t, whole, s), rated(t, evidence.NewBoard(whole), s)
	tried := 0
	for _, p := range whole.Policy {
		names := namesVariants(whole, p.ID)
		if !p.Built() || len(names) == 0 {
			continue
		}
		tried++
		c := without(p.ID)
		turned := 0
		for key, now := range slotsOf(t, c, s) {
			was := slots[key]
			rests := slices.ContainsFunc(was.Attacks, func(a string) bool {
				return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, a+"/") })
			})
			switch {
			case now.State != was.State && !rests:
				t.Errorf("%s is off, and the slot %s is %s, was %s", p.ID, key, now.State, was.State)
			case now.State == evidence.StateProven && was.State != now.State:
				t.Errorf("%s is off, and the slot %s turns green", p.ID, key)
			case now.State != was.State:
				turned++
			case was.State == evidence.StateProven && slices.Contains(was.Controls, p.ID):
				t.Errorf("%s is off, and the slot %s is still proven", p.ID, key)
			}
		}
		for i, e := range rated(t, evidence.NewBoard(c), s) {
			rests := slices.Contains(names, e.Attack+"/"+e.Variant)
			was := risks[i]
			switch {
			case rests && e.Finding == evidence.Proven:
				t.Errorf("%s is off, and %s is still held to be stopped", p.ID, e.Name())
			case rests && e.After.Risk.Value < e.Before.Risk.Value:
				t.Errorf("%s is off, and the risk of %s is less than without any control: %d, %d", p.ID, e.Name(), e.After.Risk.Value, e.Before.Risk.Value)
			case e.After.Risk.Value < was.After.Risk.Value || !rests && e.After.Risk.Value != was.After.Risk.Value:
				t.Errorf("%s is off, and the risk of %s is %d, was %d", p.ID, e.Name(), e.After.Risk.Value, was.After.Risk.Value)
			}
		}
		if turned == 0 && fills(whole, slots, p.ID) {
			t.Errorf("%s is off, and nothing turns in the map of X.805", p.ID)
		}
	}
	if tried < 40 {
		t.Errorf("only %d controls were tried", tried)
	}
}

// namesVariants are attack and variant of all that a control must stop.
func namesVariants(c *evidence.Case, control string) (all []string) {
	for _, a := range c.Attacks {
		for _, v := range a.Variants {
			if v.NoAblation == "" && slices.Contains(v.Controls, control) {
				all = append(all, a.ID+"/"+v.Name)
			}
		}
	}
	return all
}

// fills reports whether a control has a slot that is proven.
func fills(c *evidence.Case, slots map[string]x805.Slot, control string) bool {
	for _, s := range slots {
		if s.State == evidence.StateProven && slices.Contains(s.Controls, control) {
			return true
		}
	}
	return false
}

func slotsOf(t *testing.T, c *evidence.Case, s *tables.Set) map[string]x805.Slot {
	t.Helper()
	m, err := x805.Compute(evidence.NewBoard(c), &s.X805)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]x805.Slot{}
	for _, module := range m.Modules {
		for _, cell := range module.Cells {
			for _, slot := range cell.Slots {
				all[strings.Join([]string{module.Layer, module.Plane, cell.Dimension, slot.Threat}, ", ")] = slot
			}
		}
	}
	return all
}

// TestMutation_page: one control of each door is off. The page for people says which cell is a gap, and names the attack that got through.
func TestMutation_page(t *testing.T) {
	before := compute(t, ideal())
	for control, attack := range map[string]string{"ci.authentication.from-check": "ci.identity.from", "is.integrity.sh-write": "is.sh.write",
		"cs.confidentiality.https": "cs.http.sniff"} {
		r := compute(t, without(control))
		page, err := r.HTML()
		if err != nil {
			t.Fatal(err)
		}
		whole := string(page)
		i := slices.IndexFunc(r.Conclusion.Failed, func(said string) bool { return strings.Contains(said, attack) })
		if i < 0 || r.Outcome() != report.Failed || !strings.Contains(whole, attack) || !strings.Contains(whole, "<b>gap</b>") {
			t.Errorf("%s is off: %v, and the page does not name %s", control, r.Conclusion.Failed, attack)
		}
		if said := report.Changes(before, r); !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "control "+control+": gap, was ") }) {
			t.Errorf("%s is off, and among what changed it is not: %v", control, said)
		}
	}
}
