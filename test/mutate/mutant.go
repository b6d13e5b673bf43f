package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/secure"
)

// Mutant is one line of a control that is wrong.
type Mutant struct {
	Control secure.ControlID
	Name    string // what is wrong, in a few words
	File    string // below the root
	Old     string // stands in File exactly once
	New     string
	Attacks []string // numbers of the rows that must notice
}

// Fate is what became of a mutant.
type Fate string

// The fates.
const (
	Caught   Fate = "caught"   // an attack noticed
	Survived Fate = "SURVIVED" // all attacks were blocked as if nothing were wrong
	Unclear  Fate = "UNCLEAR"  // it could not be built, or a run proves nothing
)

// Result is the fate of a mutant, and what shows it.
type Result struct {
	Fate Fate
	Says string
}

// mutate returns text, that of its file, with the mutant in it.
func (m *Mutant) mutate(text []byte) ([]byte, error) {
	switch n := bytes.Count(text, []byte(m.Old)); n {
	case 1:
		return bytes.Replace(text, []byte(m.Old), []byte(m.New), 1), nil
	case 0:
		return nil, fmt.Errorf("%s: %q is no longer in %s: look for what stands there now", m.Name, m.Old, m.File)
	default:
		return nil, fmt.Errorf("%s: %q is %d times in %s: say more of it", m.Name, m.Old, n, m.File)
	}
}

// brood is a program with mutants in it: one, or several whose rows are not the same.
type brood []*Mutant

// broods puts mutants together, at most n of them in one program, so that no row is for two.
func broods(chosen []*Mutant, n int) (all []brood) {
	for _, m := range chosen {
		i := slices.IndexFunc(all, func(b brood) bool { return len(b) < n && !b.meets(m) })
		if i < 0 {
			all = append(all, nil)
			i = len(all) - 1
		}
		all[i] = append(all[i], m)
	}
	return all
}

// meets reports whether a row of m is for another of the brood as well.
func (b brood) meets(m *Mutant) bool {
	return slices.ContainsFunc(b, func(other *Mutant) bool {
		return slices.ContainsFunc(m.Attacks, func(a string) bool { return slices.Contains(other.Attacks, a) })
	})
}

// run builds the program and attacks it, and returns the fate of each mutant. A run that proves nothing is made once more: the host may be busy.
func (b brood) run(ctx context.Context, root string) []Result {
	fates := make([]Result, len(b))
	failed := func(err error) []Result {
		for i := range fates {
			fates[i] = Result{Unclear, err.Error()}
		}
		return fates
	}
	dir, err := os.MkdirTemp("", "imsafe-mutant")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	program, err := b.build(ctx, root, dir)
	if err != nil {
		return failed(err)
	}
	for range 2 {
		var again []string
		for i, m := range b {
			if fates[i].Fate != Caught && fates[i].Fate != Survived {
				again = append(again, m.Attacks...)
			}
		}
		if len(again) == 0 || ctx.Err() != nil {
			break
		}
		results, err := attackBy(ctx, program, again)
		if err != nil {
			return failed(err)
		}
		for i, m := range b {
			if of := slices.DeleteFunc(slices.Clone(results), func(r runner.Result) bool { return !slices.Contains(m.Attacks, r.Number) }); len(of) > 0 {
				fates[i] = judge(of)
			}
		}
	}
	return fates
}

// build makes the program in dir. The go command is told to read the changed files in the place of those in the tree.
func (b brood) build(ctx context.Context, root, dir string) (program string, err error) {
	texts, replace := map[string][]byte{}, map[string]string{}
	for i, m := range b {
		original, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(m.File)))
		if err != nil {
			return "", err
		}
		text, changed := texts[original]
		if !changed {
			if text, err = os.ReadFile(original); err != nil {
				return "", err
			}
			replace[original] = filepath.Join(dir, fmt.Sprintf("mutant%d.go", i))
		}
		if texts[original], err = m.mutate(text); err != nil {
			return "", err
		}
	}
	for original, text := range texts {
		if err := os.WriteFile(replace[original], text, 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "imsafe")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", program, "./cmd/imsafe")
	build.Dir = root
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not build: %w: %s", err, bytes.TrimSpace(said))
	}
	return program, nil
}

// attackBy runs rows against a program, and returns what each of their variants has shown.
func attackBy(ctx context.Context, program string, rows []string) ([]runner.Result, error) {
	run := exec.CommandContext(ctx, program, append([]string{"attack", "run", "--json"}, rows...)...)
	var complaint bytes.Buffer
	run.Stderr = &complaint
	said, failed := run.Output()
	var results []runner.Result
	if err := json.NewDecoder(bytes.NewReader(said)).Decode(&results); err != nil || len(results) == 0 { // behind them stands why the program has failed
		return nil, fmt.Errorf("the attacks could not be run: %w: %s", failed, bytes.TrimSpace(complaint.Bytes()))
	}
	return results, nil
}

// judge says what the runs of all rows of a mutant have shown: what was noticed counts, then what proves nothing.
func judge(results []runner.Result) Result {
	unclear, shown := "", 0
	for i := range results {
		r := &results[i]
		switch {
		case r.Proven:
			shown++
		case noticed(r):
			return Result{Caught, r.Name() + ": " + r.Finding}
		case !r.Skipped:
			unclear = r.Name() + ": " + r.Finding
		}
	}
	switch {
	case unclear != "":
		return Result{Unclear, unclear}
	case shown == 0:
		return Result{Unclear, "no attack could be run on this host"}
	}
	return Result{Survived, fmt.Sprintf("%d attacks are blocked as if nothing were wrong", shown)}
}

// noticed reports whether the runs of a variant show that something is wrong with its controls: it got through, or did harm, with one of them on; another
// than the named one stopped it; or there is nothing left that switching them off could change.
func noticed(r *runner.Result) bool {
	for _, record := range r.Records {
		bare := record.Expected == "" && len(record.ControlsOff) > 0
		switch {
		case record.Accident:
			return true
		case bare && record.Verdict == evidence.Blocked:
			return true
		case !bare && (record.Verdict == evidence.Succeeded || record.Verdict == evidence.Degraded):
			return true
		}
	}
	return false
}
