package main

import (
	"strings"

	"imsafe/node"
)

type policyCmd struct{ operator }

// Run shows the table of the running node.
func (v *policyCmd) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		var r node.PolicyReport
		if err := house.Call(a.ctx, "policy", node.None{}, &r); err != nil {
			return err
		}
		if a.json {
			a.print(r)
			return nil
		}
		door := ""
		for _, row := range r.Rows {
			if row.Door != door {
				door = row.Door
				a.say("%s", door)
			}
			state := strings.ToUpper(row.State)
			if row.State == "on" || row.State == "absent" {
				state = row.State
			}
			a.say("  %-9s %-36s %s (%s)", state, row.Control, row.Mechanism, row.Clause)
			if row.By != nil {
				a.say("            by %s", strings.Join(row.By, ", "))
			}
		}
		if len(r.Weakenings) > 0 {
			a.say("\nWeaker than the default:")
		}
		for _, w := range r.Weakenings {
			a.say("  %-18s %s", w.Name, w.Meaning)
		}
		return nil
	})
}
