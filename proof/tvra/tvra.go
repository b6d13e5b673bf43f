// Package tvra computes a threat, vulnerability and risk analysis after ETSI TS 102 165-1 from evidence.
//
// Each way of an attack is one risk. Before: the run without its controls, by measured factors. After: with them, and what they change counts
// only where the runs show that it was they who stopped it. Both profiles of attack potential are always computed; the headline uses the worse.
// A threat has a status and controls have theirs: a threat without a control is never verified.
//
// Every figure comes from the tables; none stands in code. It does no input or output, and imports proof/evidence and proof/tables.
package tvra

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"imsafe/proof/evidence"
	"imsafe/proof/tables"
)

// Measure is one control of a risk: what it is said to change, and whether that was shown.
type Measure struct {
	Control string         `json:"control"`
	State   evidence.State `json:"state"`
	Changes string         `json:"changes"` // "" if it is not said
	Why     string         `json:"why"`
	Counts  bool           `json:"counts"` // what it changes is in the rating
}

// Side is the rating on one side of the controls.
type Side struct {
	Factors Factors  `json:"factors"`
	Assumed string   `json:"assumed"` // why worst factors were assumed; "" if they are measured
	Ratings []Rating `json:"ratings"` // by both profiles
	Impact  int      `json:"impact"`
	Risks   []Risk   `json:"risks"` // by both profiles
	Risk    Risk     `json:"risk"`  // the worse
}

// Entry is one row of the register.
type Entry struct {
	Attack    string             `json:"attack"`
	Number    string             `json:"number"`
	Variant   string             `json:"variant"`
	Title     string             `json:"title"`
	Threat    string             `json:"threat"`   // what would follow
	Weakness  string             `json:"weakness"` // what the run without controls showed
	Stride    string             `json:"stride"`
	Position  string             `json:"position"`
	Asset     string             `json:"asset"` // "" if nobody has said which
	Value     int                `json:"asset_impact"`
	Intensity int                `json:"intensity"`
	Finding   evidence.Finding   `json:"finding"` // of the threat: the worst over its accesses
	Why       string             `json:"why"`
	Measures  []Measure          `json:"measures"`
	Before    Side               `json:"before"`
	After     Side               `json:"after"`
	Floor     Risk               `json:"floor"` // the least that likelihood alone can reach
	AtFloor   bool               `json:"at_floor"`
	Differ    bool               `json:"bands_differ"` // the profiles disagree about what remains
	Confirm   bool               `json:"confirm"`      // what remains would be another band if enhanced-basic were likely
	Accepted  *tables.Acceptance `json:"accepted"`
	Expired   bool               `json:"acceptance_expired"`
	// Acceptance is that in words, "" without one.
	Acceptance string `json:"acceptance"`
}

// Name is attack and variant.
func (e *Entry) Name() string { return path.Join(e.Attack, e.Variant) }

// Counts are how many risks are in each band.
type Counts struct {
	Before map[string]int `json:"before"`
	After  map[string]int `json:"after"`
}

// Register is the whole analysis.
type Register struct {
	Entries  []Entry           `json:"entries"`
	Headline Counts            `json:"headline"` // by the worse profile
	Profiles map[string]Counts `json:"profiles"`
	Differ   []string          `json:"bands_differ"`
	Confirm  int               `json:"would_change_if_enhanced_basic_were_likely"`
	Unrated  []string          `json:"not_rated"` // attacks without an asset
	Undecid  []string          `json:"undecided"` // above minor, and nobody has accepted them
	Costs    []Cost            `json:"costs"`
	Assets   []tables.Asset    `json:"assets"`
	Marks    []string          `json:"marks"`
}

