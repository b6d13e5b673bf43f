package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
)

// TestExplain_everything: there is something to say of every attack and every control: what, why, where and what to do.
func TestExplain_everything(t *testing.T) {
	t.Chdir(t.TempDir())
	var ids []string
	for _, x := range attack.All() {
		ids = append(ids, x.ID)
	}
	for _, r := range policy.Rows() {
		ids = append(ids, r.Control.String())
	}
	for _, id := range ids {
		x := explained(t, id)
		if x.ID != id || x.What == "" || x.Why == "" || len(x.Do) == 0 || x.Source+x.Clause == "" || len(x.Touches) == 0 {
			t.Errorf("%s: %+v", id, x)
		}
		if len(x.Where) != 1 && x.State != evidence.StateGap {
			t.Errorf("%s is at %v", id, x.Where)
		}
		if x.State == evidence.StateProven {
			t.Errorf("%s is proven, and nothing was run", id)
		}
	}
}

func explained(t *testing.T, words ...string) *explanation {
	t.Helper()
	o := (&desk{t: t}).call(t.Context(), "", append(append([]string{"explain"}, words...), "--json")...)
	x := new(explanation)
	if err := json.Unmarshal([]byte(o.stdout), x); err != nil || o.status != exitDone {
		t.Fatalf("%v: %v, %+v", words, err, o)
	}
	return x
}

// TestExplain: by number, as a cell in two ways, as a threat, as an asset; and the verb for registrations is still there.
func TestExplain(t *testing.T) {
	t.Chdir(t.TempDir())
	for kind, words := range map[string][]string{"attack CI-07": {"ci-07"}, "cell": {"C-I", "integrity"}, "threat": {"corruption"}, "asset": {"content"}} {
		if x := explained(t, words...); x.Kind != kind || len(x.Touches) == 0 {
			t.Errorf("%v: %+v", words, x)
		}
	}
	if a, b := explained(t, "C-I integrity"), explained(t, "ci.integrity"); a.ID != b.ID {
		t.Errorf("%s and %s", a.ID, b.ID)
	}
	o := (&desk{t: t}).call(t.Context(), "", "explain", "ci.identity.nobody")
	if o.status != exitUsage {
		t.Errorf("%+v", o)
	}
	if o = (&desk{t: t}).call(t.Context(), "", "explain", "ci.identity"); o.status != exitUsage || !strings.Contains(o.stderr, "ci.identity.asserted") {
		t.Errorf("half an id: %+v", o)
	}
	o = (&desk{t: t}).call(t.Context(), "", "explain", "core.keys.sniff")
	for _, want := range []string{"code", "proof/attack/core_keys_sniff.go", "imsafe prove"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("%q is not in\n%s", want, o.stdout)
		}
	}
}

// TestRisk: the register of a bundle, what a person accepts, and what has changed since the bundle before.
func TestRisk(t *testing.T) {
	p := newProver(t)
	first, _, _ := p.prove(nil)
	second := filepath.Join(filepath.Dir(first), "9999")
	if err := os.CopyFS(second, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	ask := func(v *riskCmd) (*riskReport, int) {
		a := p.app(true)
		status := a.status(v.Run(a))
		out := new(riskReport)
		if err := json.NewDecoder(strings.NewReader(p.stdout.String())).Decode(out); err != nil {
			t.Fatalf("%v\n%s%s", err, p.stdout.String(), p.stderr.String())
		}
		return out, status
	}
	out, status := ask(&riskCmd{Bundle: second})
	if status != exitIncomplete || out.Before != first || len(out.Changes) != 0 || len(out.Register.Entries) == 0 {
		t.Errorf("exit status %d, since %s: %v", status, out.Before, out.Changes)
	}
	// A person holds the identities shown to others for worth more, and lives with everything else.
	_, text, err := defaultJudgement()
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.Replace(string(text), `name = "identities shown to others", impact = 2`, `name = "identities shown to others", impact = 3`, 1)
	mine = strings.Replace(mine, "\naccepted = []", "", 1)
	for _, x := range attack.All() {
		mine += "\n[[accepted]]\nattack = \"" + x.ID + "\"\nowner = \"the operator\"\nfrom = \"2000-01-01\"\nuntil = \"2999-12-31\"\nwhy = \"a test\"\n"
	}
	file := filepath.Join(p.dir, "mine.toml")
	if err := os.WriteFile(file, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	out, status = ask(&riskCmd{Bundle: second, Judgement: file})
	if status != exitDone || out.Before != second || !slices.ContainsFunc(out.Changes, func(s string) bool { return strings.HasPrefix(s, "risk ci.identity.asserted: major 3") }) {
		t.Errorf("exit status %d, since %s: %v", status, out.Before, out.Changes)
	}
	// A bundle that was altered counts for nothing.
	if err := os.WriteFile(filepath.Join(second, "extra"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := p.app(true)
	if status := a.status((&riskCmd{Bundle: second}).Run(a)); status != exitFailed || !strings.Contains(p.stdout.String(), "extra was added") {
		t.Errorf("exit status %d\n%.500s", status, p.stdout.String())
	}
	// For people.
	a = p.app(false)
	if status := a.status((&riskCmd{Bundle: first}).Run(a)); status != exitIncomplete || !strings.Contains(p.stdout.String(), "UNVERIFIED TABLE") ||
		!strings.Contains(p.stdout.String(), "at its floor") {
		t.Errorf("exit status %d\n%s", status, p.stdout.String())
	}
	if o := (&desk{t: t}).call(t.Context(), "", "risk", "--print"); o.stdout != string(text) {
		t.Errorf("--print prints %q", o.stdout)
	}
}
