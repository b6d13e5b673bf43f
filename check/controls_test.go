package check

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/secure"
)

// speakOfControls are rooms that name controls without being their enforcement point: the words, the
// table, the verbs that switch and explain, and the wing that proves.
const speakOfControls = "secure secure/* policy policy/lab proof/* cmd/* test/* bench/* check"

// enforced is one place in the code where a control is named.
type enforced struct {
	control string // the Go name of the constant
	where   string
	asks    bool // it stands in a call of Refuse or On
}

// controlProblems wants each control that the policy calls built to be named at exactly one place in the
// house, and that place to be gate.Refuse (a check) or gate.On (a mechanism chosen at assembly). With two
// places the event would not tell which one refused, and switching the control off might leave one on.
func controlProblems(tr *tree) []string {
	var problems []string
	constants := controlConstants(tr)
	places := map[string][]string{}
	for _, e := range namedControls(tr, constants) {
		places[e.control] = append(places[e.control], e.where)
		if !e.asks {
			problems = append(problems, fmt.Sprintf("%s: secure.%s is named but nothing is asked: write if bad && gate.Refuse(secure.%s, event)", e.where, e.control, e.control))
		}
	}
	for _, c := range constants {
		switch n := len(places[c]); {
		case n == 0:
			problems = append(problems, fmt.Sprintf("secure.%s has no enforcement point: no gate.Refuse or gate.On names it; mark its row in policy absent until it is built", c))
		case n > 1:
			problems = append(problems, fmt.Sprintf("secure.%s has %d enforcement points, wants one: %s", c, n, strings.Join(places[c], ", ")))
		}
	}
	return problems
}

// controlConstants returns the constants of type ControlID that secure declares, in order, without
// ControlNone and those whose row in the policy is absent.
func controlConstants(tr *tree) []string {
	var names []string
	for _, p := range tr.packages {
		if p.dir != "secure" {
			continue
		}
		for _, f := range p.files {
			for _, decl := range f.ast.Decls {
				if d, ok := decl.(*ast.GenDecl); ok && ofControlID(d) {
					for _, s := range d.Specs {
						for _, id := range s.(*ast.ValueSpec).Names {
							if id.IsExported() && id.Name != "ControlNone" {
								names = append(names, id.Name)
							}
						}
					}
				}
			}
		}
	}
	return slices.DeleteFunc(names, absent)
}

// ofControlID reports whether a constant group begins with a constant of type ControlID.
func ofControlID(d *ast.GenDecl) bool {
	if len(d.Specs) == 0 {
		return false
	}
	spec, ok := d.Specs[0].(*ast.ValueSpec)
	if !ok {
		return false
	}
	id, ok := spec.Type.(*ast.Ident)
	return ok && id.Name == "ControlID"
}

// absent reports whether the policy says of the control with this Go name that its part is not built.
// "CIAuthenticationSAIdentity" and "ci.authentication.sa-identity" are compared by their letters.
func absent(name string) bool {
	for _, c := range secure.Controls() {
		letters := strings.NewReplacer(".", "", "-", "", "mgmt", "management").Replace(c.String())
		if row, ok := policy.Find(c); ok && row.Level == policy.Absent && letters == strings.ToLower(name) {
			return true
		}
	}
	return false
}

// namedControls finds every mention of a control outside tests and the rooms that only speak of them.
func namedControls(tr *tree, constants []string) []enforced {
	var all []enforced
	tr.each(func(p *pkg, f *file) {
		if f.test || matches(speakOfControls, p.dir) {
			return
		}
		asked := map[ast.Node]bool{}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && matches("Refuse On", sel.Sel.Name) {
					asked[call.Args[0]] = true
				}
			}
			if e, ok := n.(ast.Expr); ok {
				if name, ok := f.selects(e, module+"/secure"); ok && slices.Contains(constants, name) {
					all = append(all, enforced{name, tr.at(n), asked[e]})
				}
			}
			return true
		})
	})
	return all
}

func TestControls(t *testing.T) {
	tr := theHouse(t)
	if n := len(controlConstants(tr)); n == 0 {
		t.Fatal("no control found in secure: the check looks in the wrong place")
	}
	report(t, controlProblems(tr))
}

func TestControlsRefuses(t *testing.T) {
	words := "-- secure/a.go --\npackage secure\nconst (\n\tControlNone ControlID = iota\n\tCIOne // one\n)\n"
	in := func(body string) string {
		return words + "-- iface/clientims/a.go --\npackage clientims\nimport \"imsafe/secure\"\nfunc f() {\n" + body + "}\n"
	}
	demonstrate(t, controlProblems, []show{
		{"one check", in("if bad && gate.Refuse(secure.CIOne, secure.Event{}) { return }\n"), nil},
		{"one mechanism", in("tls := gate.On(secure.CIOne)\n"), nil},
		{"none", in(""), []string{"secure.CIOne has no enforcement point"}},
		{"two", in("gate.Refuse(secure.CIOne, e)\ngate.Refuse(secure.CIOne, e)\n"), []string{"secure.CIOne has 2 enforcement points, wants one: iface/clientims/a.go:4, iface/clientims/a.go:5"}},
		{"named only", in("log(secure.CIOne)\n"), []string{"iface/clientims/a.go:4: secure.CIOne is named but nothing is asked"}},
		{"in a test only", words + "-- hop/a_test.go --\npackage hop\nimport \"imsafe/secure\"\nvar _ = gate.Refuse(secure.CIOne, e)\n", []string{"secure.CIOne has no enforcement point"}},
	})
}
