// Package x805 computes the map of ITU-T X.805 from evidence: nine modules, eight dimensions, and for each pair a slot for every threat that the
// dimension counters.
//
// An attack fills the slots of its own module, of the dimensions of the controls that stopped it, and of its threats, and no others. A slot has the
// state of the worst trial in it. Of one without a trial a person has said whether a control is there all the same (claimed), nothing is (gap), or
// it does not apply (n/a), and why; it is never proven.
//
// It does no input or output, and imports proof/evidence and proof/tables. Everything in it is a function of a Board and a table.
package x805

import (
	"fmt"
	"slices"

	"imsafe/proof/evidence"
	"imsafe/proof/tables"
)

// Slot is one threat in one dimension of one module.
type Slot struct {
	Threat   string         `json:"threat"`
	State    evidence.State `json:"state"`
	Why      string         `json:"why"` // of anything but proven
	Attacks  []string       `json:"attacks"`
	Controls []string       `json:"controls"`
	Records  []string       `json:"records"` // keys of the evidence
}

// Cell is one dimension of one module. It has the worst state of its slots.
type Cell struct {
	Dimension  string         `json:"dimension"`
	State      evidence.State `json:"state"`
	Proven     int            `json:"proven"`
	Applicable int            `json:"applicable"`
	Slots      []Slot         `json:"slots"`
}

// Module is one layer and plane.
type Module struct {
	Layer   string `json:"layer"`
	Plane   string `json:"plane"`
	Content string `json:"content"`
	Proven  int    `json:"proven"`
	Tried   int    `json:"tried"` // slots with an attack
	Slots   int    `json:"slots"`
	Cells   []Cell `json:"cells"`
}

// Map is the whole. Slots and Tried are counted, not known.
type Map struct {
	Modules []Module               `json:"modules"`
	Slots   int                    `json:"slots"`
	Tried   int                    `json:"tried"` // no run of this catalogue proves more
	States  map[evidence.State]int `json:"states"`
	Unslot  []string               `json:"without_slot"` // threats that no control's dimension counters: shown, and they fill nothing
	Mark    string                 `json:"mark"`
}

// Compute fills the map. A module of the catalogue, or a dimension of the policy, that the table does not know is an error.
func Compute(b *evidence.Board, t *tables.X805) (*Map, error) {
	m := &Map{States: map[evidence.State]int{}, Unslot: []string{}, Mark: t.Mark()}
	evidenceOf, err := m.fill(b, t)
	if err != nil {
		return nil, err
	}
	for _, module := range t.Modules {
		row := Module{Layer: module.Layer, Plane: module.Plane, Content: module.Content}
		for _, d := range t.Dimensions {
			cell := Cell{Dimension: d.Name, Slots: []Slot{}}
			var states []evidence.State
			for _, threat := range t.Threats {
				if !slices.Contains(d.Counters, threat) {
					continue
				}
				key := place{module.Name(), d.Name, threat}
				s := settle(b, t, key, evidenceOf[key])
				row.count(&cell, &s)
				m.States[s.State]++
				states = append(states, s.State)
				cell.Slots = append(cell.Slots, s)
			}
			cell.State = evidence.Worst(states...)
			row.Cells = append(row.Cells, cell)
		}
		m.Slots += row.Slots
		m.Tried += row.Tried
		m.Modules = append(m.Modules, row)
	}
	return m, nil
}

func (m *Module) count(c *Cell, s *Slot) {
	m.Slots++
	if len(s.Attacks) > 0 {
		m.Tried++
	}
	if s.State != evidence.StateNone {
		c.Applicable++
	}
	if s.State == evidence.StateProven {
		c.Proven++
		m.Proven++
	}
}

// place names a slot.
type place struct{ module, dimension, threat string }

// filled is what the trials have put into a slot.
type filled struct {
	Slot
	states []evidence.State // of the trials that have a switch
	nature string           // a trial that has none
}

// fill goes through the trials.
func (m *Map) fill(b *evidence.Board, t *tables.X805) (map[place]*filled, error) {
	all := map[place]*filled{}
	for i := range b.Trials {
		trial := &b.Trials[i]
		a := trial.Attack
		if !slices.ContainsFunc(t.Modules, func(x tables.Module) bool { return x.Name() == a.Module }) {
			return nil, fmt.Errorf("x805: %s is in %q, which is no module", a.ID, a.Module)
		}
		countered := map[string]bool{}
		for _, id := range trial.Controls {
			control, known := b.Case.Find(id)
			if !known {
				continue
			}
			j := slices.IndexFunc(t.Dimensions, func(d tables.Counters) bool { return d.Name == control.Dimension })
			if j < 0 {
				return nil, fmt.Errorf("x805: %s is of %q, which is no dimension", id, control.Dimension)
			}
			for _, threat := range a.Threats {
				if slices.Contains(t.Dimensions[j].Counters, threat) {
					countered[threat] = true
					put(all, place{a.Module, control.Dimension, threat}, trial, id)
				}
			}
		}
		for _, threat := range a.Threats {
			if said := trial.Attack.ID + ": " + threat; !countered[threat] && !slices.Contains(m.Unslot, said) {
				m.Unslot = append(m.Unslot, said)
			}
		}
	}
	return all, nil
}

func put(all map[place]*filled, at place, t *evidence.Trial, control string) {
	f := all[at]
	if f == nil {
		f = &filled{}
		all[at] = f
	}
	switch state := t.Of(control).State(); {
	case t.Finding == evidence.ByNature: // it takes no proof away that others give
		f.nature = t.Name() + ": " + t.Why
	case state != evidence.StateProven && (f.Why == "" || evidence.Worst(append(f.states, state)...) != evidence.Worst(f.states...)):
		f.Why = t.Name() + ": " + t.Why
		fallthrough
	default:
		f.states = append(f.states, state)
	}
	f.Attacks = with(f.Attacks, t.Attack.ID)
	f.Controls = with(f.Controls, control)
	for _, r := range t.Runs {
		if r != nil {
			f.Records = with(f.Records, r.Key())
		}
	}
}

func with(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

// settle gives a slot its state.
func settle(b *evidence.Board, t *tables.X805, at place, f *filled) Slot {
	empty := Slot{Threat: at.threat, Attacks: []string{}, Controls: []string{}, Records: []string{}}
	if f != nil {
		f.Threat, f.State = at.threat, evidence.Worst(f.states...)
		if f.states == nil {
			f.State, f.Why = evidence.StateClaimed, f.nature
		}
		return f.Slot
	}
	j := t.Judge(at.module, at.dimension, at.threat)
	if j == nil {
		empty.State, empty.Why = evidence.StateGap, "no attack of the catalogue is aimed here, and nobody has judged what that means"
		return empty
	}
	empty.State, empty.Why = evidence.State(j.Answer), j.Why
	for _, id := range j.Controls {
		if control, known := b.Case.Find(id); !known || !control.Built() || control.Dimension != at.dimension {
			empty.State, empty.Why = evidence.StateGap, id+" is said to be here, and the policy has no such control of this dimension"
			return empty
		}
		empty.Controls = append(empty.Controls, id)
	}
	return empty
}
