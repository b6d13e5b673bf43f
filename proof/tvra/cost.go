package tvra

import (
	"fmt"
	"slices"
	"strings"

	"imsafe/proof/evidence"
	"imsafe/proof/tables"
)

// Cost is what a control costs, by the standard's dimensions, and what it buys. There is no sum: the standard's text has no formula for one.
type Cost struct {
	Control string `json:"control"`
	// What honest service took in the median run with and without it, in microseconds: its slowest step for the user, and all of it of the
	// target's processors. Runs are how many there are on each side. In a laboratory that is coarse.
	OnMicros  int64          `json:"p99_on_us"`
	OffMicros int64          `json:"p99_off_us"`
	CPUOn     int64          `json:"cpu_on_us"` // 0: not measured
	CPUOff    int64          `json:"cpu_off_us"`
	Runs      int            `json:"runs"`
	Enough    bool           `json:"enough"`     // runs, to say more or less
	Values    map[string]int `json:"values"`     // of the dimensions that are known
	Missing   []string       `json:"not_rated"`  // the others
	Lowers    int            `json:"lowers"`     // so many risks that it is on are less with it
	Touches   []string       `json:"touches"`    // attacks that name it
	Benefit   map[string]int `json:"risks_left"` // of those, by band
}

// costs weighs every control of the policy that is built.
func costs(b *evidence.Board, s *tables.Set) []Cost {
	all := []Cost{}
	for i := range b.Case.Policy {
		p := &b.Case.Policy[i]
		if !p.Built() {
			continue
		}
		c := Cost{Control: p.ID, Values: map[string]int{}, Missing: []string{}, Touches: []string{}, Benefit: map[string]int{}}
		c.waits(b)
		c.Enough = c.Runs >= s.Cost.Operation.Runs && c.OffMicros > 0
		for _, d := range s.Cost.Dimensions {
			switch d.Name {
			case "standards design":
				c.Values[d.Name] = s.Cost.Design.Standard
				if strings.HasPrefix(p.Clause, "ours") {
					c.Values[d.Name] = s.Cost.Design.Ours
				}
			case "operation":
				if value, known := operation(&s.Cost, &c); known {
					c.Values[d.Name] = value
					continue
				}
				c.Missing = append(c.Missing, d.Name+" ("+c.unmeasured(b, &s.Cost)+")")
			default:
				c.Missing = append(c.Missing, d.Name)
			}
		}
		c.Touches = append(c.Touches, b.Control(p.ID).Attacks...)
		all = append(all, c)
	}
	return all
}

// unmeasured says why there is no figure for what a control costs in operation.
func (c *Cost) unmeasured(b *evidence.Board, t *tables.Cost) string {
	switch standing := b.Control(c.Control); {
	case c.Runs > 0:
		return fmt.Sprintf("%d runs with and without it, %d say something", c.Runs, t.Operation.Runs)
	case standing.Excused:
		return "it has no switch, so nothing runs without it"
	case standing.Trials == 0:
		return "no attack tries it"
	}
	return "no run without it"
}

// waits compares honest service before the attack, with the control on and with it off. Of an attack with several layers two runs that follow each other
// differ in one control.
func (c *Cost) waits(b *evidence.Board) {
	var on, off, cpuOn, cpuOff []int64
	for i := range b.Trials {
		t := &b.Trials[i]
		layer := slices.Index(t.Controls, c.Control)
		if layer < 0 || len(t.Runs) < layer+2 || t.Runs[layer] == nil || t.Runs[layer+1] == nil {
			continue
		}
		with, without := &t.Runs[layer].Before, &t.Runs[layer+1].Before
		if !with.Well() || !without.Well() {
			continue
		}
		on, off = append(on, with.P99), append(off, without.P99)
		if with.CPU > 0 && without.CPU > 0 {
			cpuOn, cpuOff = append(cpuOn, with.CPU), append(cpuOff, without.CPU)
		}
	}
	c.Runs, c.OnMicros, c.OffMicros = len(on), median(on), median(off)
	if len(cpuOn) == len(on) {
		c.CPUOn, c.CPUOff = median(cpuOn), median(cpuOff)
	}
}

func median(all []int64) int64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// operation rates how much longer honest users wait, or how much more processor it takes if that is worse, if there are runs enough to say so.
func operation(t *tables.Cost, c *Cost) (int, bool) {
	if !c.Enough {
		return 0, false
	}
	more := int((c.OnMicros - c.OffMicros) * 1000 / c.OffMicros)
	if c.CPUOff > 0 {
		more = max(more, int((c.CPUOn-c.CPUOff)*1000/c.CPUOff))
	}
	for _, step := range t.Operation.Steps {
		if step.Under == 0 || more < step.Under {
			return step.Value, true
		}
	}
	return 0, false
}

// benefit counts for each control the risks that it is on, and which it lowers. It needs the entries.
func (r *Register) benefit() {
	for i := range r.Costs {
		c := &r.Costs[i]
		for j := range r.Entries {
			e := &r.Entries[j]
			for _, m := range e.Measures {
				if m.Control != c.Control {
					continue
				}
				c.Benefit[e.After.Risk.Band]++
				if m.Counts && e.After.Risk.Value < e.Before.Risk.Value {
					c.Lowers++
				}
			}
		}
	}
}
