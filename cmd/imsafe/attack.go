package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/proto/shard"
	"imsafe/secure"
)

type attackCmd struct {
	List    attackListCmd    `cmd:"" help:"The catalogue: what is attacked, from where, and what must stop it."`
	Run     attackRunCmd     `cmd:"" help:"Run attacks: against targets that are started for it, with the controls on and off (exit 0 only if all were blocked by name, 3 if some cannot run on this host), or with --target at a system of yours."`
	Profile attackProfileCmd `cmd:"" help:"Print a target file to begin with."`
	Target  attackTargetCmd  `cmd:"" hidden:"" help:"Be a target. For attack run, which starts it."`
}

type attackListCmd struct {
	Target string `help:"Say which rows can be aimed at the system that this file describes, and why the others cannot (docs/target.md)." type:"path" placeholder:"FILE"`
}

// attackRow is a row of the catalogue as JSON.
type attackRow struct {
	ID       string           `json:"id"`
	Number   string           `json:"number"`
	Title    string           `json:"title"`
	Text     string           `json:"text"`
	Services []attack.Service `json:"services"`
	Stride   attack.Stride    `json:"stride"`
	Threats  []attack.Threat  `json:"threats"`
	Module   attack.Module    `json:"module"`
	Source   string           `json:"source"`
	Variants []attackVariant  `json:"variants"`
}

type attackVariant struct {
	Name       string          `json:"name,omitempty"`
	Position   string          `json:"position"`
	Access     []attack.Access `json:"access"`   // run over each of them
	Controls   []string        `json:"controls"` // in the order in which they act
	NoAblation string          `json:"no_ablation,omitempty"`
}

