package web

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"imsafe/node"
	"imsafe/proof/evidence"
	"imsafe/secure"
	"imsafe/trace/ladder"
)

// Proof is what the newest bundle is worth for this program.
type Proof struct {
	Cells    []Cell
	Sentence string // how it went as a whole
	Made     string // when, for people; "" if there is no bundle
	Note     string // what keeps it from being trusted, or why there is none
	Page     []byte // of the proof, for /proof; nil if there is none
	// Stories are the ladders of a run, by the key of its record; nil if the bundle has none of it.
	Stories func(run string) []ladder.Story
}

// Cell is one of the twelve, as the proof has it.
type Cell struct {
	Name       string      `json:"name"`
	Door       string      `json:"door"`
	Service    string      `json:"service"`
	State      string      `json:"state"`
	Why        []string    `json:"why"` // what keeps it from being proven
	Proven     int         `json:"proven"`
	Total      int         `json:"total"`
	Mechanisms []Mechanism `json:"mechanisms"`
	Attacks    []Attack    `json:"attacks"`
}

// Mechanism is a control of a cell.
type Mechanism struct {
	ID        string `json:"id"`
	Mechanism string `json:"mechanism"`
	Clause    string `json:"clause"`
	State     string `json:"state"`
	Why       string `json:"why"`
}

// Attack is an attack of a cell.
type Attack struct {
	ID        string   `json:"id"`
	Number    string   `json:"number"`
	Title     string   `json:"title"`
	Text      string   `json:"text"`
	Source    string   `json:"source"`
	State     string   `json:"state"`
	Why       string   `json:"why"`
	BlockedBy []string `json:"blocked_by"`
	Succeeded bool     `json:"succeeded_without"`
	Runs      []Run    `json:"runs"`
}

// Run is one run of an attack.
type Run struct {
	Key       string            `json:"key"` // of its record in the bundle
	Variant   string            `json:"variant"`
	Access    string            `json:"access"`
	Off       []string          `json:"off"` // controls; all others are on
	Expected  string            `json:"expected"`
	Verdict   string            `json:"verdict"`
	Reason    string            `json:"reason"`
	Delivered string            `json:"delivered"`
	Oracles   []evidence.Oracle `json:"oracles"`
	Start     string            `json:"start"`
	Ladders   int               `json:"ladders"` // stories that the bundle has of it
}

// overview is what does not change while somebody looks: the proof, cell by cell.
type overview struct {
	Domain   string `json:"domain"`
	Sentence string `json:"sentence"`
	Made     string `json:"made"`
	Note     string `json:"note"`
	Page     bool   `json:"page"`
	Cells    []Cell `json:"cells"`
}

func (p *Page) cells() overview {
	proof := p.c.Proof()
	return overview{p.c.Domain, proof.Sentence, proof.Made, proof.Note, proof.Page != nil, whole(proof.Cells, p.c.Policy().Rows)}
}

// The rows and columns of the table.
var (
	doors    = [...]string{"C-I", "I-S", "C-S"}
	services = [...]string{"availability", "integrity", "confidentiality", "authentication"}
)

// whole returns the cells of a proof, or where there is none what can be said without: a control that is there is claimed.
func whole(proven []Cell, rows []node.PolicyRow) []Cell {
	if len(proven) > 0 {
		return proven
	}
	var all []Cell
	for _, door := range doors {
		for _, service := range services {
			c := Cell{Name: door + " " + service, Door: door, Service: service, State: string(evidence.StateGap), Attacks: []Attack{}, Mechanisms: []Mechanism{}}
			for _, row := range rows {
				if row.Door == door && evidence.ServiceOf(row.Service) == service && row.Level == "required" {
					c.State, c.Total = string(evidence.StateClaimed), c.Total+1
					c.Mechanisms = append(c.Mechanisms, Mechanism{row.Control, row.Mechanism, row.Clause, c.State, "there is no proof of this program"})
				}
			}
			c.Why = []string{"nothing was proven of this program yet"}
			all = append(all, c)
		}
	}
	return all
}

// now is everything that changes.
type now struct {
	Version    string                `json:"version"` // of the proof: another one is fetched anew
	Cells      []nowCell             `json:"cells"`
	Refused    uint64                `json:"refused"` // since the node started
	Active     []nowControl          `json:"active"`  // that have refused something, the latest first
	Weak       []node.PolicyRow      `json:"weak"`    // that are not as they should be
	Weakenings []node.NamedWeakening `json:"weakenings"`
	Ladders    []ladder.Head         `json:"ladders"` // nil: none are kept
}