// Compute analyses a board with the tables. day is the date of the analysis (RFC 3339), for acceptances.
func Compute(b *evidence.Board, s *tables.Set, day string) (*Register, error) {
	r := &Register{Entries: []Entry{}, Profiles: map[string]Counts{}, Differ: []string{}, Unrated: []string{}, Undecid: []string{}, Marks: []string{},
		Assets: s.Judgement.Assets, Headline: newCounts(s)}
	for i := range s.Profiles {
		r.Profiles[s.Profiles[i].Name] = newCounts(s)
	}
	for i := range b.Case.Attacks {
		a := &b.Case.Attacks[i]
		for j := range a.Variants {
			e, err := enter(b, s, a, &a.Variants[j])
			if err != nil {
				return nil, err
			}
			e.accept(s, day)
			r.add(s, e)
		}
	}
	for _, named := range s.Sources() {
		if mark := named.Mark(); mark != "" && named.File != tables.X805File && named.File != tables.AssociationsFile && named.File != tables.LayersFile {
			r.Marks = append(r.Marks, fmt.Sprintf("%s, %s, %s: %s", named.Document, named.Edition, named.Where, mark))
		}
	}
	r.Costs = costs(b, s)
	r.benefit()
	return r, nil
}

func newCounts(s *tables.Set) Counts {
	c := Counts{map[string]int{}, map[string]int{}}
	for _, l := range s.Impact.Risk {
		c.Before[l.Name], c.After[l.Name] = 0, 0
	}
	return c
}

func (r *Register) add(s *tables.Set, e *Entry) {
	r.Entries = append(r.Entries, *e)
	r.Headline.Before[e.Before.Risk.Band]++
	r.Headline.After[e.After.Risk.Band]++
	for i := range s.Profiles {
		c := r.Profiles[s.Profiles[i].Name]
		c.Before[e.Before.Risks[i].Band]++
		c.After[e.After.Risks[i].Band]++
	}
	if e.Differ {
		r.Differ = append(r.Differ, e.Name())
	}
	if e.Confirm {
		r.Confirm++
	}
	if e.Asset == "" && !slices.Contains(r.Unrated, e.Attack) {
		r.Unrated = append(r.Unrated, e.Attack)
	}
	if least := s.Impact.Risk[0].Name; e.After.Risk.Band != least && (e.Accepted == nil || e.Expired) {
		r.Undecid = append(r.Undecid, e.Name())
	}
}

// enter rates one way of an attack.
func enter(b *evidence.Board, s *tables.Set, a *evidence.Attack, v *evidence.Variant) (*Entry, error) {
	e := &Entry{Attack: a.ID, Number: a.Number, Variant: v.Name, Title: a.Title, Threat: a.Text, Stride: a.Stride, Position: v.Position, Measures: []Measure{},
		Value: s.Impact.Highest(), Finding: evidence.Proven}
	if row, known := s.Attacks.Find(a.ID); known {
		e.Asset, e.Intensity = row.Asset, row.Intensity
		for _, x := range s.Judgement.Assets {
			if x.ID == row.Asset {
				e.Value = x.Impact
			}
		}
	}
	trials := mine(b, a, v)
	bare, micros := e.judge(trials)
	e.measure(b, s, v)
	impact := Harm(&s.Impact, e.Value, e.Intensity)
	var err error
	if e.Before, err = e.before(s, a, v, impact, bare, micros); err != nil {
		return nil, err
	}
	if e.After, err = e.after(s, impact); err != nil {
		return nil, err
	}
	e.Floor = RiskOf(&s.Impact, s.Impact.Least(), e.After.Impact)
	e.AtFloor = e.After.Risk == e.Floor
	e.Differ = e.After.Risks[0].Band != e.After.Risks[1].Band
	for i, rating := range e.After.Ratings {
		if rating.Confirm && RiskOf(&s.Impact, s.Impact.MostLikely(), e.After.Impact).Band != e.After.Risks[i].Band {
			e.Confirm = true
		}
	}
	return e, nil
}

func mine(b *evidence.Board, a *evidence.Attack, v *evidence.Variant) []*evidence.Trial {
	var all []*evidence.Trial
	for i := range b.Trials {
		if t := &b.Trials[i]; t.Attack.ID == a.ID && t.Variant.Name == v.Name {
			all = append(all, t)
		}
	}
	return all
}

