package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
)

// prover is a person who proves, in a directory of his own.
type prover struct {
	t              *testing.T
	launcher       *launcher
	dir            string
	stdout, stderr *lockedBuffer
}

func newProver(t *testing.T) *prover {
	return &prover{t: t, launcher: theLauncher(t), dir: t.TempDir()}
}

// app is a program that is called once.
func (p *prover) app(machine bool) *app {
	p.stdout, p.stderr = new(lockedBuffer), new(lockedBuffer)
	return &app{ctx: p.t.Context(), stdin: strings.NewReader(""), stdout: p.stdout, stderr: p.stderr, getenv: func(string) string { return "" }, json: machine}
}

func (p *prover) key() string { return filepath.Join(p.dir, "keys", "runner.key") }

// prove runs a few attacks and returns the bundle's directory.
func (p *prover) prove(change func(*proveRunCmd)) (dir string, r *proof.Report, status int) {
	p.t.Helper()
	v := &proveRunCmd{Only: []string{"CI-07", "ZB-01"}, Out: filepath.Join(p.dir, "out"), Key: p.key()}
	if change != nil {
		change(v)
	}
	a := p.app(true)
	status = a.status(v.prove(a, p.launcher))
	dir, err := lastBundle(v.Out)
	if err != nil {
		p.t.Fatalf("%v\n%s%s", err, p.stdout.String(), p.stderr.String())
	}
	r = new(proof.Report)
	if err := json.NewDecoder(strings.NewReader(p.stdout.String())).Decode(r); err != nil {
		p.t.Fatalf("%v\n%s", err, p.stdout.String())
	}
	return dir, r, status
}

func (p *prover) verify(v *proveVerifyCmd, program string) (*verification, int) {
	p.t.Helper()
	a := p.app(true)
	status := a.status(v.verify(a, program))
	found := new(verification)
	if err := json.NewDecoder(strings.NewReader(p.stdout.String())).Decode(found); err != nil {
		p.t.Fatalf("%v\n%s%s", err, p.stdout.String(), p.stderr.String())
	}
	return found, status
}

// TestProve proves a little, verifies it, and changes one thing after the other: verify says which.
func TestProve(t *testing.T) {
	p := newProver(t)
	dir, r, status := p.prove(nil)
	if status != exitIncomplete {
		t.Errorf("exit status %d: not everything was asked for, and nothing failed\n%s", status, p.stderr.String())
	}
	findings := map[evidence.Finding]int{}
	for _, trial := range r.Trials {
		if trial.Attack == "ci.identity.asserted" || trial.Attack == "core.keys.sniff" {
			findings[trial.Finding]++
		} else if trial.Finding != evidence.NotRun || trial.Why != "it was not asked for" {
			t.Errorf("%s: %s, %s", trial.Name(), trial.Finding, trial.Why)
		}
	}
	if findings[evidence.Proven] != 3 || findings[evidence.ByNature] != 2 {
		t.Errorf("%v", findings)
	}
	if !strings.Contains(p.stderr.String(), "CI-07") {
		t.Errorf("nobody was told how it goes: %s", p.stderr.String())
	}
	mine := &proveVerifyCmd{Bundle: dir, Key: p.key()}
	if found, status := p.verify(mine, p.launcher.build); status != exitIncomplete || !found.Pinned || len(found.Altered)+len(found.Differs)+len(found.Changed) > 0 {
		t.Errorf("as it was made: exit status %d, %+v", status, found)
	}
	t.Run("another's eyes", func(t *testing.T) { p.unpinned(t, dir, r) })
	t.Run("another program", func(t *testing.T) {
		found, status := p.verify(mine, strings.Repeat("0", 64))
		if status != exitIncomplete || len(found.Changed) != 1 || !strings.HasPrefix(found.Changed[0], "the program") || len(found.Report.Conclusion.Stale) != 5 {
			t.Errorf("exit status %d, %v, stale %v", status, found.Changed, found.Report.Conclusion.Stale)
		}
	})
	t.Run("one octet of the program", func(t *testing.T) {
		program, err := os.ReadFile(p.launcher.program)
		if err != nil {
			t.Fatal(err)
		}
		program[len(program)/2] ^= 1
		found, _ := p.verify(mine, evidence.Sum(program))
		if len(found.Changed) != 1 || !strings.HasPrefix(found.Changed[0], "the program") {
			t.Errorf("%v", found.Changed)
		}
		program[len(program)/2] ^= 1
		if found, _ = p.verify(mine, evidence.Sum(program)); len(found.Changed) > 0 {
			t.Errorf("the very program: %v", found.Changed)
		}
	})
	t.Run("another configuration", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "imsafe.toml")
		text := theConfiguration(t) + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found, _ := p.verify(&proveVerifyCmd{Bundle: dir, Key: p.key(), Config: file}, p.launcher.build)
		if len(found.Changed) != 1 || !strings.HasPrefix(found.Changed[0], "the configuration") || len(found.Report.Conclusion.Stale) == 0 {
			t.Errorf("%v", found.Changed)
		}
	})
	t.Run("every kind of file", func(t *testing.T) { p.everyKind(t, dir) })
	t.Run("signed again", func(t *testing.T) { p.signedAgain(t, dir) })
	for _, name := range []string{"records/direct/1/ci.identity.asserted/tls/on.json", "tables/judgement.toml", proof.HTMLName, proof.JSONName, evidence.PolicyFile,
		evidence.ManifestFile, evidence.SignatureFile} {
		t.Run(name, func(t *testing.T) { p.altered(t, dir, name) })
	}
}

