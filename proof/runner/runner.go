// Package runner runs attacks against targets and judges what happened.
//
// A variant is run with every control on, then with its layers off one by one, each time against a target in a process of its own:
// honest baseline, attack, baseline. A block counts if an outside witness saw the goal missed, the attack is known to have arrived, and
// the gate of the target names the control that was expected. A success counts if an outside witness saw the goal reached. What is blocked
// by another than the expected control is blocked by accident, and what does not succeed with its controls off is a dead attack: both are
// failures.
//
// The runner's own limiter holds the bounds of each row. Targets and sockets are handed in. It judges the records that it makes and signs
// nothing yet.
package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"path"
	"slices"
	"time"

	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proto/shard"
	"imsafe/secure"
)

// Config is what a Runner is made of. All fields but Drawn are required.
type Config struct {
	Launcher Launcher
	Network  attack.Network
	Clock    shard.Clock
	Random   io.Reader
	Seed     uint64 // of Random, for the record; 0 is 1
	Mode     string // of the targets: attack.Direct, Strict or Wire; "" is direct
	// Drawn is given the ladders of each run whose target draws them, as JSON. They are for people: nothing is judged by them.
	Drawn func(of *evidence.Record, ladders json.RawMessage)
}

// Runner runs attacks, one at a time.
type Runner struct {
	cfg      Config
	unserved int // runs in a row in which a foreign target did not serve honest users
}

// New makes a Runner.
func New(cfg Config) *Runner { return &Runner{cfg: cfg} }

// Result is what the runs of one variant have shown together.
type Result struct {
	Attack  string             `json:"attack"`
	Number  string             `json:"number"`
	Variant string             `json:"variant,omitempty"`
	Access  string             `json:"access"`
	Proven  bool               `json:"proven"` // blocked by name with the controls on, and succeeded with them off; or claimed
	Finding string             `json:"finding"`
	Claimed string             `json:"claimed,omitempty"` // why there was no run with the controls off
	Skipped bool               `json:"not_run_here,omitempty"`
	Records []*evidence.Record `json:"records"`

	undecided bool // a run proves nothing, and no other has found anything
}

// Name is attack, variant and access, for people.
func (r *Result) Name() string { return path.Join(r.Attack, r.Variant, r.Access) }

// Run runs every variant of a over each of its accesses. An error is of the runner's own; what went wrong with an attack stands in its
// result.
func (r *Runner) Run(ctx context.Context, a *attack.Attack) ([]Result, error) {
	var results []Result
	for _, c := range r.trials(a) {
		result, err := r.try(ctx, c)
		if err != nil {
			return results, fmt.Errorf("runner: %s: %w", result.Name(), err)
		}
		results = append(results, result)
	}
	return results, nil
}

// Undecided says why a result proves nothing, and may be tried again: a run was inconclusive, and no other has found anything, good for the attacker or
// bad for the row. "" where it says something.
func (r *Result) Undecided() string {
	if !r.undecided {
		return ""
	}
	return r.Name() + ": " + r.Finding
}

// Again runs once more the variants of a whose results, as Run has returned them, are undecided. The others stay as they are: what was found is never tried again.
func (r *Runner) Again(ctx context.Context, a *attack.Attack, first []Result) ([]Result, error) {
	results := slices.Clone(first)
	for i, c := range r.trials(a) {
		if i >= len(results) || results[i].Undecided() == "" {
			continue
		}
		result, err := r.try(ctx, c)
		if err != nil {
			return results, fmt.Errorf("runner: %s: %w", result.Name(), err)
		}
		results[i] = result
	}
	return results, nil
}

// trials are those of a in the mode of the targets, always in the same order.
func (r *Runner) trials(a *attack.Attack) (all []*trial) {
	for i := range a.Variants {
		v := &a.Variants[i]
		for _, access := range a.Accesses(v) {
			if r.cfg.Mode == attack.Wire && v.NotWire[access] != "" {
				continue
			}
			all = append(all, &trial{attack: a, variant: v, access: access})
		}
	}
	return all
}

// trial is a variant over one access.
type trial struct {
	attack  *attack.Attack
	variant *attack.Variant
	access  attack.Access
}

func (r *Runner) try(ctx context.Context, c *trial) (Result, error) {
	a, v := c.attack, c.variant
	result := Result{Attack: a.ID, Number: a.Number, Variant: v.Name, Access: string(c.access), Claimed: v.NoAblation}
	for i, off := range peels(v.Controls, v.NoAblation == "") {
		record, err := r.once(ctx, c, off)
		if err != nil {
			return result, err
		}
		record.Expected = expected(v.Controls, i)
		judge(&record.Record, record.failed)
		result.Records = append(result.Records, &record.Record)
	}
	conclude(&result, len(v.Controls))
	return result, nil
}

