package check

import (
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// specsIndex lists the standards the house cites, with the version read: number, version, state, title.
// clauseMap is generated from the citations: which clause is where in the code.
const (
	specsIndex = "docs/specs.tsv"
	clauseMap  = "docs/clauses.md"
)

// A citation is the number of a standard and perhaps clauses: "RFC 3261 17.1.1.2 and 17.1.3",
// "TS 24.229 5.4.3.2", "TS 33.203 Annex J". A second number may follow: "RFC 7339, 7415".
const clausePattern = `(?:Annex [A-Z](?:\.\d+)*|[A-Z]\.\d+(?:\.\d+)*|\d{1,2}(?:\.\d+)*[A-Za-z]?)`

var (
	citation   = regexp.MustCompile(`\b(RFC (\d{3,5})|(TS|TR) (\d\d\.\d{3}))((?:(?:,? (?:and |or |to )?|-|/)` + clausePattern + `\b)*)((?:(?:, | and |/)\d{4}\b)*)`)
	clause     = regexp.MustCompile(clausePattern + `\b`)
	furtherRFC = regexp.MustCompile(`\d{4}`)
	badForm    = regexp.MustCompile(`\b(?:RFC-?\d{3,5}|TS-?\d\d\.\d{3}|(?:RFC \d+|TS \d\d\.\d{3}),? (?:[Ss]ection|[Cc]lause|§) ?\d)`)
)

// cited is one citation in the code.
type cited struct {
	spec, clause string // clause may be empty
	path, name   string // file and enclosing declaration, "" at file level
	test         bool
}

// spec is one row of the index.
type spec struct{ number, version, state, title string }

// readIndex returns the rows of docs/specs.tsv and what is wrong with them.
func readIndex(tr *tree) (map[string]spec, []string) {
	index, problems := map[string]spec{}, []string(nil)
	for i, line := range strings.Split(tr.read(specsIndex), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		where := fmt.Sprintf("%s:%d", specsIndex, i+1)
		switch {
		case len(fields) != 4 || slices.Contains(fields, ""):
			problems = append(problems, where+": want number, version, state and title between tabs")
			continue
		case !slices.Contains([]string{"yes", "partial", "no"}, fields[2]):
			problems = append(problems, fmt.Sprintf("%s: state %q is not yes, partial or no", where, fields[2]))
		case index[fields[0]] != spec{}:
			problems = append(problems, fmt.Sprintf("%s: %s stands twice", where, fields[0]))
		}
		index[fields[0]] = spec{fields[0], fields[1], fields[2], fields[3]}
	}
	return index, problems
}

// citationProblems wants every cited standard in the index, and every citation in the one form.
func citationProblems(tr *tree) []string {
	index, problems := readIndex(tr)
	missing := map[string]bool{}
	for _, c := range citations(tr) {
		if _, ok := index[c.spec]; !ok && !missing[c.spec] {
			missing[c.spec] = true
			problems = append(problems, fmt.Sprintf("%s cites %s, which is not in %s: add number, version, state and title", c.path, c.spec, specsIndex))
		}
	}
	tr.each(func(_ *pkg, f *file) {
		for _, group := range f.ast.Comments {
			if bad := badForm.FindString(group.Text()); bad != "" {
				problems = append(problems, fmt.Sprintf("%s: %q: cite as \"RFC 3261 17.1.1.2\" or \"TS 24.229 5.4.3.2\"", tr.at(group), bad))
			}
		}
	})
	return problems
}

// citations finds what comments cite, and string literals that are citations (the policy table has them).
func citations(tr *tree) []cited {
	var all []cited
	tr.each(func(p *pkg, f *file) {
		if p.dir == "check" { // its examples are no citations
			return
		}
		add := func(text string, pos token.Pos) {
			for _, c := range parseCitations(text) {
				c.path, c.name, c.test = f.path, enclosing(f, pos), f.test
				all = append(all, c)
			}
		}
		for _, group := range f.ast.Comments {
			add(group.Text(), group.Pos())
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && citation.FindString(s) == s && s != "" {
					add(s, lit.Pos())
				}
			}
			return true
		})
	})
	return all
}

func parseCitations(text string) []cited {
	var all []cited
	text = strings.Join(strings.Fields(text), " ")
	for _, m := range citation.FindAllStringSubmatch(text, -1) {
		name, clauses := m[1], clause.FindAllString(m[5], -1)
		if len(clauses) == 0 {
			clauses = []string{""}
		}
		for _, c := range clauses {
			all = append(all, cited{spec: name, clause: c})
		}
		for _, number := range furtherRFC.FindAllString(m[6], -1) {
			if m[2] != "" {
				all = append(all, cited{spec: "RFC " + number})
			}
		}
	}
	return all
}

// enclosing names the top-level declaration that holds pos, its comment included.
func enclosing(f *file, pos token.Pos) string {
	for _, decl := range f.ast.Decls {
		begin := decl.Pos()
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
			if begin <= pos && pos <= d.End() {
				return functionName(d)
			}
		case *ast.GenDecl:
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
			if begin <= pos && pos <= d.End() {
				return declared(d, pos)
			}
		}
	}
	return ""
}

// declared names what stands at pos in a group, or the first name of the group.
func declared(d *ast.GenDecl, pos token.Pos) string {
	name := ""
	for _, s := range d.Specs {
		var here string
		switch s := s.(type) {
		case *ast.TypeSpec:
			here = s.Name.Name
		case *ast.ValueSpec:
			here = s.Names[0].Name
		}
		if name == "" || s.Pos() <= pos {
			name = here
		}
	}
	return name
}