// TestProve_without: a reviewer leaves a control off. What it stops is named, its cell is a gap, the bundle says what was left off, and nothing else is worse than with it.
func TestProve_without(t *testing.T) {
	p := newProver(t)
	const control = "ci.authentication.from-check"
	_, r, status := p.prove(func(v *proveRunCmd) { v.Only, v.Without = []string{"CI-08"}, []string{control} })
	if status != exitFailed || len(r.Conclusion.Failed) == 0 || len(r.Subject.Weakenings) != 1 || r.Subject.Weakenings[0].Name != "without "+control {
		t.Errorf("exit status %d, %v, %+v", status, r.Conclusion.Failed, r.Subject.Weakenings)
	}
	for _, said := range r.Conclusion.Failed {
		if !strings.Contains(said, "ci.identity.from") {
			t.Errorf("%s got through, and nothing was changed for it", said)
		}
	}
	for _, c := range r.Cells {
		if gap := c.State == evidence.StateGap; c.State == evidence.StateProven || gap != (c.Name == "C-I authentication") {
			t.Errorf("%s is %s: %v", c.Name, c.State, c.Why)
		}
	}
	for _, q := range r.Requirements {
		if q.State == evidence.StateGap && q.Level != "absent" && q.Control != control {
			t.Errorf("%s is %s", q.Control, q.State)
		}
	}
	a := p.app(false)
	if status := a.status((&proveRunCmd{Out: p.dir, Key: p.key(), Without: []string{"ci.nothing"}}).prove(a, p.launcher)); status != exitUsage {
		t.Errorf("no such control: exit status %d", status)
	}
}

