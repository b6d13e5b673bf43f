package tables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The five factors of attack potential.
const (
	Time        = "time"
	Expertise   = "expertise"
	Knowledge   = "knowledge"
	Opportunity = "opportunity"
	Equipment   = "equipment"
)

// FactorNames lists the factors in the order in which they are printed.
func FactorNames() []string { return []string{Time, Expertise, Knowledge, Opportunity, Equipment} }

// Step is one value of a factor.
type Step struct {
	Name       string `toml:"name"`
	Days       int64  `toml:"days"` // of time: at most so many; 0 is no limit
	Value      int    `toml:"value"`
	Impossible bool   `toml:"impossible"` // the attack is not practical then
	Status     Status `toml:"status"`     // if not that of the table
}

// Band turns a sum into a rating.
type Band struct {
	From       int    `toml:"from"`
	Rating     string `toml:"rating"`
	Likelihood int    `toml:"likelihood"`
	Confirm    bool   `toml:"confirm"` // other methods call it likely
	Status     Status `toml:"status"`
}

// Profile is one way to rate attack potential.
type Profile struct {
	Source
	Name        string `toml:"name"`
	Time        []Step `toml:"time"`
	Expertise   []Step `toml:"expertise"`
	Knowledge   []Step `toml:"knowledge"`
	Opportunity []Step `toml:"opportunity"`
	Equipment   []Step `toml:"equipment"`
	Bands       []Band `toml:"bands"`
}

// Factor returns the steps of a factor.
func (p *Profile) Factor(name string) []Step {
	switch name {
	case Time:
		return p.Time
	case Expertise:
		return p.Expertise
	case Knowledge:
		return p.Knowledge
	case Opportunity:
		return p.Opportunity
	case Equipment:
		return p.Equipment
	}
	return nil
}

// Step finds a value of a factor by its name.
func (p *Profile) Step(factor, name string) (Step, bool) {
	steps := p.Factor(factor)
	return first(steps, func(s Step) bool { return s.Name == name })
}

// Level is a named value.
type Level struct {
	Name   string `toml:"name"`
	Value  int    `toml:"value"`
	From   int    `toml:"from"`
	Status Status `toml:"status"`
}

// Impact turns likelihood and impact into risk.
type Impact struct {
	Source
	Impact     []Level `toml:"impact"`
	Intensity  []Level `toml:"intensity"`
	Likelihood []Level `toml:"likelihood"`
	Risk       []Level `toml:"risk"`
}

// Highest is the highest impact that there is.
func (i *Impact) Highest() int { return i.Impact[len(i.Impact)-1].Value }

// MostLikely is the highest likelihood, Least the lowest.
func (i *Impact) MostLikely() int { return i.Likelihood[len(i.Likelihood)-1].Value }

// Least is the lowest likelihood: no control gives less.
func (i *Impact) Least() int { return i.Likelihood[0].Value }

// Band names the risk of a product.
func (i *Impact) Band(product int) string {
	name := ""
	for _, l := range i.Risk {
		if product >= l.From {
			name = l.Name
		}
	}
	return name
}

// Dimension is one of cost-benefit, with the values that it may have.
type Dimension struct {
	Name   string `toml:"name"`
	Values []int  `toml:"values"`
}

// Cost is what countermeasures are weighed by.
type Cost struct {
	Source
	Dimensions []Dimension `toml:"dimensions"`
	Operation  struct {
		Status Status `toml:"status"`
		Runs   int    `toml:"runs"`
		Steps  []struct {
			Under int `toml:"under"` // per mille; 0 is no limit
			Value int `toml:"value"`
		} `toml:"steps"`
	} `toml:"operation"`
	Design struct {
		Status   Status `toml:"status"`
		Standard int    `toml:"standard"`
		Ours     int    `toml:"ours"`
	} `toml:"design"`
}

// Counters says which threats a dimension counters.
type Counters struct {
	Name     string   `toml:"name"`
	Counters []string `toml:"counters"`
}

// Module is a layer and a plane.
type Module struct {
	Layer   string `toml:"layer"`
	Plane   string `toml:"plane"`
	Content string `toml:"content"`
}

// Name is "services, control" and so on, as the catalogue writes it.
func (m *Module) Name() string { return m.Layer + ", " + m.Plane }

// Judged is what a person has said of slots that no attack is aimed at.
type Judged struct {
	Modules   []string `toml:"modules"` // "services, control" and so on
	Dimension string   `toml:"dimension"`
	Threats   []string `toml:"threats"`
	Answer    string   `toml:"answer"`   // claimed, gap or n/a
	Controls  []string `toml:"controls"` // of claimed: what is there, of this dimension
	Why       string   `toml:"why"`
}

