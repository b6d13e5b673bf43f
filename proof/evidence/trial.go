package evidence

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Wire is the mode in which a target stands on more than one node.
const Wire = "wire"

// Trial is a variant of an attack over one access, in one mode, with one seed: with every control on, and with its layers off one by one.
type Trial struct {
	Attack   *Attack
	Variant  *Variant
	Access   string
	Mode     string
	Seed     uint64
	Finding  Finding
	Why      string
	Runs     []*Record // one for each configuration, nil where there is none
	Excused  bool      // its controls have no switch by nature
	Controls []string  // the layers, in the order in which they act
	Hollow   int       // of Pierced: the first layer that does not hold; those before it are shown by the same runs
}

// Of is what the runs show of one of the layers. A layer before one that does not hold is proven: blocked with it, and not without.
func (t *Trial) Of(control string) Finding {
	if i := slices.Index(t.Controls, control); t.Finding == Pierced && i >= 0 && i < t.Hollow {
		return Proven
	}
	return t.Finding
}

// Name is attack, variant and access.
func (t *Trial) Name() string { return path.Join(t.Attack.ID, t.Variant.Name, t.Access) }

// On is the run with every control on, or nil.
func (t *Trial) On() *Record { return t.Runs[0] }

// Bare is the run with every control of the attack off if it succeeded, else nil: it shows that the weakness is real.
func (t *Trial) Bare() *Record {
	if r := t.Runs[len(t.Runs)-1]; len(t.Runs) > 1 && r != nil && r.Verdict == Succeeded {
		return r
	}
	return nil
}

// Trials judges the records by the catalogue: one trial for each variant, access, mode and seed that was to be run, in the order of the
// catalogue. A record that no row of the catalogue asks for counts for nothing.
func (c *Case) Trials() []Trial {
	records, strange := map[string]*Record{}, c.Strange()
	for _, r := range c.Records {
		records[r.Key()] = r
	}
	var all []Trial
	for i := range c.Attacks {
		a := &c.Attacks[i]
		for j := range a.Variants {
			v := &a.Variants[j]
			for _, access := range v.Access {
				for _, mode := range c.Subject.Modes {
					if mode == Wire && v.NotWire[access] != "" {
						continue
					}
					for _, seed := range c.Subject.Seeds {
						t := Trial{Attack: a, Variant: v, Access: access, Mode: mode, Seed: seed, Controls: v.Controls, Excused: v.NoAblation != ""}
						t.gather(records)
						t.Finding, t.Why = c.conclude(&t, strange)
						all = append(all, t)
					}
				}
			}
		}
	}
	return all
}

// gather finds the runs of t among all.
func (t *Trial) gather(records map[string]*Record) {
	runs := 1
	if !t.Excused {
		runs += len(t.Controls)
	}
	for i := range runs {
		like := Record{Attack: t.Attack.ID, Variant: t.Variant.Name, Seed: t.Seed, ControlsOff: sorted(slices.Clone(t.Controls[:i])),
			Target: Target{Profile: t.Access, Mode: t.Mode}}
		t.Runs = append(t.Runs, records[like.Key()])
	}
}

// conclude says what the runs show together: the first that is not as it must be, or that all are.
func (c *Case) conclude(t *Trial, strange map[string]string) (Finding, string) {
	if c.Void != "" {
		return NotRun, c.Void
	}
	if len(t.Controls) == 0 {
		return Unknown, "the row names no control, so nothing could be shown to stop it"
	}
	for i, r := range t.Runs {
		if r == nil {
			return NotRun, cmp.Or(c.Subject.Missing[t.Attack.ID], "there is no record of the run with "+without(t.Controls[:i]))
		}
		if why := strange[r.Key()]; why != "" {
			return Unknown, "the record is none of this bundle: " + why
		}
		if why := c.Stale[r.Key()]; why != "" {
			return Outdated, why
		}
	}
	for i, r := range t.Runs {
		if finding, why := t.weigh(i, r); finding != Proven {
			t.Hollow = i
			return finding, why
		}
	}
	if t.Excused {
		return ByNature, t.Variant.NoAblation
	}
	return Proven, t.Runs[0].Reason + "; with it off: " + t.Runs[len(t.Runs)-1].Reason
}