// conclude says what the runs together have shown: the first that is not as it must be, or that all are.
func conclude(result *Result, layers int) {
	found := ""
	for i, record := range result.Records {
		amiss := amiss(record, i == layers && layers > 0)
		switch {
		case amiss == "":
			continue
		case found == "":
			found, result.undecided = amiss, record.Verdict == evidence.Inconclusive
		case record.Verdict != evidence.Inconclusive:
			result.undecided = false // another run of it has found something
		}
		result.Skipped = result.Skipped || record.Verdict == evidence.NotRunHere && found == amiss
	}
	if result.Finding = found; found != "" {
		return
	}
	result.Proven, result.Finding = true, result.Records[0].Reason
	if result.Claimed != "" {
		result.Finding += "; no run without: " + result.Claimed
	}
	if last := result.Records[len(result.Records)-1]; last.Verdict == evidence.Succeeded {
		result.Finding += "; with it off: " + last.Reason
	}
}

// amiss says what is not as it must be in a run: blocked by name with a layer on, succeeded in the bare one, with all of them off. "" where all is well.
func amiss(record *evidence.Record, bare bool) string {
	want := evidence.Blocked
	if bare {
		want = evidence.Succeeded
	}
	switch {
	case record.Verdict == evidence.NotRunHere:
		return record.Reason
	case bare && record.Verdict == evidence.Blocked:
		return "dead attack: it does not succeed with its controls off: " + record.Reason
	case record.Accident:
		return "blocked by accident: " + record.Reason
	case record.Verdict != want:
		return fmt.Sprintf("%s with %s off: %s", record.Verdict, either(record.ControlsOff), record.Reason)
	}
	return ""
}

func either(off []string) string {
	if len(off) == 0 {
		return "nothing"
	}
	return fmt.Sprint(off)
}

// run is a record in the making.
type run struct {
	evidence.Record
	failed error // why the attack could not be carried out
}

// once is one run: target, baseline, attack, baseline.
func (r *Runner) once(ctx context.Context, c *trial, off []secure.ControlID) (*run, error) {
	a, v := c.attack, c.variant
	target, err := r.cfg.Launcher.Launch(ctx, Setup{Off: off, Digest: a.Digest, NoCard: noCard(a), Media: a.Media, Access: c.access, Profile: a.Profile, Quick: v.Quick, Tight: a.Tight,
		Small: a.Small, Hasty: v.Hasty, Cast: cast(a), Approved: a.Approved, Debug: a.Debug, LogFormat: a.LogFormat, Viewer: a.Viewer, Mode: r.cfg.Mode})
	if err != nil {
		return nil, err
	}
	record := r.open(c, off, target)
	defer func() { record.ends(target.Close()) }()
	living, stop := context.WithCancel(ctx)
	defer stop()
	site := target.Site()
	bounds := &limiter{network: r.cfg.Network, bounds: a.Bounds, clock: r.cfg.Clock, local: site.Management, media: site.Media, mediaPorts: site.MediaPorts,
		targets: []netip.AddrPort{site.TLS, site.Clear, site.Gm, site.NAT, site.Cx, site.Sh, site.Enrol, site.ISC, site.HTTPS, site.Mw, site.Page}}
	field, err := attack.NewField(living, v, c.access, attack.Means{Site: site, Clock: r.cfg.Clock, Random: r.cfg.Random,
		Honest: r.cfg.Network, Attacker: bounds, Operate: target.Operate, Files: target.Files(), Log: target.Log})
	if err != nil {
		return nil, err
	}
	defer record.waits(field)
	defer stop()
	defer field.Close()

	if record.Covers, err = covers(a, v, record); err != nil {
		return nil, err
	}
	record.Before = r.baseline(living, field, target)
	if record.Before.Well() {
		if err := r.strike(living, c, field, target, record, len(off) < len(v.Controls)); err != nil {
			return nil, err
		}
	}
	if over := bounds.exceeded(); over != nil {
		record.failed = overreached{over}
	}
	record.End = evidence.Time(r.cfg.Clock.Wall())
	packets, octets, _, took := bounds.spent()
	record.Packets, record.Bytes, record.Factors.Micros = uint64(packets), uint64(octets), took.Microseconds()
	return record, nil
}

