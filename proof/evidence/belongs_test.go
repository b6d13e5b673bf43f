package evidence_test

import (
	"strings"
	"testing"
	"time"

	"imsafe/proof/evidence"
)

// ofOneRun is a case of one attack over one access with two seeds: four runs, one after the other.
func ofOneRun() *evidence.Case {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	c := &evidence.Case{Subject: evidence.Subject{Program: "aa", Pack: "7", Seeds: []uint64{1, 2}, Modes: []string{"direct"}, Start: evidence.Time(at)},
		Attacks: []evidence.Attack{{ID: "a", Variants: []evidence.Variant{{Access: []string{"tls"}, Controls: []string{"c"}}}}},
		Policy:  []evidence.Control{{ID: "c", Level: "required"}}}
	for _, seed := range c.Subject.Seeds {
		for _, off := range [][]string{{}, {"c"}} {
			r := &evidence.Record{Attack: "a", Seed: seed, PackVersion: "7", ControlsOff: off, Verdict: evidence.Blocked, Delivered: "an answer", Before: evidence.Baseline{Steps: 1, Done: 1},
				Target: evidence.Target{Build: "aa", Profile: "tls", Mode: "direct"}, Oracles: []evidence.Oracle{{Outside: true, Reached: len(off) > 0}},
				Events: []evidence.Event{{Control: "c", Enforced: true, Count: 1}}, Start: evidence.Time(at)}
			if len(off) > 0 {
				r.Verdict = evidence.Succeeded
			}
			at = at.Add(time.Second)
			r.End = evidence.Time(at)
			c.Records = append(c.Records, r)
		}
	}
	c.Subject.End = evidence.Time(at)
	return c
}

// TestStrange: what was put among the records of a run counts for nothing, whoever has signed it, and is named.
func TestStrange(t *testing.T) {
	if c := ofOneRun(); len(c.Strange()) > 0 || evidence.NewBoard(c).Attack("a").State != evidence.StateProven {
		t.Fatalf("as it was made: %v, %+v", c.Strange(), evidence.NewBoard(c).Attack("a"))
	}
	for name, change := range map[string]struct {
		do   func(*evidence.Case)
		says string
	}{
		"of another program":   {func(c *evidence.Case) { c.Records[0].Target.Build = "bb" }, "of the program bb"},
		"of another catalogue": {func(c *evidence.Case) { c.Records[0].PackVersion = "6" }, "of version"},
		"of the day before":    {func(c *evidence.Case) { c.Records[0].Start = "2026-11-25T12:00:00Z" }, "it was made from"},
		"of the day after":     {func(c *evidence.Case) { c.Records[3].End = "2026-11-27T12:00:00Z" }, "it was made from"},
		"without a time":       {func(c *evidence.Case) { c.Records[0].Start, c.Records[0].End = "", "" }, "it was made from"},
		"that ends before it begins": {func(c *evidence.Case) { c.Records[1].Start, c.Records[1].End = c.Records[1].End, c.Records[1].Start },
			"it was made from"},
		"copied from another seed": {func(c *evidence.Case) {
			copied := *c.Records[0]
			copied.Seed, c.Records[2] = 2, &copied
		}, "it was made while"},
		"with controls off, in the place of one with them on": {func(c *evidence.Case) {
			copied := *c.Records[1]
			copied.ControlsOff, copied.Verdict, copied.Oracles = []string{}, evidence.Blocked, []evidence.Oracle{{Outside: true}}
			c.Records[0] = &copied
		}, "it was made while"},
	} {
		c := ofOneRun()
		change.do(c)
		said := ""
		for key, why := range c.Strange() {
			said += key + ": " + why + "\n"
		}
		if !strings.Contains(said, change.says) || !strings.Contains(said, "direct/") {
			t.Errorf("%s: %q", name, said)
		}
		b := evidence.NewBoard(c)
		if a, control := b.Attack("a"), b.Control("c"); a.State == evidence.StateProven || control.State == evidence.StateProven {
			t.Errorf("%s: %s, %s", name, a.State, control.State)
		}
	}
}

// TestNothing_is_not_proven: no seed, no mode, no variant and no access make nothing good.
func TestNothing_is_not_proven(t *testing.T) {
	for name, change := range map[string]func(*evidence.Case){
		"no seed":    func(c *evidence.Case) { c.Subject.Seeds = nil },
		"no mode":    func(c *evidence.Case) { c.Subject.Modes = nil },
		"no variant": func(c *evidence.Case) { c.Attacks[0].Variants = nil },
		"no access":  func(c *evidence.Case) { c.Attacks[0].Variants[0].Access = nil },
		"no control": func(c *evidence.Case) { c.Attacks[0].Variants[0].Controls = nil },
		"no record":  func(c *evidence.Case) { c.Records = nil },
	} {
		c := ofOneRun()
		change(c)
		b := evidence.NewBoard(c)
		if a, control := b.Attack("a"), b.Control("c"); a.State == evidence.StateProven || control.State == evidence.StateProven {
			t.Errorf("%s: the attack is %s, its control %s", name, a.State, control.State)
		}
	}
}

// TestRenew: a row that was taken out of a bundle, or changed there, is put back, and what it asks for was not run.
func TestRenew(t *testing.T) {
	whole := ofOneRun()
	c := ofOneRun()
	if changed := c.Renew(whole.Attacks, whole.Policy); len(changed) > 0 || evidence.NewBoard(c).Attack("a").State != evidence.StateProven {
		t.Errorf("the same rows: %v", changed)
	}
	more := append(ofOneRun().Attacks, evidence.Attack{ID: "b", Variants: []evidence.Variant{{Access: []string{"tls"}, Controls: []string{"c"}}}})
	more[0].Variants = append(more[0].Variants, evidence.Variant{Name: "other", Access: []string{"tls"}, Controls: []string{"c"}})
	changed := c.Renew(more, append(whole.Policy, evidence.Control{ID: "d", Level: "required"}))
	b := evidence.NewBoard(c)
	if said := strings.Join(changed, "; "); said != "the attack a: its row is another now; the attack b: the bundle has no row of it; the control d: the bundle has no row of it" ||
		b.Attack("a").State != evidence.StateClaimed || b.Attack("b").State != evidence.StateClaimed || b.Control("c").State != evidence.StateClaimed {
		t.Errorf("%s; %+v", said, b.Attack("a"))
	}
}