// X805 is the model: modules, dimensions, threats.
type X805 struct {
	Source
	Layers     []string   `toml:"layers"`
	Planes     []string   `toml:"planes"`
	Threats    []string   `toml:"threats"`
	Dimensions []Counters `toml:"dimensions"`
	Modules    []Module   `toml:"modules"`
	Judged     []Judged   `toml:"judged"`
}

// The answers of a judgement.
const (
	AnswerClaimed = "claimed"
	AnswerGap     = "gap"
	AnswerNone    = "n/a"
)

// Judge returns what is said of a slot; nil if nobody has judged it.
func (x *X805) Judge(module, dimension, threat string) *Judged {
	for i := range x.Judged {
		if j := &x.Judged[i]; j.Dimension == dimension && slices.Contains(j.Modules, module) && slices.Contains(j.Threats, threat) {
			return j
		}
	}
	return nil
}

// fit refuses a judgement of no slot, or of one that is judged twice.
func (x *X805) fit() error {
	seen := map[[3]string]bool{}
	for i := range x.Judged {
		j := &x.Judged[i]
		switch claimed := j.Answer == AnswerClaimed; {
		case !claimed && j.Answer != AnswerGap && j.Answer != AnswerNone:
			return fmt.Errorf("tables: %s: a judgement of %q is none of claimed, gap, n/a", X805File, j.Answer)
		case claimed != (len(j.Controls) > 0):
			return fmt.Errorf("tables: %s: %s, %s: what is claimed names its controls, and nothing else does", X805File, j.Dimension, j.Why)
		case j.Why == "":
			return fmt.Errorf("tables: %s: a judgement of %s without a reason", X805File, j.Dimension)
		}
		d := slices.IndexFunc(x.Dimensions, func(c Counters) bool { return c.Name == j.Dimension })
		for _, module := range j.Modules {
			for _, threat := range j.Threats {
				at := [3]string{module, j.Dimension, threat}
				if d < 0 || !slices.Contains(x.Dimensions[d].Counters, threat) || !slices.ContainsFunc(x.Modules, func(m Module) bool { return m.Name() == module }) {
					return fmt.Errorf("tables: %s: a judgement of %q, which is no slot", X805File, at)
				}
				if seen[at] {
					return fmt.Errorf("tables: %s: %q is judged twice", X805File, at)
				}
				seen[at] = true
			}
		}
	}
	return nil
}

// Asset is what can be harmed.
type Asset struct {
	ID     string `toml:"id" json:"id"`
	Name   string `toml:"name" json:"name"`
	Impact int    `toml:"impact" json:"impact"`
}

// Acceptance is a risk that somebody lives with. Dates are those of RFC 3339.
type Acceptance struct {
	Attack string `toml:"attack" json:"attack"`
	Owner  string `toml:"owner" json:"owner"`
	From   string `toml:"from" json:"from"`
	Until  string `toml:"until" json:"until"`
	Why    string `toml:"why" json:"why"`
}

// Judgement is what a person must judge.
type Judgement struct {
	Source
	Assets   []Asset      `toml:"assets"`
	Accepted []Acceptance `toml:"accepted"`
}

// Positions are the factors that follow from where an attacker is.
type Positions struct {
	Source
	Positions []struct {
		Name        string `toml:"name"`
		Holds       string `toml:"holds"`
		Knowledge   string `toml:"knowledge"`
		Opportunity string `toml:"opportunity"`
	} `toml:"positions"`
	Otherwise struct {
		Expertise string `toml:"expertise"`
		Equipment string `toml:"equipment"`
	} `toml:"otherwise"`
}

// AttackFactors is what is judged of one attack.
type AttackFactors struct {
	ID          string `toml:"id"`
	Asset       string `toml:"asset"`
	Intensity   int    `toml:"intensity"`
	Expertise   string `toml:"expertise"`
	Knowledge   string `toml:"knowledge"`
	Opportunity string `toml:"opportunity"`
	Equipment   string `toml:"equipment"`
}

// Attacks is what is judged of attacks.
type Attacks struct {
	Source
	Attacks []AttackFactors `toml:"attacks"`
}

// Find returns the row of an attack.
func (a *Attacks) Find(id string) (AttackFactors, bool) {
	return first(a.Attacks, func(f AttackFactors) bool { return f.ID == id })
}

// Effect is what a control changes in a rating.
type Effect struct {
	ID        string `toml:"id"`
	Factor    string `toml:"factor"` // one of the five, or "impact"
	Value     string `toml:"value"`
	Intensity *int   `toml:"intensity"` // of "impact": what it comes down to
	Why       string `toml:"why"`
}

// Effects is what controls change.
type Effects struct {
	Source
	Controls []Effect `toml:"controls"`
}

// Find returns the effect of a control.
func (e *Effects) Find(id string) (Effect, bool) {
	return first(e.Controls, func(f Effect) bool { return f.ID == id })
}

