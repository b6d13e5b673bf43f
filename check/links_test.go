package check

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)
	fence        = regexp.MustCompile("(?ms)^```.*?^```")
	goName       = regexp.MustCompile("^`([\\w().*]+)`$")
)

// linkProblems wants every relative link of every Markdown page to lead somewhere: to a file, to a heading
// of a page, and, when the link's text is a name in code font and its target is Go, to that declaration.
// So docs/way.md cannot go on naming a function that was renamed.
func linkProblems(tr *tree) []string {
	var problems []string
	for _, page := range tr.paths {
		if path.Ext(page) != ".md" || strings.Contains("/"+page, "/testdata/") {
			continue
		}
		text := fence.ReplaceAllStringFunc(tr.read(page), func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
		for i, line := range strings.Split(text, "\n") {
			for _, m := range markdownLink.FindAllStringSubmatch(line, -1) {
				if why := tr.deadLink(page, m[1], m[2]); why != "" {
					problems = append(problems, fmt.Sprintf("%s:%d: the link [%s](%s) leads nowhere: %s", page, i+1, m[1], m[2], why))
				}
			}
		}
	}
	return problems
}

// deadLink returns why a link is dead, or nothing.
func (tr *tree) deadLink(page, text, link string) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return ""
	}
	target, fragment, _ := strings.Cut(link, "#")
	target = path.Join(path.Dir(page), target)
	if strings.HasPrefix(link, "#") {
		target = page
	}
	if !tr.has(target) {
		return "no file " + target
	}
	if fragment != "" {
		if path.Ext(target) != ".md" {
			return "line numbers move; link the file and name the function in code font"
		}
		if !slices.Contains(anchors(tr.read(target)), fragment) {
			return "no heading #" + fragment
		}
	}
	if m := goName.FindStringSubmatch(text); m != nil && path.Ext(target) == ".go" && path.Ext(m[1]) != ".go" {
		name := strings.NewReplacer("(", "", ")", "", "*", "").Replace(m[1])
		if !tr.declares(target, name) {
			return fmt.Sprintf("%s declares no %s", target, name)
		}
	}
	return ""
}

// anchors returns the anchors of a page's headings as GitHub makes them.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		a := strings.ToLower(m[1])
		a = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(a, "")
		all = append(all, strings.ReplaceAll(a, " ", "-"))
	}
	return all
}

// declares reports whether a Go file declares name: a function, Type.Method, a method alone, or a type,
// constant or variable. A leading package name is allowed.
func (tr *tree) declares(target, name string) bool {
	found := false
	tr.each(func(_ *pkg, f *file) {
		if f.path != target || found {
			return
		}
		name = strings.TrimPrefix(name, f.ast.Name.Name+".")
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				found = found || name == functionName(d) || name == d.Name.Name
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						found = found || name == s.Name.Name
					case *ast.ValueSpec:
						found = found || slices.ContainsFunc(s.Names, func(id *ast.Ident) bool { return id.Name == name })
					}
				}
			}
		}
	})
	return found
}

func TestLinks(t *testing.T) { report(t, linkProblems(theHouse(t))) }

func TestLinksRefuses(t *testing.T) {
	code := "-- imsbox/scscf/way.go --\npackage scscf\ntype Registrar struct{}\nfunc (r *Registrar) Register() {}\nfunc help() {}\n"
	demonstrate(t, linkProblems, []show{
		{"good", code + "-- docs/way.md --\n# The way\n[`Registrar.Register`](../imsbox/scscf/way.go) [`(*Registrar).Register`](../imsbox/scscf/way.go) [`scscf.help`](../imsbox/scscf/way.go) [top](#the-way) [the code](../imsbox/scscf/way.go) [far](https://www.example.org/)\n", nil},
		{"renamed function", code + "-- docs/way.md --\n[`Registrar.Enroll`](../imsbox/scscf/way.go)\n", []string{"docs/way.md:1: the link [`Registrar.Enroll`](../imsbox/scscf/way.go) leads nowhere: imsbox/scscf/way.go declares no Registrar.Enroll"}},
		{"missing file", "-- docs/a.md --\n\n[x](b.md)\n", []string{"docs/a.md:2: the link [x](b.md) leads nowhere: no file docs/b.md"}},
		{"missing heading", "-- docs/a.md --\n# One\n[x](#two)\n", []string{"docs/a.md:2: the link [x](#two) leads nowhere: no heading #two"}},
		{"line number", code + "-- docs/a.md --\n[x](../imsbox/scscf/way.go#L3)\n", []string{"docs/a.md:1: the link [x](../imsbox/scscf/way.go#L3) leads nowhere: line numbers move"}},
		{"in an example", "-- docs/a.md --\n```\n[x](b.md)\n```\n", nil},
	})
}
