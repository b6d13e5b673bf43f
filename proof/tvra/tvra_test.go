package tvra_test

import (
	"strings"
	"testing"
	"time"

	"imsafe/proof/evidence"
	"imsafe/proof/tables"
	"imsafe/proof/tvra"
)

func load(t *testing.T) *tables.Set {
	t.Helper()
	s, err := tables.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGolden: rows that were rated by hand.
func TestGolden(t *testing.T) {
	s := load(t)
	none := func(f tvra.Factors) tvra.Factors { f.Opportunity = "none"; return f }
	bleed := tvra.Factors{Time: "a day", Expertise: "proficient", Knowledge: "public", Opportunity: "easy", Equipment: "standard"}
	sweep := tvra.Factors{Time: "a day", Expertise: "proficient", Knowledge: "restricted", Opportunity: "moderate", Equipment: "standard"}
	forge := tvra.Factors{Time: "a day", Expertise: "proficient", Knowledge: "restricted", Opportunity: "difficult", Equipment: "standard"}
	enumerate := tvra.Factors{Time: "a day", Expertise: "layman", Knowledge: "public", Opportunity: "unnecessary", Equipment: "standard"}
	for _, c := range []struct {
		name             string
		f                tvra.Factors
		asset, intensity int
		sums             [2]int
		ratings          [2]string
		likelihood       [2]int
		risks            [2]tvra.Risk
	}{
		{"cs.rtp.bleed, off", bleed, 3, 1, [2]int{3, 4}, [2]string{"basic", "basic"}, [2]int{3, 3}, [2]tvra.Risk{{9, "critical"}, {9, "critical"}}},
		{"cs.rtp.bleed, on", none(bleed), 3, 1, [2]int{14, 13}, [2]string{"not exploitable", "not exploitable"}, [2]int{1, 1},
			[2]tvra.Risk{{3, "major"}, {3, "major"}}},
		{"cs.rtp.bleed, on, keys for each call", none(bleed), 2, 0, [2]int{14, 13}, [2]string{"not exploitable", "not exploitable"}, [2]int{1, 1},
			[2]tvra.Risk{{2, "minor"}, {2, "minor"}}},
		{"is.sh.sweep", sweep, 2, 2, [2]int{7, 10}, [2]string{"moderate", "enhanced-basic"}, [2]int{2, 2}, [2]tvra.Risk{{6, "critical"}, {6, "critical"}}},
		{"core.diameter.forge", forge, 3, 0, [2]int{15, 16}, [2]string{"high", "moderate"}, [2]int{1, 2}, [2]tvra.Risk{{3, "major"}, {6, "critical"}}},
		{"ci.user.enumerate", enumerate, 1, 0, [2]int{0, 0}, [2]string{"no rating", "basic"}, [2]int{3, 3}, [2]tvra.Risk{{3, "major"}, {3, "major"}}},
	} {
		for i := range s.Profiles {
			r, err := tvra.Rate(&s.Profiles[i], &s.Impact, c.f)
			if err != nil {
				t.Fatal(err)
			}
			risk := tvra.RiskOf(&s.Impact, r.Likelihood, tvra.Harm(&s.Impact, c.asset, c.intensity))
			if r.Sum != c.sums[i] || r.Rating != c.ratings[i] || r.Likelihood != c.likelihood[i] || risk != c.risks[i] {
				t.Errorf("%s, profile %s: %+v, %+v", c.name, s.Profiles[i].Name, r, risk)
			}
		}
	}
	if _, err := tvra.Rate(&s.Profiles[0], &s.Impact, tvra.Factors{Time: "soon"}); err == nil {
		t.Error("a time that no profile knows was rated")
	}
}

// aim is a case with one attack in one way, and what its runs showed.
func aim(attack, control string, position string, records ...*evidence.Record) *evidence.Case {
	c := &evidence.Case{Subject: evidence.Subject{Seeds: []uint64{1}, Modes: []string{"direct"}, Start: moment(0), End: moment(len(records))},
		Attacks: []evidence.Attack{{ID: attack, Number: "X-1", Title: "title", Door: "C-I", Services: []string{"integrity"}, Module: "services, control",
			Threats: []string{"disclosure"}, Variants: []evidence.Variant{{Position: position, Access: []string{"tls"}}}}},
		Policy: []evidence.Control{{ID: "c", Door: "C-I", Service: "integrity", Dimension: "data integrity", Level: "required"}}}
	if control != "" {
		c.Attacks[0].Variants[0].Controls = []string{control}
		c.Policy[0].ID = control
	}
	for i, r := range records {
		r.Start, r.End = moment(i), moment(i+1)
	}
	c.Records = records
	return c
}

// moment is the end of so many runs, one after the other.
func moment(n int) string { return evidence.Time(time.Unix(int64(n), 0)) }

func run(attack string, verdict evidence.Verdict, by string, off ...string) *evidence.Record {
	r := &evidence.Record{Attack: attack, Seed: 1, ControlsOff: off, Verdict: verdict, Target: evidence.Target{Profile: "tls", Mode: "direct"},
		Before: evidence.Baseline{Steps: 1, Done: 1}, Delivered: "an answer", Reason: "seen",
		Oracles: []evidence.Oracle{{Outside: true, Reached: verdict == evidence.Succeeded}}}
	if by != "" {
		r.Events = []evidence.Event{{Control: by, Enforced: true, Count: 1}}
	}
	return r
}

func analyse(t *testing.T, c *evidence.Case, s *tables.Set) *tvra.Entry {
	t.Helper()
	r, err := tvra.Compute(evidence.NewBoard(c), s, "2026-11-25")
	if err != nil {
		t.Fatal(err)
	}
	return &r.Entries[0]
}

// TestEvidence: what each finding is worth.
func TestEvidence(t *testing.T) {
	s := load(t)
	const a, control = "ci.identity.asserted", "ci.authentication.sa-identity"
	on := func(v evidence.Verdict, by string) *evidence.Record { return run(a, v, by) }
	off := func(v evidence.Verdict) *evidence.Record { return run(a, v, "", control) }
	twice := on(evidence.Blocked, "another")
	twice.Accident = true
	for _, c := range []struct {
		name          string
		records       []*evidence.Record
		finding       evidence.Finding
		before, after int
		atFloor       bool
	}{
		{"proven", []*evidence.Record{on(evidence.Blocked, control), off(evidence.Succeeded)}, evidence.Proven, 6, 2, true},
		{"open", []*evidence.Record{on(evidence.Succeeded, ""), off(evidence.Succeeded)}, evidence.Open, 6, 6, false},
		{"partial", []*evidence.Record{on(evidence.Degraded, control), off(evidence.Succeeded)}, evidence.Partial, 6, 6, false},
		{"dead", []*evidence.Record{on(evidence.Blocked, control), off(evidence.Blocked)}, evidence.Dead, 6, 6, false},
		{"accident", []*evidence.Record{twice, off(evidence.Succeeded)}, evidence.Accidental, 6, 6, false},
		{"blocked by another, and nobody says accident", []*evidence.Record{on(evidence.Blocked, "another"), off(evidence.Succeeded)}, evidence.Accidental, 6, 6, false},
		{"no run without", []*evidence.Record{on(evidence.Blocked, control)}, evidence.NotRun, 6, 6, false},
		{"no record", nil, evidence.NotRun, 6, 6, false},
	} {
		e := analyse(t, aim(a, control, "P1", c.records...), s)
		if e.Finding != c.finding || e.Before.Risk.Value != c.before || e.After.Risk.Value != c.after || e.AtFloor != c.atFloor {
			t.Errorf("%s: %s (%s), before %+v, after %+v, at its floor: %v", c.name, e.Finding, e.Why, e.Before, e.After, e.AtFloor)
		}
		if (c.finding == evidence.Proven) != e.Measures[0].Counts {
			t.Errorf("%s: what the control changes counts: %v", c.name, e.Measures[0].Counts)
		}
	}
}

// TestImpossible: states that must not be.
func TestImpossible(t *testing.T) {
	s := load(t)
	const a = "ci.identity.asserted"
	// A threat without a control never reads verified, whatever its records say.
	e := analyse(t, aim(a, "", "P1", run(a, evidence.Blocked, "c"), run(a, evidence.Succeeded, "", "c")), s)
	if e.Finding == evidence.Proven || e.After.Risk.Value < e.Before.Risk.Value || len(e.Measures) != 0 {
		t.Errorf("a threat without a control: %s, %+v", e.Finding, e.After)
	}
	// A control of which nobody has said what it changes changes nothing.
	const unknown = "ci.integrity.wishful"
	e = analyse(t, aim(a, unknown, "P1", run(a, evidence.Blocked, unknown), run(a, evidence.Succeeded, "", unknown)), s)
	if e.Finding != evidence.Proven || e.Measures[0].Counts || e.After.Risk != e.Before.Risk {
		t.Errorf("a control without an effect: %s, %+v", e.Finding, e.After)
	}
	// An attack of which nobody has said what it harms has the highest impact.
	const stray = "ci.some.thing"
	c := aim(stray, "ci.integrity.esp", "P1", run(stray, evidence.Blocked, "ci.integrity.esp"), run(stray, evidence.Succeeded, "", "ci.integrity.esp"))
	if e = analyse(t, c, s); e.Asset != "" || e.After.Impact != s.Impact.Highest() {
		t.Errorf("nobody has said what it harms: %+v", e)
	}
	// Nothing is below the floor.
	if e.After.Risk.Value < e.Floor.Value {
		t.Errorf("%+v is below the floor %+v", e.After.Risk, e.Floor)
	}
}

// TestAccepted: a risk is accepted by somebody, for a time.
func TestAccepted(t *testing.T) {
	s := load(t)
	const a, control = "ci.identity.asserted", "ci.authentication.sa-identity"
	s.Judgement.Accepted = []tables.Acceptance{{Attack: a, Owner: "somebody", From: "2026-01-01", Until: "2026-12-31"}}
	c := aim(a, control, "P1", run(a, evidence.Succeeded, ""))
	for day, open := range map[string]bool{"2026-11-25": false, "2027-01-01": true, "2025-12-31": true} {
		r, err := tvra.Compute(evidence.NewBoard(c), s, day)
		if err != nil {
			t.Fatal(err)
		}
		if e := r.Entries[0]; e.Accepted == nil || e.Expired != open || (len(r.Undecid) == 1) != open || strings.HasPrefix(e.Acceptance, "open") != open {
			t.Errorf("%s: %+v, %s, undecided %v", day, e.Accepted, e.Acceptance, r.Undecid)
		}
	}
	// Of several the one in force counts, wherever it stands.
	s.Judgement.Accepted = append(s.Judgement.Accepted, tables.Acceptance{Attack: a, Owner: "another", From: "2025-01-01", Until: "2025-12-31"})
	r, err := tvra.Compute(evidence.NewBoard(c), s, "2026-11-25")
	if err != nil || r.Entries[0].Expired || r.Entries[0].Accepted.Owner != "somebody" {
		t.Errorf("%v: %+v", err, r.Entries[0].Accepted)
	}
}