// Associations are the five of 3GPP.
type Associations struct {
	Source
	Associations []struct {
		Number   int      `toml:"number"`
		Name     string   `toml:"name"`
		What     string   `toml:"what"`
		Controls []string `toml:"controls"`
	} `toml:"associations"`
	Missing map[string]string `toml:"missing"` // why a control is not built, and what will bring it
}

// Layers are the risks by layer.
type Layers struct {
	Source
	Risks []struct {
		Layer   string   `toml:"layer"`
		Name    string   `toml:"name"`
		Attacks []string `toml:"attacks"`
	} `toml:"risks"`
}

// Limits is what every report says of itself.
type Limits struct {
	Source
	Limits []string `toml:"limits"`
	Days   int      `toml:"stale_days"` // evidence that is older is stale
}

// fit checks that the tables fit each other: that every name that one uses stands in the other.
func (s *Set) fit() error {
	errs := []error{s.X805.fit()}
	miss := func(file, format string, args ...any) {
		errs = append(errs, fmt.Errorf("tables: %s: %s", file, fmt.Sprintf(format, args...)))
	}
	if len(s.Impact.Impact) == 0 || len(s.Impact.Likelihood) == 0 || len(s.Impact.Risk) == 0 || len(s.Cost.Operation.Steps) == 0 {
		miss(ImpactFile, "impact, likelihood, risk or the steps of cost are empty")
	}
	named := func(file, id, factor, value string) {
		for i := range s.Profiles {
			if _, known := s.Profiles[i].Step(factor, value); value != "" && !known {
				miss(file, "%s has %s %q, which profile %s does not know", id, factor, value, s.Profiles[i].Name)
			}
		}
	}
	for i := range s.Profiles {
		if p := &s.Profiles[i]; len(p.Bands) == 0 || len(p.Time) == 0 {
			miss(ProfileAFile, "profile %s has no bands or no times", p.Name)
		}
	}
	for _, p := range s.Positions.Positions {
		named(PositionsFile, p.Name, Knowledge, p.Knowledge)
		named(PositionsFile, p.Name, Opportunity, p.Opportunity)
	}
	named(PositionsFile, "otherwise", Expertise, s.Positions.Otherwise.Expertise)
	named(PositionsFile, "otherwise", Equipment, s.Positions.Otherwise.Equipment)
	for _, a := range s.Attacks.Attacks {
		if !slices.ContainsFunc(s.Judgement.Assets, func(x Asset) bool { return x.ID == a.Asset }) {
			miss(AttacksFile, "%s is aimed at %q, which is no asset of %s", a.ID, a.Asset, JudgementFile)
		}
		named(AttacksFile, a.ID, Expertise, a.Expertise)
		named(AttacksFile, a.ID, Knowledge, a.Knowledge)
		named(AttacksFile, a.ID, Opportunity, a.Opportunity)
		named(AttacksFile, a.ID, Equipment, a.Equipment)
	}
	for _, e := range s.Effects.Controls {
		if e.Factor != "impact" {
			named(EffectsFile, e.ID, e.Factor, e.Value)
		}
	}
	for _, a := range s.Judgement.Assets {
		if a.Impact < 1 || a.Impact > s.Impact.Highest() {
			miss(JudgementFile, "%s has the impact %d", a.ID, a.Impact)
		}
	}
	return errors.Join(append(errs, s.accepted()...)...)
}

// first returns the first of a list that is meant.
func first[T any](list []T, is func(T) bool) (found T, there bool) {
	i := slices.IndexFunc(list, is)
	if i < 0 {
		return found, false
	}
	return list[i], true
}

// accepted wants each acceptance to be of a risk that there is, by somebody, for a time and a reason: one with a slip in it would accept nothing, and say nothing.
func (s *Set) accepted() (errs []error) {
	for i, x := range s.Judgement.Accepted {
		no := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("tables: %s: accepted risk %d, of %q: %s", JudgementFile, i+1, x.Attack, fmt.Sprintf(format, args...)))
		}
		id, _, _ := strings.Cut(x.Attack, "/")
		if !slices.ContainsFunc(s.Attacks.Attacks, func(a AttackFactors) bool { return a.ID == id }) {
			no("there is no such attack: `imsafe attack list` shows them")
		}
		if strings.TrimSpace(x.Owner) == "" || strings.TrimSpace(x.Why) == "" {
			no("it needs an owner, who answers for it, and why")
		}
		from, err1 := time.Parse(time.DateOnly, x.From)
		until, err2 := time.Parse(time.DateOnly, x.Until)
		if err1 != nil || err2 != nil || until.Before(from) {
			no("from %q until %q: it needs the first and the last day, 2026-11-25 for example", x.From, x.Until)
		}
	}
	return errs
}
