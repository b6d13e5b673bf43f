package main

import (
	_ "embed"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"imsafe/doctor"
	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
	"imsafe/proof/runner"
	"imsafe/proof/tables"
	"imsafe/proof/tvra"
)

// where says in which declaration of which file a control is enforced, and in which file an attack is written. check makes it from the code.
//
//go:embed where.tsv
var where string

type explainIDCmd struct {
	ID     []string `arg:"" help:"An attack (dotted id or number) or one variant of it, a control, a cell (C-I availability), a threat (corruption, spoofing), an asset, or a code of imsafe doctor."`
	Bundle string   `help:"Bundle with the evidence; without one, the newest of those in imsafe-proof." type:"path" placeholder:"DIR"`
}

// explanation is all that is known of one thing.
type explanation struct {
	ID       string         `json:"id"`
	Kind     string         `json:"kind"`
	What     string         `json:"what"`
	Why      string         `json:"why_it_matters"`
	Source   string         `json:"source,omitempty"`
	Clause   string         `json:"clause,omitempty"`
	Where    []string       `json:"where"`
	State    evidence.State `json:"state,omitempty"` // "" of what has none
	Because  string         `json:"because,omitempty"`
	Evidence []string       `json:"last_evidence"`
	Touches  []string       `json:"touches"` // what depends on it, or what it consists of
	Do       []string       `json:"do"`

	reasons []string // Because, where there are several
}

// Run explains.
func (v *explainIDCmd) Run(a *app) error {
	k, err := v.knows()
	if err != nil {
		return err
	}
	id := strings.Join(v.ID, " ")
	x := k.explain(id)
	if x == nil {
		return usage{fmt.Errorf("there is no attack, control, cell, threat, asset or code %q; most like it: %s. `imsafe attack list` and `imsafe policy` show what there is", id,
			strings.Join(k.near(id), ", "))}
	}
	if a.json {
		a.print(x)
		return nil
	}
	x.tell(a)
	return nil
}

func (v *explainIDCmd) knows() (*knowledge, error) {
	c, set, from, err := v.evidence()
	if err != nil {
		return nil, err
	}
	r, err := proof.Make(c, set)
	return &knowledge{c: c, set: set, board: evidence.NewBoard(c), report: r, from: from}, err
}

// evidence is that of a bundle, if there is one, with the catalogue and the policy of this program; a record that is stale counts no more.
func (v *explainIDCmd) evidence() (*evidence.Case, *tables.Set, string, error) {
	c := &evidence.Case{Attacks: runner.Catalogue(), Policy: runner.Policy(), Weaker: runner.Weaker(), Stale: map[string]string{}, Subject: evidence.Subject{Seeds: []uint64{1},
		Modes: []string{"direct"}}}
	set, err := tables.Load()
	if err != nil {
		return nil, nil, "", err
	}
	dir := v.Bundle
	if dir == "" {
		if dir, err = lastBundle(proofDir); err != nil {
			return c, set, "", nil // nothing was proven here yet
		}
	}
	b, err := readBundle(dir)
	if err != nil {
		return nil, nil, "", usage{err}
	}
	if _, err := b.Verify(); err != nil {
		c.Void = fmt.Sprintf("%s is not what was signed: %v", dir, err)
		return c, set, dir, nil
	}
	kept, err := b.Case()
	if err != nil {
		return nil, nil, "", err
	}
	l, err := newLauncher()
	if err != nil {
		return nil, nil, "", err
	}
	c.Subject, c.Records = kept.Subject, kept.Records
	if c.Stale, err = staleness(c, l.build, set); err != nil {
		return nil, nil, "", err
	}
	return c, set, dir, nil
}

// knowledge is what explanations are made of.
type knowledge struct {
	c      *evidence.Case
	set    *tables.Set
	board  *evidence.Board
	report *proof.Report
	from   string // the bundle; "" without one
}

func (k *knowledge) explain(id string) *explanation {
	if x := finding(id); x != nil {
		return x
	}
	for _, f := range []func(string) *explanation{k.attack, k.variant, k.control, k.cell, k.threat, k.asset} {
		x := f(id)
		switch {
		case x == nil:
			continue
		case k.from != "":
			x.Evidence = append(x.Evidence, "from "+k.from)
		default:
			x.Evidence = []string{"none here: `imsafe prove` makes it"}
			if x.State == evidence.StateClaimed {
				x.Because, x.reasons = "nothing was run here yet", nil
			}
		}
		return x
	}
	return nil
}

