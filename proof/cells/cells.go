// Package cells computes the paper's table from evidence: three interfaces by four security services, the five security associations of
// 3GPP, and the risks of each layer.
//
// A cell is proven when every required control of its interface and service is proven, and every attack at that door on that service is blocked by
// name and succeeds without, all with fresh evidence. What has no switch by nature is named and does not count. Nothing is ever good by default:
// an empty cell is a gap.
//
// It does no input or output, and imports proof/evidence and proof/tables. Everything in it is a function of a Board.
package cells

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"imsafe/proof/evidence"
	"imsafe/proof/tables"
)

// Doors are the rows of the table.
func Doors() []string { return []string{"C-I", "I-S", "C-S"} }

// Services are its columns.
func Services() []string {
	return []string{"availability", "integrity", "confidentiality", "authentication"}
}

// Mechanism is a control in a cell.
type Mechanism struct {
	evidence.Standing
	Mechanism string `json:"mechanism"`
	Clause    string `json:"clause"`
}

// Tried is an attack in a cell.
type Tried struct {
	evidence.Standing
	Number    string   `json:"number"`
	Title     string   `json:"title"`
	BlockedBy []string `json:"blocked_by"` // named by the target
	Succeeded bool     `json:"succeeded_without"`
	Reached   bool     `json:"succeeded_with"` // it is open
	// With and Without are what somebody outside the target saw, of the first trial that shows both; "" where none does.
	With    string `json:"seen_with"`
	Without string `json:"seen_without"`
}

// Cell is one interface and one service.
type Cell struct {
	Name       string         `json:"name"` // "C-I availability"
	Door       string         `json:"door"`
	Service    string         `json:"service"`
	State      evidence.State `json:"state"`
	Why        []string       `json:"why"` // what keeps it from being proven
	Mechanisms []Mechanism    `json:"mechanisms"`
	Attacks    []Tried        `json:"attacks"`
	Proven     int            `json:"proven"`  // controls and attacks
	Total      int            `json:"total"`   // that count
	Excused    []string       `json:"excused"` // by nature: named, not counted
}

// Table computes the twelve cells, row by row.
func Table(b *evidence.Board) []Cell {
	var all []Cell
	for _, door := range Doors() {
		for _, service := range Services() {
			all = append(all, cell(b, door, service))
		}
	}
	return all
}

func cell(b *evidence.Board, door, service string) Cell {
	c := Cell{Name: door + " " + service, Door: door, Service: service, Why: []string{}, Mechanisms: []Mechanism{}, Attacks: []Tried{}, Excused: []string{}}
	var states []evidence.State
	count := func(s evidence.Standing) {
		if s.Excused && s.State == evidence.StateClaimed {
			c.Excused = append(c.Excused, s.ID)
			return
		}
		c.Total++
		states = append(states, s.State)
		if s.State == evidence.StateProven {
			c.Proven++
		} else {
			c.Why = append(c.Why, s.ID+": "+s.Why)
		}
	}
	for _, p := range b.Case.Policy {
		if p.Door == door && evidence.ServiceOf(p.Service) == service && p.Level != "optional" {
			m := Mechanism{Standing: b.Control(p.ID), Mechanism: p.Mechanism, Clause: p.Clause}
			c.Mechanisms = append(c.Mechanisms, m)
			count(m.Standing)
		}
	}
	for i := range b.Case.Attacks {
		if a := &b.Case.Attacks[i]; a.Door == door && slices.Contains(a.Services, service) {
			t := tried(b, a)
			c.Attacks = append(c.Attacks, t)
			count(t.Standing)
		}
	}
	switch {
	case len(c.Mechanisms) == 0 && len(c.Attacks) == 0:
		c.State, c.Why = evidence.StateGap, []string{"nothing is built here yet"}
	case len(states) == 0:
		c.State, c.Why = evidence.StateClaimed, []string{"nothing here has a switch, so nothing can be shown"}
	case c.Proven == 0 || len(c.Mechanisms) == 0:
		c.State = evidence.Worst(append(states, evidence.StateClaimed)...)
	default:
		c.State = evidence.Worst(states...)
	}
	if len(c.Mechanisms) == 0 && len(c.Attacks) > 0 {
		c.Why = append(c.Why, "no mechanism of the policy is for this cell")
	}
	return c
}

func tried(b *evidence.Board, a *evidence.Attack) Tried {
	t := Tried{Standing: b.Attack(a.ID), Number: a.Number, Title: a.Title, BlockedBy: []string{}}
	for i := range b.Trials {
		x := &b.Trials[i]
		if x.Attack.ID != a.ID {
			continue
		}
		if on := x.On(); on != nil && on.Verdict == evidence.Blocked && !on.Accident && len(x.Controls) > 0 {
			t.BlockedBy = append(t.BlockedBy, x.Controls[0])
		}
		t.Succeeded = t.Succeeded || x.Bare() != nil
		t.Reached = t.Reached || x.Finding == evidence.Open
		if on, bare := x.On(), x.Bare(); t.With == "" && on != nil && bare != nil {
			t.With, t.Without = outside(on), outside(bare)
		}
	}
	slices.Sort(t.BlockedBy)
	t.BlockedBy = slices.Compact(t.BlockedBy)
	return t
}