// signedAgain: who has the runner's key puts something into a bundle, computes the report anew and signs it. What does not fit the rest is named, and counts for
// nothing.
func (p *prover) signedAgain(t *testing.T, dir string) {
	const on, off = "records/direct/1/ci.identity.asserted/tls/on.json", "records/direct/1/ci.identity.asserted/tls/off-ci.authentication.sa-identity.json"
	for name, change := range map[string]struct {
		do   func(*evidence.Case)
		says string
	}{
		"a result of another program": {func(c *evidence.Case) { recordIn(c, on).Target.Build = strings.Repeat("0", 64) }, on + " is none of this bundle: it is of the program"},
		"a result of another day":     {func(c *evidence.Case) { recordIn(c, on).Start = "2026-01-01T00:00:00Z" }, on + " is none of this bundle: it was made from"},
		"a result in the place of another": {func(c *evidence.Case) {
			recordIn(c, on).Start, recordIn(c, on).End = recordIn(c, off).Start, recordIn(c, off).End
		},
			on + " is none of this bundle: it was made while"},
		"no row of an attack, and no result": {func(c *evidence.Case) {
			c.Attacks = slices.DeleteFunc(c.Attacks, func(a evidence.Attack) bool { return a.ID == "ci.identity.asserted" })
			c.Records = slices.DeleteFunc(c.Records, func(r *evidence.Record) bool { return r.Attack == "ci.identity.asserted" })
		}, "the attack ci.identity.asserted: the bundle has no row of it"},
		"a control that is not required": {func(c *evidence.Case) {
			row, _ := c.Find("ci.authentication.sa-identity")
			row.Level = "optional"
		}, "the control ci.authentication.sa-identity: its row is another now"},
	} {
		b, err := readBundle(dir)
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.Case()
		if err != nil {
			t.Fatal(err)
		}
		change.do(c)
		for name := range b {
			if strings.HasPrefix(name, evidence.RecordsDir) || strings.HasPrefix(name, evidence.ReportDir) {
				delete(b, name)
			}
		}
		if err := p.signs(b, c); err != nil {
			t.Fatal(err)
		}
		again := filepath.Join(t.TempDir(), "again")
		if _, err := writeBundle(again, b); err != nil {
			t.Fatal(err)
		}
		found, _ := p.verify(&proveVerifyCmd{Bundle: again, Key: p.key()}, p.launcher.build)
		if said := strings.Join(slices.Concat(found.Altered, found.Differs, found.Changed), "\n"); !strings.Contains(said, change.says) {
			t.Errorf("%s: %s", name, said)
		}
		for _, trial := range found.Report.Trials {
			if trial.Attack == "ci.identity.asserted" && trial.Access == "tls" && trial.Finding == evidence.Proven && !strings.Contains(change.says, "control") {
				t.Errorf("%s: it is held to be proven", name)
			}
		}
	}
	b, err := readBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	b[on] = nil
	if c, err := b.Case(); err == nil || !strings.Contains(err.Error(), on) {
		t.Errorf("an empty result: %v, %d records", err, len(c.Records))
	}
}

// recordIn is the record in a file of a bundle.
func recordIn(c *evidence.Case, file string) *evidence.Record {
	return c.Records[slices.IndexFunc(c.Records, func(r *evidence.Record) bool { return evidence.RecordsDir+"/"+r.Key() == file })]
}

// signs computes the report of c, and signs all of it with the runner's key.
func (p *prover) signs(b evidence.Bundle, c *evidence.Case) error {
	signer, err := p.app(true).runnerKey(p.key())
	if err != nil {
		return err
	}
	set, err := tablesOf(b)
	if err != nil {
		return err
	}
	r, err := proof.Make(c, set)
	if err != nil {
		return err
	}
	return errors.Join(b.PutCase(c), r.Write(b), b.Sign(signer, c.Subject.End))
}

// everyKind changes one octet in a file of each kind that a bundle has. It is named, by its whole name.
func (p *prover) everyKind(t *testing.T, dir string) {
	whole, err := readBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for name := range whole {
		kind, _, below := strings.Cut(name, "/")
		if !below || kind == evidence.TablesDir || kind == evidence.ReportDir {
			kind = name // each is another
		}
		if kinds[kind] {
			continue
		}
		kinds[kind] = true
		b := maps.Clone(whole)
		b[name] = slices.Clone(whole[name])
		b[name][len(b[name])/2] ^= 1
		if _, err := b.Verify(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	for _, kind := range []string{laddersDir, evidence.RecordsDir, evidence.SubjectFile, evidence.WeakerFile, proof.HTMLName, "report/risks.csv", "tables/x805-mapping.toml"} {
		if !kinds[kind] {
			t.Errorf("the bundle has no %s: %v", kind, slices.Sorted(maps.Keys(kinds)))
		}
	}
}

// theConfiguration is one that parses, and is not the default.
func theConfiguration(t *testing.T) string {
	t.Helper()
	o := (&desk{t: t}).call(t.Context(), "", "config", "print")
	return strings.Replace(o.stdout, `shards = 0`, `shards = 3`, 1)
}

// unpinned: who knows no key sees that nothing was changed, and is told that this is all. A key that is named must be the one.
func (p *prover) unpinned(t *testing.T, dir string, r *proof.Report) {
	nobody := filepath.Join(t.TempDir(), "none.key")
	found, status := p.verify(&proveVerifyCmd{Bundle: dir, Key: nobody}, p.launcher.build)
	if status != exitUnverified || found.Pinned {
		t.Errorf("no key is pinned: exit status %d, %+v", status, found)
	}
	if _, status = p.verify(&proveVerifyCmd{Bundle: dir, Runner: []string{found.Runner}}, p.launcher.build); status != exitIncomplete {
		t.Errorf("the right key is named: exit status %d", status)
	}
	other := evidence.FormatKey(make([]byte, 32))
	found, status = p.verify(&proveVerifyCmd{Bundle: dir, Runner: []string{other}}, p.launcher.build)
	if status != exitFailed || found.Pinned || len(found.Altered) != 1 || found.Report.Void == "" {
		t.Errorf("another key is named: exit status %d, %+v", status, found.Altered)
	}
	for _, trial := range found.Report.Trials {
		if trial.Finding != evidence.NotRun {
			t.Errorf("%s counts: %s", trial.Name(), trial.Finding)
		}
	}
}

// altered changes one octet of a file. Verify fails, names it, and counts nothing.
func (p *prover) altered(t *testing.T, dir, name string) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Error(err)
		}
	}()
	changed := bytes.Replace(whole, []byte("a"), []byte("b"), 1)
	if bytes.Equal(changed, whole) {
		changed = bytes.ToUpper(whole)
	}
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	v := &proveVerifyCmd{Bundle: dir, Key: p.key()}
	a := p.app(true)
	if status := a.status(v.verify(a, p.launcher.build)); status != exitFailed || !strings.Contains(p.stdout.String(), filepath.Base(name)) &&
		name != evidence.SignatureFile {
		t.Errorf("exit status %d, and it says\n%.2000s", status, p.stdout.String())
	}
}

