package check

import (
	"fmt"
	"go/ast"
	"go/token"
	"testing"
)

// globalProblems refuses package variables that can change, and init functions. A process holds many
// nodes in a test, a simulation or a demo: what one of them changed, all of them would see.
func globalProblems(tr *tree) []string {
	var problems []string
	for _, p := range tr.packages {
		globals := map[string]*ast.Ident{}
		for _, f := range p.files {
			if !f.test {
				problems = append(problems, declaredGlobals(tr, f, globals)...)
			}
		}
		for _, f := range p.files {
			if !f.test {
				problems = append(problems, changedGlobals(tr, f, globals)...)
			}
		}
	}
	return problems
}

// declaredGlobals collects the package variables of a file and refuses those whose type says that
// they change, and init functions.
func declaredGlobals(tr *tree, f *file, globals map[string]*ast.Ident) []string {
	var problems []string
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				problems = append(problems, tr.at(d)+": init function: assembly is an explicit list in node")
			}
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			for _, s := range d.Specs {
				spec := s.(*ast.ValueSpec)
				for _, id := range spec.Names {
					globals[id.Name] = id
				}
				if what := changingType(f, spec); what != "" {
					problems = append(problems, fmt.Sprintf("%s: package variable %s is a %s: make it a field of what owns it", tr.at(spec), spec.Names[0].Name, what))
				}
			}
		}
	}
	return problems
}

// changingType names the type of package sync or sync/atomic that a variable has.
func changingType(f *file, spec *ast.ValueSpec) string {
	what := ""
	look := func(n ast.Node) bool {
		if _, isFunc := n.(*ast.FuncLit); isFunc {
			return false
		}
		if e, ok := n.(ast.Expr); ok {
			for _, pkg := range []string{"sync", "sync/atomic"} {
				name, ok := f.selects(e, pkg)
				// OnceValue computes a constant late. A pool holds room, no state.
				if ok && !matches("OnceValue OnceValues Pool", name) {
					what = pkg + "." + name
				}
			}
		}
		return true
	}
	if spec.Type != nil {
		ast.Inspect(spec.Type, look)
	}
	for _, v := range spec.Values {
		ast.Inspect(v, look)
	}
	return what
}

// changedGlobals refuses assignments to package variables, also through an index or a field.
func changedGlobals(tr *tree, f *file, globals map[string]*ast.Ident) []string {
	var problems []string
	check := func(e ast.Expr) {
		id := root(e)
		if id == nil {
			return
		}
		decl, ok := globals[id.Name]
		if !ok || decl.Name == "_" {
			return
		}
		// The parser resolves names of the same file; a name of another file of the package stays open.
		if id.Obj != nil && id.Obj.Decl != decl.Obj.Decl {
			return
		}
		problems = append(problems, fmt.Sprintf("%s: package variable %s is changed: make it a field of what owns it", tr.at(e), id.Name))
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					check(e)
				}
			}
		case *ast.IncDecStmt:
			check(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				check(n.Key)
				check(n.Value)
			}
		}
		return true
	})
	return problems
}

// root returns the variable that an assignment to e changes: a for a.b[c].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func TestGlobals(t *testing.T) { report(t, globalProblems(theHouse(t))) }

func TestGlobalsRefuses(t *testing.T) {
	demonstrate(t, globalProblems, []show{
		{"tables and errors", "-- a/a.go --\npackage a\nimport \"errors\"\nvar Err = errors.New(\"a: x\")\nvar table = [2]int{1, 2}\nvar _ I = T{}\n", nil},
		{"assigned", "-- a/a.go --\npackage a\nvar n int\nfunc f() { n = 1 }\n", []string{"a/a.go:3: package variable n is changed"}},
		{"counted in another file", "-- a/a.go --\npackage a\nvar n int\n-- a/b.go --\npackage a\nfunc f() { n++ }\n", []string{"a/b.go:2: package variable n is changed"}},
		{"a map written", "-- a/a.go --\npackage a\nvar m = map[int]int{}\nfunc f() { m[1] = 2 }\n", []string{"a/a.go:3: package variable m is changed"}},
		{"a local variable of that name", "-- a/a.go --\npackage a\nvar n int\nfunc f() { n := 1; n = 2; _ = n }\n", nil},
		{"a parameter of that name", "-- a/a.go --\npackage a\nvar n int\nfunc f(n int) { n = 2 }\n", nil},
		{"a pool", "-- a/a.go --\npackage a\nimport \"sync\"\nvar p sync.Pool\n", nil},
		{"a lock", "-- a/a.go --\npackage a\nimport \"sync\"\nvar p sync.Mutex\n", []string{"a/a.go:3: package variable p is a sync.Mutex"}},
		{"a counter", "-- a/a.go --\npackage a\nimport \"sync/atomic\"\nvar p [4]atomic.Uint64\n", []string{"a/a.go:3: package variable p is a sync/atomic.Uint64"}},
		{"a constant made late", "-- a/a.go --\npackage a\nimport \"sync\"\nvar p = sync.OnceValue(func() int { return 1 })\n", nil},
		{"init", "-- a/a.go --\npackage a\nfunc init() {}\n", []string{"a/a.go:2: init function"}},
	})
}
