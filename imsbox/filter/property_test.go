package filter

import (
	"fmt"
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"imsafe/refpoint/cx"
)

func mustCompile(pattern string) *regexp.Regexp { return regexp.MustCompile("(?s:" + pattern + ")") }

// table is a truth table over headers A, B, C, ...: row r is true of the requests that have the headers of its bits.
type table struct {
	headers int
	rows    []bool
}

func (x table) trigger(h int, negated bool, group int) cx.SPT {
	s := in(header(fmt.Sprintf("X-%c", 'A'+h)), group)
	s.Negated = negated
	return s
}

// dnf writes the table as a disjunction of the rows that are true, cnf as a conjunction of the negations of those that are false.
func (x table) normalForm(cnf bool) (spts []cx.SPT) {
	for row, is := range x.rows {
		if is == cnf {
			continue
		}
		for h := range x.headers {
			has := row>>h&1 == 1
			spts = append(spts, x.trigger(h, has == cnf, row))
		}
	}
	return spts
}

// TestNormalForms: the disjunctive and the conjunctive normal form of one truth table agree with it, and with each other
// (TS 29.228 Annex C); and what is explained is what is evaluated.
func TestNormalForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := table{headers: rapid.IntRange(1, 4).Draw(t, "headers")}
		x.rows = rapid.SliceOfN(rapid.Bool(), 1<<x.headers, 1<<x.headers).Draw(t, "rows")
		var forms [2]*Filter
		for i, cnf := range []bool{false, true} {
			spts := x.normalForm(cnf)
			if len(spts) == 0 {
				t.Skip("always or never: there is no such form")
			}
			if len(spts) > MaxTriggers {
				t.Skip("too large")
			}
			spts = rapid.Permutation(spts).Draw(t, "order")
			f, err := Compile(profile(criterion(1, cnf, spts...)), nil)
			if err != nil {
				t.Fatal(err)
			}
			forms[i] = f
		}
		for row, want := range x.rows {
			m := requestOf(t, row, x.headers)
			for i, f := range forms {
				e := f.Evaluate(Request{Message: m})
				if got := e.Next() != nil; got != want {
					t.Fatalf("form %d of %v: row %d is %t", i, x.rows, row, got)
				}
				explained := f.Explain(Request{Message: m})
				if explained[0].Matches != want {
					t.Fatalf("form %d of %v: row %d is explained as %t", i, x.rows, row, !want)
				}
			}
		}
	})
}

// TestSharedTerms: triggers in several groups, negated at random, evaluate as the definition says, written down naively.
func TestSharedTerms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := table{headers: 5}
		cnf := rapid.Bool().Draw(t, "cnf")
		var spts []cx.SPT
		for range rapid.IntRange(1, 8).Draw(t, "triggers") {
			s := x.trigger(rapid.IntRange(0, 4).Draw(t, "header"), rapid.Bool().Draw(t, "negated"), 0)
			s.Groups = rapid.SliceOfN(rapid.IntRange(0, 3), 1, 4).Draw(t, "groups")
			spts = append(spts, s)
		}
		row := rapid.IntRange(0, 31).Draw(t, "row")
		f, err := Compile(profile(criterion(1, cnf, spts...)), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := f.Evaluate(Request{Message: requestOf(t, row, 5)})
		if got, want := e.Next() != nil, naive(cnf, spts, row); got != want {
			t.Fatalf("%t, want %t", got, want)
		}
	})
}

func naive(cnf bool, spts []cx.SPT, row int) bool {
	groups := map[int]bool{}
	for _, s := range spts {
		v := row>>(s.Pattern[2]-'A')&1 == 1 != s.Negated
		for _, g := range s.Groups {
			was, there := groups[g]
			switch {
			case !there:
				groups[g] = v
			case cnf:
				groups[g] = was || v
			default:
				groups[g] = was && v
			}
		}
	}
	all, some := true, false
	for _, v := range groups {
		all, some = all && v, some || v
	}
	return cnf && all || !cnf && some
}
