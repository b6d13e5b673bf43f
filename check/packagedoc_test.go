package check

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// roomsWithPage are the rooms that explain themselves in a README.md. Parts of a room (secure/mint,
// refpoint/cx/cxwire) are told of in the room's page.
const roomsWithPage = "proto/* secure policy config trace store ca refpoint/* hop iface/* imsbox/* servicebox/* client/* proof/* node doctor"

// pageSections are the sections of such a page, in this order. "None." is a good section.
var pageSections = []string{"Name", "Procedures", "Ports", "Configuration", "Metrics", "Threats", "Limits"}

// packageCommentProblems wants one package comment in every package.
func packageCommentProblems(tr *tree) []string {
	var problems []string
	for _, p := range tr.packages {
		files := slices.DeleteFunc(slices.Clone(p.files), func(f *file) bool { return f.test })
		if len(files) == 0 {
			files = p.files
		}
		var with []*file
		for _, f := range files {
			if f.ast.Doc != nil {
				with = append(with, f)
			}
		}
		name := files[0].ast.Name.Name
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + p.dir[strings.LastIndexByte(p.dir, '/')+1:] + " "
		}
		switch {
		case len(with) == 0:
			problems = append(problems, fmt.Sprintf("%s has no package comment: say what it is, which standard, what it does not do, who may import it, what is safe for concurrent use", p.dir))
		case len(with) > 1:
			problems = append(problems, fmt.Sprintf("%s has two package comments: join them (%s)", p.dir, tr.at(with[1].ast.Doc)))
		case !strings.HasPrefix(with[0].ast.Doc.Text(), want):
			problems = append(problems, fmt.Sprintf("%s: the package comment begins with %q (%s)", p.dir, want, tr.at(with[0].ast.Doc)))
		}
	}
	return problems
}

// sectionStart finds "## Name" and, for short pages, "**Name.**" at the beginning of a paragraph.
var sectionStart = regexp.MustCompile(`(?m)^(?:#{1,4} +|\*\*)([A-Za-z]+)\.?(?:\*\*| *$)`)

// pageProblems wants a README.md with the seven sections in every room of the list.
func pageProblems(tr *tree) []string {
	var problems []string
	for _, p := range tr.packages {
		if !matches(roomsWithPage, p.dir) {
			continue
		}
		page := p.dir + "/README.md"
		if !tr.has(page) {
			problems = append(problems, fmt.Sprintf("%s has no README.md: write one with the sections %s", p.dir, strings.Join(pageSections, ", ")))
			continue
		}
		var have []string
		for _, m := range sectionStart.FindAllStringSubmatch(tr.read(page), -1) {
			if slices.Contains(pageSections, m[1]) {
				have = append(have, m[1])
			}
		}
		if !slices.Equal(have, pageSections) {
			problems = append(problems, fmt.Sprintf("%s: has the sections %v, wants %v in this order, as headings or as **Name.** before a paragraph", page, have, pageSections))
		}
	}
	return problems
}

// saysItself are methods whose name and signature say all there is to say.
const saysItself = "Error String GoString Format Unwrap LogValue MarshalText"

// exportedProblems wants a doc comment on every exported name outside tests and programs.
func exportedProblems(tr *tree) []string {
	var problems []string
	promised := promises(tr)
	tr.each(func(p *pkg, f *file) {
		if f.test || f.ast.Name.Name == "main" {
			return
		}
		for _, decl := range f.ast.Decls {
			for _, id := range undocumented(decl) {
				if fn, ok := decl.(*ast.FuncDecl); ok && promised[p.dir+"."+functionName(fn)] {
					continue
				}
				problems = append(problems, fmt.Sprintf("%s: %s has no doc comment: units, errors, ownership, concurrency, clause", tr.at(id), id.Name))
			}
		}
	})
	return problems
}

// promises returns the methods, as "room.Type.Method", that an interface of ours describes: those of types
// with a guard var _ cx.Server = (*HSS)(nil). What the contract says need not be said again.
func promises(tr *tree) map[string]bool {
	interfaces := map[string]*ast.InterfaceType{} // by "room.Name"
	tr.each(func(p *pkg, f *file) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if t, ok := n.(*ast.TypeSpec); ok {
				if i, ok := t.Type.(*ast.InterfaceType); ok {
					interfaces[p.dir+"."+t.Name.Name] = i
				}
			}
			return true
		})
	})
	promised := map[string]bool{}
	tr.each(func(p *pkg, f *file) {
		for _, decl := range f.ast.Decls {
			contract, implementer := guard(p, f, decl)
			i := interfaces[contract]
			if i == nil {
				continue
			}
			for _, method := range i.Methods.List {
				for _, id := range method.Names {
					promised[p.dir+"."+implementer+"."+id.Name] = true
				}
			}
		}
	})
	return promised
}