// clausePage writes docs/clauses.md: for each standard its clauses, for each clause code and tests.
func clausePage(tr *tree) string {
	index, _ := readIndex(tr)
	places := map[string]map[string][]cited{}
	for _, c := range citations(tr) {
		if places[c.spec] == nil {
			places[c.spec] = map[string][]cited{}
		}
		places[c.spec][c.clause] = append(places[c.spec][c.clause], c)
	}
	var b strings.Builder
	b.WriteString("# Clauses\n\nWhich clause of which standard is where in the code. Generated from the citations in the comments; `make generate` rewrites this page and `check` refuses a stale one.\n")
	for _, number := range sortedKeys(places) {
		s := index[number]
		fmt.Fprintf(&b, "\n## %s\n\n%s. Version read: %s. Implemented: %s.\n\n| clause | code | tests |\n| --- | --- | --- |\n", number, s.title, s.version, s.state)
		for _, c := range sortedKeys(places[number]) {
			label := c
			if c == "" {
				label = "as a whole"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", label, placesOf(places[number][c], false), placesOf(places[number][c], true))
		}
	}
	return b.String()
}

// placesOf lists the declarations by file, each once.
func placesOf(all []cited, test bool) string {
	byFile := map[string][]string{}
	for _, c := range all {
		if c.test != test {
			continue
		}
		names := byFile[c.path]
		if c.name != "" && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
		byFile[c.path] = names
	}
	var cells []string
	for _, p := range sortedKeys(byFile) {
		cell := fmt.Sprintf("[%s](../%s)", path.Join(path.Base(path.Dir(p)), path.Base(p)), p)
		for _, name := range byFile[p] {
			cell += " `" + name + "`"
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, ", ")
}

// sortedKeys sorts numbers inside the keys by value: 5.4.2 before 5.4.10.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(padNumbers(a), padNumbers(b)) })
	return keys
}

var number = regexp.MustCompile(`\d+`)

func padNumbers(s string) string {
	return number.ReplaceAllStringFunc(s, func(n string) string { return fmt.Sprintf("%06s", n) })
}

func TestCitations(t *testing.T) { report(t, citationProblems(theHouse(t))) }

// TestClauses compares docs/clauses.md with the code; with -update it writes the page.
func TestClauses(t *testing.T) {
	tr := theHouse(t)
	want := clausePage(tr)
	if *update {
		if err := os.WriteFile("../"+clauseMap, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if tr.read(clauseMap) != want {
		t.Errorf("%s is stale: run make generate", clauseMap)
	}
}

func TestCitationsRefuses(t *testing.T) {
	index := "-- docs/specs.tsv --\nRFC 3261\t2002\tpartial\tSIP\n"
	demonstrate(t, citationProblems, []show{
		{"in the index", index + "-- a/a.go --\npackage a\n\n// RFC 3261 17.1.1.2\n", nil},
		{"not in the index", index + "-- a/a.go --\npackage a\n\n// RFC 9999 2\n", []string{"a/a.go cites RFC 9999, which is not in"}},
		{"second number", index + "-- a/a.go --\npackage a\n\n// RFC 3261, 6026\n", []string{"a/a.go cites RFC 6026"}},
		{"in a string", index + "-- a/a.go --\npackage a\n\nvar c = \"TS 33.203 6.1.1\"\n", []string{"a/a.go cites TS 33.203"}},
		{"broken over lines", index + "-- a/a.go --\npackage a\n\n// as RFC\n// 9998 says\n", []string{"a/a.go cites RFC 9998"}},
		{"without a blank", index + "-- a/a.go --\npackage a\n\n// RFC3261\n", []string{"a/a.go:3: \"RFC3261\": cite as"}},
		{"with section", index + "-- a/a.go --\npackage a\n\n// RFC 3261 section 8\n", []string{"a/a.go:3: \"RFC 3261 section 8\": cite as"}},
		{"index with an unknown state", "-- docs/specs.tsv --\nRFC 3261\t2002\tmaybe\tSIP\n", []string{"docs/specs.tsv:1: state \"maybe\""}},
		{"index with a short row", "-- docs/specs.tsv --\nRFC 3261\tSIP\n", []string{"docs/specs.tsv:1: want number"}},
	})
}

func TestParseCitations(t *testing.T) {
	for text, want := range map[string]string{
		"RFC 3261 17.1.1.2":                   "RFC 3261:17.1.1.2",
		"RFC 3261 8.1.1.7, 17.1.3 and 18.2.1": "RFC 3261:8.1.1.7 RFC 3261:17.1.3 RFC 3261:18.2.1",
		"TS 33.203 6.1.1-6.1.3":               "TS 33.203:6.1.1 TS 33.203:6.1.3",
		"TS 33.203 Annex J says":              "TS 33.203:Annex J",
		"TS 24.229 5.2.6.3A":                  "TS 24.229:5.2.6.3A",
		"RFC 3261 and 4475 ask":               "RFC 3261: RFC 4475:",
		"RFC 3261 200 OK":                     "RFC 3261:",
		"(RFC 5393)":                          "RFC 5393:",
		"RFC 6733 TCP":                        "RFC 6733:",
	} {
		var have []string
		for _, c := range parseCitations(text) {
			have = append(have, c.spec+":"+c.clause)
		}
		if got := strings.Join(have, " "); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}