// Run prints the catalogue.
func (v *attackListCmd) Run(a *app) error {
	if v.Target != "" {
		return v.list(a)
	}
	if a.json {
		rows := []attackRow{}
		for _, x := range attack.All() {
			rows = append(rows, rowOf(&x))
		}
		a.print(rows)
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tID\tFROM\tOVER\tAGAINST\tSTOPPED BY\tATTACK")
	for _, x := range attack.All() {
		for i, v := range x.Variants {
			id, title := x.ID, x.Title
			if v.Name != "" {
				id += "/" + v.Name
			}
			if i > 0 {
				title = ""
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Number, id, v.Position, joined(x.Accesses(&v)), joined(x.Services), strings.Join(controlNames(v.Controls), " > "), title)
		}
	}
	return w.Flush()
}

func rowOf(x *attack.Attack) attackRow {
	row := attackRow{ID: x.ID, Number: x.Number, Title: x.Title, Text: x.Text, Services: x.Services,
		Stride: x.Stride, Threats: x.Threats, Module: x.Module, Source: x.Source}
	for _, v := range x.Variants {
		row.Variants = append(row.Variants, attackVariant{Name: v.Name, Position: v.Position.String(), Access: x.Accesses(&v), Controls: controlNames(v.Controls), NoAblation: v.NoAblation})
	}
	return row
}

func joined[T ~string](all []T) string {
	var s []string
	for _, v := range all {
		s = append(s, string(v))
	}
	return strings.Join(s, ", ")
}

func controlNames(controls []secure.ControlID) []string {
	names := []string{}
	for _, c := range controls {
		names = append(names, c.String())
	}
	return names
}

type attackRunCmd struct {
	IDs      []string `arg:"" optional:"" name:"id" help:"Dotted ids or numbers of attacks, with /VARIANT for one variant alone; without one, all."`
	Mode     string   `help:"How the functions of the targets pass on what they have for each other: direct, strict (each message is written and parsed), wire (the P-CSCF is a node of its own)." enum:"direct,strict,wire" default:"direct"`
	Target   string   `help:"Aim them at a system that is not started for it: the file gives addresses on loopback or in private ranges, lab subscribers, what may be sent, and whose leave there is (docs/target.md). Exit 0 if nothing got through, 1 if something did, 3 if of a row nothing can be said." type:"path" placeholder:"FILE"`
	Evidence string   `help:"Write one record for each run into this directory." type:"path"`
}

var (
	errNotProven = errors.New("not every attack was blocked by the control that must stop it: the lines above say what was seen; " +
		"`imsafe attack run ID --evidence DIR` writes all of it")
	errNotRunHere = errors.New("some attacks cannot run on this host: the lines above say why")
)

// Run runs the attacks.
func (v *attackRunCmd) Run(a *app) error {
	if v.Target != "" && v.Mode != "" && v.Mode != "direct" {
		return usage{errors.New("--mode is for targets that are started for it: how the functions of --target speak with each other is its own")}
	}
	if v.Target != "" {
		return v.aim(a)
	}
	attacks, err := v.attacks()
	if err != nil {
		return err
	}
	if err := a.inOwnNetwork(); err != nil {
		return err
	}
	l, err := newLauncher()
	if err != nil {
		return err
	}
	return v.run(a, l, attacks)
}

// attacks are those that were named.
func (v *attackRunCmd) attacks() ([]attack.Attack, error) {
	if len(v.IDs) == 0 {
		return attack.All(), nil
	}
	var named []attack.Attack
	for _, id := range v.IDs {
		name, variant, one := strings.Cut(id, "/")
		x, known := attack.Find(name)
		if one {
			x.Variants = slices.DeleteFunc(slices.Clone(x.Variants), func(v attack.Variant) bool { return v.Name != variant })
		}
		if !known || len(x.Variants) == 0 {
			return nil, usage{fmt.Errorf("there is no attack %q: `imsafe attack list` shows them", id)}
		}
		named = append(named, x)
	}
	return named, nil
}

func (v *attackRunCmd) run(a *app, l runner.Launcher, attacks []attack.Attack) error {
	r := runner.New(runner.Config{Launcher: l, Network: systemNetwork{}, Clock: shard.RealClock(), Random: rand.Reader, Mode: v.Mode})
	results := []runner.Result{}
	for i := range attacks {
		x := &attacks[i]
		stop := a.progress(fmt.Sprintf("%s, %d of %d", x.ID, i+1, len(attacks)))
		found, err := r.Run(a.ctx, x)
		stop()
		if err != nil {
			return err
		}
		for _, result := range found {
			a.tellResult(&result)
			if err := v.keep(&result); err != nil {
				return err
			}
		}
		results = append(results, found...)
	}
	if a.json {
		a.print(results)
	}
	v.tellAll(a, results)
	return concluded(results)
}

// tellResult is one line for people.
func (a *app) tellResult(result *runner.Result) {
	mark := "blocked"
	switch {
	case result.Skipped:
		mark = "not run"
	case !result.Proven:
		mark = "FAILED"
	case result.Claimed != "":
		mark = "claimed"
	}
	a.say("%-7s %s  %-36s %s", mark, result.Number, result.Name(), result.Finding)
}

// tellAll sums up for people.
func (v *attackRunCmd) tellAll(a *app, results []runner.Result) {
	proven, claimed, runs := 0, 0, 0
	for _, r := range results {
		runs += len(r.Records)
		switch {
		case r.Proven && r.Claimed != "":
			claimed++
		case r.Proven:
			proven++
		}
	}
	a.say("%d of %d attacks are blocked by the control that must stop them, and succeed without it; %d are blocked by what has no switch (%d runs)",
		proven, len(results), claimed, runs)
	if v.Evidence != "" {
		a.say("evidence, not signed: %s", v.Evidence)
	}
}

// keep writes the records of a result.
func (v *attackRunCmd) keep(result *runner.Result) error {
	for _, record := range result.Records {
		if err := v.keepRecord(record); err != nil {
			return err
		}
	}
	return nil
}

func (v *attackRunCmd) keepRecord(record *evidence.Record) error {
	if v.Evidence == "" || record == nil {
		return nil
	}
	b, err := evidence.Canonical(record)
	if err != nil {
		return err
	}
	path := filepath.Join(v.Evidence, filepath.FromSlash(record.Name()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("the evidence cannot be kept: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("the evidence cannot be kept: %w", err)
	}
	return nil
}

// concluded is the exit status: 0 all blocked by name, 1 a failure, 3 something not run here.
func concluded(results []runner.Result) error {
	switch {
	case slices.ContainsFunc(results, func(r runner.Result) bool { return !r.Proven && !r.Skipped }):
		return errNotProven
	case slices.ContainsFunc(results, func(r runner.Result) bool { return r.Skipped }):
		return unverified{errNotRunHere}
	}
	return nil
}
