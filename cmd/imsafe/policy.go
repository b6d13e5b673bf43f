package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"imsafe/config"
	"imsafe/node"
)

type policyCmd struct{ operator }

// Run shows the table of the running node; where none runs, how it would be with the configuration, and without one with the default.
func (v *policyCmd) Run(a *app) error {
	r, of, err := v.report(a)
	if err != nil {
		return err
	}
	if a.json {
		a.print(r)
		return nil
	}
	if of != "" {
		a.say("No node runs here: this is how it stands with %s.\n", of)
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
}

// report is the table, and which configuration it is of; "" for that of a running node.
func (v *policyCmd) report(a *app) (r node.PolicyReport, of string, err error) {
	if v.Socket != "" {
		err = v.with(a, need{}, func(house operations) error { return house.Call(a.ctx, "policy", node.None{}, &r) })
		return r, "", err
	}
	c, of, err := v.configuration(a)
	if err != nil {
		return r, "", err
	}
	house, err := running(a, c)
	if err != nil {
		return r, "", err
	}
	if house == nil {
		r, err = node.PolicyOf(c)
		return r, of, err
	}
	err = house.Call(a.ctx, "policy", node.None{}, &r)
	return r, "", errors.Join(err, house.Close())
}

// configuration is that of the node, or the default where nobody has named one and none is in its place.
func (v *policyCmd) configuration(a *app) (*config.Config, string, error) {
	if _, err := os.Stat(v.ConfigPath); errors.Is(err, fs.ErrNotExist) && v.ConfigPath == filepath.Join(defaultDir, configName) {
		c := config.Default()
		return &c, "the default; " + v.ConfigPath + " is not there", nil
	}
	c, err := v.load(a)
	return c, v.ConfigPath, err
}
