package evidence

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Attack is a row of the catalogue as a bundle keeps it: all that is computed from it, and nothing that runs.
type Attack struct {
	ID       string    `json:"id"`
	Number   string    `json:"number"`
	Title    string    `json:"title"`
	Text     string    `json:"text"`
	Door     string    `json:"door"`
	Services []string  `json:"services"`
	Stride   string    `json:"stride"`
	Threats  []string  `json:"threats"`
	Module   string    `json:"module"`
	Source   string    `json:"source"`
	Variants []Variant `json:"variants"`
}

// Variant is one way of an attack.
type Variant struct {
	Name       string   `json:"name"`
	Position   string   `json:"position"`
	Access     []string `json:"access"`
	Controls   []string `json:"controls"` // in the order in which they act
	NoAblation string   `json:"no_ablation"`
	// NotWire says why it is not run in mode wire, by the access.
	NotWire map[string]string `json:"not_wire"`
}

// Control is a row of the policy as a bundle keeps it.
type Control struct {
	ID        string `json:"id"`
	Door      string `json:"door"`
	Service   string `json:"service"` // authorization has come to authentication
	Mechanism string `json:"mechanism"`
	Clause    string `json:"clause"`
	Dimension string `json:"dimension"`
	Level     string `json:"level"`
}

// Built reports whether the part that the control belongs to is there.
func (c *Control) Built() bool { return c.Level != "absent" }

// Weakening is a named setting of the configuration by which controls give less than their row says.
type Weakening struct {
	Name     string   `json:"name"`
	Meaning  string   `json:"meaning"`
	Controls []string `json:"controls"`
}

// Subject says what was proven, and when. Times are RFC 3339 in UTC.
type Subject struct {
	Program       string            `json:"program_sha256"`
	Commit        string            `json:"commit"`
	Pack          string            `json:"pack_version"`
	Start         string            `json:"start"`
	End           string            `json:"end"`
	Seeds         []uint64          `json:"seeds"`
	Modes         []string          `json:"modes"`
	Missing       map[string]string `json:"missing"`              // why there are no records of an attack, by its id
	Repeated      []string          `json:"repeated"`             // attacks that were run once more, with what made the first time prove nothing
	Configuration string            `json:"configuration_sha256"` // of what the report is about: the default one, or an operator's
	Named         string            `json:"configuration"`        // "default", or the name of its file
	Weakenings    []Weakening       `json:"weakenings"`
}

// Case is everything that a report is computed from: no more is needed, and nothing else is looked at.
type Case struct {
	Subject Subject
	Attacks []Attack
	Policy  []Control
	Weaker  []Weakening // settings that a configuration may have: what each of them would cost
	Records []*Record
	// Stale says of records, by Key, why they count no more. Empty where the records are judged by what they were made of.
	Stale map[string]string
	// Void says why none of the records counts, as those of a bundle that is not what was signed: all compute as not run.
	Void string
}

// Find returns the control with this id.
func (c *Case) Find(id string) (*Control, bool) {
	i := slices.IndexFunc(c.Policy, func(p Control) bool { return p.ID == id })
	if i < 0 {
		return nil, false
	}
	return &c.Policy[i], true
}

// Renew puts rows of a catalogue and of a policy in the place of those that are otherwise, or not there at all, and names each: what a row asks for that the
// bundle does not have was not run. Rows that only the bundle has stay; their records are stale.
func (c *Case) Renew(attacks []Attack, policy []Control) (changed []string) {
	c.Attacks, changed = renewed("the attack", c.Attacks, attacks, func(a *Attack) string { return a.ID })
	var more []string
	c.Policy, more = renewed("the control", c.Policy, policy, func(p *Control) string { return p.ID })
	return append(changed, more...)
}

func renewed[T any](what string, had, now []T, id func(*T) string) (all []T, changed []string) {
	all = slices.Clone(had)
	for i := range now {
		name := id(&now[i])
		at := slices.IndexFunc(all, func(x T) bool { return id(&x) == name })
		switch {
		case at < 0:
			all, changed = append(all, now[i]), append(changed, what+" "+name+": the bundle has no row of it")
		case !reflect.DeepEqual(all[at], now[i]):
			all[at], changed = now[i], append(changed, what+" "+name+": its row is another now")
		}
	}
	return all, changed
}

// Weakened returns the names of the settings that weaken a control.
func (c *Case) Weakened(id string) []string {
	var by []string
	for _, w := range c.Subject.Weakenings {
		if slices.Contains(w.Controls, id) {
			by = append(by, w.Name)
		}
	}
	return by
}

// Key names a record among all of a bundle: its mode, its seed and its Name.
func (r *Record) Key() string { return fmt.Sprintf("%s/%d/%s", r.Target.Mode, r.Seed, r.Name()) }

// Finding is what the runs of one trial show together.
type Finding string

// The findings. One that is not Proven names the first run that is not as it must be.
const (
	Proven     Finding = "proven"       // blocked by name, and succeeded without
	ByNature   Finding = "by nature"    // blocked, and there is no switch to show by what
	Open       Finding = "open"         // it succeeded with every control on
	Partial    Finding = "partial"      // it missed its goal, and honest service suffered
	Pierced    Finding = "pierced"      // a layer behind the first does not hold: it succeeded with those before it off
	Accidental Finding = "accident"     // blocked by another than the named control
	Dead       Finding = "dead"         // it does not succeed with its controls off
	Unknown    Finding = "unknown"      // a run proves nothing
	Outdated   Finding = "stale"        // what a record covers is another by now
	Elsewhere  Finding = "not run here" // the host refuses what it needs
	NotRun     Finding = "not run"      // there is no record
)

// State is what a control, a cell or a slot has come to.
type State string

// The states, and how bad they are: a whole has the worst of its parts.
const (
	StateProven  State = "proven"  // blocked with the control, succeeded without it, and the evidence is fresh
	StateClaimed State = "claimed" // a control is there, without causal proof
	StateStale   State = "stale"   // proven once; what it covers is another by now
	StateGap     State = "gap"     // nothing is there, or it does not hold
	StateNone    State = "n/a"     // does not apply, and the reason is given
)

// rank orders states from good to bad.
func (s State) rank() int {
	return slices.Index([]State{StateNone, StateProven, StateClaimed, StateStale, StateGap}, s)
}

// Worst returns the worst of states; a gap if there are none: nothing is ever good by default.
func Worst(states ...State) State {
	if len(states) == 0 {
		return StateGap
	}
	return slices.MaxFunc(states, func(a, b State) int { return cmp.Compare(a.rank(), b.rank()) })
}

// State is what a finding makes of whatever depends on it.
func (f Finding) State() State {
	switch f {
	case Proven:
		return StateProven
	case Open, Partial, Pierced:
		return StateGap
	case Outdated:
		return StateStale
	}
	return StateClaimed
}

// ServiceOf is the column of the twelve cells that a security service prints in.
func ServiceOf(service string) string {
	if service == "authorization" {
		return "authentication"
	}
	return strings.ToLower(service)
}