// finding explains a code of the doctor's.
func finding(id string) *explanation {
	code := doctor.Code(strings.ToUpper(id))
	e, known := doctor.Explain(code)
	if !known {
		return nil
	}
	x := &explanation{ID: string(code), Kind: "code of imsafe doctor", What: strings.TrimSuffix(e.Looks, "."), Why: e.Why, Source: doctor.Page(code), Where: []string{},
		Evidence: []string{}, Touches: []string{}}
	for _, do := range []string{e.Do, "`imsafe doctor --all` says what it sees here, `imsafe doctor user IDENTITY` what of a subscriber"} {
		if do != "" {
			x.Do = append(x.Do, do)
		}
	}
	return x
}

func (k *knowledge) attack(id string) *explanation {
	i := slices.IndexFunc(k.c.Attacks, func(a evidence.Attack) bool { return strings.EqualFold(a.ID, id) || strings.EqualFold(a.Number, id) })
	if i < 0 {
		return nil
	}
	a := &k.c.Attacks[i]
	s := k.board.Attack(a.ID)
	return k.attacked(a, a.Variants, &s, func(attack, _, _ string) bool { return attack == a.ID })
}

// variant explains one variant of an attack, over every access or one of them: as attack list and evidence name it.
func (k *knowledge) variant(id string) *explanation {
	name, rest, _ := strings.Cut(strings.ToLower(id), "/")
	for i := range k.c.Attacks {
		a := &k.c.Attacks[i]
		if a.ID != name && strings.ToLower(a.Number) != name {
			continue
		}
		for _, v := range a.Variants {
			for _, access := range append([]string{""}, v.Access...) {
				if rest == "" || rest != path.Join(v.Name, access) {
					continue
				}
				fits := func(attack, variant, over string) bool {
					return attack == a.ID && variant == v.Name && (access == "" || over == access)
				}
				s := k.board.Trial(path.Join(a.ID, rest), fits)
				x := k.attacked(a, []evidence.Variant{v}, &s, fits)
				x.ID, x.Kind = s.ID, "variant of "+a.Number
				return x
			}
		}
	}
	return nil
}

// attacked explains variants of a, and what the trials show that fit.
func (k *knowledge) attacked(a *evidence.Attack, variants []evidence.Variant, s *evidence.Standing, fits func(attack, variant, access string) bool) *explanation {
	x := &explanation{ID: a.ID, Kind: "attack " + a.Number, What: a.Title, Why: a.Text, Source: a.Source, Where: places(a.ID), State: s.State, Because: s.Why,
		Touches: []string{}, Do: k.advice(s, a.ID)}
	for _, service := range a.Services {
		x.Touches = append(x.Touches, "against "+service+" on "+a.Door)
	}
	for _, v := range variants {
		said := fmt.Sprintf("%s from %s over %s, stopped by %s", path.Join(a.ID, v.Name), v.Position, strings.Join(v.Access, ", "), strings.Join(v.Controls, " > "))
		if v.NoAblation != "" {
			said += "; no switch: " + v.NoAblation
		}
		x.Touches = append(x.Touches, said)
	}
	x.Touches = append(x.Touches, fmt.Sprintf("%s, X.805 module %s, threats %s", a.Stride, a.Module, strings.Join(a.Threats, ", ")))
	x.Touches = append(x.Touches, k.risksOf(func(e *tvra.Entry, _ []string) bool {
		return e.Attack == a.ID && slices.ContainsFunc(variants, func(v evidence.Variant) bool { return e.Name() == path.Join(a.ID, v.Name) })
	})...)
	x.Evidence = k.trials(func(t *proof.TrialLine) bool { return fits(t.Attack, t.Variant, t.Access) })
	return x
}

func (k *knowledge) control(id string) *explanation {
	p, known := k.c.Find(strings.ToLower(id))
	if !known {
		return nil
	}
	s := k.board.Control(p.ID)
	x := &explanation{ID: p.ID, Kind: "control", What: p.Mechanism, Clause: p.Clause, Where: places(p.ID), State: s.State, Because: s.Why, Touches: []string{
		fmt.Sprintf("cell %s %s, X.805 dimension %s, level %s", p.Door, p.Service, p.Dimension, p.Level)}}
	for _, attack := range s.Attacks {
		i := slices.IndexFunc(k.c.Attacks, func(a evidence.Attack) bool { return a.ID == attack })
		x.Touches = append(x.Touches, fmt.Sprintf("stops %s %s: %s", k.c.Attacks[i].Number, attack, k.c.Attacks[i].Title))
		if x.Why == "" {
			x.Why = "without it: " + k.c.Attacks[i].Text
		}
	}
	if x.Why == "" {
		x.Why = fmt.Sprintf("%s at %s rests on it, and no attack of the catalogue shows what happens without", p.Service, p.Door)
	}
	if effect, known := k.set.Effects.Find(p.ID); known {
		x.Touches = append(x.Touches, fmt.Sprintf("where it is proven, %s becomes %s: %s", effect.Factor, effect.Value, effect.Why))
	}
	x.Touches = append(x.Touches, k.risksOf(func(_ *tvra.Entry, controls []string) bool { return slices.Contains(controls, p.ID) })...)
	for _, w := range k.c.Weaker {
		if slices.Contains(w.Controls, p.ID) {
			x.Touches = append(x.Touches, "weakened by the setting "+w.Name)
		}
	}
	x.Evidence = k.trials(func(t *proof.TrialLine) bool { return slices.Contains(t.Controls, p.ID) })
	only := p.ID
	if len(s.Attacks) > 0 {
		only = s.Attacks[0]
	}
	x.Do = k.advice(&s, only)
	return x
}