// TestProve_judgement: an operator's own judgement goes into the bundle and into the figures.
func TestProve_judgement(t *testing.T) {
	p := newProver(t)
	_, files, err := defaultJudgement()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "judgement.toml")
	text := strings.Replace(string(files), `name = "identities shown to others", impact = 2`, `name = "identities shown to others", impact = 3`, 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, r, _ := p.prove(func(v *proveRunCmd) { v.Judgement, v.Only = file, []string{"CI-07"} })
	for _, e := range r.Register.Entries {
		if e.Attack == "ci.identity.asserted" && (e.Value != 3 || e.After.Risk.Value != 3 || !e.AtFloor) {
			t.Errorf("%+v", e)
		}
	}
	if found, status := p.verify(&proveVerifyCmd{Bundle: dir, Key: p.key()}, p.launcher.build); status != exitIncomplete || len(found.Changed) != 1 ||
		!strings.Contains(found.Changed[0], "judgement.toml") {
		t.Errorf("exit status %d, %+v", status, found.Changed)
	}
}

// TestProve_modes: the other modes are some, too, and their records stand beside those of the first. What is not run over two nodes has no trial there,
// and is named.
func TestProve_modes(t *testing.T) {
	l := theLauncher(t)
	a := newProver(t).app(true)
	const left = "CS-13 cs.http.tamper/isc"
	p := &proving{app: a, launcher: l, only: map[string]bool{"ci.core.direct": true, "cs.http.tamper": true}}
	if err := p.subject(&proveRunCmd{Full: true}); err != nil {
		t.Fatal(err)
	}
	p.of.Subject.Seeds = []uint64{2}
	if err := p.run(); err != nil {
		t.Fatal(err)
	}
	proven := map[string]int{}
	for _, trial := range p.of.Trials() {
		if trial.Finding == evidence.Proven {
			proven[trial.Mode]++
		}
	}
	if proven[attack.Direct] != 4 || proven[attack.Strict] != 4 || proven[attack.Wire] != 3 {
		t.Errorf("%v", proven)
	}
	board := evidence.NewBoard(&p.of)
	if said := cells.Conclude(board, cells.Table(board)).NotWire; !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, left+": ") }) {
		t.Errorf("%s is not named: %v", left, said)
	}
}

