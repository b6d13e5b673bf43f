package node

import (
	"context"

	"imsafe/config"
	"imsafe/policy"
	"imsafe/secure"
)

// PolicyRow is one control as it stands in a node.
type PolicyRow struct {
	Control   string   `json:"control"`
	Door      string   `json:"door"`
	Service   string   `json:"service"`
	Mechanism string   `json:"mechanism"`
	Clause    string   `json:"clause"`
	Level     string   `json:"level"`
	State     string   `json:"state"`                 // on, off, weakened, absent
	By        []string `json:"weakened_by,omitempty"` // named settings
	Refused   uint64   `json:"refused"`               // since the node started
	Passed    uint64   `json:"passed,omitempty"`      // that it would have refused, and is off
}

// PolicyReport is the answer of the verb policy.
type PolicyReport struct {
	Rows       []PolicyRow      `json:"rows"`
	Weakenings []NamedWeakening `json:"weakenings,omitempty"`
}

// NamedWeakening is a setting that is weaker than the default.
type NamedWeakening struct {
	Name    string `json:"name"`
	Meaning string `json:"meaning"`
}

// showPolicy tells how each control stands.
func (n *Node) showPolicy(context.Context, None) (PolicyReport, error) { return n.Policy(), nil }

// Policy tells how each control stands, and what it has refused. Safe for concurrent use.
func (n *Node) Policy() PolicyReport { return policyReport(n.policy, n.Gate.Counts) }

// PolicyOf tells how each control would stand in a node of that configuration, which has refused nothing yet.
func PolicyOf(c *config.Config) (PolicyReport, error) {
	e, err := effective(&Options{Config: c, Policy: policy.Default()})
	return policyReport(e, func(secure.ControlID) (refused, passed uint64) { return 0, 0 }), err
}

func policyReport(e policy.Effective, counts func(secure.ControlID) (refused, passed uint64)) PolicyReport {
	var out PolicyReport
	for _, row := range policy.Rows() {
		r := PolicyRow{Control: row.Control.String(), Door: string(row.Door), Service: string(row.Service), Mechanism: row.Mechanism,
			Clause: row.Clause, Level: row.Level.String()}
		r.State, r.By = e.State(row.Control)
		r.Refused, r.Passed = counts(row.Control)
		out.Rows = append(out.Rows, r)
	}
	for _, w := range e.Weakenings() {
		out.Weakenings = append(out.Weakenings, NamedWeakening{w.Name, w.Meaning})
	}
	return out
}

// effective is the policy with what the configuration weakens by name.
func effective(o *Options) (policy.Effective, error) {
	e := o.Policy
	for _, w := range o.Config.Weakenings() {
		var err error
		if e, err = e.Weaken(w.Name, w.Meaning); err != nil {
			return e, err
		}
	}
	return e, nil
}
