package report_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	"imsafe/proof/report"
	"imsafe/proof/runner"
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

// ideal is a case in which every attack of the catalogue is blocked by its controls and succeeds without them. Each test has one of its own.
func ideal() *evidence.Case {
	c := &evidence.Case{Attacks: runner.Catalogue(), Policy: runner.Policy(), Subject: evidence.Subject{Program: strings.Repeat("ab", 32), Commit: "unknown",
		Pack: "test", Start: "2026-11-25T20:00:00Z", End: "2026-11-25T20:05:00Z", Seeds: []uint64{1}, Modes: []string{"direct"}, Missing: map[string]string{}, Repeated: []string{},
		Configuration: strings.Repeat("cd", 32), Named: "default", Weakenings: []evidence.Weakening{}}}
	for i := range c.Attacks {
		a := &c.Attacks[i]
		for j := range a.Variants {
			v := &a.Variants[j]
			for _, access := range v.Access {
				for n := range len(v.Controls) + 1 {
					if n == 0 || v.NoAblation == "" {
						c.Records = append(c.Records, ran(a, v, access, n))
					}
				}
			}
		}
	}
	for i, r := range c.Records { // one after the other
		begun := time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC).Add(time.Duration(i) * 200 * time.Millisecond)
		r.Start, r.End = evidence.Time(begun), evidence.Time(begun.Add(100*time.Millisecond))
		r.Target.Build, r.PackVersion = c.Subject.Program, c.Subject.Pack
	}
	return c
}

// ran is the record of a run with the first off layers off, as it should be.
func ran(a *evidence.Attack, v *evidence.Variant, access string, off int) *evidence.Record {
	r := &evidence.Record{Attack: a.ID, Number: a.Number, Variant: v.Name, Seed: 1, Position: v.Position, Target: evidence.Target{Profile: access, Mode: "direct"},
		ControlsOff: slices.Sorted(slices.Values(v.Controls[:off])), Before: evidence.Baseline{Steps: 5, Done: 5, P50: int64(100 + off)}, Delivered: "an answer",
		Verdict: evidence.Blocked, NoAblation: v.NoAblation, Reason: "as seen", Factors: evidence.Factors{Micros: 5000}, Credentials: []string{}, Covers: map[string]string{"program": "1"},
		Oracles: []evidence.Oracle{{Kind: evidence.KindPeer, Outside: true, Saw: "as seen"}}, Events: []evidence.Event{}}
	if off == len(v.Controls) {
		r.Verdict, r.Oracles[0].Reached, r.Factors.Users = evidence.Succeeded, true, 1
		return r
	}
	r.Events = append(r.Events, evidence.Event{Control: v.Controls[off], Reason: "because", Enforced: true, Count: 3})
	return r
}

