package check

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// module is the path of our own module; rooms are named without it.
const module = "imsafe"

// tree is the whole source: every file by name, and every Go file parsed whatever its build tags.
type tree struct {
	fsys     fs.FS
	fset     *token.FileSet
	paths    []string // all files, sorted
	packages []*pkg   // by directory
	broken   []string // files that do not parse, as problems
}

// pkg is one directory with Go files. Its dir is the name of the room: "imsbox/scscf".
type pkg struct {
	dir   string
	files []*file
}

// file is one Go file.
type file struct {
	path    string
	src     []byte
	ast     *ast.File
	test    bool // its name ends in _test.go
	imports map[string]string
}

// house parses the real tree once for all tests.
var house = sync.OnceValues(func() (*tree, error) { return load(os.DirFS("..")) })

// theHouse returns the real tree.
func theHouse(t *testing.T) *tree {
	t.Helper()
	tr, err := house()
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.packages) < 3 {
		t.Fatalf("only %d packages found: the checks look in the wrong place", len(tr.packages))
	}
	return tr
}

// sketch makes a tree from a txtar text, to show a check failing.
func sketch(t *testing.T, text string) *tree {
	t.Helper()
	files := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	tr, err := load(files)
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.broken) > 0 {
		t.Fatal(tr.broken)
	}
	return tr
}

// outside tells which directories are no part of the tree: git's, caches, and what is built.
func outside(dir string) bool {
	return dir == ".git" || dir == ".cache" || dir == "bin" || path.Base(dir) == "node_modules"
}

func load(fsys fs.FS) (*tree, error) {
	tr := &tree{fsys: fsys, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && outside(p):
			return fs.SkipDir
		case d.Type().IsRegular() && p != ".git": // a file where the tree is one of several of a repository
			tr.paths = append(tr.paths, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range tr.paths {
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") {
			continue
		}
		if err := tr.add(p); err != nil {
			return nil, err
		}
	}
	return tr, nil
}

// add parses one Go file into its package.
func (tr *tree) add(p string) error {
	src, err := fs.ReadFile(tr.fsys, p)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(tr.fset, p, src, parser.ParseComments)
	if err != nil {
		tr.broken = append(tr.broken, err.Error())
		return nil
	}
	f := &file{path: p, src: src, ast: parsed, test: strings.HasSuffix(p, "_test.go"), imports: map[string]string{}}
	for _, spec := range parsed.Imports {
		target, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		f.imports[name] = target
	}
	dir := path.Dir(p)
	if n := len(tr.packages); n == 0 || tr.packages[n-1].dir != dir {
		i := slices.IndexFunc(tr.packages, func(k *pkg) bool { return k.dir == dir })
		if i < 0 {
			tr.packages = append(tr.packages, &pkg{dir: dir})
		} else { // a directory with subdirectories is met twice
			tr.packages[i].files = append(tr.packages[i].files, f)
			return nil
		}
	}
	last := tr.packages[len(tr.packages)-1]
	last.files = append(last.files, f)
	return nil
}

// read returns a file that is not Go.
func (tr *tree) read(p string) string {
	data, err := fs.ReadFile(tr.fsys, p)
	if err != nil {
		return ""
	}
	return string(data)
}

// has reports whether p is a file or a directory of the tree.
func (tr *tree) has(p string) bool {
	_, err := fs.Stat(tr.fsys, p)
	return err == nil
}

// at gives the place of a node as "file:line".
func (tr *tree) at(n ast.Node) string { return tr.place(n.Pos()) }

func (tr *tree) place(pos token.Pos) string {
	p := tr.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// each calls fn for every Go file.
func (tr *tree) each(fn func(*pkg, *file)) {
	for _, p := range tr.packages {
		for _, f := range p.files {
			fn(p, f)
		}
	}
}

// selects reports whether e is a reference to a name of the imported package, and to which:
// for os.Exit, f.selects(e, "os") returns "Exit", true. A local variable called os does not count.
func (f *file) selects(e ast.Node, pkgPath string) (string, bool) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Obj != nil || f.imports[id.Name] != pkgPath {
		return "", false
	}
	return sel.Sel.Name, true
}

// matches reports whether a room is one of those that the blank-separated patterns name. A star
// stands for one step of the path; a pattern that is a star alone names every room.
func matches(patterns, room string) bool {
	return slices.ContainsFunc(strings.Fields(patterns), func(pattern string) bool {
		ok, _ := path.Match(pattern, room)
		return ok || pattern == "*"
	})
}

// report fails the test with one line per problem.
func report(t *testing.T, problems []string) {
	t.Helper()
	slices.Sort(problems)
	for _, p := range slices.Compact(problems) {
		t.Error(p)
	}
}

// show is a case that shows a check failing, or accepting what looks like a problem.
type show struct {
	name string
	tree string   // as txtar
	want []string // the start of each problem, sorted
}

// demonstrate runs a check on sketches.
func demonstrate(t *testing.T, check func(*tree) []string, shows []show) {
	t.Helper()
	for _, s := range shows {
		t.Run(s.name, func(t *testing.T) {
			problems := check(sketch(t, s.tree))
			slices.Sort(problems)
			if len(problems) != len(s.want) {
				t.Fatalf("%d problems, want %d:\n%s", len(problems), len(s.want), strings.Join(problems, "\n"))
			}
			for i := range problems {
				if !strings.HasPrefix(problems[i], s.want[i]) {
					t.Errorf("problem %q\n   does not begin %q", problems[i], s.want[i])
				}
			}
		})
	}
}

// TestParses refuses files that are not Go.
func TestParses(t *testing.T) { report(t, theHouse(t).broken) }

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		patterns, room string
		want           bool
	}{
		{"imsbox/*", "imsbox/scscf", true},
		{"imsbox/*", "imsbox/scscf/part", false},
		{"refpoint/*/*wire", "refpoint/cx/cxwire", true},
		{"refpoint/*", "refpoint/cx/cxwire", false},
		{"store secure", "secure", true},
		{"store secure", "secure/mint", false},
		{"*", "any/thing/at/all", true},
		{"", "store", false},
	} {
		if got := matches(c.patterns, c.room); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.patterns, c.room, got)
		}
	}
}
