// Package report puts together what cells, x805 and tvra compute from a case, and writes it: as canonical JSON, as CSV, as text for a terminal, and as
// one HTML file that needs nothing else.
//
// It is pure: the same case and the same tables give the same octets. It imports the rooms of the wing that compute, and the standard library.
package report

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	"imsafe/proof/tables"
	"imsafe/proof/tvra"
	"imsafe/proof/x805"
)

// Requirement is one line of the detailed requirements: what is asked for, by whom, and what shows that it is met.
type Requirement struct {
	Control   string         `json:"control"`
	Door      string         `json:"door"`
	Service   string         `json:"service"`
	Mechanism string         `json:"mechanism"`
	Clause    string         `json:"clause"`
	Dimension string         `json:"dimension"`
	Level     string         `json:"level"`
	State     evidence.State `json:"state"`
	Why       string         `json:"why"`
	Attacks   []string       `json:"attacks"`
	Evidence  []string       `json:"evidence"` // keys of records
}

// TrialLine is one trial with its outcome.
type TrialLine struct {
	Number   string           `json:"number"`
	Attack   string           `json:"attack"`
	Variant  string           `json:"variant"`
	Access   string           `json:"access"`
	Mode     string           `json:"mode"`
	Seed     uint64           `json:"seed"`
	Controls []string         `json:"controls"`
	Finding  evidence.Finding `json:"finding"`
	Why      string           `json:"why"`
	Records  []string         `json:"records"`
}

// Table is where figures come from.
type Table struct {
	File     string `json:"file"`
	Document string `json:"document"`
	Edition  string `json:"edition"`
	Where    string `json:"where"`
	Status   string `json:"status"`
	Verified string `json:"verified_by"`
	Mark     string `json:"mark"`
	Note     string `json:"note"`
	SHA256   string `json:"sha256"`
}

// Weaker is what a named setting would cost: what is no longer proven under it, and the risks that rise. Evidence of the default says nothing of it.
type Weaker struct {
	Name     string   `json:"name"`
	Controls []string `json:"controls"`
	Cells    []string `json:"cells"` // that would be claimed at best
	Risks    []Rise   `json:"risks"`
}

// Rise is a risk that is greater.
type Rise struct {
	Risk string    `json:"risk"`
	From tvra.Risk `json:"from"`
	To   tvra.Risk `json:"to"`
}

// Report is everything.
type Report struct {
	Format       string           `json:"format"`
	Subject      evidence.Subject `json:"subject"`
	Evidence     string           `json:"evidence_sha256"` // of the records, the catalogue and the policy
	TablesSum    string           `json:"tables_sha256"`
	Conclusion   cells.Conclusion `json:"conclusion"`
	Cells        []cells.Cell     `json:"cells"`
	Associations []cells.Whole    `json:"associations"`
	Layers       []cells.Whole    `json:"layers"`
	X805         *x805.Map        `json:"x805"`
	Register     *tvra.Register   `json:"register"`
	Weaker       []Weaker         `json:"weaker"`
	Requirements []Requirement    `json:"requirements"`
	Trials       []TrialLine      `json:"trials"`
	Tables       []Table          `json:"tables"`
	Limits       []string         `json:"limits"`
	Void         string           `json:"void"`
}

// Make computes a report.
func Make(c *evidence.Case, s *tables.Set) (*Report, error) { return MakeOn(day(c.Subject.End), c, s) }

// MakeOn is Make on another day (RFC 3339 date) than that of the run: an acceptance of a risk may have ended since.
func MakeOn(today string, c *evidence.Case, s *tables.Set) (*Report, error) {
	b := evidence.NewBoard(c)
	r := &Report{Format: "imsafe report 1", Subject: c.Subject, Void: c.Void, Limits: s.Limits.Limits}
	var err error
	if r.X805, err = x805.Compute(b, &s.X805); err != nil {
		return nil, err
	}
	if r.Register, err = tvra.Compute(b, s, today); err != nil {
		return nil, err
	}
	r.Cells = cells.Table(b)
	r.Associations, r.Layers = cells.Associations(b, &s.Associations), cells.Layers(b, &s.Layers)
	r.Conclusion = cells.Conclude(b, r.Cells)
	r.Requirements, r.Trials = requirements(b), trials(b)
	if r.Weaker, err = r.weaker(b, s, today); err != nil {
		return nil, err
	}
	if r.Evidence, err = evidence.SumOf(map[string]any{"attacks": c.Attacks, "policy": c.Policy, "records": c.Records}); err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, n := range s.Sources() {
		sum := evidence.Sum(s.Files()[n.File])
		sums[n.File] = sum
		r.Tables = append(r.Tables, Table{n.File, n.Document, n.Edition, n.Where, string(n.Status), n.VerifiedBy, n.Mark(), n.Remark(), sum})
	}
	r.TablesSum, err = evidence.SumOf(sums)
	return r, err
}