func compute(t *testing.T, c *evidence.Case) *report.Report {
	t.Helper()
	r, err := report.Make(c, load(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func states(table []cells.Cell) map[string]evidence.State {
	all := map[string]evidence.State{}
	for _, c := range table {
		all[c.Name] = c.State
	}
	return all
}

// depend are the cells that depend on a control: its own, and those of the attacks that it must stop.
func depend(c *evidence.Case, control string) map[string]bool {
	all := map[string]bool{}
	inTable := func(door, service string) {
		if slices.Contains(cells.Doors(), door) {
			all[door+" "+service] = true
		}
	}
	p, _ := c.Find(control)
	inTable(p.Door, p.Service)
	for _, a := range c.Attacks {
		if !slices.ContainsFunc(a.Variants, func(v evidence.Variant) bool { return v.NoAblation == "" && slices.Contains(v.Controls, control) }) {
			continue
		}
		for _, s := range a.Services {
			inTable(a.Door, s)
		}
		// What else must stop this attack is not shown either, but for the layers before this one.
		for _, v := range a.Variants {
			if k := slices.Index(v.Controls, control); k >= 0 {
				for _, other := range v.Controls[k:] {
					q, _ := c.Find(other)
					inTable(q.Door, q.Service)
				}
			}
		}
	}
	return all
}

// dependsOn are the cells that depend on an attack: those that it is in, and those of the controls that must stop it.
func dependsOn(c *evidence.Case, attack string) map[string]bool {
	all := map[string]bool{}
	for _, a := range c.Attacks {
		if a.ID != attack {
			continue
		}
		for _, s := range a.Services {
			all[a.Door+" "+s] = true
		}
		for _, v := range a.Variants {
			for _, id := range v.Controls {
				p, _ := c.Find(id)
				all[p.Door+" "+p.Service] = true
			}
		}
	}
	return all
}

// TestMutation_control: with any one control off, exactly the cells that depend on it are no longer proven, and no other turns green.
func TestMutation_control(t *testing.T) {
	whole := ideal()
	before := states(cells.Table(evidence.NewBoard(whole)))
	green := 0
	for _, p := range whole.Policy {
		if !p.Built() || !tried(whole, p.ID) {
			continue
		}
		c := ideal()
		for _, r := range c.Records { // as if it had been off all the time: what it stops, comes through
			i := slices.IndexFunc(r.Events, func(e evidence.Event) bool { return e.Control == p.ID })
			if i >= 0 {
				r.Events, r.Verdict, r.Oracles[0].Reached = []evidence.Event{}, evidence.Succeeded, true
			}
		}
		board := evidence.NewBoard(c)
		table := cells.Table(board)
		after := states(table)
		namesThem(t, p.ID, whole, cells.Conclude(board, table).Failed)
		dependent := depend(whole, p.ID)
		for name, was := range before {
			switch now := after[name]; {
			case dependent[name] && now == evidence.StateProven:
				t.Errorf("%s is off, and %s is still proven", p.ID, name)
			case !dependent[name] && now != was:
				t.Errorf("%s is off, and %s is %s, was %s", p.ID, name, now, was)
			case now == evidence.StateProven && was != evidence.StateProven:
				t.Errorf("%s is off, and %s has turned green", p.ID, name)
			}
		}
		green++
	}
	if green < 20 {
		t.Errorf("only %d controls were tried", green)
	}
}

// namesThem wants what failed to be the attacks that the control must stop, in whatever layer, all of them, and no other.
func namesThem(t *testing.T, control string, c *evidence.Case, failed []string) {
	t.Helper()
	for _, a := range c.Attacks {
		must := slices.ContainsFunc(a.Variants, func(v evidence.Variant) bool { return v.NoAblation == "" && slices.Contains(v.Controls, control) })
		may := slices.ContainsFunc(a.Variants, func(v evidence.Variant) bool { return slices.Contains(v.Controls, control) })
		named := slices.ContainsFunc(failed, func(said string) bool { return strings.Contains(said, " "+a.ID) })
		if must && !named || named && !may {
			t.Errorf("%s is off: %s is named %v, and must it be stopped by that: %v", control, a.ID, named, may)
		}
	}
}

// TestUntried: a required control that no attack tries fails the whole, wherever its door is.
func TestUntried(t *testing.T) {
	for _, id := range []string{"core.authorization.role", "mgmt.authentication.admin", "cs.integrity.https"} {
		c := ideal()
		for i := range c.Attacks {
			for j := range c.Attacks[i].Variants {
				v := &c.Attacks[i].Variants[j]
				v.Controls = slices.DeleteFunc(slices.Clone(v.Controls), func(other string) bool { return other == id })
			}
		}
		r := compute(t, c)
		if r.Outcome() != report.Failed || !slices.ContainsFunc(r.Conclusion.Failed, func(said string) bool { return strings.HasPrefix(said, id+" is required") }) {
			t.Errorf("nothing tries %s: outcome %d, %v", id, r.Outcome(), r.Conclusion.Failed)
		}
	}
}

func tried(c *evidence.Case, control string) bool {
	return slices.ContainsFunc(c.Attacks, func(a evidence.Attack) bool {
		return slices.ContainsFunc(a.Variants, func(v evidence.Variant) bool { return v.NoAblation == "" && slices.Contains(v.Controls, control) })
	})
}

// TestMutation_record: whatever is changed in any one record, no cell, slot or risk gets better, and what depends on it is no longer proven.
func TestMutation_record(t *testing.T) {
	s, all := load(t), len(ideal().Records)
	before, risks := evidence.NewBoard(ideal()), rated(t, evidence.NewBoard(ideal()), s)
	green := states(cells.Table(before))
	const stride = 5 // the rows that it does not come to in one change, it comes to in another
	offset := 0
	for name, change := range map[string]func(*evidence.Record){
		"not run here": func(r *evidence.Record) { r.Verdict = evidence.NotRunHere },
		"inconclusive": func(r *evidence.Record) { r.Verdict = evidence.Inconclusive },
		"other result": func(r *evidence.Record) {
			if r.Verdict == evidence.Blocked {
				r.Verdict = evidence.Succeeded
				return
			}
			r.Verdict = evidence.Blocked
		},
		"no witness":        func(r *evidence.Record) { r.Oracles = nil },
		"a witness of it":   func(r *evidence.Record) { r.Oracles[0].Reached = !r.Oracles[0].Reached },
		"no honest service": func(r *evidence.Record) { r.Before.Done = 0 },
		"another attack":    func(r *evidence.Record) { r.Attack = "ci.another" },
		"another mode":      func(r *evidence.Record) { r.Target.Mode = "strict" },
		"more was off":      func(r *evidence.Record) { r.ControlsOff = append(slices.Clone(r.ControlsOff), "zz") },
	} {
		offset++
		for i := offset % stride; i < all; i += stride {
			c := ideal()
			r := c.Records[i]
			excused := r.NoAblation != ""
			change(r)
			after := evidence.NewBoard(c)
			if after.Tally()[evidence.Proven] >= before.Tally()[evidence.Proven] && !excused {
				t.Errorf("%s in %s: as much is proven as before", name, ideal().Records[i].Key())
			}
			around := dependsOn(c, ideal().Records[i].Attack)
			for cell, now := range states(cells.Table(after)) {
				if now != green[cell] && !around[cell] {
					t.Errorf("%s in %s: %s is %s, and does not depend on it", name, ideal().Records[i].Key(), cell, now)
				}
				if now == evidence.StateProven && green[cell] != now {
					t.Errorf("%s in %s: %s turns green", name, ideal().Records[i].Key(), cell)
				}
			}
			for j, e := range rated(t, after, s) {
				if e.After.Risk.Value < risks[j].After.Risk.Value {
					t.Errorf("%s in %s: the risk of %s falls", name, ideal().Records[i].Key(), e.Name())
				}
			}
		}
	}
}

func rated(t *testing.T, b *evidence.Board, s *tables.Set) []tvra.Entry {
	t.Helper()
	r, err := tvra.Compute(b, s, "2026-11-25")
	if err != nil {
		t.Fatal(err)
	}
	return r.Entries
}

// TestNothingIsGreenByDefault: without records nothing is proven anywhere, and every risk is as bad as it can be.
func TestNothingIsGreenByDefault(t *testing.T) {
	for name, c := range map[string]*evidence.Case{"no records": {Attacks: runner.Catalogue(), Policy: runner.Policy(), Subject: ideal().Subject},
		"nothing at all": {Subject: ideal().Subject}, "a void bundle": ideal()} {
		if name == "a void bundle" {
			c.Void = "it was altered"
		}
		r := compute(t, c)
		for _, cell := range r.Cells {
			if cell.State == evidence.StateProven || cell.Proven > 0 {
				t.Errorf("%s: %s is %s", name, cell.Name, cell.State)
			}
		}
		if r.X805.States[evidence.StateProven] > 0 || r.Outcome() == report.Whole {
			t.Errorf("%s: %v, outcome %d", name, r.X805.States, r.Outcome())
		}
		for _, w := range append(r.Associations, r.Layers...) {
			if w.State == evidence.StateProven {
				t.Errorf("%s: %s is proven", name, w.Name)
			}
		}
		for _, e := range r.Register.Entries {
			if e.After.Ratings[0].Likelihood != 3 {
				t.Errorf("%s: %s has the likelihood %d", name, e.Name(), e.After.Ratings[0].Likelihood)
			}
		}
	}
}

// TestStale: a record that is stale is shown, and never counted.
func TestStale(t *testing.T) {
	c := ideal()
	c.Stale = map[string]string{c.Records[0].Key(): "the program is another"}
	r := compute(t, c)
	if len(r.Conclusion.Stale) != 1 || !strings.Contains(r.Conclusion.Stale[0], "another") || r.Outcome() == report.Whole {
		t.Errorf("%+v", r.Conclusion)
	}
	if n := r.X805.States[evidence.StateStale]; n == 0 {
		t.Error("no slot is stale")
	}
}

// TestOutcome: what failed outweighs what could not be run, and that outweighs what is not there.
func TestOutcome(t *testing.T) {
	c := ideal()
	if got := compute(t, c).Outcome(); got != report.Whole {
		t.Errorf("as it stands: %d", got)
	}
	c.Records[0].Verdict = evidence.NotRunHere
	if got := compute(t, c).Outcome(); got != report.Elsewhere {
		t.Errorf("not run here: %d", got)
	}
	c.Records[len(c.Records)-3].Verdict = evidence.Inconclusive
	c.Records[2].Verdict, c.Records[2].Accident = evidence.Blocked, true
	for _, r := range c.Records[3:] {
		if len(r.ControlsOff) == 0 {
			r.Accident = true
			break
		}
	}
	if got := compute(t, c).Outcome(); got != report.Failed {
		t.Errorf("blocked by accident: %d", got)
	}
}

// TestNature: what has no switch is named, and keeps no cell from being proven.
func TestNature(t *testing.T) {
	r := compute(t, ideal())
	if len(r.Conclusion.Excused) == 0 {
		t.Fatal("no row without a switch: the test looks at nothing")
	}
	for _, cell := range r.Cells {
		if cell.Door == "C-I" && cell.Service == "confidentiality" && (cell.State != evidence.StateProven || len(cell.Excused) == 0) {
			t.Errorf("%s is %s (%v), excused %v", cell.Name, cell.State, cell.Why, cell.Excused)
		}
	}
}

// TestWeakened: evidence of the default says nothing of a weaker configuration.
func TestWeakened(t *testing.T) {
	c := ideal()
	c.Subject.Weakenings = []evidence.Weakening{{Name: "soft", Meaning: "softer", Controls: []string{"ci.confidentiality.algorithms"}}}
	r := compute(t, c)
	if got := states(r.Cells)["C-I confidentiality"]; got != evidence.StateClaimed {
		t.Errorf("C-I confidentiality is %s", got)
	}
	if got, was := states(r.Cells)["C-I availability"], states(compute(t, ideal()).Cells)["C-I availability"]; got != was {
		t.Errorf("C-I availability is %s, was %s", got, was)
	}
}

// TestWeaker: each named setting has its own list of what is lost under it.
func TestWeaker(t *testing.T) {
	c := ideal()
	c.Weaker = runner.Weaker()
	r := compute(t, c)
	if len(r.Weaker) != len(runner.Weaker()) || len(r.Weaker) == 0 {
		t.Fatalf("%d settings", len(r.Weaker))
	}
	for _, w := range r.Weaker {
		if len(w.Cells)+len(w.Risks) == 0 && w.Name != "mw-clear" && w.Name != "cx-cleartext-keys" {
			t.Errorf("%s costs nothing", w.Name)
		}
		if w.Name == "ipsec-handset" && (fmt.Sprint(w.Cells) != "[C-I confidentiality]" || len(w.Risks) != 2) {
			t.Errorf("%+v", w)
		}
		for _, rise := range w.Risks {
			if rise.To.Value <= rise.From.Value {
				t.Errorf("%s: %+v", w.Name, rise)
			}
		}
	}
}

// TestSlots: nine modules, eight dimensions, 180 slots; and an attack fills none but those of its own module.
func TestSlots(t *testing.T) {
	c := ideal()
	r := compute(t, c)
	total := 0
	for _, n := range r.X805.States {
		total += n
	}
	if len(r.X805.Modules) != 9 || r.X805.Slots != 180 || total != 180 {
		t.Errorf("%d modules, %d slots, %d with a state", len(r.X805.Modules), r.X805.Slots, total)
	}
	module := map[string]string{}
	for _, a := range c.Attacks {
		module[a.ID] = a.Module
	}
	for _, m := range r.X805.Modules {
		for _, cell := range m.Cells {
			for _, s := range cell.Slots {
				if (s.State == evidence.StateProven) != (len(s.Attacks) > 0 && s.Why == "") {
					t.Errorf("%s, %s, %s, %s: %s by %v (%s)", m.Layer, m.Plane, cell.Dimension, s.Threat, s.State, s.Attacks, s.Why)
				}
				for _, a := range s.Attacks {
					if module[a] != m.Layer+", "+m.Plane {
						t.Errorf("%s fills a slot of %s, %s", a, m.Layer, m.Plane)
					}
				}
			}
		}
	}
}

// TestSlots_judged: of each slot that no attack is aimed at a person has said what that means, of no other, and what is claimed has controls of the
// slot's own dimension.
func TestSlots_judged(t *testing.T) {
	r, set := compute(t, ideal()), load(t)
	for _, m := range r.X805.Modules {
		for _, cell := range m.Cells {
			for _, s := range cell.Slots {
				at := strings.Join([]string{m.Layer + ", " + m.Plane, cell.Dimension, s.Threat}, ", ")
				j := set.X805.Judge(m.Layer+", "+m.Plane, cell.Dimension, s.Threat)
				switch {
				case len(s.Attacks) > 0 && j != nil:
					t.Errorf("%s: %v fill it, so what is said of it (%q) is of no more use", at, s.Attacks, j.Why)
				case len(s.Attacks) == 0 && j == nil:
					t.Errorf("%s: nobody has judged it", at)
				case j != nil && (string(s.State) != j.Answer || s.Why != j.Why || s.State == evidence.StateProven):
					t.Errorf("%s is %s (%s), judged %s", at, s.State, s.Why, j.Answer)
				}
			}
		}
	}
	c := ideal()
	for i := range c.Policy { // what is claimed of a part that is not built is a gap
		if c.Policy[i].ID == "core.integrity.decision-log" {
			c.Policy[i].Level = "absent"
		}
	}
	for _, m := range compute(t, c).X805.Modules {
		for _, cell := range m.Cells {
			if cell.Dimension == "non-repudiation" && cell.State != evidence.StateGap {
				t.Errorf("without the log of decisions %s, %s is %s", m.Layer, m.Plane, cell.State)
			}
		}
	}
}

// TestThreats: every attack fills a slot: a dimension of one of its controls counters one of its threats.
func TestThreats(t *testing.T) {
	filled := map[string]bool{}
	for _, m := range compute(t, ideal()).X805.Modules {
		for _, cell := range m.Cells {
			for _, s := range cell.Slots {
				for _, a := range s.Attacks {
					filled[a] = true
				}
			}
		}
	}
	for _, a := range runner.Catalogue() {
		if !filled[a.ID] {
			t.Errorf("%s fills no slot of X.805: its threats are %v, and no control of it is of a dimension that counters one", a.ID, a.Threats)
		}
	}
}

// TestMarked: a report that was computed with a table nobody has checked says so in each of its forms.
func TestMarked(t *testing.T) {
	r := compute(t, ideal())
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if len(r.Unverified()) == 0 || len(r.Register.Marks) == 0 || r.X805.Mark == "" {
		t.Fatal("nothing is marked")
	}
	for _, table := range r.Unverified() {
		if !strings.Contains(string(page), table.Mark) {
			t.Errorf("the page does not say that %s is %s", table.File, table.Mark)
		}
	}
	if !strings.Contains(text.String(), "tables unverified") || !strings.Contains(text.String(), r.X805.Mark) {
		t.Errorf("the text does not say so:\n%s", text.String())
	}
}

// TestBundle: the same case gives the same octets, whoever computes it, and what is changed is named.
func TestBundle(t *testing.T) {
	c, s := ideal(), load(t)
	b := evidence.Bundle{}
	if err := b.PutCase(c); err != nil {
		t.Fatal(err)
	}
	read, err := b.Case()
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Make(read, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(b); err != nil {
		t.Fatal(err)
	}
	again, err := b.Case()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(again.Records) // their order means nothing
	second, err := report.Make(read, s)
	if err != nil {
		t.Fatal(err)
	}
	if differ, err := second.Compare(b); err != nil || differ != nil {
		t.Errorf("computed again: %v, %v", differ, err)
	}
	changed := maps.Clone(b)
	changed[report.HTMLName] = append(slices.Clone(b[report.HTMLName]), ' ')
	if differ, err := second.Compare(changed); err != nil || fmt.Sprint(differ) != "["+report.HTMLName+"]" {
		t.Errorf("the page was changed: %v, %v", differ, err)
	}
}

// TestChanges: what is another is said, and nothing else.
func TestChanges(t *testing.T) {
	before := compute(t, ideal())
	if said := report.Changes(before, compute(t, ideal())); said != nil {
		t.Errorf("nothing changed, and it says %v", said)
	}
	c := ideal()
	for _, r := range c.Records {
		if r.Attack == c.Attacks[0].ID && len(r.ControlsOff) == 0 {
			r.Verdict, r.Oracles[0].Reached = evidence.Succeeded, true
		}
	}
	c.Subject.Modes = append(c.Subject.Modes, "strict") // of which there are no records
	now := compute(t, c)
	now.Tables[0].SHA256 = strings.Repeat("0", 64)
	said := strings.Join(report.Changes(before, now), "\n")
	for _, want := range []string{"cell C-I authentication: gap, was proven", "slot services, control, access control, removal: gap, was proven",
		"table " + now.Tables[0].File + ": 000000000000, was ", "run in modes [direct strict] with seeds [1], were [direct] with seeds [1]", "control " + c.Attacks[0].Variants[0].Controls[0] + ": gap, was proven",
		"risk " + c.Attacks[0].ID} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said:\n%s", want, said)
		}
	}
}

// TestChanges_accepted: who accepts a risk from when until when is said, and when that has ended, on whatever day it is asked.
func TestChanges_accepted(t *testing.T) {
	s := load(t)
	on := func(day string, accepted ...tables.Acceptance) *report.Report {
		s.Judgement.Accepted = accepted
		r, err := report.MakeOn(day, ideal(), s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	mine := tables.Acceptance{Attack: "ci.identity.asserted", Owner: "Ada", From: "2026-11-25", Until: "2026-12-31", Why: "a test"}
	without, with, after := on("2026-11-26"), on("2026-11-26", mine), on("2027-01-01", mine)
	for _, c := range []struct {
		before, now *report.Report
		says        string
	}{
		{without, with, "acceptance of ci.identity.asserted is new: accepted by Ada until 2026-12-31"},
		{with, after, "acceptance of ci.identity.asserted: open again: the acceptance by Ada ended with 2026-12-31, was accepted by Ada until 2026-12-31"},
		{with, without, "acceptance of ci.identity.asserted is gone: it was accepted by Ada until 2026-12-31"},
		{without, on("2026-11-01", mine), "acceptance of ci.identity.asserted is new: open: Ada accepts it from 2026-11-25 on"},
	} {
		if said := report.Changes(c.before, c.now); len(said) != 1 || said[0] != c.says {
			t.Errorf("%q, and not %q", said, c.says)
		}
	}
}

// TestPage: one file that asks nobody for anything, and says each state in words.
func TestPage(t *testing.T) {
	page, err := compute(t, ideal()).HTML()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, bad := range []string{"http://", "https://", "<script", "<img", "<link", "url(", "@import", "<iframe", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, cell := range cells.Table(evidence.NewBoard(ideal())) {
		if !strings.Contains(text, "<b>"+string(cell.State)+"</b>") {
			t.Errorf("%s is %s, and the page has no such word", cell.Name, cell.State)
		}
	}
	c := ideal()
	c.Attacks[0].Title = "<script>alert(1)</script>"
	c.Records[0].Oracles[0].Saw = "nobody was deceived"
	if page, err = compute(t, c).HTML(); err != nil || !strings.Contains(string(page), "<dt>with it</dt><dd>nobody was deceived</dd><dt>without</dt><dd>as seen</dd>") {
		t.Errorf("what was seen of an attack is not there: %v", err)
	}
	if page, err = compute(t, c).HTML(); err != nil || strings.Contains(string(page), "<script") {
		t.Errorf("a title becomes a script: %v", err)
	}
}

// TestCosts: what a control costs in operation is measured for each that has a switch, the layers of one attack each for itself; of the others it is said
// why not. Too few runs rate nothing.
func TestCosts(t *testing.T) {
	c := ideal()
	for _, r := range c.Records { // each control makes the user wait for a tenth of a millisecond
		r.Before.P99 = int64(1000 - 100*len(r.ControlsOff))
		r.Before.CPU = r.Before.P99
	}
	measured := 0
	for _, cost := range compute(t, c).Register.Costs {
		p, _ := c.Find(cost.Control)
		_, rated := cost.Values["operation"]
		reason := strings.Join(cost.Missing, "; ")
		switch {
		case !tried(c, cost.Control):
			if cost.Runs > 0 || !strings.Contains(reason, "operation (") {
				t.Errorf("%s has no switch and %d runs without it: %s", cost.Control, cost.Runs, reason)
			}
			continue
		case cost.Runs == 0 || cost.OnMicros-cost.OffMicros != 100 || cost.CPUOn-cost.CPUOff != 100:
			t.Errorf("%s (%s): %+v", cost.Control, p.Level, cost)
		case rated != cost.Enough, !rated && !strings.Contains(reason, "say something"):
			t.Errorf("%s is rated %v after %d runs: %s", cost.Control, rated, cost.Runs, reason)
		}
		measured++
	}
	if measured < 60 {
		t.Errorf("%d controls are measured", measured)
	}
}
