package runner

import (
	"strings"

	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/secure"
)

// Catalogue is the catalogue of attacks as evidence keeps it.
func Catalogue() []evidence.Attack {
	all := []evidence.Attack{}
	for _, a := range attack.All() {
		row := evidence.Attack{ID: a.ID, Number: a.Number, Title: a.Title, Text: a.Text, Door: door(a.ID), Services: texts(a.Services), Stride: string(a.Stride),
			Threats: texts(a.Threats), Module: string(a.Module), Source: a.Source}
		for i := range a.Variants {
			v := &a.Variants[i]
			row.Variants = append(row.Variants, evidence.Variant{Name: v.Name, Position: v.Position.String(), Access: texts(a.Accesses(v)),
				Controls: layers(v.Controls), NoAblation: v.NoAblation, NotWire: notWire(v)})
		}
		all = append(all, row)
	}
	return all
}

// door is the interface that an attack is aimed at: the first part of its id says so.
func door(id string) string {
	first, _, _ := strings.Cut(id, ".")
	return map[string]string{"ci": string(policy.CI), "is": string(policy.IS), "cs": string(policy.CS), "core": string(policy.Core),
		"mgmt": string(policy.Management)}[first]
}

func notWire(v *attack.Variant) map[string]string {
	all := map[string]string{}
	for access, why := range v.NotWire {
		all[string(access)] = why
	}
	return all
}

func texts[T ~string](all []T) []string {
	out := []string{}
	for _, v := range all {
		out = append(out, string(v))
	}
	return out
}

// layers are the names of controls in the order in which they act.
func layers(controls []secure.ControlID) []string {
	all := []string{}
	for _, c := range controls {
		all = append(all, c.String())
	}
	return all
}

// Weaker are the named settings that weaken something, as evidence keeps them.
func Weaker() []evidence.Weakening {
	all := []evidence.Weakening{}
	for _, w := range policy.Named() {
		all = append(all, evidence.Weakening{Name: w.Name, Controls: layers(w.Controls)})
	}
	return all
}

// Policy is the table of controls as evidence keeps it.
func Policy() []evidence.Control {
	all := []evidence.Control{}
	for _, r := range policy.Rows() {
		all = append(all, evidence.Control{ID: r.Control.String(), Door: string(r.Door), Service: evidence.ServiceOf(string(r.Service)), Mechanism: r.Mechanism,
			Clause: r.Clause, Dimension: r.Dimension, Level: r.Level.String()})
	}
	return all
}

// Stale says why a record counts no more for a program with this hash: the program, the rows of the policy or of the catalogue are others by now.
// It is "" if it counts. The configuration of a target follows from the program and from what is off.
func Stale(r *evidence.Record, program string) (string, error) {
	if r.Target.Build != program {
		return "the program is another than the one that was attacked", nil
	}
	a, known := attack.Find(r.Attack)
	if !known {
		return "the catalogue has no such attack", nil
	}
	for i := range a.Variants {
		v := &a.Variants[i]
		if v.Name != r.Variant {
			continue
		}
		now, err := covers(&a, v, &run{Record: evidence.Record{Target: r.Target}})
		if err != nil {
			return "", err
		}
		if changed := r.Stale(now); changed != nil {
			return strings.Join(changed, ", ") + " has changed since", nil
		}
		for name := range now {
			if _, covered := r.Covers[name]; !covered {
				return "it does not say what " + name + " was", nil
			}
		}
		return "", nil
	}
	return "the attack has no such variant", nil
}
