package check

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proof/attack"
)

// unproven are required controls that no attack of the catalogue names yet, each with the reason. A control that is here and has an
// attack fails the check, so the list only gets shorter.
var unproven = map[string]string{}

// attackProblems wants every row of the catalogue to name controls that are built, and every control that is built and required to be
// named by a row: what no attack tries is not known to work.
func attackProblems(all []attack.Attack, rows []policy.Row, unproven map[string]string) []string {
	var problems []string
	named := map[string]bool{}
	seen := map[string]bool{}
	for _, x := range all {
		for _, key := range []string{x.ID, x.Number} {
			if seen[key] {
				problems = append(problems, key+" names two attacks")
			}
			seen[key] = true
		}
		problems = append(problems, rowProblems(&x)...)
		for _, v := range x.Variants {
			for _, c := range v.Controls {
				named[c.String()] = true
				i := slices.IndexFunc(rows, func(r policy.Row) bool { return r.Control == c })
				if i < 0 || rows[i].Level == policy.Absent {
					problems = append(problems, fmt.Sprintf("%s is stopped by %v, which the policy does not call built", x.ID, c))
				} else if !rows[i].Ablatable && v.NoAblation == "" {
					problems = append(problems, fmt.Sprintf("%s is stopped by %v, which cannot be switched off: give NoAblation the reason", x.ID, c))
				}
			}
		}
	}
	for _, r := range rows {
		name := r.Control.String()
		switch reason, listed := unproven[name]; {
		case named[name] && listed:
			problems = append(problems, fmt.Sprintf("%s has an attack: take it off the list unproven", name))
		case r.Level == policy.Required && !named[name] && reason == "":
			problems = append(problems, fmt.Sprintf("%s is required and no attack tries it: add one, or a reason to unproven", name))
		}
	}
	return problems
}

// rowProblems wants a row to be whole.
func rowProblems(x *attack.Attack) []string {
	var problems []string
	miss := func(what string) { problems = append(problems, fmt.Sprintf("%s says nothing of %s", x.ID, what)) }
	for what, text := range map[string]string{"its number": x.Number, "what is done": x.Title, "why that is bad": x.Text, "its kind": string(x.Stride),
		"its module": string(x.Module), "its source": x.Source} {
		if text == "" {
			miss(what)
		}
	}
	if len(x.Services) == 0 || len(x.Threats) == 0 {
		miss("services or threats")
	}
	if b := x.Bounds; b.Packets <= 0 || b.Bytes <= 0 || b.Conns <= 0 || b.Time <= 0 {
		miss("its bounds")
	}
	if len(x.Variants) == 0 {
		miss("how it is done")
	}
	for _, v := range x.Variants {
		switch {
		case len(v.Controls) == 0:
			miss("what must stop it")
		case v.Run == nil:
			miss("how it is done")
		case len(x.Accesses(&v)) == 0:
			miss("its access")
		case v.Name == "" && len(x.Variants) > 1:
			miss("the names of its variants")
		}
	}
	return problems
}

// attackPlaces wants each id to be written down once, in a file of the catalogue that is named after it. Everybody else asks Find or
// reads it from a record.
func attackPlaces(tr *tree, ids []string) []string {
	var problems []string
	places := map[string][]string{}
	tr.each(func(_ *pkg, f *file) {
		if f.test {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if text, ok := literal(e); ok && slices.Contains(ids, text) {
					places[text] = append(places[text], f.path)
				}
			}
			return true
		})
	})
	for _, id := range ids {
		want := "proof/attack/" + strings.NewReplacer(".", "_", "-", "_").Replace(id) + ".go"
		if p := places[id]; len(p) != 1 || p[0] != want {
			problems = append(problems, fmt.Sprintf("%s is written down in %v, wants %s alone", id, p, want))
		}
	}
	return problems
}

func TestAttacks(t *testing.T) {
	all := attack.All()
	if len(all) == 0 {
		t.Fatal("no attack found: the check looks in the wrong place")
	}
	report(t, attackProblems(all, policy.Rows(), unproven))
	var ids []string
	for _, x := range all {
		ids = append(ids, x.ID)
	}
	report(t, attackPlaces(theHouse(t), ids))
}

func TestAttacksRefuses(t *testing.T) {
	x, known := attack.Find("CI-07")
	if !known {
		t.Fatal("CI-07 is gone")
	}
	control := x.Variants[0].Controls[0]
	row, _ := policy.Find(control)
	name := control.String()
	alone := []policy.Row{row}
	for _, c := range []struct {
		name     string
		attacks  []attack.Attack
		rows     []policy.Row
		unproven map[string]string
		want     string // part of the one problem, "" for none
	}{
		{"as it should be", []attack.Attack{x}, alone, nil, ""},
		{"no attack", nil, alone, nil, name + " is required and no attack tries it"},
		{"a reason", nil, alone, map[string]string{name: "later"}, ""},
		{"a reason that is not needed", []attack.Attack{x}, alone, map[string]string{name: "later"}, "take it off the list"},
		{"no row", []attack.Attack{x}, nil, nil, "which the policy does not call built"},
		{"no control", []attack.Attack{with(x, func(x *attack.Attack) { x.Variants = []attack.Variant{{Run: x.Variants[0].Run}} })}, nil, nil, "what must stop it"},
		{"no bounds", []attack.Attack{with(x, func(x *attack.Attack) { x.Bounds.Conns = 0 })}, alone, nil, "its bounds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(attackProblems(c.attacks, c.rows, c.unproven), "; ")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
	demonstrate(t, func(tr *tree) []string { return attackPlaces(tr, []string{"ci.a.b"}) }, []show{
		{"once", "-- proof/attack/ci_a_b.go --\npackage attack\nvar x = \"ci.a.b\"\n", nil},
		{"twice", "-- proof/attack/ci_a_b.go --\npackage attack\nvar x = \"ci.a.b\"\n-- cmd/imsafe/a.go --\npackage main\nvar x = \"ci.a.b\"\n", []string{"ci.a.b is written down in"}},
		{"in another file", "-- proof/attack/a.go --\npackage attack\nvar x = \"ci.a.b\"\n", []string{"ci.a.b is written down in"}},
	})
}

func with(x attack.Attack, change func(*attack.Attack)) attack.Attack {
	change(&x)
	return x
}