// severity orders findings by what they mean for a rating: an attack that is open outweighs one of which nothing is known.
func severity(f evidence.Finding) int {
	return slices.Index([]evidence.Finding{evidence.Proven, evidence.ByNature, evidence.NotRun, evidence.Elsewhere, evidence.Outdated, evidence.Unknown,
		evidence.Accidental, evidence.Dead, evidence.Pierced, evidence.Partial, evidence.Open}, f)
}

// judge sums up the trials, and finds the quickest run that succeeded.
func (e *Entry) judge(trials []*evidence.Trial) (bare bool, micros int64) {
	if len(trials) == 0 {
		e.Finding, e.Why = evidence.NotRun, "it was not run"
	}
	for _, t := range trials {
		if severity(t.Finding) > severity(e.Finding) || e.Why == "" {
			e.Finding, e.Why = t.Finding, t.Name()+": "+t.Why
		}
		r := t.Bare()
		if t.Finding == evidence.Open {
			r = t.On()
		}
		if r == nil || t.Finding == evidence.Outdated || t.Finding == evidence.NotRun {
			continue
		}
		if !bare || r.Factors.Micros < micros {
			bare, micros, e.Weakness = true, r.Factors.Micros, r.Reason
		}
		if r.Factors.Users > 1 && e.Asset == "" { // what nobody has rated is rated by what was seen
			e.Intensity = max(e.Intensity, 1)
		}
	}
	return bare, micros
}

// measure says what each control changes, and whether that counts.
func (e *Entry) measure(b *evidence.Board, s *tables.Set, v *evidence.Variant) {
	for _, id := range v.Controls {
		standing := b.Control(id)
		m := Measure{Control: id, State: standing.State}
		effect, known := s.Effects.Find(id)
		if known {
			m.Changes, m.Why = effect.Factor+": "+effect.Value, effect.Why
		}
		m.Counts = known && e.Finding == evidence.Proven && standing.Weak == nil // the runs of this attack are what shows it
		e.Measures = append(e.Measures, m)
	}
}

// before is the run without controls, or the worst if none succeeded.
func (e *Entry) before(s *tables.Set, a *evidence.Attack, v *evidence.Variant, impact int, bare bool, micros int64) (Side, error) {
	if !bare {
		return e.rate(s, worst(&s.Profiles[0]), impact, "no run without the controls has succeeded, so the worst is assumed")
	}
	f := Factors{Time: lasting(&s.Profiles[0], micros), Expertise: s.Positions.Otherwise.Expertise, Equipment: s.Positions.Otherwise.Equipment}
	for _, p := range s.Positions.Positions {
		if p.Name == v.Position {
			f.Knowledge, f.Opportunity = p.Knowledge, p.Opportunity
		}
	}
	if f.Knowledge == "" {
		return e.rate(s, worst(&s.Profiles[0]), impact, "nothing is said of position "+v.Position)
	}
	if row, known := s.Attacks.Find(a.ID); known {
		f.Expertise = cmp.Or(row.Expertise, f.Expertise)
		f.Knowledge = cmp.Or(row.Knowledge, f.Knowledge)
		f.Opportunity = cmp.Or(row.Opportunity, f.Opportunity)
		f.Equipment = cmp.Or(row.Equipment, f.Equipment)
	}
	return e.rate(s, f, impact, "")
}

