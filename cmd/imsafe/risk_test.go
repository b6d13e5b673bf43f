package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
	"imsafe/proof/tables"
)

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
	t.Run("two bundles that differ", func(t *testing.T) { p.differ(t, first) })
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

// differ: between two bundles a control has gone off, a risk was accepted, and another acceptance has ended. Each is said, for people and for machines.
func (p *prover) differ(t *testing.T, first string) {
	dir := t.TempDir()
	const ended = "\n[[accepted]]\nattack = \"core.keys.sniff\"\nowner = \"Ada\"\nfrom = \"2000-01-01\"\nuntil = \"2999-12-31\"\nwhy = \"a test\"\n"
	before, now := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	p.anew(t, first, before, func(_ *evidence.Case, judgement string) string {
		return judgement + ended
	})
	p.anew(t, before, now, func(c *evidence.Case, judgement string) string {
		for _, r := range c.Records { // as if the control had been off, and what it stops had come through
			if r.Attack == "ci.identity.asserted" && r.Target.Profile == "tls" && len(r.ControlsOff) == 0 {
				r.Events, r.Verdict, r.Oracles[0].Reached = []evidence.Event{}, evidence.Succeeded, true
			}
		}
		judgement = strings.Replace(judgement, "2999-12-31", "2001-12-31", 1)
		return judgement + strings.Replace(ended, "core.keys.sniff", "ci.identity.asserted", 1)
	})
	want := []string{"control ci.authentication.sa-identity: gap, was ", "acceptance of ci.identity.asserted is new: accepted by Ada until 2999-12-31",
		"acceptance of core.keys.sniff/gm: open again: the acceptance by Ada ended with 2001-12-31, was accepted by Ada until 2999-12-31",
		"risk ci.identity.asserted: ", "table judgement.toml: "}
	a := p.app(false)
	if status := a.status((&riskCmd{Bundle: now}).Run(a)); status != exitIncomplete {
		t.Errorf("exit status %d", status)
	}
	people := p.stdout.String()
	a = p.app(true)
	_ = a.status((&riskCmd{Bundle: now, Since: before}).Run(a))
	var machines riskReport
	if err := json.NewDecoder(strings.NewReader(p.stdout.String())).Decode(&machines); err != nil {
		t.Fatal(err)
	}
	for _, text := range want {
		if !strings.Contains(people, "\n  "+text) || !slices.ContainsFunc(machines.Changes, func(s string) bool { return strings.HasPrefix(s, text) }) {
			t.Errorf("%q is not said:\n%s\n%s", text, people, strings.Join(machines.Changes, "\n"))
		}
	}
	if !strings.Contains(people, "NO: open again: the acceptance by Ada ended with 2001-12-31") || !strings.Contains(people, "accepted by Ada until 2999-12-31") {
		t.Errorf("the table does not say who accepts what\n%s", people)
	}
	// A slip in an acceptance accepts nothing, and that is said.
	file := filepath.Join(dir, "slip.toml")
	_, judgement, _ := defaultJudgement()
	for named, says := range map[string]string{"core.keys.snif": `"core.keys.snif": there is no such attack`, "core.keys.sniff/gn": `"core.keys.sniff/gn": the attack has no such variant`} {
		if err := os.WriteFile(file, []byte(string(judgement)+strings.Replace(ended, "core.keys.sniff", named, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		a = p.app(false)
		if status := a.status((&riskCmd{Bundle: now, Judgement: file}).Run(a)); status != exitUsage || !strings.Contains(p.stderr.String(), says) {
			t.Errorf("exit status %d\n%s", status, p.stderr.String())
		}
	}
}

// anew signs a bundle that differs from another in its records and its judgement.
func (p *prover) anew(t *testing.T, from, to string, change func(*evidence.Case, string) string) {
	t.Helper()
	was, err := readBundle(from)
	if err != nil {
		t.Fatal(err)
	}
	c, err := was.Case()
	if err != nil {
		t.Fatal(err)
	}
	b := evidence.Bundle{}
	maps.Copy(b, was)
	b[evidence.TablesDir+"/"+tables.JudgementFile] = []byte(change(c, string(was[evidence.TablesDir+"/"+tables.JudgementFile])))
	set, err := tablesOf(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PutCase(c); err != nil {
		t.Fatal(err)
	}
	r, err := proof.Make(c, set)
	if err != nil {
		t.Fatal(err)
	}
	key, err := p.app(false).runnerKey(p.key())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(key, c.Subject.End); err != nil {
		t.Fatal(err)
	}
	if _, err := writeBundle(to, b); err != nil {
		t.Fatal(err)
	}
}