// weaker computes what each named setting would cost, beside those that are in force already.
func (r *Report) weaker(b *evidence.Board, s *tables.Set, today string) ([]Weaker, error) {
	all := []Weaker{}
	for _, setting := range b.Case.Weaker {
		under := b.Under(append(slices.Clone(b.Case.Subject.Weakenings), setting)...)
		register, err := tvra.Compute(under, s, today)
		if err != nil {
			return nil, err
		}
		w := Weaker{Name: setting.Name, Controls: setting.Controls, Cells: []string{}, Risks: []Rise{}}
		for i, c := range cells.Table(under) {
			if r.Cells[i].State == evidence.StateProven && c.State != evidence.StateProven {
				w.Cells = append(w.Cells, c.Name)
			}
		}
		for i := range register.Entries {
			before, after := &r.Register.Entries[i], &register.Entries[i]
			if after.After.Risk.Value > before.After.Risk.Value {
				w.Risks = append(w.Risks, Rise{after.Name(), before.After.Risk, after.After.Risk})
			}
		}
		all = append(all, w)
	}
	return all, nil
}

// day is the date of a time of RFC 3339.
func day(t string) string { date, _, _ := strings.Cut(t, "T"); return date }

func requirements(b *evidence.Board) []Requirement {
	all := []Requirement{}
	for _, p := range b.Case.Policy {
		s := b.Control(p.ID)
		q := Requirement{Control: p.ID, Door: p.Door, Service: p.Service, Mechanism: p.Mechanism, Clause: p.Clause, Dimension: p.Dimension, Level: p.Level,
			State: s.State, Why: s.Why, Attacks: []string{}, Evidence: []string{}}
		q.Attacks = append(q.Attacks, s.Attacks...)
		for i := range b.Trials {
			if t := &b.Trials[i]; slices.Contains(t.Controls, p.ID) {
				q.Evidence = append(q.Evidence, keys(t)...)
			}
		}
		all = append(all, q)
	}
	return all
}

func keys(t *evidence.Trial) []string {
	all := []string{}
	for _, r := range t.Runs {
		if r != nil {
			all = append(all, r.Key())
		}
	}
	return all
}

func trials(b *evidence.Board) []TrialLine {
	all := []TrialLine{}
	for i := range b.Trials {
		t := &b.Trials[i]
		all = append(all, TrialLine{t.Attack.Number, t.Attack.ID, t.Variant.Name, t.Access, t.Mode, t.Seed, t.Controls, t.Finding, t.Why, keys(t)})
	}
	return all
}

// Name is attack, variant and access.
func (t *TrialLine) Name() string { return path.Join(t.Attack, t.Variant, t.Access) }

// Unverified are the tables that nobody has compared with their text.
func (r *Report) Unverified() []Table {
	var all []Table
	for _, t := range r.Tables {
		if t.Mark != "" {
			all = append(all, t)
		}
	}
	return all
}

// Outcome is what an exit status is made of.
type Outcome int

// The outcomes.
const (
	Whole     Outcome = iota // all twelve cells are proven; nothing is dead, accidental or stale
	Failed                   // an attack succeeded or did harm, was blocked by accident, or is dead
	Elsewhere                // nothing failed, and the host did not let some rows run
	Open                     // nothing failed, and a cell is not proven
)

// Outcome says how it went as a whole. What failed outweighs what could not be run.
func (r *Report) Outcome() Outcome {
	c := r.Conclusion
	switch {
	case len(c.Failed) > 0:
		return Failed
	case len(c.Elsewhere) > 0:
		return Elsewhere
	case c.Proven < len(r.Cells) || len(c.Stale) > 0 || len(c.Unknown) > 0:
		return Open
	}
	return Whole
}

// Sentence says the outcome in words.
func (r *Report) Sentence() string {
	c := r.Conclusion
	said := fmt.Sprintf("%d of %d cells are proven", c.Proven, len(r.Cells))
	for _, more := range []struct {
		n    int
		what string
	}{{len(c.Failed), "failed"}, {len(c.Stale), "stale"}, {len(c.Unknown), "without evidence"}, {len(c.Elsewhere), "not run here"}} {
		if more.n > 0 {
			said += fmt.Sprintf(", %d trials %s", more.n, more.what)
		}
	}
	if r.Void != "" {
		said += ": " + r.Void
	}
	return said
}

// files of a report, below evidence.ReportDir.
const (
	jsonFile = "report.json"
	htmlFile = "report.html"
)

// Write adds the report to a bundle, in all its forms.
func (r *Report) Write(b evidence.Bundle) error {
	if err := b.Put(path.Join(evidence.ReportDir, jsonFile), r); err != nil {
		return err
	}
	page, err := r.HTML()
	if err != nil {
		return err
	}
	b[HTMLName] = page
	for name, text := range r.CSV() {
		b[path.Join(evidence.ReportDir, name)] = text
	}
	return nil
}

// HTMLName and JSONName are where a report stands in a bundle.
const (
	HTMLName = evidence.ReportDir + "/" + htmlFile
	JSONName = evidence.ReportDir + "/" + jsonFile
)

// Compare names the files of a report in a bundle that are not what is computed now.
func (r *Report) Compare(b evidence.Bundle) ([]string, error) {
	again := evidence.Bundle{}
	if err := r.Write(again); err != nil {
		return nil, err
	}
	var differ []string
	for name, text := range again {
		if string(b[name]) != string(text) {
			differ = append(differ, name)
		}
	}
	slices.Sort(differ)
	return differ, nil
}