// after is what remains: of several controls the least likelihood and the least impact.
func (e *Entry) after(s *tables.Set, impact int) (Side, error) {
	switch e.Finding {
	case evidence.Proven:
	case evidence.Open, evidence.Partial:
		return e.rate(s, e.Before.Factors, impact, e.Before.Assumed)
	default:
		return e.rate(s, worst(&s.Profiles[0]), impact, "nothing shows what stops it ("+string(e.Finding)+"), so the worst is assumed")
	}
	best, err := e.rate(s, e.Before.Factors, impact, e.Before.Assumed)
	if err != nil {
		return best, err
	}
	for _, m := range e.Measures {
		effect, known := s.Effects.Find(m.Control)
		if !known || !m.Counts {
			continue
		}
		f, harm := e.Before.Factors, impact
		if effect.Factor == "impact" {
			harm = e.cut(s, effect)
		} else {
			*f.at(effect.Factor) = effect.Value
		}
		side, err := e.rate(s, f, harm, e.Before.Assumed)
		if err != nil {
			return best, err
		}
		best = better(s, best, side)
	}
	return best, nil
}

// cut is the impact that an effect leaves.
func (e *Entry) cut(s *tables.Set, effect tables.Effect) int {
	value, intensity := e.Value, e.Intensity
	for _, l := range s.Impact.Impact {
		if fmt.Sprint(l.Value) == effect.Value || l.Name == effect.Value {
			value = min(value, l.Value)
		}
	}
	if effect.Intensity != nil {
		intensity = min(intensity, *effect.Intensity)
	}
	return Harm(&s.Impact, value, intensity)
}

// better takes the least likelihood, by each profile, and the least impact of two.
func better(s *tables.Set, a, b Side) Side {
	out := a
	out.Impact = min(a.Impact, b.Impact)
	out.Ratings, out.Risks = nil, nil
	if b.Ratings[0].Likelihood < a.Ratings[0].Likelihood || b.Ratings[1].Likelihood < a.Ratings[1].Likelihood {
		out.Factors = b.Factors
	}
	for i := range a.Ratings {
		r := a.Ratings[i]
		if b.Ratings[i].Likelihood < r.Likelihood {
			r = b.Ratings[i]
		}
		out.Ratings = append(out.Ratings, r)
	}
	out.sum(s)
	return out
}

// rate fills a side by both profiles.
func (e *Entry) rate(s *tables.Set, f Factors, impact int, assumed string) (Side, error) {
	side := Side{Factors: f, Impact: impact, Assumed: assumed}
	for i := range s.Profiles {
		g := f
		if assumed != "" && f == worst(&s.Profiles[0]) {
			g = worst(&s.Profiles[i])
		}
		r, err := Rate(&s.Profiles[i], &s.Impact, g)
		if err != nil {
			return side, fmt.Errorf("%s: %w", e.Name(), err)
		}
		side.Ratings = append(side.Ratings, r)
	}
	side.sum(s)
	return side, nil
}

// sum multiplies, by both profiles, and takes the worse.
func (d *Side) sum(s *tables.Set) {
	d.Risks, d.Risk = nil, Risk{}
	for _, r := range d.Ratings {
		risk := RiskOf(&s.Impact, r.Likelihood, d.Impact)
		d.Risks = append(d.Risks, risk)
		if risk.Value > d.Risk.Value {
			d.Risk = risk
		}
	}
}

// accept finds who has accepted the risk on a day. Dates of RFC 3339 sort as text.
func (e *Entry) accept(s *tables.Set, day string) {
	for i := range s.Judgement.Accepted {
		x := &s.Judgement.Accepted[i]
		if x.Attack != e.Attack && x.Attack != e.Name() || e.Accepted != nil && !e.Expired {
			continue // of several the one in force counts
		}
		e.Accepted = x
		e.Expired = x.Owner == "" || strings.Compare(day, x.Until) > 0 || strings.Compare(day, x.From) < 0
		e.Acceptance = fmt.Sprintf("accepted by %s until %s", x.Owner, x.Until)
		switch {
		case strings.Compare(day, x.From) < 0:
			e.Acceptance = fmt.Sprintf("open: %s accepts it from %s on", x.Owner, x.From)
		case e.Expired:
			e.Acceptance = fmt.Sprintf("open again: the acceptance by %s ended with %s", x.Owner, x.Until)
		}
	}
}
