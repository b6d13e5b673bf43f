package check

import (
	"bytes"
	"go/format"
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

func TestFormat(t *testing.T) { report(t, formatProblems(theHouse(t))) }

func TestFormatRefuses(t *testing.T) {
	demonstrate(t, formatProblems, []show{
		{"good", "-- a/a.go --\npackage a\n\nfunc f() {}\n", nil},
		{"bad", "-- a/a.go --\npackage a\nfunc f()  {}\n", []string{"a/a.go is not formatted"}},
	})
}