// guard takes var _ refpoint.Contract = (*Type)(nil) or = Type{} apart: "room.Contract" and "Type".
func guard(p *pkg, f *file, decl ast.Decl) (contract, implementer string) {
	d, ok := decl.(*ast.GenDecl)
	if !ok || len(d.Specs) != 1 {
		return "", ""
	}
	spec, ok := d.Specs[0].(*ast.ValueSpec)
	if !ok || spec.Names[0].Name != "_" || len(spec.Values) != 1 {
		return "", ""
	}
	switch t := spec.Type.(type) {
	case *ast.Ident:
		contract = p.dir + "." + t.Name
	case *ast.SelectorExpr:
		if x, ok := t.X.(*ast.Ident); ok {
			contract = strings.TrimPrefix(f.imports[x.Name], module+"/") + "." + t.Sel.Name
		}
	}
	ast.Inspect(spec.Values[0], func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && implementer == "" && id.Name != "new" {
			implementer = id.Name
		}
		return true
	})
	return contract, implementer
}

// undocumented returns the exported names that a declaration leaves without a comment. In a group a
// comment on the group is enough for constants and variables; a type always has its own.
func undocumented(decl ast.Decl) []*ast.Ident {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && !matches(saysItself, d.Name.Name) && receiverExported(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		var ids []*ast.Ident
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || len(d.Specs) > 1) {
					ids = append(ids, s.Name)
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					if id.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
						ids = append(ids, id)
					}
				}
			}
		}
		return ids
	}
	return nil
}

// receiverExported reports whether d is a function, or a method of an exported type.
func receiverExported(d *ast.FuncDecl) bool {
	return d.Recv == nil || ast.IsExported(receiver(d))
}

// receiver returns the name of the receiver's type without star and type parameters, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func TestPackageComments(t *testing.T) { report(t, packageCommentProblems(theHouse(t))) }

func TestRoomPages(t *testing.T) { report(t, pageProblems(theHouse(t))) }

func TestExportedNames(t *testing.T) { report(t, exportedProblems(theHouse(t))) }

func TestPackageCommentsRefuses(t *testing.T) {
	demonstrate(t, packageCommentProblems, []show{
		{"good", "-- hop/a.go --\n// Package hop forwards.\npackage hop\n-- cmd/imsafe/a.go --\n// Command imsafe runs.\npackage main\n", nil},
		{"none", "-- hop/a.go --\npackage hop\n", []string{"hop has no package comment"}},
		{"two", "-- hop/a.go --\n// Package hop forwards.\npackage hop\n-- hop/b.go --\n// Package hop forwards.\npackage hop\n", []string{"hop has two package comments"}},
		{"wrong beginning", "-- hop/a.go --\n// forwards things\npackage hop\n", []string{"hop: the package comment begins"}},
		{"in a test only", "-- hop/a.go --\npackage hop\n-- hop/a_test.go --\n// Package hop forwards.\npackage hop\n", []string{"hop has no package comment"}},
	})
}

func TestRoomPagesRefuses(t *testing.T) {
	good := "# hop\n## Name\n## Procedures\n## Ports\n## Configuration\n## Metrics\n## Threats\n## Limits\n"
	demonstrate(t, pageProblems, []show{
		{"good", "-- hop/a.go --\npackage hop\n-- hop/README.md --\n" + good, nil},
		{"good, short form", "-- hop/a.go --\npackage hop\n-- hop/README.md --\n# hop\n**Name.** Hops.\n**Procedures.** a\n**Ports.** b\n**Configuration.** c\n**Metrics.** d\n**Threats.** e\n**Limits.** f\n", nil},
		{"none", "-- hop/a.go --\npackage hop\n", []string{"hop has no README.md"}},
		{"section missing", "-- hop/a.go --\npackage hop\n-- hop/README.md --\n" + strings.Replace(good, "## Threats\n", "", 1), []string{"hop/README.md: has the sections"}},
		{"part of a room needs none", "-- secure/mint/a.go --\npackage mint\n", nil},
	})
}

func TestExportedNamesRefuses(t *testing.T) {
	demonstrate(t, exportedProblems, []show{
		{"bare", "-- a/a.go --\npackage a\ntype T struct{}\nfunc F() {}\nfunc (T) M() {}\nconst C = 1\n",
			[]string{"a/a.go:2: T", "a/a.go:3: F", "a/a.go:4: M", "a/a.go:5: C"}},
		{"documented", "-- a/a.go --\npackage a\n// T is.\ntype T struct{}\n// All.\nconst (\n\tC = 1\n\tD = 2\n)\nvar (\n\tE = 1 // the first\n)\nfunc (T) String() string { return \"\" }\n", nil},
		{"described by the contract", "-- refpoint/cx/a.go --\npackage cx\n// Server is.\ntype Server interface {\n\t// Ask asks.\n\tAsk()\n}\n-- imsbox/hss/a.go --\npackage hss\nimport \"imsafe/refpoint/cx\"\n// HSS is.\ntype HSS struct{}\nvar _ cx.Server = (*HSS)(nil)\nfunc (*HSS) Ask() {}\nfunc (*HSS) Other() {}\n",
			[]string{"imsbox/hss/a.go:7: Other"}},
		{"not exported", "-- a/a.go --\npackage a\ntype t struct{}\nfunc (t) M() {}\n", nil},
		{"a type in a group has its own", "-- a/a.go --\npackage a\n// Types.\ntype (\n\tT int\n\tU int\n)\n", []string{"a/a.go:4: T", "a/a.go:5: U"}},
	})
}