// TestProve_usage: what is asked for must exist.
func TestProve_usage(t *testing.T) {
	for _, args := range [][]string{{"prove", "--only", "no.such.attack", "--key", filepath.Join(t.TempDir(), "k")}, {"prove", "verify", t.TempDir()},
		{"prove", "--judgement", filepath.Join(t.TempDir(), "none"), "--key", filepath.Join(t.TempDir(), "k")}} {
		if o := (&desk{t: t}).call(t.Context(), "", args...); o.status != exitUsage {
			t.Errorf("%v: %+v", args, o)
		}
	}
	if _, known := attack.Find("CI-07"); !known {
		t.Error("the attack of these tests is gone")
	}
}

// TestProve_nowhere: that a bundle cannot be kept is said before anything is attacked, and Ctrl-C is not told as something that went wrong.
func TestProve_nowhere(t *testing.T) {
	p := newProver(t)
	file := filepath.Join(p.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := p.app(false)
	status := a.status((&proveRunCmd{Only: []string{"CI-07"}, Out: filepath.Join(file, "out"), Key: p.key()}).prove(a, p.launcher))
	if told := p.stderr.String(); status != exitUsage || !strings.Contains(told, "--out names another directory") || strings.Contains(told, "CI-07") {
		t.Errorf("exit status %d: %s", status, told)
	}
	a = p.app(false)
	ctx, cancel := context.WithCancel(a.ctx)
	cancel()
	a.ctx = ctx
	status = a.status((&proveRunCmd{Only: []string{"CI-07"}, Out: filepath.Join(p.dir, "out"), Key: p.key()}).prove(a, p.launcher))
	if told := p.stderr.String(); status != exitFailed || !strings.Contains(told, "stopped before it was done") {
		t.Errorf("exit status %d: %s", status, told)
	}
}

// TestProve_late: where there is no time for the attacks, that is said, with what to do; a directory of bundles is not taken for one.
func TestProve_late(t *testing.T) {
	p := newProver(t)
	dir, r, status := p.prove(func(v *proveRunCmd) { v.Within = time.Nanosecond })
	if status != exitIncomplete || !strings.Contains(p.stderr.String(), "2 attacks were not begun within 1ns") || !strings.Contains(p.stderr.String(), "--within 0") {
		t.Errorf("exit status %d: %s", status, p.stderr.String())
	}
	if why := r.Subject.Missing["ci.identity.asserted"]; !strings.Contains(why, "no time left") {
		t.Errorf("CI-07: %q", why)
	}
	if _, err := readBundle(filepath.Dir(dir)); err == nil || !strings.Contains(err.Error(), dir+" is the newest") {
		t.Errorf("%v", err)
	}
	// Another of some rows takes the place of the first as the newest, and that is said.
	told := p.stderr.String()
	p.prove(func(v *proveRunCmd) { v.Within = time.Nanosecond })
	if strings.Contains(told, "is the newest bundle now") || !strings.Contains(p.stderr.String(), "is the newest bundle now") || !strings.Contains(p.stderr.String(), "on "+dir) {
		t.Errorf("the first: %s\nthe second: %s", told, p.stderr.String())
	}
}

// TestWriteBundle: two proofs that were begun in the same second are both kept, what is half written is no bundle, and who cannot write leaves nothing.
func TestWriteBundle(t *testing.T) {
	out := t.TempDir()
	b := evidence.Bundle{evidence.ManifestFile: []byte("{}"), "records/direct/1/x/on.json": []byte("{}")}
	want := []string{"2026-11-26T20-00-00", "2026-11-26T20-00-00-2", "2026-11-26T20-00-00-3"}
	for _, name := range want {
		if dir, err := writeBundle(filepath.Join(out, want[0]), b); err != nil || filepath.Base(dir) != name {
			t.Errorf("%q, %v; want %s", dir, err, name)
		}
	}
	if err := os.CopyFS(filepath.Join(out, unfinished+"1"), os.DirFS(filepath.Join(out, want[0]))); err != nil {
		t.Fatal(err)
	}
	if all := bundlesIn(out); !slices.Equal(all, want) || filepath.Base(bundleBefore(filepath.Join(out, want[2]))) != want[1] {
		t.Errorf("%v", all)
	}
	half := evidence.Bundle{"a": nil, "a/b": nil} // a file cannot be a directory too
	if _, err := writeBundle(filepath.Join(out, "2026-11-26T21-00-00"), half); err == nil {
		t.Error("it was written")
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != len(want)+1 {
		t.Errorf("%v is left: %v", entries, err)
	}
}
