package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	proof "imsafe/proof/report"
	"imsafe/proof/tvra"
)

type riskCmd struct {
	Bundle    string `arg:"" optional:"" help:"Directory of a bundle; without one, the newest of those in imsafe-proof." type:"path"`
	Judgement string `help:"What a person judges: assets and their impact, accepted risks with owner and dates. Default: that of the bundle." type:"path" placeholder:"FILE"`
	Since     string `help:"Bundle to compare with; without one, the one before." type:"path" placeholder:"DIR"`
	Print     bool   `help:"Print the judgement of this program, to change it, and do nothing else."`
}

var errUndecided = errors.New("some risks are more than minor, and nobody has accepted them")

// riskReport is the answer as JSON.
type riskReport struct {
	Bundle   string         `json:"bundle"`
	Before   string         `json:"compared_with"` // "" if there is nothing to compare with
	Changes  []string       `json:"changes"`
	Register *tvra.Register `json:"register"`
}

// Run computes the register again.
func (v *riskCmd) Run(a *app) error {
	if v.Print {
		_, text, err := defaultJudgement()
		if err == nil {
			_, err = a.stdout.Write(text)
		}
		return err
	}
	out := riskReport{Bundle: v.Bundle, Before: v.Since, Changes: []string{}}
	var err error
	if out.Bundle == "" {
		if out.Bundle, err = lastBundle(proofDir); err != nil {
			return err
		}
	}
	r, err := v.compute(a, out.Bundle)
	if err != nil {
		return err
	}
	out.Register = r.Register
	if err := v.compare(&out, r); err != nil {
		return err
	}
	if a.json {
		a.print(out)
	} else if err := out.tell(a, r); err != nil {
		return err
	}
	switch {
	case r.Void != "":
		return a.said(errors.New(r.Void))
	case len(r.Register.Undecid) > 0:
		return a.said(incomplete{fmt.Errorf("%w: %d of %d; `imsafe risk --print` writes the file for it, `--judgement FILE` reads it", errUndecided, len(r.Register.Undecid),
			len(r.Register.Entries))})
	}
	return nil
}

// compute reads a bundle and computes with the person's judgement in the place of the bundle's.
func (v *riskCmd) compute(a *app, dir string) (*proof.Report, error) {
	b, err := readBundle(dir)
	if err != nil {
		return nil, usage{err}
	}
	_, altered := b.Verify()
	c, err := b.Case()
	if err != nil {
		return nil, err
	}
	if altered != nil {
		c.Void = "the bundle is not what was signed: " + strings.ReplaceAll(altered.Error(), "\n", "; ")
	}
	set, err := tablesOf(b)
	if err != nil {
		return nil, err
	}
	if v.Judgement != "" {
		if set, err = a.judgedBy(v.Judgement, maps.Clone(set.Files())); err != nil {
			return nil, err
		}
	}
	return proof.MakeOn(time.Now().UTC().Format(time.DateOnly), c, set)
}

// compare says what is another than in the bundle before; with a judgement of one's own, than in the bundle itself.
func (v *riskCmd) compare(out *riskReport, now *proof.Report) error {
	switch {
	case out.Before != "":
	case v.Judgement != "":
		out.Before = out.Bundle
	default:
		out.Before = bundleBefore(out.Bundle)
	}
	if out.Before == "" {
		return nil
	}
	b, err := readBundle(out.Before)
	if err != nil {
		return usage{fmt.Errorf("there is nothing to compare with: %w", err)}
	}
	if _, altered := b.Verify(); altered != nil {
		return usage{fmt.Errorf("there is nothing to compare with: %s is not what was signed: %w", out.Before, altered)}
	}
	text, err := os.ReadFile(filepath.Join(out.Before, filepath.FromSlash(proof.JSONName)))
	if err != nil {
		return usage{fmt.Errorf("there is nothing to compare with: %w", err)}
	}
	before := new(proof.Report)
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(before); err != nil || before.Register == nil {
		return fmt.Errorf("%s has no report to compare with: %w", out.Before, err)
	}
	out.Changes = append(out.Changes, proof.Changes(before, now)...)
	return nil
}

// bundleBefore is the bundle beside dir that is the next older one; "" without one.
func bundleBefore(dir string) string {
	for _, name := range slices.Backward(bundlesIn(filepath.Dir(dir))) {
		if name < filepath.Base(dir) {
			return filepath.Join(filepath.Dir(dir), name)
		}
	}
	return ""
}

// tell prints the register for people, worst first.
func (out *riskReport) tell(a *app, r *proof.Report) error {
	g := out.Register
	entries := slices.Clone(g.Entries)
	slices.SortStableFunc(entries, func(x, y tvra.Entry) int { return cmp.Compare(y.After.Risk.Value, x.After.Risk.Value) })
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tTHREAT\tASSET\tBEFORE\tNOW\tFLOOR\tEVIDENCE\tACCEPTED")
	for _, e := range entries {
		floor, accepted := fmt.Sprint(e.Floor.Value), ""
		if e.AtFloor {
			floor += ", at its floor"
		}
		if e.Accepted != nil {
			accepted = e.Acceptance
			if e.Expired {
				accepted = "NO: " + accepted
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s %d\t%s %d\t%s\t%s\t%s\n", e.Number, e.Name(), cmp.Or(e.Asset, "not rated"), e.Before.Risk.Band, e.Before.Risk.Value,
			e.After.Risk.Band, e.After.Risk.Value, floor, e.Finding, accepted)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	a.say("\nBefore: %s. Now: %s.", counts(g.Headline.Before), counts(g.Headline.After))
	for _, mark := range g.Marks {
		a.say("UNVERIFIED TABLE  %s", mark)
	}
	if out.Before != "" {
		a.say("\nSince %s:", out.Before)
		for _, text := range out.Changes {
			a.say("  %s", text)
		}
		if len(out.Changes) == 0 {
			a.say("  nothing")
		}
	}
	a.say("\n%s: %s", out.Bundle, r.Sentence())
	return nil
}

func counts(of map[string]int) string {
	return fmt.Sprintf("%d critical, %d major, %d minor", of["critical"], of["major"], of["minor"])
}
