package check

import (
	"bytes"
	"fmt"
	"go/format"
	"strings"
	"testing"
)

// formatProblems wants every Go file as gofmt writes it.
func formatProblems(tr *tree) []string {
	var problems []string
	tr.each(func(_ *pkg, f *file) {
		if want, err := format.Source(f.src); err != nil || !bytes.Equal(want, f.src) {
			problems = append(problems, f.path+" is not formatted: run gofmt -w "+f.path)
		}
	})
	return problems
}

// mergeProblems wants no file to keep the marks of a merge. They are pieced together, so that this file has none.
func mergeProblems(tr *tree) []string {
	var problems []string
	for _, p := range tr.paths {
		for i, line := range strings.Split(tr.read(p), "\n") {
			for _, mark := range []string{"<<<" + "<<<< ", ">>>" + ">>>> "} {
				if strings.HasPrefix(line, mark) {
					problems = append(problems, fmt.Sprintf("%s:%d: a mark of a merge: decide which side it is", p, i+1))
				}
			}
		}
	}
	return problems
}

func TestMerged(t *testing.T) { report(t, mergeProblems(theHouse(t))) }

func TestMergedRefuses(t *testing.T) {
	demonstrate(t, mergeProblems, []show{
		{"good", "-- a.md --\na <<<" + "<<<< b\n", nil},
		{"bad", "-- a.md --\nx\n<<<" + "<<<< HEAD\ny\n>>>" + ">>>> z\n", []string{"a.md:2: a mark of a merge", "a.md:4: a mark of a merge"}},
	})
}

func TestFormat(t *testing.T) { report(t, formatProblems(theHouse(t))) }

func TestFormatRefuses(t *testing.T) {
	demonstrate(t, formatProblems, []show{
		{"good", "-- a/a.go --\npackage a\n\nfunc f() {}\n", nil},
		{"bad", "-- a/a.go --\npackage a\nfunc f()  {}\n", []string{"a/a.go is not formatted"}},
	})
}