func (k *knowledge) cell(id string) *explanation {
	for i := range k.report.Cells {
		c := &k.report.Cells[i]
		short := strings.ReplaceAll(strings.ToLower(c.Door), "-", "") + "." + c.Service
		if !strings.EqualFold(c.Name, id) && !strings.EqualFold(short, id) {
			continue
		}
		x := &explanation{ID: c.Name, Kind: "cell", What: fmt.Sprintf("%s at the interface %s", c.Service, c.Door),
			Why:    "an attacker reaches the system at three interfaces; at each, four security services must hold",
			Source: "Towards a New Approach for Securing IMS Networks (2013): the table of interfaces and services",
			State:  c.State, Because: strings.Join(c.Why, "; "), reasons: c.Why, Where: []string{}, Touches: []string{}, Evidence: []string{fmt.Sprintf("%d of %d parts are proven",
				c.Proven, c.Total)}}
		var clauses []string
		for _, m := range c.Mechanisms {
			x.Touches = append(x.Touches, fmt.Sprintf("control %s (%s): %s", m.ID, m.State, m.Mechanism))
			for _, place := range places(m.ID) {
				if !slices.Contains(x.Where, place) {
					x.Where = append(x.Where, place)
				}
			}
			if p, _ := k.c.Find(m.ID); !slices.Contains(clauses, p.Clause) {
				clauses = append(clauses, p.Clause)
			}
		}
		x.Clause = strings.Join(clauses, "; ")
		for _, t := range c.Attacks {
			x.Touches = append(x.Touches, fmt.Sprintf("attack %s %s (%s): %s", t.Number, t.ID, t.State, t.Title))
		}
		x.Evidence = append(x.Evidence, k.trials(func(t *proof.TrialLine) bool {
			return slices.ContainsFunc(c.Attacks, func(a cells.Tried) bool { return a.ID == t.Attack })
		})...)
		x.Do = []string{"nothing: it is proven"}
		if c.State != evidence.StateProven {
			x.Do = []string{"`imsafe explain` each part that is not proven", "`imsafe prove` runs its attacks"}
		}
		return x
	}
	return nil
}

func (k *knowledge) threat(id string) *explanation {
	id = strings.ToLower(id)
	means, known := meanings()[id]
	if !known {
		return nil
	}
	x := &explanation{ID: id, Kind: "threat", What: means.what, Why: means.why, Source: means.source, Where: []string{}, Touches: []string{}}
	var states []evidence.State
	for _, a := range k.c.Attacks {
		if a.Stride != id && !slices.Contains(a.Threats, id) {
			continue
		}
		x.Where = append(x.Where, places(a.ID)...)
		s := k.board.Attack(a.ID)
		states = append(states, s.State)
		x.Touches = append(x.Touches, fmt.Sprintf("%s %s (%s): %s", a.Number, a.ID, s.State, a.Title))
	}
	x.Do = []string{"`imsafe explain` each attack that is not proven"}
	x.Evidence = k.trials(func(t *proof.TrialLine) bool {
		i := slices.IndexFunc(k.c.Attacks, func(a evidence.Attack) bool { return a.ID == t.Attack })
		return i >= 0 && (k.c.Attacks[i].Stride == id || slices.Contains(k.c.Attacks[i].Threats, id))
	})
	if x.State, x.Because = evidence.Worst(states...), fmt.Sprintf("the worst of %d attacks", len(states)); states == nil {
		x.State, x.Because, x.Do = evidence.StateGap, "no attack of the catalogue does it", []string{"write an attack that does: docs/attacks.md"}
	}
	return x
}

