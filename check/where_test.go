package check

import (
	"fmt"
	"go/ast"
	"os"
	"slices"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/secure"
)

// whereTable is what `imsafe explain` reads: which declaration of which file a control is enforced in, and which file an attack is in.
const whereTable = "cmd/imsafe/where.tsv"

// wherePage writes it.
func wherePage(tr *tree) string {
	lines := []string{}
	constants := controlConstants(tr)
	tr.each(func(p *pkg, f *file) {
		if f.test || matches(speakOfControls, p.dir) {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if name, ok := f.selects(e, module+"/secure"); ok && slices.Contains(constants, name) {
					lines = append(lines, fmt.Sprintf("%s\t%s\t%s", dotted(name), f.path, enclosing(f, n.Pos())))
				}
			}
			return true
		})
	})
	for _, a := range attack.All() {
		lines = append(lines, fmt.Sprintf("%s\tproof/attack/%s.go\t", a.ID, strings.NewReplacer(".", "_", "-", "_").Replace(a.ID)))
	}
	slices.Sort(lines)
	return "# Where controls are enforced and attacks are written: id, file, declaration. `make generate` rewrites this table, and check refuses a stale one.\n" +
		strings.Join(lines, "\n") + "\n"
}

// dotted is the id of the control with this Go name. They are compared by their letters.
func dotted(name string) string {
	for _, c := range secure.Controls() {
		if strings.NewReplacer(".", "", "-", "", "mgmt", "management").Replace(c.String()) == strings.ToLower(name) {
			return c.String()
		}
	}
	return name
}

// TestWhere compares the table with the code; with -update it writes it.
func TestWhere(t *testing.T) {
	tr := theHouse(t)
	want := wherePage(tr)
	if *update {
		if err := os.WriteFile("../"+whereTable, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if tr.read(whereTable) != want {
		t.Errorf("%s is stale: run make generate", whereTable)
	}
	for _, r := range policy.Rows() {
		if r.Level != policy.Absent && strings.Count(want, "\n"+r.Control.String()+"\t") != 1 {
			t.Errorf("%v stands in %s %d times", r.Control, whereTable, strings.Count(want, "\n"+r.Control.String()+"\t"))
		}
	}
}
