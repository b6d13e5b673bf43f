package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/secure"
)

const root = "../.."

// TestMutants holds the table: each line is where it is said to be, and each row that must notice is one that names the control or another that acts before it.
func TestMutants(t *testing.T) {
	seen := map[string]bool{}
	for i := range mutants {
		m := &mutants[i]
		name := m.Control.String() + "." + m.Name
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
		if err == nil {
			_, err = m.mutate(text)
		}
		if err != nil {
			t.Error(err)
		}
		if m.Old == m.New {
			t.Errorf("%s changes nothing", name)
		}
		if !slices.ContainsFunc(m.Attacks, func(number string) bool { return isStoppedBy(t, number, m.Control) }) {
			t.Errorf("%s: none of %v is stopped by the control", name, m.Attacks)
		}
	}
}

func isStoppedBy(t *testing.T, number string, c secure.ControlID) bool {
	x, known := attack.Find(number)
	if !known {
		t.Errorf("there is no attack %s", number)
	}
	return slices.ContainsFunc(x.Variants, func(v attack.Variant) bool { return slices.Contains(v.Controls, c) })
}

// unbroken are the required controls without a mutant, each with the reason.
var unbroken = map[secure.ControlID]string{
	secure.CIIntegrityRebuild: "no line does it: a message is written from its index because nothing else is there to be written",
}

// TestMutants_cover wants a mutant for each control: an attack that would not notice a mistake in it proves little.
func TestMutants_cover(t *testing.T) {
	for _, row := range policy.Rows() {
		has := slices.ContainsFunc(mutants, func(m Mutant) bool { return m.Control == row.Control })
		reason, listed := unbroken[row.Control]
		switch {
		case has && listed:
			t.Errorf("%v has a mutant: take it off the list", row.Control)
		case !has && reason == "" && row.Level == policy.Required:
			t.Errorf("%v has no mutant: break a line of it", row.Control)
		}
	}
}

// TestRun breaks a line of each box in one program, and one that does not matter: the first are noticed, and the last is not.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	var b brood
	for _, name := range []string{"ci.authentication.sa-identity.any-preferred", "is.integrity.sh-write.any-user", "core.authentication.origin-host.any-name"} {
		b = append(b, named([]string{name})...)
	}
	if len(b) != 3 {
		t.Fatalf("%d of the three mutants are in the table", len(b))
	}
	b = append(b, &Mutant{Control: secure.CIAuthorizationIMPUOwner, Name: "harmless", File: "imsbox/hss/location.go", Old: "	if other == owner {", New: "	if owner == other {",
		Attacks: []string{"CI-16"}})
	fates := b.run(t.Context(), root)
	for i, m := range b {
		want := Caught
		if m.Name == "harmless" {
			want = Survived
		}
		if fates[i].Fate != want {
			t.Errorf("%s: %s, wants %s: %s", m.Name, fates[i].Fate, want, fates[i].Says)
		}
	}
}

// TestMutate: text that is not there, or there twice, is no mutant.
func TestMutate(t *testing.T) {
	m := &Mutant{Name: "x", File: "f.go", Old: "a == b", New: "a != b"}
	for text, want := range map[string]string{"if a == b {": "if a != b {", "if a < b {": "no longer", "a == b || a == b": "2 times"} {
		got, err := m.mutate([]byte(text))
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// TestJudge: what proves nothing is no notice, and neither is it that all is well.
func TestJudge(t *testing.T) {
	record := func(v evidence.Verdict, expected string, off ...string) *evidence.Record {
		return &evidence.Record{Verdict: v, Expected: expected, ControlsOff: off}
	}
	accident := record(evidence.Blocked, "a")
	accident.Accident = true
	result := func(records ...*evidence.Record) runner.Result {
		return runner.Result{Number: "CI-00", Records: records}
	}
	for _, c := range []struct {
		name string
		r    runner.Result
		want Fate
	}{
		{"through", result(record(evidence.Succeeded, "a"), record(evidence.Succeeded, "", "a")), Caught},
		{"through the second layer", result(record(evidence.Blocked, "a"), record(evidence.Succeeded, "b", "a"), record(evidence.Succeeded, "", "a", "b")), Caught},
		{"harm", result(record(evidence.Degraded, "a"), record(evidence.Succeeded, "", "a")), Caught},
		{"by another", result(accident, record(evidence.Succeeded, "", "a")), Caught},
		{"switch without effect", result(record(evidence.Blocked, "a"), record(evidence.Blocked, "", "a")), Caught},
		{"busy host", result(record(evidence.Inconclusive, "a"), record(evidence.Succeeded, "", "a")), Unclear},
		{"not here", runner.Result{Skipped: true, Records: []*evidence.Record{record(evidence.NotRunHere, "a")}}, Unclear},
		{"well", runner.Result{Proven: true, Records: []*evidence.Record{record(evidence.Blocked, "a"), record(evidence.Succeeded, "", "a")}}, Survived},
	} {
		if got := judge([]runner.Result{c.r}); got.Fate != c.want {
			t.Errorf("%s: %s, wants %s", c.name, got.Fate, c.want)
		}
	}
}

// TestBroods: no row is for two mutants of one program, and none is lost.
func TestBroods(t *testing.T) {
	var chosen []*Mutant
	for i := range mutants {
		chosen = append(chosen, &mutants[i])
	}
	n := 0
	for _, b := range broods(chosen, 4) {
		n += len(b)
		if len(b) > 4 {
			t.Errorf("%d in one program", len(b))
		}
		for i, m := range b {
			if b[:i].meets(m) {
				t.Errorf("%s and another are in one program", m.Name)
			}
		}
	}
	if n != len(mutants) {
		t.Errorf("%d of %d", n, len(mutants))
	}
}
