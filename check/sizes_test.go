package check

import (
	"bytes"
	"fmt"
	"go/ast"
	"strconv"
	"strings"
	"testing"
)

// The sizes, in lines. Tests tell stories and may be longer. Literals of more than literalLines lines are
// data and do not count in a function; generated files do not count at all.
const (
	fileLines, functionLines         = 600, 60
	testFileLines, testFunctionLines = 1000, 100
	literalLines                     = 5
)

// exceptions is check/sizes.txt: what is longer, by how much at most, and why.
const exceptions = "check/sizes.txt"

type size struct {
	name  string // "path" or "path#function"
	lines int
	limit int
}

// sizeProblems compares every file and function with its limit, and every exception with its need.
func sizeProblems(tr *tree) []string {
	var problems []string
	allowed := map[string]int{}
	for i, line := range strings.Split(tr.read(exceptions), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			problems = append(problems, fmt.Sprintf("%s:%d: want name, lines and a reason", exceptions, i+1))
			continue
		}
		n, err := strconv.Atoi(fields[1])
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s:%d: %q is no number of lines", exceptions, i+1, fields[1]))
			continue
		}
		allowed[fields[0]] = n
	}
	needed := map[string]bool{}
	tr.each(func(_ *pkg, f *file) {
		if ast.IsGenerated(f.ast) {
			return
		}
		for _, s := range sizes(tr, f) {
			limit := s.limit
			if n, ok := allowed[s.name]; ok && s.lines > s.limit {
				needed[s.name], limit = true, n
			}
			if s.lines > limit {
				problems = append(problems, fmt.Sprintf("%s has %d lines, at most %d: split it where a reader would pause, or give a reason in %s", s.name, s.lines, limit, exceptions))
			}
		}
	})
	for name := range allowed {
		if !needed[name] {
			problems = append(problems, fmt.Sprintf("%s: %s needs no exception any more: remove the line", exceptions, name))
		}
	}
	return problems
}

func sizes(tr *tree, f *file) []size {
	fileLimit, functionLimit := fileLines, functionLines
	if f.test {
		fileLimit, functionLimit = testFileLines, testFunctionLines
	}
	all := []size{{f.path, bytes.Count(f.src, []byte("\n")), fileLimit}}
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			all = append(all, size{f.path + "#" + functionName(fn), tr.lines(fn) - tr.data(fn.Body), functionLimit})
		}
	}
	return all
}

// functionName is "Method" of "Type" as "Type.Method".
func functionName(fn *ast.FuncDecl) string {
	if r := receiver(fn); r != "" {
		return r + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// lines counts the lines that a node covers, its comment not included.
func (tr *tree) lines(n ast.Node) int {
	begin := n.Pos()
	if fn, ok := n.(*ast.FuncDecl); ok {
		begin = fn.Type.Pos()
	}
	return tr.fset.Position(n.End()).Line - tr.fset.Position(begin).Line + 1
}

// data counts the lines of the long literals in a function, outermost only.
func (tr *tree) data(body *ast.BlockStmt) int {
	n := 0
	ast.Inspect(body, func(node ast.Node) bool {
		switch node.(type) {
		case *ast.CompositeLit, *ast.BasicLit:
			if lines := tr.lines(node); lines > literalLines {
				n += lines
				return false
			}
		}
		return true
	})
	return n
}

func TestSizes(t *testing.T) { report(t, sizeProblems(theHouse(t))) }

func TestSizesRefuses(t *testing.T) {
	long := "package a\n\nfunc f() {\n" + strings.Repeat("\tg()\n", functionLines) + "}\n"
	table := "package a\n\nfunc f() {\n\tg([]int{\n" + strings.Repeat("\t\t1,\n", functionLines) + "\t})\n}\n"
	demonstrate(t, sizeProblems, []show{
		{"long function", "-- a/a.go --\n" + long, []string{"a/a.go#f has 62 lines, at most 60"}},
		{"long table", "-- a/a.go --\n" + table, nil},
		{"long test", "-- a/a_test.go --\n" + long, nil},
		{"excepted", "-- a/a.go --\n" + long + "-- check/sizes.txt --\na/a.go#f 70 one state machine\n", nil},
		{"excepted but longer still", "-- a/a.go --\n" + long + "-- check/sizes.txt --\na/a.go#f 61 one state machine\n", []string{"a/a.go#f has 62 lines, at most 61"}},
		{"no reason", "-- check/sizes.txt --\na/a.go#f 61\n", []string{"check/sizes.txt:1: want name"}},
		{"stale exception", "-- a/a.go --\npackage a\n-- check/sizes.txt --\na/a.go 700 tables\n", []string{"check/sizes.txt: a/a.go needs no exception"}},
		{"long file", "-- a/a.go --\npackage a\n" + strings.Repeat("\n", fileLines), []string{"a/a.go has 601 lines, at most 600"}},
	})
}