func without(off []string) string {
	if len(off) == 0 {
		return "nothing of its own off"
	}
	return strings.Join(off, " and ") + " off"
}

// weigh compares run i with what it must have shown. The verdict must follow from what the record itself says.
func (t *Trial) weigh(i int, r *Record) (Finding, string) {
	bare := i == len(t.Controls)
	if r.Verdict == NotRunHere {
		return Elsewhere, r.Reason
	}
	if why := contradiction(r); why != "" {
		return Unknown, "the record contradicts itself: " + why
	}
	said := fmt.Sprintf("%s with %s: %s", r.Verdict, without(t.Controls[:i]), r.Reason)
	switch {
	case i == 0 && r.Verdict == Succeeded:
		return Open, said
	case i == 0 && r.Verdict == Degraded:
		return Partial, said
	case bare && r.Verdict == Succeeded:
		return Proven, ""
	case r.Verdict == Succeeded:
		return Pierced, said
	case bare && r.Verdict == Blocked:
		return Dead, said
	case r.Verdict != Blocked:
		return Unknown, said
	case r.Accident || !t.Excused && !r.refusedBy(t.Controls[i]):
		return Accidental, said
	}
	return Proven, ""
}

// refusedBy reports whether the gate of the target named control for a refusal.
func (r *Record) refusedBy(control string) bool {
	return slices.ContainsFunc(r.Events, func(e Event) bool { return e.Enforced && e.Count > 0 && e.Control == control })
}

// contradiction says what of a record does not fit its verdict.
func contradiction(r *Record) string {
	if r.Kind != "" {
		return "it is of a system that the runner has not started, so nothing in it tells what a control did"
	}
	if r.Verdict != Blocked && r.Verdict != Succeeded {
		return ""
	}
	outside := slices.ContainsFunc(r.Oracles, func(o Oracle) bool { return o.Outside })
	reached := slices.ContainsFunc(r.Oracles, func(o Oracle) bool { return o.Outside && o.Reached })
	switch {
	case !outside:
		return "no witness stands outside the target"
	case !r.Before.Well():
		return "honest service did not stand before the attack"
	case reached != (r.Verdict == Succeeded):
		return "the outside witnesses say otherwise"
	case r.Verdict == Blocked && r.Delivered == "":
		return "nothing shows that the attack arrived"
	}
	return ""
}

// Standing is how a control, or an attack, has come out over all trials that name it.
type Standing struct {
	ID      string   `json:"id"`
	State   State    `json:"state"`
	Why     string   `json:"why"`      // of the worst trial; "" if all is proven
	Finding Finding  `json:"finding"`  // of the worst trial
	Excused bool     `json:"excused"`  // by nature: it does not count
	Trials  int      `json:"trials"`   // so many
	Proven  int      `json:"proven"`   // of them
	Attacks []string `json:"attacks"`  // that name it, of a control
	Weak    []string `json:"weakened"` // by these settings
}

// Board is how everything stands. It is made once from a case; reading it is safe for concurrent use.
type Board struct {
	Case     *Case
	Trials   []Trial
	controls map[string]Standing
	attacks  map[string]Standing
}

// NewBoard judges a case.
func NewBoard(c *Case) *Board { return newBoard(c, c.Trials()) }

// Under is how everything would stand with settings in force that weaken controls. The trials are the same.
func (b *Board) Under(w ...Weakening) *Board {
	c := *b.Case
	c.Subject.Weakenings = w
	return newBoard(&c, b.Trials)
}