func (k *knowledge) asset(id string) *explanation {
	i := slices.IndexFunc(k.set.Judgement.Assets, func(a tables.Asset) bool { return strings.EqualFold(a.ID, id) })
	if i < 0 {
		return nil
	}
	a := k.set.Judgement.Assets[i]
	x := &explanation{ID: a.ID, Kind: "asset", What: a.Name, Why: fmt.Sprintf("its impact is %d of %d, by our judgement", a.Impact, k.set.Impact.Highest()),
		Source: tables.JudgementFile, Where: []string{"proof/tables/data/" + tables.JudgementFile},
		Do: []string{"judge for yourself: `imsafe risk --print > judgement.toml`, change it, `imsafe risk --judgement judgement.toml`"}}
	aimed := map[string]bool{}
	var states []evidence.State
	for _, f := range k.set.Attacks.Attacks {
		if f.Asset == a.ID && slices.ContainsFunc(k.c.Attacks, func(c evidence.Attack) bool { return c.ID == f.ID }) {
			aimed[f.ID] = true
			states = append(states, k.board.Attack(f.ID).State)
		}
	}
	x.State, x.Touches = evidence.Worst(states...), k.risksOf(func(e *tvra.Entry, _ []string) bool { return aimed[e.Attack] })
	x.Evidence = k.trials(func(t *proof.TrialLine) bool { return aimed[t.Attack] })
	return x
}

// risksOf lists risks, before and after.
func (k *knowledge) risksOf(which func(e *tvra.Entry, controls []string) bool) []string {
	all := []string{}
	for i := range k.report.Register.Entries {
		e := &k.report.Register.Entries[i]
		var controls []string
		for _, m := range e.Measures {
			controls = append(controls, m.Control)
		}
		if which(e, controls) {
			floor := ""
			if e.AtFloor {
				floor = ", at its floor"
			}
			all = append(all, fmt.Sprintf("risk %s: %s %d before, %s %d now%s", e.Name(), e.Before.Risk.Band, e.Before.Risk.Value, e.After.Risk.Band, e.After.Risk.Value,
				floor))
		}
	}
	return all
}

func (k *knowledge) trials(which func(*proof.TrialLine) bool) []string {
	all := []string{}
	for i := range k.report.Trials {
		if t := &k.report.Trials[i]; which(t) && len(t.Records) > 0 {
			all = append(all, fmt.Sprintf("%s: %s. %s", t.Name(), t.Finding, t.Why))
		}
	}
	return all
}

// advice says what to do about a standing.
func (k *knowledge) advice(s *evidence.Standing, attack string) []string {
	again := "`imsafe prove` runs it with all others, `imsafe attack run " + attack + "` it alone"
	switch {
	case s.Weak != nil:
		return []string{"take the weakening out of the configuration (" + strings.Join(s.Weak, ", ") + "), or live with a claim"}
	case s.State == evidence.StateProven:
		return []string{"nothing: it is proven until program, configuration or rows change, and for " + fmt.Sprint(k.set.Limits.Days) + " days"}
	case s.Excused:
		return []string{"nothing: by nature there is no switch that could show more"}
	case s.Trials == 0 && s.State == evidence.StateGap:
		return []string{"build it, or give it an enforcement point of its own: docs/develop.md"}
	case s.Trials == 0:
		return []string{"write an attack that it must stop: docs/attacks.md"}
	}
	switch s.Finding {
	case evidence.Open, evidence.Partial:
		return []string{"this is a hole: do not put it into production", "`imsafe attack run " + attack + " --evidence DIR` keeps all that was seen"}
	case evidence.Pierced:
		return []string{"a layer does nothing: the one before it is all that holds", "`imsafe attack run " + attack + "` says which"}
	case evidence.Accidental, evidence.Dead:
		return []string{"the row or the control is wrong: docs/attacks.md says what counts", "`imsafe attack run " + attack + " --evidence DIR` keeps all that was seen"}
	}
	return []string{again}
}

// places are where something stands in the code.
func places(id string) []string {
	all := []string{}
	for line := range strings.Lines(where) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) == 3 && f[0] == id {
			all = append(all, strings.TrimSpace(filepath.ToSlash(f[1])+" "+f[2]))
		}
	}
	return all
}

// tell prints it for people.
func (x *explanation) tell(a *app) {
	a.say("%s, %s: %s\n", x.ID, x.Kind, x.What)
	line := func(what string, said ...string) {
		for i, text := range said {
			if i > 0 {
				what = ""
			}
			if text != "" {
				a.say("%-9s %s", what, text)
			}
		}
	}
	line("why", x.Why)
	line("source", x.Source)
	line("clause", x.Clause)
	line("code", x.Where...)
	switch {
	case len(x.reasons) > 1:
		line("state", append([]string{string(x.State) + ":"}, x.reasons...)...)
	case x.State != "":
		line("state", strings.TrimSuffix(string(x.State)+": "+x.Because, ": "))
	}
	line("with", x.Touches...)
	line("evidence", x.Evidence...)
	line("do", x.Do...)
}
