package clientims

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"imsafe/proto/esp"
	"imsafe/proto/overload"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// refusalsPage is where an operator finds what a refusal means.
const refusalsPage = "../../docs/refusals.md"

// TestRefusals_page: every reason that the door gives, every control that it asks and every counter of its budgets stands on the page, and the page
// tells of no other.
func TestRefusals_page(t *testing.T) {
	text, err := os.ReadFile(refusalsPage)
	if err != nil {
		t.Fatal(err)
	}
	code := readDoor(t)
	code.reasons["auth"], code.reasons["replay"], code.reasons["selector"] = true, true, true // of esp.Drop, by Door.Refuse
	for _, d := range []esp.Drop{esp.DropAuth, esp.DropReplay, esp.DropSelector} {
		if !code.reasons[d.String()] {
			t.Errorf("a packet is refused for %q now", d)
		}
	}
	for k := overload.Again; k <= overload.Greedy; k++ {
		code.reasons[k.String()] = true
	}
	for _, why := range []error{siptransport.ErrHandshake, siptransport.ErrFirstMessage, siptransport.ErrUnfinished, siptransport.ErrIdle, siptransport.ErrLimit} {
		code.reasons[siptransport.ShedReason(why)] = true
	}

	told, controls := map[string]bool{}, map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(ci\\.[a-z.-]+)` \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		controls[row[1]], told[row[2]] = true, true
		if !slices.ContainsFunc(secure.Controls(), func(c secure.ControlID) bool { return c.String() == row[1] }) {
			t.Errorf("%s tells of %s, which is no control", refusalsPage, row[1])
		}
	}
	for reason := range code.reasons {
		if !told[reason] {
			t.Errorf("the reason %q has no row in %s", reason, refusalsPage)
		}
	}
	for reason := range told {
		if !code.reasons[reason] {
			t.Errorf("%s tells of the reason %q, which the door does not give", refusalsPage, reason)
		}
	}
	for _, c := range code.controls {
		if !controls[c] {
			t.Errorf("%s is asked by the door and has no row in %s", c, refusalsPage)
		}
	}
	for f := range reflect.TypeFor[Counters]().Fields() {
		if name := "imsafe_clientims_" + snake(f.Name) + "_total"; !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the counter %s is not in %s", name, refusalsPage)
		}
	}
}

// doorCode is what stands in the sources of this package.
type doorCode struct {
	reasons  map[string]bool
	controls []string
}

// readDoor looks for reasons: texts that are given to a function that refuses, to a field Reason, or to a variable reason.
func readDoor(t *testing.T) doorCode {
	t.Helper()
	d := doorCode{reasons: map[string]bool{tooLarge: true}}
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				if f, ok := x.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(f.Sel.Name, "refuses") {
					for _, a := range x.Args {
						d.add(a)
					}
				}
			case *ast.KeyValueExpr:
				if k, ok := x.Key.(*ast.Ident); ok && k.Name == "Reason" {
					d.add(x.Value)
				}
			case *ast.AssignStmt:
				for i, l := range x.Lhs {
					if v, ok := l.(*ast.Ident); ok && v.Name == "reason" && i < len(x.Rhs) {
						d.add(x.Rhs[i])
					}
				}
			case *ast.SelectorExpr:
				if p, ok := x.X.(*ast.Ident); ok && p.Name == "secure" && strings.HasPrefix(x.Sel.Name, "CI") {
					named[x.Sel.Name] = true
				}
			}
			return true
		})
	}
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer(".", "", "-", "").Replace(s)) }
	for _, c := range secure.Controls() {
		for name := range named {
			if plain(c.String()) == strings.ToLower(name) {
				d.controls = append(d.controls, c.String())
			}
		}
	}
	if len(d.controls) != len(named) || len(named) < 10 {
		t.Fatalf("of the controls %v these are known: %v", named, d.controls)
	}
	return d
}

func (d *doorCode) add(e ast.Expr) {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		if text, err := strconv.Unquote(l.Value); err == nil && text != "" {
			d.reasons[text] = true
		}
	}
}

// snake is a name as metrics have it.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