func newBoard(c *Case, trials []Trial) *Board {
	b := &Board{Case: c, Trials: trials, controls: map[string]Standing{}, attacks: map[string]Standing{}}
	for i := range c.Policy {
		p := &c.Policy[i]
		b.controls[p.ID] = b.control(p)
	}
	for i := range c.Attacks {
		id := c.Attacks[i].ID
		b.attacks[id] = b.stand(id, func(t *Trial) bool { return t.Attack.ID == id }, func(t *Trial) Finding { return t.Finding })
	}
	return b
}

// Trial is how those trials stand that fit, under the name id.
func (b *Board) Trial(id string, fits func(attack, variant, access string) bool) Standing {
	return b.stand(id, func(t *Trial) bool { return fits(t.Attack.ID, t.Variant.Name, t.Access) }, func(t *Trial) Finding { return t.Finding })
}

// Control is how a control stands. One that has no row in the policy is a gap.
func (b *Board) Control(id string) Standing {
	if s, known := b.controls[id]; known {
		return s
	}
	return Standing{ID: id, State: StateGap, Finding: NotRun, Why: "it is not built"}
}

// Attack is how an attack stands. One that has no row in the catalogue is a gap.
func (b *Board) Attack(id string) Standing {
	if s, known := b.attacks[id]; known {
		return s
	}
	return Standing{ID: id, State: StateGap, Finding: NotRun, Why: "no row of the catalogue tries it yet"}
}

func (b *Board) control(p *Control) Standing {
	s := b.stand(p.ID, func(t *Trial) bool { return slices.Contains(t.Controls, p.ID) }, func(t *Trial) Finding { return t.Of(p.ID) })
	switch {
	case !p.Built():
		s.State, s.Why = StateGap, "the policy calls it absent: it is there without an enforcement point of its own, or not at all"
	case s.Trials == 0:
		s.State, s.Why = StateClaimed, "no attack of the catalogue tries it"
	}
	if by := b.Case.Weakened(p.ID); by != nil && p.Built() {
		s.State, s.Weak = Worst(s.State, StateClaimed), by
		s.Why = strings.Join(slices.DeleteFunc([]string{"it is weakened (" + strings.Join(by, ", ") + "), so that it is claimed at best",
			s.Why}, func(w string) bool { return w == "" }), "; ")
	}
	return s
}

// stand sums up the trials that a question fits, by what they show of it.
func (b *Board) stand(id string, fits func(*Trial) bool, shown func(*Trial) Finding) Standing {
	s := Standing{ID: id, State: StateProven, Finding: Proven}
	excused := 0
	for i := range b.Trials {
		t := &b.Trials[i]
		if !fits(t) {
			continue
		}
		s.Trials++
		if !slices.Contains(s.Attacks, t.Attack.ID) {
			s.Attacks = append(s.Attacks, t.Attack.ID)
		}
		finding := shown(t)
		switch {
		case finding == Proven:
			s.Proven++
			continue
		case finding == ByNature:
			excused++
		}
		if worse := finding.State(); s.Finding == Proven || worse.rank() > s.State.rank() || s.Finding == ByNature {
			s.State, s.Finding, s.Why = Worst(worse, s.State), finding, t.Name()+": "+t.Why
		}
	}
	if s.Trials == 0 {
		s.State, s.Finding, s.Why = StateClaimed, NotRun, "nothing of it was to be run"
	}
	s.Excused = excused > 0 && excused+s.Proven == s.Trials
	if s.Excused && s.Proven > 0 { // what can be shown is shown
		s.State, s.Finding, s.Why = StateProven, Proven, ""
	}
	return s
}

// Tally counts findings, for the first page.
func (b *Board) Tally() map[Finding]int {
	n := map[Finding]int{}
	for i := range b.Trials {
		n[b.Trials[i].Finding]++
	}
	return n
}

// Order sorts standings from bad to good, and by their names.
func Order(all []Standing) {
	slices.SortStableFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(b.State.rank(), a.State.rank()), strings.Compare(a.ID, b.ID))
	})
}