// nowCell is how a cell stands at this moment.
type nowCell struct {
	State    string   `json:"state"`
	Why      []string `json:"why"` // what has made it another than the proof's
	Refused  uint64   `json:"refused"`
	Refusing bool     `json:"refusing"` // something within the last seconds
}

// nowControl is a control that has refused something.
type nowControl struct {
	Control   string `json:"control"`
	Mechanism string `json:"mechanism"`
	Refused   uint64 `json:"refused"`
	Refusing  bool   `json:"refusing"`
	Routine   bool   `json:"routine"` // it takes something off honest messages
}

// refusingFor is how long after a refusal a cell shows it.
const refusingFor = 8 * time.Second

// watcher remembers when each control has refused last. Safe for concurrent use.
type watcher struct {
	mu   sync.Mutex
	seen map[string]uint64
	last map[string]time.Time
}

// see compares counts with those before. What was refused before anybody looked is not of this moment.
func (w *watcher) see(rows []node.PolicyRow, at time.Time) (refusing map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.seen == nil
	if first {
		w.seen, w.last = map[string]uint64{}, map[string]time.Time{}
	}
	refusing = map[string]bool{}
	for _, row := range rows {
		if row.Refused > w.seen[row.Control] && !first {
			w.last[row.Control] = at
		}
		w.seen[row.Control] = row.Refused
		refusing[row.Control] = !routine(row.Control) && at.Sub(w.last[row.Control]) < refusingFor
	}
	return refusing
}

// routine reports whether a control takes something off honest messages all day long: that is counted, and no alarm.
func routine(control string) bool {
	c, known := secure.ControlByName(control)
	return known && c.Routine()
}

// now looks at the node.
func (p *Page) now() now {
	report, proof := p.c.Policy(), p.c.Proof()
	refusing := p.watcher.see(report.Rows, p.c.Now())
	out := now{Version: proof.Made + proof.Note + proof.Sentence, Weakenings: report.Weakenings, Active: []nowControl{}, Weak: []node.PolicyRow{}}
	for _, c := range whole(proof.Cells, report.Rows) {
		out.Cells = append(out.Cells, turn(&c, report.Rows, refusing))
	}
	for _, row := range report.Rows {
		if !routine(row.Control) {
			out.Refused += row.Refused
		}
		if row.Refused > 0 {
			out.Active = append(out.Active, nowControl{row.Control, row.Mechanism, row.Refused, refusing[row.Control], routine(row.Control)})
		}
		if row.State != "on" && row.State != "absent" {
			row.Refused, row.Passed = 0, 0 // counts are elsewhere, and would make this change all the time
			out.Weak = append(out.Weak, row)
		}
	}
	slices.SortStableFunc(out.Active, func(a, b nowControl) int {
		return cmp.Or(btoi(b.Refusing)-btoi(a.Refusing), btoi(a.Routine)-btoi(b.Routine), cmp.Compare(b.Refused, a.Refused))
	})
	if ring := p.ring(); ring != nil {
		out.Ladders = ring.List()
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// turn is how a cell stands at this moment. It is never better than its proof: a required control that is off, or that let something pass, makes it a gap;
// one that is weaker than the default makes what was proven of the default stale.
func turn(c *Cell, rows []node.PolicyRow, refusing map[string]bool) nowCell {
	n := nowCell{State: c.State, Why: []string{}}
	for _, row := range rows {
		if row.Door != c.Door || evidence.ServiceOf(row.Service) != c.Service {
			continue
		}
		if !routine(row.Control) {
			n.Refused += row.Refused
		}
		n.Refusing = n.Refusing || refusing[row.Control]
		if row.Level != "required" {
			continue
		}
		switch {
		case row.Passed > 0:
			n.State = string(evidence.StateGap)
			n.Why = append(n.Why, fmt.Sprintf("%s is off, and has let pass %d that it would have refused", row.Control, row.Passed))
		case row.State == "off":
			n.State = string(evidence.StateGap)
			n.Why = append(n.Why, row.Control+" is off")
		case row.State == "weakened":
			n.Why = append(n.Why, fmt.Sprintf("%s is weaker than the default, which the proof is about: %v", row.Control, row.By))
			if n.State == string(evidence.StateProven) {
				n.State = string(evidence.StateStale)
			}
		}
	}
	return n
}
