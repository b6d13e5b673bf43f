package tables_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"imsafe/proof/tables"
)

func load(t *testing.T) *tables.Set {
	t.Helper()
	s, err := tables.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestMarks: nothing recalled or second-hand goes without its mark, and verified is only what somebody has signed with his name.
func TestMarks(t *testing.T) {
	marked := 0
	for _, n := range load(t).Sources() {
		trusted := n.Status == tables.Ours || n.Status == tables.Verified && n.VerifiedBy != ""
		if mark := n.Mark(); (mark == "") != trusted || !trusted && !strings.Contains(mark, "unverified") {
			t.Errorf("%s is %s, verified by %q, and has the mark %q", n.File, n.Status, n.VerifiedBy, mark)
		}
		if !trusted {
			marked++
		}
	}
	if marked < 5 {
		t.Errorf("%d tables have a mark: who has compared the others with the standards?", marked)
	}
}

// accepts is a risk that somebody accepts from 2026-11-25 on.
func accepts(attack, owner, until string) string {
	return fmt.Sprintf("[[accepted]]\nattack = %q\nowner = %q\nfrom = \"2026-11-25\"\nuntil = %q\nwhy = \"a test\"\n", attack, owner, until)
}

// TestRead_refuses: a table that is not whole is not computed with.
func TestRead_refuses(t *testing.T) {
	for name, c := range map[string]struct{ file, old, new, says string }{
		"verified by nobody":           {tables.ImpactFile, `status = "second-hand"`, `status = "verified"`, "nobody is named"},
		"no such status":               {tables.ImpactFile, `status = "second-hand"`, `status = "fine"`, "none of verified"},
		"a field nobody knows":         {tables.ImpactFile, `verified_by`, `verified_bye`, "there is no key verified_bye"},
		"no TOML":                      {tables.LimitsFile, `status = `, `status `, "line "},
		"no edition":                   {tables.X805File, `edition = "10/2003"`, `edition = ""`, "edition"},
		"an asset nobody has":          {tables.AttacksFile, `asset = "topology"`, `asset = "crown jewels"`, "crown jewels"},
		"an effect that is none":       {tables.EffectsFile, `value = "none"`, `value = "nine"`, `"nine"`},
		"an impact of nine":            {tables.JudgementFile, `impact = 1 `, `impact = 9 `, "impact 9"},
		"a slot judged twice":          {tables.X805File, "threats = [\"destruction\", \"removal\"]\nanswer = \"claimed\"", "threats = [\"destruction\", \"destruction\"]\nanswer = \"claimed\"", "judged twice"},
		"no slot":                      {tables.X805File, `threats = ["removal", "disclosure"]`, `threats = ["interruption", "disclosure"]`, "no slot"},
		"claimed by nothing":           {tables.X805File, `controls = ["is.integrity.sh-write"]`, `controls = []`, "names its controls"},
		"green by judgement":           {tables.X805File, `answer = "gap"`, `answer = "proven"`, "none of claimed"},
		"accepted, and no such attack": {tables.JudgementFile, "# [[accepted]]", accepts("ci.identity.assorted", "Ada", "2026-12-31"), "there is no such attack"},
		"accepted by nobody":           {tables.JudgementFile, "# [[accepted]]", accepts("ci.identity.asserted", " ", "2026-12-31"), "it needs an owner"},
		"accepted until some day":      {tables.JudgementFile, "# [[accepted]]", accepts("ci.identity.asserted/udp", "Ada", "soon"), `until "soon"`},
		"accepted until before":        {tables.JudgementFile, "# [[accepted]]", accepts("ci.identity.asserted", "Ada", "2026-01-31"), `until "2026-01-31"`},
		"a position of our own":        {tables.PositionsFile, `opportunity = "difficult"`, `opportunity = "boring"`, "boring"},
	} {
		files, err := tables.Default()
		if err != nil {
			t.Fatal(err)
		}
		files = maps.Clone(files)
		text := strings.Replace(string(files[c.file]), c.old, c.new, 1)
		if text == string(files[c.file]) {
			t.Fatalf("%s: %q does not stand in %s", name, c.old, c.file)
		}
		files[c.file] = []byte(text)
		if _, err := tables.Read(files); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	files, _ := tables.Default()
	delete(files, tables.CostFile)
	if _, err := tables.Read(files); err == nil || !strings.Contains(err.Error(), tables.CostFile) {
		t.Errorf("a table is missing: %v", err)
	}
}