// waits waits for the parties of a run, and notes one that does not end: what was seen of it means nothing.
func (r *run) waits(f *attack.Field) {
	if err := f.Wait(); err != nil {
		r.failed = cmp.Or(r.failed, err)
	}
}

// ends notes how the target's process ended, if not as it should: whatever the attack was for, it has done harm.
func (r *run) ends(err error) {
	if err != nil {
		r.Oracles = append(r.Oracles, evidence.Oracle{Kind: evidence.KindProcess, Outside: true, Saw: err.Error(), Reached: true})
	}
}

// strike is the attack itself. Honest service is measured afterwards where it must still stand.
func (r *Runner) strike(ctx context.Context, c *trial, field *attack.Field, target Target, record *run, stands bool) error {
	before, err := target.Events(ctx)
	if err != nil {
		return err
	}
	var o attack.Outcome
	drawer, draws := target.(Drawer)
	if draws = draws && r.cfg.Drawn != nil; draws {
		if err := drawer.Draw(ctx); err != nil {
			return err
		}
	}
	bounded, cancel := attack.Bounded(ctx, c.attack.Bounds.Time)
	record.failed = c.variant.Run(bounded, field, &o)
	cancel()
	after, err := target.Events(ctx)
	if err != nil {
		record.ends(err)
		return nil
	}
	record.Events = since(before, after)
	if draws {
		ladders, err := drawer.Drawn(ctx)
		if err != nil {
			return err
		}
		r.cfg.Drawn(&record.Record, ladders)
	}
	record.Delivered, record.Factors.Users = o.Delivered, o.Users
	if o.Delivered == "" && len(record.Events) > 0 {
		record.Delivered = "the target notes: " + tally(record.Events)
	}
	for _, s := range o.Sights {
		kind := evidence.KindPeer
		if s.Wire {
			kind = evidence.KindWire
		}
		record.Oracles = append(record.Oracles, evidence.Oracle{Kind: kind, Outside: true, Saw: s.Saw, Reached: s.Reached})
	}
	record.Oracles = append(record.Oracles, evidence.Oracle{Kind: evidence.KindEvent, Saw: tally(record.Events), Reached: passed(&record.Record)})
	if stands {
		record.After = r.baseline(ctx, field, target)
	}
	return nil
}

func tally(events []evidence.Event) string {
	said := ""
	for _, e := range events {
		how := "refused"
		if !e.Enforced {
			how = "is off and let pass"
		}
		said += fmt.Sprintf("%s %s %d (%s). ", e.Control, how, e.Count, e.Reason)
	}
	if said == "" {
		return "nothing noted"
	}
	return said[:len(said)-1]
}

// open begins the record of a run.
func (r *Runner) open(c *trial, off []secure.ControlID, target Target) *run {
	a, v := c.attack, c.variant
	what := target.What()
	what.Profile, what.Mode = string(c.access), cmp.Or(r.cfg.Mode, attack.Direct)
	return &run{Record: evidence.Record{Attack: a.ID, Number: a.Number, Variant: v.Name, PackVersion: attack.PackVersion, Seed: cmp.Or(r.cfg.Seed, 1),
		Start: evidence.Time(r.cfg.Clock.Wall()), Target: what, Position: v.Position.String(), Credentials: v.Position.Holds(),
		ControlsOff: names(off), NoAblation: v.NoAblation, Oracles: []evidence.Oracle{}, Events: []evidence.Event{}}}
}

// covers are the hashes that make a record stale: the program, its configuration, the rows of the policy that the attack is about, and
// the row of the catalogue. The source of control, driver and judge is in the program's.
func covers(a *attack.Attack, v *attack.Variant, record *run) (map[string]string, error) {
	all := map[string]string{"program": record.Target.Build, "configuration": record.Target.Config}
	for _, c := range v.Controls {
		row, known := policy.Find(c)
		if !known {
			return nil, fmt.Errorf("%v has no row in the policy", c)
		}
		sum, err := evidence.SumOf(map[string]any{"row": fmt.Sprintf("%+v", row)})
		if err != nil {
			return nil, err
		}
		all["policy "+c.String()] = sum
	}
	row := *a
	row.Variants = nil // functions have no text; their names and controls follow
	sum, err := evidence.SumOf(map[string]any{"row": fmt.Sprintf("%+v", row), "variant": v.Name, "controls": names(v.Controls), "pack": attack.PackVersion})
	if err != nil {
		return nil, err
	}
	all["attack"] = sum
	return all, nil
}

// patience is how long honest service may take at all, of the time that the machine gives.
const patience = 5 * time.Second