// outside is what the first witness outside the target saw.
func outside(r *evidence.Record) string {
	for _, o := range r.Oracles {
		if o.Outside {
			return o.Saw
		}
	}
	return ""
}

// Part is a control or attack of an association or a risk.
type Part struct {
	ID    string         `json:"id"`
	State evidence.State `json:"state"`
	Why   string         `json:"why"`
}

// Whole is an association, or a risk of a layer: as good as the worst of its parts.
type Whole struct {
	Number int            `json:"number"`
	Layer  string         `json:"layer"`
	Name   string         `json:"name"`
	What   string         `json:"what"`
	State  evidence.State `json:"state"`
	Proven int            `json:"proven"`
	Total  int            `json:"total"`
	Parts  []Part         `json:"parts"`
}

// Associations computes the five security associations of 3GPP (TS 33.203 4).
func Associations(b *evidence.Board, t *tables.Associations) []Whole {
	all := []Whole{}
	for _, a := range t.Associations {
		w := Whole{Number: a.Number, Name: a.Name, What: a.What}
		for _, id := range a.Controls {
			s := b.Control(id)
			if _, built := b.Case.Find(id); !built && t.Missing[id] != "" {
				s.Why = t.Missing[id]
			}
			w.add(s)
		}
		all = append(all, w.closed())
	}
	return all
}

// Layers computes the risks by layer.
func Layers(b *evidence.Board, t *tables.Layers) []Whole {
	all := []Whole{}
	for i, r := range t.Risks {
		w := Whole{Number: i + 1, Layer: r.Layer, Name: r.Name}
		for _, id := range r.Attacks {
			w.add(b.Attack(id))
		}
		all = append(all, w.closed())
	}
	return all
}

func (w *Whole) add(s evidence.Standing) {
	if s.Excused && s.State == evidence.StateClaimed {
		w.Parts = append(w.Parts, Part{s.ID, evidence.StateNone, "by nature it has no switch: " + s.Why})
		return
	}
	w.Total++
	if s.State == evidence.StateProven {
		w.Proven++
	}
	w.Parts = append(w.Parts, Part{s.ID, s.State, s.Why})
}

func (w *Whole) closed() Whole {
	var states []evidence.State
	for _, p := range w.Parts {
		if p.State != evidence.StateNone {
			states = append(states, p.State)
		}
	}
	w.State = evidence.Worst(states...)
	return *w
}

// Conclusion is what the exit status is made of.
type Conclusion struct {
	Proven    int      `json:"cells_proven"` // of twelve
	Failed    []string `json:"failed"`       // open, partial, pierced, accident, dead: trials, with the finding; and required controls without an attack
	Stale     []string `json:"stale"`
	Unknown   []string `json:"unknown"`      // trials whose runs prove nothing, or are not there
	Elsewhere []string `json:"not_run_here"` // trials that the host refuses
	Excused   []string `json:"excused"`      // trials without a switch by nature
	NotWire   []string `json:"not_on_nodes"` // trials that are not run against a target on two nodes, where others are
}

// Conclude sums up.
func Conclude(b *evidence.Board, table []Cell) Conclusion {
	c := Conclusion{Failed: []string{}, Stale: []string{}, Unknown: []string{}, Elsewhere: []string{}, Excused: []string{}, NotWire: notWire(b)}
	for _, x := range table {
		if x.State == evidence.StateProven {
			c.Proven++
		}
	}
	for i := range b.Case.Policy {
		if p := &b.Case.Policy[i]; p.Level == "required" && b.Control(p.ID).Trials == 0 {
			c.Failed = append(c.Failed, p.ID+" is required, and no attack of the catalogue tries it")
		}
	}
	for i := range b.Trials {
		t := &b.Trials[i]
		said := strings.Join([]string{t.Attack.Number, t.Name() + among(b, t), string(t.Finding) + ":", t.Why}, " ")
		switch t.Finding {
		case evidence.Open, evidence.Partial, evidence.Pierced, evidence.Accidental, evidence.Dead:
			c.Failed = append(c.Failed, said)
		case evidence.Outdated:
			c.Stale = append(c.Stale, said)
		case evidence.Unknown, evidence.NotRun:
			c.Unknown = append(c.Unknown, said)
		case evidence.Elsewhere:
			c.Elsewhere = append(c.Elsewhere, said)
		case evidence.ByNature:
			c.Excused = append(c.Excused, said)
		}
	}
	return c
}

// notWire names what mode wire leaves out, with the reason; nothing where that mode was not asked for.
func notWire(b *evidence.Board) []string {
	all := []string{}
	if !slices.Contains(b.Case.Subject.Modes, evidence.Wire) {
		return all
	}
	for i := range b.Case.Attacks {
		a := &b.Case.Attacks[i]
		for j := range a.Variants {
			v := &a.Variants[j]
			for _, access := range v.Access {
				if why := v.NotWire[access]; why != "" {
					all = append(all, a.Number+" "+path.Join(a.ID, v.Name, access)+": "+why)
				}
			}
		}
	}
	return all
}

// among tells a trial from the same one in another mode or with another seed, where there are any.
func among(b *evidence.Board, t *evidence.Trial) string {
	if len(b.Case.Subject.Modes) < 2 && len(b.Case.Subject.Seeds) < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s, seed %d)", t.Mode, t.Seed)
}
