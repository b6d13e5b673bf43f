package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	targetfile "imsafe/proof/target"
	"imsafe/proto/shard"
)

// readTarget reads the file of a target, and the keys and certificates that it names; their paths are relative to it.
func (a *app) readTarget(name string) (*targetfile.Target, error) {
	data, err := readAtMost(name, targetfile.MaxFile)
	if err != nil {
		return nil, usage{err}
	}
	beside := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(filepath.Dir(name), path)
	}
	t, err := targetfile.Read(data, targetfile.Means{Today: time.Now(),
		Keys: func(reference string) ([]byte, error) {
			if variable, is := strings.CutPrefix(reference, "env:"); is {
				text := a.getenv(variable)
				if text == "" {
					return nil, fmt.Errorf("the environment has no %s", variable)
				}
				return []byte(text), nil
			}
			return a.readSecret(beside(strings.TrimPrefix(reference, "file:")), targetfile.MaxFile)
		},
		Authority: func(path string) ([]byte, error) { return readAtMost(beside(path), targetfile.MaxFile) }})
	if err != nil {
		return nil, usage{fmt.Errorf("%s: %w", name, err)}
	}
	return t, nil
}

func readAtMost(name string, limit int64) ([]byte, error) {
	about, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if about.Size() > limit {
		return nil, fmt.Errorf("%s has more than %d octets", name, limit)
	}
	return os.ReadFile(name)
}

// list prints what of the catalogue can be aimed at a target, and why the rest cannot.
func (v *attackListCmd) list(a *app) error {
	t, err := a.readTarget(v.Target)
	if err != nil {
		return err
	}
	plan := []runner.Foreign{}
	for _, x := range attack.All() {
		plan = append(plan, runner.Plan(&x, t)...)
	}
	if a.json {
		a.print(plan)
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tROW\tAPPLIES\tATTACK, OR WHY NOT")
	for _, row := range plan {
		if row.Outcome == evidence.NotApplicable {
			fmt.Fprintf(w, "%s\t%s\tno\t%s\n", row.Number, row.Name(), row.Saw)
		} else {
			fmt.Fprintf(w, "%s\t%s\tyes\t%s\n", row.Number, row.Name(), row.Title)
		}
	}
	return w.Flush()
}

type attackProfileCmd struct {
	Name string `arg:"" optional:"" help:"Which; without it their names are printed."`
}

// Run prints one.
func (v *attackProfileCmd) Run(a *app) error {
	if v.Name == "" {
		fmt.Fprintln(a.stdout, strings.Join(targetfile.Profiles(), "\n"))
		return nil
	}
	text, known := targetfile.Profile(v.Name)
	if !known {
		return usage{fmt.Errorf("there is no profile %q: there are %s", v.Name, strings.Join(targetfile.Profiles(), ", "))}
	}
	fmt.Fprint(a.stdout, text)
	return nil
}

var (
	errGotThrough = errors.New("at least one attack got through: the lines above say what was seen, and --evidence DIR keeps all of it")
	errNotSeen    = errors.New("nothing got through, but of some rows nothing could be said: the lines above say why")
)

// aim runs attacks against a target that is none of ours.
func (v *attackRunCmd) aim(a *app) error {
	attacks, err := v.attacks()
	if err != nil {
		return err
	}
	t, err := a.readTarget(v.Target)
	if err != nil {
		return err
	}
	a.say("target %s; allowed by %s; at most %d packets a second, %v in all. What is said was seen from outside; which of its parts did it cannot be seen.",
		t.Name, t.Owner, t.Limits.Rate, t.Limits.Time)
	ctx, stop := context.WithTimeout(a.ctx, t.Limits.Time)
	defer stop()
	l, err := newLauncher()
	if err != nil {
		return err
	}
	return v.aimAt(ctx, a, t, l, attacks)
}

func (v *attackRunCmd) aimAt(ctx context.Context, a *app, t *targetfile.Target, l runner.Launcher, attacks []attack.Attack) error {
	r := runner.New(runner.Config{Launcher: l, Network: systemNetwork{}, Clock: shard.RealClock(), Random: rand.Reader})
	results := []runner.Foreign{}
	for i := range attacks {
		x := &attacks[i]
		done := a.progress(fmt.Sprintf("%s, %d of %d", x.ID, i+1, len(attacks)))
		found, err := r.Aim(ctx, x, t)
		done()
		for _, row := range found {
			a.tellForeign(&row)
			if err := v.keepRecord(row.Record); err != nil {
				return err
			}
		}
		results = append(results, found...)
		if err != nil {
			return err
		}
	}
	if a.json {
		a.print(results)
	}
	v.tellForeigns(a, results)
	return a.said(gotThrough(results))
}

// tellForeign is one line for people.
func (a *app) tellForeign(row *runner.Foreign) {
	a.say("%-14s  %s  %-34s  %s", row.Outcome, row.Number, row.Name(), row.Saw)
	if row.Record != nil && row.Record.Left != "" {
		a.say("%-14s  %s  %-34s  %s", "left behind", row.Number, row.Name(), row.Record.Left)
	}
}

func (v *attackRunCmd) tellForeigns(a *app, results []runner.Foreign) {
	var said []string
	for _, outcome := range []evidence.Verdict{evidence.Succeeded, evidence.Degraded, evidence.Blocked, evidence.Inconclusive, evidence.NotApplicable} {
		n := 0
		for _, row := range results {
			if row.Outcome == outcome {
				n++
			}
		}
		said = append(said, fmt.Sprintf("%d %s", n, outcome))
	}
	a.say("of %d runs %s", len(results), strings.Join(said, ", "))
	if v.Evidence != "" {
		a.say("evidence, not signed: %s", v.Evidence)
	}
}

// gotThrough is the exit status: 0 nothing got through, 1 something did, 3 of something nothing can be said.
func gotThrough(results []runner.Foreign) error {
	has := func(outcomes ...evidence.Verdict) bool {
		return slices.ContainsFunc(results, func(r runner.Foreign) bool { return slices.Contains(outcomes, r.Outcome) })
	}
	switch {
	case has(evidence.Succeeded, evidence.Degraded):
		return errGotThrough
	case has(evidence.Inconclusive):
		return unverified{errNotSeen}
	}
	return nil
}
