package check

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// modulesPage gives each third-party module its reason and its licence.
const modulesPage = "docs/decisions/001-go-and-modules.md"

// copyleft marks licences that only tests may link; everything else in the binary is permissive.
var (
	required = regexp.MustCompile(`(?m)^\s*(?:require )?([\w.-]+\.[\w.-]+/\S+) v\S+$`)
	licence  = regexp.MustCompile(`\b(MIT|BSD-2|BSD-3|Apache-2\.0|ISC|MPL-2\.0)\b`)
	copyleft = regexp.MustCompile(`\b(GPL|AGPL|LGPL|MPL-2\.0)\b`)
)

// moduleProblems wants each module that go.mod requires directly to be known to the floor plan and to have
// a row with reason and licence in the decision page.
func moduleProblems(tr *tree) []string {
	var problems []string
	page := tr.read(modulesPage)
	for _, m := range required.FindAllStringSubmatch(tr.read("go.mod"), -1) {
		name, known := shortName(m[1])
		if !known {
			problems = append(problems, fmt.Sprintf("go.mod requires %s, which the floor plan does not know: add it to check/floorplan_test.go", m[1]))
		}
		row := ""
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "| `"+m[1]+"`") {
				row = line
			}
		}
		switch {
		case row == "":
			problems = append(problems, fmt.Sprintf("go.mod requires %s: give it a row with reason and licence in %s", m[1], modulesPage))
		case !licence.MatchString(row):
			problems = append(problems, fmt.Sprintf("%s: the row of %s names no licence", modulesPage, m[1]))
		case copyleft.MatchString(row) && !matches(forGroundTests, name):
			problems = append(problems, fmt.Sprintf("%s: %s is copyleft: only tests may link it", modulesPage, m[1]))
		}
	}
	return problems
}

func TestModules(t *testing.T) { report(t, moduleProblems(theHouse(t))) }

func TestModulesRefuses(t *testing.T) {
	mod := "-- go.mod --\nmodule imsafe\n\nrequire (\n\tmodernc.org/sqlite v1.0.0\n\tmodernc.org/libc v1.0.0 // indirect\n)\n"
	page := "-- docs/decisions/001-go-and-modules.md --\n"
	demonstrate(t, moduleProblems, []show{
		{"good", mod + page + "| `modernc.org/sqlite` | store | BSD-3 |\n", nil},
		{"no reason", mod + page, []string{"go.mod requires modernc.org/sqlite: give it a row"}},
		{"no licence", mod + page + "| `modernc.org/sqlite` | store | |\n", []string{"docs/decisions/001-go-and-modules.md: the row of modernc.org/sqlite names no licence"}},
		{"copyleft", mod + page + "| `modernc.org/sqlite` | store | MPL-2.0 |\n", []string{"docs/decisions/001-go-and-modules.md: modernc.org/sqlite is copyleft"}},
		{"unknown", "-- go.mod --\nrequire example.org/x v1.0.0\n", []string{"go.mod requires example.org/x, which the floor plan", "go.mod requires example.org/x: give it a row"}},
	})
}
